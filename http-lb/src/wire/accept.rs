//! What a client would rather have: weighted lists (RFC 9110 section 12.4.2). Kind: pure.

use super::text::{list, trim};

/// The weight of what is not weighted, in thousandths.
const FULL: u16 = 1000;

/// How much a client likes a content coding, in thousandths; zero if it must not be sent (RFC 9110 section 12.5.3).
pub fn quality(accept_encoding: &[u8], coding: &str) -> u16 {
    let is_identity = coding.eq_ignore_ascii_case("identity");
    let (mut named, mut any) = (None, None);
    for (name, weight) in weighted(accept_encoding) {
        match name {
            b"*" => any = any.max(Some(weight)),
            _ if is_same(name, coding) => named = named.max(Some(weight)),
            _ => {}
        }
    }
    // Unless excluded, by its name or by `*;q=0`, it may always be sent.
    let unnamed = match any {
        Some(weight) => weight,
        None if is_identity => FULL,
        None => 0,
    };
    named.unwrap_or(unnamed)
}

/// Codings have names of old that mean the same (RFC 9110 section 8.4.1).
fn is_same(name: &[u8], coding: &str) -> bool {
    name.strip_prefix(b"x-").unwrap_or(name).eq_ignore_ascii_case(coding.as_bytes())
}

/// Of the codings on offer, the best ones first, that which the client likes most. `None` if it takes none of them. Who
/// doesn't say what it takes is sent `identity`: by the letter it takes all, but those are the ones that take nothing.
pub fn best<'a>(
    accept_encoding: Option<&[u8]>,
    offered: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let accept_encoding = accept_encoding.unwrap_or_default();
    let mut best = None;
    for coding in offered {
        let weight = quality(accept_encoding, coding);
        if weight > best.map_or(0, |(weight, _)| weight) {
            best = Some((weight, coding));
        }
    }
    best.map(|(_, coding)| coding)
}

/// Whether a client that says this in Accept would rather be told in JSON than in HTML what went wrong.
pub fn prefers_json(accept: &[u8]) -> bool {
    let (mut json, mut html) = (0, 0);
    for (range, weight) in weighted(accept) {
        if range.eq_ignore_ascii_case(b"text/html") || range.eq_ignore_ascii_case(b"application/xhtml+xml") {
            html = html.max(weight);
        } else if range.eq_ignore_ascii_case(b"application/json") || range.ends_with(b"+json") {
            json = json.max(weight);
        }
    }
    json > html
}

/// The elements of a list, without parameters, and their weights. What has a malformed weight is left out.
pub fn weighted(value: &[u8]) -> impl Iterator<Item = (&[u8], u16)> {
    list(value).filter_map(|element| {
        let mut parts = element.split(|byte| *byte == b';').map(trim);
        let name = parts.next()?;
        let weight = parts.find_map(|part| part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q=")));
        Some((name, weight.map_or(Some(FULL), thousandths)?))
    })
}

/// `0`, `1`, or one of them with up to three digits behind the point, and not above 1.
fn thousandths(weight: &[u8]) -> Option<u16> {
    let (whole, rest) = weight.split_first()?;
    let whole = match whole {
        b'0' => 0,
        b'1' => FULL,
        _ => return None,
    };
    let digits = match rest {
        [] => rest,
        [b'.', digits @ ..] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => digits,
        _ => return None,
    };
    let places = digits.iter().zip([100, 10, 1]);
    let weight = places.fold(whole, |sum, (digit, place)| sum + u16::from(digit - b'0') * place);
    (weight <= FULL).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accept_encoding: &str, coding: &str, weight: u16) {
        assert_eq!(quality(accept_encoding.as_bytes(), coding), weight, "{coding} in {accept_encoding}");
    }

    #[test]
    fn a_coding_is_weighed_by_its_name_or_by_the_star() {
        check("gzip, deflate, br, zstd", "br", 1000);
        check("gzip;q=0.5, br;q=0.875", "br", 875);
        check("GZIP;Q=0.5", "gzip", 500);
        check("x-gzip", "gzip", 1000);
        check("*", "zstd", 1000);
        check("*;q=0.1, br", "zstd", 100);
        check("*, br;q=0", "br", 0);
        check("gzip ; q=0.3", "gzip", 300);
        check("br", "gzip", 0);
        check("", "gzip", 0);
    }

    #[test]
    fn identity_may_be_sent_unless_it_is_excluded() {
        check("", "identity", 1000);
        check("gzip", "identity", 1000);
        check("identity;q=0", "identity", 0);
        check("*;q=0", "identity", 0);
        check("*;q=0, identity;q=0.5", "identity", 500);
        check("identity;q=0.5", "identity", 500);
    }

    #[test]
    fn a_malformed_weight_is_nobodys() {
        for weight in ["2", "1.001", "0.1234", "-1", ".5", "0,5", "a", "", "1.0a", "01"] {
            check(&format!("gzip;q={weight}"), "gzip", 0);
        }
        check("gzip;q=1.", "gzip", 1000);
        check("gzip;q=0.000", "gzip", 0);
    }

    #[track_caller]
    fn check_best(accept_encoding: Option<&str>, coding: Option<&str>) {
        let found = best(accept_encoding.map(str::as_bytes), ["br", "zstd", "gzip", "identity"]);
        assert_eq!(found, coding, "{accept_encoding:?}");
    }

    #[test]
    fn the_best_is_what_the_client_likes_most_and_then_what_we_do() {
        check_best(Some("gzip, deflate, br, zstd"), Some("br"));
        check_best(Some("gzip;q=1.0, br;q=0.9, identity;q=0.5"), Some("gzip"));
        check_best(Some("gzip, zstd, identity;q=0"), Some("zstd"));
        check_best(Some("deflate, identity"), Some("identity"));
        check_best(Some(""), Some("identity"));
        check_best(None, Some("identity"));
        check_best(Some("*;q=0"), None);
        check_best(Some("*;q=0, gzip"), Some("gzip"));
    }

    #[test]
    fn programs_are_told_in_json_and_browsers_in_html() {
        assert!(prefers_json(b"application/json"));
        assert!(prefers_json(b"application/json, text/plain, */*"));
        assert!(prefers_json(b"application/vnd.api+json"));
        assert!(!prefers_json(b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        assert!(!prefers_json(b"text/html, application/json;q=0.9"));
        assert!(!prefers_json(b"*/*"));
        assert!(!prefers_json(b""));
    }
}
