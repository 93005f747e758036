//! Bodies in chunks (RFC 9112 section 7.1): taken apart without copying, however they are cut, and written. Kind: pure.
//!
//! ```text
//!   Size ──hex──▶ Size ─┬──;──▶ Extension ──CR──▶ SizeEnd ──LF──▶ Data ──all──▶ DataCr ──CR──▶ DataLf ──LF──▶ Size
//!                       └──CR──────────────────────▲  └──LF, size 0──▶ Trailer ──empty line──▶ Done
//! ```
//! Only what the grammar has is taken: no spaces around a size, no bare LF anywhere, no data longer than it said. Behind
//! a fault nothing is read any more: read from another place, the same bytes could be a body.

use std::ops::Range;

use super::name::Name;
use super::text::{is_token, is_value};
use super::{Fields, Malformed};

/// 16 digits are 64 bits.
const LONGEST_SIZE: u8 = 16;

/// Bytes of extensions, all chunks of a body together. Nobody sends any, but floods of them are known (CVE-2023-39326).
const EXTENSIONS: u16 = 1024;

/// Bytes of all trailers, and how many.
const TRAILERS: usize = 4096;
const TRAILER_FIELDS: usize = 32;

/// Behind the last chunk of a body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Takes a body in chunks apart.
#[derive(Debug, Clone, Default)]
pub struct ChunkedDecoder {
    stage: Stage,
    /// Of the size, or of the data that is missing.
    left: u64,
    /// How much data may still be announced, if that is bounded.
    room: Option<u64>,
    digits: u8,
    extensions: u16,
    /// The trailer line that is not whole.
    line: Vec<u8>,
    trailers: Fields,
    trailer_count: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Size,
    Extension,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    Trailer,
    Done,
    Broken,
}

/// What was found at the front of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// So many bytes are dealt with. All of them, if there is neither data nor an end.
    pub used: usize,
    /// Where among them data lies; empty if there is none.
    pub data: Range<usize>,
    /// The body is whole; the bytes behind `used` belong to the next message.
    pub end: bool,
}

impl ChunkedDecoder {
    /// At the beginning of a body.
    pub fn new() -> Self {
        Self::default()
    }

    /// From here on all chunks together may announce no more data than this.
    pub fn bound(&mut self, room: u64) {
        self.room = Some(room);
    }

    /// Reads on, up to the end of a run of data: to be called again with what is behind `used`, and with what came
    /// since. After the end it takes nothing more.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Decoded, Malformed> {
        let decoded = self.read(bytes);
        if decoded.is_err() {
            self.stage = Stage::Broken;
        }
        decoded
    }

    fn read(&mut self, bytes: &[u8]) -> Result<Decoded, Malformed> {
        let mut at = 0;
        while at < bytes.len() {
            match self.stage {
                Stage::Data => {
                    let data = at..at + self.take(bytes.len() - at);
                    return Ok(Decoded { used: data.end, data, end: false });
                }
                Stage::Trailer => at += self.trailer(&bytes[at..])?,
                Stage::Done => break,
                _ => {
                    self.step(bytes[at])?;
                    at += 1;
                }
            }
        }
        Ok(Decoded { used: at, data: at..at, end: self.is_done() })
    }

    /// Whether the body was read to its end.
    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// The fields behind the last chunk, once the body was read.
    pub fn trailers(&self) -> &Fields {
        &self.trailers
    }

    /// Takes at most `len` bytes of data.
    fn take(&mut self, len: usize) -> usize {
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(len);
        self.left -= len as u64;
        if self.left == 0 {
            self.stage = Stage::DataCr;
        }
        len
    }

    /// Takes one byte of what stands around data.
    fn step(&mut self, byte: u8) -> Result<(), Malformed> {
        self.stage = match (self.stage, byte) {
            (Stage::Size, b'\r') if self.digits > 0 => Stage::SizeEnd,
            (Stage::Size, b';') if self.digits > 0 => Stage::Extension,
            (Stage::Size, _) => return self.digit(byte),
            (Stage::Extension, b'\r') => Stage::SizeEnd,
            (Stage::Extension, _) => return self.extend(byte),
            (Stage::SizeEnd, b'\n') if self.left == 0 => Stage::Trailer,
            (Stage::SizeEnd, b'\n') => self.announce()?,
            (Stage::DataCr, b'\r') => Stage::DataLf,
            (Stage::DataLf, b'\n') => {
                (self.left, self.digits) = (0, 0);
                Stage::Size
            }
            (Stage::Broken, _) => return Err(Malformed::bad("behind a broken chunk")),
            (Stage::DataCr | Stage::DataLf, _) => return Err(Malformed::bad("chunk longer than its size")),
            _ => return Err(Malformed::bad("chunk size ends without CRLF")),
        };
        Ok(())
    }

    /// A chunk's size is known before any of its data has come.
    fn announce(&mut self) -> Result<Stage, Malformed> {
        if let Some(room) = &mut self.room {
            *room = room.checked_sub(self.left).ok_or(Malformed::long_body())?;
        }
        Ok(Stage::Data)
    }

    fn digit(&mut self, byte: u8) -> Result<(), Malformed> {
        let digit = char::from(byte).to_digit(16).ok_or(Malformed::bad("bad chunk size"))?;
        if self.digits == LONGEST_SIZE {
            return Err(Malformed::bad("chunk size too long"));
        }
        self.digits += 1;
        self.left = self.left << 4 | u64::from(digit);
        Ok(())
    }

    fn extend(&mut self, byte: u8) -> Result<(), Malformed> {
        self.extensions += 1;
        if self.extensions > EXTENSIONS {
            return Err(Malformed::bad("chunk extensions too long"));
        }
        if is_value(&[byte]) { Ok(()) } else { Err(Malformed::bad("control byte in a chunk extension")) }
    }

    /// Takes bytes up to the end of a trailer's line; gives how many.
    fn trailer(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let (used, whole) = memchr::memchr(b'\n', bytes).map_or((bytes.len(), false), |lf| (lf + 1, true));
        if self.trailers.as_bytes().len() + self.line.len() + used > TRAILERS {
            return Err(Malformed::too_large("trailers too large"));
        }
        self.line.extend_from_slice(&bytes[..used]);
        if whole {
            let mut line = std::mem::take(&mut self.line);
            self.end_trailer(line.strip_suffix(b"\r\n").ok_or(Malformed::bad("line ends without CR"))?)?;
            line.clear();
            self.line = line;
        }
        Ok(used)
    }

    fn end_trailer(&mut self, line: &[u8]) -> Result<(), Malformed> {
        if line.is_empty() {
            self.stage = Stage::Done;
            return Ok(());
        }
        self.trailer_count += 1;
        if self.trailer_count > TRAILER_FIELDS {
            return Err(Malformed::too_large("too many trailers"));
        }
        let colon = memchr::memchr(b':', line).ok_or(Malformed::bad("bad trailer"))?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        // By the letter such a field is to be ignored; whoever sends it wants it merged into the head by somebody.
        if !is_token(name) || !is_value(value) || is_forbidden(name) {
            return Err(Malformed::bad("bad trailer"));
        }
        self.trailers.push(name, value).map_err(|_| Malformed::bad("bad trailer"))
    }
}

/// Whether a field has no place in trailers: those for framing, routing, authentication, and what changes how the body
/// is read (RFC 9110 section 6.5.1).
fn is_forbidden(name: &[u8]) -> bool {
    let name = Name::of_any_case(name);
    name.is_hop_by_hop()
        || matches!(
            name,
            Name::Authorization
                | Name::CacheControl
                | Name::ContentEncoding
                | Name::ContentLength
                | Name::ContentRange
                | Name::ContentType
                | Name::Cookie
                | Name::Expect
                | Name::Forwarded
                | Name::Host
                | Name::Location
                | Name::Range
                | Name::SetCookie
                | Name::XForwardedFor
                | Name::XForwardedHost
                | Name::XForwardedProto
        )
}

/// The line in front of a chunk's data. Behind the data comes CRLF.
#[derive(Debug, Clone, Copy)]
pub struct ChunkHead {
    text: [u8; 18],
    start: u8,
}

impl ChunkHead {
    /// For data of this length, which is not zero: that would be the last chunk.
    pub fn new(len: usize) -> Self {
        debug_assert!(len > 0, "an empty chunk ends the body");
        let mut text = *b"0000000000000000\r\n";
        let (mut start, mut rest) = (16, len);
        while rest > 0 {
            start -= 1;
            text[start] = b"0123456789abcdef"[rest % 16];
            rest /= 16;
        }
        Self { text, start: start as u8 }
    }

    /// Its bytes, CRLF included.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[usize::from(self.start)..]
    }
}

/// Writes one chunk; nothing for no data.
pub fn put_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    out.reserve(data.len() + 20);
    out.extend_from_slice(ChunkHead::new(data.len()).as_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Writes the last chunk, and what follows the body.
pub fn put_last_chunk(out: &mut Vec<u8>, trailers: Option<&Fields>) {
    out.extend_from_slice(b"0\r\n");
    out.extend_from_slice(trailers.map(Fields::as_bytes).unwrap_or_default());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
