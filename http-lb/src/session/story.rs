//! What is told of a request when it is over: to the metrics, and to the access log. Kind: driver.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use proxy_core::upstream::Endpoint;
use tokio::time::Instant;

use super::desk::Desk;
use crate::access_log::{Entry, Times};
use crate::edge::Asked;
use crate::metrics::{By, Told};
use crate::queue::Class;
use crate::wire::Name;

/// The status in the log where a client has left before it was answered; nginx' number for it.
const CLIENT_LEFT: u16 = 499;

/// What is known of a request so far.
pub(super) struct Story {
    begun: Instant,
    /// When somebody looked at a clock last, with nothing done since that takes long.
    now: Instant,
    /// Its answer's status; none: nobody heard one.
    pub(super) status: u16,
    /// Whose answer it is.
    pub(super) by: By,
    /// What became of it, in a word.
    pub(super) outcome: &'static str,
    /// How much it matters.
    pub(super) class: Class,
    /// Bytes of its body.
    pub(super) received: u64,
    /// Whether it is in the access log.
    pub(super) logged: bool,
    /// When it had a slot.
    slot: Option<Instant>,
    queued: Duration,
    upstream: Duration,
    endpoint: Option<Arc<Endpoint>>,
}

impl Story {
    pub(super) fn new(begun: Instant) -> Self {
        Self {
            begun,
            now: begun,
            status: CLIENT_LEFT,
            by: By::Us,
            outcome: "gone",
            class: Class::default(),
            received: 0,
            logged: true,
            slot: None,
            queued: Duration::ZERO,
            upstream: Duration::ZERO,
            endpoint: None,
        }
    }

    /// When it began.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    /// What the time is, near enough: looking costs more than deciding about a request.
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// Something was done that may have taken long.
    pub(super) fn time_has_passed(&mut self) {
        self.now = Instant::now();
    }

    /// It has a slot, for which it waited so long.
    pub(super) fn has_slot(&mut self, waited: Duration, now: Instant) {
        self.queued += waited;
        self.slot = Some(now);
    }

    /// This replica was asked.
    pub(super) fn was_at(&mut self, endpoint: &Arc<Endpoint>) {
        self.endpoint = Some(endpoint.clone());
    }

    /// The replica is free again.
    pub(super) fn is_free(&mut self, now: Instant) {
        self.now = now;
        if let Some(slot) = self.slot.take() {
            self.upstream += now.saturating_duration_since(slot);
        }
    }

    /// Tells it, as of now: that moment.
    pub(super) fn tell(mut self, desk: &Desk, asked: &Asked<'_>, class: &str, sent: u64) -> Instant {
        let now = Instant::now();
        self.is_free(now);
        let took = now.saturating_duration_since(self.begun);
        desk.tally.count(&Told { class: self.class, by: self.by, status: self.status, took });
        if self.endpoint.is_some() {
            desk.tally.worked(self.upstream);
        }
        if self.logged && desk.book.is_open() {
            self.note(desk, asked, class, sent, took);
        }
        now
    }

    fn note(&self, desk: &Desk, asked: &Asked<'_>, class: &str, sent: u64, took: Duration) {
        let mut upstream = String::new();
        if let Some(endpoint) = &self.endpoint {
            let _ = write!(upstream, "{}", endpoint.addr()); // a String takes everything
        }
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (head, field) = (asked.head, |name| asked.head.known(name).unwrap_or_default());
        desk.book.note(&Entry {
            at: micros(desk.since_epoch()),
            client: asked.origin.ip,
            status: self.status,
            sent,
            received: self.received,
            times: Times {
                total: micros(took),
                queued: micros(self.queued),
                upstream: micros(self.upstream),
            },
            https: asked.origin.https,
            outcome: self.outcome,
            line: head.line(),
            host: head.host(),
            class,
            upstream: upstream.as_bytes(),
            id: asked.id.as_bytes(),
            referer: field(Name::Referer),
            agent: field(Name::UserAgent),
        });
    }
}
