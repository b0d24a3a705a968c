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

/// Looks at each rate of a curve.
const LOOKS: u32 = 5;

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
    /// p99 of the response time in microseconds, the median of some looks; none if more than one in a hundred was not answered.
    pub p99_us: Option<f64>,
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
    for block in 0..plan.pairs {
        progress(&format!("block {} of {}", block + 1, plan.pairs));
        let row = self::block(plan, lab, rate, field, &mut random);
        if plan.stop.load(Ordering::Relaxed) {
            // A block that was cut short is no block, and no failure.
            break;
        }
        for (observations, observation) in all.iter_mut().zip(row?) {
            observations.push(observation);
        }
    }
    Ok(all)
}

/// One block: new processes, then round after round of visits to all of them.
///
/// What a machine does beside a measurement lasts: on a virtual one the cost of the same question is up to a half higher for
/// some tenths of a second. Several short visits in turn share that between all contestants, where one long visit would give
/// it to whoever was there.
fn block(
    plan: &Plan,
    lab: &Lab,
    rate: f64,
    field: &mut [Entrant],
    random: &mut Random,
) -> io::Result<Vec<Observation>> {
    let mut order: Vec<usize> = (0..field.len()).collect();
    let mut visits = vec![Visits::default(); field.len()];
    random.shuffle(&mut order);
    for &at in &order {
        field[at].renew(plan, lab)?;
    }
    for _ in 0..plan.visits() {
        random.shuffle(&mut order);
        let seed = random.next();
        for &at in &order {
            field[at].visit(plan, rate, seed, &mut visits[at])?;
        }
    }
    for (entrant, visits) in field.iter_mut().zip(&visits) {
        entrant.take_in(visits);
    }
    Ok(visits.iter().map(Visits::observation).collect())
}

/// What the visits of one block to one contestant found together.
#[derive(Clone, Default)]
struct Visits {
    paced: Visited,
    closed: Visited,
}

/// The slots of one kind.
#[derive(Clone, Default)]
struct Visited {
    slot: Slot,
    /// What the server used; none where it cannot be seen.
    used: Option<Usage>,
    weather: Vec<Weather>,
}

impl Visits {
    fn observation(&self) -> Observation {
        Observation {
            cpu_us: self.paced.each(),
            busy_us: self.closed.each(),
            throughput: self.closed.slot.throughput(),
            weather: [&self.paced, &self.closed].map(|kind| Weather::mean(&kind.weather)),
        }
    }
}

impl Visited {
    fn add(&mut self, slot: &Slot, used: Option<Usage>, weather: Weather) {
        self.slot.add(slot);
        if let Some(used) = used {
            self.used.get_or_insert_default().add(&used);
        }
        self.weather.push(weather);
    }

    /// CPU time of the server for each answer, in microseconds.
    fn each(&self) -> Option<f64> {
        let used = self.used.filter(|_| self.slot.ok > 0)?;
        Some(used.cpu_ns as f64 / 1e3 / self.slot.ok as f64)
    }
}

impl Entrant {
    /// Both slots of a visit.
    fn visit(&mut self, plan: &Plan, rate: f64, seed: u64, found: &mut Visits) -> io::Result<()> {
        let time = plan.slot / plan.visits();
        // A slot that is not counted: its answers pay for caches that others have filled, and for a new process' first pages.
        self.crowd.slot(time / 4, Pace::Closed)?;
        let at = clock::now();
        let paced = self.slot(plan, time, Pace::poisson(rate, seed), &mut found.paced)?;
        self.slot(plan, time / 2, Pace::Closed, &mut found.closed)?;
        self.log.enter(at, &paced)
    }

    fn take_in(&mut self, visits: &Visits) {
        self.paced.add(&visits.paced.slot);
        self.closed.add(&visits.closed.slot);
        if let Some(used) = &visits.paced.used {
            self.usage.add(used);
        }
    }

    /// A slot, with what the server used and what the machine did meanwhile.
    fn slot(&mut self, plan: &Plan, time: Duration, pace: Pace, found: &mut Visited) -> io::Result<Slot> {
        let reading = Reading::take();
        let before = self.server.usage(plan.transport);
        let slot = self.crowd.slot(time, pace)?;
        let used = self.server.usage(plan.transport).zip(before).map(|(now, before)| now.since(&before));
        found.add(&slot, used, Reading::take().since(&reading));
        Ok(slot)
    }
}

/// Latency over rate for every contestant: each point is the median of some looks, which come in rounds as visits do.
pub(super) fn curves(
    plan: &Plan,
    capacities: &[f64],
    field: &mut [Entrant],
    progress: Progress<'_>,
) -> io::Result<Vec<Vec<CurvePoint>>> {
    let mut random = Random::new(plan.seed);
    let stages: Vec<_> = capacities.iter().map(|&capacity| stages(plan, capacity)).collect();
    let mut looks: Vec<(usize, usize)> =
        stages.iter().enumerate().flat_map(|(at, stages)| (0..stages.len()).map(move |stage| (at, stage))).collect();
    let mut found: Vec<Vec<Vec<Option<f64>>>> = stages.iter().map(|stages| vec![Vec::new(); stages.len()]).collect();
    'rounds: for round in 0..LOOKS {
        progress(&format!("latency over rate: round {} of {LOOKS}", round + 1));
        random.shuffle(&mut looks);
        for &(at, stage) in &looks {
            if plan.stop.load(Ordering::Relaxed) {
                break 'rounds;
            }
            let (time, rate) = stages[at][stage];
            let slot = field[at].crowd.slot(time / LOOKS, Pace::poisson(rate, random.next()))?;
            found[at][stage].push(slot.response_at(0.99).map(|ns| ns as f64 / 1e3));
        }
    }
    let point =
        |((_, rate), looks): (&(Duration, f64), &Vec<Option<f64>>)| CurvePoint { rate: *rate, p99_us: middle(looks) };
    Ok(stages.iter().zip(&found).map(|(stages, found)| stages.iter().zip(found).map(point).collect()).collect())
}

/// The median of what was found; none if that was nothing in half of the looks.
fn middle(looks: &[Option<f64>]) -> Option<f64> {
    let found: Vec<f64> = looks.iter().copied().flatten().collect();
    (2 * found.len() > looks.len()).then(|| median(&found))
}

/// The stages that were asked for, or parts of what a contestant can do.
fn stages(plan: &Plan, capacity: f64) -> Vec<(Duration, f64)> {
    if plan.stages.is_empty() {
        CURVE.map(|part| (plan.slot * 3, (capacity * part).max(1.0))).to_vec()
    } else {
        plan.stages.clone()
    }
}

/// Which blocks of which entrant are void, for one kind of slot.
pub(super) fn voids(observations: &[Vec<Observation>], kind: usize) -> Vec<Vec<bool>> {
    let weather = |blocks: &Vec<Observation>| blocks.iter().map(|block| block.weather[kind]).collect::<Vec<_>>();
    observations.iter().map(|blocks| busier_than_usual(&weather(blocks))).collect()
}

/// In which stretches of the same work the machine was busier with other things than usual in this run. A fixed limit would void
/// everything on a machine that is always busy.
pub(crate) fn busier_than_usual(stretches: &[Weather]) -> Vec<bool> {
    let gauges: [fn(&Weather) -> f64; 3] =
        [|weather| weather.pressure.unwrap_or(0.0), |weather| weather.steal, |weather| weather.client_waited];
    let mut voids = vec![false; stretches.len()];
    for gauge in gauges {
        // What is usual for this contestant: one that keeps both cores busy makes the client wait more.
        let values: Vec<f64> = stretches.iter().map(gauge).collect();
        let limit = (JUMP * median(&values)).max(median(&values) + CALM);
        values.iter().zip(&mut voids).for_each(|(value, void)| *void |= *value > limit);
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
