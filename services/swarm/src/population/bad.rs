//! What a bad asker says, and what the protocol says to that.

use zen::{MAX_MAX_QUESTION, Transport, error};

use super::manner::{Text, Wanted};

/// Longer than the longest question under any settings.
static OVERSIZE: [u8; MAX_MAX_QUESTION] = [b'a'; MAX_MAX_QUESTION];

/// Long enough that a datagram of it is answered.
const UNKNOWN: Text = bad(b"Practicality is better than?", Wanted::Answer(error::UNKNOWN));

/// A connection that ends in the middle of a question is closed without a word.
const NO_QUESTION: Text = bad(b"Now is better than never", Wanted::Silence);

const TOO_LONG: Text = bad(&OVERSIZE, Wanted::Answer(error::TOO_LONG));

/// The beginning of a TLS handshake.
const BINARY: Text = bad(b"\x16\x03\x01\x02\x00", Wanted::Answer(error::BAD_BYTE));

const fn bad(said: &'static [u8], wanted: Wanted) -> Text {
    Text { which: None, said, wanted }
}

/// What is asked at turn `turn`. Datagrams that are no questions get no answer by design, so they would tell nothing.
pub(crate) const fn bad_question(turn: usize, transport: Transport) -> Text {
    if transport.is_stream() { [UNKNOWN, NO_QUESTION, TOO_LONG, BINARY][turn % 4] } else { UNKNOWN }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use zen::datagram::{Verdict, judge};
    use zen::{Conversation, Dialogue, Limits};

    use super::*;

    #[test]
    fn the_protocol_says_what_is_expected() {
        let limits = Limits {
            max_question: MAX_MAX_QUESTION,
            idle_timeout: Duration::from_secs(1),
            question_deadline: Duration::from_secs(1),
        };
        for text in (0..4).map(|turn| bad_question(turn, Transport::Tcp)) {
            let mut said = Vec::new();
            let mut conversation = Conversation::new(Instant::now());
            let _ = conversation.hear(text.said, Instant::now(), Dialogue::Zen, &limits, &mut said, |_| {});
            let wanted = match text.wanted {
                Wanted::Answer(answer) => answer,
                Wanted::Silence => "",
            };
            assert_eq!(String::from_utf8_lossy(&said), wanted, "{:?}", String::from_utf8_lossy(text.said));
        }
        let datagram = bad_question(1, Transport::Udp);
        let Verdict::Reply(reply, _) = judge(Dialogue::Zen, datagram.said, false, None) else { panic!("no reply") };
        assert_eq!(Wanted::Answer(std::str::from_utf8(reply).unwrap()), datagram.wanted);
    }
}
