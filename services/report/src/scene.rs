//! A drawing: few kinds of shapes at places in pixels, y downwards. SVG and PNG are two ways to write the same drawing.

use crate::colour::Rgb;
use crate::font::Font;
use crate::looks::{Dash, Look, Mark};

/// What a shape is drawn with; pages that are read in the dark have their own of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ink {
    /// Words, and lines that mean something.
    Text,
    /// Words and lines of less weight.
    Muted,
    /// Lines to find a place by.
    Grid,
    /// Every other field of a list.
    Stripe,
    /// The ground.
    Paper,
    /// A series, in the shade that is seen on the ground.
    Key(Rgb),
    /// This colour exactly.
    Exact(Rgb),
}

impl Ink {
    /// By day.
    pub(crate) fn on_paper(self) -> Rgb {
        match self {
            Self::Text => Rgb(0x1B, 0x1F, 0x24),
            Self::Muted => Rgb(0x59, 0x63, 0x6E),
            Self::Grid => Rgb(0xDD, 0xE1, 0xE6),
            Self::Stripe => Rgb(0xF5, 0xF6, 0xF8),
            Self::Paper => crate::colour::PAPER,
            Self::Key(colour) => colour.on_paper(),
            Self::Exact(colour) => colour,
        }
    }

    /// By night.
    pub(crate) fn at_night(self) -> Rgb {
        match self {
            Self::Text => Rgb(0xE8, 0xEA, 0xED),
            Self::Muted => Rgb(0xA3, 0xAC, 0xB7),
            Self::Grid => Rgb(0x33, 0x39, 0x41),
            Self::Stripe => Rgb(0x1D, 0x21, 0x26),
            Self::Paper => crate::colour::NIGHT,
            Self::Key(colour) => colour.at_night(),
            Self::Exact(colour) => colour,
        }
    }
}

/// A line's look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stroke {
    pub(crate) ink: Ink,
    pub(crate) width: f64,
    pub(crate) dash: Dash,
}

impl Stroke {
    /// Without gaps.
    pub(crate) const fn solid(ink: Ink, width: f64) -> Self {
        Self { ink, width, dash: Dash::Solid }
    }
}

/// Where a text's place is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A place.
pub(crate) type Place = (f64, f64);

/// A shape.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// Straight lines from place to place; filled ones are closed.
    Path { places: Vec<Place>, fill: Option<Ink>, opacity: f64, stroke: Option<Stroke> },
    /// A circle.
    Circle { centre: Place, radius: f64, fill: Ink, stroke: Option<Stroke> },
    /// Words; the place is on their base line.
    Text { place: Place, anchor: Anchor, font: Font, ink: Ink, words: String },
}

/// A shape, and what is said of it when it is pointed at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) shape: Shape,
    pub(crate) hint: String,
}

/// A drawing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scene {
    pub(crate) width: f64,
    pub(crate) height: f64,
    /// What is seen, for those who do not see it.
    pub(crate) title: String,
    pub(crate) items: Vec<Item>,
}

impl Scene {
    /// A line from place to place.
    pub(crate) fn line(&mut self, places: Vec<Place>, stroke: Stroke) {
        if places.len() > 1 {
            self.add(Shape::Path { places, fill: None, opacity: 1.0, stroke: Some(stroke) });
        }
    }

    /// A filled rectangle between two corners.
    pub(crate) fn field(&mut self, from: Place, to: Place, ink: Ink) {
        self.add(Shape::Path { places: corners(from, to), fill: Some(ink), opacity: 1.0, stroke: None });
    }

    /// A rectangle with an edge, filled as densely as is said (0 to 1).
    pub(crate) fn bar(&mut self, from: Place, to: Place, ink: Ink, opacity: f64) {
        let stroke = Some(Stroke::solid(ink, 1.0));
        self.add(Shape::Path { places: corners(from, to), fill: Some(ink), opacity, stroke });
    }

    /// Words.
    pub(crate) fn text(&mut self, place: Place, anchor: Anchor, font: Font, ink: Ink, words: impl Into<String>) {
        self.add(Shape::Text { place, anchor, font, ink, words: words.into() });
    }

    /// A mark of a series.
    pub(crate) fn mark(&mut self, look: Look, (x, y): Place, size: f64) {
        let ink = Ink::Key(look.colour);
        let path = |places: &[Place]| {
            let places = places.iter().map(|(right, down)| (x + right * size, y + down * size)).collect();
            Shape::Path { places, fill: Some(ink), opacity: 1.0, stroke: None }
        };
        self.add(match look.mark {
            Mark::Disc => Shape::Circle { centre: (x, y), radius: size, fill: ink, stroke: None },
            Mark::Ring => {
                let stroke = Some(Stroke::solid(ink, size * 0.5));
                Shape::Circle { centre: (x, y), radius: size, fill: Ink::Paper, stroke }
            }
            Mark::Square => path(&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),
            Mark::Diamond => path(&[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)]),
            Mark::Up => path(&[(0.0, -1.2), (1.2, 0.9), (-1.2, 0.9)]),
            Mark::Down => path(&[(0.0, 1.2), (1.2, -0.9), (-1.2, -0.9)]),
        });
    }

    /// Says something of what was drawn last.
    pub(crate) fn hint(&mut self, words: impl Into<String>) {
        if let Some(item) = self.items.last_mut() {
            item.hint = words.into();
        }
    }

    /// What is drawn with, each as often as it is used.
    pub(crate) fn inks(&self) -> impl Iterator<Item = Ink> {
        self.items
            .iter()
            .flat_map(|item| match item.shape {
                Shape::Path { fill, stroke, .. } => [fill, stroke.map(|stroke| stroke.ink)],
                Shape::Circle { fill, stroke, .. } => [Some(fill), stroke.map(|stroke| stroke.ink)],
                Shape::Text { ink, .. } => [Some(ink), None],
            })
            .flatten()
    }

    /// Adds a shape.
    pub(crate) fn add(&mut self, shape: Shape) {
        self.items.push(Item { shape, hint: String::new() });
    }
}

fn corners((left, top): Place, (right, bottom): Place) -> Vec<Place> {
    vec![(left, top), (right, top), (right, bottom), (left, bottom)]
}
