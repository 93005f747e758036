//! The PostgreSQL wire protocol, version 3, as far as a router must know it: where messages begin and end, the
//! first packet, the few messages that are read, and the few that are written. Kind: pure.
//!
//! Builders append to a `Vec<u8>` and allocate nothing else; parsers borrow from the bytes they are given. A builder
//! is called `put_…`, a parser has the message's own name. Every length on the wire is hostile: it is checked against
//! a cap before anyone waits for, or makes room for, what it promises.
//!
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

pub mod backend;
pub mod cursor;
pub mod error;
pub mod frame;
pub mod frontend;
pub mod row;
pub mod startup;

pub use cursor::Malformed;
pub use frame::{FrameError, Header, Message, header};
