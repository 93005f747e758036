//! The lines of a head: read in any pieces, each byte copied once and looked at once. Kind: pure.
//!
//! ```text
//!   Blank ──CRLF──▶ Start ──start line──▶ Fields ──field──▶ Fields … ──empty line──▶ whole
//!     └──────────start line──────────────────▲
//! ```
//! Requests and responses differ in their first line and in what their fields mean; everything else is here. Lines end
//! with CRLF and nothing else. Where RFC 9112 leaves it to the receiver to be lenient (a bare LF, folded lines, spaces
//! before the colon: sections 2.2, 5.1 and 5.2), we refuse: what we pass on is read by a second parser.

use super::Malformed;
use super::name::Name;
use super::swar::{find_control, lower_letters};
use super::table::{FieldTable, Span};
use super::text::{lower_token, trim_end, trim_start};

/// How much is copied in one go: a usual head, and of a body behind it not much.
const BLOCK: usize = 2048;

/// What a head may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of one line, its end not counted.
    pub line: usize,
    /// Bytes of the whole head. More than 65535 is not possible.
    pub total: usize,
    /// How many fields.
    pub fields: usize,
}

impl Default for HeadLimits {
    /// nginx' `large_client_header_buffers 4 8k`, and more fields than any browser sends.
    fn default() -> Self {
        Self { line: 8 << 10, total: 32 << 10, fields: 100 }
    }
}

impl HeadLimits {
    /// Spans are 16 bits wide.
    fn total(&self) -> usize {
        self.total.min(usize::from(u16::MAX))
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// Nothing yet; one empty line is skipped (RFC 9112 section 2.2).
    #[default]
    Blank,
    Start,
    Fields,
}

/// The lines of a head as far as they came. Keeps its room when it is cleared.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    /// What the lines were found to say.
    pub(super) fields: FieldTable,
    stage: Stage,
    /// Where the current line begins.
    line: usize,
    /// How far its end was looked for.
    seen: usize,
}

impl Head {
    pub(super) fn clear(&mut self) {
        self.fields.clear();
        (self.stage, self.line, self.seen) = (Stage::Blank, 0, 0);
    }

    /// Whether no byte came yet.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.bytes.is_empty()
    }

    /// Whether nothing came yet but the empty line that is skipped.
    pub(super) fn is_blank(&self) -> bool {
        self.stage != Stage::Fields && self.fields.bytes.len() == self.line
    }

    /// Whether the first line is whole.
    pub(super) fn is_started(&self) -> bool {
        self.stage == Stage::Fields
    }

    /// Reads on: `piece` is what came after the previous one. Gives how many of its bytes belong to the head, once that
    /// is whole. The start line is handed out when it is, with its offset.
    pub(super) fn feed(
        &mut self,
        piece: &[u8],
        limits: &HeadLimits,
        mut start: impl FnMut(&[u8], usize) -> Result<(), Malformed>,
    ) -> Result<Option<usize>, Malformed> {
        let mut used = 0;
        while used < piece.len() {
            let bytes = &mut self.fields.bytes;
            // One byte more than the limit tells a head that may still end from one that is too large.
            let room = (limits.total() + 1).saturating_sub(bytes.len());
            let take = BLOCK.min(room).min(piece.len() - used);
            bytes.extend_from_slice(&piece[used..used + take]);
            used += take;
            if self.lines(limits, &mut start)? {
                return Ok(Some(used - self.cut()));
            }
            if self.fields.bytes.len() > limits.total() {
                return Err(Malformed::too_large("head too large"));
            }
        }
        Ok(None)
    }

    /// Drops what was read beyond the last line; gives how much it is.
    fn cut(&mut self) -> usize {
        let behind = self.fields.bytes.len() - self.line;
        self.fields.bytes.truncate(self.line);
        behind
    }

    /// Takes the lines that are whole; true when the empty one was among them.
    fn lines(
        &mut self,
        limits: &HeadLimits,
        start: &mut impl FnMut(&[u8], usize) -> Result<(), Malformed>,
    ) -> Result<bool, Malformed> {
        while let Some(found) = find_control(&self.fields.bytes[self.seen..]) {
            let (from, end) = (self.line, self.seen + found);
            if end > from + limits.line {
                return Err(self.long_line());
            }
            match self.fields.bytes[end..] {
                [b'\r', b'\n', ..] => (self.line, self.seen) = (end + 2, end + 2),
                [b'\r'] => {
                    self.seen = end;
                    return Ok(false);
                }
                [byte, ..] => return Err(no_line(byte)),
                [] => break,
            }
            match self.stage {
                Stage::Blank if end == from => self.stage = Stage::Start,
                Stage::Blank | Stage::Start => {
                    start(&self.fields.bytes[from..end], from)?;
                    self.stage = Stage::Fields;
                }
                Stage::Fields if end == from => return self.end(limits),
                Stage::Fields => self.field(from, end, limits)?,
            }
        }
        self.unfinished(limits)
    }

    fn end(&self, limits: &HeadLimits) -> Result<bool, Malformed> {
        if self.line > limits.total() {
            return Err(Malformed::too_large("head too large"));
        }
        Ok(true)
    }

    /// Remembers that the current line has no end yet.
    fn unfinished(&mut self, limits: &HeadLimits) -> Result<bool, Malformed> {
        self.seen = self.fields.bytes.len();
        if self.seen > self.line + limits.line {
            return Err(self.long_line());
        }
        Ok(false)
    }

    fn long_line(&self) -> Malformed {
        match self.stage {
            Stage::Fields => Malformed::too_large("field too long"),
            Stage::Blank | Stage::Start => Malformed::long_target(),
        }
    }

    /// Takes the field in a line, its CRLF left out. There are no control bytes in it but tabs.
    #[inline]
    fn field(&mut self, start: usize, end: usize, limits: &HeadLimits) -> Result<(), Malformed> {
        let room = self.fields.len() < limits.fields;
        let line = &mut self.fields.bytes[start..end];
        let len = lower_name(line);
        let (text, behind) = line.split_at(len);
        let [b':', value @ ..] = behind else { return Err(no_name(text, behind)) };
        if text.is_empty() {
            return Err(no_name(text, behind));
        }
        if !room {
            return Err(Malformed::too_large("too many fields"));
        }
        let name = Name::of(text);
        let value = trim_start(value);
        let from = end - value.len();
        let value = Span::new(from, from + trim_end(value).len());
        self.fields.enter(name, Span::new(start, start + len), value, end + 2);
        Ok(())
    }

    /// Writes a start line that did not come as text.
    pub(super) fn write_start(&mut self, parts: &[&[u8]]) {
        self.clear();
        let bytes = &mut self.fields.bytes;
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes.extend_from_slice(b"\r\n");
        self.line = bytes.len();
        self.stage = Stage::Fields;
    }

    /// Writes a field that did not come as text.
    pub(super) fn write_field(
        &mut self,
        name: &[u8],
        values: &[&[u8]],
        limits: &HeadLimits,
    ) -> Result<(), Malformed> {
        let bytes = &mut self.fields.bytes;
        let start = bytes.len();
        let len = name.len() + 4 + values.iter().map(|value| value.len()).sum::<usize>();
        if start + len > limits.total() {
            return Err(Malformed::too_large("head too large"));
        }
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(b": ");
        values.iter().for_each(|value| bytes.extend_from_slice(value));
        let end = bytes.len();
        bytes.extend_from_slice(b"\r\n");
        self.line = bytes.len();
        if let Some(at) = find_control(&bytes[start..end]) {
            return Err(no_line(bytes[start + at]));
        }
        self.field(start, end, limits)
    }
}

/// Makes the name at the front of a line lower case; gives its length.
#[inline]
fn lower_name(line: &mut [u8]) -> usize {
    match lower_letters(line) {
        (letters, Some(b':')) => letters,
        // What is rarer than letters and hyphens, or near the line's end.
        (letters, _) => letters + lower_token(&mut line[letters..]),
    }
}

/// Why a line ends where it doesn't.
#[cold]
fn no_line(byte: u8) -> Malformed {
    Malformed::bad(match byte {
        b'\r' => "CR without LF",
        b'\n' => "LF without CR",
        _ => "control byte",
    })
}

/// Why a line that is no field is none.
#[cold]
fn no_name(text: &[u8], behind: &[u8]) -> Malformed {
    Malformed::bad(match (text, behind) {
        ([], [b' ' | b'\t', ..]) => "folded field",
        ([], [b':', ..]) => "field without a name",
        (_, [b' ' | b'\t', ..]) => "space in a field's name",
        (_, []) => "field without a colon",
        _ => "illegal byte in a field's name",
    })
}
