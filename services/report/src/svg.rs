//! A drawing as SVG.

use std::fmt::Write;

use crate::escape::xml;
use crate::font::Font;
use crate::scene::{Anchor, Ink, Item, Place, Scene, Shape, Stroke};

/// A file of its own, as seen by day.
pub(crate) fn file(scene: &Scene) -> String {
    element(scene, " xmlns=\"http://www.w3.org/2000/svg\"") + "\n"
}

/// A part of a page. Shapes have a class for each ink, so that the page can show it by night.
pub(crate) fn inline(scene: &Scene) -> String {
    element(scene, "")
}

/// The class of what is drawn with an ink; none if it looks the same by day and night.
pub(crate) fn class(ink: Ink) -> Option<String> {
    match ink {
        Ink::Text => Some("i-text".to_owned()),
        Ink::Muted => Some("i-muted".to_owned()),
        Ink::Grid => Some("i-grid".to_owned()),
        Ink::Stripe => Some("i-stripe".to_owned()),
        Ink::Paper => Some("i-paper".to_owned()),
        Ink::Key(colour) => Some(format!("i-{}", colour.to_string().trim_start_matches('#').to_lowercase())),
        Ink::Exact(_) => None,
    }
}

fn element(scene: &Scene, more: &str) -> String {
    let (width, height) = (number(scene.width), number(scene.height));
    let mut text = format!(
        "<svg{more} viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" \
         aria-label=\"{}\" font-family=\"DejaVu Sans, Verdana, Geneva, sans-serif\">\n",
        xml(&scene.title)
    );
    for item in &scene.items {
        write(&mut text, item);
    }
    text.push_str("</svg>");
    text
}

fn write(text: &mut String, Item { shape, hint }: &Item) {
    let (name, attributes, content) = parts(shape);
    let hint = if hint.is_empty() { String::new() } else { format!("<title>{}</title>", xml(hint)) };
    let content = hint + &content;
    // Writing to a string cannot fail.
    let _ = if content.is_empty() {
        writeln!(text, "<{name}{attributes}/>")
    } else {
        writeln!(text, "<{name}{attributes}>{content}</{name}>")
    };
}

/// An element's name, attributes and content.
fn parts(shape: &Shape) -> (&'static str, String, String) {
    match shape {
        Shape::Path { places, fill, opacity, stroke } => {
            let mut attributes = format!(" d=\"{}\"", path(places, fill.is_some()));
            attributes += &painted(*fill, *stroke);
            if *opacity < 1.0 {
                let _ = write!(attributes, " fill-opacity=\"{}\"", number(*opacity));
            }
            if matches!(fill, Some(Ink::Exact(_))) {
                attributes += " shape-rendering=\"crispEdges\"";
            }
            ("path", attributes, String::new())
        }
        Shape::Circle { centre: (x, y), radius, fill, stroke } => {
            let place = format!(" cx=\"{}\" cy=\"{}\" r=\"{}\"", number(*x), number(*y), number(*radius));
            ("circle", place + &painted(Some(*fill), *stroke), String::new())
        }
        Shape::Text { place: (x, y), anchor, font, ink, words } => {
            let place = format!(" x=\"{}\" y=\"{}\"", number(*x), number(*y));
            ("text", place + anchored(*anchor) + &lettered(*font) + &painted(Some(*ink), None), xml(words))
        }
    }
}

fn path(places: &[Place], is_closed: bool) -> String {
    let mut path = String::new();
    for (at, (x, y)) in places.iter().enumerate() {
        let _ = write!(path, "{}{},{}", if at == 0 { "M" } else { "L" }, number(*x), number(*y));
    }
    if is_closed {
        path.push('Z');
    }
    path
}

const fn anchored(anchor: Anchor) -> &'static str {
    match anchor {
        Anchor::Start => "",
        Anchor::Middle => " text-anchor=\"middle\"",
        Anchor::End => " text-anchor=\"end\"",
    }
}

fn lettered(font: Font) -> String {
    format!(" font-size=\"{}\"{}", number(font.size), if font.bold { " font-weight=\"bold\"" } else { "" })
}

fn painted(fill: Option<Ink>, stroke: Option<Stroke>) -> String {
    let mut classes: Vec<String> = fill.and_then(class).map(|class| format!("f{class}")).into_iter().collect();
    let mut attributes = fill.map_or(" fill=\"none\"".to_owned(), |ink| format!(" fill=\"{}\"", ink.on_paper()));
    if let Some(Stroke { ink, width, dash }) = stroke {
        classes.extend(class(ink).map(|class| format!("s{class}")));
        let _ = write!(attributes, " stroke=\"{}\" stroke-width=\"{}\"", ink.on_paper(), number(width));
        if let Some((line, gap)) = dash.lengths() {
            let _ = write!(attributes, " stroke-dasharray=\"{} {}\"", number(line * width), number(gap * width));
        }
        attributes += " stroke-linejoin=\"round\"";
    }
    if !classes.is_empty() {
        let _ = write!(attributes, " class=\"{}\"", classes.join(" "));
    }
    attributes
}

/// To a hundredth of a pixel; never `-0`.
fn number(value: f64) -> String {
    let rounded = (value * 100.0).round() / 100.0;
    format!("{}", if rounded == 0.0 { 0.0 } else { rounded })
}
