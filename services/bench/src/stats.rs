//! What may be said of measurements that were taken side by side.
//!
//! A *pair* is two measurements of one block, taken shortly after each other: whatever the machine did then met both. The
//! logarithm of their ratio is symmetric (twice as fast and half as fast are as far from 0), and the median of many does not
//! care for the few pairs that something else disturbed.

use report::Interval;

use crate::random::Random;

/// How often a bootstrap draws at least.
const DRAWS: usize = 2000;

/// How often it draws for each claim of a family: the smallest probability that it can find must survive Holm's correction.
const DRAWS_A_CLAIM: usize = 60;

/// The median; the mean of the two in the middle if there is no middle. Not a number without values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    median_of_sorted(&sorted)
}

/// The `q`-quantile (0 to 1), linear between neighbours (type 7 of Hyndman and Fan). Not a number without values.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile_of_sorted(&sorted, q)
}

fn median_of_sorted(sorted: &[f64]) -> f64 {
    quantile_of_sorted(sorted, 0.5)
}

fn quantile_of_sorted(sorted: &[f64], q: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    let at = q.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

/// An estimate with its interval and how surely it is not 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The estimate itself.
    pub value: f64,
    /// Where it lies with 95 % confidence.
    pub low: f64,
    /// Upper end of that.
    pub high: f64,
    /// Two-sided probability of an estimate as far from 0 if there were no difference.
    pub p: f64,
    /// Values behind it.
    pub pairs: usize,
}

impl Estimate {
    /// Of log-ratios: the ratio.
    pub fn ratio(&self) -> f64 {
        self.value.exp()
    }

    /// Of log-ratios: the interval of the ratio.
    pub fn ratio_interval(&self) -> Interval {
        Interval { low: self.low.exp(), high: self.high.exp(), confidence: 0.95 }
    }

    /// Whether the 95 % interval has no 0 in it.
    pub fn is_apart(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// The logarithms of `of[i] / to[i]`, without pairs of which a part is missing or not above 0.
pub fn log_ratios(of: &[Option<f64>], to: &[Option<f64>]) -> Vec<f64> {
    let is_measured = |value: &f64| *value > 0.0 && value.is_finite();
    of.iter().zip(to).filter_map(|(of, to)| Some((of.filter(is_measured)? / to.filter(is_measured)?).ln())).collect()
}

/// The median of `values` with a moving-block bootstrap (Künsch, 1989): neighbours in time resemble each other, so whole
/// stretches of about n^(1/3) values are drawn, `draws` times. A bootstrap of few values is too sure of itself, so its interval
/// and its p are never narrower than those of the sign test. None below five values.
pub fn bootstrap_median(values: &[f64], draws: usize, seed: u64) -> Option<Estimate> {
    let n = values.len();
    if n < 5 {
        return None;
    }
    let length = (n as f64).cbrt().round() as usize;
    let mut random = Random::new(seed);
    let mut sample = Vec::with_capacity(n + length);
    let mut medians: Vec<f64> = (0..draws)
        .map(|_| {
            sample.clear();
            while sample.len() < n {
                let begin = random.below(n - length + 1);
                sample.extend_from_slice(&values[begin..begin + length]);
            }
            sample.truncate(n);
            median_in_place(&mut sample)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    let share = |holds: &dyn Fn(&f64) -> bool| medians.iter().filter(|&median| holds(median)).count() as f64;
    let tail = share(&|median| *median <= 0.0).min(share(&|median| *median >= 0.0));
    let signs = sign_test(values);
    Some(Estimate {
        value: median(values),
        low: quantile_of_sorted(&medians, 0.025).min(signs.low),
        high: quantile_of_sorted(&medians, 0.975).max(signs.high),
        p: (2.0 * (tail + 1.0) / (draws + 1) as f64).max(signs.p).min(1.0),
        pairs: n,
    })
}

/// What the sign test says of a median: it supposes nothing of the values but that they are independent.
pub fn sign_test(values: &[f64]) -> Estimate {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    // The most values that may be cut off at each end.
    let cut = (0..n / 2).take_while(|&cut| 2.0 * fair_tail(n, cut) <= 0.05).count();
    let above = sorted.iter().filter(|value| **value > 0.0).count();
    let below = sorted.iter().filter(|value| **value < 0.0).count();
    Estimate {
        value: median_of_sorted(&sorted),
        low: sorted.get(cut.saturating_sub(1)).copied().unwrap_or(f64::NAN),
        high: sorted.get(n.saturating_sub(cut.max(1))).copied().unwrap_or(f64::NAN),
        p: (2.0 * fair_tail(above + below, above.min(below))).min(1.0),
        pairs: n,
    }
}

/// How likely it is that `n` throws of a fair coin show at most `k` heads. In logarithms: 0.5^n is too small for large `n`.
fn fair_tail(n: usize, k: usize) -> f64 {
    let mut term = n as f64 * 0.5_f64.ln();
    let mut sum = term.exp();
    for at in 1..=k {
        term += ((n + 1 - at) as f64 / at as f64).ln();
        sum += term.exp();
    }
    sum
}

fn median_in_place(values: &mut [f64]) -> f64 {
    let is_odd = values.len() % 2 == 1;
    let (below, &mut upper, _) = values.select_nth_unstable_by(values.len() / 2, f64::total_cmp);
    if is_odd { upper } else { f64::midpoint(below.iter().copied().fold(f64::MIN, f64::max), upper) }
}

/// The mean of a series whose neighbours resemble each other, by batch means: `batches` stretches of equal length stand for
/// independent values (Conway, 1963). None below two batches or with fewer values than batches.
pub fn batch_means(values: &[f64], batches: usize) -> Option<Estimate> {
    let length = values.len().checked_div(batches).filter(|&length| length > 0 && batches >= 2)?;
    let means: Vec<f64> =
        values.chunks_exact(length).take(batches).map(|batch| batch.iter().sum::<f64>() / length as f64).collect();
    let mean = means.iter().sum::<f64>() / batches as f64;
    let variance = means.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / (batches - 1) as f64;
    let error = (variance / batches as f64).sqrt();
    let width = student(batches - 1) * error;
    let p = if error > 0.0 { normal_two_sided(mean / error) } else { f64::from(u8::from(mean == 0.0)) };
    Some(Estimate { value: mean, low: mean - width, high: mean + width, p, pairs: batches })
}

/// The 97.5 % point of Student's t with this many degrees of freedom (Cornish-Fisher expansion; exact for 1 and 2).
fn student(freedom: usize) -> f64 {
    const Z: f64 = 1.959_963_985;
    match freedom {
        0 => f64::INFINITY,
        1 => 12.706_205,
        2 => 4.302_653,
        _ => {
            let n = freedom as f64;
            let (z3, z5, z7) = (Z.powi(3), Z.powi(5), Z.powi(7));
            Z + (z3 + Z) / (4.0 * n)
                + (5.0 * z5 + 16.0 * z3 + 3.0 * Z) / (96.0 * n * n)
                + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * Z) / (384.0 * n.powi(3))
        }
    }
}

/// Two-sided tail of the normal distribution (Abramowitz and Stegun 7.1.26; good to 1.5e-7).
fn normal_two_sided(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let polynomial = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    polynomial.iter().fold(0.0, |sum, factor| (sum * t) + factor) * t * (-x * x).exp()
}

/// Holm's step-down correction (1979): what each `p` is worth when so many questions were asked at once.
pub fn holm(ps: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..ps.len()).collect();
    order.sort_by(|&one, &other| ps[one].total_cmp(&ps[other]));
    let mut corrected = vec![0.0; ps.len()];
    let mut highest = 0.0_f64;
    for (rank, &at) in order.iter().enumerate() {
        highest = highest.max((ps[at] * (ps.len() - rank) as f64).min(1.0));
        corrected[at] = highest;
    }
    corrected
}

/// Letters for subjects that are in order from the best: whoever shares a letter is not told apart (Piepho's insert and absorb,
/// 2004). `apart` says which two are.
pub fn tie_groups(subjects: usize, apart: impl Fn(usize, usize) -> bool) -> Vec<String> {
    let mut groups: Vec<Vec<bool>> = vec![vec![true; subjects]];
    for one in 0..subjects {
        for other in one + 1..subjects {
            if apart(one, other) {
                groups = split(&groups, one, other);
            }
        }
    }
    groups.sort_by_key(|group| group.iter().position(|&is_in| is_in));
    let letters = |subject: usize| {
        let of = groups.iter().enumerate().filter(|(_, group)| group[subject]);
        of.map(|(at, _)| letter(at)).collect()
    };
    (0..subjects).map(letters).collect()
}

/// Every group that holds both becomes two that hold one of them; a group that is part of another goes.
fn split(groups: &[Vec<bool>], one: usize, other: usize) -> Vec<Vec<bool>> {
    let without = |group: &Vec<bool>, subject: usize| {
        let mut smaller = group.clone();
        smaller[subject] = false;
        smaller
    };
    let mut all: Vec<Vec<bool>> = Vec::new();
    for group in groups {
        if group[one] && group[other] {
            all.extend([without(group, one), without(group, other)]);
        } else {
            all.push(group.clone());
        }
    }
    let is_part = |small: &[bool], large: &[bool]| small.iter().zip(large).all(|(small, large)| !small || *large);
    let kept = |at: usize| {
        !all.iter()
            .enumerate()
            .any(|(other, large)| other != at && is_part(&all[at], large) && (all[at] != *large || other < at))
    };
    (0..all.len()).filter(|&at| kept(at)).map(|at| all[at].clone()).collect()
}

fn letter(at: usize) -> char {
    char::from(b'A' + (at % 26) as u8)
}

/// How many pairs would tell a difference of `claim` (0.02 is 2 %), seeing how wide the interval of log-ratios is by now: its
/// half width shrinks with the root of their number.
pub fn pairs_for(claim: f64, estimate: &Estimate) -> usize {
    let half = (estimate.high - estimate.low) / 2.0;
    let wanted = claim.ln_1p().max(f64::MIN_POSITIVE);
    (estimate.pairs as f64 * (half / wanted).powi(2)).ceil() as usize
}

/// What the measurements of one kind say of all subjects.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// Each subject's ratio to the reference; none where too few pairs are left. The reference's own is none.
    pub to_reference: Vec<Option<Estimate>>,
    /// Letters: who shares one is not told apart. Empty for subjects without an estimate.
    pub groups: Vec<String>,
    /// Who has the best median, and everybody who is not told apart from it.
    pub is_best: Vec<bool>,
    /// Who is told from the reference, seeing how many comparisons were made (Holm).
    pub differs: Vec<bool>,
    /// Whether the twin differs from the reference. It is asked of three kinds of measurements, so each may err once in 60 runs.
    pub twin_differs: bool,
}

/// Compares subjects that were measured in the same blocks: `values[subject][block]`, `None` where a measurement is void.
///
/// `twin` is the reference measured as if it were somebody else. Who is best decides the order of letters.
pub fn compare(
    values: &[Vec<Option<f64>>],
    reference: usize,
    twin: usize,
    less_is_better: bool,
    seed: u64,
) -> Comparison {
    let n = values.len();
    let draws = DRAWS.max(DRAWS_A_CLAIM * n * n.saturating_sub(1) / 2);
    let estimate = |one: usize, other: usize| {
        bootstrap_median(&log_ratios(&values[one], &values[other]), draws, seed ^ (one * n + other) as u64)
    };
    let to_reference: Vec<Option<Estimate>> =
        (0..n).map(|subject| (subject != reference).then(|| estimate(subject, reference)).flatten()).collect();
    let place = |subject: usize| {
        if subject == reference { Some(0.0) } else { to_reference[subject].map(|estimate| estimate.value) }
    };
    let mut order: Vec<usize> = (0..n).filter(|&subject| place(subject).is_some()).collect();
    let key = |subject: usize| place(subject).unwrap_or(0.0) * if less_is_better { 1.0 } else { -1.0 };
    order.sort_by(|&one, &other| key(one).total_cmp(&key(other)));
    let pairs: Vec<(usize, usize)> =
        (0..order.len()).flat_map(|one| (one + 1..order.len()).map(move |other| (one, other))).collect();
    let ps: Vec<f64> =
        pairs.iter().map(|&(one, other)| estimate(order[one], order[other]).map_or(1.0, |found| found.p)).collect();
    let corrected = holm(&ps);
    let apart = |one: usize, other: usize| {
        pairs.iter().position(|&pair| pair == (one, other)).is_some_and(|at| corrected[at] < 0.05)
    };
    let letters = tie_groups(order.len(), apart);
    let (mut is_best, mut differs) = (vec![false; n], vec![false; n]);
    let middle = order.iter().position(|&subject| subject == reference).unwrap_or(0);
    for (at, &subject) in order.iter().enumerate() {
        is_best[subject] = at == 0 || !apart(0, at);
        differs[subject] = apart(at.min(middle), at.max(middle));
    }
    let mut groups = vec![String::new(); n];
    order.iter().zip(&letters).for_each(|(&subject, letters)| groups[subject].clone_from(letters));
    let twin_differs = to_reference[twin].is_some_and(|estimate| estimate.p < 0.05 / 3.0);
    Comparison { to_reference, groups, is_best, differs, twin_differs }
}
