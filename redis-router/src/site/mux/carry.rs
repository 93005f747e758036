//! Carrying: what came in during a turn leaves in one write, and what comes back goes straight to the clients.
//! Kind: driver.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use proxy_core::link::Link;
use proxy_core::upstream::Endpoint;
use proxy_core::upstream::pool::Role;
use tokio::time::Instant;

use super::ledger::{Entry, Ledger, Nature};
use super::receiver::{Course, Disorder, Receiver, Rejections};
use super::{Mux, Recipient};
use crate::wire::build::{put_bulk, put_request};

/// How long the replies behind a rejected one are waited for before they count as lost.
const JUDGING: Duration = Duration::from_millis(200);

/// Between two canaries on a connection that is in use, in microseconds.
const CANARY_EVERY: u64 = 1_000_000;

/// A connection that lived so long was of use, whatever it carried.
const LIVED: Duration = Duration::from_millis(500);

/// An open connection.
struct Conn {
    link: Link,
    receiver: Receiver,
    endpoint: Arc<Endpoint>,
    epoch: u64,
    /// Until when the replies behind a rejected one may come.
    judging_until: Option<Instant>,
    /// Replies came at this look.
    replied: bool,
    /// What is unsent has let the others go first.
    yielded: bool,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Loss {
    /// The topology has moved on.
    #[error("the topology has moved on")]
    Fenced,
    /// The server rejects what it should do.
    #[error("the server rejects what it should do")]
    Rejected,
    /// It closed or failed.
    #[error("{0}")]
    Cut(String),
    /// Its replies can't be trusted.
    #[error("{0}")]
    Disorder(Disorder),
    /// Nobody needs it any more.
    #[error("nobody needs it")]
    Idle,
}

impl Mux {
    /// Moves bytes for as long as the connection lives. Also: whether it was of any use.
    pub(super) async fn carry(&self, link: Link, target: &Arc<Endpoint>, epoch: u64) -> (Loss, bool) {
        self.held.borrow_mut().clear();
        self.connected.set(true);
        self.let_crowd_in();
        let rejections = match self.lane.purpose.role {
            Role::Primary => Rejections::OfMaster(self.site.tenure()),
            Role::Replica => Rejections::OfReplica,
        };
        let endpoint = target.clone();
        let receiver = Receiver::new(rejections);
        let mut conn =
            Conn { link, receiver, endpoint, epoch, judging_until: None, replied: false, yielded: false };
        let (began, mut heard) = (Instant::now(), false);
        let loss = poll_fn(|cx| {
            self.register(cx);
            self.poll_turn(&mut conn, cx, &mut heard)
        })
        .await;
        self.connected.set(false);
        self.cut_torn(&conn);
        (loss, heard || began.elapsed() > LIVED)
    }

    /// A client that has heard the beginning of a reply can't be told the rest: it must not live on with half of it.
    fn cut_torn(&self, conn: &Conn) {
        if !conn.receiver.is_torn() {
            return;
        }
        if let Some(Recipient::Client(client)) = self.ledger.borrow().front().map(|entry| &entry.payee) {
            client.cut();
        }
    }

    fn poll_turn(&self, conn: &mut Conn, cx: &mut Context<'_>, heard: &mut bool) -> Poll<Loss> {
        if !self.site.may_stay(&self.lane, &conn.endpoint, conn.epoch) {
            return Poll::Ready(Loss::Fenced);
        }
        if let Poll::Ready(loss) = self.poll_replies(conn, cx, heard) {
            return Poll::Ready(loss);
        }
        if conn.judging_until.is_some_and(|until| Instant::now() >= until) {
            return Poll::Ready(Loss::Rejected);
        }
        if self.is_unused() {
            return Poll::Ready(Loss::Idle);
        }
        self.poll_requests(conn, cx)
    }

    /// All that came in since the last turn goes out in one write. Where replies came in this turn, some clients have had
    /// theirs and others not yet: those go first, once, or their requests would need a write of their own.
    #[inline]
    fn poll_requests(&self, conn: &mut Conn, cx: &mut Context<'_>) -> Poll<Loss> {
        let replied = std::mem::take(&mut conn.replied);
        let mut ledger = self.ledger.borrow_mut();
        if ledger.is_judging() || ledger.unsent().is_empty() {
            return Poll::Pending;
        }
        conn.yielded = replied && !conn.yielded;
        if conn.yielded {
            self.wake();
            return Poll::Pending;
        }
        self.send_canary(&mut ledger);
        match ready!(conn.link.poll_put(cx, ledger.unsent())) {
            Ok(n) => ledger.sent(n),
            Err(error) => return Poll::Ready(Loss::Cut(error.to_string())),
        }
        Poll::Pending
    }

    /// Now and then a request of our own, whose reply must be where it belongs.
    #[inline]
    fn send_canary(&self, ledger: &mut Ledger<Recipient>) {
        let now = self.site.now();
        self.idle_since.set(now);
        if now - self.canary_at.get() < CANARY_EVERY {
            return;
        }
        self.canary_at.set(now);
        let nonce = fastrand::u64(..).to_string();
        let (mut request, mut reply) = (Vec::new(), Vec::new());
        put_request(&mut request, &[b"ECHO", nonce.as_bytes()]);
        put_bulk(&mut reply, nonce.as_bytes());
        let entry = Entry::new(Recipient::Canary(reply.into()), Nature::Read, 1, 0, now);
        ledger.enter(entry, &request);
    }

    fn poll_replies(&self, conn: &mut Conn, cx: &mut Context<'_>, heard: &mut bool) -> Poll<Loss> {
        loop {
            let mut scratch = self.site.scratch().borrow();
            match ready!(conn.link.poll_fill(cx, &mut scratch)) {
                Ok(0) => return Poll::Ready(Loss::Cut("closed by the server".to_owned())),
                Ok(n) => {
                    (*heard, conn.replied) = (true, true);
                    match self.give_out(conn, &scratch[..n]) {
                        Ok(Course::On) => {}
                        Ok(Course::Rejected) => return Poll::Ready(Loss::Rejected),
                        Err(disorder) => return Poll::Ready(Loss::Disorder(disorder)),
                    }
                }
                Err(error) => return Poll::Ready(Loss::Cut(error.to_string())),
            }
        }
    }

    /// Gives each reply to its client, and writes each client's replies once.
    #[inline]
    fn give_out(&self, conn: &mut Conn, bytes: &[u8]) -> Result<Course, Disorder> {
        let mut ledger = self.ledger.borrow_mut();
        let mut stirred = self.site.stirred.borrow_mut();
        let now = self.site.now();
        let course = conn.receiver.take(bytes, &mut ledger, &mut |entry, request, size| {
            if let Recipient::Client(client) = entry.payee {
                let micros = now.saturating_sub(entry.at);
                self.site.tally.answered(entry.tag, request, client.peer(), micros, size);
                if client.settle(size) {
                    stirred.push(client);
                }
            }
        });
        if conn.judging_until.is_none() && ledger.is_judging() {
            conn.judging_until = Some(Instant::now() + JUDGING);
        }
        drop(ledger);
        stirred.drain(..).for_each(|client| client.flush());
        self.make_room();
        // Whoever hears a reply in parts has not been settled yet.
        if conn.receiver.is_torn()
            && let Some(Recipient::Client(client)) = self.ledger.borrow().front().map(|entry| &entry.payee)
        {
            client.flush();
        }
        self.tell_answered();
        course
    }
}
