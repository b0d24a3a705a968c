//! What the API has the supervisor do.

use std::sync::Arc;
use std::time::Duration;

use admin::{Problem, body};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Control;
use crate::page::{Fault, Order, State as Phase, Target};

type Answer = Result<Response, Problem>;
type Shared = State<Arc<Control>>;

/// How long the supervisor may take to obey. It looks every 20 ms.
const OBEY: Duration = Duration::from_secs(1);

pub(super) async fn pause(State(control): Shared, request: Request<Body>) -> Answer {
    let document = body::object(request).await?;
    body::only(&document, &["for"])?;
    let time = document.get("for").map(duration).transpose()?;
    expect(&control, &[Phase::Ready, Phase::Paused], "pause")?;
    control.page.orders.give(Order::Pause, time);
    control.obeys(Phase::Paused).await;
    Ok(present(&control))
}

fn duration(value: &Value) -> Result<Duration, Problem> {
    let most = Duration::from_hours(1);
    value
        .as_str()
        .and_then(|text| humantime::parse_duration(text).ok())
        .filter(|time| !time.is_zero() && *time <= most)
        .ok_or_else(|| body::invalid("/for", format!("`for` = {value} must be a duration up to 1h, such as \"30s\"")))
}

pub(super) async fn resume(State(control): Shared, request: Request<Body>) -> Answer {
    body::only(&body::object(request).await?, &[])?;
    expect(&control, &[Phase::Ready, Phase::Paused], "resume")?;
    control.page.orders.give(Order::Resume, None);
    control.obeys(Phase::Ready).await;
    Ok(present(&control))
}

pub(super) async fn drain(State(control): Shared, request: Request<Body>) -> Answer {
    let then = body::choice(&body::object(request).await?, "then", &["park", "exit"])?;
    let exit = then == Some(1);
    if !exit {
        expect(&control, &[Phase::Ready, Phase::Paused, Phase::Draining, Phase::Starting], "drain")?;
    }
    if exit || control.page.state() != Phase::Draining {
        control.page.orders.give(if exit { Order::DrainToExit } else { Order::DrainToPark }, None);
    }
    Ok(accepted("draining"))
}

pub(super) async fn start(State(control): Shared, request: Request<Body>) -> Answer {
    body::only(&body::object(request).await?, &[])?;
    expect(&control, &[Phase::Parked], "start")?;
    control.page.orders.give(Order::Start, None);
    control.obeys(Phase::Ready).await;
    Ok(accepted(control.page.state().label()))
}

pub(super) async fn shutdown(State(control): Shared, request: Request<Body>) -> Answer {
    let mode = body::choice(&body::object(request).await?, "mode", &["graceful", "fast"])?;
    control.page.orders.give(if mode == Some(1) { Order::FastExit } else { Order::DrainToExit }, None);
    Ok(accepted("draining"))
}

fn expect(control: &Control, phases: &[Phase], what: &str) -> Result<(), Problem> {
    let state = control.page.state();
    if phases.contains(&state) {
        return Ok(());
    }
    let allowed = phases.iter().map(|phase| phase.label()).collect::<Vec<_>>().join(" or ");
    Err(Problem::conflict(format!("the server is {}; {what} needs it to be {allowed}", state.label())))
}

impl Control {
    /// Waits until the supervisor has obeyed.
    async fn obeys(&self, wanted: Phase) {
        let wait = async {
            while self.page.state() != wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // If it takes longer, the answer says so: it names the state that is.
        let _ = tokio::time::timeout(OBEY, wait).await;
    }
}

fn present(control: &Control) -> Response {
    Json(json!({"state": control.page.state().label()})).into_response()
}

fn accepted(state: &str) -> Response {
    (StatusCode::ACCEPTED, [(LOCATION, "/api/v1/status")], Json(json!({"state": state}))).into_response()
}

pub(super) async fn faults(State(control): Shared) -> Json<Value> {
    let mut pending = Vec::new();
    for (endpoint, part) in control.endpoints() {
        for target in Target::ALL {
            for fault in Fault::ALL {
                let times = part.faults.pending(target, fault);
                if times > 0 {
                    pending.push(json!({"endpoint": endpoint.to_string(), "target": target.label(), "kind": fault.label(), "times": times}));
                }
            }
        }
    }
    let happened: u64 = control.endpoints().map(|(_, part)| part.faults.happened()).sum();
    Json(json!({"pending": pending, "happened": happened}))
}

pub(super) async fn ask_for_fault(State(control): Shared, request: Request<Body>) -> Answer {
    let mut document = body::object(request).await?;
    if !control.start.lab {
        let detail = "faults are an experiment: they need a server that was started with `lab = true`";
        return Err(Problem::new(StatusCode::FORBIDDEN, "lab", "Not allowed", detail));
    }
    let mut word = |name: &str, words: &[&str]| -> Result<Option<usize>, Problem> {
        let part = document.remove_entry(name).into_iter().collect();
        body::choice(&part, name, words)
    };
    let missing = |name: &str| body::invalid(&format!("/{name}"), format!("`{name}` is missing"));
    let fault = word("kind", &Fault::ALL.map(Fault::label))?.ok_or_else(|| missing("kind"))?;
    let target = word("target", &Target::ALL.map(Target::label))?.ok_or_else(|| missing("target"))?;
    let transports: Vec<_> = control.endpoints().map(|(endpoint, _)| endpoint.transport.label()).collect();
    let at = word("transport", &transports)?.unwrap_or(0);
    body::only(&document, &["kind", "target", "transport"])?;
    if let Some((_, part)) = control.endpoints().nth(at) {
        part.faults.ask_for(Target::ALL[target], Fault::ALL[fault]);
    }
    let asked =
        json!({"kind": Fault::ALL[fault].label(), "target": Target::ALL[target].label(), "transport": transports[at]});
    Ok((StatusCode::ACCEPTED, Json(asked)).into_response())
}

pub(super) async fn forget_faults(State(control): Shared) -> Json<Value> {
    control.endpoints().for_each(|(_, part)| part.faults.clear());
    faults(State(control)).await
}
