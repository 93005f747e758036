//! http-lb in front of HTTP servers. Kind: driver.

use super::{HTTP, Kind, Site};
use crate::{
    Result,
    front::{Application, Front},
};
use std::{fmt::Write, path::PathBuf};

/// What only http-lb knows: nothing beside what every front is told.
#[derive(Debug, Clone, Default)]
pub struct HttpLb;

impl Kind for HttpLb {
    type Cluster = Front;
    const NAME: &'static str = HTTP;

    fn home(_: &Front) -> Option<PathBuf> {
        None
    }

    fn configure(&self, front: &Front, site: &Site<'_>) -> Result<String> {
        Ok(config(front, site))
    }
}

/// The name of the only cluster.
const CLUSTER: &str = "application";

fn config(front: &Front, site: &Site<'_>) -> String {
    let mut text = String::new();
    if front.application == Application::Pretix {
        text.push_str("profile = \"pretix\"\n");
    }
    let _ = write!(text, "[[listeners]]\nlisten = \"{}\"\ntls = {}\n", site.addr, front.tls.is_some());
    if let Some(keys) = &front.tls {
        let keys = keys.display();
        let _ = write!(
            text,
            "[[tls.certificates]]\ncertificate = \"{keys}/server.crt\"\nkey = \"{keys}/server.key\"\n"
        );
    }
    if !front.upstreams.is_empty() {
        text.push_str(&cluster(front));
    }
    for files in &front.files {
        let _ =
            write!(text, "[[files]]\nprefix = \"{}\"\nroot = \"{}\"\n", files.prefix, files.root.display());
        // Nobody asks a bench's files in a coding, and making one takes CPU that would be billed to requests.
        if front.application != Application::Pretix {
            text.push_str("precompress = []\n");
        }
    }
    text
}

fn cluster(front: &Front) -> String {
    let upstreams: Vec<String> = front.upstreams.iter().map(ToString::to_string).collect();
    let slots = front.slots.unwrap_or(0);
    let mut text =
        format!("[[clusters]]\nname = \"{CLUSTER}\"\nupstreams = {upstreams:?}\nslots = {slots}\n");
    if front.application == Application::Orders {
        text.push_str(
            "queue = { timeout = \"5s\" }
[[classes]]
name = \"orders\"
rules = [{ paths = [\"/checkout/**\"] }]
[[classes]]
name = \"browsing\"
",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn what_belongs_to_no_table_comes_first() {
        let front =
            Front { application: Application::Pretix, ..Front::before(vec![([127, 0, 0, 1], 9).into()]) };
        let (dir, addr) = (Path::new("/d"), ([127, 0, 0, 1], 80).into());
        let text = config(&front, &Site { dir, addr, admin: addr });
        assert!(text.starts_with("profile = \"pretix\"\n[[listeners]]\n"), "{text}");
        assert!(text.contains("upstreams = [\"127.0.0.1:9\"]\nslots = 0\n"), "{text}");
    }
}
