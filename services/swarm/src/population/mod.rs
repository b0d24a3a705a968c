//! Who asks: kinds of clients, and how many of each.
//!
//! What a kind does is a plain value, a [`Manner`]; the engine follows it and knows no kind by name.

mod bad;
mod manner;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zen::{Dialogue, QUESTIONS, Transport};

pub(crate) use bad::bad_question;
pub(crate) use manner::{Asks, Depth, Ending, Manner, Reading, Text, Wanted, Way, Writing};

/// The greatest weight of a kind.
pub(crate) const MOST_WEIGHT: u64 = 1000;

/// Answers that a slow reader lets pile up before it reads them.
const SLOW_BATCH: usize = 16;

/// What a slow reader reads at once, in bytes.
pub(crate) const SLOW_BYTES: usize = 8;

/// In bytes, of those in [`QUESTIONS`].
const LONGEST_QUESTION: usize = 25;
const LONGEST_ANSWER: usize = 9;

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Keeps its connection and asks at even intervals.
    Steady,
    /// Keeps its connection; all are asked something at once, then nobody for a while.
    Bursty,
    /// Keeps its connection and asks at random, as many independent people do.
    Poisson,
    /// Keeps its connection and does not wait for an answer before it asks again.
    Pipeliner,
    /// The chapter's client: connects, asks three questions, closes. Every architecture can serve it, so this compares all.
    Churner,
    /// Connects and says nothing.
    Idler,
    /// Sends its question byte by byte.
    Trickler,
    /// Sends its question in a few parts, as networks do.
    Fragmenter,
    /// Asks a lot and reads the answers a few bytes at a time.
    SlowReader,
    /// Asks its three questions at once, says that it has no more, and waits for the answers.
    HalfCloser,
    /// Breaks the connection off in the middle of a question.
    Aborter,
    /// Asks what nobody knows, and what is no question.
    BadAsker,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::Steady,
        Self::Bursty,
        Self::Poisson,
        Self::Pipeliner,
        Self::Churner,
        Self::Idler,
        Self::Trickler,
        Self::Fragmenter,
        Self::SlowReader,
        Self::HalfCloser,
        Self::Aborter,
        Self::BadAsker,
    ];

    /// The name that plans and metrics use.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Bursty => "bursty",
            Self::Poisson => "poisson",
            Self::Pipeliner => "pipeliner",
            Self::Churner => "churner",
            Self::Idler => "idler",
            Self::Trickler => "trickler",
            Self::Fragmenter => "fragmenter",
            Self::SlowReader => "slow_reader",
            Self::HalfCloser => "half_closer",
            Self::Aborter => "aborter",
            Self::BadAsker => "bad_asker",
        }
    }

    /// What it does.
    pub(crate) const fn manner(self) -> &'static Manner {
        match self {
            Self::Steady => &manner::STEADY,
            Self::Bursty => &manner::BURSTY,
            Self::Poisson => &manner::POISSON,
            Self::Pipeliner => &manner::PIPELINER,
            Self::Churner => &manner::CHURNER,
            Self::Idler => &manner::IDLER,
            Self::Trickler => &manner::TRICKLER,
            Self::Fragmenter => &manner::FRAGMENTER,
            Self::SlowReader => &manner::SLOW_READER,
            Self::HalfCloser => &manner::HALF_CLOSER,
            Self::Aborter => &manner::ABORTER,
            Self::BadAsker => &manner::BAD_ASKER,
        }
    }

    /// Whether it can do what it does over this transport.
    pub(crate) const fn fits(self, transport: Transport) -> bool {
        transport.is_stream() || !self.manner().streams_only
    }

    /// Whether instants of a schedule say when it asks, so that it has a part of the rate.
    pub(crate) const fn has_rate(self) -> bool {
        matches!(self.manner().way, Way::Visit | Way::Held)
    }

    /// Whether it keeps connections, so that it has a part of them.
    pub(crate) const fn has_connections(self) -> bool {
        !matches!(self.manner().way, Way::Visit)
    }

    /// How many of its intervals it takes for what it asks at once, by its own doing.
    pub(crate) const fn own_intervals(self, dialogue: Dialogue) -> u32 {
        let longest = match dialogue {
            Dialogue::Zen => LONGEST_ANSWER,
            Dialogue::Echo => LONGEST_QUESTION,
        };
        match self {
            Self::Trickler => LONGEST_QUESTION as u32,
            Self::SlowReader => (SLOW_BATCH * longest / SLOW_BYTES + 1) as u32,
            _ => 0,
        }
    }

    /// Questions that belong to one instant of its schedule; `per_connection` is 0 for the usual number.
    pub(crate) const fn questions_at_once(self, per_connection: usize) -> usize {
        let manner = self.manner();
        match (manner.way, manner.depth, manner.asks) {
            (Way::Closed, Depth::All, _) => SLOW_BATCH,
            (Way::Visit, Depth::All, _) => QUESTIONS.len(),
            (Way::Visit, Depth::One, Asks::Known) if !matches!(manner.ending, Ending::Abort) => {
                if per_connection == 0 {
                    QUESTIONS.len()
                } else {
                    per_connection
                }
            }
            _ => 1,
        }
    }
}

/// How the clients are made up: a weight for each kind, 0 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<Kind, u64>", into = "BTreeMap<Kind, u64>")]
pub struct Population([u64; Kind::ALL.len()]);

impl Population {
    /// Only clients of one kind.
    pub fn only(kind: Kind) -> Self {
        Self::default().with(kind, 1)
    }

    /// The same with this weight for a kind.
    #[must_use]
    pub const fn with(mut self, kind: Kind, weight: u64) -> Self {
        self.0[kind as usize] = weight;
        self
    }

    /// The weight of a kind.
    pub const fn weight(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    /// The kinds that there are over this transport.
    pub(crate) fn kinds(&self, transport: Transport) -> impl Iterator<Item = Kind> {
        let weights = *self;
        Kind::ALL.into_iter().filter(move |kind| weights.weight(*kind) > 0 && kind.fits(transport))
    }

    /// The part that `kind` has of what is shared by those kinds for which `shares` holds.
    pub(crate) fn part(&self, kind: Kind, transport: Transport, shares: impl Fn(Kind) -> bool) -> f64 {
        if !shares(kind) {
            return 0.0;
        }
        let whole: u64 = self.kinds(transport).filter(|kind| shares(*kind)).map(|kind| self.weight(kind)).sum();
        self.weight(kind) as f64 / whole.max(1) as f64
    }
}

impl From<BTreeMap<Kind, u64>> for Population {
    fn from(weights: BTreeMap<Kind, u64>) -> Self {
        weights.into_iter().fold(Self::default(), |population, (kind, weight)| population.with(kind, weight))
    }
}

impl From<Population> for BTreeMap<Kind, u64> {
    /// All kinds, so that a plan shows what there is.
    fn from(population: Population) -> Self {
        Kind::ALL.into_iter().map(|kind| (kind, population.weight(kind))).collect()
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "parts of small numbers are exact")]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_of_the_kinds_that_share() {
        let population = Population::only(Kind::Churner).with(Kind::Steady, 3).with(Kind::Idler, 5);
        let part = |kind| population.part(kind, Transport::Tcp, Kind::has_rate);
        assert_eq!([part(Kind::Churner), part(Kind::Steady), part(Kind::Idler)], [0.25, 0.75, 0.0]);
        let part = |kind| population.part(kind, Transport::Tcp, Kind::has_connections);
        assert_eq!([part(Kind::Churner), part(Kind::Steady), part(Kind::Idler)], [0.0, 0.375, 0.625]);
    }

    #[test]
    fn datagrams_have_no_clients_that_need_a_stream() {
        let population = Population::only(Kind::Churner).with(Kind::Trickler, 9).with(Kind::HalfCloser, 9);
        assert_eq!(population.kinds(Transport::Udp).collect::<Vec<_>>(), [Kind::Churner]);
        assert_eq!(population.part(Kind::Churner, Transport::Udp, Kind::has_rate), 1.0);
    }

    #[test]
    fn labels_are_those_of_documents() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::json!(kind), kind.label());
        }
    }
}
