//! Random conversations, and what the reference model of the crate `zen` answers to them.
//!
//! A conversation follows from its seed alone: the same seed is the same conversation with every architecture.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use zen::datagram::{Dropped, Verdict, judge};
use zen::{Conversation, Dialogue, Limits, Next, QUESTIONS};

/// The servers' default; the two times never pass here.
const LIMITS: Limits =
    Limits { max_question: 64, idle_timeout: Duration::from_mins(1), question_deadline: Duration::from_mins(1) };

/// A sender's port that may be answered, as every client's here.
const PORT: Option<u16> = Some(40_000);

/// What sort of conversation it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One question, one answer, some times.
    Asked,
    /// A few questions, cut anywhere.
    Split,
    /// Many questions at once.
    Pipelined,
    /// Any bytes, cut anywhere.
    Hostile,
    /// The client has said all before it hears anything.
    HalfClosed,
    /// The client breaks off somewhere.
    Reset,
    /// Far more is owed than fits into a client's buffer.
    Flood,
    /// Not one word.
    Wordless,
    /// Datagrams, one after the other.
    Letters,
    /// Several datagrams at once; their answers have no order.
    Burst,
    /// Datagrams of a client that does not wait for the answers.
    Gone,
}

const STREAM_KINDS: [(u64, Kind); 8] = [
    (20, Kind::Asked),
    (20, Kind::Split),
    (10, Kind::Pipelined),
    (20, Kind::Hostile),
    (14, Kind::HalfClosed),
    (12, Kind::Reset),
    (1, Kind::Flood),
    (3, Kind::Wordless),
];

const DATAGRAM_KINDS: [(u64, Kind); 3] = [(60, Kind::Letters), (30, Kind::Burst), (10, Kind::Gone)];

/// What a client does next.
#[derive(Clone, PartialEq, Eq)]
pub enum Step {
    /// One write, or one datagram.
    Say(Vec<u8>),
    /// Waits for everything that is owed by now.
    Hear,
    /// Says that it will say nothing more.
    Finish,
    /// Is gone, with whatever was on its way.
    Reset,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Say(bytes) if bytes.len() > 400 => write!(f, "Say({} bytes)", bytes.len()),
            Self::Say(bytes) => write!(f, "Say(\"{}\")", bytes.escape_ascii()),
            Self::Hear => f.write_str("Hear"),
            Self::Finish => f.write_str("Finish"),
            Self::Reset => f.write_str("Reset"),
        }
    }
}

/// One client's part.
#[derive(Debug, Clone)]
pub struct Script {
    pub kind: Kind,
    pub steps: Vec<Step>,
}

/// What the model says to a script.
#[derive(Debug, Default)]
pub struct Expected {
    /// Everything that is answered. Behind each datagram stands a line end, which no answer contains.
    pub replies: Vec<u8>,
    /// How much of that is owed after each step.
    pub owed: Vec<usize>,
    /// Datagrams that get no answer, by reason.
    pub dropped: [u64; Dropped::ALL.len()],
}

impl Script {
    pub fn stream(seed: u64) -> Self {
        let mut random = Random(seed);
        let kind = random.choose(&STREAM_KINDS);
        let mut steps = Vec::new();
        match kind {
            Kind::Asked => {
                for _ in 0..random.within(1..7) {
                    steps.extend([Step::Say(random.question()), Step::Hear]);
                }
            }
            Kind::Split => say_in_parts(&mut steps, &random.questions(1..7), 30, &mut random),
            Kind::Pipelined => say_in_parts(&mut steps, &random.questions(10..200), 2, &mut random),
            Kind::Hostile => say_in_parts(&mut steps, &random.speech(), 8, &mut random),
            Kind::HalfClosed | Kind::Reset => {
                let speech = if random.below(2) == 0 { random.questions(1..20) } else { random.speech() };
                say_in_parts(&mut steps, &speech, 8, &mut random);
            }
            Kind::Flood => steps.push(Step::Say(vec![b'?'; random.within(2_000..20_000)])),
            Kind::Wordless | Kind::Letters | Kind::Burst | Kind::Gone => {}
        }
        match kind {
            Kind::Reset => {
                steps.truncate(random.within(0..steps.len() + 1));
                steps.push(Step::Reset);
            }
            Kind::HalfClosed | Kind::Wordless => {
                steps.retain(|step| *step != Step::Hear);
                steps.push(Step::Finish);
            }
            // Whoever was at fault sees the server close first, or closes at the same time.
            _ if leaves(&steps) && random.below(2) == 0 => steps.push(Step::Hear),
            _ => steps.extend([Step::Hear, Step::Finish]),
        }
        Self { kind, steps }
    }

    pub fn datagrams(seed: u64) -> Self {
        let mut random = Random(seed);
        let kind = random.choose(&DATAGRAM_KINDS);
        let mut steps = Vec::new();
        for _ in 0..random.within(1..8) {
            steps.push(Step::Say(random.datagram()));
            if kind == Kind::Letters {
                steps.push(Step::Hear);
            }
        }
        if kind == Kind::Gone {
            steps.push(Step::Reset);
        } else {
            // An answer to what must have none would come before this one.
            steps.extend([Step::Hear, Step::Say(QUESTIONS[2].question.into()), Step::Hear]);
        }
        Self { kind, steps }
    }

    pub fn is_stream(&self) -> bool {
        self.kind < Kind::Letters
    }

    pub fn bytes(&self) -> usize {
        self.steps.iter().map(|step| if let Step::Say(bytes) = step { bytes.len() } else { 0 }).sum()
    }

    pub fn expected(&self) -> Expected {
        if self.is_stream() { self.expected_of_stream() } else { self.expected_of_datagrams() }
    }

    fn expected_of_stream(&self) -> Expected {
        let now = Instant::now();
        let mut conversation = Conversation::new(now);
        let mut left = false;
        let mut expected = Expected::default();
        for step in &self.steps {
            if let Step::Say(bytes) = step
                && !left
            {
                let replies = &mut expected.replies;
                left = conversation.hear(bytes, now, Dialogue::Zen, &LIMITS, replies, |_| {}) == Next::Leave;
            }
            expected.owed.push(expected.replies.len());
        }
        expected
    }

    fn expected_of_datagrams(&self) -> Expected {
        let mut expected = Expected::default();
        let mut group = 0;
        for step in &self.steps {
            match step {
                Step::Say(bytes) => match judge(Dialogue::Zen, bytes, bytes.len() > LIMITS.max_question, PORT) {
                    Verdict::Reply(reply, _) => expected.replies.extend(reply.iter().chain(b"\n")),
                    Verdict::Drop(reason) => expected.dropped[reason as usize] += 1,
                },
                Step::Hear => group = sort_lines(&mut expected.replies, group),
                Step::Finish | Step::Reset => {}
            }
            expected.owed.push(expected.replies.len());
        }
        expected
    }
}

/// Puts the lines from byte `from` on in order; gives where the next group begins.
pub fn sort_lines(text: &mut Vec<u8>, from: usize) -> usize {
    let group = text.split_off(from.min(text.len()));
    let mut lines: Vec<_> = group.split_inclusive(|&byte| byte == b'\n').collect();
    lines.sort_unstable();
    text.extend(lines.concat());
    text.len()
}

fn leaves(steps: &[Step]) -> bool {
    let script = Script { kind: Kind::Hostile, steps: steps.to_vec() };
    let replies = script.expected_of_stream().replies;
    [zen::error::BAD_BYTE, zen::error::TOO_LONG].iter().any(|fault| replies.ends_with(fault.as_bytes()))
}

/// Says `bytes` in up to `parts` writes, cut at random.
fn say_in_parts(steps: &mut Vec<Step>, bytes: &[u8], parts: usize, random: &mut Random) {
    let mut cuts: Vec<usize> = (1..random.within(1..parts + 1)).map(|_| random.within(0..bytes.len() + 1)).collect();
    cuts.push(bytes.len());
    cuts.sort_unstable();
    let mut from = 0;
    for to in cuts {
        if from < to {
            steps.push(Step::Say(bytes[from..to].to_vec()));
            if random.below(8) == 0 {
                steps.push(Step::Hear);
            }
        }
        from = to;
    }
}

/// Splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn within(&mut self, range: Range<usize>) -> usize {
        range.start + self.below((range.end - range.start) as u64) as usize
    }

    fn choose(&mut self, kinds: &[(u64, Kind)]) -> Kind {
        let mut at = self.below(kinds.iter().map(|(weight, _)| weight).sum());
        for &(weight, kind) in kinds {
            if at < weight {
                return kind;
            }
            at -= weight;
        }
        unreachable!("`at` is below the sum of the weights")
    }

    /// A known question, or one that nobody knows, of any length that is allowed.
    fn question(&mut self) -> Vec<u8> {
        if self.below(4) > 0 { self.known() } else { [self.text(LIMITS.max_question), vec![b'?']].concat() }
    }

    fn known(&mut self) -> Vec<u8> {
        QUESTIONS[self.within(0..QUESTIONS.len())].question.into()
    }

    fn questions(&mut self, count: Range<usize>) -> Vec<u8> {
        (0..self.within(count)).flat_map(|_| [self.question(), self.line_end()].concat()).collect()
    }

    /// Mostly none.
    fn line_end(&mut self) -> Vec<u8> {
        match self.below(8) {
            0 => b"\n".into(),
            1 => b"\r\n".into(),
            _ => Vec::new(),
        }
    }

    /// Fewer than `end` bytes that a question may contain, without a question mark.
    fn text(&mut self, end: usize) -> Vec<u8> {
        (0..self.within(0..end))
            .map(|_| b' ' + self.below(94) as u8)
            .map(|byte| byte + u8::from(byte >= b'?'))
            .collect()
    }

    fn junk(&mut self) -> Vec<u8> {
        (0..self.within(0..40)).map(|_| self.next() as u8).collect()
    }

    /// What clients send: questions, nearly questions, anything.
    fn speech(&mut self) -> Vec<u8> {
        (0..self.within(0..12))
            .flat_map(|_| match self.below(9) {
                0..4 => self.known(),
                4 | 5 => [self.text(71), vec![b'?']].concat(),
                6 => b"\r\n\n"[..self.within(1..4)].to_vec(),
                7 => self.text(81),
                _ => self.junk(),
            })
            .collect()
    }

    fn datagram(&mut self) -> Vec<u8> {
        match self.below(10) {
            0..5 => self.known(),
            5 | 6 => [self.text(71), vec![b'?']].concat(),
            7 => self.text(90),
            8 => [self.junk(), vec![b'?']].concat(),
            _ => vec![b'?'; self.within(0..4098)],
        }
    }
}
