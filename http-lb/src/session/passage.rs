//! A request on its way to a replica. Kind: driver.
//!
//! ```text
//!   gather the body ▶ slot ▶ ask ─┬─ answers ──▶ respond (`reply.rs`)
//!                      ▲          └─ fails ──▶ verdict ─┬─ elsewhere ─┐
//!                      └────────────────────────────────┴─────────────┘
//! ```

use std::time::Duration;

use proxy_core::upstream::Outcome;
use tokio::time::Instant;

use super::attempt::{Answered, Bounds, Came, Near, ask};
use super::client::{BodyFault, Client};
use super::exchange::{Exchange, Served, Trouble};
use super::house::Way;
use super::parting::part;
use super::retry::{Failure, Verdict, verdict};
use super::speech::{Payload, Request};
use crate::body::Spool;
use crate::cluster::Slot;
use crate::edge::{About, Body, Connection, Route, forward_head};
use crate::metrics::add;
use crate::queue::{Affinity, ClientKey, Shed, Tag, Ticket};
use crate::wire::{Framing, ResponseHead, cookie};

impl<C: Client> Exchange<'_, C> {
    /// Passes the request on to a replica of this cluster, and its answer back.
    pub(super) async fn pass_on(&mut self, route: &Route, cluster: usize) -> Result<Served, Trouble> {
        let way = self.house.ways.get(cluster).ok_or(Trouble::tell(503, "no_cluster"))?;
        let spool = match self.asked.head.framing() {
            Framing::None => None,
            Framing::Length(length) if length > route.max_body => return Err(TOO_LARGE),
            Framing::Length(_) | Framing::Chunked => {
                self.client.bound(route.max_body);
                if route.stream_request { None } else { Some(Box::pin(self.gather(route)).await?) }
            }
        };
        let payload = payload(self.asked.head.framing(), spool.as_ref(), route);
        let mut head = self.desk.lend_sheet();
        self.write_head(&mut head, route, cluster, way, &payload);
        let request = Request { head: &head, payload, method: self.asked.head.method() };
        let mut ticket = self.ticket(route, cluster, way);
        let mut answer = self.desk.answers.lend();
        let served = match self.ask(way, route, cluster, &mut ticket, &request, &mut answer).await {
            Ok((slot, answered)) => self.respond(way, route, slot, &answer, answered).await,
            Err(trouble) => Err(trouble),
        };
        answer.clear();
        self.desk.answers.take_back(answer);
        self.desk.keep_sheet(head);
        served
    }

    /// Reads the body whole, before a replica is bothered with it.
    async fn gather(&mut self, route: &Route) -> Result<Spool, Trouble> {
        let mut spool = Spool::new(&self.house.budget);
        while let Some(piece) = self.client.body().await.map_err(body_trouble)? {
            self.story.received += piece.len() as u64;
            if self.story.received > route.max_body {
                return Err(TOO_LARGE);
            }
            if let Err(full) = spool.push(&piece) {
                tracing::warn!(%full, "a request's body can't be kept");
                return Err(Trouble::Tell { status: 503, why: "buffers", retry_after: Some(5) });
            }
        }
        self.story.time_has_passed();
        Ok(spool)
    }

    fn write_head(&self, out: &mut Vec<u8>, route: &Route, cluster: usize, way: &Way, payload: &Payload<'_>) {
        let head = self.asked.head;
        let connection = match head.upgrade().filter(|_| self.client.can_upgrade()) {
            Some(protocol) => Connection::Upgrade(protocol),
            None if way.keeping.most == 0 => Connection::Close,
            None => Connection::Keep,
        };
        let body = match payload {
            Payload::None => Body::None,
            Payload::Whole(spool) => Body::Length(spool.len()),
            Payload::Streamed { length: Some(length), .. } => Body::Length(*length),
            Payload::Streamed { length: None, .. } => Body::Chunked,
        };
        let about = About {
            route,
            path: self.asked.path,
            origin: self.asked.origin,
            id: self.asked.id,
            id_field: &self.house.edge.id_field,
            span: self.house.edge.span(fastrand::u64(..)),
            host: self.house.edge.host(cluster),
            body,
            connection,
        };
        forward_head(out, head, &about);
    }

    fn ticket(&self, route: &Route, cluster: usize, way: &Way) -> Ticket {
        let patience = route.timeouts.queue.unwrap_or(way.patience);
        let deadline = (self.story.begun() + patience).into_std();
        let ticket = Ticket::new(self.story.class, ClientKey::from(self.asked.origin.ip), deadline);
        match self.tag(way) {
            Some(tag) => ticket.towards(Affinity::Sticky(tag)),
            None if way.hashes => ticket.towards(Affinity::Key(self.house.edge.hash(cluster, &self.asked))),
            None => ticket,
        }
    }

    /// The replica that the client was at before.
    pub(super) fn tag(&self, way: &Way) -> Option<Tag> {
        let sticky = way.sticky.as_ref()?;
        cookie::find(self.asked.head, sticky.cookie.as_bytes()).and_then(Tag::parse)
    }

    /// Asks replicas until one answers, or there is no sense in asking on.
    async fn ask(
        &mut self,
        way: &Way,
        route: &Route,
        cluster: usize,
        ticket: &mut Ticket,
        request: &Request<'_>,
        answer: &mut ResponseHead,
    ) -> Result<(Slot, Answered), Trouble> {
        let bounds = Bounds {
            connect: self.house.config.timeouts.connect,
            response: route.timeouts.response,
            head: self.house.answer_head,
        };
        let repeatable = !request.payload.is_streamed()
            && self.house.edge.is_repeatable(cluster, self.asked.head, self.asked.path);
        let (mut left, mut afresh) = (way.retries, false);
        let mut slot = self.slot(way, ticket).await?;
        let mut begun = slot.since();
        loop {
            let at = slot.endpoint().clone();
            self.story.was_at(&at);
            let near = Near { desk: self.desk, timer: &mut *self.timer, way };
            let failure = match ask(self.client, request, (&at, begun), afresh, answer, &bounds, near).await {
                Ok(Came::Answered(answered)) => return Ok((slot, answered)),
                Ok(Came::Unwanted(talk, until)) => {
                    part(slot, talk.into_link(), self.desk.floor.scratch.clone(), until);
                    return Err(Trouble::Gone);
                }
                Err(failure) => failure,
            };
            tracing::debug!(endpoint = %at.addr(), ?failure, "an attempt failed");
            let next = verdict(failure, repeatable, left);
            left = left.saturating_sub(1);
            match next {
                Verdict::Afresh => (afresh, begun) = (true, Instant::now()),
                Verdict::Elsewhere => {
                    self.story.is_free(Instant::now());
                    slot.redispatch(outcome(failure), ticket);
                    slot = self.slot(way, ticket).await.map_err(|trouble| instead(trouble, failure))?;
                    begun = slot.since();
                }
                Verdict::GiveUp(fault) => {
                    slot.settle(outcome(failure));
                    return Err(told(fault, failure));
                }
            }
            add(&self.desk.tally.retries);
        }
    }

    /// A slot, at once or when it is this request's turn; a client that leaves gives up its place.
    async fn slot(&mut self, way: &Way, ticket: &Ticket) -> Result<Slot, Trouble> {
        match way.cluster.try_slot(ticket, self.story.now()) {
            Some(slot) => {
                self.story.has_slot(Duration::ZERO, slot.since());
                Ok(slot)
            }
            None => Box::pin(self.queue(way, ticket)).await,
        }
    }

    async fn queue(&mut self, way: &Way, ticket: &Ticket) -> Result<Slot, Trouble> {
        let asked = Instant::now();
        let slot = tokio::select! {
            biased;
            slot = way.cluster.slot(ticket) => slot,
            () = self.client.gone() => return Err(Trouble::Gone),
        };
        let now = Instant::now();
        self.story.has_slot(now.saturating_duration_since(asked), now);
        slot.map_err(|shed| Trouble::Tell {
            status: 503,
            why: shed_reason(shed),
            retry_after: Some(way.cluster.retry_after(ticket.class)),
        })
    }
}

const TOO_LARGE: Trouble = Trouble::tell(413, "body_size");

fn payload<'a>(framing: Framing, spool: Option<&'a Spool>, route: &Route) -> Payload<'a> {
    match (spool, framing) {
        (Some(spool), _) => Payload::Whole(spool),
        (None, Framing::None) => Payload::None,
        (None, Framing::Length(length)) => Payload::Streamed { length: Some(length), most: route.max_body },
        (None, Framing::Chunked) => Payload::Streamed { length: None, most: route.max_body },
    }
}

pub(super) fn body_trouble(fault: BodyFault) -> Trouble {
    match fault {
        BodyFault::Gone => Trouble::Gone,
        BodyFault::Slow => Trouble::tell(408, "slow_body"),
        BodyFault::TooLarge => TOO_LARGE,
        BodyFault::Malformed(_) => Trouble::tell(400, "body"),
    }
}

const fn shed_reason(shed: Shed) -> &'static str {
    match shed {
        Shed::Full => "queue_full",
        Shed::Deadline => "queue_timeout",
        Shed::NoReplica => "no_replica",
        Shed::Draining => "draining",
    }
}

/// There is no slot elsewhere: what the first replica did tells more than that.
fn instead(trouble: Trouble, failure: Failure) -> Trouble {
    match trouble {
        Trouble::Gone => Trouble::Gone,
        Trouble::Tell { .. } => told(502, failure),
    }
}

/// What the client is told of a failure.
fn told(status: u16, failure: Failure) -> Trouble {
    match failure {
        Failure::Unreachable => Trouble::tell(status, "unreachable"),
        Failure::Unsent | Failure::Stale | Failure::Broken => Trouble::tell(status, "broken"),
        Failure::Late => Trouble::tell(status, "late"),
        Failure::Body(fault) => body_trouble(fault),
        Failure::TooLarge => TOO_LARGE,
    }
}

/// What a failure says about the replica.
fn outcome(failure: Failure) -> Outcome {
    match failure {
        Failure::Unreachable => Outcome::Unreachable,
        // It may close an idle connection; and it can't help what its clients do.
        Failure::Unsent | Failure::Stale | Failure::Body(_) | Failure::TooLarge => Outcome::Served,
        Failure::Broken | Failure::Late => Outcome::Failed,
    }
}
