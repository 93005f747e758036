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
use super::name::{self, Name};
use super::swar::{find_control, lower_letters};
use super::text::{lower_token, trim_end, trim_start};

/// How much is copied in one go: a usual head, and of a body behind it not much.
const BLOCK: usize = 2048;

/// How much room is kept for the next head: one large request must not cost its connection that much for ever.
const KEPT: usize = 8192;

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

/// A piece of a head, by offsets into its bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u16,
    pub(super) end: u16,
}

impl Span {
    /// The span between two offsets, which are below the 65536 bytes that a head may have.
    #[inline]
    pub(super) fn new(start: usize, end: usize) -> Self {
        let narrow = |at| u16::try_from(at).unwrap_or(u16::MAX);
        Self { start: narrow(start), end: narrow(end) }
    }

    #[inline]
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(usize::from(self.start)..usize::from(self.end)).unwrap_or_default()
    }
}

/// Where one field lies.
#[derive(Debug, Clone, Copy)]
struct Entry {
    name: Name,
    start: u16,
    colon: u16,
    value: Span,
    end: u16,
}

/// One field of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Which it is.
    pub known: Name,
    /// Its name, lower case.
    pub name: &'a [u8],
    /// Its value, without the spaces around it.
    pub value: &'a [u8],
    /// The whole line, its CRLF included, to be passed on as it is.
    pub line: &'a [u8],
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// Nothing yet; one empty line is skipped (RFC 9112 section 2.2).
    #[default]
    Blank,
    Start,
    Fields,
}

/// The bytes of a head, and where its fields lie. Keeps its room when it is cleared.
#[derive(Debug, Clone)]
pub(super) struct Head {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// For each known name one more than the index of its first entry; zero where there is none.
    first: [u16; name::COUNT],
    stage: Stage,
    /// Where the current line begins.
    line: usize,
    /// How far its end was looked for.
    seen: usize,
}

impl Default for Head {
    fn default() -> Self {
        let first = [0; name::COUNT];
        Self { bytes: Vec::new(), entries: Vec::new(), first, stage: Stage::Blank, line: 0, seen: 0 }
    }
}

impl Head {
    pub(super) fn clear(&mut self) {
        if self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.entries.clear();
        self.first = [0; name::COUNT];
        (self.stage, self.line, self.seen) = (Stage::Blank, 0, 0);
    }

    /// Whether no byte came yet.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many bytes there is room for.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.bytes.capacity()
    }

    /// Whether nothing came yet but the empty line that is skipped.
    pub(super) fn is_blank(&self) -> bool {
        self.stage != Stage::Fields && self.bytes.len() == self.line
    }

    /// Whether the first line is whole.
    pub(super) fn is_started(&self) -> bool {
        self.stage == Stage::Fields
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
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
            // One byte more than the limit tells a head that may still end from one that is too large.
            let room = (limits.total() + 1).saturating_sub(self.bytes.len());
            let take = BLOCK.min(room).min(piece.len() - used);
            self.bytes.extend_from_slice(&piece[used..used + take]);
            used += take;
            if self.lines(limits, &mut start)? {
                let behind = self.bytes.len() - self.line;
                self.bytes.truncate(self.line);
                return Ok(Some(used - behind));
            }
            if self.bytes.len() > limits.total() {
                return Err(Malformed::too_large("head too large"));
            }
        }
        Ok(None)
    }

    /// Takes the lines that are whole; true when the empty one was among them.
    fn lines(
        &mut self,
        limits: &HeadLimits,
        start: &mut impl FnMut(&[u8], usize) -> Result<(), Malformed>,
    ) -> Result<bool, Malformed> {
        while let Some(found) = find_control(&self.bytes[self.seen..]) {
            let (from, end) = (self.line, self.seen + found);
            if end > from + limits.line {
                return Err(self.long_line());
            }
            match self.bytes[end..] {
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
                    start(&self.bytes[from..end], from)?;
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
        self.seen = self.bytes.len();
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
        let line = &mut self.bytes[start..end];
        let len = lower_name(line);
        let (text, behind) = line.split_at(len);
        let [b':', value @ ..] = behind else { return Err(no_name(text, behind)) };
        if text.is_empty() {
            return Err(no_name(text, behind));
        }
        let name = Name::of(text);
        let value = trim_start(value);
        let from = end - value.len();
        let value = Span::new(from, from + trim_end(value).len());
        self.enter(name, start, start + len, value, end + 2, limits)
    }

    #[inline]
    fn enter(
        &mut self,
        name: Name,
        start: usize,
        colon: usize,
        value: Span,
        end: usize,
        limits: &HeadLimits,
    ) -> Result<(), Malformed> {
        if self.entries.len() >= limits.fields {
            return Err(Malformed::too_large("too many fields"));
        }
        let Span { start, end } = Span::new(start, end);
        let colon = Span::new(colon, colon).start;
        self.entries.push(Entry { name, start, colon, value, end });
        if let Some(first @ 0) = self.first.get_mut(name as usize) {
            *first = u16::try_from(self.entries.len()).unwrap_or(u16::MAX);
        }
        Ok(())
    }

    /// Writes a start line that did not come as text.
    pub(super) fn write_start(&mut self, parts: &[&[u8]]) {
        self.clear();
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.bytes.extend_from_slice(b"\r\n");
        self.line = self.bytes.len();
        self.stage = Stage::Fields;
    }

    /// Writes a field that did not come as text.
    pub(super) fn write_field(
        &mut self,
        name: &[u8],
        values: &[&[u8]],
        limits: &HeadLimits,
    ) -> Result<(), Malformed> {
        let start = self.bytes.len();
        let len = name.len() + 4 + values.iter().map(|value| value.len()).sum::<usize>();
        if start + len > limits.total() {
            return Err(Malformed::too_large("head too large"));
        }
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(b": ");
        values.iter().for_each(|value| self.bytes.extend_from_slice(value));
        let end = self.bytes.len();
        self.bytes.extend_from_slice(b"\r\n");
        self.line = self.bytes.len();
        if let Some(at) = find_control(&self.bytes[start..end]) {
            return Err(no_line(self.bytes[start + at]));
        }
        self.field(start, end, limits)
    }

    /// All fields, in their order.
    #[inline]
    pub(super) fn fields(&self) -> impl ExactSizeIterator<Item = Field<'_>> + Clone {
        self.entries.iter().map(|entry| self.show(entry))
    }

    fn show(&self, entry: &Entry) -> Field<'_> {
        Field {
            known: entry.name,
            name: Span { start: entry.start, end: entry.colon }.of(&self.bytes),
            value: entry.value.of(&self.bytes),
            line: Span { start: entry.start, end: entry.end }.of(&self.bytes),
        }
    }

    /// Where the value of the first field of this name lies.
    #[inline]
    pub(super) fn find(&self, name: Name) -> Option<Span> {
        let index = self.first.get(name as usize)?.checked_sub(1)?;
        self.entries.get(usize::from(index)).map(|entry| entry.value)
    }

    /// The value of the first field of this name.
    #[inline]
    pub(super) fn known(&self, name: Name) -> Option<&[u8]> {
        self.find(name).map(|value| value.of(&self.bytes))
    }

    /// The value of the only field of this name.
    pub(super) fn single(&self, name: Name, several: &'static str) -> Result<Option<&[u8]>, Malformed> {
        match self.known(name) {
            Some(_) if self.all(name).nth(1).is_some() => Err(Malformed::bad(several)),
            found => Ok(found),
        }
    }

    /// The values of all fields of this name.
    pub(super) fn all(&self, name: Name) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
        let first = self.first.get(name as usize).map_or(0, |first| usize::from(*first));
        // No first one: nothing to go through.
        let entries = if first == 0 { &[][..] } else { &self.entries[first - 1..] };
        entries.iter().filter(move |entry| entry.name == name).map(|entry| entry.value.of(&self.bytes))
    }

    /// The value of the first field of any name.
    pub(super) fn named(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// Makes a part of the bytes lower case.
    pub(super) fn lower(&mut self, span: Span) {
        if let Some(text) = self.bytes.get_mut(usize::from(span.start)..usize::from(span.end)) {
            text.make_ascii_lowercase();
        }
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
