//! How many replies each prefix of UDP sources still gets: whoever forges an address floods nobody through us.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Entries of the table. Two prefixes that fall on the same entry share a bucket; a chosen one is nothing that an attacker
/// would not get by the other's address itself.
const ENTRIES: usize = 1 << 16;

const SECOND: u64 = 1_000_000_000;

/// A token bucket for each /24 (IPv4) or /56 (IPv6) of sources, for all workers of a container.
///
/// The table never grows, and lies in memory that nobody has touched, and so does not exist, until there is a limit.
#[repr(C)]
pub struct Buckets {
    /// When each bucket is full again, in nanoseconds of the monotonic clock: all that a token bucket has to keep (the
    /// generic cell rate algorithm, ITU-T I.371).
    full_at: [AtomicU64; ENTRIES],
}

impl Buckets {
    /// Takes a token of a source's prefix at the time `now`, in nanoseconds of the monotonic clock. False if there is none:
    /// each prefix gets `rate` a second, which is not 0, and twice as many at once.
    pub fn take(&self, source: IpAddr, rate: u64, now: u64) -> bool {
        let token = SECOND / rate;
        let take = |full_at: u64| {
            let full_at = full_at.max(now) + token;
            (full_at <= now + 2 * token * rate).then_some(full_at)
        };
        self.full_at[entry(source)].fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

/// Where a source's prefix has its bucket: multiplication spreads neighbours well (Knuth, volume 3, 6.4).
fn entry(source: IpAddr) -> usize {
    let prefix = match source.to_canonical() {
        IpAddr::V4(source) => u64::from(source.to_bits() >> 8),
        // As a number it is only in ::/32, which nobody has, that of a prefix of IPv4.
        IpAddr::V6(source) => (source.to_bits() >> 72) as u64,
    };
    (prefix.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - ENTRIES.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use super::super::Page;
    use super::SECOND;

    /// A time at which the machine has been up for a while.
    const NOW: u64 = 1000 * SECOND;

    /// How many of a thousand replies a source gets at once.
    fn taken(page: &Page, source: &str, rate: u64, now: u64) -> usize {
        (0..1000).filter(|_| page.replies.take(source.parse().unwrap(), rate, now)).count()
    }

    #[test]
    fn a_prefix_gets_its_rate_and_twice_as_many_at_once() {
        let page = Page::map().unwrap();
        assert_eq!(taken(page, "192.0.2.1", 200, NOW), 400);
        assert_eq!(taken(page, "192.0.2.1", 200, NOW), 0);
        assert_eq!(taken(page, "192.0.2.1", 200, NOW + SECOND), 200);
        assert_eq!(taken(page, "192.0.2.1", 200, NOW + SECOND + SECOND / 2), 100);
        assert_eq!(taken(page, "192.0.2.1", 200, NOW + 60 * SECOND), 400, "no more than the bucket holds");
        assert_eq!(taken(page, "192.0.2.1", 1, NOW + 120 * SECOND), 2);
    }

    #[test]
    fn a_prefix_is_a_24_of_ipv4_and_a_56_of_ipv6() {
        let page = Page::map().unwrap();
        let one_bucket = |one: &str, other: &str, now| {
            assert_eq!(taken(page, one, 10, now), 20, "{one}");
            taken(page, other, 10, now) == 0
        };
        let cases = [
            ("192.0.2.1", "192.0.2.255", true),
            ("192.0.2.1", "192.0.3.1", false),
            ("192.0.2.1", "::ffff:192.0.2.7", true),
            ("2001:db8:1:200::1", "2001:db8:1:2ff::2", true),
            ("2001:db8:1:200::1", "2001:db8:1:300::1", false),
            ("::1", "127.0.0.1", false),
        ];
        for (place, (one, other, expected)) in (1..).zip(cases) {
            assert_eq!(one_bucket(one, other, NOW * place), expected, "{one} {other}");
        }
    }
}
