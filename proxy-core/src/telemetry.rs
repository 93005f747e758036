//! What the process tells about itself: the log on standard error, and panics. Kind: wiring.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::{self, PanicHookInfo};

use prometheus::IntCounter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::config::{Log, LogFormat};
use crate::error::{Error, Result};
use crate::tasks;

/// The variable whose directives win over `log.level`.
const RUST_LOG: &str = "RUST_LOG";

/// A hold on the log: changes its level while we run.
#[derive(Debug)]
pub struct Telemetry {
    filter: reload::Handle<EnvFilter, Registry>,
}

/// Opens the log. Once per process.
pub fn open(log: &Log) -> Result<Telemetry> {
    let (filter, handle) = reload::Layer::new(filter(log)?);
    let subscriber = tracing_subscriber::registry().with(filter).with(lines(log.format));
    subscriber.try_init().map_err(Error::config)?;
    Ok(Telemetry { filter: handle })
}

impl Telemetry {
    /// Takes a new level; the format stays until the process starts again.
    pub fn set(&self, log: &Log) -> Result<()> {
        self.filter.reload(filter(log)?).map_err(Error::config)
    }
}

/// Logs every panic with its place, and counts it, instead of the plain text that Rust prints.
pub fn on_panic(panics: IntCounter) {
    panic::set_hook(Box::new(move |info| {
        panics.inc();
        log_panic(info);
    }));
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(place, panic = tasks::text_of(info.payload()), backtrace, "a bug of ours: panic");
}

fn filter(log: &Log) -> Result<EnvFilter> {
    let directives = std::env::var(RUST_LOG).ok().filter(|directives| !directives.is_empty());
    let (from, directives) = match &directives {
        Some(directives) => (RUST_LOG, directives),
        None => ("log.level", &log.level),
    };
    EnvFilter::builder().parse(directives).map_err(|error| Error::config(error).context(from))
}

fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_can_be_changed_while_we_run() {
        let log = |level: &str| Log { level: level.to_owned(), ..Log::default() };
        let (_kept, handle) = reload::Layer::<EnvFilter, Registry>::new(EnvFilter::new("info"));
        let telemetry = Telemetry { filter: handle };
        assert!(telemetry.set(&log("debug,proxy_core=trace")).is_ok());
        assert!(telemetry.set(&log("proxy_core=loud")).is_err());
    }
}
