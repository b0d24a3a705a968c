//! A race on a terminal: a lane for each server.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ::bench::race::{A_SHOW, Lane};

use crate::live::width;

/// A rate is that of this last stretch.
const RECENT: Duration = Duration::from_secs(1);

/// The least that a lane is worth looking at.
const SHORTEST: usize = 10;

/// What was seen lately.
#[derive(Debug)]
pub struct Track {
    seen: VecDeque<(Instant, Vec<Lane>)>,
}

impl Track {
    /// Nobody has begun to run.
    pub const fn new() -> Self {
        Self { seen: VecDeque::new() }
    }

    /// Takes in how far they are now.
    pub fn see(&mut self, lanes: &[Lane]) {
        let now = Instant::now();
        self.seen.push_back((now, lanes.to_vec()));
        while self.seen.len() > 2 && self.seen.get(1).is_some_and(|(then, _)| now - *then >= RECENT) {
            self.seen.pop_front();
        }
    }

    /// The race as lines, the leader at the end of the track: as wide as the terminal.
    pub fn picture(&self, head: &str) -> Vec<String> {
        self.picture_of(head, width())
    }

    fn picture_of(&self, head: &str, width: usize) -> Vec<String> {
        let left = self.now().iter().map(|lane| lane.name.len()).max().unwrap_or(0);
        let figures = self.fitting(width.saturating_sub(left + SHORTEST + 4));
        let right = figures.iter().map(|text| text.chars().count()).max().unwrap_or(0);
        let room = width.saturating_sub(left + right + 4).max(SHORTEST);
        let most = self.now().iter().map(|lane| lane.answers).max().unwrap_or(0).max(1);
        let lanes = self.now().iter().zip(&figures).map(|(lane, figures)| {
            let done = (lane.answers as u128 * room as u128 / u128::from(most)) as usize;
            format!("{:left$} │{}{}│ {figures}", lane.name, "█".repeat(done), " ".repeat(room - done))
        });
        let blank = String::new;
        [head.to_owned(), blank()].into_iter().chain(lanes).chain([blank(), A_SHOW.to_owned()]).collect()
    }

    /// A line for each lane, for scripts.
    pub fn plain(&self) -> Vec<String> {
        let line = |(at, lane): (usize, &Lane)| {
            let recent = self.recent(at);
            format!(
                "{} right={} rate={} p50={} p99={} cpu={} failed={}",
                lane.name,
                lane.answers,
                or_dash(recent.map(|(rate, _)| rate), |rate| format!("{rate:.0}/s")),
                or_dash(lane.p50_us, |us| format!("{us:.0}µs")),
                or_dash(lane.p99_us, |us| format!("{us:.0}µs")),
                or_dash(recent.and_then(|(_, cpu)| cpu), |cpu| format!("{cpu:.0}%")),
                lane.errors
            )
        };
        self.now().iter().enumerate().map(line).collect()
    }

    fn now(&self) -> &[Lane] {
        self.seen.back().map_or(&[], |(_, lanes)| lanes)
    }

    /// Each lane's figures as text, the first ones that there is room for: a part of a number would be another number.
    fn fitting(&self, room: usize) -> Vec<String> {
        let all: Vec<Vec<String>> = (0..self.now().len()).map(|at| self.figures(at)).collect();
        let first = |count: usize| -> Vec<String> {
            all.iter().map(|figures| figures[..count.min(figures.len())].join(" ")).collect()
        };
        let most = all.iter().map(Vec::len).max().unwrap_or(0);
        let fits = |texts: &Vec<String>| texts.iter().all(|text| text.chars().count() <= room);
        (1..=most).rev().map(first).find(fits).unwrap_or_else(|| first(0))
    }

    fn figures(&self, at: usize) -> Vec<String> {
        let lane = &self.now()[at];
        let recent = self.recent(at);
        let microseconds = |us: f64| format!("{us:.0} µs");
        let mut figures = vec![
            format!("{:>9}", lane.answers),
            format!("{:>9}", or_dash(recent.map(|(rate, _)| rate), |rate| format!("{rate:.0}/s"))),
            format!("p50 {:>8}", or_dash(lane.p50_us, microseconds)),
            format!("p99 {:>9}", or_dash(lane.p99_us, microseconds)),
            format!("CPU {:>5}", or_dash(recent.and_then(|(_, cpu)| cpu), |cpu| format!("{cpu:.0} %"))),
        ];
        if lane.errors > 0 {
            figures.push(format!("failed {}", lane.errors));
        }
        figures
    }

    /// Answers a second, and CPU time in percent of a core, of the last stretch.
    fn recent(&self, at: usize) -> Option<(f64, Option<f64>)> {
        let ((then, before), (now, after)) = (self.seen.front()?, self.seen.back()?);
        let seconds = (*now - *then).as_secs_f64();
        let (before, after) = (before.get(at)?, after.get(at)?);
        let cpu = after.cpu_ns.zip(before.cpu_ns);
        (seconds > 0.0).then(|| {
            let rate = after.answers.saturating_sub(before.answers) as f64 / seconds;
            (rate, cpu.map(|(now, then)| now.saturating_sub(then) as f64 / 1e7 / seconds))
        })
    }
}

fn or_dash(value: Option<f64>, show: impl FnOnce(f64) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

#[cfg(test)]
mod tests {
    use super::{Lane, Track};

    fn lane(name: &str, answers: u64) -> Lane {
        Lane { name: name.into(), answers, errors: 0, p50_us: Some(12.0), p99_us: None, cpu_ns: Some(0) }
    }

    #[test]
    fn the_leader_is_at_the_end_of_the_track() {
        let mut track = Track::new();
        track.see(&[lane("a", 0), lane("bb", 0)]);
        std::thread::sleep(std::time::Duration::from_millis(2));
        track.see(&[lane("a", 50), lane("bb", 100)]);
        let picture = track.picture("a race");
        let blocks = |line: &str| line.matches('█').count();
        assert_eq!(picture[0], "a race");
        assert!(picture[2].starts_with("a  │█") && picture[2].contains("12 µs"), "{picture:?}");
        assert!(picture[3].contains("█│"), "{picture:?}");
        assert_eq!(blocks(&picture[2]), blocks(&picture[3]) / 2);
        assert!(picture[5].starts_with("a show, not a measurement"));
        let narrow = track.picture_of("a race", 40);
        assert!(narrow[3].ends_with("/s") && narrow[3].contains(&format!("█│ {:>9}", 100)), "{narrow:?}");
        assert!(track.picture_of("a race", 20)[3].ends_with("█│ "), "no part of a figure");
        let plain = track.plain();
        assert!(plain[1].starts_with("bb right=100 rate="), "{plain:?}");
        assert!(plain[1].ends_with(" p50=12µs p99=- cpu=0% failed=0"), "{plain:?}");
    }
}
