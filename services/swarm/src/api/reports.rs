//! What a run found, in every form of a report. Only the document is kept; pictures and pages are made when they are asked for.

use std::sync::Arc;

use admin::Problem;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::IntoResponse;
use report::{Format, Report, render};

use super::runs::find;
use super::{Access, Answer, Api};
use crate::runs::Results;

pub(super) async fn json(State(api): Access, Path(id): Path<String>) -> Answer {
    whole(&api, &id, Format::Json, "application/json").await
}

pub(super) async fn html(State(api): Access, Path(id): Path<String>) -> Answer {
    whole(&api, &id, Format::Html, "text/html; charset=utf-8").await
}

pub(super) async fn markdown(State(api): Access, Path(id): Path<String>) -> Answer {
    whole(&api, &id, Format::Markdown, "text/markdown; charset=utf-8").await
}

pub(super) async fn intervals(State(api): Access, Path(id): Path<String>) -> Answer {
    whole(&api, &id, Format::Hlog, "text/plain; charset=utf-8").await
}

/// A picture: the chart's name and its form, as in `rate.svg`.
pub(super) async fn chart(State(api): Access, Path((id, file)): Path<(String, String)>) -> Answer {
    let results = results(&api, &id)?;
    let charts = &results.report.charts;
    let form = |ending: &str| match ending {
        "svg" => Some((Format::Svg, "image/svg+xml")),
        "png" => Some((Format::Png, "image/png")),
        _ => None,
    };
    let wanted = file
        .rsplit_once('.')
        .and_then(|(name, ending)| Some((charts.iter().find(|chart| chart.id == name)?.clone(), form(ending)?)));
    let Some((chart, (format, kind))) = wanted else {
        let names: Vec<&str> = charts.iter().map(|chart| chart.id.as_str()).collect();
        return Err(Problem::not_found(format!(
            "there is no picture {file:?}; there is {}, each as .svg and .png",
            names.join(", ")
        )));
    };
    // Others need not be drawn for it.
    let alone = Report { charts: vec![chart], tables: Vec::new(), logs: Vec::new(), ..results.report.clone() };
    shown(move || render(&alone, format), kind).await
}

async fn whole(api: &Api, id: &str, format: Format, kind: &'static str) -> Answer {
    let results = results(api, id)?;
    shown(move || render(&results.report, format), kind).await
}

/// Drawing takes its time, and others must not wait for it.
async fn shown(
    draw: impl FnOnce() -> Result<Vec<report::File>, report::Error> + Send + 'static,
    kind: &'static str,
) -> Answer {
    let files = tokio::task::spawn_blocking(draw).await.map_err(|error| Problem::internal(error.to_string()))?;
    let file = files.map_err(|error| Problem::internal(error.to_string()))?.into_iter().next();
    let file = file.ok_or_else(|| Problem::not_found("this run has none"))?;
    let place = format!("inline; filename=\"{}\"", file.name);
    Ok(([(CONTENT_TYPE, kind.to_owned()), (CONTENT_DISPOSITION, place)], file.bytes).into_response())
}

fn results(api: &Api, id: &str) -> Result<Arc<Results>, Problem> {
    let run = find(api, id)?;
    run.results().ok_or_else(|| {
        Problem::conflict(format!("run {id} is {}: its report is made when it has ended", run.state().label()))
    })
}
