//! One master, its replicas and the Sentinels that watch them, on loopback or in network namespaces. Kind: driver.

use super::{
    Account, Node, Role, Sentinel, View,
    files::{self, Timings, Tls, Watch},
    server::{Plan, Server},
};
use crate::{
    Error, Result,
    certificates::Authority,
    debian,
    netns::{Net, Place},
    place::{self, Owner},
    process::free_port,
    sweeper::Sweeper,
    wait::eventually,
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Sentinels hear of one another by a hello each 2 s, and of replicas by an INFO each 10 s.
const WHOLE: Duration = Duration::from_secs(90);

/// What to start.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// How many servers; the first is the master.
    pub nodes: usize,
    /// How many Sentinels; a majority of them must agree.
    pub sentinels: usize,
    /// The cluster's own folder, which is emptied at the start and kept at the end; none: a fresh one, removed at the
    /// end unless a panic or `STACK_KEEP=1` asks for its logs.
    pub dir: Option<PathBuf>,
    /// The first port of the servers and of the Sentinels; none: free ones.
    pub base_ports: Option<(u16, u16)>,
    /// What the Sentinels wait for.
    pub timings: Timings,
    /// Ports for TLS beside the plain ones.
    pub tls: bool,
    /// A password for the Sentinels, too.
    pub sentinel_password: bool,
    /// Every server, with the Sentinel of its number, in a network namespace of its own (root only).
    pub namespaces: bool,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            nodes: 3,
            sentinels: 3,
            dir: None,
            base_ports: None,
            timings: Timings::default(),
            tls: false,
            sentinel_password: false,
            namespaces: false,
        }
    }
}

/// A running cluster. Dropping it stops everything, in the order of the fields: first who would act on a death.
#[derive(Debug)]
pub struct Cluster {
    sentinels: Vec<Sentinel>,
    nodes: Vec<Node>,
    net: Option<Net>,
    dir: PathBuf,
    _broom: Sweeper,
}

impl Cluster {
    /// Brings it up and waits until it is whole.
    pub fn start(options: &ClusterOptions) -> Result<Self> {
        debian::ensure(debian::REDIS)?;
        let dir = match &options.dir {
            Some(dir) => dir.clone(),
            None => place::fresh(&place::data(None, &Owner::ourselves())?),
        };
        drop(broom(&dir, true)?); // what an earlier run left there
        let broom = broom(&dir, options.dir.is_none())?;
        std::fs::create_dir_all(&dir)?;
        let cluster = Self::lay_out(dir, broom, options)?;
        cluster.launch()?;
        Ok(cluster)
    }

    /// All servers, by id.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The server with this number, from 1.
    pub fn node(&self, id: usize) -> &Node {
        &self.nodes[id - 1]
    }

    /// All Sentinels.
    pub fn sentinels(&self) -> &[Sentinel] {
        &self.sentinels
    }

    /// The Sentinel with this number, from 1.
    pub fn sentinel(&self, id: usize) -> &Sentinel {
        &self.sentinels[id - 1]
    }

    /// The network, where the servers have namespaces.
    pub fn net(&self) -> Option<&Net> {
        self.net.as_ref()
    }

    /// The cluster's folder: `r1/log` …, `s1/log` …
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The authority's certificate, where the servers speak TLS.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// The master, as the Sentinel says that knows of the latest failover.
    pub fn master(&self) -> Result<&Node> {
        let views = self.sentinels.iter().filter(|s| s.pid().is_some()).filter_map(|s| s.view().ok());
        let latest = views.max_by_key(|view| view.epoch).ok_or_else(|| Error::new("no Sentinel answers"))?;
        self.at(latest.master)
    }

    fn at(&self, addr: SocketAddr) -> Result<&Node> {
        let node = self.nodes.iter().find(|node| node.addr() == addr || node.tls_addr() == Some(addr));
        node.ok_or_else(|| Error::new(format!("{addr} is none of ours")))
    }

    /// Waits until all that run agree: one master, everybody else its connected replica, every Sentinel aware of all.
    /// Sentinels that have not yet found each other would fail over alone.
    pub fn settled(&self) -> Result<&Node> {
        eventually(WHOLE, "a whole cluster", || {
            let master = self.master().map_err(|e| e.to_string())?;
            self.whole(master).map(|()| master)
        })
    }

    /// Tells a Sentinel to fail over, and waits until another server than `old` answers as master. Returns it with the
    /// moment at which that was seen.
    pub fn failover(&self, old: &Node) -> Result<(&Node, Instant)> {
        self.order_failover()?;
        self.promoted(old.id(), Duration::from_secs(20))
    }

    /// Tells a Sentinel to fail over. It refuses while it still sees an earlier failover or no replica fit for it.
    pub fn order_failover(&self) -> Result<()> {
        eventually(Duration::from_secs(20), "a Sentinel that fails over", || {
            let sentinel = self.sentinels.iter().find(|s| s.pid().is_some());
            let sentinel = sentinel.ok_or_else(|| "no Sentinel runs".to_string())?;
            sentinel.failover().map_err(|e| e.to_string())
        })
    }

    /// Waits until a server other than `than` calls itself master.
    pub fn promoted(&self, than: usize, timeout: Duration) -> Result<(&Node, Instant)> {
        let others = || self.nodes.iter().filter(|node| node.id() != than && node.pid().is_some());
        eventually(timeout, "a new master", || {
            let master = others().find(|node| matches!(node.role(), Ok(Role::Master { .. })));
            master.map(|node| (node, Instant::now())).ok_or_else(|| "only replicas".into())
        })
    }

    /// Stops everything, the Sentinels first.
    pub fn stop(self) -> Result<()> {
        self.sentinels.iter().try_for_each(|sentinel| sentinel.stop())?;
        self.nodes.iter().try_for_each(|node| node.stop())
    }

    fn lay_out(dir: PathBuf, broom: Sweeper, options: &ClusterOptions) -> Result<Self> {
        let net = if options.namespaces { Some(Net::create(options.nodes)?) } else { None };
        if options.tls {
            Authority::create()?.serve(&dir)?;
        }
        let first = addr(1, 6379, net.as_ref(), options.base_ports.map(|(node, _)| node));
        let site = Site { dir: &dir, net: net.as_ref(), options, first };
        let nodes = (1..=options.nodes).map(|id| site.node(id)).collect::<Result<_>>()?;
        let sentinels = (1..=options.sentinels).map(|id| site.sentinel(id)).collect::<Result<_>>()?;
        Ok(Self { sentinels, nodes, net, dir, _broom: broom })
    }

    fn launch(&self) -> Result<()> {
        self.nodes.iter().try_for_each(|node| node.start())?;
        self.sentinels.iter().try_for_each(|sentinel| sentinel.start())?;
        self.settled().map(drop)
    }

    /// An error says what isn't as it should be.
    fn whole(&self, master: &Node) -> std::result::Result<(), String> {
        let running = |node: &&Node| node.pid().is_some();
        let nodes: Vec<&Node> = self.nodes.iter().filter(running).collect();
        for node in &nodes {
            let role = node.role().map_err(|e| e.to_string())?;
            let expected = if node.id() == master.id() {
                Role::Master { replicas: nodes.len() - 1 }
            } else {
                Role::Replica { master: master.addr(), connected: true }
            };
            if role != expected {
                return Err(format!("{} is {role:?}", node.name()));
            }
        }
        self.sentinels.iter().filter(|s| s.pid().is_some()).try_for_each(|s| self.aware(s, master))
    }

    fn aware(&self, sentinel: &Sentinel, master: &Node) -> std::result::Result<(), String> {
        let view = sentinel.view().map_err(|e| e.to_string())?;
        let View { replicas, others, ref flags, .. } = view;
        let counts = (replicas + 1, others + 1) == (self.nodes.len() as i64, self.sentinels.len() as i64);
        if !counts || flags != "master" || view.master != master.addr() {
            return Err(format!("{} sees {view:?}", sentinel.name()));
        }
        match sentinel.mistaken().map_err(|e| e.to_string())? {
            0 => Ok(()),
            some => Err(format!("{} takes {some} of its replicas for masters", sentinel.name())),
        }
    }
}

/// Where the parts of a cluster go.
struct Site<'a> {
    dir: &'a Path,
    net: Option<&'a Net>,
    options: &'a ClusterOptions,
    /// The first master.
    first: SocketAddr,
}

impl Site<'_> {
    fn node(&self, id: usize) -> Result<Node> {
        let base = self.options.base_ports.map(|(node, _)| node);
        let addr = if id == 1 { self.first } else { addr(id, 6379, self.net, base) };
        let plan = self.plan(format!("r{id}"), "redis-server", id, addr, Some(Account::DEFAULT));
        let master = (id > 1).then_some(self.first);
        let configuration = files::redis(&plan.dir, addr, master, self.tls(&plan));
        Server::lay_out(plan, &configuration).map(|server| Node::new(id, server))
    }

    /// A Sentinel beyond the last server lives with the first one.
    fn sentinel(&self, id: usize) -> Result<Sentinel> {
        let base = self.options.base_ports.map(|(_, sentinel)| sentinel);
        let home = if id <= self.options.nodes { id } else { 1 };
        let port = 26378 + u16::try_from(id).unwrap_or(1); // several may share a namespace
        let addr = match base {
            Some(base) => local(base + u16::try_from(id).unwrap_or(1) - 1),
            None => addr(home, port, self.net, None),
        };
        let who = self.options.sentinel_password.then_some(Account::SENTINEL);
        let plan = self.plan(format!("s{id}"), "redis-sentinel", home, addr, who);
        let (quorum, timings) = (self.options.sentinels / 2 + 1, self.options.timings);
        let watch = Watch { master: self.first, quorum, timings, who };
        let configuration = files::sentinel(&plan.dir, addr, &watch, self.tls(&plan));
        Server::lay_out(plan, &configuration).map(Sentinel::new)
    }

    fn plan(
        &self,
        name: String,
        program: &'static str,
        home: usize,
        addr: SocketAddr,
        who: Option<Account>,
    ) -> Plan {
        Plan {
            dir: self.dir.join(&name),
            tls: self.options.tls.then(|| SocketAddr::new(addr.ip(), free_port())),
            netns: self.net.map(|net| net.namespace(home)),
            name,
            program,
            addr,
            who,
        }
    }

    fn tls(&self, plan: &Plan) -> Option<Tls<'_>> {
        plan.tls.map(|addr| Tls { port: addr.port(), folder: self.dir })
    }
}

fn addr(id: usize, in_namespace: u16, net: Option<&Net>, base: Option<u16>) -> SocketAddr {
    match (net, base) {
        (Some(net), _) => SocketAddr::new(IpAddr::V4(net.addr(Place::Node(id))), in_namespace),
        (None, Some(base)) => local(base + u16::try_from(id).unwrap_or(1) - 1),
        (None, None) => local(free_port()),
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Removes `dir` if `remove` (unless it is wanted as evidence). The programs themselves are children that go with us.
fn broom(dir: &Path, remove: bool) -> Result<Sweeper> {
    let dir = dir.display();
    Sweeper::arm(&if remove { format!("[ -n \"$keep$STACK_KEEP\" ] || rm -rf '{dir}'") } else { ":".into() })
}
