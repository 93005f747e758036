//! The access log: one line for each request, written off the workers. Kind: wiring.
//!
//! ```text
//!   worker:  Book.note(Entry) ──▶ Batch (bytes in one vector) ──full, or twice a second──▶ channel ──▶ Writer
//!   writer:  Batch ──▶ lines in a blocking thread ──▶ file or standard output
//! ```
//! A worker copies what is to be written into a vector of its own and goes on: no line is made there, no allocation is
//! needed for it, and no other thread is woken for each. Where the writer can't follow, batches are dropped and
//! counted: a full disk stops no customer.

mod book;
mod entry;
mod format;
mod writer;

pub use self::book::Book;
pub use self::entry::{Batch, Entry, Times};
pub use self::writer::AccessLog;
