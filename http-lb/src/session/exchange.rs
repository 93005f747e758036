//! One request, from its head to the last byte of its answer, whatever codec it came by. Kind: driver.
//!
//! ```text
//!   decide ─┬─ of ours (page, redirect, file) ─────────────────────────▶ answer
//!           └─ a cluster's: body read whole ▶ slot ▶ ask ─┬─ head ▶ respond
//!                                              ▲─ retry ──┘
//! ```

use std::time::Duration;

use bytes::Bytes;
use proxy_core::link::Link;
use proxy_core::upstream::Outcome;

use super::attempt::{self, Answered, Bounds, Request};
use super::client::{AnswerHead, BodyFault, Client, Gone, Size};
use super::house::House;
use super::lease::Lease;
use super::respond::{self, Interrupted};
use super::retry::{Failure, Verdict, is_repeatable, verdict};
use super::visit::Visit;
use super::watchdog::Watchdog;
use crate::body::{Backlog, Full, Spool};
use crate::cluster::{ClusterState, Slot};
use crate::config;
use crate::queue::{Class, ClientKey, Shed, Ticket};
use crate::server::Keeping;
use crate::wire::{Framing, Method, Name, RequestHead, ResponseFraming, ResponseHead};

/// What became of a request.
pub enum Served {
    /// It was answered, all of it.
    Answered,
    /// The client has left, or the answer broke off: the connection can't go on.
    Gone,
    /// The client was told 101: what follows goes between it and this replica.
    Upgraded(Link),
}

/// Why a request is not passed on, or has no answer from a replica.
enum Trouble {
    /// The client is told this status.
    Status(u16),
    /// There is nobody to tell.
    Gone,
}

impl From<Gone> for Trouble {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

/// Answers a request.
pub async fn serve<C: Client>(
    client: &mut C,
    head: &RequestHead,
    visit: &Visit,
    timer: &mut Watchdog,
) -> Served {
    let house = visit.desk.house();
    let mut exchange = Exchange { client, head, visit, house: &house, timer };
    match exchange.proxy().await {
        Ok(served) => served,
        Err(Trouble::Gone) => Served::Gone,
        Err(Trouble::Status(status)) => exchange.tell(status).await,
    }
}

/// A page of ours.
pub fn page(status: u16) -> (Vec<u8>, Bytes) {
    (b"content-type: text/plain\r\n".to_vec(), Bytes::from(format!("{status}\n")))
}

struct Exchange<'a, C> {
    client: &'a mut C,
    head: &'a RequestHead,
    visit: &'a Visit,
    house: &'a House,
    timer: &'a mut Watchdog,
}

impl<C: Client> Exchange<'_, C> {
    async fn tell(&mut self, status: u16) -> Served {
        let (fields, body) = page(status);
        let size = Size::Length(body.len() as u64);
        let head = AnswerHead { status, fields: &fields, dated: false, size };
        let told = match self.client.begin(&head, &body, true) {
            Ok(()) => self.client.flush().await,
            gone => gone,
        };
        told.map_or(Served::Gone, |()| Served::Answered)
    }

    async fn proxy(&mut self) -> Result<Served, Trouble> {
        let cluster = self.house.clusters.all().first().ok_or(Trouble::Status(503))?.clone();
        let settings = &self.house.config.clusters[0];
        let body = self.gather(self.house.config.limits.body.as_usize() as u64).await?;
        let mut forward = Vec::with_capacity(1024);
        write_forward(&mut forward, self.head, body.as_ref());
        let deadline = std::time::Instant::now() + settings.queue.timeout;
        let client = self.visit.peer.ip().map_or_else(ClientKey::default, ClientKey::from);
        let mut ticket = Ticket::new(Class::default(), client, deadline);
        let request = Request { head: &forward, body: body.as_ref(), method: self.head.method() };
        let mut answer = ResponseHead::new();
        let (slot, answered) = self.ask(&cluster, settings, &mut ticket, &request, &mut answer).await?;
        self.respond(settings, slot, &answer, answered).await
    }

    /// Reads the body whole, before a replica is bothered with it.
    async fn gather(&mut self, most: u64) -> Result<Option<Spool>, Trouble> {
        match self.head.framing() {
            Framing::None => return Ok(None),
            Framing::Length(length) if length > most => return Err(Trouble::Status(413)),
            Framing::Length(_) | Framing::Chunked => {}
        }
        let mut spool = Spool::new(&self.house.budget);
        while let Some(piece) = self.client.body().await.map_err(body_trouble)? {
            if spool.len() + piece.len() as u64 > most {
                return Err(Trouble::Status(413));
            }
            spool.push(&piece).map_err(|full| full_trouble(&full))?;
        }
        Ok(Some(spool))
    }

    /// Asks replicas until one answers, or nobody is left to ask.
    async fn ask(
        &mut self,
        cluster: &ClusterState,
        settings: &config::Cluster,
        ticket: &mut Ticket,
        request: &Request<'_>,
        answer: &mut ResponseHead,
    ) -> Result<(Slot, Answered), Trouble> {
        let timeouts = &self.house.config.timeouts;
        let bounds =
            Bounds { connect: timeouts.connect, response: timeouts.response, head: self.house.answer_head };
        let key = self.head.known(Name::XIdempotencyKey).is_some();
        let counts = settings
            .retries
            .idempotency_key
            .iter()
            .any(|prefix| self.head.path().starts_with(prefix.as_bytes()));
        let repeatable = is_repeatable(request.method, key, counts);
        let (mut left, mut afresh) = (settings.retries.attempts, false);
        let mut slot = self.slot(cluster, ticket).await?;
        loop {
            let at = slot.endpoint().clone();
            let near = (&*self.visit.desk, &mut *self.timer);
            let failure = match attempt::ask(self.client, request, &at, afresh, answer, &bounds, near).await {
                Ok(answered) => return Ok((slot, answered)),
                Err(failure) => failure,
            };
            tracing::debug!(endpoint = %at.addr(), ?failure, "an attempt failed");
            match verdict(failure, repeatable, left) {
                Verdict::Afresh => afresh = true,
                Verdict::Elsewhere => {
                    slot.redispatch(outcome(failure), ticket);
                    slot = self.slot(cluster, ticket).await.map_err(|_| Trouble::Status(502))?;
                }
                Verdict::GiveUp(status) => {
                    slot.settle(outcome(failure));
                    return Err(Trouble::Status(status));
                }
            }
            left = left.saturating_sub(1);
        }
    }

    /// A slot, at once or when it is this request's turn; a client that leaves gives up its place.
    async fn slot(&mut self, cluster: &ClusterState, ticket: &Ticket) -> Result<Slot, Trouble> {
        if let Some(slot) = cluster.try_slot(ticket) {
            return Ok(slot);
        }
        tokio::select! {
            biased;
            slot = cluster.slot(ticket) => slot.map_err(|shed| Trouble::Status(shed_status(shed))),
            () = self.client.gone() => Err(Trouble::Gone),
        }
    }

    /// Passes the answer on.
    async fn respond(
        &mut self,
        settings: &config::Cluster,
        slot: Slot,
        answer: &ResponseHead,
        Answered { talk, data }: Answered,
    ) -> Result<Served, Trouble> {
        if answer.status() == 101 {
            return self.upgrade(slot, answer, talk.into_link()).await;
        }
        let desk = &*self.visit.desk;
        let keeping = Keeping { timeout: settings.keepalive.idle_timeout, most: settings.keepalive.max_idle };
        let pause: Duration = self.house.config.timeouts.response_idle;
        let mut lease = Lease::new(desk, self.timer, pause, keeping, (slot, talk));
        let mut fields = Vec::with_capacity(512);
        write_answer(&mut fields, answer);
        let dated = answer.known(Name::Date).is_some();
        let head = AnswerHead {
            status: answer.status(),
            fields: &fields,
            dated,
            size: size(answer, self.head.method()),
        };
        let passed = if lease.is_done() {
            respond::whole(self.client, desk, &head, data).await
        } else if is_stream(answer) {
            respond::stream(self.client, desk, &head, data, &mut lease).await
        } else {
            let most = self.house.config.buffers.per_request.as_usize() as u64;
            let backlog = Backlog::new(&self.house.budget, most);
            respond::take(self.client, desk, &head, data, &mut lease, backlog).await
        };
        match passed {
            Ok(()) => Ok(Served::Answered),
            Err(Interrupted::Gone) => Err(Trouble::Gone),
            Err(Interrupted::Early(lost)) => {
                tracing::debug!(%lost, "an answer broke off");
                lease.failed();
                Err(Trouble::Status(502))
            }
            Err(Interrupted::Midway) => {
                lease.failed();
                Err(Trouble::Gone)
            }
        }
    }

    async fn upgrade(&mut self, slot: Slot, answer: &ResponseHead, link: Link) -> Result<Served, Trouble> {
        let _ = slot;
        let _ = answer;
        let _ = link;
        Err(Trouble::Status(502))
    }
}

fn body_trouble(fault: BodyFault) -> Trouble {
    match fault {
        BodyFault::Gone => Trouble::Gone,
        BodyFault::Slow => Trouble::Status(408),
        BodyFault::Malformed(_) => Trouble::Status(400),
    }
}

fn full_trouble(full: &Full) -> Trouble {
    tracing::warn!(%full, "a request's body can't be kept");
    Trouble::Status(503)
}

fn shed_status(shed: Shed) -> u16 {
    match shed {
        Shed::Full | Shed::Deadline | Shed::NoReplica | Shed::Draining => 503,
    }
}

/// What a failure says about the replica.
fn outcome(failure: Failure) -> Outcome {
    match failure {
        Failure::Unreachable => Outcome::Unreachable,
        Failure::Unsent | Failure::Stale => Outcome::Served, // its right: the connection was idle
        Failure::Broken | Failure::Late => Outcome::Failed,
    }
}

fn size(answer: &ResponseHead, method: Method) -> Size {
    match answer.framing() {
        ResponseFraming::None if method == Method::Head => Size::Told(answer.content_length()),
        ResponseFraming::None => Size::Empty,
        ResponseFraming::Length(length) => Size::Length(length),
        ResponseFraming::Chunked | ResponseFraming::UntilClose => Size::Unknown,
    }
}

/// Whether the client is to see each piece as it comes.
fn is_stream(answer: &ResponseHead) -> bool {
    let event_stream =
        answer.known(Name::ContentType).is_some_and(|kind| kind.starts_with(b"text/event-stream"));
    event_stream || answer.known(Name::XAccelBuffering) == Some(b"no")
}

fn write_forward(out: &mut Vec<u8>, head: &RequestHead, body: Option<&Spool>) {
    out.extend_from_slice(head.method_text());
    out.push(b' ');
    out.extend_from_slice(head.target());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    for field in head.entries() {
        if !field.known.is_hop_by_hop() && field.known != Name::ContentLength && field.known != Name::Expect {
            out.extend_from_slice(field.line);
        }
    }
    if let Some(body) = body {
        out.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn write_answer(out: &mut Vec<u8>, answer: &ResponseHead) {
    for field in answer.entries() {
        if !field.known.is_hop_by_hop() && field.known != Name::ContentLength {
            out.extend_from_slice(field.line);
        }
    }
}
