//! How HTTP/1.1 says an answer's head. Kind: pure.

use proxy_core::decimal::put_decimal;

use crate::session::client::{AnswerHead, Size};

/// What the codec itself adds to a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner {
    /// How the body's end is told.
    pub(super) framing: Framing,
    /// Whether the connection goes on.
    pub(super) keep: bool,
    /// HTTP/1.0 has to be told what 1.1 takes for granted.
    pub(super) old: bool,
}

/// How the end of an answer's body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body, and nothing is said about it.
    Silent,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// By closing, to those who know no chunks.
    Close,
}

/// How the end of this body is told to this client.
pub(super) fn framing(size: Size, first: usize, last: bool, old: bool) -> Framing {
    match size {
        Size::Empty | Size::Told(None) => Framing::Silent,
        Size::Told(Some(length)) | Size::Length(length) => Framing::Length(length),
        Size::Unknown if last => Framing::Length(first as u64),
        Size::Unknown if old => Framing::Close,
        Size::Unknown => Framing::Chunked,
    }
}

/// Writes the whole head; `date` where it has none of its own.
pub(super) fn write(out: &mut Vec<u8>, head: &AnswerHead<'_>, date: Option<&[u8]>, manner: Manner) {
    out.extend_from_slice(b"HTTP/1.1 ");
    write_status(out, head.status);
    if let Some(date) = date {
        out.extend_from_slice(b"date: ");
        out.extend_from_slice(date);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(head.fields);
    match manner.framing {
        Framing::Silent | Framing::Close => {}
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            put_decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(match (manner.keep, manner.old) {
        (true, false) => b"\r\n",
        (true, true) => b"connection: keep-alive\r\n\r\n",
        (false, _) => b"connection: close\r\n\r\n",
    });
}

/// Writes an interim answer.
pub(super) fn write_interim(out: &mut Vec<u8>, status: u16, fields: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    write_status(out, status);
    out.extend_from_slice(fields);
    out.extend_from_slice(b"\r\n");
}

fn write_status(out: &mut Vec<u8>, status: u16) {
    put_decimal(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The words behind a status code. The ones of the server are not passed on: they mean nothing (RFC 9112 section 4).
fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, size: Size, last: bool, keep: bool, old: bool, text: &str) {
        let head = AnswerHead { status, fields: b"x: y\r\n", dated: false, size };
        let (mut out, framing) = (Vec::new(), framing(size, 5, last, old));
        write(&mut out, &head, Some(b"now"), Manner { framing, keep, old });
        assert_eq!(String::from_utf8(out).unwrap(), text.replace('\n', "\r\n"));
    }

    #[test]
    fn heads_say_how_the_body_ends_and_whether_the_connection_goes_on() {
        let length = Size::Length(120);
        check(200, length, true, true, false, "HTTP/1.1 200 OK\ndate: now\nx: y\ncontent-length: 120\n\n");
        check(
            200,
            length,
            true,
            true,
            true,
            "HTTP/1.1 200 OK\ndate: now\nx: y\ncontent-length: 120\nconnection: keep-alive\n\n",
        );
        check(
            404,
            Size::Unknown,
            false,
            false,
            false,
            "HTTP/1.1 404 Not Found\ndate: now\nx: y\ntransfer-encoding: chunked\nconnection: close\n\n",
        );
        check(
            200,
            Size::Unknown,
            false,
            false,
            true,
            "HTTP/1.1 200 OK\ndate: now\nx: y\nconnection: close\n\n",
        );
        check(
            200,
            Size::Unknown,
            true,
            true,
            false,
            "HTTP/1.1 200 OK\ndate: now\nx: y\ncontent-length: 5\n\n",
        );
        check(304, Size::Empty, true, true, false, "HTTP/1.1 304 Not Modified\ndate: now\nx: y\n\n");
        check(299, Size::Told(None), true, true, false, "HTTP/1.1 299 \ndate: now\nx: y\n\n");
        check(
            200,
            Size::Told(Some(0)),
            true,
            true,
            false,
            "HTTP/1.1 200 OK\ndate: now\nx: y\ncontent-length: 0\n\n",
        );
    }

    #[test]
    fn an_interim_answer_has_nothing_of_ours() {
        let mut out = Vec::new();
        write_interim(&mut out, 103, b"link: </a.css>\r\n");
        assert_eq!(out, b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n");
    }
}
