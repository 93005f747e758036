//! Sets of defaults for an application. What the operator writes goes before; the rest is filled in. Kind: pure.

use serde::{Deserialize, Serialize};

use super::{Check, Class, Config, Files, Kind, Rule};

/// An application that http-lb knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Pretix on gunicorn's synchronous workers.
    Pretix,
}

/// The configuration with its profile filled in; doing it twice changes nothing.
pub(super) fn applied(mut config: Config) -> Config {
    match config.profile {
        Some(Profile::Pretix) => pretix(&mut config),
        None => {}
    }
    config
}

/// Where Pretix keeps uploads and generated documents that are handed out by its views alone.
/// <https://github.com/pretix/pretix/blob/9a9ae3e/deployment/docker/nginx.conf>
const MEDIA: &str = "/media/";
const MEDIA_DENIED: [&str; 2] = ["cachedfiles", "invoices"];

fn pretix(config: &mut Config) {
    for cluster in &mut config.clusters {
        // `/healthcheck/` looks at the database and at Redis; for any other host Pretix answers 400.
        cluster.check.get_or_insert_with(|| Check { path: "/healthcheck/".to_owned(), ..Check::default() });
        // Pretix keeps the answer of such a POST and gives it again (pretix/api/middleware.py).
        if cluster.retries.idempotency_key.is_empty() {
            cluster.retries.idempotency_key = vec!["/api/".to_owned()];
        }
    }
    config.files.iter_mut().filter(|files| files.prefix == MEDIA).for_each(media);
    if config.classes.is_empty() {
        config.classes = classes();
    }
}

fn media(files: &mut Files) {
    files.kind = Kind::Media;
    for denied in MEDIA_DENIED {
        if !files.deny.iter().any(|path| path == denied) {
            files.deny.push(denied.to_owned());
        }
    }
}

/// From what must not fail to what can come again. Custom domains leave out `/<organizer>/<event>`.
fn classes() -> Vec<Class> {
    vec![
        class("payment", payment()),
        class("checkout", checkout()),
        class("poll", vec![query(&["async_id"])]),
        class("session", vec![cookies(&SESSIONS), paths(&["/api/**", "/control/**"])]),
        class("anonymous", Vec::new()),
        class("bots", vec![bots()]),
    ]
}

const SESSIONS: [&str; 2] = ["pretix_session", "__Host-pretix_session"];

/// The money has been given, or is just being given.
fn payment() -> Vec<Rule> {
    vec![
        paths(&[
            "/**/pay/*/confirm",
            "/**/pay/*/complete",
            "/**/checkout/payment/**",
            "/**/checkout/confirm/**",
            "/**/_stripe/**",
            "/**/_paypal/**",
            "/**/_mollie/**",
            "/**/webhook/**",
        ]),
        // Tickets at the door: a queue of people stands behind each of these.
        Rule {
            methods: words(&["POST"]),
            ..paths(&["/api/*/organizers/*/checkinrpc/**", "/api/**/checkinlists/*/positions/*/redeem/"])
        },
    ]
}

/// Something lies in the cart, or is on its way there.
fn checkout() -> Vec<Rule> {
    vec![
        paths(&["/**/checkout/**", "/**/order/*/**"]),
        Rule {
            methods: words(&["POST"]),
            ..paths(&["/**/cart/**", "/**/redeem", "/**/redeem/", "/api/*/organizers/*/events/*/orders/"])
        },
    ]
}

/// Those who say so themselves.
fn bots() -> Rule {
    let names = ["bot", "crawl", "spider", "slurp", "facebookexternalhit", "python-requests", "headless"];
    Rule { user_agents: words(&names), ..Rule::default() }
}

fn class(name: &str, rules: Vec<Rule>) -> Class {
    Class { name: name.to_owned(), rules }
}

fn paths(patterns: &[&str]) -> Rule {
    let parse = |text: &&str| text.parse().expect("a test parses each pattern of the profile");
    Rule { paths: patterns.iter().map(parse).collect(), ..Rule::default() }
}

fn cookies(names: &[&str]) -> Rule {
    Rule { cookies: words(names), ..Rule::default() }
}

fn query(names: &[&str]) -> Rule {
    Rule { query: words(names), ..Rule::default() }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
