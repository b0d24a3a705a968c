//! `zenlab search`: the greatest rate at which a server keeps a limit.

use std::time::Duration;

use ::bench::search::{self, Limit, Plan};

use super::field::Field;
use super::{Output, STOP, begin, command, failed, progress, publish, units};
use crate::failure::{INCONCLUSIVE, LIMIT, OK, Outcome as Done};
use crate::output;

/// A window shorter than this times the limit does not show a slight overload.
const WINDOWS: u32 = 20;

/// What `search` is told.
///
/// The share of answers that are later than the limit is tested, over windows in a random order with windows of a low rate that
/// watch the machine. Exit codes: 0 done, 1 failed, 2 usage, 3 below --at-least, 4 inconclusive, 130 interrupted.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  zenlab search --only epoll --slo 'p99<5ms'\n  \
                        zenlab search --target old=tcp://127.0.0.1:1071 --slo 'p99.9<20ms' --at-least 5k")]
pub struct Args {
    #[command(flatten)]
    field: Field,
    /// The limit
    #[arg(long, default_value = "p99<10ms", value_parser = units::limit, value_name = "LIMIT")]
    slo: (f64, Duration),
    /// Time for each server
    #[arg(short, long, default_value = "40s", value_parser = units::time, allow_hyphen_values = true, value_name = "TIME")]
    duration: Duration,
    /// Fail if a server cannot do so much
    #[arg(long, value_parser = units::rate, allow_hyphen_values = true, value_name = "RATE")]
    at_least: Option<f64>,
    /// What orders and arrivals follow from
    #[arg(long, default_value_t = 1, value_parser = units::seed, allow_hyphen_values = true, value_name = "N")]
    seed: u64,
    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
}

/// Searches, and prints the report.
pub fn run(args: &Args) -> Done {
    let contestants = args.field.contestants()?;
    let plan = args.plan();
    if args.dry_run {
        for one in &contestants {
            output::say(&format!(
                "{}: the greatest rate with {} < {:?}, in windows of {:?}, about {:?}",
                one.subject.name,
                plan.percentile(),
                plan.longest,
                plan.window,
                plan.budget
            ));
        }
        return Ok(OK);
    }
    args.output.prepare()?;
    let lab = args.field.quiet_lab()?;
    let session = begin(args.seed);
    let outcomes =
        search::run(&plan, &lab, &contestants, &mut progress(args.output.quiet)).map_err(|error| failed(&error))?;
    let report = search::report(&plan, &outcomes, session.end(&lab, &command(), &args.output.label));
    let code = publish(&report, &args.output)?;
    let least = args.at_least.filter(|_| code == OK);
    Ok(least.map_or(code, |least| all_can(least, outcomes.iter().map(|outcome| &outcome.limit))))
}

/// The exit code for what each server must be able to do: a single one that cannot decides, then one of which it is not known.
fn all_can<'limits>(least: f64, limits: impl Iterator<Item = &'limits Limit>) -> u8 {
    let can = |limit: &Limit| match limit {
        Limit::Found { rate, .. } => Some(*rate >= least),
        Limit::AtLeast(rate) => (*rate >= least).then_some(true),
        Limit::Below(rate) => (*rate <= least).then_some(false),
        Limit::Inconclusive(_) => None,
    };
    let found: Vec<Option<bool>> = limits.map(can).collect();
    if found.contains(&Some(false)) {
        LIMIT
    } else if found.contains(&None) {
        INCONCLUSIVE
    } else {
        OK
    }
}

impl Args {
    fn plan(&self) -> Plan {
        let (quantile, longest) = self.slo;
        Plan {
            transport: self.field.transport,
            connections: self.field.connections,
            quantile,
            longest,
            window: (longest * WINDOWS).clamp(Duration::from_millis(200), Duration::from_secs(2)),
            budget: self.duration,
            seed: self.seed,
            stop: &STOP,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{INCONCLUSIVE, LIMIT, Limit, OK, all_can};

    #[test]
    fn what_is_not_known_is_neither_kept_nor_broken() {
        let found = |rate| Limit::Found { rate, interval: (rate, rate), by: "nothing" };
        for (limits, code) in [
            (vec![found(5e3), Limit::AtLeast(6e3)], OK),
            (vec![found(4999.0)], LIMIT),
            (vec![Limit::AtLeast(3e3)], INCONCLUSIVE),
            (vec![Limit::Below(5e3)], LIMIT),
            (vec![Limit::Below(6e3)], INCONCLUSIVE),
            (vec![Limit::AtLeast(3e3), found(1.0)], LIMIT),
        ] {
            assert_eq!(all_can(5e3, limits.iter()), code, "{limits:?}");
        }
    }
}
