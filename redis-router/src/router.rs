//! The service: what is bound, what is started, what a new configuration changes. Kind: wiring.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use proxy_core::app::{Context, Service};
use proxy_core::config::Override;
use proxy_core::drain::Watch;
use proxy_core::error::{Context as _, Error, Result, Side};
use proxy_core::listener::{Accepted, Listener, ListenerConfig};
use proxy_core::metrics::SessionMetrics;
use proxy_core::proxy_protocol::Policy;
use proxy_core::tasks;
use proxy_core::tls::{ClientTls, ClientTlsSettings, ServerTls};
use proxy_core::upstream::permits::Permits;
use proxy_core::upstream::{Cluster, Hold, HoldLimits, HoldMetrics, Publisher, State};
use proxy_core::worker::{Floor, Surroundings, Workers};
use tokio::task::JoinHandle;

use crate::accept::{self, Desk, Gate};
use crate::checks;
use crate::config::{Config, Master};
use crate::metrics::{self, Metrics, Tally};
use crate::observe;
use crate::server::Dial;
use crate::session::registry::Registry;
use crate::site::{Common, Site};
use crate::topology::{self, Access, Account, Fence, Handle, Pace, Watcher};

/// Commands that leave the hold at once; the rest follows within the spread. Shared connections don't need it: what
/// waits on them leaves in one write.
const RELEASE_AT_ONCE: u32 = 64;
const RELEASE_SPREAD: Duration = Duration::from_millis(20);

/// How long connecting to a server and logging in may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What a client hears that is one too many; Redis' own words.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

/// The flags of redis-router.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// A Sentinel; more by repeating the flag [masters.sentinels]
    #[arg(long, value_name = "HOST:PORT")]
    sentinel: Vec<String>,
    /// The name by which the Sentinels know the master [masters.name]
    #[arg(long, value_name = "NAME", requires = "sentinel")]
    master: Option<String>,
    /// As whom to look at Redis; the default user if absent [masters.user]
    #[arg(long, value_name = "USER", requires = "sentinel")]
    user: Option<String>,
    /// A file with the password for that [masters.password_file]
    #[arg(long, value_name = "FILE", requires = "sentinel")]
    password_file: Option<PathBuf>,
    /// Where clients connect [listeners.listen]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Where the last epoch is kept [state_dir]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Forget the last epoch: after the Sentinels were set up anew
    #[arg(long)]
    forget_epoch: bool,
}

impl Args {
    /// The master that the flags describe, as TOML.
    fn master_table(&self) -> String {
        let sentinels: Vec<_> = self.sentinel.iter().map(|sentinel| quoted(sentinel)).collect();
        let name = quoted(self.master.as_deref().unwrap_or("mymaster"));
        let mut table = format!("{{ name = {name}, sentinels = [{}]", sentinels.join(", "));
        if let Some(user) = &self.user {
            table.push_str(&format!(", user = {}", quoted(user)));
        }
        if let Some(file) = &self.password_file {
            table.push_str(&format!(", password_file = {}", quoted(&file.to_string_lossy())));
        }
        table + " }"
    }
}

/// A TOML string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string() // TOML's basic strings are JSON's
}

/// One master, as the process sees it.
struct Realm {
    common: Arc<Common>,
    access: Arc<Access>,
    sentinel_access: Arc<Access>,
    handle: Handle,
    watcher: Option<Watcher>,
}

/// The running router.
pub struct RedisRouter {
    config: ArcSwap<Config>,
    realms: Vec<Realm>,
    listeners: Vec<(Listener, Arc<Gate>)>,
    gates: Vec<Arc<Gate>>,
    hold: Arc<Hold>,
    guests: Arc<Registry>,
    metrics: Metrics,
    client_tls: Option<Arc<ServerTls>>,
    workers: Option<Arc<Workers<Job>>>,
    tasks: Vec<JoinHandle<()>>,
}

/// An accepted client for a worker.
struct Job(Arc<Gate>, Accepted);

impl Service for RedisRouter {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const ABOUT: &'static str = "Redis router: one address in front of what Sentinel watches, always the master behind \
                                 it; clients share connections, and keep theirs through a failover.";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type Config = Config;
    type Args = Args;

    fn overrides(args: &Args) -> Vec<Override> {
        let mut overrides = Vec::new();
        if !args.sentinel.is_empty() {
            overrides.push(Override::new("--sentinel", "masters", format!("[{}]", args.master_table())));
        }
        if let Some(listen) = &args.listen {
            overrides.push(Override::new(
                "--listen",
                "listeners",
                format!("[{{ listen = {} }}]", quoted(listen)),
            ));
        }
        if let Some(dir) = &args.state_dir {
            overrides.push(Override::new("--state-dir", "state_dir", dir.to_string_lossy()));
        }
        overrides
    }

    async fn build(config: Arc<Config>, args: &Args, context: &Context) -> Result<Self> {
        let hold = Arc::new(Hold::new(hold_limits(&config), HoldMetrics::new(&context.registry)));
        let open = |master: &Master| realm(master, &config, args.forget_epoch, &hold, context);
        let realms = config.masters.iter().map(open).collect::<Result<Vec<_>>>()?;
        let client_tls = config.client_tls.clone().map(|tls| ServerTls::new(tls.config(&[])?));
        let client_tls = client_tls.transpose()?.map(Arc::new);
        let listeners = bind(&config, client_tls.as_ref(), context)?;
        let gates = listeners.iter().map(|(_, gate)| gate.clone()).collect();
        Ok(Self {
            config: ArcSwap::new(config),
            realms,
            listeners,
            gates,
            hold,
            guests: Registry::new(),
            metrics: Metrics::new(&context.registry),
            client_tls,
            workers: None,
            tasks: Vec::new(),
        })
    }

    async fn start(&mut self, context: &Context) -> Result<()> {
        let workers = Arc::new(self.start_workers(context)?);
        for (listener, gate) in self.listeners.drain(..) {
            let (role, mode) = (gate.listener.role, gate.listener.mode);
            tracing::info!(address = %listener.local_addr(), ?role, ?mode, "listens");
            let acceptor = accept_all(listener, gate, workers.clone(), context.drain.watch());
            tasks::spawn_essential("acceptor", acceptor, &context.drain);
        }
        self.workers = Some(workers);
        let hold = self.hold.clone();
        context.status.section("hold", move || serde_json::json!(hold.snapshot()));
        let metrics = self.metrics.clone();
        context.status.section("commands", move || serde_json::json!(metrics.noticed()));
        for realm in &mut self.realms {
            let latch = context.readiness.latch("a master");
            let mut topology = realm.common.topology.clone();
            self.tasks.push(tasks::spawn("readiness", async move {
                let _ = topology.wait_for(|seen| seen.primary.is_some()).await; // the sender lives as long as we do
                drop(latch);
            }));
            let watcher = realm.watcher.take().expect("a service is started once");
            tasks::spawn_essential("watcher", watcher.run(context.drain.watch()), &context.drain);
        }
        let told: Vec<_> =
            self.realms.iter().map(|realm| (realm.common.master.clone(), realm.handle.clone())).collect();
        checks::offer(&context.routes, self.realms.iter().map(|realm| realm.handle.clone()).collect());
        context.status.section("topology", move || {
            told.iter().map(|(name, handle)| (name.clone(), handle.status())).collect()
        });
        Ok(())
    }

    async fn reload(&mut self, config: Arc<Config>) -> Result<()> {
        for realm in &self.realms {
            for tls in [&realm.access.tls, &realm.sentinel_access.tls].into_iter().flatten() {
                tls.reload()?;
            }
            if let Some(master) = config.masters.iter().find(|master| master.name == realm.common.master) {
                realm.access.set_account(redis_account(master));
                realm.sentinel_access.set_account(sentinel_account(master));
            }
            realm.common.permits.resize(config.pool.size);
        }
        if let Some(tls) = &self.client_tls {
            tls.reload()?;
        }
        self.hold.reconfigure(hold_limits(&config));
        self.renew_terms(&config);
        let old = self.config.swap(config.clone());
        for key in needs_restart(&old, &config) {
            tracing::warn!(key, "takes effect at the next start");
        }
        Ok(())
    }

    async fn stop(mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            let _ = task.await; // aborted, as was meant
        }
        if let Some(workers) = self.workers.take().and_then(Arc::into_inner) {
            workers.join();
        }
    }
}

impl RedisRouter {
    /// Clients that come from now on find the new users, limits and refusals. Listeners are told apart by their address.
    fn renew_terms(&self, config: &Config) {
        for gate in &self.gates {
            let same = |listener: &&crate::config::Listener| listener.listen == gate.listener.listen;
            if let Some(listener) = config.listeners.iter().find(same)
                && let Some(master) = config.master(&gate.listener.master)
            {
                let fixed = crate::config::Listener { role: gate.listener.role, ..listener.clone() };
                gate.terms.store(Arc::new(Gate::terms(&fixed, config, &config.masters[master])));
            }
        }
    }

    fn start_workers(&self, context: &Context) -> Result<Workers<Job>> {
        let first = &self.realms.first().expect("a configuration without masters is refused").common;
        let around = Surroundings { drain: context.drain.clone(), topology: first.topology.clone() };
        let realms: Vec<_> = self
            .realms
            .iter()
            .map(|realm| (realm.common.clone(), realm.access.clone(), realm.handle.clone()))
            .collect();
        let (guests, metrics) = (self.guests.clone(), self.metrics.clone());
        let limits = observe_limits(&self.config.load());
        let open = move |floor: Rc<Floor>| {
            let desk = desk(floor, &realms, guests.clone(), &limits);
            let (tally, sites) = (desk.tally.clone(), desk.sites.clone());
            let census = move || {
                let add = |sum: (usize, usize), one: (usize, usize)| (sum.0 + one.0, sum.1 + one.1);
                sites.iter().map(|site| site.census()).fold((0, 0), add)
            };
            let export = metrics::export(desk.floor.id, tally, census, metrics.clone());
            tasks::spawn_session(export);
            move |Job(gate, accepted)| {
                tasks::spawn_session(accept::serve(desk.clone(), gate, accepted));
            }
        };
        Workers::start(self.config.load().worker_count(), &around, open)
            .map_err(|error| Error::io(Side::Internal, error))
            .context("starting workers")
    }
}

fn desk(
    floor: Rc<Floor>,
    realms: &[(Arc<Common>, Arc<Access>, Handle)],
    guests: Arc<Registry>,
    limits: &observe::Limits,
) -> Rc<Desk> {
    let tally = Rc::new(Tally::new(limits));
    let open = |(common, access, watcher): &(Arc<Common>, Arc<Access>, Handle)| {
        let dial = Dial {
            access: access.clone(),
            watcher: watcher.clone(),
            scripts: Rc::default(),
            scratch: floor.scratch.clone(),
        };
        Site::open(common.clone(), Rc::new(dial), tally.clone(), floor.clone())
    };
    let sites = realms.iter().map(open).collect();
    Rc::new(Desk { floor: floor.clone(), sites, guests, tally })
}

async fn accept_all(
    listener: Listener,
    gate: Arc<Gate>,
    workers: Arc<Workers<Job>>,
    drain: Watch,
) -> Result<()> {
    let dispatch = move |accepted| {
        if let Err(Job(_, accepted)) = workers.dispatch(Job(gate.clone(), accepted)) {
            accepted.refuse();
        }
    };
    listener.serve(dispatch, drain).await
}

/// Binds every listener.
fn bind(
    config: &Config,
    tls: Option<&Arc<ServerTls>>,
    context: &Context,
) -> Result<Vec<(Listener, Arc<Gate>)>> {
    let bind = |listener: &crate::config::Listener| {
        let name = listener.listen.to_string();
        let bound = Listener::bind(
            &ListenerConfig {
                max_connections: listener.max_connections,
                max_per_address: listener.max_per_address,
                options: config.sockets,
                refusal: Bytes::from_static(TOO_MANY),
                ..ListenerConfig::new(name.clone(), listener.listen.clone())
            },
            &context.registry,
        )?;
        let master = config.master(&listener.master).expect("a listener of no master is refused");
        let gate = Gate {
            master,
            tls: tls.filter(|_| listener.tls).cloned(),
            proxies: Policy { trusted: listener.proxy_protocol_from.clone(), required: false },
            terms: ArcSwap::from_pointee(Gate::terms(listener, config, &config.masters[master])),
            metrics: SessionMetrics::new(&context.registry, &name),
            listener: listener.clone(),
        };
        Ok((bound, Arc::new(gate)))
    };
    config.listeners.iter().map(bind).collect()
}

/// Everything about one master, its watcher ready to run.
fn realm(
    master: &Master,
    config: &Config,
    forget: bool,
    hold: &Arc<Hold>,
    context: &Context,
) -> Result<Realm> {
    let state = open_state(&config.state_dir.join(&master.name), forget, context)?;
    let replicas = Arc::new(Cluster::new("replicas", []));
    let publisher = Arc::new(Publisher::new(state, replicas.clone(), &context.registry, Instant::now()));
    let topology = publisher.subscribe();
    let reach = |account, tls: &Option<ClientTlsSettings>| {
        let tls = tls.clone().map(|tls| ClientTls::new(tls.config(&[])?)).transpose()?.map(Arc::new);
        Ok::<_, Error>(Arc::new(Access::new(account, tls, config.sockets, CONNECT_TIMEOUT)))
    };
    let access = reach(redis_account(master), &master.redis_tls)?;
    let sentinel_access = reach(sentinel_account(master), &master.sentinel_tls)?;
    let settings = settings(master, access.clone(), sentinel_access.clone());
    let watcher = Watcher::new(settings, publisher, replicas, &context.registry);
    let handle = watcher.handle();
    let common = Common {
        master: master.name.clone(),
        topology,
        hold: hold.clone(),
        permits: Permits::new(config.pool.size),
        barrier: handle.barrier(),
    };
    Ok(Realm { common: Arc::new(common), access, sentinel_access, handle, watcher: Some(watcher) })
}

/// What the watcher is to know.
fn settings(master: &Master, redis: Arc<Access>, sentinel: Arc<Access>) -> topology::Settings {
    topology::Settings {
        master: master.name.clone(),
        sentinels: master.sentinels.clone(),
        redis,
        sentinel,
        allowed: master.allowed.clone(),
        address_map: master.address_map.clone(),
        pace: Pace {
            calm: master.probe_interval,
            suspect: master.suspect_interval,
            patience: master.probe_timeout,
        },
        fence: Fence { enabled: master.fence.enabled, after: master.fence.after },
        regress_after: master.regress_timeout,
        max_lag: master.max_lag,
    }
}

fn redis_account(master: &Master) -> Account {
    Account { user: master.user.clone(), password: master.password.clone() }
}

fn sentinel_account(master: &Master) -> Account {
    Account { user: master.sentinel_user.clone(), password: master.sentinel_password.clone() }
}

fn open_state(dir: &std::path::Path, forget: bool, context: &Context) -> Result<State> {
    if forget
        && State::forget(dir)
            .map_err(|error| Error::io(Side::Internal, error))
            .context("forgetting the epoch")?
    {
        tracing::warn!(dir = %dir.display(), "the last epoch is forgotten, as told");
    }
    State::open(dir, &context.registry).map_err(Error::config)
}

fn observe_limits(config: &Config) -> observe::Limits {
    observe::Limits {
        slow_micros: u64::try_from(config.observe.slow.as_micros()).unwrap_or(u64::MAX),
        big_bytes: config.limits.large.as_usize() as u64,
        entries: config.observe.slow_entries,
        one_in: config.observe.sample_keys,
        keys: config.observe.keys,
    }
}

fn hold_limits(config: &Config) -> HoldLimits {
    HoldLimits {
        timeout: config.hold.timeout,
        max_clients: config.hold.max_commands,
        max_bytes: config.hold.max_bytes.as_usize(),
        release_at_once: RELEASE_AT_ONCE,
        release_spread: RELEASE_SPREAD,
    }
}

/// Keys that a reload can't change.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let json = |config: &Config| serde_json::to_value(config).unwrap_or_default();
    let (old, new) = (json(old), json(new));
    let fixed = ["/workers", "/state_dir", "/listeners", "/masters", "/observe", "/client_tls", "/sockets"];
    fixed.into_iter().filter(|key| old.pointer(key) != new.pointer(key)).collect()
}
