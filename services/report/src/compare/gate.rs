//! A threshold that a comparison may not pass.

use std::fmt;
use std::str::FromStr;

use super::{Comparison, Difference, Ratio};

/// Such as `cpu_ratio>1.1` or `cost.capacity_ratio<0.9`: a column, by its id, and the ratio from which on it fails.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    table: Option<String>,
    column: String,
    is_above: bool,
    ratio: f64,
}

impl FromStr for Gate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no threshold such as cpu_ratio>1.1 or cost.capacity_ratio<0.9: a column's id, < or >, and a ratio \
                 above 0"
            )
        };
        let at = text.find(['<', '>']).ok_or_else(wrong)?;
        let (name, ratio) = (text[..at].trim(), text[at + 1..].trim());
        let ratio: f64 =
            ratio.parse().ok().filter(|ratio: &f64| ratio.is_finite() && *ratio > 0.0).ok_or_else(wrong)?;
        let (table, column) = name.split_once('.').map_or((None, name), |(table, column)| (Some(table), column));
        if column.is_empty() {
            return Err(wrong());
        }
        let table = table.map(str::to_owned);
        Ok(Self { table, column: column.to_owned(), is_above: text[at..].starts_with('>'), ratio })
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table.as_ref().map_or(String::new(), |table| format!("{table}."));
        write!(f, "{table}{}{}{}", self.column, if self.is_above { '>' } else { '<' }, self.ratio)
    }
}

impl Gate {
    /// Whether the comparison has figures that this is about.
    pub fn applies(&self, comparison: &Comparison) -> bool {
        comparison.ratios.iter().any(|ratio| self.is_about(ratio))
    }

    /// The figures that pass it. A ratio whose interval holds 1 is no difference and passes no threshold.
    pub fn passed_by<'all>(&self, comparison: &'all Comparison) -> Vec<&'all Ratio> {
        let passes = |ratio: &&Ratio| {
            let is_beyond = if self.is_above { ratio.value > self.ratio } else { ratio.value < self.ratio };
            self.is_about(ratio) && is_beyond && ratio.difference() != Difference::None
        };
        comparison.ratios.iter().filter(passes).collect()
    }

    fn is_about(&self, ratio: &Ratio) -> bool {
        ratio.column == self.column && self.table.as_ref().is_none_or(|table| *table == ratio.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_read_as_they_are_written() {
        for text in ["cpu>1.1", "summary.capacity<0.9"] {
            assert_eq!(text.parse::<Gate>().map(|gate| gate.to_string()).as_deref(), Ok(text));
        }
        for text in ["cpu", ">1", "cpu>", "cpu>x", "cpu>-1", "cpu>inf", "table.<1"] {
            let refused = text.parse::<Gate>();
            assert!(refused.as_ref().is_err_and(|error| error.contains(text)), "{text}: {refused:?}");
        }
    }
}
