//! `zenlab race`: all at once, for the eye.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ::bench::race::{self, A_SHOW, Lane, Plan};
use rustix::termios::isatty;

use super::field::Field;
use super::track::Track;
use super::{STOP, failed, progress, units, watch_for_stop};
use crate::failure::{INTERRUPTED, OK, Outcome as Done};
use crate::live::{CTRL_BACKSLASH, CTRL_C, Stage};
use crate::output;

/// How often there is a line for each, where nobody sees the lanes.
const PACE: Duration = Duration::from_secs(1);

/// The key that ends a race, and is no interruption.
const QUIT: u8 = b'q';

/// What `race` is told.
///
/// All servers are loaded at the same time. That looks good and says nothing: use `zenlab bench` to compare.
/// On a terminal there is a lane for each, and q or Ctrl-C ends the race; elsewhere there is a line for each every second.
/// Exit codes: 0 done or ended by q, 1 failed, 2 usage, 130 interrupted.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    field: Field,
    /// How long it is
    #[arg(short, long, default_value = "10s", value_parser = units::time, allow_hyphen_values = true, value_name = "TIME")]
    duration: Duration,
    /// Lines instead of lanes, on a terminal, too
    #[arg(long)]
    plain: bool,
    /// Show nothing but the result
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the race and prints the result.
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
    let mut view = View::new(args);
    let lanes = race::run(&plan, &lab, &contestants, &mut progress(args.quiet), &mut |lanes| view.show(lanes));
    let has_quit = view.close();
    let mut lanes = lanes.map_err(|error| failed(&error))?;
    lanes.sort_by_key(|lane| std::cmp::Reverse(lane.answers));
    output::say_all(&output::table(&rows(&lanes)));
    output::say(A_SHOW);
    Ok(if STOP.load(Ordering::Relaxed) && !has_quit { INTERRUPTED } else { OK })
}

fn rows(lanes: &[Lane]) -> Vec<Vec<String>> {
    let head = ["NAME", "ANSWERS", "P50 µs", "P99 µs", "ERRORS"].map(str::to_owned).to_vec();
    let figure = |us: Option<f64>| us.map_or_else(|| "-".to_owned(), |us| format!("{us:.0}"));
    let row = |lane: &Lane| {
        let (answers, errors) = (lane.answers.to_string(), lane.errors.to_string());
        vec![lane.name.clone(), answers, figure(lane.p50_us), figure(lane.p99_us), errors]
    };
    std::iter::once(head).chain(lanes.iter().map(row)).collect()
}

/// What is seen while they run.
struct View {
    track: Track,
    mode: Mode,
    begun: Option<Instant>,
    duration: Duration,
    has_quit: bool,
}

enum Mode {
    /// The whole terminal, taken at the first frame: until then the start is told in lines.
    Lanes(Option<Stage>),
    /// Since when no line was printed.
    Lines(Instant),
    Nothing,
}

impl View {
    fn new(args: &Args) -> Self {
        let mode = match (args.quiet, args.plain || !isatty(std::io::stdout())) {
            (true, _) => Mode::Nothing,
            (false, true) => Mode::Lines(Instant::now()),
            (false, false) => Mode::Lanes(None),
        };
        Self { track: Track::new(), mode, begun: None, duration: args.duration, has_quit: false }
    }

    fn show(&mut self, lanes: &[Lane]) {
        self.track.see(lanes);
        let begun = *self.begun.get_or_insert_with(Instant::now);
        match &mut self.mode {
            Mode::Lanes(stage) => {
                if stage.is_none() {
                    // A terminal that cannot be taken shows the result only.
                    *stage = Stage::take().ok();
                }
                let Some(on) = stage else { return };
                if let Some(key) = on.heard(&[QUIT, CTRL_C, CTRL_BACKSLASH]) {
                    self.has_quit = key == QUIT;
                    STOP.store(true, Ordering::Relaxed);
                    // Given back at once: whoever has no patience with the end has a Ctrl-C that is a signal again.
                    self.mode = Mode::Nothing;
                    return;
                }
                let (gone, all) = (begun.elapsed().as_secs_f64(), self.duration.as_secs_f64());
                on.draw(&self.track.picture(&format!("{gone:.1} s of {all:.1} s · q or Ctrl-C ends the race")));
            }
            Mode::Lines(last) if last.elapsed() >= PACE => {
                *last = Instant::now();
                output::say_all(&self.track.plain());
            }
            Mode::Lines(_) | Mode::Nothing => {}
        }
    }

    /// Gives the terminal back; says whether q ended the race.
    fn close(self) -> bool {
        self.has_quit
    }
}
