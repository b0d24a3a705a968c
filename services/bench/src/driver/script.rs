//! What is asked and what must be answered, laid out so that any run of questions is one piece of memory.

use zen::QUESTIONS;

/// How many different questions there are. Neighbours on a connection always differ, so an answer that comes twice cannot be
/// taken for the next one.
pub(super) const KINDS: usize = QUESTIONS.len();

/// The questions over and over, long enough for a pipeline that begins with any of them.
#[derive(Debug)]
pub(super) struct Script {
    questions: Vec<u8>,
    question_starts: Vec<usize>,
    answers: Vec<u8>,
    answer_starts: Vec<usize>,
}

/// What some bytes mean to a client that is owed answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heard {
    /// Answers that are complete and right.
    pub whole: usize,
    /// Bytes of the answer after them.
    pub partial: usize,
    /// Whether what follows is no answer that is owed.
    pub is_wrong: bool,
    /// Whether there is more than is owed.
    pub has_surplus: bool,
}

impl Script {
    /// For pipelines of up to `depth` questions.
    pub fn new(depth: usize) -> Self {
        let cycle = || QUESTIONS.iter().cycle().take(depth + KINDS);
        let (questions, question_starts) = lay_out(cycle().map(|aphorism| aphorism.question));
        let (answers, answer_starts) = lay_out(cycle().map(|aphorism| aphorism.answer));
        Self { questions, question_starts, answers, answer_starts }
    }

    /// `count` questions, the first of them number `first` of [`KINDS`].
    pub fn questions(&self, first: usize, count: usize) -> &[u8] {
        &self.questions[self.question_starts[first]..self.question_starts[first + count]]
    }

    /// The answer to question `which`.
    pub fn answer(&self, which: usize) -> &[u8] {
        &self.answers[self.answer_starts[which]..self.answer_starts[which + 1]]
    }

    /// What `bytes` mean to a client that has heard `partial` bytes of the answer to question `first` and is owed `owed`.
    pub fn hear(&self, first: usize, partial: usize, owed: usize, bytes: &[u8]) -> Heard {
        let begin = self.answer_starts[first] + partial;
        let expected = &self.answers[begin..self.answer_starts[first + owed]];
        let common = bytes.len().min(expected.len());
        let right = if bytes[..common] == expected[..common] { common } else { agreement(bytes, expected) };
        let at = begin + right;
        let whole = (1..=owed).take_while(|&count| self.answer_starts[first + count] <= at).count();
        Heard {
            whole,
            partial: at - self.answer_starts[first + whole],
            is_wrong: right < common,
            has_surplus: right == common && bytes.len() > common,
        }
    }
}

fn lay_out<'a>(texts: impl Iterator<Item = &'a str>) -> (Vec<u8>, Vec<usize>) {
    let mut all = Vec::new();
    let mut starts = vec![0];
    for text in texts {
        all.extend_from_slice(text.as_bytes());
        starts.push(all.len());
    }
    (all, starts)
}

fn agreement(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::{Heard, Script};

    const RIGHT: Heard = Heard { whole: 0, partial: 0, is_wrong: false, has_surplus: false };

    #[test]
    fn answers_may_come_in_pieces_and_together() {
        let script = Script::new(3);
        assert_eq!(script.questions(2, 2), b"Simple is better than?Beautiful is better than?");
        assert_eq!(script.answer(1), b"Implicit.");
        assert_eq!(script.hear(0, 0, 3, b"Ugly.Impl"), Heard { whole: 1, partial: 4, ..RIGHT });
        assert_eq!(script.hear(1, 4, 2, b"icit.Complex."), Heard { whole: 2, ..RIGHT });
        assert_eq!(script.hear(2, 0, 3, b"Complex.Ugly.Implicit."), Heard { whole: 3, ..RIGHT });
    }

    #[test]
    fn a_wrong_byte_and_a_byte_too_many_are_seen() {
        let script = Script::new(2);
        assert_eq!(script.hear(0, 0, 2, b"Ugly.Imql"), Heard { whole: 1, partial: 2, is_wrong: true, ..RIGHT });
        assert_eq!(script.hear(0, 0, 1, b"Ugly.U"), Heard { whole: 1, has_surplus: true, ..RIGHT });
        assert_eq!(script.hear(0, 0, 0, b"Ugly."), Heard { has_surplus: true, ..RIGHT });
    }
}
