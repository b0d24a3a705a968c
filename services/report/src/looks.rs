//! How a series looks: one colour, line and mark for each architecture, in every picture and on the dashboards.
//!
//! Colours are those of the dashboards. No two architectures share line *and* mark, so they can be told apart in grey.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::colour::Rgb;

/// Colours and lines by architecture; the dashboards are generated from the same file.
const LOOKS: &str = include_str!("looks.json");

/// For series that are no architectures: hues that are told apart by the colour-blind as well.
const OTHERS: [Rgb; 6] = [
    Rgb(0x00, 0x72, 0xB2),
    Rgb(0xD5, 0x5E, 0x00),
    Rgb(0x00, 0x9E, 0x73),
    Rgb(0xCC, 0x79, 0xA7),
    Rgb(0x56, 0x6B, 0x7D),
    Rgb(0xE6, 0x9F, 0x00),
];

/// The kind of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dash {
    Solid,
    Dashed,
    Dotted,
}

impl Dash {
    const ALL: [Self; 3] = [Self::Solid, Self::Dashed, Self::Dotted];

    /// Lengths of stroke and gap, for a line of width 1; none if there is no gap.
    pub(crate) const fn lengths(self) -> Option<(f64, f64)> {
        match self {
            Self::Solid => None,
            Self::Dashed => Some((4.0, 2.2)),
            Self::Dotted => Some((1.1, 1.6)),
        }
    }
}

/// What stands at the points of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Disc,
    Square,
    Diamond,
    Up,
    Down,
    Ring,
}

impl Mark {
    const ALL: [Self; 6] = [Self::Disc, Self::Square, Self::Diamond, Self::Up, Self::Down, Self::Ring];
}

/// How a series looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) colour: Rgb,
    pub(crate) dash: Dash,
    pub(crate) mark: Mark,
}

static ARCHITECTURES: LazyLock<BTreeMap<String, Look>> = LazyLock::new(read);

/// The architecture of this name; none if there is none.
pub(crate) fn architecture(name: &str) -> Option<Look> {
    ARCHITECTURES.get(name).copied()
}

/// How each of these series looks, in their order.
pub(crate) fn all<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Look> {
    let mut strangers = 0;
    let mut stranger = || {
        strangers += 1;
        other(strangers - 1)
    };
    names.map(|name| architecture(name).unwrap_or_else(&mut stranger)).collect()
}

fn other(at: usize) -> Look {
    // Lines and marks go on when the colours begin anew.
    Look {
        colour: OTHERS[at % OTHERS.len()],
        dash: Dash::ALL[(at + at / OTHERS.len()) % Dash::ALL.len()],
        mark: Mark::ALL[at % Mark::ALL.len()],
    }
}

/// The looks by name. What the file says otherwise than expected is left out, and found by the tests.
fn read() -> BTreeMap<String, Look> {
    let mut met = [0; Dash::ALL.len()];
    let mut look = |[colour, dash]: &[String; 2]| {
        let at = ["solid", "dash", "dot"].iter().position(|word| word == dash)?;
        met[at] += 1;
        let mark = Mark::ALL[(met[at] - 1) % Mark::ALL.len()];
        Some(Look { colour: Rgb::parse(colour)?, dash: Dash::ALL[at], mark })
    };
    lines().iter().filter_map(|(name, line)| Some((name.clone(), look(line)?))).collect()
}

/// What the file says: colour and line by name.
fn lines() -> BTreeMap<String, [String; 2]> {
    serde_json::from_str(LOOKS).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_can_be_told_apart_without_colours() {
        assert!(ARCHITECTURES.len() >= 18);
        assert_eq!(ARCHITECTURES.len(), lines().len(), "each line of looks.json is understood");
        let looks: Vec<Look> = ARCHITECTURES.values().copied().collect();
        for (at, one) in looks.iter().enumerate() {
            for other in &looks[at + 1..] {
                assert!((one.dash, one.mark) != (other.dash, other.mark), "{one:?} and {other:?}");
                assert_ne!(one.colour, other.colour);
            }
        }
    }

    #[test]
    fn an_architecture_looks_the_same_whatever_stands_beside_it() {
        let alone = all(["epoll"].into_iter());
        let among = all(["something", "epoll", "else"].into_iter());
        assert_eq!(alone[0], among[1]);
        assert_ne!(among[0], among[2]);
    }
}
