//! What a request brings along when it asks for a slot. Kind: pure.

use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use super::class::Class;

/// Whom fairness regards as one client; what is behind it (an address, a session) is for the edge to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKey(u64);

impl ClientKey {
    /// One client by any number of its own.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Whoever is known by these bytes, such as a session's cookie.
    pub fn of(bytes: &[u8]) -> Self {
        Self(digest(bytes))
    }
}

/// One IPv4 address, or the /64 that one subscriber of IPv6 has (RFC 6177 section 2).
impl From<IpAddr> for ClientKey {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Self(u64::from(u32::from(v4))),
            IpAddr::V6(v6) => Self((u128::from(v6) >> 64) as u64),
        }
    }
}

/// A number for these bytes that is the same in every process: FNV-1a, with its bits mixed as SplitMix64 ends. It
/// spreads; it keeps no secrets.
pub fn digest(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// Every bit of the answer depends on every bit of the question.
pub(super) const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Where a request would like to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Affinity {
    /// Anywhere.
    #[default]
    None,
    /// To the replica that this key falls to (policy `hash`): [`digest`] of a header, a cookie, an address.
    Key(u64),
    /// To the replica of this tag, for which it waits as long as it is eligible (a sticky cookie).
    Sticky(Tag),
}

/// What a sticky cookie says of a replica: a number from which the address can't be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag(pub(super) u64);

impl Tag {
    /// The first bytes of a digest that holds a secret.
    pub fn from_digest(digest: &[u8]) -> Self {
        Self(digest.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    /// What a cookie says; `None`: it is none of ours.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let hex = std::str::from_utf8(text).ok().filter(|hex| hex.len() == 16)?;
        let is_ours = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_ours.then(|| u64::from_str_radix(hex, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A replica as the queue knows it; never given to another one again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub(super) u64);

/// What a request brings along when it asks for a slot.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// How urgent it is.
    pub class: Class,
    /// Whose it is.
    pub client: ClientKey,
    /// Until when it makes sense to wait.
    pub deadline: Instant,
    /// Where it would like to go.
    pub affinity: Affinity,
    /// The replicas that it has been to, in vain; it goes to others. A vector that is empty costs nothing.
    pub(super) tried: Vec<ReplicaId>,
}

impl Ticket {
    /// A request that asks for the first time, and goes anywhere.
    pub const fn new(class: Class, client: ClientKey, deadline: Instant) -> Self {
        Self { class, client, deadline, affinity: Affinity::None, tried: Vec::new() }
    }

    /// The same, with a wish where to go.
    #[must_use]
    pub fn towards(self, affinity: Affinity) -> Self {
        Self { affinity, ..self }
    }

    /// How many replicas it has been to, in vain.
    pub fn attempts(&self) -> usize {
        self.tried.len()
    }

    /// It has been to this replica, in vain: it asks again, before those who ask for the first time, and for another
    /// one.
    pub(crate) fn was_at(&mut self, replica: ReplicaId) {
        if !self.tried.contains(&replica) {
            self.tried.push(replica);
        }
    }
}

/// Why a request gets no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shed {
    /// Too many wait, and it was not urgent enough: 503 with Retry-After.
    Full,
    /// It has waited until its deadline: 503 with Retry-After (or 504).
    Deadline,
    /// There is nobody to ask, or everybody was asked in vain: 502 or 503.
    NoReplica,
    /// An operator has taken all replicas out of service: 503, the maintenance page.
    Draining,
}

impl Shed {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::Full, Self::Deadline, Self::NoReplica, Self::Draining];

    /// The reason as one word, for labels and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Deadline => "deadline",
            Self::NoReplica => "no_replica",
            Self::Draining => "draining",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_is_one_client() {
        let key = |ip: &str| ClientKey::from(ip.parse::<IpAddr>().unwrap());
        assert_eq!(key("10.0.0.1"), key("::ffff:10.0.0.1"));
        assert_ne!(key("10.0.0.1"), key("10.0.0.2"));
        assert_eq!(key("2001:db8::1"), key("2001:db8::2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
    }

    #[test]
    fn a_digest_is_the_same_everywhere_and_spreads() {
        assert_eq!(digest(b""), mix(0xcbf2_9ce4_8422_2325));
        let mut buckets = [0; 16];
        (0..16_000_u32).for_each(|n| buckets[(digest(&n.to_be_bytes()) >> 60) as usize] += 1);
        assert!(buckets.iter().all(|count| (900..1100).contains(count)), "{buckets:?}");
    }

    #[test]
    fn a_tag_is_sixteen_digits_and_nothing_else_is_one() {
        let tag = Tag::from_digest(&[0, 1, 2, 3, 4, 5, 6, 0xff, 9]);
        assert_eq!(tag.to_string(), "00010203040506ff");
        assert_eq!(Tag::parse(b"00010203040506ff"), Some(tag));
        for other in ["", "00010203040506f", "00010203040506fff", "+0010203040506ff", "00010203040506FF"] {
            assert_eq!(Tag::parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_replica_is_excluded_once() {
        let mut ticket = Ticket::new(Class::TOP, ClientKey::new(1), Instant::now());
        ticket.was_at(ReplicaId(1));
        ticket.was_at(ReplicaId(1));
        assert_eq!(ticket.attempts(), 1);
    }
}
