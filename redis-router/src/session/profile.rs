//! Who a client is: what it has said of itself, what it has selected, and its number. Kind: pure.

use std::hash::Hash;
use std::sync::Arc;

use super::registry::{Card, Guest, Registry, Stay};
use crate::wire::Resp;

/// One client's view of itself. What of it others may see is copied to its guest card when it changes.
#[derive(Debug)]
pub struct Profile {
    /// What it has said.
    pub card: Card,
    /// What `CLIENT GETREDIR` answers: -1 without tracking, 0 without a redirection.
    pub redirection: i64,
    stay: Stay,
}

impl Profile {
    /// A client that has just come.
    pub fn new(stay: Stay) -> Self {
        Self { card: Card::default(), redirection: -1, stay }
    }

    /// Its number.
    pub fn id(&self) -> u64 {
        self.stay.guest().id
    }

    /// Another client of the same realm.
    pub fn fellow(&self, id: u64) -> Option<Arc<Guest>> {
        self.stay.registry().find(id, self.guest().realm())
    }

    /// From now on it is known to Redis as this one.
    pub fn belong(&self, identity: &impl Hash) {
        self.guest().belongs(self.stay.registry().realm(identity));
    }

    /// All clients.
    pub fn registry(&self) -> Arc<Registry> {
        self.stay.registry().clone()
    }

    /// How others see it.
    pub fn guest(&self) -> &Arc<Guest> {
        self.stay.guest()
    }

    /// Shows others what has changed.
    pub fn show(&self) {
        self.stay.guest().show(&self.card);
    }

    /// It has selected a database.
    pub fn select(&mut self, db: u32) {
        self.card.db = db;
        self.show();
    }

    /// It has logged in.
    pub fn log_in(&mut self, user: Option<&[u8]>) {
        self.card.user = user.map(Box::from);
        self.show();
    }

    /// It speaks this version from now on.
    pub fn speak(&mut self, resp: Resp) {
        self.card.resp = resp;
        self.show();
    }

    /// `RESET`: all but its number, and its library, is as it was when it came (src/networking.c, `resetCommand`).
    pub fn reset(&mut self) {
        let Card { lib_name, lib_ver, .. } = std::mem::take(&mut self.card);
        self.card = Card { lib_name, lib_ver, ..Card::default() };
        self.redirection = -1;
        self.show();
    }
}
