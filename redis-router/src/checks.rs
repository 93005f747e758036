//! What redis-router adds to the admin endpoint. Kind: wiring.
//!
//! | path | answer |
//! |---|---|
//! | `GET /primary` | 200 while there is a master to send writes to, else 503 with the reason |
//! | `GET /primary?node=HOST:PORT` | 200 if that node is the master by the highest epoch, which is more than its own `ROLE` says |
//! | `GET /replica` | 200 while some replica may be read from, else 503 |
//! | `GET /replica?node=HOST:PORT` | 200 if that node may be read from |
//! | `POST /switchover` | switches over to a replica: 200 with a report, else the reason |
//!
//! All take `?master=NAME`, and mean the first master without it.

use std::sync::Arc;

use proxy_core::admin::{Query, Reply, Routes};
use serde_json::json;

use crate::switchover::{self, switch_over};
use crate::topology::Handle;
use crate::topology::verdict::Standing;

/// Adds the paths for these masters, the first of which is meant where none is named.
pub fn offer(routes: &Routes, masters: Vec<Handle>) {
    let masters = Arc::new(masters);
    let known = Arc::clone(&masters);
    routes.look("/primary", move |query| with(&known, query, primary));
    let known = Arc::clone(&masters);
    routes.look("/replica", move |query| with(&known, query, replica));
    routes.act("/switchover", switchover::LIMIT, move |query| {
        let chosen = find(&masters, &query).cloned();
        Box::pin(async move {
            match chosen {
                Some(handle) => switch(&handle).await,
                None => unknown(&query),
            }
        })
    });
}

fn find<'a>(masters: &'a [Handle], query: &Query) -> Option<&'a Handle> {
    match query.get("master") {
        Some(name) => masters.iter().find(|handle| handle.master() == name),
        None => masters.first(),
    }
}

fn with(masters: &[Handle], query: &Query, check: impl Fn(&Handle, Option<&str>) -> Reply) -> Reply {
    find(masters, query).map_or_else(|| unknown(query), |handle| check(handle, query.get("node")))
}

fn unknown(query: &Query) -> Reply {
    Reply::new(404, format!("no master is called {:?} here\n", query.get("master").unwrap_or_default()))
}

fn primary(handle: &Handle, node: Option<&str>) -> Reply {
    if let Some(node) = node {
        return stands(handle, node, Standing::Master);
    }
    match handle.cast() {
        Ok(cast) => Reply::new(200, format!("{} is the master\n", cast.master)),
        Err(reason) => Reply::new(503, format!("no master: {reason}\n")),
    }
}

fn replica(handle: &Handle, node: Option<&str>) -> Reply {
    if let Some(node) = node {
        return stands(handle, node, Standing::Replica);
    }
    match handle.replicas() {
        0 => Reply::new(503, "no replica may be read from\n"),
        count => Reply::new(200, format!("{count} may be read from\n")),
    }
}

fn stands(handle: &Handle, node: &str, wanted: Standing) -> Reply {
    match handle.standing(node) {
        Some(standing) if standing == wanted => Reply::new(200, format!("{}\n", standing.as_str())),
        Some(standing) => {
            let why = standing.why().map(|why| format!(": {why}")).unwrap_or_default();
            Reply::new(503, format!("{}{why}\n", standing.as_str()))
        }
        None => Reply::new(404, format!("no node {node:?} is known\n")),
    }
}

async fn switch(handle: &Handle) -> Reply {
    match switch_over(handle).await {
        Ok(report) => Reply::new(200, format!("{}\n", json!(report))),
        Err(failure) => Reply::new(failure.status(), format!("{failure}\n")),
    }
}
