//! Bars: they lie, so that their names can be read.

use super::frame::{self, Legend, MARGIN, Plot, Sample, WIDTH};
use super::scale::{Extent, Scale};
use crate::font::SMALL;
use crate::looks::{self, Look};
use crate::model::{Chart, Point, Series};
use crate::scene::{Anchor, Ink, Scene, Stroke};
use crate::units;

/// Thickness of a bar.
const BAR: f64 = 16.0;
/// Distance of two groups.
const GAP: f64 = 10.0;
/// How dense the bars of a group's series are, so that they can be told apart in grey.
const DENSE: [f64; 4] = [1.0, 0.5, 0.2, 0.0];

/// Draws a chart of bars.
pub(super) fn draw(chart: &Chart) -> Scene {
    let looks = looks::all(chart.series.iter().map(|series| series.name.as_str()));
    let is_group = chart.series.len() > 1;
    let told_apart = chart.series.iter().zip(&looks).enumerate().filter(|_| is_group);
    let sample =
        |(at, (series, look)): (usize, (&Series, &Look))| (Sample::Field(*look, dense(at)), series.name.clone());
    let legend = Legend(told_apart.map(sample).collect());

    let (mut scene, top) = frame::begin(chart);
    let top = top + 8.0;
    let group = chart.series.len().max(1) as f64 * (BAR + 2.0) + GAP;
    let height = (group * chart.x.names.len() as f64).max(legend.height()).max(group);
    let names = chart.x.names.iter().map(|name| SMALL.width(&frame::name(name))).fold(0.0, f64::max);
    let right = WIDTH - MARGIN - legend.width() - figures_width(chart) - 12.0;
    let plot = Plot { left: MARGIN + names + 10.0, right, top, bottom: top + height };
    let scale = Scale::of(&chart.y, extent(chart).with_room_below(), plot.left, plot.right, 6);

    let end = frame::horizontal(&mut scene, plot, &scale, &chart.y);
    for (at, name) in chart.x.names.iter().enumerate() {
        let y = top + at as f64 * group;
        scene.text((plot.left - 8.0, y + group / 2.0 + 4.0), Anchor::End, SMALL, Ink::Text, frame::name(name));
        for (number, (series, look)) in chart.series.iter().zip(&looks).enumerate() {
            let y = y + GAP / 2.0 + number as f64 * (BAR + 2.0) + 1.0;
            let point = series.points.iter().find(|point| (point.x - at as f64).abs() < 0.5);
            // A single series of architectures has their colours.
            let own = looks::architecture(name).filter(|_| !is_group);
            bar(&mut scene, chart, name, point, (own.unwrap_or(*look), dense(number)), &scale, (y, plot));
        }
    }
    scene.line(vec![(plot.left, plot.top), (plot.left, plot.bottom)], Stroke::solid(Ink::Muted, 1.0));
    legend.draw(&mut scene, Plot { right: WIDTH - MARGIN - legend.width(), ..plot });
    frame::end(scene, chart, end)
}

fn dense(at: usize) -> f64 {
    DENSE[at % DENSE.len()]
}

fn extent(chart: &Chart) -> Extent {
    let points = chart.series.iter().flat_map(|series| &series.points);
    Extent::of(points.flat_map(|point| point.y.into_iter().chain(point.interval.map(|interval| interval.high))))
}

fn figures_width(chart: &Chart) -> f64 {
    let values = chart.series.iter().flat_map(|series| &series.points).filter_map(|point| point.y);
    values.map(|value| SMALL.width(&units::figure(value, &chart.y.unit))).fold(SMALL.width("none"), f64::max)
}

/// One bar with its interval and its figure.
fn bar(
    scene: &mut Scene,
    chart: &Chart,
    name: &str,
    point: Option<&Point>,
    (look, dense): (Look, f64),
    scale: &Scale,
    (y, plot): (f64, Plot),
) {
    let words_at = y + BAR / 2.0 + 4.0;
    let Some((point, value)) = point.and_then(|point| Some((point, point.y?))) else {
        return scene.text((plot.left + 6.0, words_at), Anchor::Start, SMALL, Ink::Muted, "none");
    };
    let (zero, place) = (scale.place(0.0), scale.place(value));
    let (begin, end) = (zero.min(place), zero.max(place));
    scene.field((begin, y), (end, y + BAR), Ink::Paper);
    scene.bar((begin, y), (end, y + BAR), Ink::Key(look.colour), dense);
    scene.hint(format!("{name}: {}", frame::with_interval(value, point.interval, &chart.y.unit)));
    let mut edge = end;
    if let Some(interval) = point.interval {
        let (low, high) = (scale.place(interval.low), scale.place(interval.high));
        edge = edge.max(high);
        let middle = y + BAR / 2.0;
        frame::whisker(scene, (low, middle), (high, middle), Stroke::solid(Ink::Paper, 3.4));
        frame::whisker(scene, (low, middle), (high, middle), Stroke::solid(Ink::Text, 1.3));
    }
    scene.text((edge + 7.0, words_at), Anchor::Start, SMALL, Ink::Text, units::figure(value, &chart.y.unit));
}
