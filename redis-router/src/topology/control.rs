//! A control connection: a few commands at a time, each answered in time, or it is given up. Kind: driver.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use proxy_core::config::Secret;
use proxy_core::error::{Error, Kind};
use proxy_core::net::{self, Addr, SocketOptions, Stream};
use proxy_core::tls::ClientTls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::discovery::AllowList;
use super::observation::Loss;
use super::reply::{Reply, decode_reply, put_command};

/// Read at a time; most replies are smaller.
const READ: usize = 4096;

/// As whom to log in. Without a password nobody logs in; without a user it is Redis' default user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The ACL user (Redis 6).
    pub user: Option<String>,
    /// Its password, or the one of `requirepass`.
    pub password: Option<Secret>,
}

/// How to reach servers of one kind, and as whom.
#[derive(Debug)]
pub struct Access {
    account: ArcSwap<Account>,
    /// Encryption, if any.
    pub tls: Option<Arc<ClientTls>>,
    /// What the sockets get.
    pub options: SocketOptions,
    /// How long each step may take.
    pub timeout: Duration,
}

impl Access {
    /// `timeout` bounds connecting, TLS and logging in, each.
    pub fn new(
        account: Account,
        tls: Option<Arc<ClientTls>>,
        options: SocketOptions,
        timeout: Duration,
    ) -> Self {
        Self { account: ArcSwap::from_pointee(account), tls, options, timeout }
    }

    /// Another account, for connections to come.
    pub fn set_account(&self, account: Account) {
        self.account.store(Arc::new(account));
    }
}

/// Why a control connection is of no use: for the judge, and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) loss: Loss,
    pub(crate) words: String,
}

impl Fault {
    pub(crate) fn new(loss: Loss, words: impl Into<String>) -> Self {
        Self { loss, words: words.into() }
    }

    /// It answers, but not what it was asked.
    pub(crate) fn unusable(words: &str) -> Self {
        Self::new(Loss::Unusable, words)
    }

    fn protocol(words: impl ToString) -> Self {
        Self::new(Loss::Unusable, words.to_string())
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let loss = match error.kind() {
            Kind::Refused => Loss::Refused,
            Kind::Timeout => Loss::Silent,
            Kind::Denied | Kind::Protocol | Kind::Config => Loss::Unusable,
            _ => Loss::Closed,
        };
        Self::new(loss, error.to_string())
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Error::io(proxy_core::error::Side::Upstream, error).into()
    }
}

/// A connection on which we are logged in.
#[derive(Debug)]
pub(crate) struct Control {
    stream: Stream,
    unread: Vec<u8>,
}

impl Control {
    /// Connects and logs in; a peer that is not allowed hears nothing from us, the password least of all.
    pub(super) async fn open(addr: &Addr, access: &Access, allowed: &AllowList) -> Result<Self, Fault> {
        let stream = net::connect(addr, &access.options, access.timeout).await?;
        if let Some(ip) = stream.peer()?.ip()
            && !allowed.allows_peer(addr.host(), ip)
        {
            return Err(Fault::new(Loss::NotAllowed, format!("{addr} is at {ip}, which is not allowed")));
        }
        let stream = match &access.tls {
            Some(tls) => tls.connect(stream, addr.host(), &[], Instant::now() + access.timeout).await?,
            None => stream,
        };
        let mut control = Self { stream, unread: Vec::new() };
        control.log_in(&access.account.load(), access.timeout).await?;
        Ok(control)
    }

    async fn log_in(&mut self, account: &Account, patience: Duration) -> Result<(), Fault> {
        let Some(password) = &account.password else { return Ok(()) };
        let password = password.expose();
        let reply = match &account.user {
            Some(user) => self.ask(&["AUTH", user, password], patience).await?,
            None => self.ask(&["AUTH", password], patience).await?,
        };
        match reply.error() {
            Some(error) if !is_needless(error) => Err(Fault::new(loss_of(error), format!("AUTH: {error}"))),
            _ => Ok(()),
        }
    }

    /// One command, one answer.
    pub(crate) async fn ask(&mut self, words: &[&str], patience: Duration) -> Result<Reply, Fault> {
        let mut replies = self.ask_all(&[words], patience).await?;
        replies.pop().ok_or_else(|| Fault::protocol("no answer"))
    }

    /// Several commands in one write; their answers in order.
    pub(super) async fn ask_all(
        &mut self,
        commands: &[&[&str]],
        patience: Duration,
    ) -> Result<Vec<Reply>, Fault> {
        let asked = timeout(patience, self.exchange(commands)).await;
        asked.unwrap_or_else(|_| Err(Fault::new(Loss::Silent, "no answer in time")))
    }

    async fn exchange(&mut self, commands: &[&[&str]]) -> Result<Vec<Reply>, Fault> {
        let mut out = Vec::new();
        commands.iter().for_each(|words| put_command(&mut out, words));
        self.stream.write_all(&out).await?;
        self.stream.flush().await?;
        let mut replies = Vec::with_capacity(commands.len());
        while replies.len() < commands.len() {
            replies.push(self.hear().await?);
        }
        Ok(replies)
    }

    /// The next reply or message, however long it takes. Safe to drop: what was read is kept.
    pub(super) async fn hear(&mut self) -> Result<Reply, Fault> {
        loop {
            if let Some((reply, used)) = decode_reply(&self.unread).map_err(Fault::protocol)? {
                self.unread.drain(..used);
                return Ok(reply);
            }
            self.unread.reserve(READ);
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return Err(Fault::new(Loss::Closed, "the server closed the connection"));
            }
        }
    }

    /// Waits until the server ends the connection or says something unasked, which ends it too.
    pub(super) async fn ended(&mut self) -> Fault {
        match self.hear().await {
            Ok(_) => Fault::protocol("it speaks unasked"),
            Err(fault) => fault,
        }
    }
}

/// A server without a password refuses ours, and is none the worse for it (as redis-cli takes it).
fn is_needless(error: &str) -> bool {
    error.contains("without any password configured") || error.contains("no password is set")
}

/// What an error reply says about the server's state: Redis' own codes (`src/server.c`, `createSharedObjects`).
pub(super) fn loss_of(error: &str) -> Loss {
    match error.split(' ').next() {
        Some("LOADING") => Loss::Unready,
        Some("BUSY") => Loss::Busy,
        _ => Loss::Unusable,
    }
}
