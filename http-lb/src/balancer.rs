//! The service: what is bound, what is started, what a new configuration changes. Kind: wiring.

use std::sync::Arc;

use proxy_core::app::{Context, Service};
use proxy_core::config::Override;
use proxy_core::error::Result;

use crate::config::Config;
use crate::flags::Args;

/// The running balancer.
pub struct Balancer;

impl Service for Balancer {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const ABOUT: &'static str = "HTTP load balancer in front of Pretix replicas. This version balances nothing yet: it \
                                 starts, serves its admin endpoint, drains and stops.";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type Config = Config;
    type Args = Args;

    fn overrides(args: &Args) -> Vec<Override> {
        args.overrides()
    }

    async fn build(_: Arc<Config>, _: &Args, _: &Context) -> Result<Self> {
        Ok(Self)
    }

    async fn start(&mut self, _: &Context) -> Result<()> {
        tracing::warn!("this version balances nothing yet: only the admin endpoint answers");
        Ok(())
    }

    async fn reload(&mut self, _: Arc<Config>) -> Result<()> {
        Ok(())
    }
}
