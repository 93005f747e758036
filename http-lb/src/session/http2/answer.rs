//! The head of an answer as HTTP/2 has it. Kind: pure.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::session::{AnswerHead, Size};
use crate::wire::fields;

/// What an upstream or a rule of ours wrote that HTTP can't carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unsayable;

/// The final answer; `date` is for one that has none. The field `fresh` has another value in every answer: it stays out of
/// the HPACK table, where each would push out another, and be compared with all (RFC 7541 section 6.2.3).
pub(super) fn response(
    head: &AnswerHead<'_>,
    date: &HeaderValue,
    fresh: &HeaderName,
) -> Result<Response<()>, Unsayable> {
    let mut map = map(head.fields)?;
    if let Some(value) = map.get_mut(fresh) {
        value.set_sensitive(true);
    }
    if !head.dated {
        map.insert(DATE, date.clone());
    }
    if let Size::Length(length) | Size::Told(Some(length)) = head.size {
        map.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    with_status(head.status, map)
}

/// An interim answer.
pub(super) fn interim(status: u16, fields: &[u8]) -> Result<Response<()>, Unsayable> {
    with_status(status, map(fields)?)
}

fn with_status(status: u16, map: HeaderMap) -> Result<Response<()>, Unsayable> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).map_err(|_| Unsayable)?;
    *response.headers_mut() = map;
    Ok(response)
}

/// What we add to an answer's fields: Date and Content-Length.
const ADDED: usize = 2;

/// Fields as h2 wants them. Their values share one copy: one allocation for all.
pub(super) fn map(block: &[u8]) -> Result<HeaderMap, Unsayable> {
    let copy = Bytes::copy_from_slice(block);
    let mut map = HeaderMap::with_capacity(fields::iter(&copy).count() + ADDED);
    for (name, value) in fields::iter(&copy) {
        let name = HeaderName::from_bytes(name).map_err(|_| Unsayable)?;
        if !is_of_one_connection(&name) {
            let value = HeaderValue::from_maybe_shared(copy.slice_ref(value)).map_err(|_| Unsayable)?;
            map.try_append(name, value).map_err(|_| Unsayable)?;
        }
    }
    Ok(map)
}

/// Whether HTTP/2 has no such field (RFC 9113 section 8.2.2).
fn is_of_one_connection(name: &HeaderName) -> bool {
    [&CONNECTION, &TRANSFER_ENCODING, &UPGRADE, &TE].contains(&name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fields: &[u8], dated: bool, size: Size, expected: &[(&str, &str)]) {
        let date = HeaderValue::from_static("now");
        let head = AnswerHead { status: 200, fields, dated, size };
        let response = response(&head, &date, &HeaderName::from_static("x-request-id")).unwrap();
        let said = response.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        let mut said = said.collect::<Vec<_>>();
        said.sort_unstable();
        assert_eq!(said, expected);
    }

    #[test]
    fn fields_stay_as_they_are_and_may_repeat() {
        let fields = b"set-cookie: a=1\r\nset-cookie: b=2\r\nserver: x\r\n";
        let expected = [("date", "now"), ("server", "x"), ("set-cookie", "a=1"), ("set-cookie", "b=2")];
        check(fields, false, Size::Unknown, &expected);
    }

    #[test]
    fn the_upstreams_own_date_is_kept() {
        check(b"date: then\r\n", true, Size::Empty, &[("date", "then")]);
    }

    #[test]
    fn a_length_is_told_where_it_is_known() {
        check(b"", false, Size::Length(7), &[("content-length", "7"), ("date", "now")]);
        check(b"", false, Size::Told(Some(7)), &[("content-length", "7"), ("date", "now")]);
        check(b"", false, Size::Told(None), &[("date", "now")]);
    }

    #[test]
    fn what_belongs_to_one_connection_is_left_out() {
        let fields =
            b"connection: x\r\nkeep-alive: 5\r\nupgrade: h\r\ntransfer-encoding: chunked\r\nx: 1\r\n";
        check(fields, false, Size::Unknown, &[("date", "now"), ("x", "1")]);
    }

    #[test]
    fn what_is_new_in_every_answer_is_marked_to_stay_out_of_the_table() {
        let head = AnswerHead { status: 200, fields: b"id: 1\r\nx: 1\r\n", dated: true, size: Size::Unknown };
        let id = HeaderName::from_static("id");
        let response = response(&head, &HeaderValue::from_static("now"), &id).unwrap();
        assert!(response.headers()[&id].is_sensitive() && !response.headers()["x"].is_sensitive());
    }

    #[test]
    fn what_http_can_not_carry_is_no_answer() {
        assert_eq!(map(b"bad name: x\r\n").err(), Some(Unsayable));
        assert_eq!(interim(99, b"").err(), Some(Unsayable));
    }
}
