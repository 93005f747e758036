//! Pretix behind http-lb, on what the other parts gave. Kind: driver.

use super::port_is_free;
use crate::{
    Result,
    front::Front,
    peers::Subject,
    pg::Node,
    pretix::{Options, Pretix, SHOP},
    process::free_port,
    progress::say,
    router::{self, Profile},
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

/// The ports that a person expects; where one is taken, any free one.
const PUBLIC: u16 = 8100;
const REPLICAS: u16 = 8101;
const COUNT: usize = 2;

/// What runs.
pub(super) struct Stage {
    front: Box<dyn Subject>,
    pretix: Pretix,
}

/// Brings it up below `root`, on PostgreSQL and Redis at these addresses.
pub(super) fn start(root: &Path, primary: &Node, database: SocketAddr, redis: SocketAddr) -> Result<Stage> {
    let binary = router::build(router::HTTP, Profile::Fast)?;
    Pretix::prepare(primary)?;
    let port = if port_is_free(PUBLIC) { PUBLIC } else { free_port() };
    let pretix = Pretix::start(&Options {
        dir: root.join("up-pretix"),
        database,
        redis,
        public: (Ipv4Addr::LOCALHOST, port).into(),
        replicas: COUNT,
        base_port: (0..2).all(|i| port_is_free(REPLICAS + i)).then_some(REPLICAS),
    })?;
    say("starting http-lb");
    let dir = Some(root.join("up-pretix").join(router::HTTP));
    let front = Front { port: Some(port), dir, ..Front::of_shop(&pretix)? }.start(router::HTTP, &binary)?;
    say("the shop is open");
    Ok(Stage { front, pretix })
}

impl Stage {
    /// Who stands in front first: nobody is sent to a replica that is about to end.
    pub(super) fn stop(self) -> Result<()> {
        drop(self.front);
        self.pretix.stop()
    }

    pub(super) fn usage(&self) -> String {
        let addr = self.front.addr();
        let replicas: String = self
            .pretix
            .replicas()
            .iter()
            .map(|replica| format!("    replica    {}   log {}\n", replica.addr(), replica.log().display()))
            .collect();
        let status =
            self.front.admin().map_or_else(String::new, |admin| format!("   status http://{admin}/status"));
        format!(
            "Buy a ticket:\n    http://{addr}{SHOP}\nSell them (admin@localhost, password admin):\n    \
             http://{addr}/control/\n\n    {:10} {addr}{status}\n{replicas}    celery     log {}\n\n",
            self.front.name(),
            self.pretix.dir().join("celery.log").display(),
        )
    }
}
