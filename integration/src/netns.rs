//! A network of namespaces: every place has an address of its own on one bridge, and any two can be cut apart.
//! Root only. Kind: driver.
//!
//! A cut gives each side a hardware address of the other that nobody has. So frames leave and are lost: silently, both
//! ways, for old and new connections alike, as when a cable is pulled. (A blackhole route would tell the sender.)

use crate::{Context, Error, Result, process::Spec, sweeper::Sweeper};
use std::{fmt::Write, net::Ipv4Addr, time::Duration};

/// A place in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Where this process, the router and the clients are.
    Host,
    /// The node with this id, from 1.
    Node(usize),
}

/// One bridge in a namespace of its own, one veth pair for each place. Dropping it removes everything.
#[derive(Debug)]
pub struct Net {
    name: String,
    subnet: u8,
    _broom: Sweeper,
}

impl Net {
    /// Makes it.
    pub fn create(nodes: usize) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::usage("network namespaces need root"));
        }
        let subnet = free_subnet()?;
        let name = format!("turnstile-{}-{subnet}", std::process::id());
        let net = Self { _broom: Sweeper::arm(&tear_down(&name, nodes))?, subnet, name };
        sh(&net.set_up(nodes)).context("make the network")?;
        Ok(net)
    }

    /// The address of a place.
    pub fn addr(&self, place: Place) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.subnet, last(place))
    }

    /// The namespace of a node, for `ip netns exec`.
    pub fn namespace(&self, node: usize) -> String {
        format!("{}-{node}", self.name)
    }

    /// From now on nothing passes between the two.
    pub fn cut(&self, a: Place, b: Place) -> Result<()> {
        self.both(a, b, "replace")
    }

    /// Undoes `cut`.
    pub fn heal(&self, a: Place, b: Place) -> Result<()> {
        self.both(a, b, "del")
    }

    fn both(&self, a: Place, b: Place, verb: &str) -> Result<()> {
        sh(&format!("{}\n{}", self.neighbour(a, b, verb), self.neighbour(b, a, verb)))
    }

    fn neighbour(&self, at: Place, to: Place, verb: &str) -> String {
        let (ip, link) = match at {
            Place::Host => ("ip".into(), self.host_link()),
            Place::Node(id) => (format!("ip -n {}", self.namespace(id)), NODE_LINK.into()),
        };
        let nobody = if verb == "del" { "" } else { "lladdr 02:00:00:00:00:00 nud permanent" };
        format!("{ip} neigh {verb} {} dev {link} {nobody}", self.addr(to))
    }

    fn set_up(&self, nodes: usize) -> String {
        let name = &self.name;
        let mut script = format!("ip netns add {name}\nip -n {name} link add bridge type bridge\n");
        let _ = writeln!(script, "ip -n {name} link set bridge up");
        self.plug(&mut script, Place::Host, &self.host_link(), "ip");
        for id in 1..=nodes {
            let namespace = self.namespace(id);
            let _ = writeln!(script, "ip netns add {namespace}\nip -n {namespace} link set lo up");
            self.plug(&mut script, Place::Node(id), NODE_LINK, &format!("ip -n {namespace}"));
        }
        script
    }

    /// One end of a veth pair into the bridge, the other one, with the address, to the place.
    fn plug(&self, script: &mut String, place: Place, link: &str, ip: &str) {
        let (name, port, addr) = (&self.name, format!("p{}", last(place)), self.addr(place));
        let _ = write!(
            script,
            "{ip} link add {link} type veth peer name {port} netns {name}
ip -n {name} link set {port} master bridge up
{ip} addr add {addr}/24 dev {link}
{ip} link set {link} up
"
        );
    }

    fn host_link(&self) -> String {
        format!("ts{}", self.subnet)
    }
}

/// The name of a node's end of its veth pair.
const NODE_LINK: &str = "eth0";

fn last(place: Place) -> u8 {
    match place {
        Place::Host => 254,
        Place::Node(id) => u8::try_from(id).expect("a cluster has a handful of nodes"),
    }
}

/// A third number of 10.213.x.0/24 that nobody on this machine uses.
fn free_subnet() -> Result<u8> {
    let used = Spec::new("ip").args(["-4", "addr"]).output(Duration::from_secs(5))?;
    let free = |x: &u8| !used.contains(&format!("10.213.{x}."));
    let start = fastrand::u8(..);
    (0..=u8::MAX).map(|i| start.wrapping_add(i)).find(free).ok_or_else(|| Error::new("10.213.0.0/16 is full"))
}

/// A namespace that goes takes its links along, and their peers.
fn tear_down(name: &str, nodes: usize) -> String {
    let namespaces = (1..=nodes).map(|id| format!("{name}-{id}")).chain([name.into()]);
    namespaces.map(|namespace| format!("ip netns del {namespace} 2>/dev/null\n")).collect()
}

fn sh(script: &str) -> Result<()> {
    Spec::new("sh").args(["-ec", script]).output(Duration::from_secs(20)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Needs root, as the network does; elsewhere the refusal is what there is to test.
    #[test]
    fn a_cut_is_silent_and_can_be_healed() {
        if !rustix::process::geteuid().is_root() {
            assert_eq!(Net::create(1).unwrap_err().code(), 2);
            return;
        }
        let net = Net::create(2).unwrap();
        let listener = TcpListener::bind((net.addr(Place::Host), 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        // 124 is timeout(1)'s own word for silence; an error at once would be another code.
        let connect = |id| {
            let test = format!("timeout 0.3 bash -c '</dev/tcp/{}/{port}'; echo $?", net.addr(Place::Host));
            let spec = Spec { netns: Some(net.namespace(id)), ..Spec::new("sh").args(["-c", &test]) };
            spec.output(Duration::from_secs(5)).unwrap().trim().to_string()
        };
        assert_eq!([connect(1), connect(2)], ["0", "0"]);
        net.cut(Place::Host, Place::Node(1)).unwrap();
        assert_eq!([connect(1), connect(2)], ["124", "0"]);
        net.heal(Place::Host, Place::Node(1)).unwrap();
        assert_eq!(connect(1), "0");
    }
}
