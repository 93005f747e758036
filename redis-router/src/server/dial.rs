//! Opens connections to servers of one master. Kind: driver.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use proxy_core::link::{Link, Scratch};
use proxy_core::net::{self, Addr};
use proxy_core::upstream::Endpoint;
use proxy_core::upstream::pool::{Connect, Failure, Role};
use tokio::time::{Instant, timeout_at};

use super::login::{Greeting, LoginError, login};
use super::{Identity, Scripts};
use crate::topology::{Access, Handle};
use crate::wire::Resp;

/// How the servers of one master are reached. One per worker and master.
pub struct Dial {
    /// How to get there.
    pub access: Arc<Access>,
    /// Whom to tell that something is wrong.
    pub watcher: Handle,
    /// The scripts that a server is given to know.
    pub scripts: Rc<RefCell<Scripts>>,
    /// The worker's buffer.
    pub scratch: Scratch,
}

/// What a connection is for: connections of one purpose are as good as each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Purpose {
    /// The master or a replica.
    pub role: Role,
    /// As whom.
    pub identity: Arc<Identity>,
    /// In which protocol.
    pub resp: Resp,
    /// On which database.
    pub db: u32,
}

impl Dial {
    /// A connection to `addr`: connected and encrypted.
    pub async fn open(&self, addr: &Addr) -> Result<net::Stream, proxy_core::error::Error> {
        let access = &self.access;
        let stream = net::connect(addr, &access.options, access.timeout).await?;
        match (&access.tls, addr) {
            (Some(tls), Addr::Tcp { host, .. }) => {
                tls.connect(stream, host, &[], Instant::now() + access.timeout).await
            }
            _ => Ok(stream),
        }
    }

    /// A connection that is ready for `purpose`. A server that was to be the master and is none is not ready.
    pub async fn log_in(&self, to: &Addr, purpose: &Purpose) -> Result<(Link, Greeting), LoginError> {
        let stream = self.open(to).await.map_err(|error| LoginError::Lost(error.to_string()))?;
        let mut link = Link::new(stream, &[]);
        let scripts = match purpose.role {
            Role::Primary => self.scripts.borrow().bodies(),
            Role::Replica => Vec::new(),
        };
        let talk = login(&mut link, &self.scratch, &purpose.identity, purpose.resp, purpose.db, &scripts);
        let deadline = Instant::now() + self.access.timeout;
        let greeting = timeout_at(deadline, talk)
            .await
            .map_err(|_| LoginError::Lost("no answer in time".to_owned()))??;
        if purpose.role == Role::Primary && !greeting.is_master {
            return Err(LoginError::NotReady(Bytes::from_static(b"it is no master\r\n")));
        }
        Ok((link, greeting))
    }
}

/// Opens connections of one purpose for a pool.
pub struct Leasehold {
    /// How.
    pub dial: Rc<Dial>,
    /// For what.
    pub purpose: Purpose,
}

impl Connect for Leasehold {
    type State = Greeting;

    async fn connect(&self, to: &Arc<Endpoint>) -> Result<(Link, Greeting), Failure> {
        self.dial.log_in(to.addr(), &self.purpose).await.map_err(|error| match error {
            LoginError::Denied(answer) => Failure::Denied(answer),
            error => Failure::Unavailable(error.to_string()),
        })
    }

    fn suspect(&self, endpoint: &Arc<Endpoint>) {
        self.dial.watcher.suspect(endpoint);
    }

    fn farewell(&self) -> &'static [u8] {
        b""
    }
}
