//! What holds for every client, whatever it says and however its bytes are split.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use zen::datagram::{Dropped, Verdict, judge};
use zen::{Conversation, Dialogue, End, Limits, Next, QUESTIONS, Said, TimeOut, error};

const LIMITS: Limits =
    Limits { max_question: 64, idle_timeout: Duration::from_secs(30), question_deadline: Duration::from_secs(5) };

/// What a whole conversation came to.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    replies: Vec<u8>,
    said: Vec<Said>,
    left: bool,
    end: Option<End>,
}

fn converse<'a>(parts: impl IntoIterator<Item = &'a [u8]>, dialogue: Dialogue) -> Outcome {
    let now = Instant::now();
    let mut conversation = Conversation::new(now);
    let (mut replies, mut said) = (Vec::new(), Vec::new());
    for part in parts {
        if conversation.hear(part, now, dialogue, &LIMITS, &mut replies, |what| said.push(what)) == Next::Leave {
            return Outcome { replies, said, left: true, end: None };
        }
    }
    Outcome { replies, said, left: false, end: Some(conversation.end()) }
}

/// Bytes as clients send them: questions, nearly questions, and anything.
fn speech() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => (0..3_usize).prop_map(|at| QUESTIONS[at].question.as_bytes().to_vec()),
        2 => "[ -~]{0,70}\\?".prop_map(String::into_bytes),
        1 => "[\r\n]{1,3}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => "[ -~]{0,80}".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// `bytes` cut at these places.
fn cut<'a>(bytes: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    let ends = places.iter().copied().chain([bytes.len()]);
    let mut from = 0;
    ends.map(|end| &bytes[std::mem::replace(&mut from, end)..end]).collect()
}

proptest! {
    #[test]
    fn any_split_gives_the_same_replies(bytes in speech(), places in proptest::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let whole = converse([bytes.as_slice()], Dialogue::Zen);
        prop_assert_eq!(&converse(cut(&bytes, &places), Dialogue::Zen), &whole);
        prop_assert_eq!(&converse(bytes.chunks(1), Dialogue::Zen), &whole);
    }

    #[test]
    fn no_more_is_owed_than_24_bytes_for_each_byte_heard(bytes in speech()) {
        let outcome = converse([bytes.as_slice()], Dialogue::Zen);
        prop_assert!(outcome.replies.len() <= 24 * bytes.len() + error::UNKNOWN.len());
        prop_assert!(outcome.replies.is_empty() || outcome.replies.ends_with(b"."));
    }

    #[test]
    fn an_echo_gives_back_every_byte(bytes in speech(), places in proptest::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        prop_assert_eq!(converse(cut(&bytes, &places), Dialogue::Echo).replies, bytes);
    }

    #[test]
    fn a_datagrams_reply_is_never_longer_and_only_questions_get_one(bytes in speech(), truncated: bool, port: u16) {
        if let Verdict::Reply(reply, _) = judge(Dialogue::Zen, &bytes, truncated, Some(port)) {
            prop_assert!(reply.len() <= bytes.len());
            prop_assert!(bytes.ends_with(b"?") && reply.ends_with(b"."));
            prop_assert!(!truncated && port >= 1024 && !(1060..1080).contains(&port));
        }
    }
}

#[test]
fn every_row_of_the_streams_table() {
    let max = [b'x'; 64];
    let longest = [&[b'x'; 63][..], b"?"].concat();
    let rows: [(&[u8], &str, bool, Option<End>); 13] = [
        (b"Simple is better than?", "Complex.", false, Some(End::Whole)),
        (b"Now is better than?", error::UNKNOWN, false, Some(End::Whole)),
        (b"?", error::UNKNOWN, false, Some(End::Whole)),
        (&longest, error::UNKNOWN, false, Some(End::Whole)),
        (&max, error::TOO_LONG, true, None),
        (b"Simple\0", error::BAD_BYTE, true, None),
        (b"Simple\r\n", error::BAD_BYTE, true, None),
        ("Schön?".as_bytes(), error::BAD_BYTE, true, None),
        (b"Simple is", "", false, Some(End::Partial)),
        (b"", "", false, Some(End::Whole)),
        (b"\r\nSimple is better than?\r\n", "Complex.", false, Some(End::Whole)),
        (b"\r\n\nSimple is better than?", error::BAD_BYTE, true, None),
        (b"Simple is better than?Beautiful is better than?", "Complex.Ugly.", false, Some(End::Whole)),
    ];
    for (bytes, replies, left, end) in rows {
        let outcome = converse([bytes], Dialogue::Zen);
        let heard = String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(
            (String::from_utf8_lossy(&outcome.replies).as_ref(), outcome.left, outcome.end),
            (replies, left, end),
            "{heard:?}"
        );
    }
}

/// A datagram, whether it was cut off, its sender's port, and what becomes of it.
type DatagramRow = (&'static [u8], bool, Option<u16>, Result<&'static str, Dropped>);

#[test]
fn every_row_of_the_datagrams_table() {
    let rows: [DatagramRow; 11] = [
        (b"", false, None, Err(Dropped::Empty)),
        (b"Simple is better than?", true, None, Err(Dropped::Truncated)),
        (b"Simple is better than? ", false, None, Err(Dropped::NoQuestion)),
        (b"Simple\0 better than?", false, None, Err(Dropped::BadByte)),
        (b"Simple is better than?", false, Some(53), Err(Dropped::Source)),
        (b"Simple is better than?", false, Some(1071), Err(Dropped::Source)),
        (b"Simple is better than?", false, Some(2000), Ok("Complex.")),
        (b"?", false, None, Err(Dropped::Short)),
        (b"Whatever is better than", false, None, Err(Dropped::NoQuestion)),
        (b"Whatever is better than?", false, None, Ok(error::UNKNOWN)),
        (b"Simple? Simple is better than?", false, None, Ok(error::UNKNOWN)),
    ];
    for (bytes, truncated, port, wanted) in rows {
        let found = match judge(Dialogue::Zen, bytes, truncated, port) {
            Verdict::Reply(reply, _) => Ok(std::str::from_utf8(reply).unwrap()),
            Verdict::Drop(reason) => Err(reason),
        };
        assert_eq!(found, wanted, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn a_question_has_its_deadline_from_its_first_byte_on() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut conversation = Conversation::new(start);
    let mut replies = Vec::new();
    let mut hear = |conversation: &mut Conversation, bytes: &[u8], seconds| {
        let _ = conversation.hear(bytes, at(seconds), Dialogue::Zen, &LIMITS, &mut replies, |_| {});
    };
    assert_eq!(conversation.deadline(&LIMITS), at(30));
    hear(&mut conversation, b"Simple", 10);
    assert_eq!(conversation.deadline(&LIMITS), at(15));
    hear(&mut conversation, b" is", 14);
    assert_eq!(conversation.deadline(&LIMITS), at(15), "no further byte extends it");
    hear(&mut conversation, b" better than?", 14);
    assert_eq!(conversation.deadline(&LIMITS), at(44));
    assert_eq!(conversation.time_out(&mut Vec::new()), TimeOut::Idle);
    hear(&mut conversation, b"S", 20);
    let mut reply = Vec::new();
    assert_eq!(conversation.time_out(&mut reply), TimeOut::Question);
    assert_eq!(reply, error::TIMEOUT.as_bytes());
}
