//! The reading side of a shared connection: cuts what the server sends into replies and gives each to whom the ledger
//! owes it. Kind: pure.
//!
//! A reply of up to [`STREAM_AT`] bytes is given out whole, so that a connection that breaks in the middle of it hurts
//! nobody; a larger one is passed on as it comes.

use super::ledger::{Entry, Ledger};
use crate::command::{self, Tenure};
use crate::wire::reply::{ReplyFault, ReplyFramer, ReplyKind};

/// Bytes of an unfinished reply that are kept back.
pub(super) const STREAM_AT: usize = 64 * 1024;

/// Whoever is owed a reply.
pub(super) trait Payee {
    /// The next bytes of the reply. False: this is not what was expected, so that the replies are out of order.
    fn hear(&self, bytes: &[u8]) -> bool;
}

/// Why the connection can't go on: whatever comes next might reach the wrong client.
#[derive(Debug, thiserror::Error)]
pub(super) enum Disorder {
    /// What the server sent is no reply.
    #[error(transparent)]
    Fault(#[from] ReplyFault),
    /// It sent one that nobody is owed.
    #[error("a reply came that nobody had asked for")]
    Unsolicited,
    /// The canary heard somebody else's reply.
    #[error("replies are out of order")]
    Order,
}

/// What the reading side has found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// Go on.
    On,
    /// The server rejects what it should do, and all that was sent is judged: leave it.
    Rejected,
}

/// Which error replies prove that a request did not run and would run elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejections {
    /// Of a master: it is none any more, or not yet ready.
    OfMaster(Tenure),
    /// Of a replica: it has nothing to read from. A refused write is the client's business.
    OfReplica,
}

impl Rejections {
    /// Whether this error, the answer to the command of that number, proves that it did not run.
    fn include(self, command: u16, reply: &[u8]) -> bool {
        let Some(command) = command::all().get(usize::from(command)) else { return false };
        let (refused, tenure) = match self {
            Self::OfMaster(tenure) => (false, tenure),
            Self::OfReplica => (reply.starts_with(b"-READONLY "), Tenure::Settled),
        };
        !refused && command::proves_not_run(command, reply, tenure)
    }
}

/// See the module.
pub(super) struct Receiver {
    framer: ReplyFramer,
    rejections: Rejections,
    /// What has come of the front entry's answer and is kept back.
    kept: Vec<u8>,
    /// Where in `kept` the frame under way begins.
    frame: usize,
    /// A part of the front entry's answer has been given out.
    torn: bool,
    /// So many bytes of it.
    given: usize,
    /// A frame of this answer says that the request did not run.
    rejected: bool,
    /// Frames of the entry that is being judged.
    judged: u32,
}

impl Receiver {
    /// For a connection on which nothing has come yet.
    pub(super) fn new(rejections: Rejections) -> Self {
        let (framer, kept) = (ReplyFramer::default(), Vec::new());
        Self { framer, rejections, kept, frame: 0, torn: false, given: 0, rejected: false, judged: 0 }
    }

    /// True while somebody has heard the beginning of a reply and not its end.
    pub(super) fn is_torn(&self) -> bool {
        self.torn
    }

    /// Takes bytes from the server; `settled` gets each entry whose last reply has been heard, its request, and the
    /// reply's size.
    pub(super) fn take<P: Payee>(
        &mut self,
        fresh: &[u8],
        ledger: &mut Ledger<P>,
        settled: &mut impl FnMut(Entry<P>, &[u8], usize),
    ) -> Result<Course, Disorder> {
        let mut rest = fresh;
        while !rest.is_empty() {
            let advance = self.framer.advance(rest)?;
            let (bytes, behind) = rest.split_at(advance.used);
            rest = behind;
            match advance.end {
                None => {
                    Self::tell_answered(ledger, settled);
                    self.part(bytes, ledger)?;
                }
                Some(ReplyKind::Push) => self.kept.truncate(self.frame),
                Some(kind) if ledger.is_judging() => {
                    if self.judge(kind, bytes, ledger)? == Course::Rejected {
                        return Ok(Course::Rejected);
                    }
                }
                Some(kind) => {
                    self.whole(kind, bytes, ledger, settled)?;
                    if ledger.is_judging() && ledger.next_to_judge().is_none() {
                        return Ok(Course::Rejected);
                    }
                }
            }
        }
        Ok(Course::On)
    }

    /// Gives out what is answered otherwise and now is the first: the reply at hand is not its own.
    #[inline]
    fn tell_answered<P: Payee>(ledger: &mut Ledger<P>, settled: &mut impl FnMut(Entry<P>, &[u8], usize)) {
        while let Some((entry, answer)) = ledger.take_answered() {
            entry.payee.hear(&answer);
            settled(entry, b"", answer.len());
        }
    }

    /// A frame that goes on.
    fn part<P: Payee>(&mut self, bytes: &[u8], ledger: &Ledger<P>) -> Result<(), Disorder> {
        self.kept.extend_from_slice(bytes);
        let keep_back = self.kept.len() <= STREAM_AT && !self.torn;
        let pushed = !self.torn && self.kept[self.frame..].starts_with(b">");
        if keep_back || ledger.is_judging() || self.rejected || pushed {
            return Ok(());
        }
        let front = ledger.front().ok_or(Disorder::Unsolicited)?;
        if !front.payee.hear(&self.kept) {
            return Err(Disorder::Order);
        }
        self.torn = true;
        self.given += self.kept.len();
        self.forget();
        Ok(())
    }

    /// The end of a frame.
    #[inline]
    fn whole<P: Payee>(
        &mut self,
        kind: ReplyKind,
        bytes: &[u8],
        ledger: &mut Ledger<P>,
        settled: &mut impl FnMut(Entry<P>, &[u8], usize),
    ) -> Result<(), Disorder> {
        Self::tell_answered(ledger, settled);
        let tag = ledger.front().ok_or(Disorder::Unsolicited)?.tag;
        let last = ledger.frame();
        let direct = last && self.kept.is_empty();
        if !direct {
            self.kept.extend_from_slice(bytes);
        }
        let answer = if direct { bytes } else { &self.kept };
        self.rejected |= kind == ReplyKind::Error && self.rejections.include(tag, &answer[self.frame..]);
        if !last {
            self.frame = self.kept.len();
            return Ok(());
        }
        if self.rejected && !self.torn {
            ledger.judge(answer, true);
        } else {
            let size = std::mem::take(&mut self.given) + answer.len();
            let heard = ledger.settle(|front, request| {
                let heard = front.payee.hear(answer);
                settled(front, request, size);
                heard
            });
            if heard != Some(true) {
                return Err(Disorder::Order);
            }
        }
        (self.torn, self.rejected) = (false, false);
        self.forget();
        Ok(())
    }

    /// The end of a frame behind a rejected one: it is weighed, not given out.
    fn judge<P>(
        &mut self,
        kind: ReplyKind,
        bytes: &[u8],
        ledger: &mut Ledger<P>,
    ) -> Result<Course, Disorder> {
        let (tag, owed) = ledger.next_to_judge().ok_or(Disorder::Unsolicited)?;
        self.kept.extend_from_slice(bytes);
        self.rejected |= kind == ReplyKind::Error && self.rejections.include(tag, &self.kept[self.frame..]);
        self.frame = self.kept.len();
        self.judged += 1;
        if self.judged == owed {
            ledger.judge(&self.kept, self.rejected);
            (self.judged, self.rejected) = (0, false);
            self.forget();
        }
        Ok(if ledger.next_to_judge().is_some() { Course::On } else { Course::Rejected })
    }

    #[inline]
    fn forget(&mut self) {
        self.frame = 0;
        if !self.kept.is_empty() {
            self.kept.clear();
            self.kept.shrink_to(STREAM_AT);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::site::mux::ledger::Nature;

    /// Hears everything, or is a canary that insists on its word.
    struct Ear {
        heard: Rc<RefCell<String>>,
        insists: Option<&'static str>,
    }

    impl Payee for Ear {
        fn hear(&self, bytes: &[u8]) -> bool {
            let text = String::from_utf8_lossy(bytes);
            self.heard.borrow_mut().push_str(&text);
            self.insists.is_none_or(|word| word == text)
        }
    }

    struct Table {
        ledger: Ledger<Ear>,
        receiver: Receiver,
        heard: Vec<Rc<RefCell<String>>>,
        settled: usize,
        largest: usize,
        tag: u16,
    }

    fn tag(name: &str) -> u16 {
        command::find(name.as_bytes(), None).id.index() as u16
    }

    impl Table {
        /// One entry per item: its nature and how many replies it is owed; all are sent.
        fn set(entries: &[(Nature, u32)]) -> Self {
            let mut table = Self {
                ledger: Ledger::default(),
                receiver: Receiver::new(Rejections::OfMaster(Tenure::Settled)),
                heard: Vec::new(),
                settled: 0,
                largest: 0,
                tag: tag("set"),
            };
            for (nature, replies) in entries {
                table.enter(*nature, *replies, None);
            }
            table
        }

        fn enter(&mut self, nature: Nature, replies: u32, insists: Option<&'static str>) {
            let heard = Rc::new(RefCell::new(String::new()));
            self.heard.push(heard.clone());
            self.ledger.enter(Entry::new(Ear { heard, insists }, nature, replies, self.tag, 0), b"x");
            self.ledger.sent(1);
        }

        fn hears(&mut self, bytes: &[u8]) -> Result<Course, Disorder> {
            let Self { ledger, receiver, settled, largest, .. } = self;
            receiver.take(bytes, ledger, &mut |_, _, size| {
                *settled += 1;
                *largest = size.max(*largest);
            })
        }

        fn heard(&self) -> Vec<String> {
            self.heard.iter().map(|heard| heard.borrow().clone()).collect()
        }
    }

    const READ: (Nature, u32) = (Nature::Read, 1);
    const WRITE: (Nature, u32) = (Nature::Write, 1);

    #[test]
    fn replies_split_anywhere_reach_their_clients() {
        let stream = b"+OK\r\n$3\r\nabc\r\n*2\r\n:1\r\n$-1\r\n";
        for cut in 0..stream.len() {
            let mut table = Table::set(&[READ, READ, READ]);
            assert_eq!(table.hears(&stream[..cut]).unwrap(), Course::On);
            assert_eq!(table.hears(&stream[cut..]).unwrap(), Course::On);
            assert_eq!(table.heard(), ["+OK\r\n", "$3\r\nabc\r\n", "*2\r\n:1\r\n$-1\r\n"], "cut at {cut}");
            assert_eq!(table.settled, 3);
        }
    }

    #[test]
    fn a_push_is_nobodys_reply_wherever_it_is_cut() {
        let stream = b">2\r\n+invalidate\r\n*0\r\n+OK\r\n";
        for cut in 0..stream.len() {
            let mut table = Table::set(&[READ]);
            table.hears(&stream[..cut]).unwrap();
            table.hears(&stream[cut..]).unwrap();
            assert_eq!(table.heard(), ["+OK\r\n"], "cut at {cut}");
        }
    }

    #[test]
    fn what_nobody_asked_for_ends_the_connection() {
        assert!(matches!(Table::set(&[]).hears(b"+OK\r\n"), Err(Disorder::Unsolicited)));
        assert!(matches!(Table::set(&[READ]).hears(b"+OK\r\n+OK\r\n"), Err(Disorder::Unsolicited)));
        assert!(matches!(Table::set(&[READ]).hears(b"HTTP/1.1"), Err(Disorder::Fault(_))));
    }

    #[test]
    fn a_canary_notices_somebody_elses_reply() {
        let mut table = Table::set(&[READ]);
        table.enter(Nature::Read, 1, Some("$1\r\n7\r\n"));
        assert!(table.hears(b"+OK\r\n$1\r\n7\r\n").is_ok());
        table.enter(Nature::Read, 1, Some("$1\r\n8\r\n"));
        assert!(matches!(table.hears(b"+OK\r\n"), Err(Disorder::Order)));
    }

    #[test]
    fn a_transactions_replies_are_given_out_together() {
        let mut table = Table::set(&[(Nature::Write, 3)]);
        table.hears(b"+OK\r\n+QUEUED\r\n").unwrap();
        assert_eq!(table.heard(), [""]);
        table.hears(b"*1\r\n:1\r\n").unwrap();
        assert_eq!(table.heard(), ["+OK\r\n+QUEUED\r\n*1\r\n:1\r\n"]);
    }

    #[test]
    fn a_large_reply_is_passed_on_as_it_comes() {
        let mut table = Table::set(&[READ, READ]);
        table.hears(b"$1000000\r\n").unwrap();
        let piece = vec![b'x'; 50_000];
        table.hears(&piece).unwrap();
        assert_eq!(table.heard()[0].len(), 0);
        assert!(!table.receiver.is_torn());
        for _ in 0..19 {
            table.hears(&piece).unwrap();
        }
        assert!(table.receiver.is_torn());
        assert_eq!(table.heard()[0].len(), 1_000_010);
        table.hears(b"\r\n+OK\r\n").unwrap();
        assert_eq!(table.largest, 1_000_012, "its size is that of the whole");
        assert!(!table.receiver.is_torn());
        assert_eq!(table.heard()[1], "+OK\r\n");
    }

    #[test]
    fn after_a_rejection_nothing_is_given_out_until_all_is_judged() {
        let mut table = Table::set(&[WRITE, READ, WRITE, WRITE]);
        assert_eq!(table.hears(b"-READONLY You can't\r\n$1\r\nx\r\n-READONLY no\r\n").unwrap(), Course::On);
        assert_eq!(table.hears(b"-ERR what\r\n").unwrap(), Course::Rejected);
        assert_eq!(table.heard(), ["", "", "", ""]);
        assert_eq!(table.ledger.lost(|_| b"-UNKNOWN"[..].into(), |_| b"-LOADING"[..].into()).replayed, 3);
        assert_eq!(table.ledger.unsent(), b"xxx");
    }

    #[test]
    fn a_transaction_with_a_rejected_command_did_not_run() {
        let mut table = Table::set(&[(Nature::Write, 3)]);
        let course = table.hears(b"+OK\r\n-READONLY no\r\n-EXECABORT discarded\r\n").unwrap();
        assert_eq!(course, Course::Rejected);
        assert_eq!(table.ledger.lost(|_| b"-UNKNOWN"[..].into(), |_| b"-LOADING"[..].into()).replayed, 1);
    }

    #[test]
    fn what_a_script_says_of_itself_proves_nothing() {
        let mut table = Table::set(&[]);
        table.tag = tag("eval");
        table.enter(Nature::Write, 1, None);
        table.hears(b"-READONLY mine\r\n").unwrap();
        assert_eq!(table.heard(), ["-READONLY mine\r\n"]);
    }

    #[test]
    fn what_is_answered_otherwise_is_told_in_its_turn_in_the_middle_of_a_read() {
        let mut table = Table::set(&[READ, WRITE]);
        table.ledger.lost(|_| b"-UNKNOWN\r\n"[..].into(), |_| b"-LOADING\r\n"[..].into());
        table.ledger.sent(1);
        table.enter(Nature::Read, 1, None);
        table.hears(b"+first\r\n+third\r\n").unwrap();
        assert_eq!(table.heard(), ["+first\r\n", "-UNKNOWN\r\n", "+third\r\n"]);
    }

    #[test]
    fn a_master_that_waits_for_its_replicas_is_asked_again() {
        let reply = b"-NOREPLICAS Not enough good replicas to write.\r\n";
        let mut table = Table::set(&[WRITE]);
        table.receiver.rejections = Rejections::OfMaster(Tenure::Fresh);
        assert_eq!(table.hears(reply).unwrap(), Course::Rejected);
        let mut table = Table::set(&[WRITE]);
        assert_eq!(table.hears(reply).unwrap(), Course::On);
        assert_eq!(table.heard(), ["-NOREPLICAS Not enough good replicas to write.\r\n"]);
    }

    #[test]
    fn a_replicas_refusal_of_a_write_is_the_clients() {
        let mut table = Table::set(&[WRITE]);
        table.receiver.rejections = Rejections::OfReplica;
        table.hears(b"-READONLY You can't\r\n").unwrap();
        assert_eq!(table.heard(), ["-READONLY You can't\r\n"]);
    }
}
