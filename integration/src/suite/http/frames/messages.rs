//! Requests: their fields and bodies, and how fields are written (RFC 7541). Kind: driver.

use super::case::{Case, Expect::*};
use super::frame::{Frame, block, code, data, flag, headers, put_number, put_string};
use super::peer::{GET, POST, get, last, post};

const PROTOCOL: &[u32] = &[code::PROTOCOL];
const COMPRESSION: &[u32] = &[code::COMPRESSION];
const METHOD: (&str, &str) = GET[0];
const SCHEME: (&str, &str) = GET[1];
const PATH: (&str, &str) = GET[2];
const AUTHORITY: (&str, &str) = GET[3];

pub(super) const CASES: &[Case] = &[
    Case::sends("8.1", "GET", || vec![get(1)], Success(1)),
    Case::sends("8.1", "HEAD", || request(&[(":method", "HEAD"), SCHEME, PATH, AUTHORITY]), Success(1)),
    Case::sends("8.1", "POST", || vec![post(1), last(1, "body")], Success(1)),
    Case::sends(
        "8.1",
        "POST with trailers",
        || vec![post(1), data(1, 0, "body"), headers(1, flag::WHOLE, block(&[("x-sum", "1")]))],
        Success(1),
    ),
    Case::sends(
        "8.1",
        "HEADERS in the middle of a body that are not its end",
        || {
            vec![
                post(1),
                data(1, 0, "b"),
                headers(1, flag::END_HEADERS, block(&[("x-sum", "1")])),
                last(1, "x"),
            ]
        },
        Stream(1, PROTOCOL),
    ),
    Case::sends(
        "8.1",
        "pseudo-fields in trailers",
        || vec![post(1), data(1, 0, "b"), headers(1, flag::WHOLE, block(&[(":method", "GET")]))],
        Malformed(1),
    ),
    Case::talks("8.1", "many at a time, each answered on its own stream", |peer| {
        peer.send(&(0..50).map(|n| get(n * 2 + 1)).collect::<Vec<_>>())?;
        let mut open: Vec<u32> = (0..50).map(|n| n * 2 + 1).collect();
        while !open.is_empty() {
            let frame = peer.next()?.ok_or("it closed the connection")?;
            if frame.kind < 2 && frame.has(flag::END_STREAM) {
                open.retain(|stream| *stream != frame.stream);
            }
        }
        Ok(())
    }),
    // Names and values (section 8.2.1).
    Case::sends("8.2.1", "a name in upper case", || with(&[("X-Test", "1")]), Malformed(1)),
    Case::sends("8.2.1", "a name with a space", || with(&[("x test", "1")]), Malformed(1)),
    Case::sends("8.2.1", "a name with a colon", || with(&[("x:test", "1")]), Malformed(1)),
    Case::sends("8.2.1", "a name with a control character", || with(&[("x\x01", "1")]), Malformed(1)),
    Case::sends("8.2.1", "a name beyond ASCII", || with(&[("xä", "1")]), Malformed(1)),
    Case::sends("8.2.1", "an empty name", || with(&[("", "1")]), Malformed(1)),
    Case::sends("8.2.1", "a line end in a name", || with(&[("x\r\ny", "1")]), Malformed(1)),
    Case::sends("8.2.1", "CR LF in a value", || with(&[("x-test", "1\r\nx-more: 2")]), Malformed(1)),
    Case::sends("8.2.1", "LF in a value", || with(&[("x-test", "1\n2")]), Malformed(1)),
    Case::sends("8.2.1", "CR in a value", || with(&[("x-test", "1\r2")]), Malformed(1)),
    Case::sends("8.2.1", "NUL in a value", || with(&[("x-test", "1\x002")]), Malformed(1)),
    Case::sends("8.2.1", "a value that begins with a space", || with(&[("x-test", " 1")]), Malformed(1)),
    Case::sends("8.2.1", "a value that ends with a tab", || with(&[("x-test", "1\t")]), Malformed(1)),
    Case::sends(
        "8.2.1",
        "a request inside a name",
        || with(&[("x: 1\r\n\r\nGET / HTTP/1.1\r\nhost", "a")]),
        Malformed(1),
    ),
    // Connection-specific fields (section 8.2.2).
    Case::sends("8.2.2", "connection", || with(&[("connection", "keep-alive")]), Malformed(1)),
    Case::sends("8.2.2", "keep-alive", || with(&[("keep-alive", "timeout=5")]), Malformed(1)),
    Case::sends("8.2.2", "proxy-connection", || with(&[("proxy-connection", "keep-alive")]), Malformed(1)),
    Case::sends("8.2.2", "transfer-encoding", || with(&[("transfer-encoding", "chunked")]), Malformed(1)),
    Case::sends("8.2.2", "upgrade", || with(&[("upgrade", "websocket")]), Malformed(1)),
    Case::sends(
        "8.2.2",
        "te of anything but trailers",
        || with(&[("te", "trailers, deflate")]),
        Malformed(1),
    ),
    Case::sends("8.2.2", "te: trailers", || with(&[("te", "trailers")]), Success(1)),
    Case::sends("8.2.3", "a cookie in pieces", || with(&[("cookie", "a=b"), ("cookie", "c=d")]), Success(1)),
    // Pseudo-fields (section 8.3).
    Case::sends("8.3", "an unknown pseudo-field", || with(&[(":test", "1")]), Malformed(1)),
    Case::sends("8.3", "a pseudo-field of answers", || with(&[(":status", "200")]), Malformed(1)),
    Case::sends(
        "8.3",
        "a pseudo-field behind another field",
        || request(&[METHOD, SCHEME, ("x-test", "1"), PATH, AUTHORITY]),
        Malformed(1),
    ),
    Case::sends("8.3.1", "no :method", || request(&[SCHEME, PATH, AUTHORITY]), Malformed(1)),
    Case::sends("8.3.1", "no :scheme", || request(&[METHOD, PATH, AUTHORITY]), Malformed(1)),
    Case::sends("8.3.1", "no :path", || request(&[METHOD, SCHEME, AUTHORITY]), Malformed(1)),
    Case::sends(
        "8.3.1",
        "an empty :path",
        || request(&[METHOD, SCHEME, (":path", ""), AUTHORITY]),
        Malformed(1),
    ),
    Case::sends(
        "8.3.1",
        "a :path without its slash",
        || request(&[METHOD, SCHEME, (":path", "index"), AUTHORITY]),
        Malformed(1),
    ),
    Case::sends(
        "8.3.1",
        "a :path with a space",
        || request(&[METHOD, SCHEME, (":path", "/a b"), AUTHORITY]),
        Malformed(1),
    ),
    Case::sends(
        "8.3.1",
        "a request inside :path",
        || request(&[METHOD, SCHEME, (":path", "/ HTTP/1.1\r\nhost: a\r\n\r\nGET /"), AUTHORITY]),
        Malformed(1),
    ),
    Case::sends(
        "8.3.1",
        "a request inside :method",
        || request(&[(":method", "GET / HTTP/1.1\r\nhost: a\r\n\r\nGET"), SCHEME, PATH, AUTHORITY]),
        Malformed(1),
    ),
    Case::sends("8.3.1", ":method twice", || with_first(METHOD), Malformed(1)),
    Case::sends("8.3.1", ":scheme twice", || with_first(SCHEME), Malformed(1)),
    Case::sends("8.3.1", ":path twice", || with_first(PATH), Malformed(1)),
    Case::sends("8.3.1", ":authority twice", || with_first(AUTHORITY), Malformed(1)),
    Case::sends("8.3.1", "another host than :authority", || with(&[("host", "elsewhere")]), Malformed(1)),
    Case::sends(
        "8.3.1",
        "host twice",
        || request(&[METHOD, SCHEME, PATH, ("host", "a"), ("host", "b")]),
        Malformed(1),
    ),
    Case::sends(
        "8.3.1",
        "a user in :authority",
        || request(&[METHOD, SCHEME, PATH, (":authority", "user@localhost")]),
        Malformed(1),
    ),
    Case::sends(
        "8.3.1",
        "a path in :authority",
        || request(&[METHOD, SCHEME, PATH, (":authority", "localhost/x")]),
        Malformed(1),
    ),
    Case::sends(
        "8.3.1",
        "host in place of :authority",
        || request(&[METHOD, SCHEME, PATH, ("host", "localhost")]),
        Success(1),
    ),
    Case::sends(
        "8.5",
        "CONNECT with :path",
        || request(&[(":method", "CONNECT"), SCHEME, PATH, AUTHORITY]),
        Malformed(1),
    ),
    // Bodies (section 8.1.1).
    Case::sends("8.1.1", "a content-length above the body", || posts("5", &["body"]), Malformed(1)),
    Case::sends("8.1.1", "a content-length below the body", || posts("3", &["body"]), Malformed(1)),
    Case::sends(
        "8.1.1",
        "a content-length below a body in pieces",
        || posts("3", &["bo", "dy"]),
        Malformed(1),
    ),
    Case::sends(
        "8.1.1",
        "a content-length without a body",
        || with(&[("content-length", "1")]),
        Malformed(1),
    ),
    Case::sends("8.1.1", "a content-length that is no number", || posts("4x", &["body"]), Malformed(1)),
    Case::sends("8.1.1", "a content-length with a sign", || posts("+4", &["body"]), Malformed(1)),
    Case::sends(
        "8.1.1",
        "two content-lengths",
        || {
            vec![
                headers(
                    1,
                    flag::END_HEADERS,
                    block(&[&POST[..], &[("content-length", "4"), ("content-length", "5")]].concat()),
                ),
                last(1, "body"),
            ]
        },
        Malformed(1),
    ),
    Case::sends("8.1.1", "a content-length that is right", || posts("4", &["bo", "dy"]), Success(1)),
    // RFC 7541.
    Case::sends("7541 2.3.3", "an index beyond both tables", || raw(&[0x80 | 0x46]), Connection(COMPRESSION)),
    Case::sends(
        "7541 2.3.3",
        "a literal beside an index beyond both tables",
        || raw(&[0x40 | 0x3f, 0x7f, 1, b'x']),
        Connection(COMPRESSION),
    ),
    Case::sends(
        "7541 4.2",
        "a change of the table's size at the end of a block",
        || raw(&[0x20]),
        Connection(COMPRESSION),
    ),
    Case::sends(
        "7541 5.2",
        "Huffman padding of more than seven bits",
        || raw(&[0, 0x81, 0xff, 1, b'x']),
        Connection(COMPRESSION),
    ),
    Case::sends(
        "7541 5.2",
        "Huffman padding of zeros",
        || raw(&[0, 0x82, 0x1c, 0x00, 1, b'x']),
        Connection(COMPRESSION),
    ),
    Case::sends(
        "7541 5.2",
        "Huffman's end of a string in a string",
        || raw(&[0, 0x84, 0xff, 0xff, 0xff, 0xff, 1, b'x']),
        Connection(COMPRESSION),
    ),
    Case::sends(
        "7541 5.1",
        "a number that does not end",
        || raw(&[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        Connection(COMPRESSION),
    ),
    Case::sends("7541 6.1", "index 0", || raw(&[0x80]), Connection(COMPRESSION)),
    Case::sends(
        "7541 6.3",
        "a table above what the server allows",
        || table_of(1 << 20),
        Connection(COMPRESSION),
    ),
    Case::sends("7541 6.3", "a table of nothing", || table_of(0), Success(1)),
    Case::sends(
        "7541 6.1",
        "fields of the static table",
        || vec![headers(1, flag::WHOLE, indexed())],
        Success(1),
    ),
    Case::talks("7541 6.2.1", "a field that is remembered", |peer| {
        let remembered = [indexed(), vec![0x40], string("x-test"), string("1")].concat();
        peer.send(&[headers(1, flag::WHOLE, remembered)])?;
        peer.succeeds(1)?;
        // The first entry of the dynamic table.
        peer.send(&[headers(3, flag::WHOLE, [indexed(), vec![0x80 | 62]].concat())])?;
        peer.succeeds(3)
    }),
    Case::sends(
        "7541 6.2.3",
        "a field that is never to be remembered",
        || vec![headers(1, flag::WHOLE, [indexed(), vec![0x10], string("x-test"), string("1")].concat())],
        Success(1),
    ),
];

fn request(fields: &[(&str, &str)]) -> Vec<Frame> {
    vec![headers(1, flag::WHOLE, block(fields))]
}

/// A GET with more fields.
fn with(more: &[(&str, &str)]) -> Vec<Frame> {
    request(&[&GET[..], more].concat())
}

/// A GET with one of its own fields once more.
fn with_first(field: (&str, &str)) -> Vec<Frame> {
    request(&[&[field][..], &GET[..]].concat())
}

/// A POST that says how long its body is.
fn posts(length: &str, pieces: &[&str]) -> Vec<Frame> {
    let fields = [&POST[..], &[("content-length", length)]].concat();
    let mut frames = vec![headers(1, flag::END_HEADERS, block(&fields))];
    frames.extend(pieces.iter().map(|piece| data(1, flag::NONE, *piece)));
    if let Some(last) = frames.last_mut() {
        last.flags = flag::END_STREAM;
    }
    frames
}

/// A GET whose block ends with these bytes.
fn raw(bytes: &[u8]) -> Vec<Frame> {
    vec![headers(1, flag::WHOLE, [&block(&GET), bytes].concat())]
}

/// A GET by the static table: `:method: GET`, `:scheme: http`, `:path: /`, and `:authority` beside its index.
fn indexed() -> Vec<u8> {
    [vec![0x82, 0x86, 0x84, 0x01], string("localhost")].concat()
}

fn string(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_string(&mut out, text.as_bytes());
    out
}

fn table_of(size: usize) -> Vec<Frame> {
    let mut update = Vec::new();
    put_number(&mut update, 0x20, 5, size);
    vec![headers(1, flag::WHOLE, [update, block(&GET)].concat())]
}
