//! Lines: a figure against another one, percentiles, and figures over time.

use super::changes::Changes;
use super::frame::{self, Legend, MARGIN, Plot, Sample, WIDTH};
use super::scale::{Extent, Scale};
use crate::looks::{self, Look};
use crate::model::{Chart, Form, Point, Series};
use crate::scene::{Ink, Place, Scene, Stroke};

/// Height of the plot, unless the legend is higher.
const HEIGHT: f64 = 420.0;
/// So many marks are enough to know a line by.
const MARKS: usize = 12;

/// Draws a chart of lines.
pub(super) fn draw(chart: &Chart) -> Scene {
    let (marks, lines): (Vec<&Series>, Vec<&Series>) =
        chart.series.iter().partition(|series| chart.form == Form::Timeline && is_mark(series));
    let looks = looks::all(lines.iter().map(|series| series.name.as_str()));
    let named = lines.iter().zip(&looks).filter(|(series, _)| !series.name.is_empty());
    let legend = Legend(named.map(|(series, look)| (Sample::Line(*look), series.name.clone())).collect());

    let (mut scene, top) = frame::begin(chart);
    let top = frame::heading(&mut scene, &chart.y, top);
    let y = |top: f64, bottom: f64| Scale::of(&chart.y, extent_of_y(&lines), bottom, top, 6);
    let left = MARGIN + frame::labels_width(&y(0.0, 1.0).ticks) + 8.0;
    let right = WIDTH - MARGIN - legend.width();
    let x = x_scale(chart, (left, right));
    let changes = Changes::of(&marks, &x);
    let top = top + changes.height();
    let plot = Plot { left, right, top, bottom: top + HEIGHT.max(legend.height()) };
    let y = y(plot.top, plot.bottom);

    frame::vertical(&mut scene, plot, &y);
    let end = frame::horizontal(&mut scene, plot, &x, &chart.x);
    changes.draw(&mut scene, plot);
    for (series, look) in lines.iter().zip(&looks) {
        line(&mut scene, chart, series, *look, (&x, &y));
    }
    if !lines.iter().any(|series| series.points.iter().any(|point| point.y.is_some())) {
        frame::nothing(&mut scene, plot);
    }
    legend.draw(&mut scene, plot);
    frame::end(scene, chart, end)
}

fn is_mark(series: &Series) -> bool {
    series.points.iter().all(|point| point.y.is_none())
}

fn x_scale(chart: &Chart, (from, to): (f64, f64)) -> Scale {
    let extent = Extent::of(chart.series.iter().flat_map(|series| &series.points).map(|point| point.x));
    if chart.form == Form::Spectrum { Scale::tail(extent, from, to) } else { Scale::of(&chart.x, extent, from, to, 8) }
}

fn extent_of_y(lines: &[&Series]) -> Extent {
    let points = lines.iter().flat_map(|series| &series.points);
    Extent::of(points.flat_map(|point| {
        let ends = point.interval.filter(|_| point.y.is_some()).map(|interval| [interval.low, interval.high]);
        point.y.into_iter().chain(ends.into_iter().flatten())
    }))
}

/// One series: its intervals, its line, its marks.
fn line(scene: &mut Scene, chart: &Chart, series: &Series, look: Look, (x, y): (&Scale, &Scale)) {
    let ink = Ink::Key(look.colour);
    let mut points: Vec<&Point> = series.points.iter().filter(|point| point.x.is_finite()).collect();
    points.sort_by(|one, other| one.x.total_cmp(&other.x));
    for point in points.iter().filter(|point| point.y.is_some()) {
        if let Some(interval) = point.interval {
            let (low, high) = ((x.place(point.x), y.place(interval.low)), (x.place(point.x), y.place(interval.high)));
            frame::whisker(scene, low, high, Stroke::solid(ink, 1.2));
        }
    }
    // Where there is no figure there is no line.
    for part in points.split(|point| point.y.is_none()) {
        let places: Vec<Place> = part.iter().filter_map(|point| place(point, x, y)).collect();
        scene.line(places, Stroke { ink, width: 2.2, dash: look.dash });
    }
    let every = points.len().div_ceil(MARKS).max(1);
    for (at, point) in points.iter().enumerate() {
        let is_last = at + 1 == points.len();
        if let Some(place) = place(point, x, y).filter(|_| at % every == 0 || is_last) {
            scene.mark(look, place, 3.6);
            scene.hint(words(chart, series, point));
        }
    }
}

fn place(point: &Point, x: &Scale, y: &Scale) -> Option<Place> {
    Some((x.place(point.x), y.place(point.y?)))
}

fn words(chart: &Chart, series: &Series, point: &Point) -> String {
    let x = match chart.form {
        Form::Spectrum => format!("{} %", (point.x * 1e7).round() / 1e5),
        _ => super::label(&chart.x, point.x),
    };
    let y = point.y.map_or(String::new(), |y| match chart.y.names.get(y as usize) {
        Some(name) => name.clone(),
        None => frame::with_interval(y, point.interval, &chart.y.unit),
    });
    format!("{}: {x}: {y}", series.name)
}
