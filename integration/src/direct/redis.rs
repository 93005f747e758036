//! Redis is asked for its role. Kind: driver.

use super::{Seen, Watched, Witness};
use crate::{
    Error, Result,
    redis::{Account, Cluster, Connection, Resp, Role},
};
use std::net::SocketAddr;

/// How one server is asked.
pub struct Redis {
    addr: SocketAddr,
}

impl Watched for Cluster {
    type Witness = Redis;

    fn witnesses(&self) -> Vec<(usize, Redis)> {
        self.nodes().iter().map(|node| (node.id(), Redis { addr: node.addr() })).collect()
    }
}

impl Witness for Redis {
    type Connection = Connection;

    async fn open(&self) -> Result<Connection> {
        Ok(Connection::open(self.addr, Account::DEFAULT, Resp::V2).await?)
    }

    async fn look(connection: &mut Connection) -> Result<Seen> {
        let answer = connection.call(&["ROLE"]).await?;
        match Role::of(&answer) {
            Some(Role::Master { .. }) => Ok(Seen::Primary),
            Some(Role::Replica { .. }) => Ok(Seen::Standby),
            None => Err(Error::new(format!("ROLE is {answer}"))),
        }
    }
}
