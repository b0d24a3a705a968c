//! One trace for both ends without a header.
//!
//! The protocol has no place for a trace context. But both ends of a connection know the same facts: the transport, the
//! client's address, and which question of the connection it is. Both hash these (with the ten minutes in which the
//! connection was made, since ports come round again) into the same trace id, and the hash also decides which exchanges are
//! sampled, so client and server pick the same ones. An exchange at the edge of two epochs may lose its partner.

use std::net::{IpAddr, SocketAddr};

use crate::Transport;

/// Seconds in which a client's address names one connection.
const EPOCH: u64 = 600;

/// What the low half of a trace id is mixed with.
const LOW: u64 = 2;

/// The part of a trace identity that all exchanges of one connection share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin(u64);

/// The trace identity of one question with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// The trace that both ends' spans belong to; never 0.
    pub trace_id: u128,
    /// The span of the client, which is the parent of the server's; never 0.
    pub client_span: u64,
    /// The span of the server; never 0.
    pub server_span: u64,
}

impl Origin {
    /// A connection from `client` made at `unix_seconds`. An IPv4 address in IPv6 form counts as the IPv4 address.
    pub fn of_socket(transport: Transport, client: SocketAddr, unix_seconds: u64) -> Self {
        let hash = begin(transport, unix_seconds);
        let hash = match client.ip().to_canonical() {
            IpAddr::V4(ip) => feed(hash, &ip.octets()),
            IpAddr::V6(ip) => feed(hash, &ip.octets()),
        };
        Self(feed(hash, &client.port().to_be_bytes()))
    }

    /// A connection from a Unix client bound to `name`; an abstract name comes without its leading NUL.
    pub fn of_name(transport: Transport, name: &[u8], unix_seconds: u64) -> Self {
        Self(feed(begin(transport, unix_seconds), name))
    }

    /// Question `number` (from 0) of this connection, if it is one of the one in `one_in` that are traced; 0 traces none.
    pub fn sampled(self, number: u64, one_in: u64) -> Option<Exchange> {
        // The low half decides, the ids stay evenly spread.
        let is_sampled = one_in != 0 && mix(self.seed(number) ^ LOW).is_multiple_of(one_in);
        is_sampled.then(|| self.exchange(number))
    }

    fn seed(self, number: u64) -> u64 {
        mix(self.0 ^ mix(number))
    }

    /// Question `number` (from 0) of this connection.
    pub fn exchange(self, number: u64) -> Exchange {
        let seed = self.seed(number);
        let high = mix(seed ^ 1);
        let low = mix(seed ^ LOW);
        Exchange {
            trace_id: (u128::from(high) << 64 | u128::from(low)).max(1),
            client_span: mix(seed ^ 3).max(1),
            server_span: mix(seed ^ 4).max(1),
        }
    }
}

impl Exchange {
    /// Whether this exchange is one of the one in `one_in` that are traced; 0 traces none.
    pub const fn is_sampled(&self, one_in: u64) -> bool {
        // The low half decides, the ids stay evenly spread.
        one_in != 0 && (self.trace_id as u64).is_multiple_of(one_in)
    }
}

fn begin(transport: Transport, unix_seconds: u64) -> u64 {
    feed(feed(0xCBF2_9CE4_8422_2325, &(unix_seconds / EPOCH).to_be_bytes()), transport.label().as_bytes())
}

/// FNV-1a.
fn feed(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
}

/// The last step of splitmix64: spreads every input bit over all output bits.
const fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}
