//! Who may come in, and with what we log in to the servers for them. Kind: pure.

use std::collections::HashMap;
use std::sync::Arc;

use crate::auth::verifier::Key;
use crate::auth::{Credential, Users, Verifier};
use crate::config::ServerUser;

/// The users of the moment; replaced as a whole when the configuration or the users file changes.
pub struct Roster {
    users: Users,
    servers: HashMap<String, (String, Credential)>,
    /// What the verifiers of unknown users are made from, so that nobody learns by trying who is known.
    mock: Key,
}

impl Roster {
    /// Joins the users file and the configured server logins.
    pub fn new(users: Users, servers: &[ServerUser], mock: Key) -> Self {
        let login = |server: &ServerUser| {
            let user = server.user.clone().unwrap_or_else(|| server.name.clone());
            (server.name.clone(), (user, credential(server.password.expose())))
        };
        Self { users, servers: servers.iter().map(login).collect(), mock }
    }

    /// What a client that calls itself `user` must prove.
    pub fn verifier(&self, user: &str) -> Arc<Verifier> {
        self.users.verifier(user, &self.mock)
    }

    /// The server's user name and credential for a client's user.
    pub fn server_login<'a>(&'a self, user: &'a str) -> (&'a str, Option<Credential>) {
        match self.servers.get(user) {
            Some((name, credential)) => (name, Some(credential.clone())),
            None => (user, self.users.credential(user).cloned()),
        }
    }

    /// How many users are known.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// True if nobody may come in.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Users whose entry lets nobody in: an MD5 hash is good for servers only.
    pub fn shut_out(&self) -> impl Iterator<Item = &str> {
        self.users.shut_out()
    }
}

/// A password as it stands in a file, without the line's end.
pub fn credential(text: &str) -> Credential {
    let text = text.trim_end_matches(['\n', '\r']);
    let md5 = text
        .strip_prefix("md5")
        .is_some_and(|hash| hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_hexdigit()));
    if md5 { Credential::Md5(text.to_owned()) } else { Credential::Password(text.to_owned()) }
}
