//! A search on a server whose limit is known.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bench::bench::Contestant;
use bench::search::{Limit, Outcome, Plan, run};
use bench::{Lab, Subject};
use support::{capped, right, tcp};
use zen::{Endpoint, Transport};

static STOP: AtomicBool = AtomicBool::new(false);

fn plan() -> Plan {
    Plan {
        transport: Transport::Tcp,
        connections: 8,
        quantile: 0.95,
        longest: Duration::from_millis(100),
        window: Duration::from_millis(500),
        budget: Duration::from_secs(8),
        seed: 1,
        stop: &STOP,
    }
}

fn search(endpoint: Endpoint, plan: &Plan) -> Outcome {
    let name = "known".to_owned();
    let subject = Subject { name: name.clone(), architecture: name, transports: Vec::new(), settings: Vec::new() };
    let contestant = Contestant { subject, at_once: None, running: Some((vec![endpoint], None)) };
    let lab = Lab::open(Path::new("/nonexistent"), false).unwrap();
    run(plan, &lab, &[contestant], &mut |_| ()).unwrap().remove(0)
}

/// The greatest rate at which windows of half a second can keep 95 % below 100 ms if the server answers 500 a second.
const MOST: f64 = 605.0;

/// Never is too much found; too little is what a busy machine can do, but not one time after the other.
#[test]
fn a_cap_lies_in_the_interval_or_nothing_is_said() {
    for _ in 0..3 {
        let outcome = search(tcp(capped(500.0)), &plan());
        match &outcome.limit {
            Limit::Found { rate, interval: (low, high), .. } => {
                assert!(low <= rate && rate <= high && *low <= MOST, "{outcome:#?}");
                if *low <= 500.0 && *high >= 500.0 {
                    return;
                }
            }
            // A busy machine is no fault of the search.
            Limit::Inconclusive(why) => {
                assert!(!why.is_empty());
                return;
            }
            Limit::AtLeast(rate) => assert!(*rate <= MOST, "{outcome:#?}"),
            Limit::Below(_) => {}
        }
    }
    panic!("three times in a row too little was found");
}

#[test]
fn a_server_that_is_always_late_keeps_no_limit() {
    let server = tcp(Arc::new(|answer| {
        std::thread::sleep(Duration::from_millis(150));
        right(answer)
    }));
    let limit = search(server, &plan()).limit;
    assert!(!matches!(limit, Limit::Found { .. } | Limit::AtLeast(_)), "{limit:?}");
}

#[test]
fn a_limit_below_what_the_machine_can_do_is_inconclusive() {
    let plan = Plan { longest: Duration::from_nanos(100), ..plan() };
    let outcome = search(tcp(Arc::new(right)), &plan);
    assert!(matches!(outcome.limit, Limit::Inconclusive(_)), "{outcome:?}");
    assert!(outcome.sentence().contains("the machine itself is too late"), "{}", outcome.sentence());
}
