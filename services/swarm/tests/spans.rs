//! The clients' spans, as a collector gets them.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use support::{answer_by, answer_right, metric, plan, settings, spawn, tcp, wait_for, wait_until};
use swarm::Service;
use zen::Transport;
use zen::trace::{Exchange, Origin};

/// A collector that keeps every byte.
fn collector() -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = kept.clone();
    spawn(move || {
        for mut client in listener.incoming().flatten() {
            let keep = keep.clone();
            spawn(move || {
                let mut buffer = [0; 8192];
                while let Ok(bytes) = client.read(&mut buffer)
                    && bytes > 0
                {
                    keep.lock().unwrap().extend_from_slice(&buffer[..bytes]);
                }
            });
        }
    });
    (url, kept)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn both_ends_find_the_same_ids() {
    static EXCHANGES: Mutex<Vec<Exchange>> = Mutex::new(Vec::new());
    // What a server knows of an exchange: who has asked, when it came, and the question's number.
    let watch = |client: TcpStream| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let origin = Origin::of_socket(Transport::Tcp, client.peer_addr().unwrap(), now);
        answer_by(client, |asked, right| {
            EXCHANGES.lock().unwrap().push(origin.exchange(asked as u64));
            Some(right.into())
        });
    };
    let (url, kept) = collector();
    let mut plan = plan();
    plan.trace_one_in = 1;
    let mut settings = settings(vec![tcp(watch)], plan);
    settings.otlp_endpoint = url;
    let service = Service::start(settings).unwrap();
    wait_for(&service, "answers", |ledger| ledger.ok() >= 30);
    // The collector says nothing, so the bounded end is what this waits for.
    service.stop();
    let kept = wait_until("spans", || Some(kept.lock().unwrap().clone()).filter(|kept| contains(kept, b"zen ask")));
    assert!(contains(&kept, b"POST /v1/traces"), "{}", String::from_utf8_lossy(&kept));
    let exchanges = EXCHANGES.lock().unwrap().clone();
    let joined = exchanges.iter().filter(|exchange| {
        contains(&kept, &exchange.trace_id.to_be_bytes()) && contains(&kept, &exchange.client_span.to_be_bytes())
    });
    // An exchange at the edge of two epochs may lose its partner.
    assert!(joined.count() + 3 >= exchanges.len(), "{} exchanges", exchanges.len());
    for text in ["zen-swarm", "zen.architecture", "known", "zen.question", "beautiful", "explicit", "simple"] {
        assert!(contains(&kept, text.as_bytes()), "{text} is missing");
    }
}

#[test]
fn a_dead_collector_costs_nothing_but_its_spans() {
    let (_deaf, address) = support::deaf();
    let mut plan = plan();
    plan.trace_one_in = 1;
    let mut settings = settings(vec![tcp(answer_right)], plan);
    settings.otlp_endpoint = format!("http://{address}");
    let service = Service::start(settings).unwrap();
    wait_for(&service, "answers", |ledger| ledger.ok() >= 100);
    assert!(metric(&service, "zen_swarm_spans_dropped_total").is_some());
    let ledger = service.stop();
    assert_eq!((ledger.failed(), ledger.planned), (0, ledger.ok()), "{ledger:?}");
}
