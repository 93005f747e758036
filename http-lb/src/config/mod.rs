//! The configuration, as the operator writes it. Kind: pure.

use proxy_core::config::Settings;
use serde::{Deserialize, Serialize};

/// No settings beside those of every binary, so far.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl Settings for Config {}
