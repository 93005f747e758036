//! The load on Redis: mixed commands on many connections, in RESP2 and RESP3, each answer checked. Kind: driver.
//!
//! Of ten clients eight are [`mixed`]: writes with unique ids, reads of what was written, counters, a queue, pipelines,
//! transactions, scripts. One waits for its [`mail`] on one connection and posts it on another; one reads on one
//! connection the [`news`] that it publishes on another.

mod client;
mod ledger;
mod mail;
mod mixed;
mod news;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::tally::ClientLog;
use super::{Shared, Workload};
use crate::error::Result;
use crate::redis::{Account, Node};
use client::Client;

/// What to do.
#[derive(Clone, Debug)]
pub struct RedisLoad {
    /// Where to.
    pub addr: SocketAddr,
    /// As whom.
    pub who: Account,
    /// How many clients; the drills have 50.
    pub clients: usize,
    /// How long each client thinks between two turns: the machine should be busy, not drowned.
    pub think: Duration,
    /// After so many turns a mixed client leaves and logs in again, as web workers do; none: never.
    pub session_length: Option<u64>,
    /// The ids of this load start here; two loads on one data set need starts far apart.
    pub first_id: i64,
}

impl RedisLoad {
    /// 50 clients that think 10 ms.
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            who: Account::APP,
            clients: 50,
            think: Duration::from_millis(10),
            session_length: None,
            first_id: 0,
        }
    }
}

impl Workload for RedisLoad {
    fn clients(&self) -> usize {
        self.clients
    }

    fn first_id(&self) -> i64 {
        self.first_id
    }

    async fn client(self: Arc<Self>, number: usize, shared: Arc<Shared>) -> ClientLog {
        let client = Client::new(number, self, shared);
        match number % 10 {
            8 => mail::run(client).await,
            9 => news::run(client).await,
            _ => mixed::run(client).await,
        }
    }
}

/// Before the id in the keys of [`ids_on`].
const KEY: &str = "w:";

/// The ids that a server holds.
pub fn ids_on(node: &Node) -> Result<HashSet<i64>> {
    let keys = node.keys(&format!("{KEY}*"))?;
    Ok(keys.iter().filter_map(|key| key.strip_prefix(KEY)?.parse().ok()).collect())
}
