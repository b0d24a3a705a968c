//! From figures to places, with round ticks.

use crate::model::{Axis, Scale as Kind};
use crate::units;

/// A figure of an axis that is labelled.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    /// Where it is, in pixels.
    pub(super) place: f64,
    /// Empty for a line between labelled ones.
    pub(super) words: String,
}

/// What an axis must show.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    low: f64,
    high: f64,
    /// The least above zero.
    least: f64,
}

impl Extent {
    /// Of these figures; from 0 to 1 if there are none.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let none = Self { low: f64::INFINITY, high: f64::NEG_INFINITY, least: f64::INFINITY };
        let values =
            values.filter(|value| value.is_finite()).map(|value| value.clamp(-FURTHEST_FIGURE, FURTHEST_FIGURE));
        let extent = values.fold(none, |extent, value| Self {
            low: extent.low.min(value),
            high: extent.high.max(value),
            least: if value > 0.0 { extent.least.min(value.max(1.0 / FURTHEST_FIGURE)) } else { extent.least },
        });
        if extent.low > extent.high { Self { low: 0.0, high: 1.0, least: 1.0 } } else { extent }
    }

    /// So that the least is not at the edge of a logarithmic axis, where a bar of it would not be seen.
    pub(super) fn with_room_below(self) -> Self {
        Self { least: self.least / 1.5, ..self }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Warp {
    Linear,
    Logarithmic,
    /// A quantile on 1/(1-q), logarithmic.
    Tail,
}

/// From figures to pixels.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    warp: Warp,
    /// Both ends, warped.
    low: f64,
    high: f64,
    /// Both ends in pixels.
    from: f64,
    to: f64,
    pub(super) ticks: Vec<Tick>,
}

/// Where an axis ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// At the next round figure.
    Round,
    /// Where the figures end.
    Exact,
}

/// More than a person reads.
const MOST_TICKS: usize = 50;

/// What is further from 0, or nearer to it, is drawn there: its neighbours must be figures as well.
const FURTHEST_FIGURE: f64 = 1e100;

/// The furthest percentile that is drawn: 99.9999999 %.
const FURTHEST: f64 = 1e9;

impl Scale {
    /// An axis with round ends, between two pixels, with about so many ticks.
    pub(super) fn of(axis: &Axis, extent: Extent, from: f64, to: f64, wish: usize) -> Self {
        match warp_of(axis, extent) {
            _ if !axis.names.is_empty() => Self::names(&axis.names, from, to),
            Warp::Logarithmic => Self::logarithmic(&axis.unit, extent, from, to, Ends::Round),
            _ => Self::linear(&axis.unit, extent, (from, to), wish, Ends::Round),
        }
    }

    /// An axis of fields around these places: it ends where the last fields end. The places must be in order.
    pub(super) fn fields(axis: &Axis, centres: &[f64], from: f64, to: f64, wish: usize) -> Self {
        let extent = Extent::of(centres.iter().copied());
        if !axis.names.is_empty() {
            return Self::names(&axis.names, from, to);
        }
        let warp = warp_of(axis, extent);
        let centre = |value: f64| warped(warp, value.clamp(-FURTHEST_FIGURE, FURTHEST_FIGURE));
        let gaps = centres.windows(2).map(|pair| centre(pair[1]) - centre(pair[0])).filter(|gap| *gap > 0.0);
        let half = gaps.reduce(f64::min).map_or(0.5, |gap| gap / 2.0);
        let half = if warp == Warp::Logarithmic { half.min(50.0) } else { half };
        let low = if warp == Warp::Logarithmic { extent.least } else { extent.low };
        let (low, high) = (unwarped(warp, warped(warp, low) - half), unwarped(warp, warped(warp, extent.high) + half));
        Self::exact(axis, low, high, (from, to), wish)
    }

    /// An axis that ends at these figures.
    pub(super) fn exact(axis: &Axis, low: f64, high: f64, (from, to): (f64, f64), wish: usize) -> Self {
        let extent = Extent { low, high, least: low };
        match warp_of(axis, extent) {
            Warp::Logarithmic if low > 0.0 => Self::logarithmic(&axis.unit, extent, from, to, Ends::Exact),
            _ => Self::linear(&axis.unit, extent, (from, to), wish, Ends::Exact),
        }
    }

    /// Ratios around 1.
    pub(super) fn ratio(unit: &str, extent: Extent, from: f64, to: f64) -> Self {
        let (least, high) = (extent.least.min(0.95), extent.high.max(1.05));
        let margin = (high / least).powf(0.04);
        let extent = Extent { low: least / margin, least: least / margin, high: high * margin };
        Self::logarithmic(unit, extent, from, to, Ends::Exact)
    }

    /// Quantiles from 0 to the furthest, on 1/(1-q).
    pub(super) fn tail(extent: Extent, from: f64, to: f64) -> Self {
        let furthest = warped(Warp::Tail, extent.high.min(1.0 - 1.0 / FURTHEST)).max(1.0);
        let mut scale = Self { warp: Warp::Tail, low: 0.0, high: furthest, from, to, ticks: Vec::new() };
        let nines = (1..=9).map(|nines| 1.0 - 10_f64.powi(-nines));
        let between = (0..9).flat_map(|nines| [2.0, 4.0].map(|part| 1.0 - 10_f64.powi(-nines) / part)).skip(1);
        let words = |quantile: f64| {
            let text = format!("{:.7}", quantile * 100.0);
            format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
        };
        let labelled = [0.0, 0.5].into_iter().chain(nines).map(|quantile| (quantile, words(quantile)));
        let ticks = labelled.chain(between.map(|quantile| (quantile, String::new())));
        let ticks = ticks.filter(|(quantile, _)| warped(Warp::Tail, *quantile) <= furthest + 1e-6);
        scale.ticks = ticks.map(|(quantile, words)| Tick { place: scale.place(quantile), words }).collect();
        scale
    }

    fn names(names: &[String], from: f64, to: f64) -> Self {
        let (low, high) = (-0.5, names.len() as f64 - 0.5);
        let mut scale = Self { warp: Warp::Linear, low, high, from, to, ticks: Vec::new() };
        let tick = |(at, name): (usize, &String)| Tick { place: scale.place(at as f64), words: name.clone() };
        scale.ticks = names.iter().enumerate().map(tick).collect();
        scale
    }

    fn linear(unit: &str, extent: Extent, (from, to): (f64, f64), wish: usize, ends: Ends) -> Self {
        let (mut low, mut high) = (extent.low, extent.high);
        if ends == Ends::Round {
            (low, high) = (low.min(0.0), high.max(0.0));
        }
        high = if high > low { high } else { low + 1.0 };
        let (base, sign) = clock(unit, high - low);
        let step = round_up((high / base - low / base) / wish as f64);
        let step = if sign.is_empty() { step } else { step.max(1.0) * base };
        if ends == Ends::Round {
            (low, high) = ((low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step);
        }
        let mut scale = Self { warp: Warp::Linear, low, high, from, to, ticks: Vec::new() };
        let words = |value: f64| match sign {
            _ if value == 0.0 => "0".to_owned(),
            "" => units::figure_beside(value, unit, low.abs().max(high)),
            sign => units::figure(value / base, sign),
        };
        let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
        let values = (first..=last).take(MOST_TICKS).map(|at| at as f64 * step);
        scale.ticks = values.map(|value| Tick { place: scale.place(value), words: words(value) }).collect();
        scale
    }

    fn logarithmic(unit: &str, extent: Extent, from: f64, to: f64, ends: Ends) -> Self {
        let (mut low, mut high) = (extent.least, extent.high);
        if ends == Ends::Round {
            (low, high) = (round_down(low), round_up(high));
        }
        let has_zero = extent.low <= 0.0;
        if has_zero {
            low = round_down(low / 2.0);
        }
        if high <= low * 1.000_001 {
            (low, high) = (low / 2.0, high * 2.0);
        }
        let ends = (warped(Warp::Logarithmic, low), warped(Warp::Logarithmic, high));
        let mut scale = Self { warp: Warp::Logarithmic, low: ends.0, high: ends.1, from, to, ticks: Vec::new() };
        for (value, is_labelled) in logarithmic_ticks(low, high) {
            let words = match (has_zero && value < low * 1.01, is_labelled) {
                (true, _) => "0".to_owned(),
                (_, true) => units::figure(value, unit),
                _ => String::new(),
            };
            scale.ticks.push(Tick { place: scale.place(value), words });
        }
        scale
    }

    /// The pixel of a figure; what cannot be shown is at the edge.
    pub(super) fn place(&self, value: f64) -> f64 {
        let part = (warped(self.warp, value) - self.low) / (self.high - self.low);
        let part = if part.is_nan() { 0.0 } else { part.clamp(0.0, 1.0) };
        self.from + (self.to - self.from) * part
    }
}

fn warp_of(axis: &Axis, extent: Extent) -> Warp {
    if axis.scale == Kind::Logarithmic && extent.high > 0.0 { Warp::Logarithmic } else { Warp::Linear }
}

fn warped(warp: Warp, value: f64) -> f64 {
    match warp {
        Warp::Linear => value,
        Warp::Logarithmic => value.max(f64::MIN_POSITIVE).log10(),
        Warp::Tail => (1.0 / (1.0 - value).max(1.0 / FURTHEST)).log10(),
    }
}

fn unwarped(warp: Warp, value: f64) -> f64 {
    match warp {
        Warp::Linear => value,
        Warp::Logarithmic => 10_f64.powf(value),
        Warp::Tail => 1.0 - 10_f64.powf(-value),
    }
}

/// Long times are read in minutes and hours: the length of one in the unit, and its sign; empty for none.
fn clock(unit: &str, range: f64) -> (f64, &'static str) {
    let Some(seconds) = units::seconds(unit) else { return (1.0, "") };
    match range * seconds {
        range if range >= 3.0 * 3600.0 => (3600.0 / seconds, "h"),
        range if range >= 180.0 => (60.0 / seconds, "min"),
        _ => (1.0, ""),
    }
}

/// Figures from `low` to `high` and whether they are labelled.
fn logarithmic_ticks(low: f64, high: f64) -> Vec<(f64, bool)> {
    let decades = (high / low).log10();
    if decades < 0.3 {
        let step = round_up((high - low) / 7.0);
        let first = (low / step - 1e-9).ceil() as i64;
        let last = (high / step + 1e-9).floor() as i64;
        return (first..=last).map(|at| (at as f64 * step, true)).collect();
    }
    if decades < 0.9 {
        return ratio_ticks(low, high);
    }
    // Of many decades only some have a line; of few, what is between them has one too.
    let every = (decades / 9.0).ceil() as i32;
    let parts: &[f64] = if every == 1 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let all = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let drawn = all.filter(|decade| decade.rem_euclid(every) == 0);
    let of_decade =
        |decade: i32| parts.iter().map(move |part| (part * 10_f64.powi(decade), *part < 1.5 || decades <= 3.0));
    let within = |(value, _): &(f64, bool)| (low * (1.0 - 1e-9)..=high * (1.0 + 1e-9)).contains(value);
    drawn.flat_map(of_decade).filter(within).collect()
}

/// For a range that is neither wide enough for decades nor narrow enough for equal steps.
fn ratio_ticks(low: f64, high: f64) -> Vec<(f64, bool)> {
    let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let of_decade =
        |decade: i32| [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0].map(|part| part * 10_f64.powi(decade));
    let values = decades.flat_map(of_decade).filter(|value| (low..=high * (1.0 + 1e-9)).contains(value));
    values.map(|value| (value, true)).collect()
}

/// The next of 1, 2, 5, 10, 20, ... that is not less.
fn round_up(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade);
    steps.into_iter().find(|step| *step >= value * (1.0 - 1e-9)).unwrap_or(decade * 10.0)
}

/// The last of 1, 2, 5, 10, 20, ... that is not more.
fn round_down(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let steps = [5.0, 2.0, 1.0].map(|step| step * decade);
    steps.into_iter().find(|step| *step <= value * (1.0 + 1e-9)).unwrap_or(decade)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(unit: &str, scale: Kind) -> Axis {
        Axis { title: String::new(), unit: unit.to_owned(), scale, names: Vec::new() }
    }

    fn words(scale: &Scale) -> Vec<&str> {
        scale.ticks.iter().map(|tick| tick.words.as_str()).filter(|words| !words.is_empty()).collect()
    }

    fn shown(unit: &str, scale: Kind, values: &[f64]) -> Vec<String> {
        let extent = Extent::of(values.iter().copied());
        words(&Scale::of(&axis(unit, scale), extent, 0.0, 100.0, 5)).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn linear_axes_begin_at_zero_and_end_round() {
        assert_eq!(shown("us", Kind::Linear, &[400.0, 1900.0]), ["0", "0.5 ms", "1 ms", "1.5 ms", "2 ms"]);
        assert_eq!(shown("s", Kind::Linear, &[600.0]), ["0", "2 min", "4 min", "6 min", "8 min", "10 min"].map(|w| w));
        assert_eq!(shown("", Kind::Linear, &[0.0]), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
    }

    #[test]
    fn logarithmic_axes_have_a_place_for_zero() {
        assert_eq!(shown("/s", Kind::Logarithmic, &[0.0, 1000.0, 9000.0]), ["0", "1k/s", "2k/s", "5k/s", "10k/s"]);
        assert_eq!(shown("us", Kind::Logarithmic, &[1.0, 1e6]).len(), 7);
        assert_eq!(shown("us", Kind::Logarithmic, &[7.0]), ["5 µs", "6 µs", "8 µs", "10 µs"]);
    }

    #[test]
    fn the_tail_is_stretched() {
        let scale = Scale::tail(Extent::of([0.5, 0.999].into_iter()), 0.0, 300.0);
        assert_eq!(words(&scale), ["0 %", "50 %", "90 %", "99 %", "99.9 %"]);
        assert!((scale.place(0.9) - 100.0).abs() < 1e-6);
        assert!((scale.place(0.99) - 200.0).abs() < 1e-6);
        assert!((scale.place(1.0) - 300.0).abs() < 1e-6, "what is further is at the edge");
    }

    #[test]
    fn nothing_hostile_leaves_the_picture() {
        for values in [&[f64::MAX, f64::MIN_POSITIVE][..], &[-1.0, f64::NAN], &[], &[f64::INFINITY], &[1e-300]] {
            for kind in [Kind::Linear, Kind::Logarithmic] {
                let scale = Scale::of(&axis("", kind), Extent::of(values.iter().copied()), 0.0, 100.0, 5);
                assert!(scale.ticks.len() < 100, "{values:?}");
                assert!(scale.ticks.iter().all(|tick| (0.0..=100.0).contains(&tick.place)), "{values:?} {scale:?}");
            }
        }
    }
}
