//! A load client on a real client library: many connections that write unique ids, read known rows, and remember what
//! they were told. It runs on a thread of its own, so that it measures the servers and not the drill that hurts them.
//! Kind: driver.

mod client;
pub mod tally;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::error::{Context, Result};
use crate::pg::Node;
use tally::{ClientLog, Tally};

/// How long a client that is told to stop may still wait for its last answer.
const PATIENCE_AT_THE_END: Duration = Duration::from_secs(5);

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

/// A load that is running.
pub struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Vec<ClientLog>>>,
}

/// What the clients and the one who watches them share.
pub(crate) struct Shared {
    options: LoadOptions,
    base: Instant,
    stop: AtomicBool,
    next_id: AtomicU64,
    served: AtomicU64,
    acked_writes: AtomicU64,
    last_ack_us: AtomicU64,
    troubles: AtomicU64,
}

impl Load {
    /// Starts the clients and returns when each of them has had a write acknowledged.
    pub fn start(options: LoadOptions) -> Result<Self> {
        let load = Self::start_unanswered(options)?;
        let wanted = load.shared.options.clients as u64;
        load.wait(Duration::from_secs(30), "every client has had a write acknowledged", |s| {
            s.served.load(Relaxed) >= wanted
        })?;
        Ok(load)
    }

    /// Starts the clients and returns at once: for a load that is expected to get no answer.
    pub fn start_unanswered(options: LoadOptions) -> Result<Self> {
        let shared = Arc::new(Shared::new(options));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("load".into())
            .spawn(move || runtime.block_on(all_clients(of_thread)))
            .context("can't start the load's thread")?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// How many writes were acknowledged so far.
    pub fn acked_writes(&self) -> u64 {
        self.shared.acked_writes.load(Relaxed)
    }

    /// How many statements failed, were cut off or answered as unknown, and how many connections were lost, so far.
    pub fn troubles(&self) -> u64 {
        self.shared.troubles.load(Relaxed)
    }

    /// Waits until a write was acknowledged after `moment`; whether there was one in time.
    pub fn acked_after(&self, moment: Instant, timeout: Duration) -> bool {
        let after = self.shared.micros(moment);
        self.wait(timeout, "a write is acknowledged", |s| s.last_ack_us.load(Relaxed) > after).is_ok()
    }

    /// Tells the clients to stop, waits for their last answers, and gives what they remember.
    pub fn stop(mut self) -> Result<Tally> {
        self.shared.stop.store(true, Relaxed);
        let thread = self.thread.take().expect("only stop and drop take the thread, and both end the load");
        let clients = thread.join().map_err(|_| crate::Error::new("the load client panicked"))?;
        Ok(Tally { clients })
    }

    fn wait(&self, timeout: Duration, what: &str, done: impl Fn(&Shared) -> bool) -> Result<()> {
        let end = Instant::now() + timeout;
        while !done(&self.shared) {
            if Instant::now() > end {
                return Err(crate::Error::new(format!("waited {timeout:?} in vain until {what}")));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn new(options: LoadOptions) -> Self {
        let next_id = AtomicU64::new(options.first_id.unsigned_abs());
        let zero = || AtomicU64::new(0);
        Self {
            options,
            base: Instant::now(),
            stop: AtomicBool::new(false),
            next_id,
            served: zero(),
            acked_writes: zero(),
            last_ack_us: zero(),
            troubles: zero(),
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    fn micros(&self, moment: Instant) -> u64 {
        moment.saturating_duration_since(self.base).as_micros() as u64
    }

    /// Returns a while after the load was told to stop.
    async fn out_of_patience(&self) {
        while !self.stopped() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(PATIENCE_AT_THE_END).await;
    }
}

async fn all_clients(shared: Arc<Shared>) -> Vec<ClientLog> {
    let clients: JoinSet<ClientLog> =
        (0..shared.options.clients).map(|number| client::run(number, Arc::clone(&shared))).collect();
    clients.join_all().await
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
pub fn ids_on(node: &Node) -> Result<std::collections::HashSet<i64>> {
    let rows = node.sql("bench", "select id from drill_writes")?;
    rows.split_whitespace()
        .map(|id| id.parse().map_err(|_| crate::Error::new(format!("not an id: {id}"))))
        .collect()
}
