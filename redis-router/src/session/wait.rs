//! A client waits: for a reply, for a connection, for a server. It may go away meanwhile, or be sent away. Kind: driver.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use proxy_core::session::Ending;
use proxy_core::worker::Pulse;

use super::driver::Session;

/// Bytes that a client may send ahead while it waits.
pub(super) const AHEAD_BYTES: usize = 64 * 1024;

impl Session {
    /// Waits until the shared connection owes nothing.
    pub(super) async fn settled(&mut self) -> Result<(), Ending> {
        poll_fn(|cx| {
            if self.is_dismissed(cx) {
                return Poll::Ready(Err(Ending::Terminated));
            }
            self.down.register(cx.waker());
            self.down.write_out(cx);
            if self.down.is_closed() {
                return Poll::Ready(Err(Ending::Aborted));
            }
            if self.down.is_owed_fewer_than(1) { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    /// Awaits `work` for a client that may send ahead meanwhile; one that goes away, or is sent away, need not wait.
    pub(super) async fn awaits<T>(&self, work: impl Future<Output = T>) -> Result<T, Ending> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            if self.is_dismissed(cx) {
                return Poll::Ready(Err(Ending::Terminated));
            }
            self.down.register(cx.waker());
            self.down.write_out(cx);
            let gone = !self.ended && self.down.link().read_ahead(cx, self.site.scratch(), AHEAD_BYTES);
            if gone || self.down.is_closed() { Poll::Ready(Err(Ending::Aborted)) } else { Poll::Pending }
        })
        .await
    }

    /// Whether a client that waits is to leave at once: the process ends, or another client has killed it. To be
    /// unblocked concerns what it waits to do: it stays asked.
    fn is_dismissed(&self, cx: &mut Context<'_>) -> bool {
        let guest = self.profile.guest();
        if guest.is_summoned() {
            guest.wakes(cx.waker());
        }
        self.seat.pulse(cx) == Some(Pulse::Terminate) || guest.is_killed()
    }
}
