//! What a bad asker says, and what the protocol says to that.

use zen::{Dialogue, MAX_MAX_QUESTION, Transport, error};

use super::manner::{Text, Wanted};

/// Longer than the longest question under any settings.
static OVERSIZE: [u8; MAX_MAX_QUESTION] = [b'a'; MAX_MAX_QUESTION];

/// Long enough that a datagram of it is answered.
const UNKNOWN: Text = bad(b"Practicality is better than?", Wanted::Answer(error::UNKNOWN.as_bytes()));

/// A connection that ends in the middle of a question is closed without a word.
const NO_QUESTION: Text = bad(b"Now is better than never", Wanted::Silence);

const TOO_LONG: Text = bad(&OVERSIZE, Wanted::Answer(error::TOO_LONG.as_bytes()));

/// The beginning of a TLS handshake.
const BINARY: Text = bad(b"\x16\x03\x01\x02\x00", Wanted::Answer(error::BAD_BYTE.as_bytes()));

const fn bad(said: &'static [u8], wanted: Wanted) -> Text {
    Text { which: None, said, wanted }
}

/// What is asked at turn `turn`. Datagrams that are no questions get no answer by design, so they would tell nothing;
/// and an echo finds nothing bad.
pub(crate) const fn bad_question(turn: usize, transport: Transport, dialogue: Dialogue) -> Text {
    match (dialogue, transport.is_stream()) {
        (Dialogue::Zen, true) => [UNKNOWN, NO_QUESTION, TOO_LONG, BINARY][turn % 4],
        (Dialogue::Zen, false) | (Dialogue::Echo, _) => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use zen::datagram::{Verdict, judge};
    use zen::{Conversation, Limits};

    use super::*;

    #[test]
    fn the_protocol_says_what_is_expected() {
        let limits = Limits {
            max_question: MAX_MAX_QUESTION,
            idle_timeout: Duration::from_secs(1),
            question_deadline: Duration::from_secs(1),
        };
        for text in (0..4).map(|turn| bad_question(turn, Transport::Tcp, Dialogue::Zen)) {
            let mut said = Vec::new();
            let mut conversation = Conversation::new(Instant::now());
            let _ = conversation.hear(text.said, Instant::now(), Dialogue::Zen, &limits, &mut said, |_| {});
            let wanted = match text.wanted {
                Wanted::Answer(answer) => answer,
                Wanted::Silence => b"",
            };
            assert_eq!(
                String::from_utf8_lossy(&said),
                String::from_utf8_lossy(wanted),
                "{:?}",
                String::from_utf8_lossy(text.said)
            );
        }
        let datagram = bad_question(1, Transport::Udp, Dialogue::Zen);
        let Verdict::Reply(reply, _) = judge(Dialogue::Zen, datagram.said, false, None) else { panic!("no reply") };
        assert_eq!(Wanted::Answer(reply), datagram.wanted);
    }
}
