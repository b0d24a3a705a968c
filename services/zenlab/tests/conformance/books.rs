//! What a server has counted, and what it should have.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::support::{PATIENCE, Server};

/// The counters of one transport: questions by outcome (`answered`), and `accepted`, `closed:REASON`, `rejected:REASON`,
/// `dropped:REASON`.
pub type Books = BTreeMap<String, u64>;

/// The series that are looked at, their label, and what stands before its value.
const SERIES: [(&str, &str, &str); 4] = [
    ("zen_requests_total", "outcome", ""),
    ("zen_connections_closed_total", "reason", "closed:"),
    ("zen_connections_rejected_total", "reason", "rejected:"),
    ("zen_datagrams_dropped_total", "reason", "dropped:"),
];

/// What the server has counted so far.
pub fn books(server: &Server, transport: &str) -> Books {
    let (_, text) = server.get("/metrics");
    let mut books = Books::new();
    for line in text.as_str().expect("text").lines().filter(|line| line.contains(&format!("transport=\"{transport}\"")))
    {
        let value = || line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect("a number") as u64;
        for (name, label, before) in SERIES {
            if line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')) {
                *books.entry(format!("{before}{}", label_of(line, label))).or_default() += value();
            }
        }
    }
    books
}

fn label_of<'a>(line: &'a str, label: &str) -> &'a str {
    let (_, rest) = line.split_once(&format!("{label}=\"")).expect("the label");
    rest.split('"').next().expect("its value")
}

/// Waits until the server has counted, since `before`, exactly what `wanted` says, and nothing else; gives its books then.
///
/// `wanted` is a list such as `3 answered, 0-150 closed:reset|closed:eof`: a number or a range, and what may add up to it.
pub fn expect(server: &Server, transport: &str, before: &Books, wanted: &str) -> Result<Books, String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = books(server, transport);
        let mut found: Books =
            now.iter().map(|(name, count)| (name.clone(), count - before.get(name).copied().unwrap_or(0))).collect();
        found.retain(|_, count| *count > 0);
        let verdict = compare(&found, wanted);
        if verdict == Verdict::Right {
            return Ok(now);
        }
        // No counter ever falls.
        if verdict == Verdict::TooMuch || Instant::now() > deadline {
            return Err(format!("counted {found:?}, not {wanted:?}"));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Right,
    TooLittle,
    TooMuch,
}

fn compare(found: &Books, wanted: &str) -> Verdict {
    let mut rest = found.clone();
    let mut verdict = Verdict::Right;
    for term in wanted.split(", ").filter(|term| !term.is_empty()) {
        let (range, names) = term.split_once(' ').expect("a number and a name");
        let (least, most) = range.split_once('-').unwrap_or((range, range));
        let count: u64 = names.split('|').filter_map(|name| rest.remove(name)).sum();
        if count > most.parse().expect("a number") {
            return Verdict::TooMuch;
        }
        if count < least.parse().expect("a number") {
            verdict = Verdict::TooLittle;
        }
    }
    if rest.is_empty() { verdict } else { Verdict::TooMuch }
}

#[test]
fn books_are_compared_to_the_last_entry() {
    let found = Books::from([("answered".to_owned(), 3), ("closed:eof".to_owned(), 1)]);
    for (wanted, verdict) in [
        ("3 answered, 1 closed:eof", Verdict::Right),
        ("2-4 answered, 1 closed:reset|closed:eof", Verdict::Right),
        ("4 answered, 1 closed:eof", Verdict::TooLittle),
        ("2 answered, 1 closed:eof", Verdict::TooMuch),
        ("3 answered", Verdict::TooMuch),
        ("3 answered, 1 closed:eof, 1 closed:idle", Verdict::TooLittle),
    ] {
        assert_eq!(compare(&found, wanted), verdict, "{wanted}");
    }
}
