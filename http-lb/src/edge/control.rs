//! What the edge adds to the admin endpoint. Kind: wiring.
//!
//! | path | answer |
//! |---|---|
//! | `POST /maintenance?state=on` | closes the shop, but for those whom `[maintenance]` names |
//! | `POST /maintenance?state=off` | opens it, whatever `[maintenance]` says |
//! | `POST /maintenance?state=auto` | `[maintenance]` decides again |
//! | `GET /explain?path=/a&host=shop.example.org&method=GET` | which way such a request takes, and its class |

use std::sync::Arc;
use std::time::Duration;

use proxy_core::admin::{Query, Reply, Routes, Status};
use serde_json::{Value, json};

use crate::config::Config;
use crate::wire::path::normalise;
use crate::wire::{HeadLimits, RequestHead};

use super::route::{Found, Route, Target};
use super::{Edge, Switch};

/// A switch is thrown at once.
const LIMIT: Duration = Duration::from_secs(1);

/// What is in force now.
pub type Current = Arc<dyn Fn() -> (Arc<Config>, Arc<Edge>) + Send + Sync>;

/// Adds the paths, and a section to the status.
pub fn offer(routes: &Routes, status: &Status, current: Current) {
    let edge = current.clone();
    status.section("edge", move || summary(&edge().1));
    let edge = current.clone();
    routes.act("/maintenance", LIMIT, move |query| {
        let reply = throw(edge().1.switch(), &query);
        Box::pin(async move { reply })
    });
    routes.look("/explain", move |query| {
        let (config, edge) = current();
        explain(&config, &edge, query)
    });
}

fn summary(edge: &Edge) -> Value {
    json!({
        "maintenance": if edge.is_closed() { "on" } else { "off" },
        "routes": edge.table.routes().len(),
        "rate_limits": edge.rate_names().collect::<Vec<_>>(),
    })
}

fn throw(switch: &Switch, query: &Query) -> Reply {
    match query.get("state") {
        Some("on") => switch.set(true),
        Some("off") => switch.set(false),
        Some("auto") => switch.clear(),
        _ => return Reply::new(400, "say state=on, state=off or state=auto\n"),
    }
    let state = query.get("state").unwrap_or_default();
    tracing::info!(state, "maintenance switched");
    Reply::new(200, format!("maintenance is {state}\n"))
}

fn explain(config: &Config, edge: &Edge, query: &Query) -> Reply {
    let (path, method) = (query.get("path").unwrap_or("/"), query.get("method").unwrap_or("GET"));
    let host = query.get("host").unwrap_or("localhost");
    let text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let head = match RequestHead::parse(text.as_bytes(), &HeadLimits::default()) {
        Ok(Some((head, _))) => head,
        Ok(None) => return Reply::new(400, "that is no request\n"),
        Err(malformed) => return Reply::new(200, format!("refused: {malformed}\n")),
    };
    let normal = match normalise(head.path()) {
        Ok(normal) => normal,
        Err(bad) => return Reply::new(200, format!("refused: {bad}\n")),
    };
    let told = match edge.table.find(head.host_name(), &normal, head.method(), head.method_text()) {
        Found::Nothing => json!({ "route": "none: 404" }),
        Found::WrongMethod => json!({ "route": "not with this method: 405" }),
        Found::Route(route) => {
            let class = edge.class(route, &head, &normal);
            let class = config.class_names().get(class.index()).copied().unwrap_or_default().to_owned();
            json!({
                "path": String::from_utf8_lossy(&normal),
                "target": target(config, route),
                "prefix": String::from_utf8_lossy(&route.prefix),
                "class": class,
                "asks_for_a_password": route.auth.is_some(),
                "rate_limits": route.rates.len(),
            })
        }
    };
    Reply::new(200, format!("{told:#}\n"))
}

fn target(config: &Config, route: &Route) -> String {
    match &route.target {
        Target::Cluster(index) => format!("cluster {}", config.clusters[*index].name),
        Target::Files { mount, .. } => format!("files {}", config.files[mount.0].name()),
        Target::Redirect { status, .. } => format!("redirect, {status}"),
        Target::Respond { status, .. } => format!("answer, {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::tests::{config, edge};

    #[track_caller]
    fn check(settings: &[(&'static str, &str)], query: &str, parts: &[&str]) {
        let reply = explain(&config(settings), &edge(settings), &Query::parse(query));
        for part in parts {
            assert!(reply.text.contains(part), "no {part:?} in {}", reply.text);
        }
    }

    #[test]
    fn the_way_of_a_request_is_explained() {
        let pretix = [("profile", "pretix")];
        check(&pretix, "path=/demo/checkout/payment/&method=POST", &["cluster default", "\"payment\""]);
        check(&pretix, "path=/a/%2e%2e/b", &["\"/b\""]);
        check(&pretix, "path=/%252f", &["refused"]);
        check(&pretix, "path=/&host=a b", &["refused"]);
        let routes = [("routes", r#"[{ path = "/a", methods = ["GET"], respond = { status = 410 } }]"#)];
        check(&routes, "path=/b", &["404"]);
        check(&routes, "path=/a&method=POST", &["405"]);
        check(&routes, "path=/a", &["answer, 410"]);
    }

    #[test]
    fn the_shop_is_closed_and_opened() {
        let edge = edge(&[]);
        let throw = |state: &str| throw(edge.switch(), &Query::parse(state)).status;
        assert_eq!((throw("state=on"), edge.is_closed()), (200, true));
        assert_eq!((throw("state=auto"), edge.is_closed()), (200, false));
        assert_eq!((throw("state=maybe"), edge.is_closed()), (400, false));
    }
}
