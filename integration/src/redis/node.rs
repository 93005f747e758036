//! One Redis server of the cluster. Kind: driver.

use super::{Value, server::Server};
use crate::{Error, Result};
use std::{collections::HashSet, net::SocketAddr, ops::Deref};

/// A server, as it calls itself (`ROLE`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// A master, with how many replicas.
    Master {
        /// Replicas that it has heard of lately.
        replicas: usize,
    },
    /// A replica.
    Replica {
        /// Whom it follows.
        master: SocketAddr,
        /// Whether it streams from there.
        connected: bool,
    },
}

impl Role {
    /// What an answer to `ROLE` says.
    pub fn of(answer: &Value) -> Option<Self> {
        match answer.items() {
            [role, _, replicas] if role.text()? == "master" => {
                Some(Self::Master { replicas: replicas.items().len() })
            }
            [role, host, port, state, _] if role.text()? == "slave" => Some(Self::Replica {
                master: format!("{}:{}", host.text()?, port.number()?).parse().ok()?,
                connected: state.text()? == "connected",
            }),
            _ => None,
        }
    }
}

/// One Redis server.
#[derive(Debug)]
pub struct Node {
    id: usize,
    server: Server,
}

/// The verbs of the program are those of the node.
impl Deref for Node {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Node {
    pub(super) fn new(id: usize, server: Server) -> Self {
        Self { id, server }
    }

    /// Its number, from 1.
    pub fn id(&self) -> usize {
        self.id
    }

    /// What it calls itself.
    pub fn role(&self) -> Result<Role> {
        let answer = self.call(&["ROLE"])?;
        Role::of(&answer).ok_or_else(|| Error::new(format!("{}: ROLE is {answer}", self.name())))
    }

    /// The keys that match a pattern.
    pub fn keys(&self, pattern: &str) -> Result<HashSet<String>> {
        let keys = self.call(&["KEYS", pattern])?;
        Ok(keys.items().iter().filter_map(|key| key.text().map(Into::into)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::resp::reply;

    #[track_caller]
    fn check(answer: &str, expected: Option<Role>) {
        let (value, _) = reply(answer.as_bytes()).unwrap().unwrap();
        assert_eq!(Role::of(&value), expected);
    }

    #[test]
    fn a_role_is_read_as_redis_writes_it() {
        let item = "*3\r\n$9\r\n127.0.0.1\r\n$4\r\n6402\r\n$2\r\n42\r\n";
        check(&format!("*3\r\n$6\r\nmaster\r\n:42\r\n*1\r\n{item}"), Some(Role::Master { replicas: 1 }));
        check(
            "*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:6401\r\n$9\r\nconnected\r\n:42\r\n",
            Some(Role::Replica { master: "127.0.0.1:6401".parse().unwrap(), connected: true }),
        );
        check("*2\r\n$8\r\nsentinel\r\n*0\r\n", None);
    }
}
