//! A swarm that runs for long and is changed all the time: no connection is lost to it, no question, and no memory.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use std::fs;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use support::{change, honest, light, metric, seen, start, tcp, wait_for};
use swarm::Kind;

const CHANGES: u64 = 1000;

const CONNECTIONS: usize = 8;

/// Numbers without a pattern, the same each time (xorshift64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len() as u64) as usize]
    }

    /// Some change of how the same clients ask.
    fn change(&mut self) -> Value {
        match self.below(6) {
            0 => json!({"rate": self.below(3000)}),
            1 => json!({"arrivals": self.one_of(&["even", "poisson", "burst"])}),
            2 => json!({"shape": self.one_of(&["constant", "ramp", "step", "sine"])}),
            3 => json!({"over_run": self.one_of(&["queue", "drop", "cap"])}),
            4 => json!({"burst": 1 + self.below(50), "seed": self.below(9)}),
            _ => json!({"stages": self.one_of(&["", "1s@500,1s@2k"])}),
        }
    }
}

/// Resident memory of this process, in bytes.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()).unwrap();
    kib.parse::<u64>().unwrap() * 1024
}

#[test]
fn a_thousand_changes_of_the_plan_lose_no_connection_no_question_and_no_memory() {
    static ACCEPTED: AtomicU64 = AtomicU64::new(0);
    let serve = |client: TcpStream| {
        ACCEPTED.fetch_add(1, Ordering::Relaxed);
        honest(client);
    };
    let service = start(tcp(serve), |plan| light(plan, Kind::Steady, 1000.0, CONNECTIONS));
    wait_for(&service, "answers", |ledger| ledger.ok() >= 100);
    let mut chance = Chance(1);
    let mut early = 0;
    for number in 1..=CHANGES {
        change(&service, &json!({"spotlight": chance.change()}));
        let generation = metric(&service, "zen_swarm_plan_generation").map(|value| value as u64);
        assert_eq!(generation, Some(number + 1), "the change is in the metrics at once");
        // Its books balance, or this fails.
        seen(&service);
        if number == CHANGES / 5 {
            early = memory();
        }
    }
    let grown = memory().saturating_sub(early);
    assert!(grown < 5 << 20, "{grown} bytes more after {CHANGES} changes than after {}", CHANGES / 5);
    let before = seen(&service).ledger.ok();
    change(&service, &json!({"spotlight": {"rate": 500, "stages": "", "arrivals": "even"}}));
    wait_for(&service, "answers after it", |ledger| ledger.ok() >= before + 100);
    let ledger = service.stop();
    assert_eq!((ACCEPTED.load(Ordering::Relaxed), ledger.failed()), (CONNECTIONS as u64, 0), "{ledger:?}");
    assert!(ledger.is_balanced(), "{ledger:?}");
}
