//! What has happened to the server last, for whoever follows it: see `GET /api/v1/events`.

use std::cmp;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// How many events are kept.
pub const KEPT: u64 = 64;

/// The most bytes that an event's text has.
pub const EVENT_BYTES: usize = 2040;

const WORD: usize = size_of::<u64>();

/// The last [`KEPT`] events, numbered from 1. Any process adds to it, without waiting for another: one that dies at that
/// moment leaves a record that is never whole, and nothing locked.
#[repr(C)]
pub struct Journal {
    written: AtomicU64,
    records: [Record; KEPT as usize],
}

/// The place of every event whose number leaves the same remainder.
#[repr(C)]
struct Record {
    /// The number of the event that is here.
    number: AtomicU64,
    length: AtomicU64,
    /// What number and text add up to: a writer that was held up may have spoilt what another wrote here after it.
    sum: AtomicU64,
    text: [AtomicU64; EVENT_BYTES / WORD],
}

/// What there is under a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The event.
    Whole(String),
    /// Nothing yet: it is being written, or has not happened.
    Coming,
    /// Nothing any more.
    Gone,
}

impl Journal {
    /// Adds an event; its text ends after [`EVENT_BYTES`].
    pub fn write(&self, text: &str) {
        let number = self.written.fetch_add(1, Ordering::AcqRel) + 1;
        self.record(number).write(number, &text.as_bytes()[..text.floor_char_boundary(EVENT_BYTES)]);
    }

    /// The number of the newest event, which may be being written; 0 if there was none.
    pub fn newest(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// The number of the oldest event that is kept.
    pub fn oldest(&self) -> u64 {
        self.newest().saturating_sub(KEPT) + 1
    }

    /// The event of this number, counted from 1.
    pub fn read(&self, number: u64) -> Entry {
        self.record(number).read(number)
    }

    const fn record(&self, number: u64) -> &Record {
        &self.records[(number % KEPT) as usize]
    }
}

impl Record {
    fn write(&self, number: u64, text: &[u8]) {
        self.length.store(text.len() as u64, Ordering::Relaxed);
        self.sum.store(sum(number, text), Ordering::Relaxed);
        for (word, bytes) in self.text.iter().zip(text.chunks(WORD)) {
            let mut whole = [0; WORD];
            whole[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(whole), Ordering::Relaxed);
        }
        self.number.fetch_max(number, Ordering::Release);
    }

    fn read(&self, number: u64) -> Entry {
        match self.number.load(Ordering::Acquire).cmp(&number) {
            cmp::Ordering::Less => Entry::Coming,
            cmp::Ordering::Equal => self.text(number).map_or(Entry::Gone, Entry::Whole),
            cmp::Ordering::Greater => Entry::Gone,
        }
    }

    /// The text that is here, if it is that of this event.
    fn text(&self, number: u64) -> Option<String> {
        let length = (self.length.load(Ordering::Relaxed) as usize).min(EVENT_BYTES);
        let words = self.text[..length.div_ceil(WORD)].iter().map(|word| word.load(Ordering::Relaxed));
        let mut text: Vec<u8> = words.flat_map(u64::to_ne_bytes).collect();
        text.truncate(length);
        let is_right = self.sum.load(Ordering::Relaxed) == sum(number, &text);
        String::from_utf8(text).ok().filter(|_| is_right)
    }
}

fn sum(number: u64, text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (number, text).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Page;

    #[test]
    fn events_are_kept_in_their_order_until_newer_ones_need_the_place() {
        let journal = &Page::map().unwrap().journal;
        assert_eq!((journal.newest(), journal.oldest(), journal.read(1)), (0, 1, Entry::Coming));
        for number in 1..=KEPT + 3 {
            journal.write(&format!("event {number}"));
        }
        assert_eq!((journal.newest(), journal.oldest()), (KEPT + 3, 4));
        assert_eq!(journal.read(3), Entry::Gone);
        for number in 4..=KEPT + 3 {
            assert_eq!(journal.read(number), Entry::Whole(format!("event {number}")));
        }
        assert_eq!(journal.read(KEPT + 4), Entry::Coming);
    }

    #[test]
    fn a_text_of_any_length_is_text() {
        let journal = &Page::map().unwrap().journal;
        for (number, text) in ["", "a", "12345678", "123456789", &"ä".repeat(EVENT_BYTES)].into_iter().enumerate() {
            journal.write(text);
            let kept = text[..text.floor_char_boundary(EVENT_BYTES)].to_owned();
            assert_eq!(journal.read(number as u64 + 1), Entry::Whole(kept));
        }
    }

    #[test]
    fn who_is_held_up_spoils_at_most_the_event_that_took_its_place() {
        let journal = &Page::map().unwrap().journal;
        (0..=KEPT).for_each(|_| journal.write("newer"));
        journal.record(1).text[0].store(0, Ordering::Relaxed);
        assert_eq!((journal.read(1), journal.read(KEPT + 1)), (Entry::Gone, Entry::Gone));
        assert_eq!(journal.read(2), Entry::Whole("newer".into()));
    }

    #[test]
    fn who_dies_in_the_middle_of_an_event_holds_nobody_up() {
        let journal = &Page::map().unwrap().journal;
        journal.written.fetch_add(1, Ordering::AcqRel);
        journal.write("second");
        assert_eq!(journal.read(1), Entry::Coming);
        assert_eq!(journal.read(2), Entry::Whole("second".into()));
        (3..=KEPT + 1).for_each(|_| journal.write("later"));
        assert_eq!((journal.read(1), journal.read(KEPT + 1)), (Entry::Gone, Entry::Whole("later".into())));
    }

    #[test]
    fn no_event_is_torn_however_many_write_at_once() {
        let journal = &Page::map().unwrap().journal;
        std::thread::scope(|scope| {
            for letter in ["a", "b", "c", "d"] {
                scope.spawn(move || {
                    for length in 1..400 {
                        journal.write(&letter.repeat(length));
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..4000 {
                    let Entry::Whole(text) = journal.read(journal.newest().max(1)) else { continue };
                    let letter = text.chars().next().unwrap();
                    assert!(text.chars().all(|other| other == letter), "{text}");
                }
            });
        });
        assert_eq!(journal.newest(), 4 * 399);
    }
}
