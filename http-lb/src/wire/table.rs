//! The fields of a head: its bytes, and where in them each field lies, found in one step by name. Kind: pure.

use super::Malformed;
use super::connection::Wishes;
use super::name::{self, Name};
use super::text::list;

/// How much room is kept for the next head: one large request must not cost its connection that much for ever.
const KEPT: usize = 8192;

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
    /// Its name, with which the line begins.
    text: Span,
    value: Span,
    /// Where the next line begins.
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

/// The fields of a request or a response, in their order.
#[derive(Debug, Clone)]
pub struct FieldTable {
    /// All of the head, with its first line; written by its reader alone.
    pub(super) bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// For each known name one more than the index of its first entry; zero where there is none.
    first: [u16; name::COUNT],
    wishes: Wishes,
}

impl Default for FieldTable {
    fn default() -> Self {
        let (first, wishes) = ([0; name::COUNT], Wishes::default());
        Self { bytes: Vec::new(), entries: Vec::new(), first, wishes }
    }
}

impl FieldTable {
    /// Names, lower case, and values, in their order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + Clone {
        self.entries().map(|field| (field.name, field.value))
    }

    /// The fields with all that is known of each, in their order.
    #[inline]
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Field<'_>> + Clone {
        self.entries.iter().map(|entry| self.show(entry))
    }

    fn show(&self, entry: &Entry) -> Field<'_> {
        Field {
            known: entry.name,
            name: entry.text.of(&self.bytes),
            value: entry.value.of(&self.bytes),
            line: Span { start: entry.text.start, end: entry.end }.of(&self.bytes),
        }
    }

    /// The value of the first field of this name, in one step.
    #[inline]
    pub fn known(&self, name: Name) -> Option<&[u8]> {
        self.find(name).map(|value| value.of(&self.bytes))
    }

    /// The values of all fields of this name, in their order.
    pub fn all(&self, name: Name) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
        let first = self.first.get(name as usize).map_or(0, |first| usize::from(*first));
        // No first one: nothing to go through.
        let entries = if first == 0 { &[][..] } else { &self.entries[first - 1..] };
        entries.iter().filter(move |entry| entry.name == name).map(|entry| entry.value.of(&self.bytes))
    }

    /// The value of the first field of any name.
    pub fn field(&self, name: &[u8]) -> Option<&[u8]> {
        self.entries().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// Whether Connection names the field of this (lower-case) name, so that it is not to be passed on (RFC 9110 section
    /// 7.6.1).
    #[inline]
    pub fn nominates(&self, name: &[u8]) -> bool {
        self.wishes.nominated > 0
            && self.all(Name::Connection).flat_map(list).any(|option| option.eq_ignore_ascii_case(name))
    }

    /// The value of the only field of this name.
    pub(super) fn single(&self, name: Name, several: &'static str) -> Result<Option<&[u8]>, Malformed> {
        match self.known(name) {
            Some(_) if self.all(name).nth(1).is_some() => Err(Malformed::bad(several)),
            found => Ok(found),
        }
    }

    /// Where the value of the first field of this name lies.
    #[inline]
    pub(super) fn find(&self, name: Name) -> Option<Span> {
        let index = self.first.get(name as usize)?.checked_sub(1)?;
        self.entries.get(usize::from(index)).map(|entry| entry.value)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What Connection says, once it was [read](Self::read_wishes).
    pub(super) fn wishes(&self) -> Wishes {
        self.wishes
    }

    /// Reads what Connection says.
    pub(super) fn read_wishes(&mut self) -> Result<Wishes, Malformed> {
        self.wishes = Wishes::read(self.all(Name::Connection))?;
        Ok(self.wishes)
    }

    /// Takes a field whose name and value lie there, and whose line ends there.
    #[inline]
    pub(super) fn enter(&mut self, name: Name, text: Span, value: Span, end: usize) {
        let Span { end, .. } = Span::new(0, end);
        self.entries.push(Entry { name, text, value, end });
        if let Some(first @ 0) = self.first.get_mut(name as usize) {
            *first = u16::try_from(self.entries.len()).unwrap_or(u16::MAX);
        }
    }

    /// Makes a part of the bytes lower case.
    pub(super) fn lower(&mut self, span: Span) {
        if let Some(text) = self.bytes.get_mut(usize::from(span.start)..usize::from(span.end)) {
            text.make_ascii_lowercase();
        }
    }

    /// Forgets the fields, and keeps the room.
    pub(super) fn clear(&mut self) {
        if self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.entries.clear();
        self.first = [0; name::COUNT];
        self.wishes = Wishes::default();
    }
}
