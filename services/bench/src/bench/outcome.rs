//! What a run found, and the report of it.

use std::io;

use report::{IntervalLog, Report, Run, SCHEMA, Validity, Verdict};

use super::blocks::{CurvePoint, Observation, voids};
use super::hostile::{self, Fate};
use super::settings::Setting;
use super::{Entrant, IDLE, Plan, endpoint, options, tables};
use crate::stats::{Comparison, compare};
use crate::{Crowd, Facts, Pace, Slot, Usage};

/// What a run found.
#[derive(Debug)]
pub struct Outcome {
    /// The rate that was offered to all.
    pub rate: f64,
    /// Who took part: the reference, its twin, the others.
    pub entrants: Vec<Finding>,
    /// `observations[entrant][block]`.
    pub observations: Vec<Vec<Observation>>,
    /// Latency over rate for each entrant; empty where it was not asked for.
    pub curves: Vec<Vec<CurvePoint>>,
    /// How client and servers shared the cores.
    pub placement: String,
    /// How the run was made.
    pub settings: Vec<Setting>,
    /// Why memory of idle connections and unfriendly clients are not known of some; a server may have gone.
    pub unexamined: Vec<String>,
    /// Whether nobody ended it early.
    pub is_complete: bool,
}

/// What was found of one contestant.
#[derive(Debug)]
pub struct Finding {
    /// Its name.
    pub name: String,
    /// Connections that it held.
    pub held: usize,
    /// All slots at the offered rate.
    pub paced: Slot,
    /// All closed-loop slots.
    pub closed: Slot,
    /// What the server used at the offered rate.
    pub usage: Usage,
    /// What the server held with its connections.
    pub facts: Option<Facts>,
    /// Memory of an idle connection in bytes.
    pub idle_bytes: Option<f64>,
    /// System calls for each question.
    pub calls: Option<f64>,
    /// What became of the friendly clients beside unfriendly ones.
    pub fates: Vec<Fate>,
    /// The slots at the offered rate, as histograms.
    pub log: IntervalLog,
}

/// What the claims rest on: which slots count, and what they say.
pub(super) struct Claims {
    /// CPU time of a question, `[entrant][block]`.
    pub cpu: Vec<Vec<Option<f64>>>,
    /// The same in the closed loop.
    pub busy: Vec<Vec<Option<f64>>>,
    /// Throughput of the closed loop.
    pub throughput: Vec<Vec<Option<f64>>>,
    pub of_cpu: Comparison,
    pub of_busy: Comparison,
    pub of_throughput: Comparison,
    pub slots: usize,
    pub void: usize,
}

impl Outcome {
    pub(super) const fn new(
        rate: f64,
        observations: Vec<Vec<Observation>>,
        curves: Vec<Vec<CurvePoint>>,
        placement: String,
    ) -> Self {
        Self {
            rate,
            entrants: Vec::new(),
            observations,
            curves,
            placement,
            settings: Vec::new(),
            unexamined: Vec::new(),
            is_complete: false,
        }
    }

    /// Takes in what the blocks found of an entrant.
    pub(super) fn add(&mut self, plan: &Plan, entrant: &mut Entrant) -> io::Result<()> {
        self.entrants.push(Finding {
            name: entrant.name.clone(),
            held: entrant.held,
            paced: std::mem::take(&mut entrant.paced),
            closed: std::mem::take(&mut entrant.closed),
            usage: entrant.usage,
            facts: entrant.server.facts(plan.transport),
            idle_bytes: None,
            calls: crate::calls::count(entrant.server.leader(plan.transport), &mut entrant.crowd, self.rate)?,
            fates: Vec::new(),
            log: entrant.log.take(),
        });
        Ok(())
    }

    /// What needs other clients than those of the blocks.
    pub(super) fn examine(&mut self, plan: &Plan, mut entrant: Entrant) -> io::Result<()> {
        if !plan.transport.is_stream() {
            return Ok(());
        }
        let held = entrant.crowd.slot(plan.slot, Pace::Closed)?.throughput();
        // A pool's workers are free again once the connections of the blocks are gone.
        entrant.crowd.disband();
        let idle_bytes = idle_memory(plan, &entrant)?;
        let fates = if plan.hostile { hostile::run(plan, &entrant, held)? } else { Vec::new() };
        if let Some(finding) = self.entrants.last_mut() {
            finding.idle_bytes = idle_bytes;
            finding.fates = fates;
        }
        Ok(())
    }

    pub(super) fn claims(&self, seed: u64) -> Claims {
        let pick = |kind: usize, value: fn(&Observation) -> Option<f64>| -> Vec<Vec<Option<f64>>> {
            let voids = voids(&self.observations, kind);
            let one = |(observation, void): (&Observation, &bool)| value(observation).filter(|_| !void);
            self.observations
                .iter()
                .zip(&voids)
                .map(|(blocks, voids)| blocks.iter().zip(voids).map(one).collect())
                .collect()
        };
        let cpu = pick(0, |observation| observation.cpu_us);
        let busy = pick(1, |observation| observation.busy_us);
        let throughput = pick(1, |observation| Some(observation.throughput).filter(|rate| *rate > 0.0));
        let slots: usize = self.observations.iter().map(|blocks| 2 * blocks.len()).sum();
        let void =
            (0..2).map(|kind| voids(&self.observations, kind).iter().flatten().filter(|&&void| void).count()).sum();
        Claims {
            of_cpu: compare(&cpu, 0, 1, true, seed),
            of_throughput: compare(&throughput, 0, 1, false, seed ^ 1),
            of_busy: compare(&busy, 0, 1, true, seed ^ 2),
            cpu,
            busy,
            throughput,
            slots,
            void,
        }
    }

    /// Questions without a right answer.
    pub fn errors(&self) -> u64 {
        self.entrants.iter().map(|entrant| entrant.paced.failed() + entrant.closed.failed()).sum()
    }
}

/// Memory of an idle connection, user space of the server only; none where the server cannot hold so many, or cannot be seen.
fn idle_memory(plan: &Plan, entrant: &Entrant) -> io::Result<Option<f64>> {
    if entrant.contestant.at_once.is_some_and(|at_once| at_once < IDLE) {
        return Ok(None);
    }
    let Some(before) = entrant.server.facts(plan.transport) else { return Ok(None) };
    let mut idlers = Crowd::connect(endpoint(&entrant.server, plan)?, IDLE, options(plan))?;
    // Each has asked at least once: buffers that come with the first question are there.
    idlers.slot(plan.slot / 2, Pace::Closed)?;
    let after = entrant.server.facts(plan.transport);
    Ok(after.map(|after| after.memory_bytes.saturating_sub(before.memory_bytes) as f64 / IDLE as f64))
}

/// The report of a run.
pub fn report(plan: &Plan, outcome: &Outcome, run: Run) -> Report {
    let claims = outcome.claims(plan.seed);
    Report {
        schema: SCHEMA,
        title: format!("What a question costs: {} over {}", names(outcome), plan.transport),
        run,
        validity: validity(outcome, &claims),
        findings: tables::findings(plan, outcome, &claims),
        does_not_show: vec![
            "How the servers scale over many cores: client and server share the cores of this machine.".into(),
            "What a network does: all questions stayed on this machine.".into(),
            "Which server is fastest in absolute figures: other load of the machine is in them. The ratios hold."
                .into(),
            "Latency beyond p99 as a property of a server: on a busy machine that is the scheduler.".into(),
        ],
        tables: tables::tables(plan, outcome, &claims),
        charts: tables::charts(outcome, &claims),
        logs: outcome.entrants.iter().map(|entrant| entrant.log.clone()).collect(),
    }
}

fn names(outcome: &Outcome) -> String {
    let names: Vec<&str> = others(outcome).map(|(_, entrant)| entrant.name.as_str()).collect();
    if names.len() > 6 { format!("{} architectures", names.len()) } else { names.join(", ") }
}

/// All but the twin, with their places.
pub(super) fn others(outcome: &Outcome) -> impl Iterator<Item = (usize, &Finding)> {
    outcome.entrants.iter().enumerate().filter(|(at, _)| *at != 1)
}

fn validity(outcome: &Outcome, claims: &Claims) -> Validity {
    let mut reasons =
        vec![format!("{} of {} slots are void: the machine was busier than usual.", claims.void, claims.slots)];
    let mut verdict = Verdict::Valid;
    reasons.push(outcome.placement.clone());
    if !outcome.is_complete {
        reasons.push("The run was ended early.".into());
    }
    if !outcome.unexamined.is_empty() {
        verdict = Verdict::Unreliable;
        let why = outcome.unexamined.join("; ");
        reasons.push(format!("Not all of it could be measured: {why}."));
    }
    let balance = |slot: &Slot| slot.balances();
    if !outcome.entrants.iter().all(|entrant| balance(&entrant.paced) && balance(&entrant.closed)) {
        verdict = Verdict::Unreliable;
        reasons.push("The books do not balance: questions are unaccounted for.".into());
    }
    for (what, comparison) in [
        ("CPU time at the offered rate", &claims.of_cpu),
        ("CPU time when busy", &claims.of_busy),
        ("throughput", &claims.of_throughput),
    ] {
        let Some(twin) = comparison.to_reference.get(1).copied().flatten() else {
            // Where nobody is compared nothing is claimed.
            if comparison.to_reference.iter().any(Option::is_some) {
                verdict = Verdict::Inconclusive;
                reasons.push(format!(
                    "The twin could not be compared with the reference in {what}: too few pairs are left."
                ));
            }
            continue;
        };
        let interval = twin.ratio_interval();
        let text =
            format!("{:.3} ({:.3} to {:.3}) of the reference's {what}", twin.ratio(), interval.low, interval.high);
        if comparison.twin_differs {
            verdict = Verdict::Unreliable;
            reasons.push(format!("The twin differs from itself: it has {text}."));
        } else {
            reasons.push(format!("The twin is not told from the reference: it has {text}."));
        }
    }
    let has_no_claim = claims.of_throughput.to_reference.iter().all(Option::is_none);
    if 2 * claims.void > claims.slots || has_no_claim {
        verdict = Verdict::Inconclusive;
        reasons.push("More than half of the slots are void, or there are too few: nothing can be said.".into());
    }
    Validity { verdict, reasons }
}

#[cfg(test)]
mod tests {
    use super::{Observation, Outcome, Verdict, validity};
    use crate::machine::Weather;

    fn observations(of_all: [&[f64]; 3]) -> Vec<Vec<Observation>> {
        let one = |&throughput: &f64| Observation {
            cpu_us: None,
            busy_us: None,
            throughput,
            weather: [Weather::default(), Weather::default()],
        };
        of_all.map(|rates| rates.iter().map(one).collect()).to_vec()
    }

    #[test]
    fn a_run_whose_twin_was_not_compared_is_not_valid() {
        let whole = [1.0, 1.1, 1.0, 0.9, 1.0];
        for (twin, verdict) in [(whole, Verdict::Valid), ([1.0, 1.1, 1.0, 0.9, 0.0], Verdict::Inconclusive)] {
            let observations = observations([&whole, &twin, &whole]);
            let mut outcome = Outcome::new(1.0, observations, Vec::new(), "Somewhere.".into());
            outcome.is_complete = true;
            let found = validity(&outcome, &outcome.claims(1));
            assert_eq!(found.verdict, verdict, "{:?}", found.reasons);
        }
    }
}
