//! The service: what is bound, what is started, what a new configuration changes. Kind: wiring.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use proxy_core::app::{Context, Service};
use proxy_core::config::Override;
use proxy_core::error::{Context as _, Error, Result, Side};
use proxy_core::listener::{Accepted, Listener, ListenerConfig};
use proxy_core::metrics::SessionMetrics;
use proxy_core::proxy_protocol::Policy;
use proxy_core::reload::warn_of_fixed;
use proxy_core::tasks;
use proxy_core::tls::{ClientTls, ServerTls};
use proxy_core::upstream::{Cluster, Hold, HoldLimits, HoldMetrics, Publisher, State, Topology};
use proxy_core::worker::{Floor, Surroundings, Workers};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::accept::{self, Desk, Gate};
use crate::auth::Users;
use crate::cancel::{self, CancelKey};
use crate::config::Config;
use crate::connect::Dial;
use crate::metrics::{self, Metrics};
use crate::pools::{Pools, Shared};
use crate::roster::{Roster, credential};
use crate::server::random;
use crate::topology::verdict::Limits;
use crate::topology::{self, Account, Greeted, Pace, Watcher};
use crate::wire::error::{Report, put_error};

/// Cancel requests on their way to the worker they concern.
const CANCEL_QUEUE: usize = 256;

/// Held clients that go at once when there is a primary again: as many as find a connection in an ordinary pool.
const RELEASE_AT_ONCE: u32 = 8;

/// The flags of pg-router.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where the last epoch is kept [state_dir]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Forget the last epoch: after a cluster was initialised anew, or restored from a backup
    #[arg(long)]
    forget_epoch: bool,
}

/// The running router.
pub struct PgRouter {
    shared: Arc<Shared>,
    gates: Vec<(Listener, Arc<Gate>)>,
    watcher: Option<Watcher>,
    topology: watch::Receiver<Arc<Topology>>,
    metrics: Metrics,
    client_tls: Option<Arc<ServerTls>>,
    workers: Option<Arc<Workers<Job>>>,
    tasks: Vec<JoinHandle<()>>,
    mock: [u8; 32],
}

/// What a worker is asked to do.
enum Job {
    Serve(Arc<Gate>, Accepted),
    Cancel { pid: i32, secret: Vec<u8> },
}

impl Service for PgRouter {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const ABOUT: &'static str = "PostgreSQL router and pooler: one address in front of a repmgr cluster, always the \
                                 primary behind it; clients keep their connections through a failover.";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type Config = Config;
    type Args = Args;

    fn overrides(args: &Args) -> Vec<Override> {
        let state_dir = args.state_dir.as_ref();
        state_dir
            .map(|dir| Override::new("--state-dir", "state_dir", dir.to_string_lossy()))
            .into_iter()
            .collect()
    }

    async fn build(config: Arc<Config>, args: &Args, context: &Context) -> Result<Self> {
        let mock = random().map_err(|error| Error::io(Side::Internal, error))?;
        let roster = Arc::new(ArcSwap::from_pointee(load_roster(&config, mock)?));
        let client_tls = config.client_tls.as_ref().map(|tls| ServerTls::new(tls.config(&[b"postgresql"])?));
        let client_tls = client_tls.transpose()?.map(Arc::new);
        let server_tls = config.server_tls.as_ref().map(|tls| ClientTls::new(tls.config(&[b"postgresql"])?));
        let dial = Arc::new(Dial {
            options: config.sockets,
            timeout: config.pool.connect_timeout,
            tls: server_tls.transpose()?.map(Arc::new),
            roster,
            watcher: OnceLock::new(),
        });
        let state = State::open_as_told(&config.state_dir, args.forget_epoch, &context.registry)?;
        let replicas = Arc::new(Cluster::new("replicas", []));
        let publisher = Publisher::new(state, replicas.clone(), &context.registry, Instant::now());
        let topology = publisher.subscribe();
        let greeted = Greeted::default();
        let watched = watched(&config, dial.clone(), greeted.clone());
        let watcher = Watcher::new(watched, Arc::new(publisher), replicas, &context.registry);
        let hold = Arc::new(Hold::new(hold_limits(&config), HoldMetrics::new(&context.registry)));
        let gates = bind(&config, client_tls.as_ref(), context)?;
        Ok(Self {
            shared: Arc::new(Shared::new(config, dial, hold, greeted)),
            gates,
            watcher: Some(watcher),
            topology,
            metrics: Metrics::new(&context.registry),
            client_tls,
            workers: None,
            tasks: Vec::new(),
            mock,
        })
    }

    async fn start(&mut self, context: &Context) -> Result<()> {
        let around = Surroundings { drain: context.drain.clone(), topology: self.topology.clone() };
        let (cancels, requests) = mpsc::channel(CANCEL_QUEUE);
        let workers = Arc::new(self.start_workers(&around, cancels)?);
        self.tasks.push(tasks::spawn("cancel requests", pass_cancels_on(requests, workers.clone())));
        for (listener, gate) in self.gates.drain(..) {
            tracing::info!(address = %listener.local_addr(), role = ?gate.listener.role, "listens");
            let serve = move |accepted| Job::Serve(gate.clone(), accepted);
            let acceptor = workers.clone().receive(listener, context.drain.watch(), serve);
            tasks::spawn_essential("acceptor", acceptor, &context.drain);
        }
        self.workers = Some(workers);
        let watcher = self.watcher.take().expect("a service is started once");
        self.tell_status(&watcher, context);
        let reached = context.readiness.latch("a server");
        let mut greeted = self.shared.greeted.subscribe();
        self.tasks.push(tasks::spawn("readiness", async move {
            let _ = greeted.wait_for(|told| !told.is_empty()).await; // the sender lives as long as we do
            drop(reached);
        }));
        tasks::spawn_essential("watcher", watcher.run(context.drain.watch()), &context.drain);
        Ok(())
    }

    async fn reload(&mut self, config: Arc<Config>) -> Result<()> {
        let roster = load_roster(&config, self.mock)?;
        if let Some(tls) = &self.shared.dial.tls {
            tls.reload()?;
        }
        if let Some(tls) = &self.client_tls {
            tls.reload()?;
        }
        self.shared.dial.roster.store(Arc::new(roster));
        self.shared.hold.reconfigure(hold_limits(&config));
        self.shared.resize(config.pool.size);
        let old = self.shared.config.swap(config.clone());
        warn_of_fixed(&*old, &*config, FIXED);
        Ok(())
    }

    async fn stop(mut self) {
        tasks::end(self.tasks.drain(..)).await;
        if let Some(workers) = self.workers.take().and_then(Arc::into_inner) {
            workers.join();
        }
    }
}

impl PgRouter {
    fn tell_status(&self, watcher: &Watcher, context: &Context) {
        let handle = watcher.handle();
        // The watcher itself dials, so that it can't be known when the dial is made.
        let _ = self.shared.dial.watcher.set(handle.clone());
        context.status.section("topology", move || handle.status());
        let shared = self.shared.clone();
        context.status.section("hold", move || serde_json::json!(shared.hold.snapshot()));
    }

    fn start_workers(
        &self,
        around: &Surroundings,
        cancels: mpsc::Sender<(i32, Vec<u8>)>,
    ) -> Result<Workers<Job>> {
        let (shared, metrics) = (self.shared.clone(), self.metrics.clone());
        let count = shared.config.load().workers;
        let open = move |floor: Rc<Floor>| {
            let desk = desk(floor, shared.clone(), cancels.clone());
            tasks::spawn_session(metrics::export(desk.clone(), metrics.clone()));
            move |job| handle(&desk, job)
        };
        Workers::start(count, around, open)
            .map_err(|error| Error::io(Side::Internal, error))
            .context("starting workers")
    }
}

fn desk(floor: Rc<Floor>, shared: Arc<Shared>, cancels: mpsc::Sender<(i32, Vec<u8>)>) -> Rc<Desk> {
    Rc::new(Desk {
        pools: Pools::new(shared.clone(), floor.clone()),
        floor,
        shared,
        directory: Rc::default(),
        tally: Rc::default(),
        forward_cancel: Rc::new(move |pid, secret| {
            // A full queue means a flood of cancel requests: PostgreSQL promises nothing about them either.
            let _ = cancels.try_send((pid, secret));
        }),
        next_id: std::cell::Cell::new(0),
    })
}

fn handle(desk: &Rc<Desk>, job: Job) {
    match job {
        Job::Serve(gate, accepted) => drop(tasks::spawn_session(accept::serve(desk.clone(), gate, accepted))),
        Job::Cancel { pid, secret } => {
            if let Some(target) = desk.directory.find(pid, &secret) {
                let delivery = cancel::deliver(desk.shared.dial.clone(), target);
                tasks::spawn_session(async move {
                    if let Err(error) = delivery.await {
                        tracing::debug!(%error, "a cancel request could not be delivered");
                    }
                });
            }
        }
    }
}

async fn pass_cancels_on(mut requests: mpsc::Receiver<(i32, Vec<u8>)>, workers: Arc<Workers<Job>>) {
    while let Some((pid, secret)) = requests.recv().await {
        let _ = workers.tell(CancelKey::worker(pid), Job::Cancel { pid, secret });
    }
}

/// Binds every listener.
fn bind(
    config: &Config,
    tls: Option<&Arc<ServerTls>>,
    context: &Context,
) -> Result<Vec<(Listener, Arc<Gate>)>> {
    let mut refusal = Vec::new();
    put_error(&mut refusal, &Report::fatal("53300", "sorry, too many clients already"));
    let refusal = Bytes::from(refusal);
    let bind = |listener: &crate::config::Listener| {
        let name = listener.listen.to_string();
        let bound = Listener::bind(
            &ListenerConfig {
                max_connections: listener.max_connections,
                max_per_address: listener.max_per_address,
                options: config.sockets,
                refusal: refusal.clone(),
                ..ListenerConfig::new(name.clone(), listener.listen.clone())
            },
            &context.registry,
        )?;
        let gate = Gate {
            listener: listener.clone(),
            tls: tls.cloned(),
            tls_required: config.client_tls_required,
            proxies: Policy { trusted: listener.proxy_protocol_from.clone(), required: false },
            metrics: SessionMetrics::new(&context.registry, &name),
        };
        Ok((bound, Arc::new(gate)))
    };
    config.listeners.iter().map(bind).collect()
}

/// What the watcher is to know.
fn watched(config: &Config, dial: Arc<Dial>, greeted: Greeted) -> topology::Settings {
    let cluster = &config.cluster;
    let pace = Pace {
        patience: cluster.probe_timeout,
        ..Pace::new(cluster.probe_interval, cluster.suspect_interval)
    };
    topology::Settings {
        nodes: cluster.nodes.clone(),
        account: Account {
            user: cluster.monitor_user.clone(),
            database: cluster.monitor_database.clone(),
            credential: cluster.monitor_password.as_ref().map(|password| credential(password.expose())),
        },
        dial: Arc::new(move |addr| {
            let dial = dial.clone();
            Box::pin(async move { dial.open(&addr).await })
        }),
        pace,
        limits: Limits {
            expiry: cluster.probe_interval * 3,
            contest: cluster.contest_timeout,
            lone: cluster.lone_timeout,
            max_lag: cluster.max_lag,
        },
        greeted,
    }
}

fn load_roster(config: &Config, mock: [u8; 32]) -> Result<Roster> {
    let text = match &config.users.file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| Error::config(format!("users.file = {}: {error}", path.display())))?,
        None => String::new(),
    };
    let salt = || random().expect("the operating system has random bytes once it has started a process");
    let users = Users::parse(&text, salt).map_err(|error| {
        let path = config.users.file.clone().unwrap_or_default();
        Error::config(format!("users.file = {}: {error}", path.display()))
    })?;
    let roster = Roster::new(users, &config.server_users, mock);
    if roster.is_empty() {
        tracing::warn!("no users are known: nobody can log in; name a users.file");
    }
    for name in roster.shut_out() {
        tracing::warn!(name, "has an MD5 hash only: good for servers, but clients can't log in with it");
    }
    Ok(roster)
}

fn hold_limits(config: &Config) -> HoldLimits {
    HoldLimits {
        timeout: config.hold.timeout,
        max_clients: config.hold.max_clients,
        max_bytes: config.hold.max_bytes.as_usize(),
        release_at_once: RELEASE_AT_ONCE,
        release_spread: config.hold.release_spread,
    }
}

/// Keys that a reload can't change.
const FIXED: &[&str] = &[
    "/workers",
    "/state_dir",
    "/listeners",
    "/cluster",
    "/client_tls",
    "/client_tls_required",
    "/server_tls",
    "/sockets",
    "/pool/connect_timeout",
];
