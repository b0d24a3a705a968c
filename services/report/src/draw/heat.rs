//! A heat map: the more, the darker.

use super::frame::{self, MARGIN, Plot, WIDTH};
use super::scale::Scale;
use crate::colour;
use crate::font::SMALL;
use crate::model::{Axis, Chart, Point, Scale as Kind};
use crate::scene::{Anchor, Ink, Scene};

/// Height of the plot, unless it has many names.
const HEIGHT: f64 = 380.0;
/// Least height of a named line.
const LINE: f64 = 20.0;
/// Of the scale of colours, with the distance from the plot.
const KEY: f64 = 120.0;
/// From this ratio on of the greatest to the least, colours are logarithmic.
const WIDE: f64 = 100.0;

/// Draws a heat map.
pub(super) fn draw(chart: &Chart) -> Scene {
    let points: Vec<(&Point, f64)> =
        chart.series.iter().flat_map(|series| &series.points).filter_map(|point| Some((point, point.y?))).collect();
    let columns = distinct(points.iter().map(|(point, _)| point.x));
    let lines = distinct(points.iter().map(|(_, y)| *y));

    let (mut scene, top) = frame::begin(chart);
    let top = frame::heading(&mut scene, &chart.y, top);
    let height = HEIGHT.max(chart.y.names.len() as f64 * LINE);
    let y = Scale::fields(&chart.y, &lines, top + height, top, 6);
    let left = MARGIN + frame::labels_width(&y.ticks) + 8.0;
    let plot = Plot { left, right: WIDTH - MARGIN - KEY, top, bottom: top + height };
    let x = Scale::fields(&chart.x, &columns, plot.left, plot.right, 8);

    frame::vertical(&mut scene, plot, &y);
    let end = frame::horizontal(&mut scene, plot, &x, &chart.x);
    let colours = Colours::of(points.iter().filter_map(|(point, _)| point.z));
    let columns = edges(&x, &columns, (plot.left, plot.right));
    let lines = edges(&y, &lines, (plot.bottom, plot.top));
    for (point, at) in &points {
        let (Some(z), Some(across), Some(down)) = (point.z, find(&columns, point.x), find(&lines, *at)) else {
            continue;
        };
        scene.field((across.0, down.0), (across.1, down.1), Ink::Exact(colours.of_value(z)));
        let place = (super::label(&chart.x, point.x), super::label(&chart.y, *at));
        scene.hint(format!("{}, {}: {}", place.0, place.1, crate::units::figure(z, "")));
    }
    if points.is_empty() {
        frame::nothing(&mut scene, plot);
    }
    frame::frame(&mut scene, plot);
    colours.draw(&mut scene, chart, plot);
    frame::end(scene, chart, end)
}

fn distinct(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}

/// A value, and the pixels between which its fields are.
type Edges = (f64, (f64, f64));

/// Fields meet in the middle between two values; where a value is missing they do not, so that a gap is seen.
fn edges(scale: &Scale, values: &[f64], ends: (f64, f64)) -> Vec<Edges> {
    let places: Vec<f64> = values.iter().map(|value| scale.place(*value)).collect();
    let mut gaps: Vec<f64> = places.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    gaps.sort_by(f64::total_cmp);
    let usual = gaps.get(gaps.len() / 2).copied().unwrap_or_else(|| (ends.1 - ends.0).abs());
    let (low, high) = (ends.0.min(ends.1), ends.0.max(ends.1));
    let edge = |place: f64, neighbour: Option<&f64>, side: f64| {
        let reach = neighbour.map_or(usual / 2.0, |other| ((other - place) / 2.0).abs().min(usual * 0.75));
        // To a pixel, so that there are no seams.
        ((place + side * reach).clamp(low, high) * 2.0).round() / 2.0
    };
    let side = (ends.1 - ends.0).signum();
    let field = |(at, place): (usize, &f64)| {
        let before = at.checked_sub(1).and_then(|at| places.get(at));
        (values[at], (edge(*place, before, -side), edge(*place, places.get(at + 1), side)))
    };
    places.iter().enumerate().map(field).collect()
}

fn find(edges: &[Edges], value: f64) -> Option<(f64, f64)> {
    let at = edges.binary_search_by(|(known, _)| known.total_cmp(&value)).ok()?;
    Some(edges[at].1)
}

/// From figures to colours.
struct Colours {
    low: f64,
    high: f64,
    kind: Kind,
}

impl Colours {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let values = distinct(values);
        let high = values.last().copied().unwrap_or(1.0).max(f64::MIN_POSITIVE);
        let least = values.iter().copied().find(|value| *value > 0.0).unwrap_or(high);
        if high / least >= WIDE && values.first().is_some_and(|low| *low >= 0.0) {
            Self { low: least, high, kind: Kind::Logarithmic }
        } else {
            Self { low: values.first().copied().unwrap_or(0.0).min(0.0), high, kind: Kind::Linear }
        }
    }

    fn of_value(&self, value: f64) -> colour::Rgb {
        let part = match self.kind {
            Kind::Logarithmic if value <= 0.0 => 0.0,
            Kind::Logarithmic => (value / self.low).ln() / (self.high / self.low).ln(),
            Kind::Linear => (value - self.low) / (self.high - self.low),
        };
        colour::heat(part)
    }

    /// The colours and what they mean, right of the plot.
    fn draw(&self, scene: &mut Scene, chart: &Chart, plot: Plot) {
        let left = plot.right + 24.0;
        let name = chart.series.first().map_or("", |series| series.name.as_str());
        let remark = if self.kind == Kind::Logarithmic { " (logarithmic)" } else { "" };
        let mut top = plot.top;
        for line in SMALL.wrap(&format!("{name}{remark}"), WIDTH - MARGIN - left) {
            scene.text((left, top + 11.0), Anchor::Start, SMALL, Ink::Muted, line);
            top += SMALL.line();
        }
        let (top, bottom) = (top + 4.0, plot.bottom);
        // From the darkest down, each over the last, so that there are no seams.
        for at in (0..64).rev() {
            let y = bottom - f64::from(at + 1) * (bottom - top) / 64.0;
            scene.field((left, y), (left + 16.0, bottom), Ink::Exact(colour::heat(f64::from(at) / 63.0)));
        }
        let axis = Axis { title: String::new(), unit: String::new(), scale: self.kind, names: Vec::new() };
        let scale = Scale::exact(&axis, self.low, self.high, (bottom, top), 5);
        for tick in scale.ticks.iter().filter(|tick| !tick.words.is_empty()) {
            scene.text((left + 22.0, tick.place + 4.0), Anchor::Start, SMALL, Ink::Muted, tick.words.clone());
        }
    }
}
