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

/// Questions a second that the swarm may ask, of which 0 is nobody: 0 to 200k.
pub fn load(text: &str) -> Result<f64, String> {
    number(text)
        .filter(|rate| (0.0..=2e5).contains(rate))
        .ok_or_else(|| format!("{text:?} is no rate from 0 to 200k, such as 500 or 1k"))
}

/// Silent connections that the swarm may hold, 0 to 20,000.
pub fn crowd(text: &str) -> Result<u32, String> {
    number(text)
        .filter(|count| (0.0..=2e4).contains(count) && count.fract() == 0.0)
        .map(|count| count as u32)
        .ok_or_else(|| format!("{text:?} is no number of connections from 0 to 20k"))
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

/// What chance follows from: a whole number that fits into 64 bits.
pub fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no whole number from 0 to {}", u64::MAX))
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

    use super::{connections, count, crowd, depth, limit, load, rate, seed, stage, time};

    #[test]
    fn units_are_understood() {
        assert_eq!(rate("1k"), Ok(1000.0));
        assert_eq!(rate("2.5m"), Ok(2_500_000.0));
        assert_eq!(rate("0.001"), Ok(0.001));
        assert_eq!(count("16"), Ok(16));
        assert_eq!(connections("100k"), Ok(100_000));
        assert_eq!((load("0"), load("1k"), crowd("0"), crowd("1k")), (Ok(0.0), Ok(1000.0), Ok(0), Ok(1000)));
        assert_eq!(depth("1k"), Ok(1000));
        assert_eq!(seed("18446744073709551615"), Ok(u64::MAX));
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
        for wrong in ["-1", "x", "200001", "NaN"] {
            assert!(load(wrong).is_err() && crowd(wrong).is_err(), "{wrong}");
        }
        for wrong in ["-1", "x", "1.5", "18446744073709551616", ""] {
            assert!(seed(wrong).is_err_and(|why| why.contains("from 0 to 18446744073709551615")), "{wrong}");
        }
        assert!(time("0s").is_err() && time("25h").is_err());
        assert!(stage("10s").is_err() && stage("10s@0").is_err() && stage("0s@1k").is_err());
        for wrong in ["99<1ms", "p99", "p0<1ms", "p100<1ms", "p99.99999999999<1ms", "pNaN<1ms", "p99<0s", "p99<61s"] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
    }
}
