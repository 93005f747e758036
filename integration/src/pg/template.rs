//! A cluster made once, stopped in order and kept, so that every later one is a copy that starts in seconds.
//! Kind: driver.

use super::{Account, Node, files, files::Timings, site::Site};
use crate::{
    Context, Result,
    place::Owner,
    process::{Spec, free_port},
    progress::say,
};
use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A standby refuses to start with fewer connections than its primary had (hot-standby.html), so the template has
/// fewer than any copy.
pub(super) const MIN_CONNECTIONS: u32 = 100;

/// Held by whoever looks whether the template is there, and makes it if not.
static MAKING: Mutex<()> = Mutex::new(());

/// The folder of a stopped cluster of `nodes` nodes below `root`; makes it the first time.
pub(super) fn ensure(root: &Path, nodes: usize, owner: &Owner) -> Result<PathBuf> {
    let dir = root.join("templates").join(key(nodes));
    // Tests of one binary run side by side, and a draft bears the name of its process: one at a time, the others copy.
    let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if !dir.exists() {
        say(format_args!("making a cluster of {nodes} nodes, once; later ones are copies of it"));
        make(&dir, nodes, owner).context("make the template")?;
    }
    Ok(dir)
}

/// Copies the data folders of a template into `site`.
pub(super) fn copy(template: &Path, site: &Site, nodes: usize) -> Result<()> {
    let from = (1..=nodes).map(|id| template.join(format!("n{id}")).to_string_lossy().into_owned());
    let args = ["-a".into(), "--reflink=auto".into()].into_iter().chain(from).chain([site.folder()]);
    Spec::new("cp").args(args).output(Duration::from_secs(120)).map(drop)
}

/// Whatever goes into a template is in its name: another text is another template.
fn key(nodes: usize) -> String {
    let mut hash = DefaultHasher::new();
    (files::COMMON, files::INCLUDES, files::HBA, files::ROLES).hash(&mut hash);
    format!("pg15-{nodes}-{:016x}", hash.finish())
}

/// Made beside its place and moved there whole: half a template is never seen.
fn make(dir: &Path, nodes: usize, owner: &Owner) -> Result<()> {
    let draft = dir.with_extension(format!("draft-{}", std::process::id()));
    let _broom = super::broom(&draft, true)?;
    fs::create_dir_all(dir.parent().unwrap_or(dir))?;
    let site = Arc::new(Site::create(&draft, owner)?);
    build(&site, nodes)?;
    match fs::rename(&draft, dir) {
        Err(_) if dir.exists() => Ok(()), // somebody else made it meanwhile; ours goes with the broom
        moved => moved.context(dir.display()),
    }
}

fn build(site: &Arc<Site>, count: usize) -> Result<()> {
    let addr = || SocketAddr::new(LOOPBACK, free_port());
    let nodes: Vec<Node> = (1..=count).map(|id| Node::new(id, site.clone(), addr(), None)).collect();
    site.write("pgpass", &files::pgpass(Account::ALL))?;
    for node in &nodes {
        let (ip, port) = (node.addr().ip(), node.addr().port());
        let conf = files::repmgr(&site.folder(), node.id(), ip, port, 0, Timings::default());
        site.write(node.repmgr_conf(), &conf)?;
    }
    first(site, &nodes[0])?;
    nodes[1..].iter().try_for_each(|node| standby(node, &nodes[0]))?;
    // The primary first: it waits until its standbys have everything.
    nodes.iter().try_for_each(Node::stop_fast)
}

fn first(site: &Site, node: &Node) -> Result<()> {
    initdb(site, node)?;
    node.configure(MIN_CONNECTIONS)?;
    node.start()?;
    for statement in files::ROLES {
        node.sql_as(Account::POSTGRES, statement)?;
    }
    node.repmgr(["primary", "register"]).map(drop)
}

fn initdb(site: &Site, node: &Node) -> Result<()> {
    let password = Account::POSTGRES.password.unwrap_or_default();
    site.write("initdb.password", password)?;
    let (data, file) = (node.data().to_string_lossy(), site.text("initdb.password"));
    let args = ["-D", &data, "-U", "postgres", "--pwfile", &file, "-E", "UTF8", "--locale=C.UTF-8"];
    let more = ["--auth-local=trust", "--auth-host=scram-sha-256", "--data-checksums", "--no-sync"];
    site.run("initdb", None, args.into_iter().chain(more))?;
    let conf = fs::read_to_string(node.data().join("postgresql.conf"))?;
    node.write("postgresql.conf", &(conf + files::INCLUDES))?;
    node.write("conf.common", files::COMMON)?;
    node.write("pg_hba.conf", files::HBA)
}

fn standby(node: &Node, primary: &Node) -> Result<()> {
    let (host, port) = (primary.addr().ip().to_string(), primary.addr().port().to_string());
    node.repmgr([
        "-h",
        &host,
        "-p",
        &port,
        "-U",
        "repmgr",
        "-d",
        "repmgr",
        "standby",
        "clone",
        "--fast-checkpoint",
    ])?;
    node.configure(MIN_CONNECTIONS)?;
    node.start()?;
    node.repmgr(["standby", "register"]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_of_different_size_are_different_templates() {
        assert_ne!(key(2), key(3));
    }
}
