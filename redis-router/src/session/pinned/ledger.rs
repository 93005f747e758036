//! What the server owes on the connection, in order, and what we will answer ourselves in between. Kind: pure.

use std::collections::VecDeque;

use super::state::Family;
use crate::command::{self, Command, Group};

/// So many requests may be unanswered at once; the client's next ones wait. A client that says more than that before it reads
/// anything waits for ever: with less, large pipelines would, and with more, one client could take much memory (80 bytes each).
pub const DEPTH: usize = 512 * 1024;

/// So many bytes of unanswered requests are kept, to be sent again; what exceeds this is answered with an error where
/// it would have to be.
pub(super) const KEPT: usize = 256 * 1024;

/// What an entry is, and what its reply will have made of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// One reply, and nothing stays.
    Plain,
    /// One reply, some time.
    Blocking,
    /// Not the server's to answer: these bytes, in this place.
    Own(Vec<u8>),
    /// Ours, in front of a `WAIT`.
    Barrier,
    Wait,
    Multi,
    Queued {
        select: Option<u32>,
    },
    /// Ours, spoils the transaction; the client gets this answer.
    Spoiler(Vec<u8>),
    Exec,
    Discard,
    Watch,
    Unwatch,
    /// One confirmation for each name still here.
    Subscribe {
        family: Family,
        names: VecDeque<Box<[u8]>>,
    },
    /// One confirmation for each name still here; without names, for each subscription, but at least one.
    Unsubscribe {
        family: Family,
        names: Option<VecDeque<Box<[u8]>>>,
    },
    Monitor,
    Tracking,
    Caching,
    Flag,
    Debug,
    Select(u32),
    Unknown,
}

/// Who gets the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    Client,
    /// The client has switched its replies off.
    Muted,
    /// The request is ours.
    Nobody,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) what: What,
    pub(super) command: &'static Command,
    pub(super) audience: Audience,
    /// So many bytes were ordered for it.
    pub(super) len: usize,
    /// The request, if it is small enough to be kept.
    pub(super) request: Option<Box<[u8]>>,
    /// The server has said that it did not run, or can't have seen all of it.
    pub(super) not_run: bool,
    /// All of it was ordered.
    pub(super) whole: bool,
}

/// What [`DEPTH`] counts on.
const _: () = assert!(size_of::<Entry>() <= 80);

impl Entry {
    pub(super) fn new(what: What, command: &'static Command, audience: Audience, len: usize) -> Self {
        Self { what, command, audience, len, request: None, not_run: false, whole: true }
    }

    /// A request of ours, of which the client hears nothing.
    pub(super) fn ours(what: What, len: usize) -> Self {
        Self::new(what, command::find(b"", None), Audience::Nobody, len)
    }

    /// An answer of ours.
    pub(super) fn own(answer: Vec<u8>) -> Self {
        Self { audience: Audience::Client, ..Self::ours(What::Own(answer), 0) }
    }

    pub(super) fn spoiler(answer: Vec<u8>, audience: Audience, request: &[u8]) -> Self {
        Self { audience, ..Self::ours(What::Spoiler(answer), request.len()) }.keeping(request)
    }

    pub(super) fn keeping(mut self, request: &[u8]) -> Self {
        self.request = Some(request.into());
        self
    }

    /// Whether it may have changed data, if it ran, so that it must not run twice.
    pub(super) fn is_write(&self) -> bool {
        !self.command.replayable()
    }

    /// Whether an error means that it has done nothing, which can't be said of a script.
    pub(super) fn is_atomic(&self) -> bool {
        self.command.group != Group::Scripting && !self.command.is_unknown()
    }

    fn kept(&self) -> usize {
        self.request.as_ref().map_or(0, |request| request.len())
    }
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: VecDeque<Entry>,
    /// Entries at the front that were answered, by a server that turned them away.
    pub(super) turned: usize,
    /// A reply is on its way to the client, and has not ended.
    pub(super) midway: bool,
    kept: usize,
    own: usize,
    /// Changes of subscriptions. Counted, as each request of RESP2 asks.
    changes: usize,
}

impl Ledger {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= DEPTH
    }

    /// How many requests the server has not answered.
    pub(super) fn owed(&self) -> usize {
        self.entries.len() - self.own
    }

    /// Whether confirmations are owed.
    pub(super) fn subscribes(&self) -> bool {
        self.changes > 0
    }

    pub(super) fn push(&mut self, mut entry: Entry) {
        if self.kept + entry.kept() > KEPT && !entry.what.is_remembered() {
            entry.request = None;
        }
        self.kept += entry.kept();
        self.own += usize::from(matches!(entry.what, What::Own(_)));
        self.changes += usize::from(entry.what.is_change());
        self.entries.push_back(entry);
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.kept -= entry.kept();
        self.own -= usize::from(matches!(entry.what, What::Own(_)));
        self.changes -= usize::from(entry.what.is_change());
        Some(entry)
    }

    /// The entry whose reply is next.
    pub(super) fn front(&mut self) -> Option<&mut Entry> {
        let asked = |entry: &&mut Entry| !matches!(entry.what, What::Own(_));
        self.entries.iter_mut().skip(self.turned).find(asked)
    }

    /// The one whose reply is next was turned away, together with our own answers in front of it.
    pub(super) fn turn(&mut self) {
        let own = self.entries.iter().skip(self.turned);
        self.turned += own.take_while(|entry| matches!(entry.what, What::Own(_))).count() + 1;
    }

    /// What comes behind the reply that is next.
    pub(super) fn behind(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut().skip(self.turned)
    }

    /// What the server has seen whole and not answered, if the last `unsent` bytes that were ordered have not left.
    pub(super) fn under_way(&self, mut unsent: usize) -> impl Iterator<Item = &Entry> {
        let asked = self.entries.iter().skip(self.turned).rev();
        asked.filter(move |entry| {
            let left = unsent == 0 && entry.whole;
            unsent = unsent.saturating_sub(entry.len);
            left
        })
    }

    pub(super) fn grow(&mut self, len: usize) {
        if let Some(entry) = self.entries.back_mut().filter(|entry| !entry.whole) {
            entry.len += len;
        }
    }

    pub(super) fn end(&mut self) {
        if let Some(entry) = self.entries.back_mut() {
            entry.whole = true;
        }
    }

    /// Whether anything is still to be answered, or the rest of an answer to come.
    pub(super) fn is_busy(&self) -> bool {
        self.midway || !self.is_empty()
    }

    /// Our own answers at the front, unless they would fall into the middle of a reply.
    pub(super) fn answer(&mut self, out: &mut Vec<u8>) {
        if self.midway {
            return;
        }
        while let Some(Entry { what: What::Own(answer), .. }) = self.entries.front() {
            out.extend_from_slice(answer);
            self.pop();
        }
    }

    /// The last `unsent` bytes that were ordered never left, so what they are part of did not run.
    pub(super) fn unsend(&mut self, mut unsent: usize) {
        for entry in self.entries.iter_mut().rev() {
            if unsent == 0 {
                break;
            }
            entry.not_run |= entry.len > 0;
            unsent = unsent.saturating_sub(entry.len);
        }
        // What was not even ordered whole can't have run either.
        if let Some(entry) = self.entries.back_mut() {
            entry.not_run |= !entry.whole;
        }
    }

    /// All of it, to be planned anew.
    pub(super) fn take(&mut self) -> VecDeque<Entry> {
        std::mem::take(self).entries
    }
}

impl What {
    /// Whether confirmations answer it.
    fn is_change(&self) -> bool {
        matches!(self, Self::Subscribe { .. } | Self::Unsubscribe { .. })
    }

    /// Whether the client relies on it, where it is ours.
    pub(super) fn must_succeed(&self) -> bool {
        matches!(self, Self::Multi | Self::Monitor | Self::Tracking | Self::Caching | Self::Flag)
    }

    /// Whether the request is kept whatever it costs, as the state of the connection depends on it.
    fn is_remembered(&self) -> bool {
        matches!(self, Self::Tracking | Self::Caching | Self::Flag | Self::Spoiler(_))
    }
}
