//! Takes a changed configuration while the process runs; a bad one changes nothing. Kind: driver.

use std::sync::Arc;

use prometheus::IntCounterVec;

use super::{Context, Service};
use crate::config::{Core, Sources};
use crate::error::{Error, Result};
use crate::reload::{Reason, Watcher};
use crate::telemetry::Telemetry;

const OK: &str = "ok";
const REFUSED: &str = "refused";

/// Loads the configuration again whenever there is a reason, and hands it over if it is valid.
pub(super) struct Reloader {
    sources: Sources,
    watcher: Watcher,
    telemetry: Option<Telemetry>,
    pub(super) core: Arc<Core>,
    reloads: IntCounterVec,
}

impl Reloader {
    pub(super) fn new(
        sources: Sources,
        watcher: Watcher,
        telemetry: Option<Telemetry>,
        context: &Context,
    ) -> Self {
        let help = "Configurations loaded while running, by result: ok or refused";
        let reloads = context.registry.counter_vec("config_reloads_total", help, &["result"]);
        // Shown as zero from the start, so that an alert on its increase sees the first one.
        for result in [OK, REFUSED] {
            reloads.with_label_values(&[result]);
        }
        Self { sources, watcher, telemetry, core: context.core.clone(), reloads }
    }

    /// Runs until dropped, which may happen at any await point.
    pub(super) async fn run<S: Service>(&mut self, service: &mut S) {
        loop {
            let reason = self.watcher.changed().await;
            let result = self.reload(service).await;
            self.report(reason, result);
        }
    }

    async fn reload<S: Service>(&mut self, service: &mut S) -> Result<()> {
        let loaded = self.sources.load::<S::Config>().map_err(Error::config)?;
        service.reload(loaded.service).await?;
        self.watcher.watch(loaded.files);
        if let Some(telemetry) = &self.telemetry {
            telemetry.set(&loaded.core.log)?;
        }
        let old = std::mem::replace(&mut self.core, loaded.core);
        if old.admin != self.core.admin || old.log.format != self.core.log.format {
            tracing::warn!("admin.listen and log.format take effect at the next start");
        }
        Ok(())
    }

    fn report(&self, reason: Reason, result: Result<()>) {
        let label = if result.is_ok() { OK } else { REFUSED };
        self.reloads.with_label_values(&[label]).inc();
        match result {
            Ok(()) => tracing::info!(?reason, "configuration loaded"),
            Err(error) => tracing::error!(?reason, %error, "configuration refused: the old one stays"),
        }
    }
}
