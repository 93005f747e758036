//! What the clients of a listener may do. Kind: pure.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use proxy_core::upstream::pool::Role;
use subtle::{Choice, ConstantTimeEq};

use crate::command::{Command, Flags};
use crate::config::{self, Config, Listener};
use crate::server::{Identity, Purpose};
use crate::wire::{Limits, Resp};

/// See the module. Shared by all sessions of a listener.
pub struct Terms {
    /// Whether they speak to the master or to replicas.
    pub role: Role,
    /// Writes are refused.
    pub read_only: bool,
    /// What their requests may be.
    pub limits: Limits,
    /// How long one may take to log in, where the router checks that.
    pub login_timeout: Duration,
    /// Commands that one may have under way.
    pub pipeline: u32,
    /// Bytes of replies that one may leave unread.
    pub output: usize,
    /// A request, or a reply, of more bytes leaves the shared connection.
    pub large: usize,
    /// As whom they are to Redis: until they log in, or for good if the router itself checks logins.
    pub identity: Arc<Identity>,
    /// Who may come in. Empty: Redis decides.
    users: Vec<config::User>,
    denied: HashSet<String>,
}

impl Terms {
    /// The terms of `listener`, whose clients are `identity` to Redis before they log in.
    pub fn new(listener: &Listener, config: &Config, identity: Arc<Identity>) -> Self {
        let limits = &config.limits;
        let saturated = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        Self {
            role: listener.role,
            read_only: listener.read_only,
            limits: Limits {
                max_args: limits.arguments,
                max_bulk: saturated(limits.argument.as_usize()),
                inline: listener.inline_commands,
                ..Limits::default()
            },
            login_timeout: listener.login_timeout,
            pipeline: limits.pipeline.max(1),
            output: limits.output.as_usize(),
            large: limits.large.as_usize(),
            identity,
            users: config.users.clone(),
            denied: listener.deny.iter().map(|name| name.to_lowercase().replace(' ', "|")).collect(),
        }
    }

    /// Whether the router itself checks who its clients are.
    pub fn checks_logins(&self) -> bool {
        !self.users.is_empty()
    }

    /// Whether `user` (the default one if none is named) proves itself by `password`. Takes as long for a wrong one.
    pub fn lets_in(&self, user: Option<&[u8]>, password: &[u8]) -> bool {
        let user = user.unwrap_or(b"default");
        let matches = |known: &config::User| {
            let name = known.name.as_bytes().ct_eq(user);
            name & known.password.expose().trim_end_matches(['\n', '\r']).as_bytes().ct_eq(password)
        };
        let found = self.users.iter().fold(Choice::from(0), |found, known| found | matches(known));
        found.into()
    }

    /// Whether this listener refuses the command, and in which words.
    #[inline]
    pub fn refuses(&self, command: &Command) -> Option<&'static str> {
        if self.read_only && command.flags.contain(Flags::WRITE) {
            return Some("READONLY this listener takes no writes");
        }
        if !self.denied.is_empty() && self.denies(command) {
            return Some("NOPERM this command is denied by the router's configuration");
        }
        None
    }

    /// What a connection for such a client is for, on database 0.
    pub fn purpose(&self, identity: Arc<Identity>, resp: Resp) -> Purpose {
        Purpose { role: self.role, identity, resp, db: 0 }
    }

    fn denies(&self, command: &Command) -> bool {
        let container = command.name.split('|').next().unwrap_or_default();
        self.denied.contains(command.name) || self.denied.contains(container)
    }
}
