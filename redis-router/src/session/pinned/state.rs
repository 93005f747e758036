//! What a connection is to its server, as far as its client relies on it. Kind: pure.

use std::collections::BTreeSet;

use super::role::{redirection_of, switches_on};
use crate::wire::{Args, Resp};

/// So many bytes of channel names, and as many of a transaction, are remembered; more are lost with the connection:
/// the transaction is aborted then, the subscriber closed.
pub const REMEMBERED: usize = 4 << 20;

/// The channel on which a client of RESP2 hears what another's tracking finds.
const INVALIDATE: &[u8] = b"__redis__:invalidate";

/// The kinds of subscriptions, each counted by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Channel,
    Pattern,
    Shard,
}

impl Family {
    pub(super) const ALL: [Self; 3] = [Self::Channel, Self::Pattern, Self::Shard];

    /// The verb, which confirmations carry too.
    pub(super) fn subscribe(self) -> &'static [u8] {
        match self {
            Self::Channel => b"subscribe",
            Self::Pattern => b"psubscribe",
            Self::Shard => b"ssubscribe",
        }
    }

    /// The verb, which confirmations carry too.
    pub(super) fn unsubscribe(self) -> &'static [u8] {
        match self {
            Self::Channel => b"unsubscribe",
            Self::Pattern => b"punsubscribe",
            Self::Shard => b"sunsubscribe",
        }
    }
}

/// What the client subscribes to.
#[derive(Debug, Default)]
pub(super) struct Subs {
    names: [BTreeSet<Box<[u8]>>; 3],
    bytes: usize,
}

impl Subs {
    pub(super) fn is_empty(&self) -> bool {
        self.names.iter().all(BTreeSet::is_empty)
    }

    pub(super) fn of(&self, family: Family) -> &BTreeSet<Box<[u8]>> {
        &self.names[family as usize]
    }

    fn add(&mut self, family: Family, name: Box<[u8]>) {
        let len = name.len();
        if self.names[family as usize].insert(name) {
            self.bytes += len;
        }
    }

    fn remove(&mut self, family: Family, name: &[u8]) {
        if self.names[family as usize].remove(name) {
            self.bytes -= name.len();
        }
    }

    fn remove_any(&mut self, family: Family) {
        if let Some(name) = self.names[family as usize].pop_first() {
            self.bytes -= name.len();
        }
    }
}

/// A transaction that was begun and has not ended.
#[derive(Debug, Default)]
pub(super) struct Tx {
    /// The requests that were queued, as they were sent.
    pub(super) queue: Vec<u8>,
    /// How many.
    pub(super) len: usize,
    /// Not all of them are here.
    pub(super) forgotten: bool,
    /// They may change data.
    pub(super) writes: bool,
    /// The database that will be selected by it.
    pub(super) select: Option<u32>,
}

impl Tx {
    pub(super) fn queue(&mut self, request: Option<&[u8]>) {
        match request {
            Some(request) if !self.forgotten && self.queue.len() + request.len() <= REMEMBERED => {
                self.queue.extend_from_slice(request);
                self.len += 1;
            }
            _ => {
                self.forgotten = true;
                self.queue = Vec::new();
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) resp: Resp,
    pub(super) db: u32,
    pub(super) watched: bool,
    pub(super) tx: Option<Tx>,
    pub(super) subs: Subs,
    pub(super) monitor: bool,
    /// The request that switched it on.
    pub(super) tracking: Option<Box<[u8]>>,
    /// The client was told to drop its cache, and has read nothing that is tracked since.
    pub(super) flushed: bool,
    /// The request, until the next one uses it up.
    pub(super) caching: Option<Box<[u8]>>,
    /// The requests that set flags, the latest of each kind.
    pub(super) flags: Vec<Box<[u8]>>,
    /// The connection belongs to a debugger.
    pub(super) opaque: bool,
    /// A command that nobody knows ran here.
    pub(super) stuck: bool,
    /// The connection is not like new, though the client has nothing on it.
    pub(super) spoiled: bool,
}

impl State {
    pub(super) fn new(resp: Resp, db: u32) -> Self {
        Self {
            resp,
            db,
            watched: false,
            tx: None,
            subs: Subs::default(),
            monitor: false,
            tracking: None,
            flushed: false,
            caching: None,
            flags: Vec::new(),
            opaque: false,
            stuck: false,
            spoiled: false,
        }
    }

    /// Whether the client relies on nothing here.
    pub(super) fn is_idle(&self) -> bool {
        !self.watched
            && self.tx.is_none()
            && self.subs.is_empty()
            && !self.monitor
            && self.tracking.is_none()
            && self.flags.is_empty()
            && !self.opaque
            && !self.stuck
    }

    /// Whether nobody could make another connection like this one without the client noticing. What tracking finds goes
    /// to another client, or comes from one; both must begin again together, as their own clients do it.
    pub(super) fn is_irreplaceable(&self) -> bool {
        let redirects = self.tracking.as_deref().and_then(redirection_of).is_some();
        let listens = self.subs.of(Family::Channel).contains(INVALIDATE);
        self.opaque || redirects || listens || self.subs.bytes > REMEMBERED
    }

    pub(super) fn redirection(&self) -> i64 {
        let to = self.tracking.as_deref().map(|request| redirection_of(request).unwrap_or(0));
        to.map_or(-1, |to| i64::try_from(to).unwrap_or(i64::MAX))
    }

    pub(super) fn select(&mut self, db: u32) {
        self.db = db;
        self.spoiled = true;
    }

    pub(super) fn subscribed(&mut self, family: Family, name: Box<[u8]>) {
        self.subs.add(family, name);
    }

    /// A name that is too long to have been read is taken for any of them: where none is asked for, all go.
    pub(super) fn unsubscribed(&mut self, family: Family, name: Option<&[u8]>) {
        match name {
            Some(name) => self.subs.remove(family, name),
            None => self.subs.remove_any(family),
        }
    }

    pub(super) fn tracked(&mut self, request: Option<Box<[u8]>>) {
        self.tracking = request.filter(|request| switches_on(request));
        self.caching = None;
        self.flushed = false;
    }

    /// Keeps the latest request of each kind, by its command.
    pub(super) fn flagged(&mut self, request: Option<Box<[u8]>>) {
        let Some(request) = request else { return };
        let kind = |request: &[u8]| {
            let mut words = Args::new(request).map(<[u8]>::to_ascii_lowercase);
            (words.next(), words.next())
        };
        let new = kind(&request);
        self.flags.retain(|old| kind(old) != new);
        let off = Args::new(&request).nth(2).is_some_and(|switch| switch.eq_ignore_ascii_case(b"off"));
        if !off {
            self.flags.push(request);
        }
        self.spoiled = true;
    }
}
