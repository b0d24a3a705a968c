//! Numbers as people write them: `1k`, `2.5m`, `10s@1k`.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How long something that is measured may take.
pub const TIMES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);

/// A number with `k` for thousands or `m` for millions, up to 100m.
fn number(text: &str) -> Option<f64> {
    let (digits, unit) = match text.chars().last()? {
        'k' | 'K' => (&text[..text.len() - 1], 1e3),
        'm' | 'M' => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    digits.parse::<f64>().ok().map(|number| number * unit).filter(|number| *number <= 1e8)
}

/// A whole number from 1 up to 100m.
fn whole(text: &str) -> Option<usize> {
    number(text).filter(|number| *number >= 1.0 && number.fract() == 0.0).map(|number| number as usize)
}

/// Questions a second, from 0.001 to 100m.
pub fn rate(text: &str) -> Result<f64, String> {
    number(text)
        .filter(|rate| *rate >= 1e-3)
        .ok_or_else(|| format!("{text:?} is no rate from 0.001 to 100m, such as 500, 1k or 2.5m"))
}

/// How many, from 1 to 100m.
pub fn count(text: &str) -> Result<usize, String> {
    whole(text).ok_or_else(|| format!("{text:?} is no whole number from 1 to 100m, such as 40 or 1k"))
}

/// Connections that a crowd can hold, 1 to 100,000.
pub fn connections(text: &str) -> Result<usize, String> {
    whole(text)
        .filter(|count| *count <= 100_000)
        .ok_or_else(|| format!("{text:?} is no number of connections from 1 to 100k"))
}

/// Questions that may be on the way on a connection, 1 to 1024.
pub fn depth(text: &str) -> Result<usize, String> {
    whole(text)
        .filter(|count| *count <= 1024)
        .ok_or_else(|| format!("{text:?} is no number of questions from 1 to 1024"))
}

/// A duration such as `100ms` or `1m30s`, from 1 ms to a day.
pub fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .ok()
        .filter(|time| TIMES.contains(time))
        .ok_or_else(|| format!("{text:?} is no duration from 1ms to 24h, such as 500ms or 1m30s"))
}

/// A stage: a duration and a rate, such as `10s@1k`.
pub fn stage(text: &str) -> Result<(Duration, f64), String> {
    let wrong =
        || format!("{text:?} is no stage such as 10s@1k: a duration from 1ms to 24h and a rate from 0.001 to 100m");
    let (length, a_second) = text.split_once('@').ok_or_else(wrong)?;
    Ok((time(length)?, rate(a_second)?))
}

/// A limit for a percentile, such as `p99<5ms`: the quantile, and the duration, up to the longest one that is told apart from
/// longer ones.
pub fn limit(text: &str) -> Result<(f64, Duration), String> {
    let wrong = || {
        format!("{text:?} is no limit such as p99<5ms: a percentile from p1 to p99.99999 and a duration from 1ns to 1m")
    };
    let (percentile, longest) = text.split_once('<').ok_or_else(wrong)?;
    let percent: f64 = percentile.strip_prefix('p').and_then(|percent| percent.parse().ok()).ok_or_else(wrong)?;
    let longest = humantime::parse_duration(longest)
        .ok()
        .filter(|longest| (Duration::from_nanos(1)..=Duration::from_mins(1)).contains(longest))
        .ok_or_else(wrong)?;
    // Rounded: 99.9 / 100 is not 0.999.
    let quantile = (percent * 1e7).round() / 1e9;
    if (0.01..=0.999_999_9).contains(&quantile) { Ok((quantile, longest)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{connections, count, depth, limit, rate, stage, time};

    #[test]
    fn units_are_understood() {
        assert_eq!(rate("1k"), Ok(1000.0));
        assert_eq!(rate("2.5m"), Ok(2_500_000.0));
        assert_eq!(rate("0.001"), Ok(0.001));
        assert_eq!(count("16"), Ok(16));
        assert_eq!(connections("100k"), Ok(100_000));
        assert_eq!(depth("1k"), Ok(1000));
        assert_eq!(time("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(stage("10s@1k"), Ok((Duration::from_secs(10), 1000.0)));
        let (quantile, longest) = limit("p99.9<500us").expect("a limit");
        assert!((quantile - 0.999).abs() < 1e-9 && longest == Duration::from_micros(500), "{quantile} {longest:?}");
        assert!(limit("p1<1ns").is_ok() && limit("p99.99999<1m").is_ok());
    }

    #[test]
    fn what_is_out_of_its_range_is_refused() {
        for wrong in ["", "k", "-1", "0", "1x", "1e30", "1e-20", "0.0009", "101m", "NaN", "inf", "\u{e9}"] {
            assert!(rate(wrong).is_err() && count(wrong).is_err(), "{wrong}");
        }
        assert!(count("1.5").is_err() && connections("100001").is_err() && depth("1025").is_err());
        assert!(time("0s").is_err() && time("25h").is_err());
        assert!(stage("10s").is_err() && stage("10s@0").is_err() && stage("0s@1k").is_err());
        for wrong in ["99<1ms", "p99", "p0<1ms", "p100<1ms", "p99.99999999999<1ms", "pNaN<1ms", "p99<0s", "p99<61s"] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
    }
}
