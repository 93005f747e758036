//! A replica that works on for a client who has left. Kind: driver.
//!
//! Most workers don't look at their connection while they compute; gunicorn's never do. If the slot of such a worker were
//! given on at once, the next request would wait behind the abandoned one, at this very worker, where no queue sees it. So
//! we end our own half of the connection, which tells those who listen (ASGI servers, Go, Node stop then), and keep the
//! slot until the replica has ended its half, with an answer that nobody reads or without one, or has had its time.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use proxy_core::link::{Link, Scratch};
use proxy_core::tasks::spawn_session;
use tokio::time::{Instant, timeout_at};

use crate::cluster::Slot;

/// Keeps the slot until the replica has ended the connection, but not beyond `until`: then the connection is cut.
pub(super) fn part(slot: Slot, mut link: Link, scratch: Scratch, until: Instant) {
    spawn_session(async move {
        let mut told = false;
        let ended = poll_fn(|cx| poll_ended(&mut link, &scratch, &mut told, cx));
        let _ = timeout_at(until, ended).await; // in time or not, nothing more is expected of it
        drop(link);
        drop(slot);
    });
}

/// Ends our half, and drops what comes until the other has ended, too.
fn poll_ended(link: &mut Link, scratch: &Scratch, told: &mut bool, cx: &mut Context<'_>) -> Poll<()> {
    if !*told {
        match link.poll_finish(cx) {
            Poll::Ready(Ok(())) => *told = true,
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Pending => {}
        }
    }
    loop {
        match ready!(link.poll_fill(cx, &mut scratch.borrow())) {
            Ok(read) if read > 0 => {}
            _ => return Poll::Ready(()),
        }
    }
}
