//! The ledger of a shared connection: who is owed which reply, in the order in which the requests were sent, and the
//! requests themselves for as long as their outcome is open. Kind: pure.
//!
//! ```text
//!   bytes    ┌────────────────┬──────────────────┐
//!            │ sent, unanswered │ not yet sent     │
//!            └────────────────┴──────────────────┘
//!   entries   e0  e1  e2  e3    e4  e5             one per request, or per transaction that came whole
//! ```
//!
//! Promises: replies are given out in the order of the requests; when the connection is lost, what was never sent and
//! what may be repeated stays in order for the next one, and what may have run is answered as unknown, in its place.
//! Whatever an entry has been answered with waits until it is the first, so that no client sees its answers swapped.

use std::collections::VecDeque;

/// What a repetition of a request would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// Nothing: it may be sent again though it may have run.
    Read,
    /// Perhaps something twice: it is sent again only if it provably did not run.
    Write,
}

/// What is known of an entry's outcome, beside its replies.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Open,
    /// The server said that it did not run it.
    Rejected,
    /// Answered otherwise than by the next connection's replies.
    Answered(Box<[u8]>),
}

/// A request and whom its reply belongs to.
#[derive(Debug)]
pub(super) struct Entry<P> {
    /// Whoever hears the reply.
    pub(super) payee: P,
    /// When it was entered, on the caller's clock.
    pub(super) at: u64,
    /// What a repetition would do.
    pub(super) nature: Nature,
    /// A number of the caller's, for its statistics.
    pub(super) tag: u16,
    /// Reply frames until it is settled: 1, or as many as a transaction has commands.
    replies: u32,
    /// How many of them are still owed.
    owed: u32,
    /// How often a server has rejected it.
    rejections: u8,
    /// Bytes of its request.
    len: usize,
    outcome: Outcome,
}

impl<P> Entry<P> {
    /// An entry that is settled by `replies` frames.
    pub(super) fn new(payee: P, nature: Nature, replies: u32, tag: u16, at: u64) -> Self {
        Self { payee, at, nature, tag, replies, owed: replies, rejections: 0, len: 0, outcome: Outcome::Open }
    }
}

/// How the entries of a lost connection fared.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Losses {
    /// Sent, and to be sent again.
    pub(super) replayed: u64,
    /// Sent, and answered as unknown.
    pub(super) unknown: u64,
}

/// See the module.
pub(super) struct Ledger<P> {
    entries: VecDeque<Entry<P>>,
    bytes: Vec<u8>,
    /// Where the first entry's request begins.
    start: usize,
    /// Up to where the connection has taken the bytes.
    sent: usize,
    /// Entries, from the front, that were wholly sent and are judged since one was rejected.
    judged: usize,
}

impl<P> Default for Ledger<P> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), bytes: Vec::new(), start: 0, sent: 0, judged: 0 }
    }
}

/// So many servers may reject a request before it is answered so: one that calls itself a master and is none, for ever.
const MOST_REJECTIONS: u8 = 64;

/// An emptied buffer of at most this many bytes is kept.
const KEPT_BYTES: usize = 64 * 1024;

impl<P> Ledger<P> {
    /// Enters `request` at the end.
    #[inline]
    pub(super) fn enter(&mut self, mut entry: Entry<P>, request: &[u8]) {
        entry.len = request.len();
        self.bytes.extend_from_slice(request);
        self.entries.push_back(entry);
    }

    /// Enters what is answered already, but may not be told before what stands ahead of it.
    pub(super) fn enter_answered(&mut self, mut entry: Entry<P>, answer: Box<[u8]>) {
        entry.outcome = Outcome::Answered(answer);
        self.entries.push_back(entry);
    }

    /// Requests without a settled answer.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when nobody is owed anything.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of requests whose outcome is open.
    #[inline]
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// What the connection has not taken yet.
    #[inline]
    pub(super) fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// The connection took the first `n` unsent bytes.
    #[inline]
    pub(super) fn sent(&mut self, n: usize) {
        self.sent += n;
        debug_assert!(self.sent <= self.bytes.len());
    }

    /// The entry that the next reply belongs to; none if no request of it was sent: then the reply is nobody's.
    #[inline]
    pub(super) fn front(&self) -> Option<&Entry<P>> {
        let front = self.entries.front()?;
        (front.outcome == Outcome::Open && self.start + front.len <= self.sent).then_some(front)
    }

    /// A frame for the front entry has come; true once that was its last.
    #[inline]
    pub(super) fn frame(&mut self) -> bool {
        let Some(front) = self.entries.front_mut() else { return false };
        front.owed -= 1;
        front.owed == 0
    }

    /// Takes the front entry out: it is settled. `with` sees its request too.
    #[inline]
    pub(super) fn settle<R>(&mut self, with: impl FnOnce(Entry<P>, &[u8]) -> R) -> Option<R> {
        let entry = self.entries.pop_front()?;
        let end = self.start + entry.len;
        let outcome = with(entry, &self.bytes[self.start..end]);
        self.start = end;
        self.compact();
        Some(outcome)
    }

    /// The front entry, if it has its answer already.
    pub(super) fn take_answered(&mut self) -> Option<(Entry<P>, Box<[u8]>)> {
        if !matches!(self.entries.front()?.outcome, Outcome::Answered(_)) {
            return None;
        }
        let mut entry = self.settle(|entry, _| entry)?;
        match std::mem::replace(&mut entry.outcome, Outcome::Open) {
            Outcome::Answered(answer) => Some((entry, answer)),
            _ => None,
        }
    }

    /// A whole answer has come that proves, by `rejected`, that its entry did not run (all frames of it in `answer`).
    /// From the first of these on, answers are judged instead of given out: see [`Ledger::is_judging`].
    pub(super) fn judge(&mut self, answer: &[u8], rejected: bool) {
        let Some(at) = self.next_open() else { return };
        let entry = &mut self.entries[at];
        if rejected {
            entry.outcome = Outcome::Rejected;
        } else if entry.nature == Nature::Write {
            entry.outcome = Outcome::Answered(answer.into());
        }
        self.judged = at + 1;
    }

    /// True since an answer was judged: the entries behind it are answered through [`Ledger::judge`] too, as their
    /// clients' order forbids to give them out.
    pub(super) fn is_judging(&self) -> bool {
        self.judged > 0
    }

    /// While judging: the next entry's tag, and how many replies it is owed; none once all that was sent is judged.
    pub(super) fn next_to_judge(&self) -> Option<(u16, u32)> {
        let at = self.next_open()?;
        let behind: usize = self.entries.iter().take(at + 1).map(|entry| entry.len).sum();
        let entry = &self.entries[at];
        (self.start + behind <= self.sent).then_some((entry.tag, entry.replies))
    }

    /// The entry that the next judged answer belongs to: those between are answered already.
    fn next_open(&self) -> Option<usize> {
        let open = |entry: &Entry<P>| entry.outcome == Outcome::Open;
        self.entries.iter().skip(self.judged).position(open).map(|behind| self.judged + behind)
    }

    /// The connection is lost. What may be sent again is unsent now; what may not is answered by `unknown`, and what was
    /// rejected too often by `given_up`; both are told how many replies the client expects.
    pub(super) fn lost(
        &mut self,
        unknown: impl Fn(u32) -> Box<[u8]>,
        given_up: impl Fn(u32) -> Box<[u8]>,
    ) -> Losses {
        let mut losses = Losses::default();
        let bytes = std::mem::take(&mut self.bytes);
        let mut at = self.start;
        for entry in &mut self.entries {
            let request = &bytes[at..at + entry.len];
            let touched = self.sent > at; // a part of it may have left
            let whole = self.sent >= at + entry.len;
            at += entry.len;
            let again = match entry.outcome {
                Outcome::Answered(_) => false,
                Outcome::Rejected => {
                    entry.rejections = entry.rejections.saturating_add(1);
                    entry.rejections < MOST_REJECTIONS
                }
                // Redis executes nothing before it has read all of it.
                Outcome::Open => !whole || entry.nature == Nature::Read,
            };
            if again {
                losses.replayed += u64::from(touched);
                self.bytes.extend_from_slice(request);
                entry.outcome = Outcome::Open;
            } else {
                match entry.outcome {
                    Outcome::Open => {
                        losses.unknown += 1;
                        entry.outcome = Outcome::Answered(unknown(entry.replies));
                    }
                    Outcome::Rejected => entry.outcome = Outcome::Answered(given_up(entry.replies)),
                    Outcome::Answered(_) => {}
                }
                entry.len = 0;
            }
            entry.owed = entry.replies;
        }
        (self.start, self.sent, self.judged) = (0, 0, 0);
        losses
    }

    /// Answers all that was entered before `moment` and has not been sent: it has waited long enough. Only while there
    /// is no connection.
    pub(super) fn expire(&mut self, moment: u64, answer: impl Fn(u32) -> Box<[u8]>) -> usize {
        let late = self.entries.iter().take_while(|entry| entry.at < moment).count();
        let mut bytes = 0;
        for entry in self.entries.iter_mut().take(late).filter(|entry| entry.outcome == Outcome::Open) {
            bytes += std::mem::take(&mut entry.len);
            entry.outcome = Outcome::Answered(answer(entry.replies));
        }
        debug_assert!(self.sent == self.start, "only what was not sent expires");
        self.bytes.drain(self.start..self.start + bytes);
        late
    }

    /// Since when the first entry waits.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.entries.iter().find(|entry| entry.outcome == Outcome::Open).map(|entry| entry.at)
    }

    #[inline]
    fn compact(&mut self) {
        if self.start == self.bytes.len() {
            self.bytes.clear();
            (self.start, self.sent) = (0, 0);
            if self.bytes.capacity() > KEPT_BYTES {
                self.bytes.shrink_to(KEPT_BYTES);
            }
        } else if self.start >= KEPT_BYTES && self.start >= self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.sent -= self.start;
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests;
