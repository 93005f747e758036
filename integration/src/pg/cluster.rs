//! One primary and its standbys under repmgr, on loopback or each in a network namespace of its own. Kind: driver.

use super::{Account, Node, Repmgrd, files, files::Timings, repmgr, site::Site, ssh, template};
use crate::{
    Error, Result, debian,
    netns::{Net, Place},
    place::{self, Owner},
    process::{Process, free_port},
    sweeper::Sweeper,
    wait::eventually,
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// What to start.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// How many nodes; the first is the primary.
    pub nodes: usize,
    /// Below which templates and clusters live; none: see `place::data`.
    pub data: Option<PathBuf>,
    /// The cluster's own folder, which is emptied at the start and kept at the end; none: a fresh one, removed at the
    /// end unless a panic or `STACK_KEEP=1` asks for its logs.
    pub dir: Option<PathBuf>,
    /// The first port; none: free ones.
    pub base_port: Option<u16>,
    /// The first primary, and it alone, waits for any one standby before it acknowledges.
    pub sync_standby: bool,
    /// repmgrd on every node, this patient; none: no automatic failover.
    pub repmgrd: Option<Timings>,
    /// Every node in a network namespace of its own (root only).
    pub namespaces: bool,
    /// `max_connections`, at least 100.
    pub max_connections: u32,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            nodes: 3,
            data: None,
            dir: None,
            base_port: None,
            sync_standby: false,
            repmgrd: Some(Timings::default()),
            namespaces: false,
            max_connections: 400,
        }
    }
}

/// A running cluster. Dropping it stops everything, in the order of the fields: first who would act on a death.
#[derive(Debug)]
pub struct Cluster {
    repmgrds: Vec<Repmgrd>,
    watched: bool,
    sshds: Mutex<Vec<Process>>,
    ssh_port: u16,
    nodes: Vec<Arc<Node>>,
    _broom: Sweeper,
    net: Option<Net>,
    site: Arc<Site>,
}

impl Cluster {
    /// Brings it up and waits until it is whole: from a template when there is one, otherwise from nothing.
    pub fn start(options: &ClusterOptions) -> Result<Self> {
        debian::ensure(debian::PG)?;
        let owner = Owner::of_servers()?;
        let root = place::data(options.data.as_deref(), &owner)?;
        let template = template::ensure(&root, options.nodes, &owner)?;
        let dir = options.dir.clone().unwrap_or_else(|| place::fresh(&root));
        drop(super::broom(&dir, true)?); // what an earlier run left there
        let broom = super::broom(&dir, options.dir.is_none())?;
        let cluster = Self::lay_out(Arc::new(Site::create(&dir, &owner)?), broom, options)?;
        cluster.copy(&template, options)?;
        cluster.launch()?;
        Ok(cluster)
    }

    /// All nodes, by id.
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// The node with repmgr's id `id`, from 1.
    pub fn node(&self, id: usize) -> &Node {
        &self.nodes[id - 1]
    }

    /// The repmgrd of a node.
    pub fn repmgrd(&self, id: usize) -> &Repmgrd {
        &self.repmgrds[id - 1]
    }

    /// The network, where the nodes have namespaces.
    pub fn net(&self) -> Option<&Net> {
        self.net.as_ref()
    }

    /// The cluster's folder: data folders `n1` …, logs `n1.log` …, `repmgr1.log` …
    pub fn dir(&self) -> &Path {
        &self.site.dir
    }

    /// The primary, as the nodes say it now; of two, the one with the higher timeline.
    pub fn primary(&self) -> Result<&Node> {
        self.primary_among(|_| true)
    }

    fn primary_among(&self, wanted: impl Fn(&Node) -> bool) -> Result<&Node> {
        let timeline = "select case when pg_is_in_recovery() then '' \
                        else substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) end";
        let running = self.nodes.iter().filter(|node| wanted(node) && node.pid().is_some());
        let claims = running.filter_map(|node| Some((node.sql("repmgr", timeline).ok()?, node)));
        let best = claims.filter(|(timeline, _)| !timeline.is_empty()).max_by(|a, b| a.0.cmp(&b.0));
        best.map(|(_, node)| node.as_ref()).ok_or_else(|| Error::new("no node is primary"))
    }

    /// Waits until the primary has all others streaming directly from it, and every node's `repmgr.nodes` says so.
    pub fn settled(&self) -> Result<&Node> {
        eventually(Duration::from_secs(60), "a whole cluster", || {
            let primary = self.primary().map_err(|e| e.to_string())?;
            self.whole(primary).map(|()| primary)
        })
    }

    /// Is it as it was at its start: n1 the primary, the others streaming from it, every repmgrd alive?
    pub fn pristine(&self) -> bool {
        let watched = !self.watched || self.repmgrds.iter().all(Repmgrd::running);
        watched && self.primary().is_ok_and(|primary| primary.id() == 1) && self.whole(&self.nodes[0]).is_ok()
    }

    /// `repmgr standby switchover --siblings-follow` to node `id`. Blocks until repmgr is done, about 11 s.
    pub fn switchover_to(&self, id: usize) -> Result<()> {
        self.open_ssh()?;
        self.node(id).repmgr(["standby", "switchover", "--siblings-follow"]).map(drop)
    }

    /// `repmgr node rejoin --force-rewind` of a dead or deposed node under the present primary.
    pub fn rejoin(&self, id: usize) -> Result<()> {
        let primary = self.primary_among(|node| node.id() != id)?;
        repmgr::rejoin(self.node(id), primary)?;
        if self.watched { self.repmgrd(id).start() } else { Ok(()) }
    }

    /// Stops everything in order, the primary first, so that its standbys have everything.
    pub fn stop(self) -> Result<()> {
        self.repmgrds.iter().try_for_each(Repmgrd::stop)?;
        let primary = self.primary().map_or(0, Node::id);
        let (first, rest): (Vec<_>, Vec<_>) = self.nodes.iter().partition(|node| node.id() == primary);
        first
            .into_iter()
            .chain(rest)
            .filter(|node| node.pid().is_some())
            .try_for_each(|node| node.stop_fast())
    }

    fn lay_out(site: Arc<Site>, broom: Sweeper, options: &ClusterOptions) -> Result<Self> {
        let net = if options.namespaces { Some(Net::create(options.nodes)?) } else { None };
        let node =
            |id| Arc::new(Node::new(id, site.clone(), addr(id, net.as_ref(), options), namespace(id, &net)));
        let nodes: Vec<_> = (1..=options.nodes).map(node).collect();
        Ok(Self {
            repmgrds: nodes.iter().cloned().map(Repmgrd::new).collect(),
            watched: options.repmgrd.is_some(),
            sshds: Mutex::default(),
            ssh_port: free_port(),
            nodes,
            _broom: broom,
            net,
            site,
        })
    }

    /// Data folders from the template, everything that holds an address or a path written anew.
    fn copy(&self, template: &Path, options: &ClusterOptions) -> Result<()> {
        template::copy(template, &self.site, self.nodes.len())?;
        self.site.write("pgpass", &files::pgpass(Account::ALL))?;
        let timings = options.repmgrd.unwrap_or_default();
        for node in &self.nodes {
            node.configure(options.max_connections.max(template::MIN_CONNECTIONS))?;
            let (ip, port) = (node.addr().ip(), node.addr().port());
            let conf = files::repmgr(&self.site.folder(), node.id(), ip, port, self.ssh_port, timings);
            self.site.write(node.repmgr_conf(), &conf)?;
        }
        for standby in &self.nodes[1..] {
            standby.write("postgresql.auto.conf", &self.follow(standby, &self.nodes[0]))?;
        }
        if options.sync_standby { self.nodes[0].write("conf.sync", files::SYNC) } else { Ok(()) }
    }

    fn follow(&self, standby: &Node, primary: &Node) -> String {
        let upstream = files::conninfo(primary.addr().ip(), primary.addr().port());
        files::follow(standby.id(), &self.site.folder(), &upstream)
    }

    fn launch(&self) -> Result<()> {
        self.nodes[0].start()?; // a standby that found no primary would try again only after a second
        at_once(&self.nodes[1..], |node| node.start())?;
        self.nodes[0].sql("repmgr", &self.records())?;
        self.settled()?;
        if self.watched { at_once(&self.repmgrds, Repmgrd::start) } else { Ok(()) }
    }

    /// `repmgr.nodes` as of now: it still holds the addresses of the template.
    fn records(&self) -> String {
        let record = |node: &Arc<Node>| {
            let conninfo = files::conninfo(node.addr().ip(), node.addr().port());
            let (conf, id) = (node.repmgr_conf(), node.id());
            format!(
                "update repmgr.nodes set conninfo = '{conninfo}', \
                 config_file = '{}' where node_id = {id};",
                conf.display()
            )
        };
        self.nodes.iter().map(record).collect()
    }

    /// An error says what isn't as it should be.
    fn whole(&self, primary: &Node) -> std::result::Result<(), String> {
        const RECORDS: &str = "select string_agg(format('n%s %s %s', node_id, type, \
             case when active then 'active' else 'inactive' end), ', ' order by node_id) from repmgr.nodes";
        const STREAMING: &str = "select count(*) from pg_stat_replication where state = 'streaming'";
        let streaming = primary.sql("repmgr", STREAMING).map_err(|e| e.to_string())?;
        if streaming != (self.nodes.len() - 1).to_string() {
            return Err(format!("n{} is primary, {streaming} stream from it", primary.id()));
        }
        let expected = self.expected(primary.id());
        self.nodes.iter().try_for_each(|node| match node.sql("repmgr", RECORDS) {
            Ok(records) if records == expected => self.addressed(node),
            Ok(records) => Err(format!("n{} says: {records}", node.id())),
            Err(e) => Err(e.to_string()),
        })
    }

    fn expected(&self, primary: usize) -> String {
        let role = |id| if id == primary { "primary" } else { "standby" };
        let lines: Vec<String> =
            self.nodes.iter().map(|n| format!("n{} {} active", n.id(), role(n.id()))).collect();
        lines.join(", ")
    }

    /// Has the node replayed our own addresses? A repmgrd that starts before would look for the template's.
    fn addressed(&self, node: &Node) -> std::result::Result<(), String> {
        let here =
            format!("select count(*) from repmgr.nodes where config_file like '{}/%'", self.dir().display());
        match node.sql("repmgr", &here) {
            Ok(count) if count == self.nodes.len().to_string() => Ok(()),
            Ok(count) => Err(format!("n{} knows {count} addresses", node.id())),
            Err(e) => Err(e.to_string()),
        }
    }

    /// One sshd serves all nodes of one address; nodes with addresses of their own have one each.
    fn open_ssh(&self) -> Result<()> {
        let mut sshds = self.sshds.lock().unwrap_or_else(PoisonError::into_inner);
        if !sshds.is_empty() {
            return Ok(());
        }
        ssh::keys(&self.site)?;
        let places = if self.net.is_some() { &self.nodes[..] } else { &self.nodes[..1] };
        for node in places {
            sshds.push(ssh::start(node, self.ssh_port)?);
        }
        Ok(())
    }
}

fn namespace(id: usize, net: &Option<Net>) -> Option<String> {
    net.as_ref().map(|net| net.namespace(id))
}

fn addr(id: usize, net: Option<&Net>, options: &ClusterOptions) -> SocketAddr {
    let ip = net.map_or(Ipv4Addr::LOCALHOST, |net| net.addr(Place::Node(id)));
    let port = match options.base_port {
        Some(base) => base + u16::try_from(id).unwrap_or(u16::MAX) - 1,
        None if net.is_some() => 5432,
        None => free_port(),
    };
    SocketAddr::new(IpAddr::V4(ip), port)
}

/// Does the same to all, each on a thread of its own; the first error wins.
fn at_once<T: Sync>(items: &[T], verb: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = items.iter().map(|item| scope.spawn(|| verb(item))).collect();
        threads.into_iter().try_for_each(|t| t.join().expect("verbs return their errors"))
    })
}
