//! `ErrorResponse` and `NoticeResponse`: what a server says when it refuses, and what we say in its words. Kind: pure.
//!
//! <https://www.postgresql.org/docs/current/protocol-error-fields.html>: "frontends should silently ignore fields of
//! unrecognized type". A field may be missing, the SQLSTATE among them (CVE-2026-6666), and text need not be UTF-8: it
//! is in whatever encoding the server had at hand when it failed early.

use super::frame::{put, put_cstr};

/// How bad it is: who must give up what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The statement, and the transaction around it.
    Error,
    /// The connection.
    Fatal,
    /// Nothing: a notice.
    Warning,
}

impl Severity {
    fn text(self) -> &'static [u8] {
        match self {
            Self::Error => b"ERROR",
            Self::Fatal => b"FATAL",
            Self::Warning => b"WARNING",
        }
    }
}

/// An error in our own words, to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report<'a> {
    /// How bad it is.
    pub severity: Severity,
    /// The SQLSTATE: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
    pub code: &'a str,
    /// One line, without a full stop.
    pub message: &'a str,
    /// More about it, in sentences.
    pub detail: Option<&'a str>,
    /// What to do about it, in sentences.
    pub hint: Option<&'a str>,
}

impl<'a> Report<'a> {
    /// An error that ends the statement.
    pub fn error(code: &'a str, message: &'a str) -> Self {
        Self { severity: Severity::Error, code, message, detail: None, hint: None }
    }

    /// An error that ends the connection.
    pub fn fatal(code: &'a str, message: &'a str) -> Self {
        Self { severity: Severity::Fatal, ..Self::error(code, message) }
    }

    /// The same with a detail.
    pub fn detail(self, detail: &'a str) -> Self {
        Self { detail: Some(detail), ..self }
    }

    /// The same with a hint.
    pub fn hint(self, hint: &'a str) -> Self {
        Self { hint: Some(hint), ..self }
    }

    fn put_fields(&self, out: &mut Vec<u8>) {
        let severity = self.severity.text();
        put_field(out, b'S', severity);
        put_field(out, b'V', severity);
        put_field(out, b'C', self.code.as_bytes());
        put_field(out, b'M', self.message.as_bytes());
        self.detail.into_iter().for_each(|text| put_field(out, b'D', text.as_bytes()));
        self.hint.into_iter().for_each(|text| put_field(out, b'H', text.as_bytes()));
        out.push(0);
    }
}

fn put_field(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.push(kind);
    put_cstr(out, text);
}

/// Appends an `ErrorResponse`.
pub fn put_error(out: &mut Vec<u8>, report: &Report<'_>) {
    put(out, b'E', |out| report.put_fields(out));
}

/// Appends a `NoticeResponse`.
pub fn put_notice(out: &mut Vec<u8>, report: &Report<'_>) {
    put(out, b'N', |out| report.put_fields(out));
}

/// The fields of an error or a notice: each a type and a text. Ends at the end of what is well formed.
#[derive(Debug, Clone)]
pub struct Fields<'a>(&'a [u8]);

/// Reads the body of an `ErrorResponse` or a `NoticeResponse`.
pub fn fields(body: &[u8]) -> Fields<'_> {
    Fields(body)
}

impl<'a> Fields<'a> {
    /// The first field of this type.
    pub fn get(&self, kind: u8) -> Option<&'a [u8]> {
        self.clone().find(|(found, _)| *found == kind).map(|(_, text)| text)
    }

    /// The SQLSTATE, if there is one and it is five characters.
    pub fn code(&self) -> Option<&'a str> {
        self.get(b'C').and_then(|code| std::str::from_utf8(code).ok()).filter(|code| code.len() == 5)
    }

    /// Whether the connection ends with it.
    pub fn is_fatal(&self) -> bool {
        matches!(self.get(b'V').or(self.get(b'S')), Some(b"FATAL" | b"PANIC"))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&kind, rest) = self.0.split_first().filter(|(kind, _)| **kind != 0)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        self.0 = &rest[end + 1..];
        Some((kind, &rest[..end]))
    }
}

/// The longest message text that is kept of a server's error.
const MAX_KEPT: usize = 1024;

/// What is kept of a server's error: enough to decide by and to tell the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{severity}: {message} (SQLSTATE {code})")]
pub struct ServerError {
    /// `ERROR`, `FATAL`, `PANIC`, never translated where the server is newer than 9.5; empty if it did not say.
    pub severity: String,
    /// The SQLSTATE; `XX000` (internal error) where there was none.
    pub code: String,
    /// The message, cut after a kilobyte.
    pub message: String,
}

impl ServerError {
    /// Keeps what counts of an `ErrorResponse`.
    pub fn read(body: &[u8]) -> Self {
        let fields = fields(body);
        let severity = fields.get(b'V').or(fields.get(b'S')).unwrap_or_default();
        Self {
            severity: kept(severity),
            code: fields.code().unwrap_or("XX000").to_owned(),
            message: kept(fields.get(b'M').unwrap_or(b"no message")),
        }
    }

    /// Whether the server ended the connection with it.
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity.as_str(), "FATAL" | "PANIC")
    }
}

/// The front of a server's text, as good as it can be read.
fn kept(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(MAX_KEPT)]).into_owned()
}

/// Fuzz entry: any bytes as an error.
pub fn fuzz_error_response(data: &[u8]) {
    let error = ServerError::read(data);
    assert_eq!(error.code.len(), 5);
    assert_eq!(error.is_fatal(), fields(data).is_fatal());
    assert!(fields(data).map(|(_, text)| text.len() + 2).sum::<usize>() <= data.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::split;
    use proptest::prelude::*;

    fn check(body: &[u8], severity: &str, code: &str, message: &str) {
        let want = ServerError { severity: severity.into(), code: code.into(), message: message.into() };
        assert_eq!(ServerError::read(body), want, "{body:?}");
    }

    #[test]
    fn missing_fields_are_tolerated() {
        check(b"", "", "XX000", "no message");
        check(b"\0", "", "XX000", "no message");
        check(b"SFATAL\0Mgo away\0\0", "FATAL", "XX000", "go away");
        check(b"C123\0\0", "", "XX000", "no message");
    }

    #[test]
    fn unknown_fields_are_ignored_and_a_torn_one_ends_the_list() {
        check(b"zwhat\0C57P01\0Mbye\0\0", "", "57P01", "bye");
        check(b"C57P01\0Mbye", "", "57P01", "no message");
    }

    #[test]
    fn severity_is_read_untranslated() {
        check("SFATALE\u{301}\0VFATAL\0C28P01\0Mno\0\0".as_bytes(), "FATAL", "28P01", "no");
        assert!(fields(b"SFATAL\0VFATAL\0\0").is_fatal());
        assert!(!fields(b"SERROR\0VERROR\0\0").is_fatal());
    }

    #[test]
    fn other_encodings_and_long_texts_are_cut_to_size() {
        check(b"M\xff\0\0", "", "XX000", "\u{fffd}");
        let mut long = vec![b'M'];
        long.extend_from_slice(&[b'x'; 5000]);
        long.push(0);
        assert_eq!(ServerError::read(&long).message.len(), MAX_KEPT);
    }

    #[test]
    fn reports_read_as_they_were_written() {
        let mut out = Vec::new();
        put_error(&mut out, &Report::fatal("57P01", "the router is shutting down").hint("Connect again."));
        let (message, rest) = split(&out).unwrap().unwrap();
        assert_eq!((message.tag, rest.len()), (b'E', 0));
        check(message.body, "FATAL", "57P01", "the router is shutting down");
        assert_eq!(fields(message.body).get(b'H'), Some(&b"Connect again."[..]));
        assert_eq!(fields(message.body).get(b'D'), None);
    }

    #[test]
    fn the_corpus_holds() {
        let corpus: [&[u8]; 5] =
            [b"", b"\0", b"M", b"SERROR\0C42601\0Msyntax error\0P8\0\0", b"\xff\xff\0\0\0"];
        corpus.into_iter().for_each(fuzz_error_response);
    }

    proptest! {
        #[test]
        fn any_body_is_survived(data in proptest::collection::vec(any::<u8>(), 0..80)) {
            fuzz_error_response(&data);
        }
    }
}
