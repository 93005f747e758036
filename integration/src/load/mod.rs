//! Load clients that remember what they were told: many connections that write unique ids, read what they know, and
//! check each answer. They run on a thread of their own, so that they measure the servers and not the drill that hurts
//! them. Kind: driver.

mod pg;
pub mod redis;
pub mod tally;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::error::{Context, Result};
pub use pg::{LoadOptions, create_tables, ids_on};
use tally::{ClientLog, Outcome, Tally};

/// How long a client that is told to stop may still wait for its last answer.
const PATIENCE_AT_THE_END: Duration = Duration::from_secs(5);

/// What the clients do.
pub trait Workload: Send + Sync + 'static {
    /// How many there are.
    fn clients(&self) -> usize;
    /// The ids of this load start here; two loads on one data set need starts far apart.
    fn first_id(&self) -> i64;
    /// The life of one, until the load is told to stop.
    fn client(self: Arc<Self>, number: usize, shared: Arc<Shared>) -> impl Future<Output = ClientLog> + Send;
}

/// A load that is running.
pub struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Vec<ClientLog>>>,
}

/// What the clients and the one who watches them share.
pub struct Shared {
    clients: usize,
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
    pub fn start(workload: impl Workload) -> Result<Self> {
        let load = Self::start_unanswered(workload)?;
        let wanted = load.shared.clients as u64;
        load.wait(Duration::from_secs(30), "every client has had a write acknowledged", |s| {
            s.served.load(Relaxed) >= wanted
        })?;
        Ok(load)
    }

    /// Starts the clients and returns at once: for a load that is expected to get no answer.
    pub fn start_unanswered(workload: impl Workload) -> Result<Self> {
        let shared = Arc::new(Shared::new(workload.clients(), workload.first_id()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("load".into())
            .spawn(move || runtime.block_on(all_clients(workload, of_thread)))
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
    fn new(clients: usize, first_id: i64) -> Self {
        let next_id = AtomicU64::new(first_id.unsigned_abs());
        let zero = || AtomicU64::new(0);
        Self {
            clients,
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

    /// An id that no other write of this load has.
    fn new_id(&self) -> i64 {
        self.next_id.fetch_add(1, Relaxed).cast_signed()
    }

    /// Notes how a write ended; `served` is whether this client had one acknowledged before.
    fn note_write(&self, outcome: &Outcome, ended: Instant, served: &mut bool) {
        if !matches!(outcome, Outcome::Acked(_)) {
            self.note_trouble();
            return;
        }
        if !std::mem::replace(served, true) {
            self.served.fetch_add(1, Relaxed);
        }
        self.acked_writes.fetch_add(1, Relaxed);
        self.last_ack_us.fetch_max(self.micros(ended), Relaxed);
    }

    fn note_trouble(&self) {
        self.troubles.fetch_add(1, Relaxed);
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

async fn all_clients<W: Workload>(workload: W, shared: Arc<Shared>) -> Vec<ClientLog> {
    let workload = Arc::new(workload);
    let clients: JoinSet<ClientLog> =
        (0..shared.clients).map(|number| Arc::clone(&workload).client(number, Arc::clone(&shared))).collect();
    clients.join_all().await
}
