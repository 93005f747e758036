//! A set of replicas with its queue, its checks and its discovery. Kind: wiring.
//!
//! ```text
//!   names ──► discovery ─┐                    ┌─► scheduler ──► slots
//!   configuration ───────┼─► roster ──► members          ▲
//!   admin: weight ───────┘                 ▲  └─► prober ─┘ up, down
//!   admin: drain, ready, maint ────────────┘
//! ```
//! What the engine asks for is [`ClusterState::slot`]; all else happens beside it.

mod admin;
mod discovery;
mod probe;
mod roster;
mod state;

use std::sync::Arc;

use arc_swap::ArcSwap;
use proxy_core::app::Context;
use proxy_core::error::Result;

use crate::config::Config;

pub use crate::queue::Slot;
pub use state::ClusterState;

/// All clusters of a process.
#[derive(Debug)]
pub struct Clusters {
    all: ArcSwap<Vec<Arc<ClusterState>>>,
    context: Context,
}

impl Clusters {
    /// As configured; nothing is asked yet. Adds to `/status`, and the admin endpoint's `/replicas` and `/replica`.
    ///
    /// # Errors
    /// `Config`: files of TLS, or the machine's name service.
    pub fn new(config: &Config, context: &Context) -> Result<Arc<Self>> {
        let all = ArcSwap::from_pointee(Vec::new());
        let clusters = Arc::new(Self { all, context: context.clone() });
        clusters.reload(config)?;
        admin::register(&clusters, context);
        Ok(clusters)
    }

    /// Asks names and replicas from now on.
    pub fn start(&self) {
        for cluster in self.all().iter() {
            let latch = self.context.readiness.latch(&format!("the replicas of {}", cluster.name()));
            cluster.start(&self.context, Some(latch));
        }
    }

    /// Another configuration: clusters that stay keep their replicas, queues and what is known of them.
    ///
    /// # Errors
    /// As [`Self::new`]; then nothing has changed.
    pub fn reload(&self, config: &Config) -> Result<()> {
        let former = self.all();
        let find = |name: &str| former.iter().find(|cluster| cluster.name() == name);
        let plans = config.clusters.iter().map(|cluster| state::Plan::new(cluster, config));
        let plans = plans.collect::<Result<Vec<_>>>()?;
        let running = former.iter().any(|cluster| cluster.is_running());
        let all = plans.into_iter().map(|plan| {
            if let Some(cluster) = find(plan.name()) {
                cluster.adopt(plan, &self.context);
                return Ok(cluster.clone());
            }
            let cluster = Arc::new(ClusterState::new(plan, &self.context)?);
            if running {
                cluster.start(&self.context, None);
            }
            Ok(cluster)
        });
        let all = all.collect::<Result<Vec<_>>>()?;
        let gone = former.iter().filter(|cluster| !all.iter().any(|other| Arc::ptr_eq(cluster, other)));
        gone.for_each(|cluster| cluster.stop());
        self.all.store(Arc::new(all));
        Ok(())
    }

    /// The cluster of that name.
    pub fn find(&self, name: &str) -> Option<Arc<ClusterState>> {
        self.all.load().iter().find(|cluster| cluster.name() == name).cloned()
    }

    /// All of them, in the order of the configuration.
    pub fn all(&self) -> Arc<Vec<Arc<ClusterState>>> {
        self.all.load_full()
    }
}

#[cfg(test)]
mod tests;
