//! How a control connection is made and who logs in on it. Kind: driver.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use proxy_core::config::Secret;
use proxy_core::net::SocketOptions;
use proxy_core::tls::ClientTls;

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
