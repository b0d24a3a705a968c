//! What every picture has: a heading, axes, a legend, a note. Nothing is cut and no words lie on others.

use super::scale::{Scale, Tick};
use crate::font::{LABEL, SMALL, TITLE};
use crate::looks::Look;
use crate::model::{Axis, Chart};
use crate::scene::{Anchor, Ink, Scene, Shape, Stroke};
use crate::units;

/// Of a picture, in pixels.
pub(super) const WIDTH: f64 = 960.0;
/// At all sides.
pub(super) const MARGIN: f64 = 24.0;
/// The longest name, before it is shortened.
const LONGEST_NAME: f64 = 210.0;
/// Height of a line of the legend.
const LEGEND_LINE: f64 = 22.0;
/// Length of a line's sample in the legend.
const SAMPLE: f64 = 38.0;

/// Where figures are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Plot {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

/// A picture with its heading, and where the next thing may begin.
pub(super) fn begin(chart: &Chart) -> (Scene, f64) {
    let mut scene = Scene { width: WIDTH, height: 0.0, title: chart.title.clone(), items: Vec::new() };
    let mut y = MARGIN;
    for line in TITLE.wrap(&chart.title, WIDTH - 2.0 * MARGIN) {
        y += TITLE.line();
        scene.text((MARGIN, y - 8.0), Anchor::Start, TITLE, Ink::Text, line);
    }
    (scene, y + 6.0)
}

/// The picture with its note and its ground; `y` is where the figures end.
pub(super) fn end(mut scene: Scene, chart: &Chart, y: f64) -> Scene {
    let mut y = y + 10.0;
    for line in SMALL.wrap(&chart.note, WIDTH - 2.0 * MARGIN) {
        y += SMALL.line();
        scene.text((MARGIN, y), Anchor::Start, SMALL, Ink::Muted, line);
    }
    scene.height = (y + MARGIN - 4.0).ceil();
    let mut ground = Scene { items: Vec::new(), ..scene };
    ground.field((0.0, 0.0), (WIDTH, ground.height), Ink::Paper);
    ground.items.append(&mut scene.items);
    ground
}

/// What an axis is, with its unit where its ticks do not say it.
pub(super) fn title(axis: &Axis) -> String {
    let logarithmic = axis.scale == crate::model::Scale::Logarithmic && axis.names.is_empty();
    let remark = if logarithmic { " (logarithmic)" } else { "" };
    format!("{}{remark}", axis.title)
}

/// The title of the vertical axis, above it; gives where the plot may begin.
pub(super) fn heading(scene: &mut Scene, axis: &Axis, y: f64) -> f64 {
    let lines = LABEL.wrap(&title(axis), WIDTH - 2.0 * MARGIN);
    let mut y = y;
    for line in &lines {
        y += LABEL.line();
        scene.text((MARGIN, y - 4.0), Anchor::Start, LABEL, Ink::Muted, line);
    }
    y + 14.0
}

/// Width of the labels of a vertical axis.
pub(super) fn labels_width(ticks: &[Tick]) -> f64 {
    ticks.iter().map(|tick| SMALL.width(&name(&tick.words))).fold(0.0, f64::max)
}

/// A name as long as there is room for.
pub(super) fn name(words: &str) -> String {
    SMALL.shorten(words, LONGEST_NAME)
}

/// Lines across the plot, and their labels left of it.
pub(super) fn vertical(scene: &mut Scene, plot: Plot, scale: &Scale) {
    let mut above = f64::INFINITY;
    for tick in &scale.ticks {
        scene.line(vec![(plot.left, tick.place), (plot.right, tick.place)], Stroke::solid(Ink::Grid, weight(tick)));
        if !tick.words.is_empty() && above - tick.place >= SMALL.size + 2.0 {
            let place = (plot.left - 8.0, tick.place + 4.0);
            scene.text(place, Anchor::End, SMALL, Ink::Muted, name(&tick.words));
            above = tick.place;
        }
    }
}

/// Lines down the plot, their labels below it, and the axis's title below them; gives where that ends.
pub(super) fn horizontal(scene: &mut Scene, plot: Plot, scale: &Scale, axis: &Axis) -> f64 {
    let mut free = 0.0;
    for tick in &scale.ticks {
        scene.line(vec![(tick.place, plot.top), (tick.place, plot.bottom)], Stroke::solid(Ink::Grid, weight(tick)));
        let words = SMALL.shorten(&tick.words, LONGEST_NAME / 2.0);
        let half = SMALL.width(&words) / 2.0;
        let middle = tick.place.min(WIDTH - 4.0 - half);
        if !words.is_empty() && middle - half >= free {
            scene.text((middle, plot.bottom + 18.0), Anchor::Middle, SMALL, Ink::Muted, words);
            free = middle + half + 8.0;
        }
    }
    scene.line(vec![(plot.left, plot.bottom), (plot.right, plot.bottom)], Stroke::solid(Ink::Muted, 1.0));
    let mut y = plot.bottom + 22.0;
    for line in LABEL.wrap(&title(axis), plot.right - plot.left) {
        y += LABEL.line();
        scene.text((f64::midpoint(plot.left, plot.right), y), Anchor::Middle, LABEL, Ink::Muted, line);
    }
    y + 4.0
}

fn weight(tick: &Tick) -> f64 {
    if tick.words.is_empty() { 0.6 } else { 1.0 }
}

/// What the legend shows before a name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Sample {
    /// A line with its mark.
    Line(Look),
    /// A mark alone.
    Mark(Look),
    /// A field, so dense.
    Field(Look, f64),
}

/// The names and their samples.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Legend(pub(super) Vec<(Sample, String)>);

impl Legend {
    /// How wide it is, with the distance from the plot; 0 if there is nothing to tell apart.
    pub(super) fn width(&self) -> f64 {
        let names = self.0.iter().map(|(_, name)| SMALL.width(&self::name(name)));
        if self.0.is_empty() { 0.0 } else { names.fold(0.0, f64::max) + SAMPLE + 8.0 + 20.0 }
    }

    /// How high it is.
    pub(super) fn height(&self) -> f64 {
        self.0.len() as f64 * LEGEND_LINE
    }

    /// Draws it right of the plot.
    pub(super) fn draw(&self, scene: &mut Scene, plot: Plot) {
        let left = plot.right + 20.0;
        for (at, (sample, words)) in self.0.iter().enumerate() {
            let y = plot.top + (at as f64 + 0.5) * LEGEND_LINE;
            let middle = (left + SAMPLE / 2.0, y);
            match *sample {
                Sample::Line(look) => {
                    let stroke = Stroke { ink: Ink::Key(look.colour), width: 2.2, dash: look.dash };
                    scene.line(vec![(left, y), (left + SAMPLE, y)], stroke);
                    scene.mark(look, middle, 4.0);
                }
                Sample::Mark(look) => scene.mark(look, middle, 4.5),
                Sample::Field(look, opacity) => {
                    scene.bar((left + 8.0, y - 6.0), (left + 30.0, y + 6.0), Ink::Key(look.colour), opacity);
                }
            }
            scene.text((left + SAMPLE + 8.0, y + 4.0), Anchor::Start, SMALL, Ink::Text, name(words));
            if name(words) != *words {
                scene.hint(words);
            }
        }
    }
}

/// A line between the ends of an interval, with feet.
pub(super) fn whisker(scene: &mut Scene, one: (f64, f64), other: (f64, f64), stroke: Stroke) {
    let is_upright = (one.0 - other.0).abs() < (one.1 - other.1).abs();
    let foot = |(x, y): (f64, f64)| {
        if is_upright { vec![(x - 3.5, y), (x + 3.5, y)] } else { vec![(x, y - 3.5), (x, y + 3.5)] }
    };
    scene.line(vec![one, other], stroke);
    scene.line(foot(one), stroke);
    scene.line(foot(other), stroke);
}

/// A figure and its interval, for who points at it.
pub(super) fn with_interval(value: f64, interval: Option<crate::model::Interval>, unit: &str) -> String {
    let figure = units::figure(value, unit);
    match interval {
        Some(interval) => {
            let (low, high) = (units::figure(interval.low, unit), units::figure(interval.high, unit));
            format!("{figure} [{low}, {high}]")
        }
        None => figure,
    }
}

/// What is said where there is nothing to see.
pub(super) const NOTHING: &str = "no figures";

/// Says that there is nothing to see, on a ground of its own.
pub(super) fn nothing(scene: &mut Scene, plot: Plot) {
    let (x, y) = (f64::midpoint(plot.left, plot.right), f64::midpoint(plot.top, plot.bottom));
    let half = LABEL.width(NOTHING) / 2.0 + 8.0;
    scene.field((x - half, y - 18.0), (x + half, y + 10.0), Ink::Paper);
    scene.text((x, y), Anchor::Middle, LABEL, Ink::Muted, NOTHING);
}

/// A frame of a field without filling.
pub(super) fn frame(scene: &mut Scene, plot: Plot) {
    let places = vec![
        (plot.left, plot.top),
        (plot.right, plot.top),
        (plot.right, plot.bottom),
        (plot.left, plot.bottom),
        (plot.left, plot.top),
    ];
    scene.add(Shape::Path { places, fill: None, opacity: 1.0, stroke: Some(Stroke::solid(Ink::Muted, 1.0)) });
}
