//! Reads what the configuration names: users and the operator's own pages. Kind: driver.

use std::collections::HashMap;
use std::fs;
use std::hash::RandomState;
use std::path::Path;
use std::time::Instant;

use proxy_core::error::{Error, Result};

use crate::config::Config;

use super::Edge;
use super::access::{Users, read_users};
use super::compile::{self, Given};
use super::pages::Own;

/// A larger page is none.
const LARGEST_PAGE: u64 = 256 << 10;

impl Edge {
    /// The edge of a configuration; after a reload what goes on is taken over from the previous one.
    ///
    /// # Errors
    /// `Config`, with the file and the remedy.
    pub fn load(config: &Config, previous: Option<&Self>) -> Result<Self> {
        let mut users = HashMap::new();
        for auth in config.routes.iter().filter_map(|route| route.basic_auth.as_ref()) {
            users.insert(auth.file.clone(), read_file(&auth.file)?);
        }
        let pages = config.pages.directory.as_deref().map(read_pages).transpose()?.unwrap_or_default();
        let mut key = [0; 32];
        fastrand::fill(&mut key);
        Ok(compile::edge(
            config,
            &Given { users, pages, key, chance: RandomState::new(), now: Instant::now(), previous },
        ))
    }
}

fn read_file(path: &Path) -> Result<Users> {
    let wrong = |error: String| Error::config(format!("users of {}: {error}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    read_users(&text).map_err(wrong)
}

/// `503.html`, `404.json`, `maintenance.html`; what else is there is left alone.
fn read_pages(directory: &Path) -> Result<Own> {
    let wrong = |error: std::io::Error| Error::config(format!("pages of {}: {error}", directory.display()));
    let mut own = Own::new();
    for entry in fs::read_dir(directory).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some((status, "html" | "json")) = name.rsplit_once('.') else { continue };
        if status != "maintenance" && status.parse::<u16>().is_err() {
            continue;
        }
        if entry.metadata().map_err(wrong)?.len() > LARGEST_PAGE {
            return Err(Error::config(format!("{} is larger than 256 KiB", entry.path().display())));
        }
        own.insert(name, fs::read_to_string(entry.path()).map_err(wrong)?);
    }
    Ok(own)
}
