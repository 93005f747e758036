//! Which request goes where, how much it matters, and what is different on its way. Kind: pure.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use proxy_core::config::{Size, optional_duration};
use serde::{Deserialize, Serialize};

use super::pattern::{HostPattern, PathPattern};

/// A route. Among those that match a request, an exact host goes before a wildcard and that before none; then an exact
/// path before a prefix, and the longer prefix before the shorter; then the one that is written first.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Route {
    /// For these hosts only; for all if there is none.
    pub hosts: Vec<HostPattern>,
    /// A prefix, by whole segments: `/api/` is all beneath, `/api` that and `/api` itself, never `/apis`.
    pub path: Option<String>,
    /// Exactly this path.
    pub exact: Option<String>,
    /// With these methods only; with all if there is none. Others look for another route.
    pub methods: Vec<String>,

    /// To the replicas of this cluster.
    pub cluster: Option<String>,
    /// To the folder of this name.
    pub files: Option<String>,
    /// To another address.
    pub redirect: Option<Redirect>,
    /// To nobody: this is the answer.
    pub respond: Option<Respond>,

    /// How much it matters, whatever the rules of `[[classes]]` say.
    pub class: Option<String>,
    /// What replaces the prefix on its way to the replica.
    pub rewrite: Option<Rewrite>,
    /// Timeouts that differ.
    pub timeouts: RouteTimeouts,
    /// Bytes of a body, if it differs from `limits.body`.
    pub max_body: Option<Size>,
    /// Passes a request's body on as it comes, instead of taking it whole before a replica is bothered.
    pub stream_request: bool,
    /// Passes an answer on as it comes, instead of freeing the replica at once.
    pub stream_response: bool,
    /// Changes to requests.
    pub request_headers: HeaderRules,
    /// Changes to answers.
    pub response_headers: HeaderRules,
    /// Networks that may; all if there is none.
    pub allow: Vec<IpNet>,
    /// Networks that may not; this goes before `allow`.
    pub deny: Vec<IpNet>,
    /// Who must give name and password.
    pub basic_auth: Option<BasicAuth>,
    /// The names of rate limits.
    pub rate_limits: Vec<String>,
    /// Whether answers are compressed on the fly; as `[compression]` says if absent.
    pub compress: Option<bool>,
    /// How errors of ours look.
    pub errors: ErrorStyle,
    /// Whether requests are in the access log.
    pub log: Option<bool>,
    /// Whether plain http is served although `https.redirect` is on (ACME, health checks).
    pub allow_http: bool,
}

/// A redirect.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// Where to: `{uri}` is path and query as they came, `{rest}` what follows the route's prefix, `{host}` the host, which
    /// needs `hosts`.
    pub to: String,
    /// 301, 302, 303, 307 or 308.
    #[serde(default = "permanent")]
    pub status: u16,
}

const fn permanent() -> u16 {
    308
}

/// A fixed answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Respond {
    /// The status; from 400 on without a body it is a page of ours.
    pub status: u16,
    /// The body.
    #[serde(default)]
    pub body: Option<String>,
    /// Its type.
    #[serde(default = "plain")]
    pub content_type: String,
}

fn plain() -> String {
    "text/plain; charset=utf-8".to_owned()
}

/// What a replica is asked for instead. Only the target of the request is changed, not the links of its answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// This takes the place of the route's prefix: `"/"` strips it.
    pub prefix: String,
}

/// Timeouts of a route; those of `[timeouts]` where absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteTimeouts {
    /// A request's body.
    #[serde(with = "optional_duration", skip_serializing_if = "Option::is_none")]
    pub body: Option<Duration>,
    /// To the head of the replica's answer.
    #[serde(with = "optional_duration", skip_serializing_if = "Option::is_none")]
    pub response: Option<Duration>,
    /// Between two pieces of it.
    #[serde(with = "optional_duration", skip_serializing_if = "Option::is_none")]
    pub response_idle: Option<Duration>,
    /// To send the answer.
    #[serde(with = "optional_duration", skip_serializing_if = "Option::is_none")]
    pub send: Option<Duration>,
    /// In the queue.
    #[serde(with = "optional_duration", skip_serializing_if = "Option::is_none")]
    pub queue: Option<Duration>,
}

/// Changes to header fields. Values may name `{client}`, `{host}`, `{scheme}`, `{request_id}` and `{method}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderRules {
    /// These go first.
    pub remove: Vec<String>,
    /// Instead of all of that name.
    pub set: BTreeMap<String, String>,
    /// Beside those of that name.
    pub add: BTreeMap<String, String>,
}

/// Name and password (RFC 7617).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// A file as `htpasswd -B` makes it: `name:$2y$…` in each line.
    pub file: PathBuf,
    /// What the browser shows.
    #[serde(default = "realm")]
    pub realm: String,
}

fn realm() -> String {
    "restricted".to_owned()
}

/// How errors of ours look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorStyle {
    /// As the client's `Accept` prefers.
    #[default]
    Auto,
    /// A page.
    Html,
    /// An object.
    Json,
}

/// How much requests matter. The order of the classes is their importance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Class {
    /// Its name, in routes and metrics.
    pub name: String,
    /// Any of these makes a request one of this class; the first class that takes it has it. The class without rules
    /// takes what no other does.
    pub rules: Vec<Rule>,
}

/// All that is written of a rule must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// One of these methods.
    pub methods: Vec<String>,
    /// One of these paths; `*` is a segment, `**` any number of them.
    pub paths: Vec<PathPattern>,
    /// One of these cookies is there.
    pub cookies: Vec<String>,
    /// One of these parameters is in the query.
    pub query: Vec<String>,
    /// One of these texts is in `User-Agent`, in upper or lower case.
    pub user_agents: Vec<String>,
}
