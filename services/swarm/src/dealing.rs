//! Which worker of the engine has which load.
//!
//! A load is dealt as a whole, so its rate is what the plan says however many workers there are. It stays where it is for as
//! long as it is wanted, since moving it would cost its connections and its place in time; a new one goes to the worker that
//! has least to ask.

use crate::plan::Load;

/// Who has what.
#[derive(Debug)]
pub(crate) struct Dealer {
    workers: usize,
    dealt: Vec<Dealt>,
}

#[derive(Debug)]
struct Dealt {
    load: Load,
    worker: usize,
}

/// A load in the hand of a worker.
#[derive(Debug)]
pub(crate) struct InHand {
    pub load: Load,
    /// The part of its first gap after which it begins (0 to 1): many of the same rate must not all come at once.
    pub offset: f64,
}

/// What a worker has already.
#[derive(Debug, Clone, Copy, Default)]
struct Hand {
    /// The highest that there will be, in questions a second.
    rate: f64,
    loads: usize,
}

impl Hand {
    fn take(&mut self, load: &Load) {
        self.rate += load.highest_rate();
        self.loads += 1;
    }
}

impl Dealer {
    /// For so many workers, who have nothing yet.
    pub const fn new(workers: usize) -> Self {
        Self { workers, dealt: Vec::new() }
    }

    /// Deals what is wanted now; the same once more changes nothing.
    pub fn deal(&mut self, loads: Vec<Load>) {
        let before = std::mem::take(&mut self.dealt);
        let had_by = |load: &Load| before.iter().find(|dealt| dealt.load.is_the_same(load)).map(|dealt| dealt.worker);
        let owners: Vec<Option<usize>> = loads.iter().map(had_by).collect();
        let mut hands = vec![Hand::default(); self.workers];
        for (load, owner) in loads.iter().zip(&owners) {
            if let Some(worker) = owner {
                hands[*worker].take(load);
            }
        }
        for (load, owner) in loads.into_iter().zip(owners) {
            let worker = owner.unwrap_or_else(|| {
                let worker = least(&hands);
                hands[worker].take(&load);
                worker
            });
            self.dealt.push(Dealt { load, worker });
        }
    }

    /// What a worker has.
    pub fn hand(&self, worker: usize) -> Vec<InHand> {
        let count = self.dealt.len().max(1) as f64;
        let mine = self.dealt.iter().enumerate().filter(|(_, dealt)| dealt.worker == worker);
        mine.map(|(at, dealt)| InHand { load: dealt.load.clone(), offset: at as f64 / count }).collect()
    }
}

/// Who has the lowest rate; among those of the same, the fewest loads: some have no rate, such as clients that are silent.
fn least(hands: &[Hand]) -> usize {
    let order = |&one: &usize, &other: &usize| {
        let (one, other) = (hands[one], hands[other]);
        one.rate.total_cmp(&other.rate).then(one.loads.cmp(&other.loads))
    };
    (0..hands.len()).min_by(order).unwrap_or(0)
}
