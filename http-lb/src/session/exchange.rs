//! One request, from its head to the last byte of its answer, whatever codec it came by. Kind: driver.
//!
//! ```text
//!   judge ─┬─ answered at the edge (redirect, page, maintenance …) ───────────────▶ say
//!          ├─ a folder's: find ─┬─ file ──────────────────────────────────────────▶ send
//!          │                    └─ none, but a cluster behind it ─┐
//!          └─ a cluster's ────────────────────────────────────────┴─ pass on ─────▶ respond
//! ```
//! What few requests need (waiting for a slot, a long body, a page) is boxed where it is called: the future of a request
//! is made, moved and freed for each of them, so that its size is time.

use proxy_core::link::Link;
use tokio::time::Instant;

use super::client::{AnswerHead, Client, Gone, Size};
use super::desk::Desk;
use super::house::House;
use super::story::Story;
use super::visit::Visit;
use super::watchdog::Watchdog;
use crate::cluster::Slot;
use crate::edge::route::Target;
use crate::edge::{Answer, Asked, Back, Coding, RequestId, Route, added_fields};
use crate::metrics::By;
use crate::wire::path::normalise;
use crate::wire::{Method, Name, RequestHead};

use crate::edge::Verdict;

/// What became of a request.
pub enum Served {
    /// It was answered, all of it.
    Answered,
    /// The client has left, or the answer broke off: the connection can't go on.
    Gone,
    /// The client was told 101.
    Upgraded(Box<Tunnel>),
}

/// What follows a 101: bytes between the client and this replica.
pub struct Tunnel {
    /// The connection to it.
    pub upstream: Link,
    /// Its slot, taken for as long as the tunnel stands.
    pub slot: Slot,
}

/// Why a request has no answer from where it was to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The client is told so.
    Tell {
        /// The status of the page.
        status: u16,
        /// Why, in a word.
        why: &'static str,
        /// When it may try again, in seconds.
        retry_after: Option<u32>,
    },
    /// There is nobody to tell.
    Gone,
}

impl Trouble {
    pub(super) const fn tell(status: u16, why: &'static str) -> Self {
        Self::Tell { status, why, retry_after: None }
    }
}

impl From<Gone> for Trouble {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

/// Answers a request by this configuration. Its codec has read its head; the answer is said by way of `client`. What became
/// of it, and when it was over.
pub async fn serve<C: Client>(
    client: &mut C,
    head: &RequestHead,
    visit: &Visit,
    house: &House,
    timer: &mut Watchdog,
) -> (Served, Instant) {
    let begun = Instant::now();
    let edge = &*house.edge;
    let origin = edge.origin(head, &visit.arrival);
    let id = edge.id(head, &origin, fastrand::u128(..));
    let path = normalise(head.path());
    let asked = Asked { head, path: path.as_deref().unwrap_or(b"/"), origin: &origin, id: &id };
    let (desk, story) = (&*visit.desk, Story::new(begun));
    let mut exchange = Exchange { client, asked, house, desk, timer, story };
    let served = match (&path, head.method()) {
        (_, Method::Connect | Method::Trace) => exchange.refuse(Trouble::tell(405, "method"), None).await,
        (Err(_), _) => exchange.refuse(Trouble::tell(400, "path"), None).await,
        (Ok(_), _) => exchange.run().await,
    };
    let (story, sent) = (exchange.story, exchange.client.sent());
    let class = house.classes.get(story.class.index()).map(String::as_str).unwrap_or_default();
    (served, story.tell(desk, &asked, class, sent))
}

/// The page for a head that could not be read: nothing of what was sent is in it.
pub(super) fn unreadable(house: &House, status: u16) -> Answer {
    house.edge.plain_page(status, &RequestId::new(fastrand::u128(..)))
}

/// One request on its way.
pub(super) struct Exchange<'a, C> {
    pub(super) client: &'a mut C,
    pub(super) asked: Asked<'a>,
    pub(super) house: &'a House,
    pub(super) desk: &'a Desk,
    pub(super) timer: &'a mut Watchdog,
    pub(super) story: Story,
}

impl<'a, C: Client> Exchange<'a, C> {
    async fn run(&mut self) -> Served {
        let house = self.house;
        let route = match house.edge.judge(&self.asked, self.story.begun().into_std()) {
            Verdict::Go(route) => route,
            Verdict::Answer(answer, why, route) => return Box::pin(self.say(&answer, why, route)).await,
        };
        self.story.logged = route.log;
        if let Some(auth) = &route.auth {
            if !Box::pin(auth.admits(self.asked.head.known(Name::Authorization))).await {
                let answer = house.edge.challenge(auth, route, self.asked.head, self.asked.id);
                return Box::pin(self.say(&answer, "password", Some(route))).await;
            }
            self.story.time_has_passed();
        }
        self.story.class = house.edge.class(route, self.asked.head, self.asked.path);
        let served = match route.target {
            Target::Cluster(cluster) => self.pass_on(route, cluster).await,
            Target::Files { mount, fallback } => match self.find(route, mount, fallback.is_some()).await {
                Ok(None) => {
                    self.story.time_has_passed(); // a folder of the network was looked into, perhaps
                    self.pass_on(route, fallback.unwrap_or_default()).await
                }
                Ok(Some(served)) => Ok(served),
                Err(trouble) => Err(trouble),
            },
            Target::Redirect { .. } | Target::Respond { .. } => Err(Trouble::tell(500, "route")),
        };
        match served {
            Ok(served) => served,
            Err(trouble) => self.refuse(trouble, Some(route)).await,
        }
    }

    /// How an answer goes back.
    pub(super) fn back<'b>(&'b self, route: &'b Route, coding: Coding) -> Back<'b> {
        Back {
            head: self.asked.head,
            route,
            origin: self.asked.origin,
            id: self.asked.id,
            id_field: &self.house.edge.id_field,
            https: &self.house.edge.https,
            coding,
        }
    }

    /// Tells the client why its request comes to nothing.
    async fn refuse(&mut self, trouble: Trouble, route: Option<&Route>) -> Served {
        let Trouble::Tell { status, why, retry_after } = trouble else { return Served::Gone };
        let page = self.house.edge.page(status, route, self.asked.head, retry_after, self.asked.id);
        Box::pin(self.say(&page, why, route)).await
    }

    /// Says an answer of ours.
    async fn say(&mut self, answer: &Answer, why: &'static str, route: Option<&Route>) -> Served {
        let mut fields = answer.fields.clone();
        if let Some(route) = route {
            added_fields(&mut fields, &self.back(route, Coding::AsItIs));
        }
        let length = answer.body.len() as u64;
        let size = match self.asked.head.method() {
            Method::Head => Size::Told(Some(length)),
            _ => Size::Length(length),
        };
        let head = AnswerHead { status: answer.status, fields: &fields, dated: false, size };
        (self.story.status, self.story.by, self.story.outcome) = (answer.status, By::Us, why);
        self.desk.metrics.answered(why);
        let told = match self.client.begin(&head, &answer.body, true) {
            Ok(()) => self.client.flush().await,
            gone => gone,
        };
        told.map_or(Served::Gone, |()| Served::Answered)
    }
}
