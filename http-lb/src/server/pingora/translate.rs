//! A request's head from HTTP/1.1 to HTTP/2, an answer's head back. Kind: pure.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use pingora::http::RequestHeader;

use crate::wire::{Framing, Method as Known, Name, RequestHead};

/// A head that HTTP/2 can't carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unsayable(&'static str);

/// How an answer's body is framed in HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// There is none.
    None,
    /// Its length is told.
    Length,
    /// In chunks.
    Chunked,
}

/// The request for HTTP/2: what belongs to one connection is left out (RFC 9113 section 8.2.2).
pub(super) fn request(head: &RequestHead, encrypted: bool) -> Result<Box<RequestHeader>, Unsayable> {
    let method = Method::from_bytes(head.method_text()).map_err(|_| Unsayable("method"))?;
    let mut header = RequestHeader::build_no_case(method, b"/", None).map_err(|_| Unsayable("request"))?;
    header.set_uri(uri(head, encrypted)?);
    for field in head.entries() {
        if field.known == Name::Host || field.known.is_hop_by_hop() || head.nominates(field.name) {
            continue;
        }
        let name = HeaderName::from_bytes(field.name).map_err(|_| Unsayable("field name"))?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| Unsayable("field value"))?;
        header.append_header(name, value).map_err(|_| Unsayable("field"))?;
    }
    Ok(Box::new(header))
}

fn uri(head: &RequestHead, encrypted: bool) -> Result<Uri, Unsayable> {
    let scheme = if encrypted { "https" } else { "http" };
    let uri = Uri::builder().scheme(scheme).authority(head.host()).path_and_query(head.target());
    uri.build().map_err(|_| Unsayable("target"))
}

/// Writes the head of an answer to `request`; `ended` if the stream has ended with it.
pub(super) fn answer(
    out: &mut Vec<u8>,
    request: &RequestHead,
    status: StatusCode,
    fields: &HeaderMap,
    ended: bool,
) -> Body {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.extend_from_slice(b" \r\n");
    for (name, value) in fields.iter().filter(|(name, _)| !Name::of(name.as_str().as_bytes()).is_hop_by_hop())
    {
        put_field(out, name.as_str().as_bytes(), value.as_bytes());
    }
    let body = body(request, status, fields, ended);
    match body {
        Body::Chunked => put_field(out, b"transfer-encoding", b"chunked"),
        // Nothing, of which no length was told, and which a length may be told of (RFC 9110 section 8.6).
        Body::None
            if ended && has_length(request, status) && !fields.contains_key(header::CONTENT_LENGTH) =>
        {
            put_field(out, b"content-length", b"0");
        }
        Body::None | Body::Length => (),
    }
    out.extend_from_slice(b"\r\n");
    body
}

fn body(request: &RequestHead, status: StatusCode, fields: &HeaderMap, ended: bool) -> Body {
    if ended || !has_length(request, status) {
        Body::None
    } else if fields.contains_key(header::CONTENT_LENGTH) {
        Body::Length
    } else {
        Body::Chunked
    }
}

/// Whether the answer has a body, be it empty.
fn has_length(request: &RequestHead, status: StatusCode) -> bool {
    request.method() != Known::Head && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Whether the request has a body.
pub(super) fn has_body(head: &RequestHead) -> bool {
    !matches!(head.framing(), Framing::None | Framing::Length(0))
}

fn put_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Writes what follows the last chunk.
pub(super) fn last_chunk(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        put_field(out, name.as_str().as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::HeadLimits;

    fn parse(text: &str) -> RequestHead {
        RequestHead::parse(text.as_bytes(), &HeadLimits::default()).unwrap().unwrap().0
    }

    #[test]
    fn a_request_keeps_its_target_host_and_fields_but_not_those_of_its_connection() {
        let head = parse(
            "GET /a?b HTTP/1.1\r\nhost: shop:81\r\nconnection: x-own\r\nx-own: 1\r\nx: 1\r\nx: 2\r\n\r\n",
        );
        let header = request(&head, false).unwrap();
        assert_eq!(header.uri.to_string(), "http://shop:81/a?b");
        let said = header.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        assert_eq!(said.collect::<Vec<_>>(), ["x: 1", "x: 2"]);
    }

    #[track_caller]
    fn check(
        method: &str,
        status: u16,
        fields: &[(&'static str, &'static str)],
        ended: bool,
        expected: (&str, Body),
    ) {
        let request = parse(&format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n"));
        let fields = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut out = Vec::new();
        let body =
            answer(&mut out, &request, StatusCode::from_u16(status).unwrap(), &fields.collect(), ended);
        assert_eq!((String::from_utf8(out).unwrap().as_str(), body), expected);
    }

    #[test]
    fn an_answer_tells_where_its_body_ends() {
        let five = &[("content-length", "5")];
        check("GET", 200, five, false, ("HTTP/1.1 200 \r\ncontent-length: 5\r\n\r\n", Body::Length));
        check("GET", 200, &[], false, ("HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n", Body::Chunked));
        check("GET", 404, &[], true, ("HTTP/1.1 404 \r\ncontent-length: 0\r\n\r\n", Body::None));
        check("GET", 204, &[], true, ("HTTP/1.1 204 \r\n\r\n", Body::None));
        check("GET", 304, five, true, ("HTTP/1.1 304 \r\ncontent-length: 5\r\n\r\n", Body::None));
        check("HEAD", 200, five, true, ("HTTP/1.1 200 \r\ncontent-length: 5\r\n\r\n", Body::None));
        check("HEAD", 200, &[], true, ("HTTP/1.1 200 \r\n\r\n", Body::None));
    }

    #[test]
    fn trailers_follow_the_last_chunk() {
        let mut out = Vec::new();
        let trailers = HeaderMap::from_iter([(HeaderName::from_static("x"), HeaderValue::from_static("1"))]);
        last_chunk(&mut out, Some(&trailers));
        assert_eq!(out, b"0\r\nx: 1\r\n\r\n");
    }
}
