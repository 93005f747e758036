//! Who may come in: at most so many in all, and so many from one address. A [`Permit`] is a place, taken until it is
//! dropped, on whichever thread. Kind: pure.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::net::Peer;

/// The network part of an IPv6 address: a single host has a whole /64 to choose from (RFC 4291 section 2.5.4), so
/// that a limit on a full address would limit nobody.
const IPV6_HOST: u128 = u64::MAX as u128;

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Admission {
    max: usize,
    max_per_address: Option<NonZeroUsize>,
    taken: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// Why someone isn't let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Listener,
    Address,
}

impl Full {
    /// The reason as a metric label: the name of the setting that bites.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Listener => "max_connections",
            Self::Address => "max_per_address",
        }
    }
}

impl Admission {
    pub(super) fn new(max: usize, max_per_address: Option<NonZeroUsize>) -> Arc<Self> {
        Arc::new(Self { max, max_per_address, taken: AtomicUsize::new(0), by_address: Mutex::default() })
    }

    /// Takes a place for `peer`.
    pub(super) fn admit(self: &Arc<Self>, peer: Peer) -> Result<Permit, Full> {
        self.take_place()?;
        // From here on the permit gives the place back, whatever the address's own limit says.
        let mut permit = Permit { admission: self.clone(), address: None };
        if let (Some(max), Some(ip)) = (self.max_per_address, peer.ip()) {
            permit.address = Some(self.take_address(counted_as(ip), max.get())?);
        }
        Ok(permit)
    }

    fn take_place(&self) -> Result<(), Full> {
        let more = |taken: usize| (taken < self.max).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map_err(|_| Full::Listener)?;
        Ok(())
    }

    fn take_address(&self, address: IpAddr, max: usize) -> Result<IpAddr, Full> {
        let mut by_address = self.by_address();
        let taken = by_address.entry(address).or_default();
        if *taken >= max {
            return Err(Full::Address);
        }
        *taken += 1;
        Ok(address)
    }

    /// An address that nobody uses any more is forgotten: the map is as large as the listener is full.
    fn leave_address(&self, address: IpAddr) {
        let mut by_address = self.by_address();
        if let Some(taken) = by_address.get_mut(&address) {
            *taken -= 1;
            if *taken == 0 {
                by_address.remove(&address);
            }
        }
    }

    fn by_address(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // No code that holds the lock can panic half-way through a change.
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address whose places `ip` takes: IPv6 hosts are counted by their /64.
fn counted_as(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !IPV6_HOST)),
    }
}

/// A place behind a listener; dropping it lets the next one in.
#[must_use = "dropping the permit gives the place to somebody else"]
pub struct Permit {
    admission: Arc<Admission>,
    address: Option<IpAddr>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            self.admission.leave_address(address);
        }
        self.admission.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(ip: &str) -> Peer {
        Peer::Tcp((ip.parse::<IpAddr>().unwrap(), 1).into())
    }

    /// Lets everybody in, in their order, and compares who is refused and why.
    #[track_caller]
    fn check(admission: &Arc<Admission>, peers: &[Peer], expected: &[Option<Full>]) {
        let permits: Vec<_> = peers.iter().map(|peer| admission.admit(*peer)).collect();
        let refused: Vec<_> = permits.iter().map(|permit| permit.as_ref().err().copied()).collect();
        assert_eq!(refused, expected);
        drop(permits);
        assert_eq!(admission.taken.load(Ordering::Relaxed), 0, "all places are given back");
        assert!(admission.by_address().is_empty(), "no address is remembered");
    }

    #[test]
    fn the_listener_fills_up_and_empties() {
        let admission = Admission::new(2, None);
        for _ in 0..3 {
            let peers = [peer("10.0.0.1"), Peer::Unix, peer("10.0.0.2")];
            check(&admission, &peers, &[None, None, Some(Full::Listener)]);
        }
    }

    #[test]
    fn one_address_leaves_room_for_others() {
        let admission = Admission::new(10, NonZeroUsize::new(1));
        let peers = [peer("10.0.0.1"), peer("10.0.0.1"), peer("10.0.0.2"), Peer::Unix, Peer::Unix];
        check(&admission, &peers, &[None, Some(Full::Address), None, None, None]);
    }

    #[test]
    fn an_ipv6_host_is_one_address_however_many_it_makes_up() {
        let admission = Admission::new(10, NonZeroUsize::new(1));
        let peers = [peer("2001:db8::1"), peer("2001:db8::ffff:1"), peer("2001:db8:0:1::1")];
        check(&admission, &peers, &[None, Some(Full::Address), None]);
    }

    #[test]
    fn who_is_refused_by_address_takes_no_place() {
        let admission = Admission::new(2, NonZeroUsize::new(1));
        let peers = [peer("10.0.0.1"), peer("10.0.0.1"), peer("10.0.0.2")];
        check(&admission, &peers, &[None, Some(Full::Address), None]);
    }
}
