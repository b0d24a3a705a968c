//! A drawing as PNG.

use tiny_skia::{Color, FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, StrokeDash, Transform};

use crate::error::Error;
use crate::font::{Font, Pen};
use crate::scene::{Anchor, Ink, Place, Scene, Shape, Stroke};

/// Pixels of the file for each pixel of the drawing, along each side.
const DENSITY: f32 = 2.0;

/// The file.
pub(crate) fn file(scene: &Scene) -> Result<Vec<u8>, Error> {
    let (width, height) = ((scene.width as f32 * DENSITY).ceil(), (scene.height as f32 * DENSITY).ceil());
    let too_large = || Error::new(format!("a picture of {width} × {height} pixels is too large"));
    let mut canvas = Canvas(Pixmap::new(width as u32, height as u32).ok_or_else(too_large)?);
    for item in &scene.items {
        canvas.draw(&item.shape);
    }
    canvas.0.encode_png().map_err(|error| Error::new(format!("a picture cannot be encoded: {error}")))
}

struct Canvas(Pixmap);

impl Canvas {
    fn draw(&mut self, shape: &Shape) {
        match shape {
            Shape::Path { places, fill, opacity, stroke } => {
                let Some(path) = polygon(places, fill.is_some()) else { return };
                self.paint(&path, *fill, *opacity, *stroke);
            }
            Shape::Circle { centre: (x, y), radius, fill, stroke } => {
                let Some(path) = PathBuilder::from_circle(*x as f32, *y as f32, *radius as f32) else { return };
                self.paint(&path, Some(*fill), 1.0, *stroke);
            }
            Shape::Text { place, anchor, font, ink, words } => {
                let Some(path) = letters(*place, *anchor, *font, words) else { return };
                self.paint(&path, Some(*ink), 1.0, None);
            }
        }
    }

    fn paint(&mut self, path: &Path, fill: Option<Ink>, opacity: f64, stroke: Option<Stroke>) {
        let zoom = Transform::from_scale(DENSITY, DENSITY);
        if let Some(ink) = fill {
            self.0.fill_path(path, &paint(ink, opacity), FillRule::Winding, zoom, None);
        }
        if let Some(stroke) = stroke {
            self.0.stroke_path(path, &paint(stroke.ink, 1.0), &line(stroke), zoom, None);
        }
    }
}

fn paint(ink: Ink, opacity: f64) -> Paint<'static> {
    let colour = ink.on_paper();
    let mut paint = Paint::default();
    paint.set_color(Color::from_rgba8(colour.0, colour.1, colour.2, (opacity * 255.0).round() as u8));
    paint
}

fn line(Stroke { width, dash, .. }: Stroke) -> tiny_skia::Stroke {
    let lengths = dash.lengths().map(|(line, gap)| vec![(line * width) as f32, (gap * width) as f32]);
    tiny_skia::Stroke {
        width: width as f32,
        line_cap: LineCap::Butt,
        line_join: LineJoin::Round,
        dash: lengths.and_then(|lengths| StrokeDash::new(lengths, 0.0)),
        ..Default::default()
    }
}

fn polygon(places: &[Place], is_closed: bool) -> Option<Path> {
    let mut path = PathBuilder::new();
    for (at, &(x, y)) in places.iter().enumerate() {
        if at == 0 {
            path.move_to(x as f32, y as f32);
        } else {
            path.line_to(x as f32, y as f32);
        }
    }
    if is_closed {
        path.close();
    }
    path.finish()
}

fn letters((x, y): Place, anchor: Anchor, font: Font, words: &str) -> Option<Path> {
    let before = match anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => font.width(words) / 2.0,
        Anchor::End => font.width(words),
    };
    let mut placed = Placed { path: PathBuilder::new(), x: x - before, y };
    font.outline(words, &mut placed);
    placed.path.finish()
}

/// Outlines of letters, at their place.
struct Placed {
    path: PathBuilder,
    x: f64,
    y: f64,
}

impl Placed {
    fn at(&self, x: f64, y: f64) -> (f32, f32) {
        ((self.x + x) as f32, (self.y - y) as f32)
    }
}

impl Pen for Placed {
    fn move_to(&mut self, x: f64, y: f64) {
        let (x, y) = self.at(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f64, y: f64) {
        let (x, y) = self.at(x, y);
        self.path.line_to(x, y);
    }

    fn curve_to(&mut self, x1: f64, y1: f64, x: f64, y: f64) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}
