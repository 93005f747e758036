//! One Sentinel, and what it believes. Kind: driver.

use super::{Value, server::Server};
use crate::{Error, Result};
use std::{net::SocketAddr, ops::Deref};

/// The name under which the Sentinels know the master.
pub const MASTER: &str = "mymaster";

/// What a Sentinel believes about the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Who is master (`GET-MASTER-ADDR-BY-NAME`, which is right while a failover is under way and `MASTER` is not).
    pub master: SocketAddr,
    /// The epoch of the failover that made it master.
    pub epoch: i64,
    /// How many replicas it knows.
    pub replicas: i64,
    /// How many other Sentinels it knows.
    pub others: i64,
    /// `master`, and `s_down`, `failover_in_progress`, … when that is so.
    pub flags: String,
}

impl View {
    fn of(address: &Value, master: &Value) -> Option<Self> {
        let [host, port] = address.items() else { return None };
        let number = |name: &str| master.field(name).and_then(Value::number);
        Some(Self {
            master: format!("{}:{}", host.text()?, port.number()?).parse().ok()?,
            epoch: number("config-epoch")?,
            replicas: number("num-slaves")?,
            others: number("num-other-sentinels")?,
            flags: master.field("flags")?.text()?.into(),
        })
    }
}

/// One Sentinel.
#[derive(Debug)]
pub struct Sentinel {
    server: Server,
}

/// The verbs of the program are those of the Sentinel.
impl Deref for Sentinel {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Sentinel {
    pub(super) fn new(server: Server) -> Self {
        Self { server }
    }

    /// What it believes now.
    pub fn view(&self) -> Result<View> {
        let mut client = self.client()?;
        let address = client.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER])?;
        let master = client.call(&["SENTINEL", "MASTER", MASTER])?;
        View::of(&address, &master)
            .ok_or_else(|| Error::new(format!("{} says {address}, {master}", self.name())))
    }

    /// How many replicas it has last heard call themselves master. After some seconds it makes each of them a replica
    /// again, even one that another Sentinel has promoted meanwhile.
    pub fn mistaken(&self) -> Result<usize> {
        let replicas = self.call(&["SENTINEL", "REPLICAS", MASTER])?;
        let says = |replica: &&Value| replica.field("role-reported").and_then(Value::text) == Some("master");
        Ok(replicas.items().iter().filter(says).count())
    }

    /// Is it in a state from which it would start a failover on demand? Not before all its replicas were seen well.
    pub fn failover(&self) -> Result<()> {
        self.call(&["SENTINEL", "FAILOVER", MASTER]).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Bulk(text.into())
    }

    #[test]
    fn the_address_is_not_taken_from_the_entry_that_lies_during_a_failover() {
        let address = Value::Array(vec![text("127.0.0.1"), text("6402")]);
        let fields = [
            ("ip", "127.0.0.1"),
            ("port", "6401"),
            ("flags", "master,failover_in_progress"),
            ("config-epoch", "3"),
            ("num-slaves", "2"),
            ("num-other-sentinels", "2"),
        ];
        let entry = Value::Array(fields.iter().flat_map(|(k, v)| [text(k), text(v)]).collect());
        let view = View::of(&address, &entry).unwrap();
        assert_eq!((view.master.port(), view.epoch), (6402, 3));
        assert_eq!(View::of(&Value::Null, &entry), None);
    }
}
