//! The load on PostgreSQL: unique ids are inserted, known rows are read, in both protocols. Kind: driver.

mod client;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::tally::ClientLog;
use super::{Shared, Workload};
use crate::error::Result;
use crate::pg::Node;

/// What to do.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Where to, as a connection string.
    pub conninfo: String,
    /// How many connections.
    pub clients: usize,
    /// How long each client thinks between two statements: the machine should be busy, not drowned.
    pub think: Duration,
    /// After so many statements a client leaves politely and logs in again, as web workers do; none: never.
    pub session_length: Option<u64>,
    /// The ids of this load start here; two loads on one table need starts far apart.
    pub first_id: i64,
}

impl LoadOptions {
    /// 32 clients that think 5 ms.
    pub fn new(conninfo: impl Into<String>) -> Self {
        Self {
            conninfo: conninfo.into(),
            clients: 32,
            think: Duration::from_millis(5),
            session_length: None,
            first_id: 0,
        }
    }
}

impl Workload for LoadOptions {
    fn clients(&self) -> usize {
        self.clients
    }

    fn first_id(&self) -> i64 {
        self.first_id
    }

    async fn client(self: Arc<Self>, number: usize, shared: Arc<Shared>) -> ClientLog {
        client::run(number, self, shared).await
    }
}

/// Makes the load's tables on the primary. Every row says by itself which server wrote it, on which timeline.
pub fn create_tables(primary: &Node) -> Result<()> {
    primary
        .sql(
            "bench",
            "drop table if exists drill_writes, drill_known;
             create table drill_writes (id bigint primary key, client int not null,
               node text not null default current_setting('cluster_name'),
               timeline text not null default substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8));
             create table drill_known as select k, k * 7 as v from generate_series(0, 99) k;
             alter table drill_known add primary key (k);
             grant all on drill_writes, drill_known to bench",
        )
        .map(drop)
}

/// The ids that a node holds.
pub fn ids_on(node: &Node) -> Result<HashSet<i64>> {
    let rows = node.sql("bench", "select id from drill_writes")?;
    rows.split_whitespace()
        .map(|id| id.parse().map_err(|_| crate::Error::new(format!("not an id: {id}"))))
        .collect()
}
