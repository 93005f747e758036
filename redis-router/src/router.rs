//! The service: what is bound, what is started, what a new configuration changes. Kind: wiring.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

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
use proxy_core::tls::ServerTls;
use proxy_core::upstream::{Hold, HoldLimits, HoldMetrics};
use proxy_core::worker::{Floor, Surroundings, Workers};
use tokio::task::JoinHandle;

use crate::accept::{self, Desk, Gate};
use crate::checks;
use crate::config::Config;
use crate::flags::Args;
use crate::metrics::{self, Metrics, Tally};
use crate::observe;
use crate::realm::Realm;
use crate::server::Dial;
use crate::session::registry::Registry;
use crate::site::{Common, Site};
use crate::topology::{Access, Handle};

/// Commands that leave the hold at once; the rest follows within the spread. Shared connections don't need it: what
/// waits on them leaves in one write.
const RELEASE_AT_ONCE: u32 = 64;
const RELEASE_SPREAD: Duration = Duration::from_millis(20);

/// What a client hears that is one too many; Redis' own words.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

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
        args.overrides()
    }

    async fn build(config: Arc<Config>, args: &Args, context: &Context) -> Result<Self> {
        let hold = Arc::new(Hold::new(hold_limits(&config), HoldMetrics::new(&context.registry)));
        let open = |master| Realm::open(master, &config, args.forget_epoch, &hold, context);
        let realms = config.masters.iter().map(open).collect::<Result<Vec<_>>>()?;
        let client_tls = config.client_tls.as_ref().map(|tls| ServerTls::new(tls.config(&[])?));
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
            let serve = move |accepted| Job(gate.clone(), accepted);
            let acceptor = workers.clone().receive(listener, context.drain.watch(), serve);
            tasks::spawn_essential("acceptor", acceptor, &context.drain);
        }
        self.workers = Some(workers);
        let hold = self.hold.clone();
        context.status.section("hold", move || serde_json::json!(hold.snapshot()));
        let metrics = self.metrics.clone();
        context.status.section("commands", move || serde_json::json!(metrics.noticed()));
        for realm in &mut self.realms {
            self.tasks.push(realm.start(context));
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
        self.realms.iter().try_for_each(|realm| realm.reload(&config))?;
        if let Some(tls) = &self.client_tls {
            tls.reload()?;
        }
        self.hold.reconfigure(hold_limits(&config));
        self.renew_terms(&config);
        let old = self.config.swap(config.clone());
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
        Workers::start(self.config.load().workers, &around, open)
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
const FIXED: &[&str] =
    &["/workers", "/state_dir", "/listeners", "/masters", "/observe", "/client_tls", "/sockets"];
