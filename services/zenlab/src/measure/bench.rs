//! `zenlab bench`: what a question costs each architecture.

use std::time::Duration;

use ::bench::bench::{self, Contestant, Outcome, Plan};

use super::baseline::Baselines;
use super::field::Field;
use super::{Output, STOP, begin, command, failed, progress, publish, units};
use crate::failure::{Failure, LIMIT, OK, Outcome as Done};
use crate::output;

/// What `bench` is told.
///
/// Every architecture is visited in short slots, in a random order, again and again; what is printed are medians of ratios
/// with 95 % intervals. Exit codes: 0 done, 1 failed, 2 usage, 3 a limit is not kept or a ratio is worse than the baseline's,
/// 4 inconclusive, 130 interrupted.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  zenlab bench\n  zenlab bench --only epoll,tokio_current_thread --pairs 120\n  \
                        zenlab bench --save-baseline main\n  zenlab bench --baseline main\n  \
                        zenlab bench --only all --transport udp -R 2k -o out\n  zenlab bench --target old=tcp://127.0.0.1:1071")]
pub struct Args {
    #[command(flatten)]
    field: Field,
    /// Blocks; each gives a pair for every comparison
    #[arg(long, default_value = "40", value_parser = units::count, allow_hyphen_values = true, value_name = "N")]
    pairs: usize,
    /// Time for all blocks, instead of their number
    #[arg(short, long, value_parser = units::time, allow_hyphen_values = true, value_name = "TIME", conflicts_with = "pairs")]
    duration: Option<Duration>,
    /// Questions a second that are offered to each [default: half of what the slowest can do]
    #[arg(short = 'R', long, alias = "qps", value_parser = units::rate, allow_hyphen_values = true, value_name = "N")]
    rate: Option<f64>,
    /// Time at the offered rate that each block has for each, in visits of about 20 ms
    #[arg(long, default_value = "100ms", value_parser = units::time, allow_hyphen_values = true, value_name = "TIME")]
    slot: Duration,
    /// Questions of a slot, instead of its length
    #[arg(short = 'n', long, value_parser = units::count, allow_hyphen_values = true, value_name = "N", requires = "rate", conflicts_with = "slot")]
    questions: Option<usize>,
    /// Questions on the way on each connection, in the closed loop
    #[arg(long, default_value = "1", value_parser = units::depth, allow_hyphen_values = true, value_name = "N")]
    pipeline: usize,
    /// How long each is warmed up at most
    #[arg(long, default_value = "1s", value_parser = units::time, allow_hyphen_values = true, value_name = "TIME")]
    warmup: Duration,
    /// What the random order and the arrivals follow from
    #[arg(long, default_value_t = 1, value_parser = units::seed, allow_hyphen_values = true, value_name = "N")]
    seed: u64,
    /// Whom all are compared with [default: epoll, else the first]
    #[arg(long, value_name = "NAME")]
    reference: Option<String>,
    /// Measure latency over a range of rates, too
    #[arg(long)]
    curve: bool,
    /// The stages of that range, such as 2s@1k,2s@5k
    #[arg(long, value_delimiter = ',', value_parser = units::stage, value_name = "STAGES")]
    stages: Vec<(Duration, f64)>,
    /// Leave the unfriendly clients at home
    #[arg(long)]
    friendly: bool,
    /// A limit for each architecture at the offered rate, such as p99<5ms
    #[arg(long, value_parser = units::limit, value_name = "LIMIT")]
    slo: Option<(f64, Duration)>,
    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    baseline: Baselines,
    #[command(flatten)]
    output: Output,
}

/// Measures, and prints the report.
pub fn run(args: &Args) -> Done {
    let contestants = args.field.contestants()?;
    let plan = args.plan(&contestants)?;
    let baseline = args.baseline.load()?;
    if args.dry_run {
        output::say_all(&describe(&plan, &contestants));
        return Ok(OK);
    }
    args.output.prepare()?;
    let lab = args.field.quiet_lab()?;
    if let Some(baseline) = &baseline {
        baseline.must_have(&bench::settings(&plan, &lab, &contestants))?;
    }
    let session = begin(args.seed);
    let outcome =
        bench::run(&plan, &lab, &contestants, &mut progress(args.output.quiet)).map_err(|error| failed(&error))?;
    let report = bench::report(&plan, &outcome, session.end(&lab, &command(), &args.output.label));
    // Whatever cannot be written, the other is.
    let (published, saved) = (publish(&report, &args.output), args.baseline.save(&report));
    let mut code = published?;
    if let Some((lines, found)) = baseline.map(|baseline| baseline.judge(&report)).transpose()? {
        args.output.add(&lines);
        code = if code == OK { found } else { code };
    }
    saved?;
    Ok(if code == OK && !args.keeps_limit(&outcome) { LIMIT } else { code })
}

impl Args {
    fn plan(&self, contestants: &[Contestant]) -> Result<Plan, Failure> {
        let names: Vec<&str> = contestants.iter().map(|one| one.subject.name.as_str()).collect();
        let usual = if names.contains(&"epoll") { "epoll" } else { names[0] };
        let reference = self.reference.as_deref().unwrap_or(usual);
        if !names.contains(&reference) {
            let names = names.join(", ");
            return Err(Failure::usage(format!("the reference {reference:?} takes no part; there are {names}")));
        }
        let transport = self.field.transport;
        if self.pipeline > 1 && !transport.is_stream() {
            let why = "a datagram socket has one question on the way, so it must be 1";
            return Err(Failure::usage(format!("--pipeline {} over {transport}: {why}", self.pipeline)));
        }
        let slot = self.slot()?;
        let block = block(slot, contestants);
        let pairs = self.duration.map_or(self.pairs, |all| (all.as_secs_f64() / block.as_secs_f64()).ceil() as usize);
        Ok(Plan {
            transport,
            connections: self.field.connections,
            rate: self.rate,
            pairs,
            slot,
            pipeline: self.pipeline,
            warmup: self.warmup,
            seed: self.seed,
            reference: reference.to_owned(),
            curve: self.curve || !self.stages.is_empty(),
            stages: self.stages.clone(),
            hostile: !self.friendly,
            stop: &STOP,
        })
    }

    /// The time at the offered rate: as it was said, or as long as the questions take.
    fn slot(&self) -> Result<Duration, Failure> {
        let Some((count, rate)) = self.questions.zip(self.rate) else { return Ok(self.slot) };
        let slot = Duration::from_secs_f64(count as f64 / rate);
        if units::TIMES.contains(&slot) {
            return Ok(slot);
        }
        Err(Failure::usage(format!("-n {count} at -R {rate} takes {slot:?}, and a slot takes 1ms to 24h")))
    }

    fn keeps_limit(&self, outcome: &Outcome) -> bool {
        let Some((q, longest)) = self.slo else { return true };
        let broken = outcome
            .entrants
            .iter()
            .filter(|entrant| entrant.paced.response_at(q).is_none_or(|ns| Duration::from_nanos(ns) >= longest));
        let names: Vec<&str> = broken.map(|entrant| entrant.name.as_str()).collect();
        if !names.is_empty() {
            output::complain(&format!("the limit of {longest:?} is not kept by {}", names.join(", ")));
        }
        names.is_empty()
    }
}

/// About how long a block takes: each visit has a slot, half of one in a closed loop, and a quarter that is not counted; the twin
/// is visited, too.
fn block(slot: Duration, contestants: &[Contestant]) -> Duration {
    slot.mul_f64(1.75) * (contestants.len() as u32 + 1)
}

fn describe(plan: &Plan, contestants: &[Contestant]) -> Vec<String> {
    let time = block(plan.slot, contestants) * plan.pairs as u32;
    let rate =
        plan.rate.map_or("half of what the slowest can do".to_owned(), |rate| format!("{rate} questions a second"));
    let mut lines = vec![
        format!(
            "{} blocks over {}, {:?} for each in visits of {:?}, about {:.0} s",
            plan.pairs,
            plan.transport,
            plan.slot,
            plan.slot / plan.visits(),
            time.as_secs_f64()
        ),
        format!("offered rate: {rate}; seed {}; compared with {}, which takes part twice", plan.seed, plan.reference),
    ];
    lines.extend(contestants.iter().map(|one| {
        let settings = one.subject.settings.join(" ");
        let held = one.at_once.unwrap_or(usize::MAX).min(plan.connections);
        let connections = if held == 1 { "connection" } else { "connections" };
        format!("{}: {held} {connections} {settings}", one.subject.name).trim_end().to_owned()
    }));
    lines
}
