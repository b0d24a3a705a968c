//! Figures as people read them.

/// Factors and signs of a family of units, the greatest first.
type Steps = &'static [(f64, &'static str)];

const TIME: Steps = &[(1e6, " s"), (1e3, " ms"), (1.0, " µs"), (1e-3, " ns")];
const COUNT: Steps = &[(1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")];
const RATE: Steps = &[(1e9, "G/s"), (1e6, "M/s"), (1e3, "k/s"), (1.0, "/s")];
const BYTES: Steps = &[(1e9, " GB"), (1e6, " MB"), (1e3, " kB"), (1.0, " B")];
const RATIO: Steps = &[(1.0, "×")];
const PERCENT: Steps = &[(1.0, " %")];

/// Seconds of a unit of time; none for other units.
pub(crate) fn seconds(unit: &str) -> Option<f64> {
    match unit {
        "us" => Some(1e-6),
        "ms" => Some(1e-3),
        "s" => Some(1.0),
        _ => None,
    }
}

/// A unit as it is printed beside a heading; empty for none.
pub(crate) fn sign(unit: &str) -> &str {
    match unit {
        "us" => "µs",
        "x" => "×",
        other => other,
    }
}

/// A figure with its unit, such as `1.5 ms` or `38.4k/s`.
pub(crate) fn figure(value: f64, unit: &str) -> String {
    figure_beside(value, unit, value)
}

/// A figure with its unit, with the prefix that the greatest of its neighbours has.
pub(crate) fn figure_beside(value: f64, unit: &str, greatest: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let (steps, base): (Steps, f64) = match (unit, seconds(unit)) {
        (_, Some(seconds)) => (TIME, seconds * 1e6),
        ("", _) => (COUNT, 1.0),
        ("/s", _) => (RATE, 1.0),
        ("B", _) => (BYTES, 1.0),
        ("x", _) => (RATIO, 1.0),
        ("%", _) => (PERCENT, 1.0),
        (other, _) => return format!("{} {other}", significant(value)),
    };
    let greatest = (rounded(greatest) * base).abs();
    let fits = steps.iter().find(|(factor, _)| greatest >= *factor * (1.0 - 1e-9));
    let (factor, sign) = fits.or(steps.last()).copied().unwrap_or((1.0, ""));
    format!("{}{sign}", significant(value * base / factor))
}

/// A figure of a table, whose unit stands in the heading: three significant digits or more, thousands apart.
pub(crate) fn plain(value: f64, unit: &str) -> String {
    let size = value.abs();
    let is_whole = unit.is_empty() && value.fract() == 0.0;
    let decimals = match size {
        _ if is_whole => 0,
        _ if size >= 1e15 || (size > 0.0 && size < 1e-4) => return format!("{value:.2e}").replace('-', "−"),
        _ if size >= 99.95 => 0,
        _ if unit == "x" => 3,
        _ if size >= 9.995 => 1,
        _ if size >= 0.9995 || size == 0.0 => 2,
        _ => (1 - size.log10().floor() as i32 + 1).max(2) as usize,
    };
    let text = format!("{size:.decimals$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let is_zero = text.bytes().all(|digit| matches!(digit, b'0' | b'.'));
    let minus = if value < 0.0 && !is_zero { "−" } else { "" };
    let point = if rest.is_empty() { "" } else { "." };
    format!("{minus}{}{point}{rest}", thousands(whole))
}

fn thousands(digits: &str) -> String {
    let mut apart = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart
}

/// Three significant digits, no zeros behind.
fn significant(value: f64) -> String {
    let rounded = rounded(value);
    if rounded != 0.0 && !(1e-4..1e7).contains(&rounded.abs()) {
        return format!("{rounded:e}").replace('-', "−");
    }
    format!("{rounded}").replace('-', "−")
}

fn rounded(value: f64) -> f64 {
    // Through text, because a decimal that was calculated has digits behind.
    format!("{value:.2e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_prefixes_and_units() {
        let cases = [
            (0.0, "us", "0"),
            (10.0, "us", "10 µs"),
            (999.96, "us", "1 ms"),
            (1500.0, "us", "1.5 ms"),
            (0.25, "us", "250 ns"),
            (2.5, "s", "2.5 s"),
            (1000.0, "", "1k"),
            (2_500_000.0, "", "2.5M"),
            (38_400.0, "/s", "38.4k/s"),
            (0.5, "/s", "0.5/s"),
            (1e6, "B", "1 MB"),
            (0.85, "x", "0.85×"),
            (99.9, "%", "99.9 %"),
            (-3.0, "", "−3"),
            (7.0, "apples", "7 apples"),
            (1e300, "", "1e291G"),
        ];
        for (value, unit, text) in cases {
            assert_eq!(figure(value, unit), text, "{value} {unit}");
        }
        assert_eq!(figure_beside(500.0, "us", 2000.0), "0.5 ms");
    }

    #[test]
    fn figures_of_tables_keep_three_digits() {
        let cases = [
            (21_300.4, "us", "21,300"),
            (123.4, "us", "123"),
            (99.97, "us", "100"),
            (12.34, "us", "12.3"),
            (1.234, "us", "1.23"),
            (0.123_45, "us", "0.123"),
            (0.001_234, "us", "0.00123"),
            (0.0, "us", "0.00"),
            (18.0, "", "18"),
            (1_234_567.0, "", "1,234,567"),
            (0.9966, "x", "0.997"),
            (1.0, "x", "1.000"),
            (-1234.0, "", "−1,234"),
            (1e-9, "s", "1.00e−9"),
        ];
        for (value, unit, text) in cases {
            assert_eq!(plain(value, unit), text, "{value} {unit}");
        }
    }
}
