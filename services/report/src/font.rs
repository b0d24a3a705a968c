//! Letters: how wide they are and what they look like.

use std::sync::LazyLock;

use ttf_parser::{Face, OutlineBuilder};

static BOOK: LazyLock<Option<Face<'static>>> =
    LazyLock::new(|| Face::parse(include_bytes!("../fonts/DejaVuSans.ttf"), 0).ok());
static BOLD: LazyLock<Option<Face<'static>>> =
    LazyLock::new(|| Face::parse(include_bytes!("../fonts/DejaVuSans-Bold.ttf"), 0).ok());

/// A size in pixels, and the weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Font {
    pub(crate) size: f64,
    pub(crate) bold: bool,
}

/// Of headings.
pub(crate) const TITLE: Font = Font { size: 19.0, bold: true };
/// Of names and titles of axes.
pub(crate) const LABEL: Font = Font { size: 13.0, bold: false };
/// Of figures and notes.
pub(crate) const SMALL: Font = Font { size: 12.0, bold: false };

impl Font {
    /// Width of a text in pixels.
    pub(crate) fn width(self, text: &str) -> f64 {
        text.chars().map(|letter| self.advance(letter)).sum()
    }

    /// Distance of two lines.
    pub(crate) fn line(self) -> f64 {
        (self.size * 1.4).round()
    }

    /// Draws a text that begins at the origin, y upwards, and gives its pen back.
    pub(crate) fn outline(self, text: &str, to: &mut impl Pen) {
        let Some(face) = self.face() else { return };
        let scale = self.size / f64::from(face.units_per_em());
        let mut x = 0.0;
        for letter in text.chars() {
            let mut shifted = Shifted { to, x, scale };
            face.outline_glyph(face.glyph_index(letter).unwrap_or_default(), &mut shifted);
            x += self.advance(letter);
        }
    }

    /// The text, or as much of it as is not wider, with an ellipsis.
    pub(crate) fn shorten(self, text: &str, width: f64) -> String {
        if self.width(text) <= width {
            return text.to_owned();
        }
        let mut room = width - self.advance('…');
        let fits = |letter: &char| {
            room -= self.advance(*letter);
            room >= 0.0
        };
        let kept: String = text.chars().take_while(fits).collect();
        format!("{}…", kept.trim_end())
    }

    /// The text in lines that are not wider; a word that is too long is broken.
    pub(crate) fn wrap(self, text: &str, width: f64) -> Vec<String> {
        let mut lines = vec![String::new()];
        for word in text.split_whitespace().flat_map(|word| self.pieces(word, width)) {
            let line = lines.last_mut().map(|line| (self.width(line), line));
            match line {
                Some((_, line)) if line.is_empty() => line.push_str(&word),
                Some((used, line)) if used + self.width(&word) + self.advance(' ') <= width => {
                    line.push(' ');
                    line.push_str(&word);
                }
                _ => lines.push(word),
            }
        }
        lines.retain(|line| !line.is_empty());
        lines
    }

    fn pieces(self, word: &str, width: f64) -> Vec<String> {
        let (mut pieces, mut used) = (vec![String::new()], 0.0);
        for letter in word.chars() {
            used += self.advance(letter);
            if used > width {
                pieces.push(String::new());
                used = self.advance(letter);
            }
            if let Some(piece) = pieces.last_mut() {
                piece.push(letter);
            }
        }
        pieces
    }

    fn advance(self, letter: char) -> f64 {
        // Half a square is what an unknown letter is; the fonts are there, as the tests find.
        let Some(face) = self.face() else { return self.size / 2.0 };
        let units = face.glyph_hor_advance(face.glyph_index(letter).unwrap_or_default()).unwrap_or_default();
        f64::from(units) * self.size / f64::from(face.units_per_em())
    }

    fn face(self) -> Option<&'static Face<'static>> {
        if self.bold { BOLD.as_ref() } else { BOOK.as_ref() }
    }
}

/// Draws outlines, in pixels, y upwards.
pub(crate) trait Pen {
    fn move_to(&mut self, x: f64, y: f64);
    fn line_to(&mut self, x: f64, y: f64);
    fn curve_to(&mut self, x1: f64, y1: f64, x: f64, y: f64);
    fn close(&mut self);
}

struct Shifted<'pen, P> {
    to: &'pen mut P,
    x: f64,
    scale: f64,
}

impl<P> Shifted<'_, P> {
    fn place(&self, x: f32, y: f32) -> (f64, f64) {
        (self.x + f64::from(x) * self.scale, f64::from(y) * self.scale)
    }
}

impl<P: Pen> OutlineBuilder for Shifted<'_, P> {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.place(x, y);
        self.to.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.place(x, y);
        self.to.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.place(x1, y1), self.place(x, y));
        self.to.curve_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, _: f32, _: f32, _: f32, _: f32, x: f32, y: f32) {
        // TrueType has quadratic curves only.
        self.line_to(x, y);
    }

    fn close(&mut self) {
        self.to.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fonts_are_there_and_bold_is_wider() {
        assert!(BOOK.is_some() && BOLD.is_some());
        assert!(LABEL.width("µs") > 10.0);
        assert!(Font { bold: true, ..LABEL }.width("word") > LABEL.width("word"));
    }

    #[test]
    fn nothing_is_wider_than_it_may_be() {
        let long = "one two three ".repeat(20) + &"x".repeat(300);
        assert!(LABEL.width(&LABEL.shorten(&long, 90.0)) <= 90.0);
        let lines = LABEL.wrap(&long, 90.0);
        assert!(lines.iter().all(|line| LABEL.width(line) <= 90.0), "{lines:?}");
        let letters = |text: &str| text.chars().filter(|letter| !letter.is_whitespace()).count();
        assert_eq!(letters(&lines.concat()), letters(&long), "nothing is lost");
        assert!(LABEL.wrap(" ", 90.0).is_empty());
    }
}
