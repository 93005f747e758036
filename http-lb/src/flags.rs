//! The flags of http-lb, which are enough for one cluster and static files. Kind: pure.

use proxy_core::config::Override;

/// The flags of http-lb.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// A replica; more by repeating the flag [clusters.upstreams]
    #[arg(long, value_name = "ADDR")]
    upstream: Vec<String>,
    /// Requests that each replica works on at the same time: gunicorn's workers [clusters.slots]
    #[arg(long, value_name = "N", requires = "upstream")]
    slots: Option<u32>,
    /// A folder that is served under a prefix of the path; more by repeating the flag [files]
    #[arg(long = "static", value_name = "/PREFIX=DIR", value_parser = folder)]
    folders: Vec<Folder>,
    /// Where clients connect; more by repeating the flag [listeners.listen]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// A set of defaults for an application [profile]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

/// A folder under a prefix.
#[derive(Debug, Clone)]
struct Folder {
    prefix: String,
    root: String,
}

fn folder(text: &str) -> Result<Folder, String> {
    let (prefix, root) = text.split_once('=').ok_or("write /prefix=/folder")?;
    let prefix = prefix.trim_end_matches('/');
    Ok(Folder { prefix: format!("{prefix}/"), root: root.to_owned() })
}

impl Args {
    /// The settings that they override.
    pub fn overrides(&self) -> Vec<Override> {
        let mut overrides = Vec::new();
        let mut add = |flag: &'static str, key: &'static str, tables: Vec<String>| {
            if !tables.is_empty() {
                overrides.push(Override::new(flag, key, format!("[{}]", tables.join(", "))));
            }
        };
        add("--upstream", "clusters", self.cluster());
        add("--static", "files", self.folders.iter().map(Folder::table).collect());
        let listener = |listen: &String| format!("{{ listen = {} }}", quoted(listen));
        add("--listen", "listeners", self.listen.iter().map(listener).collect());
        if let Some(profile) = &self.profile {
            overrides.push(Override::new("--profile", "profile", profile.clone()));
        }
        overrides
    }

    /// The cluster that the flags describe, as TOML.
    fn cluster(&self) -> Vec<String> {
        if self.upstream.is_empty() {
            return Vec::new();
        }
        let upstreams: Vec<_> = self.upstream.iter().map(|upstream| quoted(upstream)).collect();
        let slots = self.slots.map_or_else(String::new, |slots| format!(", slots = {slots}"));
        vec![format!("{{ upstreams = [{}]{slots} }}", upstreams.join(", "))]
    }
}

impl Folder {
    fn table(&self) -> String {
        format!("{{ prefix = {}, root = {} }}", quoted(&self.prefix), quoted(&self.root))
    }
}

/// A TOML string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string() // TOML's basic strings are JSON's
}
