//! Lines: a figure against another one, percentiles, and figures over time.

use super::frame::{self, Legend, MARGIN, Plot, Sample, WIDTH};
use super::scale::{Extent, Scale};
use crate::font::SMALL;
use crate::looks::{self, Look};
use crate::model::{Chart, Form, Point, Series};
use crate::scene::{Anchor, Ink, Place, Scene, Stroke};
use crate::units;

/// Height of the plot, unless the legend is higher.
const HEIGHT: f64 = 420.0;
/// So many marks are enough to know a line by.
const MARKS: usize = 12;
/// Height of a row of names of what was changed.
const ROW: f64 = 17.0;

/// Draws a chart of lines.
pub(super) fn draw(chart: &Chart) -> Scene {
    let (marks, lines): (Vec<&Series>, Vec<&Series>) =
        chart.series.iter().partition(|series| chart.form == Form::Timeline && is_mark(series));
    let looks = looks::all(lines.iter().map(|series| series.name.as_str()));
    let named = lines.iter().zip(&looks).filter(|(series, _)| !series.name.is_empty());
    let legend = Legend(named.map(|(series, look)| (Sample::Line(*look), series.name.clone())).collect());

    let (mut scene, top) = frame::begin(chart);
    let top = frame::heading(&mut scene, &chart.y, top);
    let changes = changes(&marks);
    let rows = Rows::of(&changes, |x| x_scale(chart, (0.0, 1.0)).place(x), &legend);
    let top = top + rows.height();
    let height = HEIGHT.max(legend.height());
    let y = Scale::of(&chart.y, extent_of_y(&lines), top + height, top, 6);
    let left = MARGIN + frame::labels_width(&y.ticks) + 8.0;
    let plot = Plot { left, right: WIDTH - MARGIN - legend.width(), top, bottom: top + height };
    let x = x_scale(chart, (plot.left, plot.right));

    frame::vertical(&mut scene, plot, &y);
    let end = frame::horizontal(&mut scene, plot, &x, &chart.x);
    rows.draw(&mut scene, &changes, &x, plot);
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

/// When something was changed, and what, in the order of time.
fn changes<'chart>(marks: &[&'chart Series]) -> Vec<(f64, &'chart str)> {
    let mut changes: Vec<(f64, &str)> = marks
        .iter()
        .flat_map(|series| series.points.iter().map(|point| (point.x, series.name.as_str())))
        .filter(|(x, _)| x.is_finite())
        .collect();
    changes.sort_by(|one, other| one.0.total_cmp(&other.0));
    changes
}

/// In which row above the plot the name of each change stands, so that none lies on another; none if it has no room.
struct Rows(Vec<Option<usize>>);

impl Rows {
    const MOST: usize = 5;

    /// `part` says where in the plot (0 to 1) something is.
    fn of(changes: &[(f64, &str)], part: impl Fn(f64) -> f64, legend: &Legend) -> Self {
        // The plot's left edge depends on the labels that are not known yet; the least width is what counts.
        let width = WIDTH - 2.0 * MARGIN - legend.width() - 90.0;
        let mut free = [f64::NEG_INFINITY; Self::MOST];
        let mut row = |(x, name): &(f64, &str)| {
            let begin = part(*x) * width;
            let row = free.iter().position(|free| *free <= begin)?;
            free[row] = begin + SMALL.width(&frame::name(name)) + 14.0;
            Some(row)
        };
        Self(changes.iter().map(&mut row).collect())
    }

    fn height(&self) -> f64 {
        let used = self.0.iter().flatten().max().map_or(0, |row| row + 1);
        used as f64 * ROW + if used > 0 { 4.0 } else { 0.0 }
    }

    fn draw(&self, scene: &mut Scene, changes: &[(f64, &str)], x: &Scale, plot: Plot) {
        for ((value, name), row) in changes.iter().zip(&self.0) {
            let at = x.place(*value);
            let top = plot.top - row.map_or(0.0, |row| (row + 1) as f64 * ROW - 4.0);
            let stroke = Stroke { ink: Ink::Muted, width: 1.2, dash: looks::Dash::Dash };
            scene.line(vec![(at, top), (at, plot.bottom)], stroke);
            scene.hint(format!("{}: {name}", units::figure(*value, "s")));
            if row.is_some() {
                scene.text((at + 4.0, top + 9.0), Anchor::Start, SMALL, Ink::Text, frame::name(name));
            }
        }
    }
}
