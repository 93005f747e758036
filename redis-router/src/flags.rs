//! The flags of redis-router, which are enough for a router of one master. Kind: pure.

use std::path::PathBuf;

use proxy_core::config::Override;

/// The flags of redis-router.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// A Sentinel; more by repeating the flag [masters.sentinels]
    #[arg(long, value_name = "HOST:PORT")]
    sentinel: Vec<String>,
    /// The name by which the Sentinels know the master [masters.name]
    #[arg(long, value_name = "NAME", requires = "sentinel")]
    master: Option<String>,
    /// As whom to look at Redis; the default user if absent [masters.user]
    #[arg(long, value_name = "USER", requires = "sentinel")]
    user: Option<String>,
    /// A file with the password for that [masters.password_file]
    #[arg(long, value_name = "FILE", requires = "sentinel")]
    password_file: Option<PathBuf>,
    /// Where clients connect [listeners.listen]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Where the last epoch is kept [state_dir]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Forget the last epoch: after the Sentinels were set up anew
    #[arg(long)]
    pub forget_epoch: bool,
}

impl Args {
    /// The settings that they override.
    pub fn overrides(&self) -> Vec<Override> {
        let mut overrides = Vec::new();
        if !self.sentinel.is_empty() {
            overrides.push(Override::new("--sentinel", "masters", format!("[{}]", self.master_table())));
        }
        if let Some(listen) = &self.listen {
            overrides.push(Override::new(
                "--listen",
                "listeners",
                format!("[{{ listen = {} }}]", quoted(listen)),
            ));
        }
        if let Some(dir) = &self.state_dir {
            overrides.push(Override::new("--state-dir", "state_dir", dir.to_string_lossy()));
        }
        overrides
    }

    /// The master that the flags describe, as TOML.
    fn master_table(&self) -> String {
        let sentinels: Vec<_> = self.sentinel.iter().map(|sentinel| quoted(sentinel)).collect();
        let name = quoted(self.master.as_deref().unwrap_or("mymaster"));
        let mut table = format!("{{ name = {name}, sentinels = [{}]", sentinels.join(", "));
        if let Some(user) = &self.user {
            table.push_str(&format!(", user = {}", quoted(user)));
        }
        if let Some(file) = &self.password_file {
            table.push_str(&format!(", password_file = {}", quoted(&file.to_string_lossy())));
        }
        table + " }"
    }
}

/// A TOML string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string() // TOML's basic strings are JSON's
}
