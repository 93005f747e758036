//! The router in front of Redis; so far only the life of its process. Kind: wiring.

use std::process::ExitCode;
use std::sync::Arc;

use proxy_core::app::{self, Context, NoArgs, Service};
use proxy_core::config::Settings;
use proxy_core::error::Result;
use serde::{Deserialize, Serialize};

/// Starts, answers the admin endpoint, drains and stops.
struct RedisRouter;

/// No settings beside those of every binary, so far.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Config {}

impl Settings for Config {}

impl Service for RedisRouter {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const ABOUT: &'static str = "Redis router that follows Sentinel's master. This version routes nothing yet: it \
                                 starts, serves its admin endpoint, drains and stops.";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type Config = Config;
    type Args = NoArgs;

    async fn build(_: Arc<Config>, _: &NoArgs, _: &Context) -> Result<Self> {
        Ok(Self)
    }

    async fn start(&mut self, _: &Context) -> Result<()> {
        tracing::warn!("this version routes nothing yet: only the admin endpoint answers");
        Ok(())
    }

    async fn reload(&mut self, _: Arc<Config>) -> Result<()> {
        Ok(())
    }
}

fn main() -> ExitCode {
    app::run::<RedisRouter>()
}
