//! What becomes of a request for a file. Kind: driver.
//!
//! In every answer `fields` is a block of `name: value` lines, each ended by CRLF, names in lower case, without Date,
//! Connection, Content-Length and Transfer-Encoding: those are the codec's. `length` is the Content-Length to declare, which
//! a HEAD keeps though nothing follows; `None` says that none is declared (304).

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;

/// What becomes of a request for a file.
#[derive(Debug, Clone)]
pub enum Answer {
    /// All of it is at hand: one write of head and body.
    Memory {
        /// 200, 206, 301, 304, 412 or 416.
        status: u16,
        /// The head's fields.
        fields: Bytes,
        /// What Content-Length says.
        length: Option<u64>,
        /// Nothing for a HEAD.
        body: Bytes,
    },
    /// One stretch of a file on disk: `length` bytes from `offset` on.
    Disk {
        /// 200 or 206.
        status: u16,
        /// The head's fields.
        fields: Bytes,
        /// What Content-Length says, and how much of the file follows.
        length: u64,
        /// Open for reading. It may be shorter by now: then the connection must be closed, as the length was promised.
        file: Arc<File>,
        /// Where the stretch begins.
        offset: u64,
    },
    /// Several stretches with their own heads in between (`multipart/byteranges`), 206.
    Parts {
        /// The head's fields.
        fields: Bytes,
        /// What Content-Length says: the sum of all parts.
        length: u64,
        /// In the order in which they are sent.
        parts: Vec<Part>,
    },
    /// There is no such file: the route's fallback, else 404.
    Missing,
    /// It is none of the client's business whether there is such a file: 404, whatever the fallback.
    Denied,
    /// Files are read by GET and HEAD alone: 405 with `Allow: GET, HEAD`.
    NotAllowed,
    /// The file is there but can't be read (too many open files, a bad disk): 500. It has been logged.
    Failed,
}

/// A piece of an answer in several parts.
#[derive(Debug, Clone)]
pub enum Part {
    /// At hand.
    Memory(Bytes),
    /// A stretch of a file.
    Disk {
        /// Open for reading.
        file: Arc<File>,
        /// Where the stretch begins.
        offset: u64,
        /// How long it is.
        length: u64,
    },
}

impl Part {
    /// How many bytes it puts on the wire.
    pub fn length(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Disk { length, .. } => *length,
        }
    }
}
