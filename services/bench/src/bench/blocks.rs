//! The blocks, and which of their slots count.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Entrant, Plan, Progress};
use crate::clock;
use crate::lab::Lab;
use crate::machine::{Reading, Weather};
use crate::stats::median;
use crate::{Pace, Random, Slot, Usage};

/// How far above this run's median a slot's weather may be.
const JUMP: f64 = 1.5;

/// What is too little to be called a jump, as a part of the time.
const CALM: f64 = 0.1;

/// Rates of a curve, as parts of a contestant's capacity.
const CURVE: [f64; 8] = [0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1];

/// What one contestant showed in one block.
#[derive(Debug, Clone, Copy)]
pub struct Observation {
    /// CPU time of the server for each answer at the offered rate, in microseconds; none where it cannot be seen.
    pub cpu_us: Option<f64>,
    /// The same in the closed loop, where a server is busy and need not be woken for each question.
    pub busy_us: Option<f64>,
    /// Answers a second in the closed loop.
    pub throughput: f64,
    /// The machine in the slot at the offered rate, and in the closed loop.
    pub weather: [Weather; 2],
}

/// Latency of one contestant at one rate.
#[derive(Debug, Clone, Copy)]
pub struct CurvePoint {
    /// Offered questions a second.
    pub rate: f64,
    /// Response time in microseconds: median and p99.
    pub p50_us: f64,
    /// See [`Self::p50_us`].
    pub p99_us: f64,
}

/// Runs the blocks; gives `observations[entrant][block]`.
pub(super) fn run(
    plan: &Plan,
    lab: &Lab,
    rate: f64,
    field: &mut [Entrant],
    progress: Progress<'_>,
) -> io::Result<Vec<Vec<Observation>>> {
    let mut random = Random::new(plan.seed);
    let mut all = vec![Vec::new(); field.len()];
    let mut order: Vec<usize> = (0..field.len()).collect();
    for block in 0..plan.pairs {
        progress(&format!("block {} of {}", block + 1, plan.pairs));
        random.shuffle(&mut order);
        let seed = random.next();
        let row: io::Result<Vec<_>> =
            order.iter().map(|&at| Ok((at, field[at].visit(plan, lab, rate, seed)?))).collect();
        if plan.stop.load(Ordering::Relaxed) {
            // A block that was cut short is no block, and no failure.
            break;
        }
        for (at, observation) in row? {
            all[at].push(observation);
        }
    }
    Ok(all)
}

impl Entrant {
    /// Both slots of a block.
    fn visit(&mut self, plan: &Plan, lab: &Lab, rate: f64, seed: u64) -> io::Result<Observation> {
        self.renew(plan, lab)?;
        // A slot that is not counted: the first answers of a process pay for cold caches and first pages.
        self.crowd.slot(plan.slot / 4, Pace::Closed)?;
        let at = clock::now();
        let (paced, used, weather) = self.slot(plan, plan.slot, Pace::poisson(rate, seed))?;
        let (closed, busy, closed_weather) = self.slot(plan, plan.slot / 2, Pace::Closed)?;
        self.log.enter(at, &paced)?;
        self.paced.add(&paced);
        self.closed.add(&closed);
        if let Some(used) = &used {
            self.usage.add(used);
        }
        Ok(Observation {
            cpu_us: used.and_then(|used| each(&used, &paced)),
            busy_us: busy.and_then(|used| each(&used, &closed)),
            throughput: closed.throughput(),
            weather: [weather, closed_weather],
        })
    }

    /// A slot, with what the server used and what the machine did meanwhile.
    fn slot(&mut self, plan: &Plan, time: Duration, pace: Pace) -> io::Result<(Slot, Option<Usage>, Weather)> {
        let reading = Reading::take();
        let before = self.server.usage(plan.transport);
        let slot = self.crowd.slot(time, pace)?;
        let used = self.server.usage(plan.transport).zip(before).map(|(now, before)| now.since(&before));
        Ok((slot, used, Reading::take().since(&reading)))
    }
}

/// CPU time of the server for each answer, in microseconds.
fn each(used: &Usage, slot: &Slot) -> Option<f64> {
    (slot.ok > 0).then(|| used.cpu_ns as f64 / 1e3 / slot.ok as f64)
}

/// Latency over rate for every contestant.
pub(super) fn curves(
    plan: &Plan,
    capacities: &[f64],
    field: &mut [Entrant],
    progress: Progress<'_>,
) -> io::Result<Vec<Vec<CurvePoint>>> {
    let mut all = Vec::new();
    for (entrant, capacity) in field.iter_mut().zip(capacities) {
        progress(&format!("latency over rate: {}", entrant.name));
        let mut points = Vec::new();
        for (time, rate) in stages(plan, *capacity) {
            if plan.stop.load(Ordering::Relaxed) {
                break;
            }
            let slot = entrant.crowd.slot(time, Pace::poisson(rate, plan.seed))?;
            let us = |q| slot.response.value_at_quantile(q) as f64 / 1e3;
            points.push(CurvePoint { rate, p50_us: us(0.5), p99_us: us(0.99) });
        }
        all.push(points);
    }
    Ok(all)
}

/// The stages that were asked for, or parts of what a contestant can do.
fn stages(plan: &Plan, capacity: f64) -> Vec<(Duration, f64)> {
    if plan.stages.is_empty() {
        CURVE.map(|part| (plan.slot * 3, (capacity * part).max(1.0))).to_vec()
    } else {
        plan.stages.clone()
    }
}

/// Which blocks of which entrant are void, for one kind of slot: those in which the machine was busier with other things than
/// usual in this run. A fixed limit would void everything on a machine that is always busy.
pub(super) fn voids(observations: &[Vec<Observation>], kind: usize) -> Vec<Vec<bool>> {
    let gauges: [fn(&Weather) -> f64; 3] =
        [|weather| weather.pressure.unwrap_or(0.0), |weather| weather.steal, |weather| weather.client_waited];
    let mut voids: Vec<Vec<bool>> = observations.iter().map(|blocks| vec![false; blocks.len()]).collect();
    for gauge in gauges {
        for (blocks, voids) in observations.iter().zip(&mut voids) {
            // What is usual for this contestant: one that keeps both cores busy makes the client wait more.
            let values: Vec<f64> = blocks.iter().map(|block| gauge(&block.weather[kind])).collect();
            let limit = (JUMP * median(&values)).max(median(&values) + CALM);
            values.iter().zip(voids).for_each(|(value, void)| *void |= *value > limit);
        }
    }
    voids
}

#[cfg(test)]
mod tests {
    use super::{Observation, voids};
    use crate::machine::Weather;

    fn observation(pressure: f64, steal: f64) -> Observation {
        let weather = Weather { pressure: Some(pressure), steal, client_waited: 0.0 };
        Observation { cpu_us: Some(1.0), busy_us: None, throughput: 1.0, weather: [weather, Weather::default()] }
    }

    #[test]
    fn a_jump_voids_a_slot_and_a_busy_machine_does_not() {
        let mut blocks = vec![observation(0.5, 0.0); 9];
        blocks[3] = observation(0.9, 0.0);
        blocks[5] = observation(0.5, 0.3);
        let found = voids(&[blocks.clone()], 0);
        let void: Vec<usize> = (0..9).filter(|&at| found[0][at]).collect();
        assert_eq!(void, [3, 5]);
        assert!(!voids(&[blocks], 1)[0].contains(&true));
    }
}
