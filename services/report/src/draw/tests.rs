//! Whatever a document holds, its pictures can be read.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use super::chart as draw;
use super::frame::NOTHING;
use crate::looks::Dash;
use crate::model::{Axis, Chart, Form, Interval, Point, Report, Scale, Series};
use crate::scene::{Anchor, Ink, Place, Scene, Shape};

const FORMS: [Form; 6] = [Form::Lines, Form::Bars, Form::Forest, Form::Spectrum, Form::Heat, Form::Timeline];

/// Left, top, right and bottom of words, without the room between lines.
type Area = (f64, f64, f64, f64);

fn areas(scene: &Scene) -> Vec<(Area, &str)> {
    let mut areas = Vec::new();
    for item in &scene.items {
        if let Shape::Text { place: (x, y), anchor, font, words, .. } = &item.shape {
            let width = font.width(words);
            let left = match anchor {
                Anchor::Start => *x,
                Anchor::Middle => x - width / 2.0,
                Anchor::End => x - width,
            };
            areas.push(((left, y - font.size * 0.75, left + width, y + font.size * 0.2), words.as_str()));
        }
    }
    areas
}

fn assert_readable(chart: &Chart) {
    let scene = draw(chart);
    let areas = areas(&scene);
    let form = chart.form;
    for (at, ((left, top, right, bottom), words)) in areas.iter().enumerate() {
        let is_inside = *left >= 0.0 && *top >= 0.0 && *right <= scene.width && *bottom <= scene.height;
        assert!(is_inside, "{form:?} {}: {words:?} is cut: {left} to {right}", chart.id);
        for (other, others) in &areas[at + 1..] {
            let is_apart = *right <= other.0 || other.2 <= *left || *bottom <= other.1 || other.3 <= *top;
            assert!(is_apart, "{form:?} {}: {words:?} lies on {others:?}", chart.id);
        }
    }
    for item in &scene.items {
        if let Shape::Path { places, .. } = &item.shape {
            let is_inside = |(x, y): &(f64, f64)| (0.0..=scene.width).contains(x) && (0.0..=scene.height).contains(y);
            assert!(places.iter().all(is_inside), "{form:?} {}: {places:?}", chart.id);
        }
        if let Some(((x, top), (_, bottom))) = line_of_change(&item.shape) {
            let crosses = |area: &Area| area.0 < x && x < area.2 && area.1 < bottom && top < area.3;
            let under = areas.iter().find(|(area, words)| crosses(area) && *words != NOTHING);
            assert!(under.is_none(), "{form:?} {}: the line of a change crosses {under:?}", chart.id);
        }
    }
}

/// The ends of the line that says when something was changed, if a shape is one.
fn line_of_change(shape: &Shape) -> Option<(Place, Place)> {
    match shape {
        Shape::Path { places, stroke: Some(stroke), .. } if stroke.ink == Ink::Muted && stroke.dash == Dash::Dashed => {
            Some((places[0], places[1]))
        }
        _ => None,
    }
}

fn sample() -> Report {
    Report::from_json(include_str!("../../tests/sample.json")).unwrap()
}

#[test]
fn no_words_of_the_sample_are_cut_or_lie_on_others() {
    let report = sample();
    assert!(FORMS.iter().all(|form| report.charts.iter().any(|chart| chart.form == *form)), "a sample of each form");
    report.charts.iter().for_each(assert_readable);
}

fn long(name: &str) -> String {
    name.repeat(40)
}

fn axis(scale: Scale, names: &[String]) -> Axis {
    Axis { title: long("axis "), unit: "us".to_owned(), scale, names: names.to_vec() }
}

/// Charts of a form with names and figures that nobody planned for.
fn hostile(form: Form, scale: Scale, values: &[f64], series: usize) -> Chart {
    let names: Vec<String> = (0..40).map(|number| long(&format!("name{number}"))).collect();
    let none: &[String] = &[];
    let (on_x, on_y) = match form {
        Form::Bars => (names.as_slice(), none),
        Form::Forest => (none, names.as_slice()),
        _ => (none, none),
    };
    let point = |at: usize, value: f64| {
        let interval = Some(Interval { low: value / 2.0, high: value, confidence: 0.9 });
        let (x, y) = match form {
            Form::Bars => (at as f64, value),
            Form::Forest => (value, at as f64),
            Form::Spectrum => (at as f64 / 40.0, value),
            _ => (value, value),
        };
        Point { x, y: Some(y), interval, z: Some(value) }
    };
    let points: Vec<Point> = values.iter().enumerate().map(|(at, value)| point(at, *value)).collect();
    let series = (0..series).map(|number| Series { name: long(&format!("<s{number}>")), points: points.clone() });
    let mark = |at| Point { x: f64::from(at), y: None, interval: None, z: None };
    let marks = Series { name: long("mark "), points: (0..30).map(mark).collect() };
    Chart {
        id: format!("{scale:?}_{values:?}"),
        title: long("title "),
        form,
        x: axis(scale, on_x),
        y: axis(scale, on_y),
        series: series.chain([marks].into_iter().filter(|_| form == Form::Timeline)).collect(),
        note: long("note "),
    }
}

#[test]
fn no_words_of_a_hostile_document_are_cut_or_lie_on_others() {
    let figures: [&[f64]; 8] = [
        &[],
        &[0.0],
        &[0.0, 0.0, 1e12],
        &[1.0, 1.0, 1.0],
        &[f64::MAX, f64::MIN_POSITIVE],
        &[-5.0, -1.0],
        &[1e-9, 1.0, 1e9, 12_345.678_9],
        &[0.999_999, 1.0, 1.000_001],
    ];
    for form in FORMS {
        for scale in [Scale::Linear, Scale::Logarithmic] {
            for values in figures {
                for series in [0, 1, 20] {
                    assert_readable(&hostile(form, scale, values, series));
                }
            }
        }
    }
}
