//! The life of a process: load, build, start, ready, wait, drain, exit. Kind: wiring.
//!
//! A binary is a [`Service`]; its `main` is `proxy_core::app::run::<PgRouter>()`.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | everybody left |
//! | 1 | an essential task failed, the start failed, or sessions were cut |
//! | 2 | wrong usage or configuration: nothing was started |
//!
//! SIGTERM and SIGINT drain; a second one cuts who is still here. SIGHUP, or a change of the configuration's
//! files, loads it again.

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::{Endpoint, Latch, Readiness, Routes, Status, View};
use crate::config::{Core, Loaded, Override, Settings, Sources};
use crate::drain::{Drain, Phase};
use crate::error::{Error, Kind, Result, Side};
use crate::metrics::Registry;
use crate::reload::Watcher;
use crate::tasks;
use crate::telemetry::{self, Telemetry};

mod cli;
mod reloader;

use cli::Cli;
use reloader::Reloader;

/// How long cut sessions get to notice: each is at an await point, so this is plenty.
const CUT_GRACE: Duration = Duration::from_secs(2);

/// What makes a binary different from the others. Methods run on the control thread, in this order:
/// `overrides`, `build`, `start`, `reload` at each change, `stop`.
pub trait Service: Sized + 'static {
    /// The binary's name, such as `pg-router`: the prefix of its variables and metrics follows from it.
    const NAME: &'static str;
    /// What it does, in a sentence for `--help`.
    const ABOUT: &'static str;
    /// The binary's own `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;

    /// Its settings, beside those that every binary has.
    type Config: Settings;
    /// Its flags, beside those that every binary has (subcommands too); [`NoArgs`] if it has none.
    type Args: clap::Args;

    /// The settings that its flags override.
    fn overrides(_args: &Self::Args) -> Vec<Override> {
        Vec::new()
    }

    /// Binds everything, serves nothing: what fails here leaves nothing half started.
    fn build(
        config: Arc<Self::Config>,
        args: &Self::Args,
        context: &Context,
    ) -> impl Future<Output = Result<Self>>;

    /// Spawns workers and essential tasks.
    fn start(&mut self, context: &Context) -> impl Future<Output = Result<()>>;

    /// Takes a new configuration, valid in itself; on an error the old one must still hold. Also called when the
    /// files that it names (certificates, users) may have changed though it reads the same. Dropped at an await
    /// point when the process drains.
    fn reload(&mut self, config: Arc<Self::Config>) -> impl Future<Output = Result<()>>;

    /// Everybody has left or was cut: joins the workers.
    fn stop(self) -> impl Future<Output = ()> {
        async {}
    }
}

/// For a service without flags of its own.
#[derive(Debug, Clone, clap::Args)]
pub struct NoArgs {}

/// What the process gives to its service. Clones share everything.
#[derive(Debug, Clone)]
pub struct Context {
    /// The settings that every binary has.
    pub core: Arc<Core>,
    /// The hand that drains; `drain.watch()` is the ear that sessions need.
    pub drain: Drain,
    /// Where metrics are registered.
    pub registry: Registry,
    /// Who must be ready first takes a latch in `build` or `start`.
    pub readiness: Readiness,
    /// The sections of `/status`.
    pub status: Status,
    /// What the binary adds to the admin endpoint.
    pub routes: Routes,
}

impl Context {
    /// The context of a process that begins now.
    pub fn new(core: Arc<Core>, name: &str, version: &str) -> Self {
        let registry = Registry::new(name, version);
        Self {
            core,
            drain: Drain::new(),
            registry,
            readiness: Readiness::default(),
            status: Status::default(),
            routes: Routes::default(),
        }
    }
}

/// Runs a binary from its first line to its exit code.
pub fn run<S: Service>() -> ExitCode {
    let cli = match Cli::<S>::parse() {
        Ok(cli) => cli,
        Err(usage) => return cli::explain(&usage),
    };
    let sources = cli.sources();
    match sources.load::<S::Config>() {
        Err(fault) => refuse::<S>(fault),
        Ok(loaded) if cli.wants_check() => check::<S>(&loaded),
        Ok(loaded) => serve::<S>(sources, loaded, cli.args).unwrap_or_else(|error| fail::<S>(&error)),
    }
}

/// `--check`: shows the configuration as it would take effect.
fn check<S: Service>(loaded: &Loaded<S::Config>) -> ExitCode {
    match loaded.effective() {
        Err(fault) => refuse::<S>(fault),
        Ok(effective) => {
            print!("{effective}");
            ExitCode::SUCCESS
        }
    }
}

fn serve<S: Service>(sources: Sources, loaded: Loaded<S::Config>, args: S::Args) -> Result<ExitCode> {
    let telemetry = telemetry::open(&loaded.core.log)?;
    let context = Context::new(loaded.core.clone(), S::NAME, S::VERSION);
    telemetry::on_panic(context.registry.counter("panics_total", "Panics, each a bug of ours"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::io(Side::Internal, error))?;
    runtime.block_on(async {
        tasks::spawn("signals", drain_on_signals(Signals::new()?, context.drain.clone()));
        live::<S>(Launch { sources, loaded, args, telemetry: Some(telemetry) }, context).await
    })
}

/// What a life begins with.
struct Launch<S: Service> {
    sources: Sources,
    loaded: Loaded<S::Config>,
    args: S::Args,
    telemetry: Option<Telemetry>,
}

/// The life in one screen.
async fn live<S: Service>(launch: Launch<S>, context: Context) -> Result<ExitCode> {
    let Launch { sources, loaded, args, telemetry } = launch;
    let mut ear = context.drain.watch();
    let hangup = listen_to(SignalKind::hangup())?;
    let starting = context.readiness.latch("start");
    open_admin::<S>(&context).await?;

    let mut service = tokio::select! {
        begun = begin::<S>(loaded.service, &args, &context, starting) => begun?,
        () = ear.draining() => return Ok(ending(&context.drain, 0)),
    };
    tracing::info!(version = S::VERSION, pid = std::process::id(), "started");

    let watcher = Watcher::new(loaded.files, hangup);
    let mut reloader = Reloader::new(sources, watcher, telemetry, &context);
    tokio::select! {
        () = reloader.run(&mut service) => {}
        () = ear.draining() => {}
    }

    let cut = leave(&context.drain, reloader.core.drain.timeout).await;
    if tokio::time::timeout(CUT_GRACE, service.stop()).await.is_err() {
        tracing::warn!("stopping took too long: leaving without waiting");
    }
    Ok(ending(&context.drain, cut))
}

/// Builds and starts; ready when the service's own latches are dropped as well.
async fn begin<S: Service>(
    config: Arc<S::Config>,
    args: &S::Args,
    context: &Context,
    starting: Latch,
) -> Result<S> {
    let mut service = S::build(config, args, context).await?;
    service.start(context).await?;
    drop(starting);
    Ok(service)
}

async fn open_admin<S: Service>(context: &Context) -> Result<()> {
    let Some(address) = context.core.admin.listen else { return Ok(()) };
    let endpoint = Endpoint::bind(address).await?;
    let view = View {
        name: S::NAME,
        version: S::VERSION,
        since: Instant::now(),
        drain: context.drain.clone(),
        registry: context.registry.clone(),
        readiness: context.readiness.clone(),
        status: context.status.clone(),
        routes: context.routes.clone(),
    };
    tracing::info!(address = %endpoint.local_addr()?, "admin endpoint listens");
    tasks::spawn_essential("admin", endpoint.serve(view), &context.drain);
    Ok(())
}

/// Waits until all have left, the deadline passes, or somebody is out of patience; says how many were cut.
async fn leave(drain: &Drain, timeout: Duration) -> usize {
    tracing::info!(sessions = drain.present(), ?timeout, "draining");
    let mut ear = drain.watch();
    tokio::select! {
        () = drain.all_left() => return 0,
        () = ear.terminating() => tracing::warn!("told to leave now"),
        () = tokio::time::sleep(timeout) => tracing::warn!("sessions took too long to leave"),
    }
    let cut = drain.present();
    drain.terminate();
    let _ = tokio::time::timeout(CUT_GRACE, drain.all_left()).await;
    cut
}

fn ending(drain: &Drain, cut: usize) -> ExitCode {
    match (drain.failure(), cut) {
        (Some(reason), _) => tracing::error!(reason, cut, "ended by a failure"),
        (None, 0) => {
            tracing::info!("everybody has left: ended");
            return ExitCode::SUCCESS;
        }
        (None, cut) => tracing::warn!(cut, "ended, sessions were cut"),
    }
    ExitCode::FAILURE
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
        Ok(Self { terminate: listen_to(terminate)?, interrupt: listen_to(interrupt)? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn listen_to(kind: SignalKind) -> Result<Signal> {
    signal(kind).map_err(|error| Error::io(Side::Internal, error).context("listening to signals"))
}

async fn drain_on_signals(mut signals: Signals, drain: Drain) {
    loop {
        signals.next().await;
        match drain.phase() {
            Phase::Running => drain.begin(),
            Phase::Draining | Phase::Terminating => drain.terminate(),
        }
    }
}

fn refuse<S: Service>(fault: impl std::fmt::Display) -> ExitCode {
    eprintln!("{}: {fault}", S::NAME);
    ExitCode::from(cli::USAGE)
}

fn fail<S: Service>(error: &Error) -> ExitCode {
    match error.kind() {
        Kind::Config => refuse::<S>(error),
        _ => {
            tracing::error!(%error, "could not start");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests;
