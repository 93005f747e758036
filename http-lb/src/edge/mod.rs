//! Decisions about a request that need no upstream: who asks, where it goes, what it may, which headers it carries, and
//! what is said where the application can't. Kind: pure.
//!
//! An [`Edge`] is compiled from the configuration once and shared by all workers; a reload swaps it as a whole. For each
//! request:
//!
//! ```text
//!   origin(head, arrival)            who asks
//!   judge(asked, now)                maintenance, route, https, networks, rates ──▶ Answer
//!     route.auth, if any             name and password (awaits)
//!     class(route, asked)            how much it matters
//!   forward_head / answer_fields     what passes, in both directions
//!   page(status, …)                  errors of ours
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Key;
use crate::queue::{Class, ClientKey, digest};
use crate::wire::{Method, Name, RequestHead, cookie};

pub mod access;
pub mod auth;
pub mod class;
mod compile;
pub mod compress;
pub mod control;
pub mod forward;
pub mod ids;
mod load;
pub mod maintenance;
pub mod origin;
pub mod pages;
pub mod rate;
pub mod redirect;
pub mod route;
pub mod rules;
#[cfg(test)]
mod tests;

pub use self::forward::{About, Back, Body, Coding, Connection, added_fields, answer_fields, forward_head};
pub use self::ids::RequestId;
pub use self::maintenance::Switch;
pub use self::origin::{Arrival, Origin};
pub use self::pages::{Answer, Style};
pub use self::route::{Route, Target};

use self::class::Classes;
use self::maintenance::Closed;
use self::origin::Trust;
use self::pages::Pages;
use self::rate::Limiter;
use self::redirect::{Plain, Upgrade};
use self::route::{Found, Table};

/// All decisions of one configuration.
#[derive(Debug)]
pub struct Edge {
    table: Table,
    classes: Classes,
    trust: Trust,
    pages: Pages,
    closed: Closed,
    switch: Arc<Switch>,
    limits: Vec<Limit>,
    clusters: Vec<Cluster>,
    /// Whether a request without a trace gets one.
    traces: bool,
    /// The way from http to https.
    pub https: Upgrade,
    /// When and how answers are compressed.
    pub compression: compress::Terms,
    /// The field that carries a request's id, lower case.
    pub id_field: Box<[u8]>,
}

/// A rate limit and whose requests it counts together.
#[derive(Debug)]
struct Limit {
    name: Box<str>,
    key: Key,
    limiter: Arc<Limiter>,
    config: crate::config::RateLimit,
}

/// What of a cluster is decided by looking at a request.
#[derive(Debug)]
struct Cluster {
    /// Beneath these paths a POST with `X-Idempotency-Key` is idempotent.
    keyed: Vec<Box<[u8]>>,
    hash: Key,
    host: Option<Box<[u8]>>,
}

/// A request that is to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Its head.
    pub head: &'a RequestHead,
    /// Its path in normal form ([`crate::wire::path::normalise`]).
    pub path: &'a [u8],
    /// Who asks.
    pub origin: &'a Origin,
    /// Its id.
    pub id: &'a RequestId,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Verdict<'e> {
    /// It goes to a cluster or a folder: [`Route::target`] is one of these.
    Go(&'e Route),
    /// It is answered here, and why, in a word for metrics and logs. The route, if one was found, has a say in the fields.
    Answer(Answer, &'static str, Option<&'e Route>),
}

impl Edge {
    /// Who asks.
    #[inline]
    pub fn origin(&self, head: &RequestHead, arrival: &Arrival) -> Origin {
        self.trust.origin(head, arrival)
    }

    /// The id of a request: that of a proxy that we trust, or else a new one of these random bits.
    pub fn id(&self, head: &RequestHead, origin: &Origin, random: u128) -> RequestId {
        let given = match (origin.trusted, &*self.id_field) {
            (false, _) => None,
            (true, b"x-request-id") => head.known(Name::XRequestId),
            (true, name) => head.field(name),
        };
        given.and_then(RequestId::given).unwrap_or_else(|| RequestId::new(random))
    }

    /// By which number a trace that begins here calls us; `None`: none begins here.
    pub fn span(&self, random: u64) -> Option<u64> {
        self.traces.then_some(random)
    }

    /// What becomes of a request.
    pub fn judge(&self, asked: &Asked<'_>, now: Instant) -> Verdict<'_> {
        let Asked { head, path, origin, .. } = *asked;
        if self.switch.is_closed(self.closed.configured) && self.closed.turns_away(origin.ip, path) {
            let style = self.style(None, head);
            let page = self.pages.maintenance(style, self.closed.retry_after, asked.id.as_str());
            return Verdict::Answer(page, "maintenance", None);
        }
        let route = match self.table.find(head.host_name(), path, head.method(), head.method_text()) {
            Found::Route(route) => route,
            Found::WrongMethod => return self.refuse(405, "method", None, asked),
            Found::Nothing => return self.refuse(404, "no_route", None, asked),
        };
        match self.objection(route, asked, now) {
            Some(verdict) => verdict,
            None => self.follow(route, asked),
        }
    }

    /// Why a request may not take its route.
    fn objection<'e>(&'e self, route: &'e Route, asked: &Asked<'_>, now: Instant) -> Option<Verdict<'e>> {
        let Asked { head, origin, .. } = *asked;
        match self.https.of(head, origin) {
            _ if route.allow_http => {}
            Plain::Fine => {}
            Plain::Elsewhere(to) => {
                let answer = redirect(&to, self.https.status);
                return Some(Verdict::Answer(answer, "https", Some(route)));
            }
            Plain::Stranger => return Some(self.refuse(421, "host", Some(route), asked)),
        }
        if !route.addresses.admit(origin.ip) {
            return Some(self.refuse(403, "address", Some(route), asked));
        }
        let late =
            route.rates.iter().filter_map(|limit| self.take(&self.limits[*limit], asked, now)).max()?;
        let seconds = u32::try_from(late.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        let page = self.page(429, Some(route), asked.head, Some(seconds), asked.id);
        Some(Verdict::Answer(page, "rate", Some(route)))
    }

    fn follow<'e>(&'e self, route: &'e Route, asked: &Asked<'_>) -> Verdict<'e> {
        match &route.target {
            Target::Cluster(_) | Target::Files { .. } => Verdict::Go(route),
            Target::Redirect { to, status } => {
                let to = to.of(asked.head, &route.prefix);
                Verdict::Answer(redirect(&to, *status), "redirect", Some(route))
            }
            Target::Respond { status, body: None } if *status >= 400 => {
                self.refuse(*status, "respond", Some(route), asked)
            }
            Target::Respond { status, body } => {
                Verdict::Answer(respond(*status, body.as_ref()), "respond", Some(route))
            }
        }
    }

    fn refuse<'e>(
        &'e self,
        status: u16,
        why: &'static str,
        route: Option<&'e Route>,
        asked: &Asked<'_>,
    ) -> Verdict<'e> {
        Verdict::Answer(self.page(status, route, asked.head, None, asked.id), why, route)
    }

    /// How long the client has to wait, if it has to.
    fn take(&self, limit: &Limit, asked: &Asked<'_>, now: Instant) -> Option<Duration> {
        limit.limiter.take(self.key(&limit.key, asked), now).err()
    }

    /// Whose request it is, or what it is for, as a number.
    fn key(&self, key: &Key, asked: &Asked<'_>) -> u64 {
        let address = || ClientKey::from(asked.origin.ip).number();
        match key {
            Key::Address => address(),
            Key::Host => digest(asked.head.host_name()),
            Key::Path => digest(asked.path),
            Key::Cookie(name) => cookie::find(asked.head, name.as_bytes()).map_or_else(address, digest),
            Key::Header(name) => asked.head.field(name.as_bytes()).map_or_else(address, digest),
        }
    }

    /// What a page says to those who must give a name and a password.
    pub fn challenge(&self, auth: &auth::Auth, route: &Route, head: &RequestHead, id: &RequestId) -> Answer {
        let mut answer = self.page(401, Some(route), head, None, id);
        answer.fields.extend_from_slice(b"www-authenticate: ");
        answer.fields.extend_from_slice(auth.challenge());
        answer.fields.extend_from_slice(b"\r\n");
        answer
    }

    /// How much a request matters.
    #[inline]
    pub fn class(&self, route: &Route, head: &RequestHead, path: &[u8]) -> Class {
        route.class.unwrap_or_else(|| self.classes.of(head, path))
    }

    /// By what requests for a cluster with `policy = "hash"` fall to its replicas.
    pub fn hash(&self, cluster: usize, asked: &Asked<'_>) -> u64 {
        self.clusters.get(cluster).map_or(0, |cluster| self.key(&cluster.hash, asked))
    }

    /// The `Host` that a cluster's replicas see, if it is not the client's.
    pub fn host(&self, cluster: usize) -> Option<&[u8]> {
        self.clusters.get(cluster)?.host.as_deref()
    }

    /// Whether a request may be sent again although the first may have been carried out (RFC 9110 9.2.2).
    pub fn is_repeatable(&self, cluster: usize, head: &RequestHead, path: &[u8]) -> bool {
        let keyed = || {
            let cluster = self.clusters.get(cluster);
            let paths = cluster.map(|cluster| cluster.keyed.as_slice()).unwrap_or_default();
            head.known(Name::XIdempotencyKey).is_some_and(|key| !key.is_empty())
                && paths.iter().any(|prefix| route::is_beneath(path, prefix))
        };
        head.method().is_idempotent() || (head.method() == Method::Post && keyed())
    }

    /// A page of ours.
    pub fn page(
        &self,
        status: u16,
        route: Option<&Route>,
        head: &RequestHead,
        retry_after: Option<u32>,
        id: &RequestId,
    ) -> Answer {
        self.pages.page(status, self.style(route, head), retry_after, id.as_str())
    }

    /// A page for a head that could not be read.
    pub fn plain_page(&self, status: u16, id: &RequestId) -> Answer {
        self.pages.page(status, Style::Html, None, id.as_str())
    }

    fn style(&self, route: Option<&Route>, head: &RequestHead) -> Style {
        let errors = route.map(|route| route.errors).unwrap_or_default();
        Style::of(errors, head.known(Name::Accept))
    }

    /// Closes and opens the shop.
    pub fn switch(&self) -> &Arc<Switch> {
        &self.switch
    }

    /// Whether the shop is closed.
    pub fn is_closed(&self) -> bool {
        self.switch.is_closed(self.closed.configured)
    }

    /// The names of the rate limits, in the order of their places.
    pub fn rate_names(&self) -> impl Iterator<Item = &str> {
        self.limits.iter().map(|limit| &*limit.name)
    }
}

fn redirect(to: &[u8], status: u16) -> Answer {
    let mut fields = b"cache-control: no-cache\r\nlocation: ".to_vec();
    fields.extend_from_slice(to);
    fields.extend_from_slice(b"\r\n");
    Answer { status, fields, body: bytes::Bytes::new() }
}

fn respond(status: u16, body: Option<&(Box<str>, bytes::Bytes)>) -> Answer {
    match body {
        None => Answer { status, fields: Vec::new(), body: bytes::Bytes::new() },
        Some((media, body)) => {
            let fields = format!("content-type: {media}\r\n").into_bytes();
            Answer { status, fields, body: body.clone() }
        }
    }
}
