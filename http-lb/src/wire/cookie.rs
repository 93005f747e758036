//! The cookies that a client sends (RFC 6265 section 5.4). Kind: pure.

use super::text::trim;
use super::{Name, RequestHead};

/// Names and values in the value of a Cookie field. A browser writes `name=value; name=value`; quotes belong to the
/// value, and what has no name is left out.
pub fn pairs(field: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    field.split(|byte| *byte == b';').filter_map(|pair| {
        let equals = memchr::memchr(b'=', pair)?;
        let name = trim(&pair[..equals]);
        (!name.is_empty()).then(|| (name, trim(&pair[equals + 1..])))
    })
}

/// All cookies of a request.
pub fn all(request: &RequestHead) -> impl Iterator<Item = (&[u8], &[u8])> {
    request.all(Name::Cookie).flat_map(pairs)
}

/// The value of the first cookie of this name, whose letters count. A browser sends first what was set for the longer
/// path.
pub fn find<'a>(request: &'a RequestHead, name: &[u8]) -> Option<&'a [u8]> {
    all(request).find(|(other, _)| *other == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::HeadLimits;

    #[track_caller]
    fn check(field: &str, cookies: &[(&str, &str)]) {
        let found: Vec<_> = pairs(field.as_bytes())
            .map(|(name, value)| (String::from_utf8_lossy(name), String::from_utf8_lossy(value)))
            .collect();
        let found: Vec<_> = found.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(found, cookies, "{field}");
    }

    #[test]
    fn cookies_are_pairs() {
        check("a=1; b=2", &[("a", "1"), ("b", "2")]);
        check("a=1;b=2;", &[("a", "1"), ("b", "2")]);
        check("__Host-s=\"x=y\"", &[("__Host-s", "\"x=y\"")]);
        check("a=b=c==", &[("a", "b=c==")]);
        check("a=", &[("a", "")]);
        check(" a = 1 ", &[("a", "1")]);
    }

    #[test]
    fn what_has_no_name_is_no_cookie() {
        for field in ["", ";;", "a", "=1", " =", "a; =b"] {
            check(field, &[]);
        }
    }

    #[test]
    fn a_cookie_is_found_by_its_exact_name_in_any_field() {
        let text = b"GET / HTTP/1.1\r\nhost: a\r\ncookie: xs=0; S=1\r\nvia: b\r\nCookie: s=2; s=3\r\n\r\n";
        let (request, _) = RequestHead::parse(text, &HeadLimits::default()).unwrap().unwrap();
        assert_eq!(find(&request, b"s"), Some(&b"2"[..]));
        assert_eq!(find(&request, b"S"), Some(&b"1"[..]));
        assert_eq!(find(&request, b"x"), None);
    }
}
