//! The life of a shared connection's lane: connect, carry, lose, and begin anew, until nobody needs it. Kind: driver.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use proxy_core::backoff::Backoff;
use proxy_core::upstream::Endpoint;
use tokio::time::{Instant, sleep};

use super::carry::Loss;
use super::{Mux, Recipient};
use crate::answers::{NO_MASTER, UNKNOWN, refusal};
use crate::server::LoginError;

/// The pause after a first failed attempt to connect, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

impl Mux {
    /// Connects, carries, and begins anew, until nobody needs it.
    pub(super) async fn run(self: Rc<Self>) {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        while let Some(target) = self.target().await.filter(|_| !self.is_unused()) {
            let epoch = self.site.topology().epoch;
            let opened = self.meanwhile(self.site.dial.log_in(target.addr(), &self.lane.purpose)).await;
            let loss = match opened {
                Ok((link, _)) => {
                    let (loss, worked) = self.carry(link, &target, epoch).await;
                    if worked && !matches!(loss, Loss::Rejected) {
                        backoff.reset();
                    }
                    self.lose(&target, &loss);
                    loss
                }
                Err(LoginError::Denied(answer)) => {
                    self.refuse(&answer);
                    self.until_wanted().await;
                    Loss::Rejected
                }
                Err(error) => {
                    self.site.dial.watcher.suspect(&target);
                    tracing::debug!(server = %target.addr(), %error, "no shared connection");
                    Loss::Rejected
                }
            };
            match loss {
                Loss::Idle => break,
                Loss::Fenced => {}
                _ => self.pause(backoff.next_delay(fastrand::u32(..))).await,
            }
        }
        self.retired.set(true);
    }

    /// Waits for a server to connect to; none if the lane is to be given up.
    async fn target(&self) -> Option<Arc<Endpoint>> {
        let found = poll_fn(|_| match self.site.target(&self.lane) {
            Some(target) => Poll::Ready(Some(target)),
            None if self.is_unused() => Poll::Ready(None),
            None => Poll::Pending,
        });
        self.meanwhile(found).await
    }

    /// A pause that a new topology ends.
    async fn pause(&self, time: Duration) {
        let revision = self.site.topology().revision;
        let mut slept = pin!(sleep(time));
        let woken = poll_fn(|cx| match self.site.topology().revision == revision {
            true => slept.as_mut().poll(cx),
            false => Poll::Ready(()),
        });
        self.meanwhile(woken).await;
    }

    /// Awaits `work` while there is no connection: what waits too long is answered meanwhile.
    async fn meanwhile<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            self.register(cx);
            self.expire();
            self.tell_answered();
            self.make_room();
            work.as_mut().poll(cx)
        })
        .await
    }

    /// Answers what has waited for as long as the hold allows.
    fn expire(&self) {
        let patience = self.site.common.hold.deadline().saturating_duration_since(Instant::now());
        let patience = u64::try_from(patience.as_micros()).unwrap_or(u64::MAX);
        let Some(moment) = self.site.now().checked_sub(patience) else { return };
        let answer = |replies| refusal(NO_MASTER.as_bytes(), replies);
        let expired = self.ledger.borrow_mut().expire(moment, answer);
        self.site.tally.expired(expired as u64);
    }

    /// Gives out the answers that nothing stands ahead of any more.
    pub(super) fn tell_answered(&self) {
        loop {
            let answered = self.ledger.borrow_mut().take_answered();
            let Some((entry, answer)) = answered else { return };
            if let Recipient::Client(client) = entry.payee {
                client.hear(&answer);
                client.settle(answer.len());
                client.flush();
            }
        }
    }

    /// The server does not take this login: that is the answer to all who wait.
    fn refuse(&self, answer: &[u8]) {
        self.ledger.borrow_mut().expire(u64::MAX, |replies| refusal(answer, replies));
        self.tell_answered();
        self.let_crowd_in();
    }

    /// Waits for a request, or for the end of the lane.
    async fn until_wanted(&self) {
        let wanted = poll_fn(|_| match self.ledger.borrow().is_empty() && !self.is_unused() {
            true => Poll::Pending,
            false => Poll::Ready(()),
        });
        self.meanwhile(wanted).await;
    }

    /// What became of the requests that were under way.
    fn lose(&self, target: &Arc<Endpoint>, loss: &Loss) {
        match loss {
            Loss::Disorder(disorder) => {
                self.site.tally.disordered();
                tracing::error!(server = %target.addr(), %disorder, "a shared connection is given up with all that it owes");
            }
            Loss::Idle => {}
            loss => {
                self.site.dial.watcher.suspect(target);
                tracing::debug!(server = %target.addr(), %loss, "a shared connection is lost");
            }
        }
        let unknown = format!("-{UNKNOWN}\r\n");
        let losses = self.ledger.borrow_mut().lost(
            |replies| refusal(unknown.as_bytes(), replies),
            |replies| refusal(NO_MASTER.as_bytes(), replies),
        );
        self.site.tally.lost(losses.replayed, losses.unknown);
        for _ in 0..self.ledger.borrow().len() {
            let held = self.site.common.hold.enter(0); // they wait; that they may, was decided when they came
            self.held.borrow_mut().extend(held.ok());
        }
        self.tell_answered();
    }
}
