//! HTTP/1.1 on the wire, and the fields that a proxy or a file server must understand. Kind: pure.
//!
//! Heads are read strictly, in any pieces, each byte once; bodies are passed on as they are, in ranges of what was read.
//! Nothing here allocates for each field, and nothing grows beyond its limits, whatever a stranger sends.
//!
//! <https://www.rfc-editor.org/rfc/rfc9110>, <https://www.rfc-editor.org/rfc/rfc9112>

pub mod accept;
pub mod chunked;
mod connection;
pub mod cookie;
pub mod date;
pub mod etag;
pub mod fields;
pub mod forwarded_for;
mod framing;
pub mod fuzz;
mod head;
mod malformed;
mod method;
mod name;
pub mod path;
pub mod range;
mod request;
mod response;
mod swar;
mod table;
mod target;
mod text;
mod version;

pub use chunked::ChunkedDecoder;
pub use fields::{BadField, Fields};
pub use head::HeadLimits;
pub use malformed::Malformed;
pub use method::Method;
pub use name::Name;
pub use request::{Framing, Parts, RequestHead};
pub use response::{ResponseFraming, ResponseHead};
pub use table::{Field, FieldTable};
pub use version::{PREFACE, Version, is_http2};
