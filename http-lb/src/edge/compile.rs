//! From the configuration to what decides about requests. Kind: pure.

use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::Arc;
use std::time::Instant;

use crate::config::{self, Config};
use crate::files::MountId;
use crate::queue::Class;

use super::access::{Addresses, Users};
use super::auth::Auth;
use super::class::Classes;
use super::maintenance::{Closed, Switch};
use super::origin::Trust;
use super::pages::{Own, Pages};
use super::rate::Limiter;
use super::redirect::{self, Upgrade};
use super::route::{Match, Methods, Path, Route, Table, Target, Timeouts};
use super::rules::Rules;
use super::{Cluster, Edge, Limit, compress};

/// What is not in the configuration itself: the files that it names, chance, and the time.
pub(super) struct Given<'a> {
    /// The users of each route's file.
    pub(super) users: HashMap<std::path::PathBuf, Users>,
    /// The operator's own pages.
    pub(super) pages: Own,
    /// A random key.
    pub(super) key: [u8; 32],
    /// Chance for the keys of buckets.
    pub(super) chance: RandomState,
    /// The time.
    pub(super) now: Instant,
    /// What was before: the switch and the buckets of limits that stay as they are go on.
    pub(super) previous: Option<&'a Edge>,
}

/// The edge of a valid configuration.
pub(super) fn edge(config: &Config, given: &Given<'_>) -> Edge {
    let message = config.maintenance.message.as_deref();
    let switch = given.previous.map_or_else(|| Arc::new(Switch::default()), |edge| edge.switch.clone());
    Edge {
        table: Table::new(routes(config, given)),
        classes: Classes::new(config),
        trust: Trust::new(config.client.trusted_proxies.clone(), config.client.trust_unix),
        pages: Pages::new(&config.pages, message, &given.pages),
        closed: Closed::new(&config.maintenance),
        switch,
        limits: config.rate_limits.iter().map(|limit| self::limit(limit, given)).collect(),
        clusters: config.clusters.iter().map(cluster).collect(),
        traces: config.client.traceparent,
        https: Upgrade::new(&config.https),
        compression: compress::Terms::new(&config.compression),
        id_field: config.client.request_id.to_ascii_lowercase().into_bytes().into(),
    }
}

fn limit(limit: &config::RateLimit, given: &Given<'_>) -> Limit {
    let same = |old: &&Limit| old.config == *limit;
    let old = given.previous.and_then(|edge| edge.limits.iter().find(same));
    let new = || Arc::new(Limiter::new(limit, given.chance.clone(), given.now));
    Limit {
        name: limit.name.as_str().into(),
        key: limit.key.clone(),
        limiter: old.map_or_else(new, |old| old.limiter.clone()),
        config: limit.clone(),
    }
}

fn cluster(cluster: &config::Cluster) -> Cluster {
    let bytes = |text: &String| text.as_bytes().into();
    Cluster {
        keyed: cluster.retries.idempotency_key.iter().map(bytes).collect(),
        hash: cluster.hash.clone(),
        host: cluster.host.as_ref().map(bytes),
    }
}

/// Those that are written, then the folders by their prefixes, then, where no route is written, all the rest.
fn routes(config: &Config, given: &Given<'_>) -> Vec<(Match, Route)> {
    let written = config.routes.iter().map(|route| (matches(route), compiled(config, route, given)));
    let open = config.files.iter().enumerate().filter(|(_, files)| !files.internal);
    let folders = open.map(|(index, files)| folder(config, index, files, given));
    let rest = (config.routes.is_empty() && !config.clusters.is_empty()).then(|| {
        let route = config::Route { cluster: Some(config.clusters[0].name.clone()), ..Default::default() };
        (matches(&route), compiled(config, &route, given))
    });
    written.chain(folders).chain(rest).collect()
}

fn matches(route: &config::Route) -> Match {
    let path = match (&route.exact, &route.path) {
        (Some(exact), _) => Path::Exact(exact.as_bytes().into()),
        (None, prefix) => Path::Prefix(prefix.as_deref().unwrap_or("/").as_bytes().into()),
    };
    Match { hosts: route.hosts.clone(), path, methods: Methods::new(&route.methods) }
}

fn folder(config: &Config, index: usize, files: &config::Files, given: &Given<'_>) -> (Match, Route) {
    let route = config::Route {
        hosts: files.hosts.clone(),
        path: Some(files.prefix.clone()),
        log: Some(files.log),
        ..Default::default()
    };
    let fallback = files.fallback.as_deref().and_then(|name| config.cluster(name));
    let target = Target::Files { mount: MountId(index), fallback };
    (matches(&route), Route { target, ..compiled(config, &route, given) })
}

fn compiled(config: &Config, route: &config::Route, given: &Given<'_>) -> Route {
    let limits = route.rate_limits.iter().filter_map(|name| config.rate_limit(name));
    let class =
        route.class.as_ref().and_then(|name| config.class_names().iter().position(|known| known == name));
    Route {
        target: target(config, route),
        class: class.and_then(|rank| u8::try_from(rank).ok()).and_then(Class::new),
        prefix: route.path.as_deref().unwrap_or("/").as_bytes().into(),
        rewrite: route.rewrite.as_ref().map(|rewrite| rewrite.prefix.as_bytes().into()),
        timeouts: timeouts(&config.timeouts, &route.timeouts),
        max_body: route.max_body.unwrap_or(config.limits.body).bytes(),
        stream_request: route.stream_request,
        stream_response: route.stream_response,
        request_rules: Rules::new(&route.request_headers),
        response_rules: Rules::new(&route.response_headers),
        addresses: Addresses::new(&route.allow, &route.deny),
        auth: route.basic_auth.as_ref().map(|auth| {
            let users = given.users.get(&auth.file).cloned().unwrap_or_default();
            Arc::new(Auth::new(users, &auth.realm, given.key))
        }),
        rates: limits.collect(),
        compress: route.compress.unwrap_or(true),
        errors: route.errors,
        log: route.log.unwrap_or(true),
        allow_http: route.allow_http,
    }
}

fn target(config: &Config, route: &config::Route) -> Target {
    let cluster = |name: &String| config.cluster(name).map(Target::Cluster);
    let files = |name: &String| {
        let index = config.folder(name)?;
        let fallback = config.files[index].fallback.as_deref().and_then(|name| config.cluster(name));
        Some(Target::Files { mount: MountId(index), fallback })
    };
    let redirect = |redirect: &config::Redirect| Target::Redirect {
        to: redirect::Target::new(&redirect.to),
        status: redirect.status,
    };
    let respond = |respond: &config::Respond| {
        let body = respond.body.clone().map(|body| (respond.content_type.as_str().into(), body.into()));
        Target::Respond { status: respond.status, body }
    };
    let named = route.cluster.as_ref().and_then(cluster).or_else(|| route.files.as_ref().and_then(files));
    let other = || route.redirect.as_ref().map(redirect).or_else(|| route.respond.as_ref().map(respond));
    // A valid configuration has one of the four.
    named.or_else(other).unwrap_or(Target::Respond { status: 404, body: None })
}

fn timeouts(common: &config::Timeouts, own: &config::RouteTimeouts) -> Timeouts {
    Timeouts {
        body: own.body.unwrap_or(common.body),
        response: own.response.unwrap_or(common.response),
        response_idle: own.response_idle.unwrap_or(common.response_idle),
        send: own.send.unwrap_or(common.send),
        queue: own.queue,
    }
}
