//! What was changed in a timeline, and when: lines down the plot, and their names in rows above it.

use super::frame::{MARGIN, Plot, WIDTH};
use super::scale::Scale;
use crate::font::SMALL;
use crate::looks::Dash;
use crate::model::Series;
use crate::scene::{Anchor, Ink, Scene, Stroke};
use crate::units;

/// Height of a row.
const ROW: f64 = 17.0;
/// So many rows are enough; what finds no room has its line, and its name for who points at it.
const MOST: usize = 6;

/// Lines that are nearer have one name.
const NEAR: f64 = 9.0;
/// The longest name, before it is shortened.
const LONGEST: f64 = 330.0;

/// A change, or some that are near each other: where the line is, and from where to where the name reaches.
struct Change {
    value: f64,
    line: f64,
    name: String,
    begin: f64,
    end: f64,
    row: Option<usize>,
}

/// All changes, with rows in which no name lies on another one or on a line.
pub(super) struct Changes(Vec<Change>);

impl Changes {
    /// Of series whose points are changes.
    pub(super) fn of(series: &[&Series], x: &Scale) -> Self {
        let points = series.iter().flat_map(|series| series.points.iter().map(|point| (point.x, series.name.as_str())));
        let mut points: Vec<(f64, &str)> = points.filter(|(value, _)| value.is_finite()).collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut changes: Vec<Change> = Vec::new();
        for (value, name) in points {
            match changes.last_mut().filter(|last| x.place(value) - last.line < NEAR) {
                Some(near) => *near = Change::of(near.value, &format!("{} · {name}", near.name), x),
                None => changes.push(Change::of(value, name, x)),
            }
        }
        // From the right: what is left of another one goes above it.
        changes.reverse();
        for at in 0..changes.len() {
            let (placed, rest) = changes.split_at_mut(at);
            rest[0].row = (0..MOST).find(|row| placed.iter().all(|other| rest[0].is_free_of(other, *row)));
        }
        Self(changes)
    }

    /// Height of their rows.
    pub(super) fn height(&self) -> f64 {
        let rows = self.0.iter().filter_map(|change| change.row).max().map_or(0, |row| row + 1);
        rows as f64 * ROW
    }

    /// Draws their lines and names.
    pub(super) fn draw(&self, scene: &mut Scene, plot: Plot) {
        for Change { value, line, name, begin, row, .. } in &self.0 {
            let top = plot.top - row.map_or(0.0, |row| row as f64 * ROW);
            let stroke = Stroke { ink: Ink::Muted, width: 1.2, dash: Dash::Dashed };
            scene.line(vec![(*line, top), (*line, plot.bottom)], stroke);
            scene.hint(format!("{}: {name}", units::figure(*value, "s")));
            if row.is_some() {
                scene.text((*begin, top - 4.0), Anchor::Start, SMALL, Ink::Text, SMALL.shorten(name, LONGEST));
            }
        }
    }
}

impl Change {
    fn of(value: f64, name: &str, x: &Scale) -> Self {
        let line = x.place(value);
        let width = SMALL.width(&SMALL.shorten(name, LONGEST));
        let begin = (line - 4.0).min(WIDTH - MARGIN - width);
        Self { value, line, name: name.to_owned(), begin, end: begin + width, row: None }
    }

    /// Whether in this row neither name lies on the other nor on its line.
    fn is_free_of(&self, other: &Self, row: usize) -> bool {
        let Some(others) = other.row else { return true };
        let holds = |change: &Self, x: f64| (change.begin - 6.0..change.end + 6.0).contains(&x);
        match row.cmp(&others) {
            std::cmp::Ordering::Equal => self.end + 10.0 <= other.begin || other.end + 10.0 <= self.begin,
            std::cmp::Ordering::Less => !holds(self, other.line),
            std::cmp::Ordering::Greater => !holds(other, self.line),
        }
    }
}
