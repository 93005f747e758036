//! The one timer of a conversation, armed lazily: deadlines come and go with each request, and nearly none is ever
//! met, so that moving a real timer each time would cost more than reading the request. Kind: driver.
//!
//! The timer is moved only to an earlier time, or when it fires too early; a later deadline is merely remembered by who
//! asks for it. So a connection that is busy arms its timer once in the shortest of its deadlines, and asks it again only
//! once it has fired.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// Barks when a deadline has passed. Holds no timer before the first deadline.
#[derive(Default)]
pub struct Watchdog {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whom the timer wakes when it fires.
    wakes: Option<Waker>,
}

impl Watchdog {
    /// Ready once `deadline` has passed.
    #[inline]
    pub fn poll_late(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        match (&self.sleep, &self.wakes) {
            (Some(sleep), Some(wakes))
                if sleep.deadline() <= deadline && !sleep.is_elapsed() && wakes.will_wake(cx.waker()) =>
            {
                Poll::Pending
            }
            _ => self.ask(cx, deadline),
        }
    }

    fn ask(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        // Not by the task's budget (tokio's `coop`): used up, it would say `Pending` of a timer that is not armed.
        while pin!(unconstrained(sleep.as_mut())).poll(cx).is_ready() {
            if deadline <= Instant::now() {
                self.wakes = None;
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        self.wakes = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Awaits `work`, but not beyond `deadline`: then `None`.
    pub async fn guard<T>(&mut self, deadline: Instant, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => self.poll_late(cx, deadline).map(|()| None),
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use tokio::task::coop::{consume_budget, has_budget_remaining};

    use super::*;

    /// Waits in vain for each of these times, in milliseconds, with one dog.
    async fn check(patiences: &[u64]) {
        let mut dog = Watchdog::default();
        for patience in patiences.iter().map(|ms| Duration::from_millis(*ms)) {
            let begun = Instant::now();
            assert_eq!(dog.guard(begun + patience, pending::<()>()).await, None);
            let waited = begun.elapsed();
            assert!(waited >= patience && waited <= patience + Duration::from_millis(2), "{waited:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_deadline_is_met_whatever_the_one_before_was() {
        check(&[10, 50, 20, 20, 1000, 1, 0, 5]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_deadline_does_not_bark_at_a_new_wait() {
        let mut dog = Watchdog::default();
        let begun = Instant::now();
        assert_eq!(dog.guard(begun + Duration::from_millis(10), async { 1 }).await, Some(1));
        let long = begun + Duration::from_millis(100);
        assert_eq!(dog.guard(long, pending::<()>()).await, None);
        assert!(Instant::now() >= long);
    }

    /// One dog that goes from one task to another, as that of a request over HTTP/2 may.
    #[tokio::test(start_paused = true)]
    async fn whoever_asked_last_is_woken() {
        let mut dog = Watchdog::default();
        let due = Instant::now() + Duration::from_millis(30);
        let elsewhere = futures_util::task::noop_waker();
        assert!(dog.poll_late(&mut Context::from_waker(&elsewhere), due).is_pending());
        let barked = dog.guard(due, tokio::time::sleep(Duration::from_secs(3600))).await;
        assert_eq!((barked, Instant::now() < due + Duration::from_secs(1)), (None, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dog_that_is_called_when_the_turn_is_over_barks_all_the_same() {
        let (mut dog, due) = (Watchdog::default(), Instant::now() + Duration::from_millis(30));
        while has_budget_remaining() {
            consume_budget().await;
        }
        assert!(poll_fn(|cx| Poll::Ready(dog.poll_late(cx, due))).await.is_pending());
        let barked = dog.guard(due, tokio::time::sleep(Duration::from_secs(3600))).await;
        assert_eq!((barked, Instant::now() < due + Duration::from_secs(1)), (None, true));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_is_done_is_not_late() {
        let mut dog = Watchdog::default();
        assert_eq!(dog.guard(Instant::now(), async { 1 }).await, Some(1));
    }
}
