//! Colours, and their shades that can be seen on paper and on a dark screen.

use std::fmt;

/// Red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Rgb(pub(crate) u8, pub(crate) u8, pub(crate) u8);

/// The least contrast of a shape that carries meaning (WCAG 2.2, 1.4.11).
const CONTRAST: f64 = 3.0;
/// The page by day and by night.
pub(crate) const PAPER: Rgb = Rgb(0xFF, 0xFF, 0xFF);
pub(crate) const NIGHT: Rgb = Rgb(0x16, 0x19, 0x1D);

/// From few to many: the lightness only falls, so that it can be read in grey.
const HEAT: [Rgb; 6] = [
    Rgb(0xFD, 0xF1, 0xD3),
    Rgb(0xFB, 0xC8, 0x7A),
    Rgb(0xF1, 0x8B, 0x59),
    Rgb(0xCC, 0x4D, 0x68),
    Rgb(0x86, 0x2C, 0x78),
    Rgb(0x35, 0x16, 0x52),
];

impl Rgb {
    /// Reads `#RRGGBB`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6)?;
        let number = u32::from_str_radix(digits, 16).ok()?;
        Some(Self((number >> 16) as u8, (number >> 8) as u8, number as u8))
    }

    /// The nearest darker shade that can be seen on paper.
    pub(crate) fn on_paper(self) -> Self {
        self.until_seen(PAPER, Self(0, 0, 0))
    }

    /// The nearest lighter shade that can be seen at night.
    pub(crate) fn at_night(self) -> Self {
        self.until_seen(NIGHT, Self(255, 255, 255))
    }

    fn until_seen(self, ground: Self, towards: Self) -> Self {
        let shades = (0..=20).map(|step| self.mixed(towards, f64::from(step) / 20.0));
        let mut seen = shades.filter(|shade| shade.contrast(ground) >= CONTRAST);
        seen.next().unwrap_or(towards)
    }

    /// This colour with so much (0 to 1) of another one.
    pub(crate) fn mixed(self, other: Self, part: f64) -> Self {
        let mix = |one: u8, other: u8| (f64::from(one) + (f64::from(other) - f64::from(one)) * part).round() as u8;
        Self(mix(self.0, other.0), mix(self.1, other.1), mix(self.2, other.2))
    }

    /// WCAG's contrast ratio, 1 to 21.
    fn contrast(self, other: Self) -> f64 {
        let (one, other) = (self.luminance(), other.luminance());
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    /// WCAG's relative luminance, 0 to 1.
    pub(crate) fn luminance(self) -> f64 {
        let part = |value: u8| {
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(self.0) + 0.7152 * part(self.1) + 0.0722 * part(self.2)
    }
}

impl fmt::Display for Rgb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02X}{:02X}{:02X}", self.0, self.1, self.2)
    }
}

/// The colour of a part, 0 to 1.
pub(crate) fn heat(part: f64) -> Rgb {
    let place = part.clamp(0.0, 1.0) * (HEAT.len() - 1) as f64;
    let below = (place.floor() as usize).min(HEAT.len() - 2);
    HEAT[below].mixed(HEAT[below + 1], place - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shade_can_be_seen() {
        for colour in ["#FADE2A", "#19730E", "#FFFFFF", "#000000"].map(|text| Rgb::parse(text).unwrap_or(PAPER)) {
            assert!(colour.on_paper().contrast(PAPER) >= CONTRAST, "{colour}");
            assert!(colour.at_night().contrast(NIGHT) >= CONTRAST, "{colour}");
        }
    }

    #[test]
    fn more_is_darker() {
        let lightness: Vec<f64> = (0..=50).map(|at| heat(f64::from(at) / 50.0).luminance()).collect();
        assert!(lightness.windows(2).all(|pair| pair[0] > pair[1]));
    }
}
