//! An open connection, and the right to use it for a while. Kind: driver.
//!
//! Promise: a connection is in one hand at a time, and comes back whatever happens to that hand.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;

use tokio::time::Instant;

use super::{Connect, Pool, Port, Reuse};
use crate::link::Link;
use crate::upstream::permits::Permit;
use crate::upstream::{Endpoint, InFlight};

/// An open connection with what the protocol knows of it.
pub struct Conn<S> {
    /// The peer.
    pub link: Link,
    /// The protocol's own state.
    pub state: S,
    pub(super) in_flight: InFlight,
    pub(super) epoch: u64,
    pub(super) idle_since: Instant,
    pub(super) retire_at: Instant,
    pub(super) _permit: Permit,
}

impl<S> Conn<S> {
    /// The endpoint it leads to.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        self.in_flight.endpoint()
    }
}

/// A borrowed connection. Dropped without [`Lease::release`], it is closed.
pub struct Lease<C: Connect> {
    conn: Option<Box<Conn<C::State>>>,
    pool: Rc<Pool<C>>,
}

impl<C: Connect> Deref for Lease<C> {
    type Target = Conn<C::State>;
    fn deref(&self) -> &Self::Target {
        self.conn.as_ref().expect("a lease holds its connection until it is released, which consumes it")
    }
}

impl<C: Connect> DerefMut for Lease<C> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.conn.as_mut().expect("a lease holds its connection until it is released, which consumes it")
    }
}

impl<C: Connect> Lease<C> {
    pub(super) fn new(conn: Box<Conn<C::State>>, pool: Rc<Pool<C>>) -> Self {
        Self { conn: Some(conn), pool }
    }

    /// The connection as a machine sees it.
    #[inline]
    pub fn port(&mut self) -> Port<'_, C::State> {
        let conn = &mut **self;
        Port { state: &mut conn.state, outbox: &mut conn.link.outbox }
    }

    /// False once its endpoint is not what it was leased as, by the newest topology.
    pub fn is_current(&self) -> bool {
        self.pool.catch_up();
        self.pool.may_keep(self)
    }

    /// The endpoint behind it is to be looked at.
    pub fn suspect(&self) {
        self.pool.connect.suspect(self.endpoint());
    }

    /// Gives the connection back.
    #[inline]
    pub fn release(mut self, reuse: Reuse) {
        let conn = self.conn.take().expect("a lease is released once, as that consumes it");
        self.pool.take_back(conn, reuse);
    }
}

impl<C: Connect> Drop for Lease<C> {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.pool.take_back(conn, Reuse::Discard);
        }
    }
}
