//! A replica's answer, once its head is there: what it says to the client, and how it goes on. Kind: driver.
//!
//! ```text
//!   answered ─┬─ 101 ──────────────────────────────▶ a tunnel
//!             ├─ X-Accel-Redirect ─────────────────▶ a file in its place
//!             └─ fields, coding ──▶ lease ─┬─ whole ▶ one write
//!                                          ├─ taken as it comes, sent as it goes
//!                                          └─ streamed
//! ```

use proxy_core::upstream::Outcome;

use super::attempt::Answered;
use super::client::{AnswerHead, Client, Size};
use super::desk::Desk;
use super::exchange::{Exchange, Served, Trouble, Tunnel};
use super::house::Way;
use super::lease::Lease;
use super::respond::{Interrupted, Passing};
use crate::body::Backlog;
use crate::cluster::Slot;
use crate::config::Sticky;
use crate::edge::{Coding, Route, answer_fields};
use crate::files::{self, Wants};
use crate::metrics::{By, add};
use crate::queue::Tag;
use crate::server::{Lost, Talk};
use crate::wire::path::normalise;
use crate::wire::{Method, Name, ResponseFraming, ResponseHead};

impl<C: Client> Exchange<'_, C> {
    /// Passes the answer on.
    pub(super) async fn respond(
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
        let mut fields = self.desk.lend_sheet();
        let dated = self.write_fields(&mut fields, way, route, answer, coding, slot.tag());
        let size = size(answer, self.asked.head.method());
        let head = AnswerHead { status: answer.status(), fields: &fields, dated, size };
        (self.story.status, self.story.by, self.story.outcome) = (head.status, By::Replica, "proxied");
        let mut lease = Lease::new(self.desk, &mut *self.timer, route.timeouts.response_idle, way.keeping);
        lease.hold(slot, answered.talk);
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
        self.desk.keep_sheet(fields);
        conclude(passed, lease, self.desk)
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

    /// Writes the fields for the client; says whether there is a Date among them. One that sticks to replicas is told of
    /// `tag`, if it does not know yet.
    fn write_fields(
        &self,
        fields: &mut Vec<u8>,
        way: &Way,
        route: &Route,
        answer: &ResponseHead,
        coding: Coding,
        tag: Tag,
    ) -> bool {
        let dated = answer_fields(fields, answer, &self.back(route, coding)).dated;
        if let Some(sticky) = way.sticky.as_ref().filter(|_| self.tag(way) != Some(tag)) {
            write_cookie(fields, sticky, tag, self.asked.origin.https);
        }
        dated
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
        let mut fields = Vec::new();
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

/// What came of passing an answer on. A replica whose answer nobody hears to its end is told so.
fn conclude(passed: Result<(), Interrupted>, lease: Lease<'_>, desk: &Desk) -> Result<Served, Trouble> {
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
            add(&desk.tally.broken);
            lease.failed();
            Err(Trouble::Gone)
        }
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
