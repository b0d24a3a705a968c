//! Stages: what the rate is, one time after another, as `10s@1k,30s@5k` or with a ramp `10s@1k..5k`.

use std::sync::Arc;
use std::time::Duration;

/// The most stages of a text.
const MOST: usize = 64;

/// The longest stage.
const LONGEST: Duration = Duration::from_hours(24);

/// A time, with the rate at its beginning and at its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stage {
    pub seconds: f64,
    pub from: f64,
    pub to: f64,
}

/// Understands a text of stages; an empty one has none.
///
/// # Errors
/// One sentence that names the stage and what is wrong with it.
pub(crate) fn parse(text: &str, most_rate: f64) -> Result<Arc<[Stage]>, String> {
    if text.trim().is_empty() {
        return Ok(Arc::default());
    }
    let stages: Result<Vec<_>, _> = text.split(',').map(|part| stage(part.trim(), most_rate)).collect();
    let stages = stages?;
    if stages.len() > MOST {
        return Err(format!("there are {} stages; there may be {MOST}", stages.len()));
    }
    Ok(stages.into())
}

fn stage(text: &str, most_rate: f64) -> Result<Stage, String> {
    let form =
        || format!("the stage {text:?} must be written TIME@RATE or TIME@RATE..RATE, as in 10s@1k or 10s@1k..5k");
    let (time, rates) = text.split_once('@').ok_or_else(form)?;
    let time = humantime::parse_duration(time.trim()).map_err(|_| form())?;
    if time.is_zero() || time > LONGEST {
        return Err(format!("the stage {text:?} must take more than nothing and at most a day"));
    }
    let (from, to) = rates.split_once("..").unwrap_or((rates, rates));
    let rate = |text: &str| rate(text.trim()).ok_or_else(form);
    let (from, to) = (rate(from)?, rate(to)?);
    if from.max(to) > most_rate {
        return Err(format!("the stage {text:?} must have a rate in 0..={most_rate}"));
    }
    Ok(Stage { seconds: time.as_secs_f64(), from, to })
}

/// A number with `k` for thousands or `m` for millions.
fn rate(text: &str) -> Option<f64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 1e3),
        b'm' => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    digits.parse::<f64>().ok().filter(|_| is_number).map(|number| number * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> Vec<(f64, f64, f64)> {
        parse(text, 1e6).unwrap().iter().map(|stage| (stage.seconds, stage.from, stage.to)).collect()
    }

    #[test]
    fn texts_mean_what_they_say() {
        assert_eq!(shape("10s@1k,30s@5k"), [(10.0, 1e3, 1e3), (30.0, 5e3, 5e3)]);
        assert_eq!(shape(" 1m30s @ 0..2.5k , 500ms@7"), [(90.0, 0.0, 2.5e3), (0.5, 7.0, 7.0)]);
        assert_eq!(shape(""), []);
    }

    #[test]
    fn what_is_no_stage_is_named() {
        for text in
            ["10s", "@5", "10s@", "10@5", "0s@5", "2days@5", "10s@2m", "10s@-1", "10s@1..", "10s@inf", "1s@1,,2s@1"]
        {
            let sentence = parse(text, 1e6).unwrap_err();
            assert!(sentence.contains('"') && !sentence.contains('\n'), "{text}: {sentence}");
        }
        assert!(parse(&vec!["1s@1"; 65].join(","), 1e6).is_err());
    }
}
