//! Numbers as people write them: `1k`, `2.5m`, `10s@1k`.

use std::time::Duration;

/// A number with `k` for thousands or `m` for millions, above 0.
pub fn number(text: &str) -> Result<f64, String> {
    let (digits, unit) = match text.chars().last() {
        Some('k' | 'K') => (&text[..text.len() - 1], 1e3),
        Some('m' | 'M') => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    let number =
        digits.parse::<f64>().ok().map(|number| number * unit).filter(|number| *number > 0.0 && *number <= 1e8);
    number.ok_or_else(|| format!("{text:?} is no number above 0 up to 100m, such as 500, 1k or 2.5m"))
}

/// A whole number with the same units.
pub fn count(text: &str) -> Result<usize, String> {
    let number = number(text)?;
    if number.fract() == 0.0 { Ok(number as usize) } else { Err(format!("{text:?} is no whole number")) }
}

/// A duration such as `100ms` or `1m30s`, from 1 ms to a day.
pub fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .ok()
        .filter(|time| (Duration::from_millis(1)..=Duration::from_hours(24)).contains(time))
        .ok_or_else(|| format!("{text:?} is no duration from 1ms to 24h, such as 500ms or 1m30s"))
}

/// A stage: a duration and a rate, such as `10s@1k`.
pub fn stage(text: &str) -> Result<(Duration, f64), String> {
    let (length, rate) = text.split_once('@').ok_or_else(|| format!("{text:?} is no stage such as 10s@1k"))?;
    Ok((time(length)?, number(rate)?))
}

/// A limit for a percentile, such as `p99<5ms`: the quantile and the duration.
pub fn limit(text: &str) -> Result<(f64, Duration), String> {
    let wrong = || format!("{text:?} is no limit such as p99<5ms");
    let (percentile, longest) = text.split_once('<').ok_or_else(wrong)?;
    let percent: f64 = percentile.strip_prefix('p').and_then(|percent| percent.parse().ok()).ok_or_else(wrong)?;
    if !(1.0..100.0).contains(&percent) {
        return Err(wrong());
    }
    let longest = humantime::parse_duration(longest).ok().filter(|longest| !longest.is_zero()).ok_or_else(wrong)?;
    // Rounded: 99.9 / 100 is not 0.999.
    Ok(((percent * 1e7).round() / 1e9, longest))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{count, limit, number, stage, time};

    #[test]
    fn units_are_understood() {
        assert_eq!(number("1k"), Ok(1000.0));
        assert_eq!(number("2.5m"), Ok(2_500_000.0));
        assert_eq!(count("16"), Ok(16));
        assert_eq!(time("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(stage("10s@1k"), Ok((Duration::from_secs(10), 1000.0)));
        let (quantile, longest) = limit("p99.9<500us").expect("a limit");
        assert!((quantile - 0.999).abs() < 1e-9 && longest == Duration::from_micros(500), "{quantile} {longest:?}");
        for wrong in ["", "k", "-1", "0", "1x", "1e30"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
        assert!(count("1.5").is_err() && time("0s").is_err() && stage("10s").is_err());
        assert!(limit("p0<1ms").is_err() && limit("99<1ms").is_err() && limit("p99<0s").is_err());
    }
}
