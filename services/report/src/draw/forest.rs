//! A forest: ratios with their intervals around 1. What cannot be told from 1 has no colour.

use super::frame::{self, Legend, MARGIN, Plot, Sample, WIDTH};
use super::scale::{Extent, Scale};
use crate::font::SMALL;
use crate::looks::{self, Look, Mark};
use crate::model::{Chart, Interval, Point};
use crate::scene::{Anchor, Ink, Scene, Shape, Stroke};
use crate::units;

/// Height of a line.
const LINE: f64 = 26.0;

/// Draws a forest.
pub(super) fn draw(chart: &Chart) -> Scene {
    let looks = looks::all(chart.series.iter().map(|series| series.name.as_str()));
    let is_several = chart.series.len() > 1;
    let told_apart = chart.series.iter().zip(&looks).filter(|_| is_several);
    let legend = Legend(told_apart.map(|(series, look)| (Sample::Mark(*look), series.name.clone())).collect());

    let (mut scene, top) = frame::begin(chart);
    let top = frame::heading(&mut scene, &chart.y, top);
    let lines = chart.y.names.len().max(1);
    let line = if is_several { LINE.max(14.0 * chart.series.len() as f64 + 8.0) } else { LINE };
    let names = chart.y.names.iter().map(|name| SMALL.width(&frame::name(name))).fold(0.0, f64::max);
    let figures = if is_several { 0.0 } else { figures_width(chart) + 16.0 };
    let plot = Plot {
        left: MARGIN + names + 18.0,
        right: WIDTH - MARGIN - figures - legend.width(),
        top,
        bottom: top + (line * lines as f64).max(legend.height()),
    };
    let scale = Scale::ratio(&chart.x.unit, extent(chart), plot.left, plot.right);

    for at in (0..lines).step_by(2) {
        let y = top + at as f64 * line;
        scene.field((MARGIN, y), (WIDTH - MARGIN - legend.width(), y + line), Ink::Stripe);
    }
    let end = frame::horizontal(&mut scene, plot, &scale, &chart.x);
    let one = scale.place(1.0);
    scene.line(vec![(one, plot.top), (one, plot.bottom)], Stroke::solid(Ink::Text, 1.4));
    for (at, name) in chart.y.names.iter().enumerate() {
        let y = top + (at as f64 + 0.5) * line + 4.0;
        scene.text((plot.left - 10.0, y), Anchor::End, SMALL, Ink::Text, frame::name(name));
    }
    for (number, (series, look)) in chart.series.iter().zip(&looks).enumerate() {
        for point in &series.points {
            let Some(at) = point.y.filter(|at| (0.0..lines as f64).contains(at)) else { continue };
            let aside = (number as f64 + 0.5) / chart.series.len() as f64 - 0.5;
            let y = top + (at.floor() + 0.5 + aside * 0.8) * line;
            let name = chart.y.names.get(at as usize).map_or("", String::as_str);
            let own = looks::architecture(name).filter(|_| !is_several);
            dot(&mut scene, point, own.unwrap_or(*look), &scale, y);
            scene.hint(format!("{name} {}: {}", series.name, words(chart, point)));
            if !is_several {
                let place = (WIDTH - MARGIN - 8.0, y + 4.0);
                scene.text(place, Anchor::End, SMALL, ink(point, Ink::Text), words(chart, point));
            }
        }
    }
    legend.draw(&mut scene, Plot { right: WIDTH - MARGIN - legend.width(), ..plot });
    frame::end(scene, chart, end)
}

fn extent(chart: &Chart) -> Extent {
    let points = chart.series.iter().flat_map(|series| &series.points);
    Extent::of(points.flat_map(|point| {
        let ends = point.interval.map_or([point.x; 2], |interval| [interval.low, interval.high]);
        [point.x, ends[0], ends[1]]
    }))
}

fn figures_width(chart: &Chart) -> f64 {
    let points = chart.series.iter().flat_map(|series| &series.points);
    points.map(|point| SMALL.width(&words(chart, point))).fold(0.0, f64::max)
}

fn words(chart: &Chart, point: &Point) -> String {
    let plain = |value: f64| units::plain(value, &chart.x.unit);
    match point.interval {
        Some(Interval { low, high, .. }) => format!("{} [{}, {}]", plain(point.x), plain(low), plain(high)),
        None => plain(point.x),
    }
}

fn is_one(point: &Point) -> bool {
    point.interval.is_none_or(|interval| interval.low <= 1.0 && 1.0 <= interval.high)
}

/// The ink of what differs from 1; grey for what may not.
fn ink(point: &Point, differs: Ink) -> Ink {
    if is_one(point) { Ink::Muted } else { differs }
}

fn dot(scene: &mut Scene, point: &Point, look: Look, scale: &Scale, y: f64) {
    let ink = ink(point, Ink::Key(look.colour));
    if let Some(interval) = point.interval {
        let (low, high) = ((scale.place(interval.low), y), (scale.place(interval.high), y));
        frame::whisker(scene, low, high, Stroke::solid(ink, 2.0));
    }
    let centre = (scale.place(point.x), y);
    if is_one(point) {
        let stroke = Some(Stroke::solid(ink, 1.8));
        scene.add(Shape::Circle { centre, radius: 4.4, fill: Ink::Paper, stroke });
    } else {
        // A ring would look like no difference.
        let mark = if look.mark == Mark::Ring { Mark::Disc } else { look.mark };
        scene.mark(Look { mark, ..look }, centre, 5.0);
    }
}
