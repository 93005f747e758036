//! The client's half of a session, as far as the shared connection may touch it: it writes the replies straight to the
//! client, so that a reply costs no turn of the session's task. Kind: driver.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

use proxy_core::link::Link;

/// Replies that a client may leave unread before no more are fetched for it.
const UNHEARD_BYTES: usize = 256 * 1024;

/// See the module. Lives in an `Rc` that the session and the ledger's entries share.
pub struct Downstream {
    link: RefCell<Link>,
    peer: Box<str>,
    /// The session's task.
    waker: RefCell<Waker>,
    /// Replies that the shared connection owes.
    owed: Cell<u32>,
    /// The session is to be woken once fewer are owed.
    wake_below: Cell<u32>,
    /// It has heard something that is not written out yet.
    dirty: Cell<bool>,
    /// Nothing more is to be said to it: it failed, or its session is over.
    closed: Cell<bool>,
    /// Most bytes that may wait for it.
    limit: usize,
    /// Bytes of the largest reply since the session last asked.
    largest: Cell<usize>,
}

impl Downstream {
    /// A client at `peer` that may leave `limit` bytes of replies unread.
    pub fn new(link: Link, peer: Box<str>, limit: usize) -> Self {
        Self {
            link: RefCell::new(link),
            peer,
            waker: RefCell::new(Waker::noop().clone()),
            owed: Cell::new(0),
            wake_below: Cell::new(0),
            dirty: Cell::new(false),
            closed: Cell::new(false),
            limit,
            largest: Cell::new(0),
        }
    }

    /// Where it came from.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// The session's own way to the client. Not to be held while bytes are heard or flushed.
    pub fn link(&self) -> std::cell::RefMut<'_, Link> {
        self.link.borrow_mut()
    }

    /// The session waits with this waker.
    #[inline]
    pub fn register(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.will_wake(waker) {
            *known = waker.clone();
        }
    }

    /// Replies owed by the shared connection.
    #[inline]
    pub fn owed(&self) -> u32 {
        self.owed.get()
    }

    /// One more reply is owed.
    #[inline]
    pub fn owe(&self) {
        self.owed.set(self.owed.get() + 1);
    }

    /// True once fewer than `below` replies are owed; until then the session will be woken when that is so.
    pub fn is_owed_fewer_than(&self, below: u32) -> bool {
        let fewer = self.owed.get() < below;
        self.wake_below.set(if fewer { 0 } else { below });
        fewer
    }

    /// A reply, or the next part of it.
    #[inline]
    pub fn hear(&self, bytes: &[u8]) {
        if !self.closed.get() {
            self.link.borrow_mut().outbox.push(bytes);
        }
    }

    /// What was owed has been heard, `bytes` of it. True: [`Downstream::flush`] is to be called at the end of this turn.
    #[inline]
    pub fn settle(&self, bytes: usize) -> bool {
        self.owed.set(self.owed.get() - 1);
        if bytes > self.largest.get() {
            self.largest.set(bytes);
        }
        !self.dirty.replace(true)
    }

    /// Bytes of the largest reply since this was last asked.
    pub fn take_largest(&self) -> usize {
        self.largest.take()
    }

    /// Writes what was heard, as far as the client takes it. The rest is the session's to write, which is woken for it.
    #[inline]
    pub fn flush(&self) {
        self.dirty.set(false);
        let waker = self.waker.borrow();
        let mut link = self.link.borrow_mut();
        match link.poll_flush(&mut Context::from_waker(&waker)) {
            Poll::Ready(Ok(())) => {}
            Poll::Pending if link.outbox.rest().len() <= self.limit => {}
            // It is gone, or reads so slowly that its replies would fill our memory.
            _ => self.close(),
        }
        if self.closed.get() || self.owed.get() < self.wake_below.get() {
            self.wake_below.set(0);
            waker.wake_by_ref();
        }
    }

    /// Writes what waits for it, as far as it takes it: how many bytes it does not. The task is woken when it takes more.
    #[inline]
    pub fn write_out(&self, cx: &mut Context<'_>) -> usize {
        let mut link = self.link.borrow_mut();
        if let Poll::Ready(Err(_)) = link.poll_flush(cx) {
            self.close();
        }
        link.outbox.rest().len()
    }

    /// As [`Downstream::write_out`]: whether it leaves so much unread that no more is to be fetched for it now.
    #[inline]
    pub fn is_deaf(&self, cx: &mut Context<'_>) -> bool {
        self.write_out(cx) > UNHEARD_BYTES
    }

    /// Nothing more is to be said to this client; its session ends.
    pub fn close(&self) {
        self.closed.set(true);
    }

    /// As [`Downstream::close`], from outside the session.
    pub fn cut(&self) {
        self.close();
        self.waker.borrow().wake_by_ref();
    }

    /// True once the session is to end.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }
}
