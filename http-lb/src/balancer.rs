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
use proxy_core::metrics::{Registry, SessionMetrics};
use proxy_core::proxy_protocol::Policy;
use proxy_core::reload::warn_of_fixed;
use proxy_core::tasks;
use proxy_core::tls::ServerTls;
use proxy_core::upstream::topology::Topology;
use proxy_core::worker::{Floor, Surroundings, Workers};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::accept::{self, Gate, H2, HTTP11};
use crate::access_log::AccessLog;
use crate::body::{Budget, Each, Limits};
use crate::cluster::Clusters;
use crate::config::Config;
use crate::edge::{Edge, control};
use crate::files::{Site, Terms};
use crate::flags::Args;
use crate::metrics::{self, Metrics};
use crate::session::{Desk, House};

/// What a client hears that is one too many.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 5\r\n\
    connection: close\r\n\r\n";

/// How often idle connections to replicas are looked through.
const SWEEP: Duration = Duration::from_secs(1);

/// The running balancer.
pub struct Balancer {
    config: ArcSwap<Config>,
    houses: Arc<ArcSwap<House>>,
    clusters: Arc<Clusters>,
    registry: Registry,
    metrics: Metrics,
    log: Arc<AccessLog>,
    tls: [Option<Arc<ServerTls>>; 2],
    listeners: Vec<(Listener, Arc<Gate>)>,
    workers: Option<Arc<Workers<Job>>>,
}

/// An accepted client for a worker.
struct Job(Arc<Gate>, Accepted);

impl Service for Balancer {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const ABOUT: &'static str = "HTTP load balancer in front of Pretix: keeps slow clients away from the workers, hands each \
                                 worker one request at a time from one fair queue, serves the static files.";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type Config = Config;
    type Args = Args;

    fn overrides(args: &Args) -> Vec<Override> {
        args.overrides()
    }

    async fn build(config: Arc<Config>, _: &Args, context: &Context) -> Result<Self> {
        let edge = Arc::new(Edge::load(&config, None)?);
        let clusters = Clusters::new(&config, context)?;
        let site = open_site(&config, &context.registry, None).await?;
        let budget = Budget::new(limits(&config));
        budget.place(each(&config));
        let tls = [encryption(&config, &[H2, HTTP11])?, encryption(&config, &[HTTP11])?];
        let listeners = bind(&config, &tls, context)?;
        let house = House::new(config.clone(), edge, site, &clusters, budget);
        Ok(Self {
            houses: Arc::new(ArcSwap::from_pointee(house)),
            clusters,
            metrics: Metrics::new(&context.registry),
            log: Arc::new(AccessLog::open(&config.access_log, &context.registry)?),
            registry: context.registry.clone(),
            tls,
            listeners,
            workers: None,
            config: ArcSwap::new(config),
        })
    }

    async fn start(&mut self, context: &Context) -> Result<()> {
        self.clusters.start();
        let workers = Arc::new(self.start_workers(context)?);
        for (listener, gate) in self.listeners.drain(..) {
            tracing::info!(address = %listener.local_addr(), tls = gate.tls.is_some(), "listens");
            let serve = move |accepted| Job(gate.clone(), accepted);
            let acceptor = workers.clone().receive(listener, context.drain.watch(), serve);
            tasks::spawn_essential("acceptor", acceptor, &context.drain);
        }
        self.workers = Some(workers);
        let houses = self.houses.clone();
        let current = move || {
            let house = houses.load();
            (house.config.clone(), house.edge.clone())
        };
        control::offer(&context.routes, &context.status, Arc::new(current));
        let houses = self.houses.clone();
        context.status.section("bodies", move || {
            let budget = &houses.load().budget;
            serde_json::json!({ "in_memory": budget.in_memory(), "on_disk": budget.on_disk() })
        });
        Ok(())
    }

    async fn reload(&mut self, config: Arc<Config>) -> Result<()> {
        let old = self.houses.load_full();
        // All that may fail comes first: nothing has changed until all of it is good.
        let edge = Arc::new(Edge::load(&config, Some(&old.edge))?);
        let site = open_site(&config, &self.registry, old.site.clone()).await?;
        self.tls.iter().flatten().try_for_each(|tls| tls.reload().map(drop))?;
        self.clusters.reload(&config)?;
        self.log.reload(&config.access_log);
        old.budget.reconfigure(limits(&config));
        old.budget.place(each(&config));
        let house = House::new(config.clone(), edge, site, &self.clusters, old.budget.clone());
        self.houses.store(Arc::new(house));
        let old = self.config.swap(config.clone());
        warn_of_fixed(&*old, &*config, FIXED);
        Ok(())
    }

    async fn stop(mut self) {
        if let Some(workers) = self.workers.take().and_then(Arc::into_inner) {
            workers.join();
        }
        if let Some(log) = Arc::into_inner(self.log) {
            log.close().await;
        }
    }
}

impl Balancer {
    fn start_workers(&self, context: &Context) -> Result<Workers<Job>> {
        // Nobody leads here: replicas are equals.
        let (_, topology) = watch::channel(Arc::new(Topology::leaderless(std::time::Instant::now())));
        let around = Surroundings { drain: context.drain.clone(), topology };
        let (houses, metrics, log) = (self.houses.clone(), self.metrics.clone(), self.log.clone());
        let open = move |floor: Rc<Floor>| {
            let book = Rc::new(log.book());
            let desk = Rc::new(Desk::new(floor, houses.clone(), metrics.clone(), book.clone()));
            tasks::spawn_session(book.keep());
            tasks::spawn_session(sweep(desk.clone()));
            let (shelves, tally) = (desk.clone(), desk.tally.clone());
            tasks::spawn_session(metrics::export(tally, move || shelves.shelves.len(), metrics.clone()));
            move |Job(gate, accepted)| {
                tasks::spawn_session(accept::serve(desk.clone(), gate, accepted));
            }
        };
        Workers::start(self.config.load().workers, &around, open)
            .map_err(|error| Error::io(Side::Internal, error))
            .context("starting workers")
    }
}

/// Closes connections to replicas that were idle for too long, for as long as the worker lives.
async fn sweep(desk: Rc<Desk>) {
    let mut beat = tokio::time::interval(SWEEP);
    loop {
        let now: Instant = beat.tick().await;
        desk.shelves.sweep(now, &mut desk.floor.scratch.borrow());
    }
}

async fn open_site(
    config: &Config,
    registry: &Registry,
    before: Option<Arc<Site>>,
) -> Result<Option<Arc<Site>>> {
    if config.files.is_empty() {
        return Ok(None);
    }
    let terms = Terms::of(config).map_err(Error::config)?;
    Site::open(terms, registry, before).await.map(Some).map_err(Error::config)
}

fn encryption(config: &Config, protocols: &[&[u8]]) -> Result<Option<Arc<ServerTls>>> {
    let Some(tls) = &config.tls else { return Ok(None) };
    Ok(Some(Arc::new(ServerTls::new(tls.config(protocols)?)?)))
}

/// Binds every listener.
fn bind(
    config: &Config,
    [with_http2, without]: &[Option<Arc<ServerTls>>; 2],
    context: &Context,
) -> Result<Vec<(Listener, Arc<Gate>)>> {
    let bind = |listener: &crate::config::Listener| {
        let name = listener.listen.to_string();
        let bound = Listener::bind(
            &ListenerConfig {
                max_connections: listener.max_connections,
                max_per_address: listener.max_per_address,
                unix_mode: listener.unix_mode,
                options: config.sockets,
                refusal: Bytes::from_static(TOO_MANY),
                ..ListenerConfig::new(name.clone(), listener.listen.clone())
            },
            &context.registry,
        )?;
        let tls = if listener.http2 { with_http2 } else { without };
        let gate = Gate {
            tls: tls.clone().filter(|_| listener.tls),
            proxies: Policy {
                trusted: listener.proxy_protocol_from.clone(),
                required: listener.proxy_protocol_required,
            },
            http2: listener.http2,
            patience: listener.handshake_timeout,
            metrics: SessionMetrics::new(&context.registry, &name),
        };
        Ok((bound, Arc::new(gate)))
    };
    config.listeners.iter().map(bind).collect()
}

fn limits(config: &Config) -> Limits {
    Limits { memory: config.buffers.memory.bytes(), disk: config.buffers.disk.bytes() }
}

fn each(config: &Config) -> Each {
    Each { in_memory: config.buffers.in_memory.bytes(), folder: config.buffers.directory.clone() }
}

/// Keys that a reload can't change.
const FIXED: &[&str] = &["/workers", "/listeners", "/sockets"];
