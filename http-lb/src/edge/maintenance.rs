//! The shop is closed for a while, but for some. Kind: pure.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::config::Maintenance;

use super::access::Addresses;
use super::route::is_beneath;

const AS_CONFIGURED: u8 = 0;
const ON: u8 = 1;
const OFF: u8 = 2;

/// What an operator says while the process runs; it outlives a reload.
#[derive(Debug, Default)]
pub struct Switch(AtomicU8);

impl Switch {
    /// Closes or opens, whatever the configuration says.
    pub fn set(&self, closed: bool) {
        self.0.store(if closed { ON } else { OFF }, Ordering::Relaxed);
    }

    /// The configuration decides again.
    pub fn clear(&self) {
        self.0.store(AS_CONFIGURED, Ordering::Relaxed);
    }

    /// Whether it is closed, where the configuration says so or not.
    #[inline]
    pub fn is_closed(&self, configured: bool) -> bool {
        match self.0.load(Ordering::Relaxed) {
            ON => true,
            OFF => false,
            _ => configured,
        }
    }
}

/// For whom it is open nevertheless.
#[derive(Debug, Clone, Default)]
pub struct Closed {
    /// Whether the configuration closes it.
    pub configured: bool,
    /// What is told as `Retry-After`, in seconds.
    pub retry_after: u32,
    guests: Option<Addresses>,
    open: Vec<Box<[u8]>>,
}

impl Closed {
    /// As configured.
    pub fn new(config: &Maintenance) -> Self {
        Self {
            configured: config.enabled,
            retry_after: u32::try_from(config.retry_after.as_secs()).unwrap_or(u32::MAX),
            guests: (!config.allow.is_empty()).then(|| Addresses::new(&config.allow, &[])),
            open: config.open.iter().map(|path| path.as_bytes().into()).collect(),
        }
    }

    /// Whether this client is turned away at this path.
    pub fn turns_away(&self, ip: IpAddr, path: &[u8]) -> bool {
        let guest = self.guests.as_ref().is_some_and(|guests| guests.admit(ip));
        !guest && !self.open.iter().any(|open| is_beneath(path, open))
    }
}
