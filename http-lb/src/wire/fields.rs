//! Header fields as text: `name: value` and CRLF, one after the other, as HTTP/1.1 writes them. Kind: pure.
//!
//! The one form in which fields are handed around, whoever wrote them and whichever protocol sends them: it is built
//! without an allocation for each, and written to a connection as it is.

use super::text::{is_token, is_value, lower_token, trim};

/// A field that would end the head that it is written to, or that no receiver may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a header field")]
pub struct BadField;

/// Fields in their order. Their names are lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<u8>);

impl Fields {
    /// None.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// None, with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Adds a field. What may not be a name, or has CR, LF, NUL or another control byte as its value, is refused, so
    /// that nobody can end a head with a value of theirs.
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), BadField> {
        let value = trim(value);
        if !is_token(name) || !is_value(value) {
            return Err(BadField);
        }
        let start = self.0.len();
        self.0.reserve(name.len() + value.len() + 4);
        self.0.extend_from_slice(name);
        lower_token(&mut self.0[start..]);
        self.0.extend_from_slice(b": ");
        self.0.extend_from_slice(value);
        self.0.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Removes all fields of this name, and adds this one.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), BadField> {
        self.remove(name);
        self.push(name, value)
    }

    /// Removes all fields of this name; says whether there was one.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let before = self.0.len();
        let mut at = 0;
        while let Some(len) = line(&self.0[at..]) {
            if split(&self.0[at..at + len]).0.eq_ignore_ascii_case(name) {
                self.0.drain(at..at + len);
            } else {
                at += len;
            }
        }
        self.0.len() < before
    }

    /// Adds all of the other's.
    pub fn append(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// Removes all, and keeps the room.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Names and values.
    pub fn iter(&self) -> Iter<'_> {
        iter(&self.0)
    }

    /// The value of the first field of this name.
    pub fn find(&self, name: &[u8]) -> Option<&[u8]> {
        find(&self.0, name)
    }

    /// The fields as they are sent: each with its CRLF, without the empty line behind the last.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Fields> for Vec<u8> {
    fn from(fields: Fields) -> Self {
        fields.0
    }
}

/// Names and values of fields in text.
#[derive(Debug, Clone)]
pub struct Iter<'a>(&'a [u8]);

/// The fields in a text that is known to be fields, such as [`Fields::as_bytes`].
pub fn iter(fields: &[u8]) -> Iter<'_> {
    Iter(fields)
}

/// The value of the first field of this name in a text that is known to be fields.
pub fn find<'a>(fields: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    iter(fields).find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (line, rest) = self.0.split_at(line(self.0)?);
        self.0 = rest;
        Some(split(line))
    }
}

impl<'a> IntoIterator for &'a Fields {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The length of the first line, its end included.
fn line(fields: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', fields).map(|end| end + 1)
}

/// The name and the value in a line.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.strip_suffix(b"\r\n").unwrap_or(line);
    let colon = memchr::memchr(b':', line).unwrap_or(line.len());
    (&line[..colon], trim(line.get(colon + 1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fields: &[(&str, &str)], text: &str) {
        let mut built = Fields::new();
        for (name, value) in fields {
            built.push(name.as_bytes(), value.as_bytes()).unwrap();
        }
        assert_eq!(String::from_utf8_lossy(built.as_bytes()), text);
    }

    #[test]
    fn fields_are_lines() {
        check(&[], "");
        check(&[("Content-Type", "text/html"), ("X-Empty", "")], "content-type: text/html\r\nx-empty: \r\n");
        check(&[("a", " padded\t"), ("b", "gr\u{fc}n")], "a: padded\r\nb: gr\u{fc}n\r\n");
    }

    #[test]
    fn nothing_that_ends_a_line_gets_in() {
        for (name, value) in
            [("a", "b\r\nc: d"), ("a", "b\nc"), ("a", "\0"), ("a:", "b"), ("", "b"), ("a b", "c")]
        {
            assert_eq!(
                Fields::new().push(name.as_bytes(), value.as_bytes()),
                Err(BadField),
                "{name}: {value}"
            );
        }
    }

    #[test]
    fn fields_are_found_set_and_removed_by_name() {
        let mut fields = Fields::new();
        for (name, value) in [("set-cookie", "a=1"), ("vary", "host"), ("set-cookie", "b=2:3")] {
            fields.push(name.as_bytes(), value.as_bytes()).unwrap();
        }
        assert_eq!(fields.find(b"Set-Cookie"), Some(&b"a=1"[..]));
        assert_eq!(fields.iter().last(), Some((&b"set-cookie"[..], &b"b=2:3"[..])));
        fields.set(b"Vary", b"cookie").unwrap();
        assert!(fields.remove(b"set-cookie") && !fields.remove(b"set-cookie"));
        assert_eq!(fields.as_bytes(), b"vary: cookie\r\n");
    }
}
