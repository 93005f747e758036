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
mod tests;
