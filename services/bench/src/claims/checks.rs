//! Whether the run of an experiment may be believed.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use report::{Validity, Verdict};

use crate::bench::busier_than_usual;
use crate::machine::Weather;
use crate::pace::Pace;
use crate::slot::{Slot, histogram};

/// What was seen of all slots of an experiment.
pub(super) struct Checks {
    /// The machine during slots of the same work.
    stretches: BTreeMap<String, Vec<Weather>>,
    /// Slots whose books do not balance.
    unbalanced: usize,
    /// How late questions were asked for which a connection was free: by the client's own fault.
    lag: Histogram<u64>,
    /// Of these, the ones that were asked no earlier than the next one was due.
    late: u64,
}

impl Checks {
    pub fn new() -> Self {
        Self { stretches: BTreeMap::new(), unbalanced: 0, lag: histogram(), late: 0 }
    }

    /// Takes in a slot of so many clients; `work` is what it has in common with others.
    pub fn enter(&mut self, work: String, clients: usize, pace: Pace, slot: &Slot, weather: Weather) {
        self.stretches.entry(work).or_default().push(weather);
        self.unbalanced += usize::from(!slot.balances());
        let Pace::Open { rate, .. } = pace else { return };
        if had_free_connections(clients, rate, slot) {
            // All have the same bounds, so nothing can be out of range.
            let _ = self.lag.add(&slot.lag);
            let gap = (1e9 / rate) as u64;
            self.late += slot.lag.len() - slot.lag.count_between(0, gap.saturating_sub(1)) + slot.unsent;
        }
    }

    /// What all of it says, if the verdict rests on differences of `margin` (0 to 1).
    pub fn validity(&self, margin: f64, placement: String) -> Validity {
        if self.stretches.is_empty() {
            return Validity { verdict: Verdict::Inconclusive, reasons: vec!["Nothing was measured.".into()] };
        }
        let mut validity = Validity { verdict: Verdict::Valid, reasons: Vec::new() };
        for (verdict, reason) in [self.of_machine(margin), self.of_client(margin), self.of_books()] {
            validity.reasons.extend(reason);
            // The last one that is not content has the word: books that do not balance are worse than noise.
            validity.verdict = if verdict == Verdict::Valid { validity.verdict } else { verdict };
        }
        validity.reasons.push(placement);
        validity
    }

    fn of_books(&self) -> (Verdict, Vec<String>) {
        match self.unbalanced {
            0 => (Verdict::Valid, vec![format!("The books of all {} slots balance.", self.slots())]),
            some => (
                Verdict::Unreliable,
                vec![format!(
                    "The books of {some} of {} slots do not balance: questions are unaccounted for.",
                    self.slots()
                )],
            ),
        }
    }

    /// A question that is asked when the next one is due wakes the server for both, so that each seems cheaper.
    fn of_client(&self, margin: f64) -> (Verdict, Vec<String>) {
        if self.lag.is_empty() {
            return (Verdict::Valid, Vec::new());
        }
        let late = self.late as f64 / self.lag.len() as f64;
        let seen = format!(
            "At even rates the client asked 99 % of its questions within {:.1?} of their instant, and {} only when the next one was \
             due",
            Duration::from_nanos(self.lag.value_at_quantile(0.99)),
            percent(late),
        );
        if late > margin {
            return (
                Verdict::Unreliable,
                vec![format!("{seen}: more than the verdict can bear ({}).", percent(margin))],
            );
        }
        (Verdict::Valid, vec![format!("{seen}.")])
    }

    fn of_machine(&self, margin: f64) -> (Verdict, Vec<String>) {
        let voids: Vec<Vec<bool>> = self.stretches.values().map(|work| busier_than_usual(work)).collect();
        let void = voids.iter().flatten().filter(|&&void| void).count();
        let weather = Weather::mean(&self.stretches.values().flatten().copied().collect::<Vec<_>>());
        let pressure = weather.pressure.map_or_else(|| "an unknown part".to_owned(), percent);
        let mut reasons = vec![
            format!("{void} of {} slots are void: the machine was busier than usual.", self.slots()),
            format!(
                "Of the time of a slot a hypervisor took {}, the client waited for a core in {}, and something did in {pressure}.",
                percent(weather.steal),
                percent(weather.client_waited),
            ),
        ];
        // A median is one of those that are not void, as long as these are more.
        let is_lost = voids.iter().any(|work| 2 * work.iter().filter(|&&void| void).count() > work.len());
        if is_lost {
            reasons.push("Of one server's slots of the same work more than half are void: nothing can be said.".into());
        }
        let is_away = weather.steal.max(weather.client_waited) > margin;
        if is_away {
            reasons.push(format!(
                "Where the first or the second is above {}, it can overturn the verdict.",
                percent(margin)
            ));
        }
        (if is_lost || is_away { Verdict::Inconclusive } else { Verdict::Valid }, reasons)
    }

    fn slots(&self) -> usize {
        self.stretches.values().map(Vec::len).sum()
    }
}

/// Whether at every planned instant somebody was free to ask: everybody was answered before so many other questions were due.
/// Where that is not so, a question waits for the server and not for the client.
fn had_free_connections(clients: usize, rate: f64, slot: &Slot) -> bool {
    slot.ok > 0 && slot.failed() == 0 && slot.service.max() as f64 / 1e9 * rate < clients as f64
}

fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Weather = Weather { pressure: Some(0.1), steal: 0.0, client_waited: 0.0 };

    /// A slot of 100 questions at 1,000 a second, each asked `lag_us` late and answered in 0.1 ms.
    fn slot(lag_us: u64) -> Slot {
        let mut slot = Slot { planned: 100, sent: 100, ok: 100, in_time: 100, ..Slot::default() };
        slot.lag.record_n(lag_us * 1000, 100).expect("within a minute");
        slot.service.record_n(100_000, 100).expect("within a minute");
        slot
    }

    fn checked(slots: &[(Slot, Weather)]) -> Validity {
        let mut checks = Checks::new();
        for (slot, weather) in slots {
            checks.enter("the same".into(), 16, Pace::even(1000.0), slot, *weather);
        }
        checks.validity(0.2, "Anywhere.".into())
    }

    fn has(validity: &Validity, words: &str) -> bool {
        validity.reasons.iter().any(|reason| reason.contains(words))
    }

    #[test]
    fn a_calm_run_is_valid_and_says_what_was_checked() {
        let validity = checked(&[(slot(20), CALM), (slot(20), CALM), (slot(20), CALM)]);
        assert_eq!(validity.verdict, Verdict::Valid, "{validity:?}");
        for words in
            ["0 of 3 slots are void", "hypervisor took 0.0 %", "books of all 3 slots", "within 20.", "Anywhere."]
        {
            assert!(has(&validity, words), "{words}: {validity:?}");
        }
    }

    #[test]
    fn every_check_can_fail() {
        let unbalanced = Slot { planned: 101, ..slot(20) };
        let waiting = Weather { client_waited: 0.3, ..CALM };
        let stolen = Weather { steal: 0.3, ..CALM };
        for (slot, weather, verdict, words) in [
            (unbalanced, CALM, Verdict::Unreliable, "of 3 slots do not balance"),
            (slot(1500), CALM, Verdict::Unreliable, "100.0 % only when the next one was due"),
            (slot(20), waiting, Verdict::Inconclusive, "the client waited for a core in 30.0 %"),
            (slot(20), stolen, Verdict::Inconclusive, "a hypervisor took 30.0 %"),
        ] {
            let validity = checked(&[(slot.clone(), weather), (slot.clone(), weather), (slot, weather)]);
            assert_eq!(validity.verdict, verdict, "{validity:?}");
            assert!(has(&validity, words), "{words}: {validity:?}");
        }
        assert_eq!(checked(&[]).verdict, Verdict::Inconclusive);
    }

    #[test]
    fn one_slot_that_was_disturbed_is_void_and_overturns_nothing() {
        let disturbed = Weather { steal: 0.4, ..CALM };
        let validity = checked(&[(slot(20), CALM), (slot(20), disturbed), (slot(20), CALM)]);
        assert_eq!(validity.verdict, Verdict::Valid, "{validity:?}");
        assert!(has(&validity, "1 of 3 slots are void"), "{validity:?}");
    }

    #[test]
    fn a_question_that_waited_for_the_server_is_no_fault_of_the_client() {
        let mut held_up = slot(1500);
        held_up.service.record_n(20_000_000, 1).expect("within a minute");
        let validity = checked(&[(held_up.clone(), CALM), (held_up.clone(), CALM), (held_up, CALM)]);
        assert_eq!(validity.verdict, Verdict::Valid, "{validity:?}");
    }
}
