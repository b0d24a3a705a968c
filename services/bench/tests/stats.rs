//! Known vectors, and data whose truth is known.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use bench::Random;
use bench::stats::{
    batch_means, bootstrap_median, compare, holm, log_ratios, median, pairs_for, quantile, sign_test, tie_groups,
};

fn near(one: f64, other: f64) {
    assert!((one - other).abs() < 1e-3, "{one} and not {other}");
}

#[test]
fn medians_and_quantiles() {
    near(median(&[3.0, 1.0, 2.0]), 2.0);
    near(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    assert!(median(&[]).is_nan());
    // R: quantile(c(1, 2, 4, 8, 16), c(.1, .5, .9))
    let values = [16.0, 1.0, 8.0, 2.0, 4.0];
    near(quantile(&values, 0.1), 1.4);
    near(quantile(&values, 0.5), 4.0);
    near(quantile(&values, 0.9), 12.8);
}

#[test]
fn ratios_of_what_was_measured() {
    let ratios = log_ratios(&[Some(2.0), None, Some(1.0), Some(0.0)], &[Some(1.0), Some(1.0), Some(4.0), Some(1.0)]);
    assert_eq!(ratios.len(), 2);
    near(ratios[0], 2.0_f64.ln());
    near(ratios[1], -(4.0_f64.ln()));
}

#[test]
fn the_sign_test_is_the_binomial() {
    // R: binom.test(9, 10)$p.value; the 2nd and the 9th of ten values bound their median with 97.9 %.
    let values: Vec<f64> = (0..10).map(|at| f64::from(at) - 0.5).collect();
    let found = sign_test(&values);
    near(found.p, 0.021_48);
    near(found.low, values[1]);
    near(found.high, values[8]);
    near(sign_test(&[1.0, 2.0, 3.0]).p, 0.25);
}

#[test]
fn holms_own_steps() {
    // R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
    for (found, expected) in corrected.into_iter().zip([0.03, 0.06, 0.06, 0.02]) {
        near(found, expected);
    }
    assert!(holm(&[]).is_empty());
}

#[test]
fn batch_means_are_students() {
    // R: t.test(c(1, 2, 3, 4, 5)): 3, from 1.037 to 4.963
    let found = batch_means(&[1.0, 2.0, 3.0, 4.0, 5.0], 5).unwrap();
    near(found.value, 3.0);
    assert!((found.low - 1.037).abs() < 0.02 && (found.high - 4.963).abs() < 0.02, "{found:?}");
    // Two values a batch: the batches are 1.5, 3.5, 5.5.
    near(batch_means(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3).unwrap().value, 3.5);
    assert!(batch_means(&[1.0], 2).is_none() && batch_means(&[1.0, 2.0], 1).is_none());
}

#[test]
fn letters_join_who_is_not_told_apart() {
    assert_eq!(tie_groups(3, |_, _| false), ["A", "A", "A"]);
    assert_eq!(tie_groups(3, |_, _| true), ["A", "B", "C"]);
    // Only the ends differ: the middle belongs to both.
    assert_eq!(tie_groups(3, |one, other| (one, other) == (0, 2)), ["A", "AB", "B"]);
    assert_eq!(tie_groups(4, |one, other| one < 2 && other >= 2), ["A", "A", "B", "B"]);
    assert_eq!(tie_groups(1, |_, _| true), ["A"]);
}

/// What a busy machine does to a measurement: a level that wanders, a little noise, and now and then a blow.
struct Noise {
    random: Random,
    level: f64,
}

impl Noise {
    fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), level: 0.0 }
    }

    fn gauss(&mut self) -> f64 {
        (0..12).map(|_| self.random.unit()).sum::<f64>() - 6.0
    }

    /// One block: each subject's cost is its truth times the level of that moment.
    fn block(&mut self, truths: &[f64]) -> Vec<Option<f64>> {
        self.level = 0.9 * self.level + 0.1 * self.gauss();
        let one = |noise: &mut Self, truth: f64| {
            let blow = if noise.random.unit() < 0.05 { 0.5 } else { 0.0 };
            Some(truth * (noise.level + 0.05 * noise.gauss() + blow).exp())
        };
        truths.iter().map(|&truth| one(self, truth)).collect()
    }

    fn run(&mut self, truths: &[f64], blocks: usize) -> Vec<Vec<Option<f64>>> {
        let rows: Vec<_> = (0..blocks).map(|_| self.block(truths)).collect();
        (0..truths.len()).map(|subject| rows.iter().map(|row| row[subject]).collect()).collect()
    }
}

#[test]
fn a_bootstrap_covers_the_truth() {
    let covered = (0..40)
        .filter(|&seed| {
            let values = Noise::new(seed).run(&[1.1, 1.0], 60);
            let found = bootstrap_median(&log_ratios(&values[0], &values[1]), 1000, seed).unwrap();
            (found.low..=found.high).contains(&1.1_f64.ln())
        })
        .count();
    assert!((34..=40).contains(&covered), "{covered} of 40 intervals of 95 % hold the truth");
    assert!(bootstrap_median(&[1.0; 4], 100, 0).is_none());
}

#[test]
fn a_planted_difference_is_separated_and_a_twin_is_not() {
    let truths = [1.0, 1.0, 1.3];
    let mut alarms = 0;
    for seed in 0..20 {
        let values = Noise::new(seed).run(&truths, 40);
        let found = compare(&values, 0, 1, true, seed);
        let planted = found.to_reference[2].unwrap();
        assert!((planted.ratio() - 1.3).abs() < 0.1 && planted.is_apart(), "{planted:?}");
        assert!(!found.groups[0].chars().any(|letter| found.groups[2].contains(letter)), "{:?}", found.groups);
        assert!(found.to_reference[0].is_none());
        assert_eq!(found.is_best, [true, true, false], "seed {seed}");
        assert_eq!(found.differs, [false, false, true], "seed {seed}");
        alarms += usize::from(found.twin_differs);
    }
    assert!(alarms <= 2, "{alarms} of 20 twins were told apart");
}

#[test]
fn too_few_pairs_say_nothing() {
    let values = vec![vec![Some(1.0); 4], vec![Some(2.0); 4]];
    let found = compare(&values, 0, 1, true, 0);
    assert!(found.to_reference[1].is_none() && !found.twin_differs);
    assert_eq!((found.groups, found.is_best), (vec!["A".to_owned(), String::new()], vec![true, false]));
}

#[test]
fn a_claim_twice_as_fine_takes_four_times_the_pairs() {
    let values = Noise::new(1).run(&[1.0, 1.0], 60);
    let found = bootstrap_median(&log_ratios(&values[0], &values[1]), 1000, 1).unwrap();
    let ratio = pairs_for(0.01, &found) as f64 / pairs_for(0.02, &found) as f64;
    assert!((ratio - 4.0).abs() < 0.2, "{ratio}");
}
