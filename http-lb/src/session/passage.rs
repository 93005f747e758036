//! A request on its way to a replica, and the replica's answer on its way back. Kind: driver.
//!
//! ```text
//!   gather the body ▶ slot ▶ ask ─┬─ answers ──▶ respond (or: a file, by X-Accel-Redirect; a tunnel, by 101)
//!                      ▲          └─ fails ──▶ verdict ─┬─ elsewhere ─┐
//!                      └────────────────────────────────┴─────────────┘
//! ```

use proxy_core::upstream::Outcome;
use tokio::time::Instant;

use super::attempt::{Answered, Bounds, Came, Near, Payload, Request, ask};
use super::client::{AnswerHead, BodyFault, Client, Size};
use super::exchange::{Exchange, Served, Trouble, Tunnel};
use super::house::Way;
use super::lease::Lease;
use super::parting::part;
use super::respond::{Interrupted, Passing};
use super::retry::{Failure, Verdict, verdict};
use crate::body::{Backlog, Spool};
use crate::cluster::Slot;
use crate::config::Sticky;
use crate::edge::{About, Body, Coding, Connection, Route, answer_fields, forward_head};
use crate::files::{self, Wants};
use crate::metrics::{By, add};
use crate::queue::{Affinity, ClientKey, Shed, Tag, Ticket};
use crate::server::{Lost, Talk};
use crate::wire::path::normalise;
use crate::wire::{Framing, Method, Name, ResponseFraming, ResponseHead, cookie};

/// A usual head, with what we add to it.
const HEAD_BYTES: usize = 1024;

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
        let mut head = Vec::with_capacity(HEAD_BYTES);
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
        let patience = route.timeouts.queue.unwrap_or_else(|| way.cluster.patience());
        let deadline = (self.story.begun() + patience).into_std();
        let ticket = Ticket::new(self.story.class, ClientKey::from(self.asked.origin.ip), deadline);
        match self.tag(way) {
            Some(tag) => ticket.towards(Affinity::Sticky(tag)),
            None if way.hashes => ticket.towards(Affinity::Key(self.house.edge.hash(cluster, &self.asked))),
            None => ticket,
        }
    }

    /// The replica that the client was at before.
    fn tag(&self, way: &Way) -> Option<Tag> {
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
        match way.cluster.try_slot(ticket) {
            Some(slot) => {
                self.story.has_slot(slot.since(), slot.since());
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
        self.story.has_slot(asked, Instant::now());
        slot.map_err(|shed| Trouble::Tell {
            status: 503,
            why: shed_reason(shed),
            retry_after: Some(way.cluster.retry_after(ticket.class)),
        })
    }

    /// Passes the answer on.
    async fn respond(
        &mut self,
        way: &Way,
        route: &Route,
        slot: Slot,
        answer: &ResponseHead,
        answered: Answered,
    ) -> Result<Served, Trouble> {
        if answer.status() == 101 {
            return Box::pin(self.upgrade(route, slot, answer, answered.talk)).await;
        }
        if let Some(found) = self.file_instead(answer)? {
            drop((slot, answered)); // what it says besides is not wanted, and nobody is to wait for it
            return Box::pin(self.send(found, route)).await;
        }
        let coding = self.coding(route, answer);
        let encoder = match coding {
            Coding::With(algorithm) => Some(
                self.house.edge.compression.encoder(algorithm).map_err(|_| Trouble::tell(500, "encoder"))?,
            ),
            Coding::AsItIs | Coding::Varies => None,
        };
        let (fields, dated) = self.write_fields(way, route, answer, coding, slot.tag());
        let size = size(answer, self.asked.head.method());
        let head = AnswerHead { status: answer.status(), fields: &fields, dated, size };
        (self.story.status, self.story.by, self.story.outcome) = (head.status, By::Replica, "proxied");
        let held = (slot, answered.talk);
        let mut lease =
            Lease::new(self.desk, &mut *self.timer, route.timeouts.response_idle, way.keeping, held);
        let whole = lease.is_done();
        if whole {
            self.story.is_free(self.story.begun().max(lease.freed()));
        }
        let mut passing = Passing { client: &mut *self.client, desk: self.desk, head, encoder };
        let passed = if whole {
            passing.whole(answered.data).await
        } else if route.stream_response || is_stream(answer) {
            Box::pin(passing.stream(answered.data, &mut lease)).await
        } else {
            let most = self.house.config.buffers.per_request.as_usize() as u64;
            let backlog = Backlog::new(&self.house.budget, most);
            Box::pin(passing.take(answered.data, &mut lease, backlog)).await
        };
        self.story.is_free(lease.freed());
        match passed {
            Ok(()) => Ok(Served::Answered),
            Err(Interrupted::Gone) => {
                lease.left();
                Err(Trouble::Gone)
            }
            Err(Interrupted::Early(lost)) => {
                lease.failed();
                Err(broken_off(&lost))
            }
            Err(Interrupted::Midway) => {
                add(&self.desk.tally.broken);
                lease.failed();
                Err(Trouble::Gone)
            }
        }
    }

    /// The file that the replica would have sent in its place (`X-Accel-Redirect`, as NGINX knows it).
    fn file_instead(&self, answer: &ResponseHead) -> Result<Option<files::Answer>, Trouble> {
        let (Some(file), Some(site)) = (answer.known(Name::XAccelRedirect), &self.house.site) else {
            return Ok(None);
        };
        let path = normalise(file).map_err(|_| Trouble::tell(502, "accel"))?;
        let fields = answer.entries().map(|field| (field.name, field.value));
        Ok(Some(site.accel(&Wants::of(self.asked.head), &path, fields, self.desk.seconds())))
    }

    /// How the answer's body goes out.
    fn coding(&self, route: &Route, answer: &ResponseHead) -> Coding {
        if !route.compress {
            return Coding::AsItIs;
        }
        let (length, https) = (answer.content_length(), self.asked.origin.https);
        self.house.edge.compression.coding(self.asked.head, answer, length, https)
    }

    /// The fields for the client, and whether there is a Date among them. One that sticks to replicas is told of `tag`, if it
    /// does not know yet.
    fn write_fields(
        &self,
        way: &Way,
        route: &Route,
        answer: &ResponseHead,
        coding: Coding,
        tag: Tag,
    ) -> (Vec<u8>, bool) {
        let mut fields = Vec::with_capacity(HEAD_BYTES);
        let dated = answer_fields(&mut fields, answer, &self.back(route, coding)).dated;
        if let Some(sticky) = way.sticky.as_ref().filter(|_| self.tag(way) != Some(tag)) {
            write_cookie(&mut fields, sticky, tag, self.asked.origin.https);
        }
        (fields, dated)
    }

    /// Client and replica agree on another protocol; we listened to a request for it, or there would be no 101.
    async fn upgrade(
        &mut self,
        route: &Route,
        slot: Slot,
        answer: &ResponseHead,
        talk: Talk,
    ) -> Result<Served, Trouble> {
        let asked = self.asked.head.upgrade().filter(|_| self.client.can_upgrade());
        let (Some(_), Some(protocol)) = (asked, answer.upgrade()) else {
            slot.settle(Outcome::Failed);
            return Err(Trouble::tell(502, "upgrade"));
        };
        let mut fields = Vec::with_capacity(HEAD_BYTES);
        answer_fields(&mut fields, answer, &self.back(route, Coding::AsItIs));
        fields.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
        fields.extend_from_slice(protocol);
        fields.extend_from_slice(b"\r\n");
        (self.story.status, self.story.by, self.story.outcome) = (101, By::Replica, "upgraded");
        let dated = answer.known(Name::Date).is_some();
        self.client.begin(
            &AnswerHead { status: 101, fields: &fields, dated, size: Size::Empty },
            &[],
            true,
        )?;
        self.client.flush().await?;
        Ok(Served::Upgraded(Box::new(Tunnel { upstream: talk.into_link(), slot })))
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

/// An answer was lost before the client heard anything of it.
fn broken_off(lost: &Lost) -> Trouble {
    tracing::debug!(%lost, "an answer broke off");
    match lost {
        Lost::Late => Trouble::tell(504, "late"),
        Lost::Closed | Lost::Io(_) | Lost::Malformed(_) => Trouble::tell(502, "broken"),
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
    let media = answer.known(Name::ContentType).unwrap_or_default();
    let events = media.get(..17).is_some_and(|start| start.eq_ignore_ascii_case(b"text/event-stream"));
    events || answer.known(Name::XAccelBuffering).is_some_and(|buffer| buffer.eq_ignore_ascii_case(b"no"))
}

fn write_cookie(fields: &mut Vec<u8>, sticky: &Sticky, tag: Tag, https: bool) {
    let age = sticky.max_age.map_or_else(String::new, |age| format!("; Max-Age={}", age.as_secs()));
    let secure = if https { "; Secure" } else { "" };
    let cookie =
        format!("set-cookie: {}={tag}; Path=/; HttpOnly; SameSite=Lax{age}{secure}\r\n", sticky.cookie);
    fields.extend_from_slice(cookie.as_bytes());
}
