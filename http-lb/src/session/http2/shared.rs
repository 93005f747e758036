//! What a connection and its exchanges know of each other. Kind: driver.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use http::HeaderValue;
use tokio::time::Instant;

use super::Terms;
use crate::session::desk::ticked_seconds;
use crate::session::watchdog::Watchdog;
use crate::wire::date;

/// Requests that a client may give up, beyond half of all that it made: people close tabs, attackers do nothing else
/// (CVE-2023-44487).
const GIVEN_UP: u64 = 100;
/// Timers that a connection keeps: as many as it mostly has requests at the same time.
const TIMERS: usize = 4;
/// Bytes that may come for each that carries something, and how many more at first. Pings, settings, priorities and
/// window updates have their place, but not eight times that of requests and answers together; nginx draws the line
/// there, too.
const OVERHEAD: u64 = 8;
const OVERHEAD_AT_FIRST: u64 = 2 * 1024 * 1024;

/// A connection's state.
pub(super) struct Shared {
    /// What the client may do.
    pub(super) terms: Rc<Terms>,
    /// Exchanges that run.
    running: Cell<u32>,
    /// When the last one ended.
    quiet_since: Cell<Instant>,
    /// Since when the socket takes nothing.
    blocked: Cell<Option<Instant>>,
    /// Exchanges that the client has given up.
    given_up: Cell<u64>,
    /// Bytes that came.
    heard: Cell<u64>,
    /// Bytes of heads and bodies, both ways.
    carried: Cell<u64>,
    /// The timers of exchanges that have ended: one that is armed already costs the next nothing.
    timers: RefCell<Vec<Watchdog>>,
}

impl Shared {
    pub(super) fn new(terms: Rc<Terms>) -> Self {
        Self {
            terms,
            running: Cell::new(0),
            quiet_since: Cell::new(Instant::now()),
            blocked: Cell::new(None),
            given_up: Cell::new(0),
            heard: Cell::new(0),
            carried: Cell::new(0),
            timers: RefCell::default(),
        }
    }

    pub(super) fn take_timer(&self) -> Watchdog {
        self.timers.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn keep_timer(&self, timer: Watchdog) {
        let mut timers = self.timers.borrow_mut();
        if timers.len() < TIMERS {
            timers.push(timer);
        }
    }

    pub(super) fn begin(&self) {
        self.running.set(self.running.get() + 1);
    }

    pub(super) fn end(&self) {
        self.running.set(self.running.get().saturating_sub(1));
        if !self.is_busy() {
            self.quiet_since.set(Instant::now());
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.running.get() > 0
    }

    /// Since when no exchange has been running, if none is.
    pub(super) fn quiet_since(&self) -> Instant {
        self.quiet_since.get()
    }

    /// The socket took something, or nothing.
    pub(super) fn wrote(&self, something: bool) {
        match (something, self.blocked.get()) {
            (true, None) => (),
            (true, Some(_)) => self.blocked.set(None),
            (false, None) => self.blocked.set(Some(Instant::now())),
            (false, Some(_)) => (),
        }
    }

    /// Since when the socket has taken nothing of what waits for it.
    pub(super) fn blocked(&self) -> Option<Instant> {
        self.blocked.get()
    }

    /// The client has given an exchange up.
    pub(super) fn gave_up(&self) {
        self.given_up.set(self.given_up.get() + 1);
    }

    pub(super) fn resets_too_often(&self, requests: u64) -> bool {
        self.given_up.get() > GIVEN_UP + requests / 2
    }

    /// Bytes of a head or a body went either way.
    #[inline]
    pub(super) fn carried(&self, bytes: usize) {
        self.carried.set(self.carried.get() + bytes as u64);
    }

    /// Bytes came. True if they are too many for what they carried.
    #[inline]
    pub(super) fn heard(&self, bytes: usize) -> bool {
        self.heard.set(self.heard.get() + bytes as u64);
        self.heard.get() > OVERHEAD * self.carried.get() + OVERHEAD_AT_FIRST
    }
}

/// The value of Date for an answer of now, made once in a second on each worker.
pub(super) fn date() -> HeaderValue {
    thread_local! {
        static TODAY: RefCell<(u64, HeaderValue)> =
            const { RefCell::new((0, HeaderValue::from_static(""))) };
    }
    let now = ticked_seconds();
    TODAY.with_borrow_mut(|(second, value)| {
        if *second != now {
            *second = now;
            // What `format` writes is a field's value.
            *value =
                HeaderValue::from_bytes(&date::format(now)).unwrap_or_else(|_| HeaderValue::from_static(""));
        }
        value.clone()
    })
}
