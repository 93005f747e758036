//! Opens server connections: connected, encrypted, logged in, and of the role that they are meant for. Kind: driver.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use proxy_core::error::{Error, Kind};
use proxy_core::link::Link;
use proxy_core::net::{self, Addr, SocketOptions, Stream};
use proxy_core::tls::ClientTls;
use proxy_core::upstream::Endpoint;
use proxy_core::upstream::permits::Permits;
use proxy_core::upstream::pool::{Connect, Failure, Role};
use tokio::time::Instant;

use crate::auth::KeyCache;
use crate::roster::Roster;
use crate::server::{LoggedIn, Login, LoginError, login, request_tls};
use crate::session::vars::Vars;
use crate::session::{CancelTarget, Server};
use crate::topology::{Evidence, Handle};
use crate::wire::error::{Report, ServerError, put_error};
use crate::wire::frontend;

/// Errors of a login that another attempt may not meet (class 57: the server comes or goes; 53: it is full).
const PASSING: [&str; 2] = ["57", "53"];

/// Whom a pool serves. Settings that PostgreSQL does not report can't follow a client from connection to connection,
/// so that they are part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolKey {
    /// The client's user.
    pub user: String,
    /// The database.
    pub database: String,
    /// Which servers.
    pub role: Role,
    /// Start-up settings that don't follow, in the client's order.
    pub settings: Vec<(String, String)>,
}

/// What the pools of one key share over the workers.
pub struct Common {
    /// Their cap.
    pub permits: Arc<Permits>,
    /// What the newest connection was told at login.
    pub welcome: ArcSwapOption<Vec<(String, String)>>,
}

/// How all connections to servers are opened.
pub struct Dial {
    /// Keepalive and timeouts.
    pub options: SocketOptions,
    /// How long one may take, from the first packet to the server's readiness.
    pub timeout: Duration,
    /// Encryption, if there is to be any.
    pub tls: Option<Arc<ClientTls>>,
    /// Who logs in with what.
    pub roster: Arc<ArcSwap<Roster>>,
    /// Who is told when traffic meets something that speaks against a server.
    pub watcher: OnceLock<Handle>,
}

impl Dial {
    /// Traffic met something that speaks against a server: a hint to look at once, never more.
    pub fn suspect(&self, endpoint: &Endpoint, evidence: Evidence) {
        if let Some(watcher) = self.watcher.get() {
            watcher.evidence(endpoint.addr(), evidence);
        }
    }

    /// Connects and, where configured, encrypts.
    ///
    /// # Errors
    /// The server can't be reached, doesn't want TLS, or isn't who it should be.
    pub async fn open(&self, to: &Addr) -> Result<Stream, Error> {
        let mut stream = net::connect(to, &self.options, self.timeout).await?;
        let Some(tls) = self.tls.as_ref().filter(|_| matches!(to, Addr::Tcp { .. })) else {
            return Ok(stream);
        };
        match request_tls(&mut stream).await {
            Ok(true) => tls.connect(stream, to.host(), &[], Instant::now() + self.timeout).await,
            Ok(false) => Err(Error::upstream(Kind::Denied, "the server does not offer TLS")),
            Err(error) => Err(Error::upstream(Kind::Io, error)),
        }
    }
}

/// Opens the connections of one pool.
pub struct Opener {
    /// How.
    pub dial: Arc<Dial>,
    /// For whom.
    pub key: PoolKey,
    /// Where what the server says at login is put.
    pub common: Arc<Common>,
    /// What makes the next login of the same user cheap; the worker's.
    pub keys: Rc<RefCell<KeyCache>>,
}

impl Connect for Opener {
    type State = Server;

    async fn connect(&self, to: &Arc<Endpoint>) -> Result<(Link, Server), Failure> {
        let attempt = tokio::time::timeout(self.dial.timeout, self.attempt(to));
        attempt
            .await
            .unwrap_or_else(|_| Err(Failure::Unavailable("the server did not answer in time".to_owned())))
    }

    fn suspect(&self, endpoint: &Arc<Endpoint>) {
        self.dial.suspect(endpoint, Evidence::Closed);
    }

    fn farewell(&self) -> &'static [u8] {
        &frontend::TERMINATE
    }
}

impl Opener {
    async fn attempt(&self, to: &Arc<Endpoint>) -> Result<(Link, Server), Failure> {
        let stream =
            self.dial.open(to.addr()).await.map_err(|error| Failure::Unavailable(error.to_string()))?;
        let clear_text = stream.is_tls() || matches!(to.addr(), Addr::Unix(_));
        let roster = self.dial.roster.load_full();
        let (user, credential) = roster.server_login(&self.key.user);
        let parameters = self.parameters();
        let who = Login {
            user,
            database: &self.key.database,
            credential: credential.as_ref(),
            parameters: &parameters,
            clear_text,
        };
        let LoggedIn { stream, greeting, rest } = login(stream, &who, &self.keys)
            .await
            .map_err(|error| self.refused(to, &error, credential.is_some()))?;
        self.fence(to, greeting.in_hot_standby())?;
        let vars = Vars::collect(greeting.params.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        self.common.welcome.store(Some(Arc::new(greeting.params)));
        let target = CancelTarget::new(to.clone(), greeting.key.pid, greeting.key.secret.into_boxed_slice());
        Ok((Link::new(stream, &rest), Server::new(vars, target)))
    }

    fn parameters(&self) -> Vec<(&str, &str)> {
        let ours = [("application_name", "pg-router")];
        let theirs = self.key.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        ours.into_iter().chain(theirs).collect()
    }

    fn refused(&self, by: &Endpoint, error: &LoginError, has_credential: bool) -> Failure {
        if error.server().is_some_and(|server| server.code.starts_with("57P")) {
            self.dial.suspect(by, Evidence::Shutdown);
        }
        failure(error, has_credential)
    }

    /// The role fence: PostgreSQL 14 and later says at login whether it is a standby, so that no statement is ever
    /// sent to what was a primary a moment ago.
    fn fence(&self, server: &Endpoint, in_hot_standby: Option<bool>) -> Result<(), Failure> {
        if self.key.role != Role::Primary || in_hot_standby != Some(true) {
            return Ok(());
        }
        self.dial.suspect(server, Evidence::HotStandby);
        Err(Failure::Unavailable("it is a standby".to_owned()))
    }
}

/// What a failed login means for those who wait.
fn failure(error: &LoginError, has_credential: bool) -> Failure {
    let answer = match error.server() {
        Some(ServerError { code, .. }) if PASSING.iter().any(|class| code.starts_with(class)) => None,
        Some(server) => Some((server.code.clone(), server.message.clone(), None)),
        None if matches!(error, LoginError::NoPassword(_)) && !has_credential => {
            let hint = "Add the user to server_users, or its password to the users file, of pg-router.";
            Some(("28000".to_owned(), error.to_string(), Some(hint)))
        }
        None => None,
    };
    let Some((code, message, hint)) = answer else {
        return Failure::Unavailable(error.to_string());
    };
    let mut bytes = Vec::new();
    put_error(&mut bytes, &Report { hint, ..Report::fatal(&code, &message) });
    Failure::Denied(Bytes::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str) -> LoginError {
        LoginError::Server(ServerError {
            severity: "FATAL".to_owned(),
            code: code.to_owned(),
            message: "no".to_owned(),
        })
    }

    #[track_caller]
    fn check(code: &str, denied: bool) {
        assert_eq!(matches!(failure(&refused(code), true), Failure::Denied(_)), denied, "{code}");
    }

    #[test]
    fn a_server_that_comes_or_goes_or_is_full_is_tried_again() {
        check("57P03", false);
        check("57P01", false);
        check("53300", false);
    }

    #[test]
    fn who_is_refused_hears_it_at_once() {
        check("28P01", true);
        check("3D000", true);
    }
}
