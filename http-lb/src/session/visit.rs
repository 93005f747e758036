//! What is known of a connection before its first request. Kind: pure.

use std::rc::Rc;

use super::desk::Desk;
use crate::edge::Arrival;

/// What is known of a connection before its first request.
#[derive(Clone)]
pub struct Visit {
    /// What the sessions of this worker share.
    pub desk: Rc<Desk>,
    /// Who has connected, and how.
    pub arrival: Arrival,
    /// Whether it may turn out to be HTTP/2.
    pub may_be_http2: bool,
}
