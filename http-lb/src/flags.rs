//! The flags of http-lb, which are enough for one cluster and static files. Kind: pure.

use proxy_core::config::Override;

/// The flags of http-lb.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {}

impl Args {
    /// The settings that they override.
    pub fn overrides(&self) -> Vec<Override> {
        Vec::new()
    }
}
