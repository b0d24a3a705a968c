//! `zenlab race`: all at once, for the eye.

use std::io::Write;
use std::time::Duration;

use ::bench::race::{self, A_SHOW, Lane, Plan};
use rustix::termios::isatty;

use super::field::Field;
use super::{STOP, failed, progress, units, watch_for_stop};
use crate::failure::{INTERRUPTED, OK, Outcome as Done};
use crate::output;

/// How long the track is on the screen.
const TRACK: usize = 50;

/// What `race` is told.
///
/// All servers are loaded at the same time. That looks good and says nothing: use `zenlab bench` to compare.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    field: Field,
    /// How long it is
    #[arg(short, long, default_value = "10s", value_parser = units::time, value_name = "TIME")]
    duration: Duration,
    /// Show nothing but the result
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the race; the bars are on standard error if that is a terminal, the result on standard output.
pub fn run(args: &Args) -> Done {
    let contestants = args.field.contestants()?;
    let lab = args.field.lab()?;
    watch_for_stop();
    let plan = Plan {
        transport: args.field.transport,
        connections: args.field.connections,
        duration: args.duration,
        stop: &STOP,
    };
    let is_shown = !args.quiet && isatty(std::io::stderr());
    let mut is_first = true;
    let mut show = |lanes: &[Lane]| {
        if is_shown {
            draw(lanes, std::mem::take(&mut is_first));
        }
    };
    let mut lanes =
        race::run(&plan, &lab, &contestants, &mut progress(args.quiet), &mut show).map_err(|error| failed(&error))?;
    lanes.sort_by_key(|lane| std::cmp::Reverse(lane.answers));
    let rows = lanes.iter().map(|lane| vec![lane.name.clone(), lane.answers.to_string(), lane.errors.to_string()]);
    let head = ["NAME", "ANSWERS", "ERRORS"].map(str::to_owned).to_vec();
    output::say_all(&output::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>()));
    output::say(A_SHOW);
    Ok(if STOP.load(std::sync::atomic::Ordering::Relaxed) { INTERRUPTED } else { OK })
}

/// Draws the lanes over the last ones.
fn draw(lanes: &[Lane], is_first: bool) {
    let mut picture = if is_first { "\r".to_owned() } else { format!("\x1b[{}A", lanes.len() + 1) };
    for line in picture_of(lanes) {
        picture.push_str("\x1b[2K");
        picture.push_str(&line);
        picture.push('\n');
    }
    // A terminal that is gone sees no race.
    let _ = std::io::stderr().write_all(picture.as_bytes());
}

/// A line for each lane, the leader at the end of the track, and what it is worth.
fn picture_of(lanes: &[Lane]) -> Vec<String> {
    let most = lanes.iter().map(|lane| lane.answers).max().unwrap_or(0).max(1);
    let width = lanes.iter().map(|lane| lane.name.len()).max().unwrap_or(0);
    let line = |lane: &Lane| {
        let done = (lane.answers as u128 * TRACK as u128 / u128::from(most)) as usize;
        let (run, left) = ("=".repeat(done), " ".repeat(TRACK - done));
        format!("{:width$} |{run}>{left}| {}", lane.name, lane.answers)
    };
    lanes.iter().map(line).chain([A_SHOW.to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::{Lane, picture_of};

    #[test]
    fn the_leader_is_at_the_end_of_the_track() {
        let lane = |name: &str, answers| Lane { name: name.into(), answers, errors: 0 };
        let picture = picture_of(&[lane("a", 50), lane("bb", 100)]);
        assert_eq!(picture[0], format!("a  |{}>{}| 50", "=".repeat(25), " ".repeat(25)));
        assert_eq!(picture[1], format!("bb |{}>| 100", "=".repeat(50)));
        assert!(picture[2].starts_with("a show, not a measurement"));
        assert_eq!(picture_of(&[lane("a", 0)]).len(), 2);
    }
}
