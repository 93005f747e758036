//! The settings that every binary has. Kind: pure.

use std::net::SocketAddr;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::units::duration;

/// The top-level keys that belong to [`Core`]; all others are the binary's own.
pub(crate) const KEYS: [&str; 3] = ["admin", "log", "drain"];

/// What every binary can be told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Core {
    /// The admin endpoint.
    pub admin: Admin,
    /// The log.
    pub log: Log,
    /// How long sessions may take to leave.
    pub drain: DrainSettings,
}

/// `[admin]`: where `/livez`, `/readyz`, `/metrics` and `/status` are served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// An IP address and port; no endpoint unless told. It asks for no password: keep it off public networks.
    #[serde(deserialize_with = "address")]
    pub listen: Option<SocketAddr>,
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let remedy = "expected an IP address with its port, such as \"127.0.0.1:9187\"";
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(|_| D::Error::custom(remedy))
}

/// `[log]`: what goes to standard error.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// A level, or directives as in `info,proxy_core::listener=debug`; the variable `RUST_LOG` wins over it.
    pub level: String,
    /// Text for people, JSON for collectors.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line of text per event.
    Text,
    /// One JSON object per event.
    Json,
}

/// `[drain]`: how the process leaves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DrainSettings {
    /// How long sessions may take to reach a boundary before they are cut.
    #[serde(with = "duration")]
    pub timeout: Duration,
}

impl Default for DrainSettings {
    /// 25 s, so that we are gone before the 30 s after which Kubernetes kills.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(25) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_keys_is_complete() {
        let json = serde_json::to_value(Core::default()).expect("it serializes");
        let mut keys: Vec<_> = json.as_object().expect("it is a table").keys().map(String::as_str).collect();
        let mut expected = KEYS.to_vec();
        keys.sort_unstable();
        expected.sort_unstable();
        assert_eq!(keys, expected);
    }
}
