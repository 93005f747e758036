//! What is known of a connection before its first request. Kind: pure.

use std::rc::Rc;

use proxy_core::net::Peer;

use super::desk::Desk;

/// What is known of a connection before its first request.
#[derive(Clone)]
pub struct Visit {
    /// What the sessions of this worker share.
    pub desk: Rc<Desk>,
    /// Who has connected, as far as we believe it (PROXY protocol).
    pub peer: Peer,
    /// Our end of the connection.
    pub local: Peer,
    /// Whether it is encrypted.
    pub tls: bool,
    /// Whether it may turn out to be HTTP/2.
    pub may_be_http2: bool,
}
