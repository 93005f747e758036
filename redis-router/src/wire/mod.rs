//! The Redis protocol (RESP2 and RESP3), as far as a router must know it: where a request ends, where a reply ends,
//! what a request's arguments are, and the few messages that the router writes itself. Kind: pure.
//!
//! Framers allocate nothing, hold none of the bytes, and look at each byte of a payload once, however it is split.
//! Every length on the wire is hostile: it is checked before anyone waits for, or makes room for, what it promises.
//! Nesting costs nothing: nobody here recurses, and nobody keeps a stack.
//!
//! Where Redis is lenient in a way that two parsers could read differently (a CR without its LF, a payload without
//! its CRLF), these framers refuse: on a connection that many clients share, a frame whose end is a matter of opinion
//! hands one client's reply to another.
//!
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>

pub mod build;
pub mod fuzz;
pub mod inline;
mod number;
pub mod reply;
pub mod request;
mod violation;

pub use build::Resp;
pub use reply::{Advance, ReplyFault, ReplyFramer, ReplyKind};
pub use request::{Args, Framed, Limits, Pending, RequestFramer, Span};
pub use violation::Violation;
