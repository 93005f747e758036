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
mod tests {
    use super::*;

    const UNKNOWN: &[u8] = b"-UNKNOWN\r\n";

    fn unknown(_: u32) -> Box<[u8]> {
        UNKNOWN.into()
    }

    /// A ledger with one entry per word; words in capitals are writes.
    fn ledger(words: &[&str]) -> Ledger<usize> {
        let mut ledger = Ledger::default();
        for (i, word) in words.iter().enumerate() {
            let write = word.chars().all(char::is_uppercase);
            let nature = if write { Nature::Write } else { Nature::Read };
            ledger.enter(Entry::new(i, nature, 1, 0, i as u64), word.as_bytes());
        }
        ledger
    }

    fn answered(ledger: &mut Ledger<usize>) -> Vec<(usize, String)> {
        let texts = std::iter::from_fn(|| ledger.take_answered());
        texts.map(|(entry, text)| (entry.payee, String::from_utf8_lossy(&text).into_owned())).collect()
    }

    /// Loses the connection after `sent` bytes; what is sent next, and who was answered once all that was replied.
    #[track_caller]
    fn check_lost(words: &[&str], sent: usize, again: &str, losses: (u64, u64)) -> Ledger<usize> {
        let mut ledger = ledger(words);
        ledger.sent(sent);
        let lost = ledger.lost(unknown, unknown);
        assert_eq!((lost.replayed, lost.unknown), losses);
        assert_eq!(String::from_utf8_lossy(ledger.unsent()), again);
        ledger
    }

    #[test]
    fn replies_go_to_whom_they_belong_in_order() {
        let mut ledger = ledger(&["get", "SET", "get"]);
        assert!(ledger.front().is_none(), "nothing was sent: a reply now is nobody's");
        ledger.sent(6);
        for payee in [0, 1] {
            assert_eq!(ledger.front().unwrap().payee, payee);
            assert!(ledger.frame());
            assert_eq!(ledger.settle(|entry, _| entry).unwrap().payee, payee);
        }
        assert!(ledger.front().is_none());
        assert_eq!((ledger.unsent(), ledger.len()), (&b"get"[..], 1));
    }

    #[test]
    fn a_transaction_is_settled_by_its_last_reply() {
        let mut ledger = Ledger::default();
        ledger.enter(Entry::new(7, Nature::Write, 3, 0, 0), b"MULTI SET EXEC");
        ledger.sent(14);
        assert_eq!([ledger.frame(), ledger.frame(), ledger.frame()], [false, false, true]);
        assert_eq!(ledger.settle(|entry, _| entry).unwrap().payee, 7);
    }

    #[test]
    fn what_was_never_sent_is_sent_on_the_next_connection() {
        check_lost(&["SET", "get", "DEL"], 0, "SETgetDEL", (0, 0));
    }

    #[test]
    fn half_a_request_did_not_run() {
        check_lost(&["SET"], 2, "SET", (1, 0));
    }

    #[test]
    fn a_read_is_repeated_and_a_write_is_answered_as_unknown_in_its_place() {
        let mut ledger = check_lost(&["get", "SET", "DEL"], 6, "getDEL", (1, 1));
        assert!(answered(&mut ledger).is_empty(), "the read before it has no answer yet");
        ledger.sent(3);
        assert!(ledger.frame() && ledger.settle(|_, _| ()).is_some());
        assert_eq!(answered(&mut ledger), [(1, String::from_utf8_lossy(UNKNOWN).into_owned())]);
        assert_eq!(ledger.unsent(), b"DEL");
    }

    #[test]
    fn half_a_transactions_replies_are_all_owed_again_if_it_is_repeated() {
        let mut ledger = Ledger::default();
        ledger.enter(Entry::new(7, Nature::Read, 3, 0, 0), b"multi get exec");
        ledger.sent(14);
        ledger.frame();
        ledger.lost(unknown, unknown);
        ledger.sent(14);
        assert_eq!([ledger.frame(), ledger.frame(), ledger.frame()], [false, false, true]);
    }

    #[test]
    fn what_was_rejected_is_sent_again_and_what_ran_behind_it_keeps_its_answer() {
        let mut ledger = ledger(&["SET", "get", "DEL", "PUT"]);
        ledger.sent(9);
        ledger.judge(b"-READONLY", true);
        assert!(ledger.is_judging());
        assert_eq!(ledger.next_to_judge(), Some((0, 1)));
        ledger.judge(b"$1 x", false);
        ledger.judge(b"+OK", false);
        assert_eq!(ledger.next_to_judge(), None, "the last one was not sent");
        assert_eq!(ledger.lost(unknown, unknown), Losses { replayed: 2, unknown: 0 });
        assert_eq!(ledger.unsent(), b"SETgetPUT");
        ledger.sent(9);
        for _ in 0..2 {
            assert!(answered(&mut ledger).is_empty());
            assert!(ledger.frame() && ledger.settle(|_, _| ()).is_some());
        }
        assert_eq!(answered(&mut ledger), [(2, "+OK".to_owned())]);
    }

    #[test]
    fn what_waited_too_long_is_answered_and_the_rest_stays() {
        let mut ledger = ledger(&["SET", "get", "DEL"]);
        assert_eq!(ledger.oldest(), Some(0));
        assert_eq!(ledger.expire(2, |_| b"-LOADING"[..].into()), 2);
        assert_eq!(answered(&mut ledger).len(), 2);
        assert_eq!((ledger.unsent(), ledger.oldest()), (&b"DEL"[..], Some(2)));
    }

    #[test]
    fn an_answer_that_is_known_waits_for_its_turn() {
        let mut ledger = ledger(&["get"]);
        ledger.enter_answered(Entry::new(9, Nature::Read, 1, 0, 0), b"-LOADING"[..].into());
        assert!(answered(&mut ledger).is_empty());
        ledger.sent(3);
        assert!(ledger.frame() && ledger.settle(|_, _| ()).is_some());
        assert_eq!(answered(&mut ledger), [(9, "-LOADING".to_owned())]);
    }

    #[test]
    fn a_buffer_that_is_never_empty_does_not_grow_for_that() {
        let mut ledger = Ledger::default();
        let request = [b'x'; 1000];
        ledger.enter(Entry::new(0, Nature::Read, 1, 0, 0), &request);
        for _ in 0..10_000 {
            ledger.enter(Entry::new(0, Nature::Read, 1, 0, 0), &request);
            ledger.sent(1000);
            ledger.frame();
            ledger.settle(|_, _| ());
        }
        assert!(ledger.bytes.capacity() < 4 * KEPT_BYTES, "{}", ledger.bytes.capacity());
    }
}
