//! What a request is for: its target, and the authority that it names (RFC 9112 section 3.2, RFC 3986). Kind: pure.

use super::text::decimal;
use super::{Malformed, Method};

/// The form of a target, with the offsets of its parts in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// `/path?query`.
    Origin,
    /// `http://authority/path?query`: where the authority begins and ends. The path may be missing.
    Absolute { authority: usize, path: usize },
    /// `authority`, of CONNECT.
    Authority,
    /// `*`, of OPTIONS.
    Asterisk,
}

/// Which form a target has, all of whose bytes are visible ASCII and none a `#`.
#[inline]
pub(super) fn form(target: &[u8], method: Method) -> Result<Target, Malformed> {
    match target {
        _ if method == Method::Connect => connect(target),
        [b'/', ..] => Ok(Target::Origin),
        b"*" if method == Method::Options => Ok(Target::Asterisk),
        _ => absolute(target),
    }
}

fn connect(target: &[u8]) -> Result<Target, Malformed> {
    let has_port = is_authority(target) && !matches!(port(target), Port::None);
    has_port.then_some(Target::Authority).ok_or(Malformed::bad("bad target of CONNECT"))
}

fn absolute(target: &[u8]) -> Result<Target, Malformed> {
    let bad = Malformed::bad("bad target");
    let scheme = memchr::memchr(b':', target).ok_or(bad)?;
    let known = [&b"http"[..], b"https"].iter().any(|known| target[..scheme].eq_ignore_ascii_case(known));
    if !known || !target[scheme..].starts_with(b"://") {
        return Err(bad);
    }
    let authority = scheme + 3;
    let path = memchr::memchr2(b'/', b'?', &target[authority..]).map_or(target.len(), |at| authority + at);
    // Only a whole path can be passed on as it is.
    if target.get(path) == Some(&b'?') {
        return Err(bad);
    }
    if !is_authority(&target[authority..path]) {
        return Err(Malformed::bad("bad authority in the target"));
    }
    Ok(Target::Absolute { authority, path })
}

/// Whether this is a host and maybe a port: a name of letters, digits, dots, hyphens and underscores, an IPv4 address,
/// or an IPv6 address in brackets. RFC 3986 allows a name nearly anything, down to userinfo and percent signs; no
/// server that is behind us takes those, and nobody should have to guess what they mean.
pub(super) fn is_authority(text: &[u8]) -> bool {
    let (host, port) = split_port(text);
    is_host(host) && !matches!(port, Port::Bad)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    None,
    Number,
    Bad,
}

fn port(text: &[u8]) -> Port {
    split_port(text).1
}

/// The host in an authority, which is valid, without its port.
pub(super) fn host_of(authority: &[u8]) -> &[u8] {
    split_host(authority).0
}

/// The host, and what is behind it.
fn split_host(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(match text {
        [b'[', ..] => memchr::memchr(b']', text).map_or(text.len(), |end| end + 1),
        _ => memchr::memchr(b':', text).unwrap_or(text.len()),
    })
}

fn split_port(text: &[u8]) -> (&[u8], Port) {
    let (host, rest) = split_host(text);
    let port = match rest {
        [] => Port::None,
        [b':', digits @ ..] if digits.len() <= 5 => {
            if decimal(digits).is_some_and(|port| port <= u64::from(u16::MAX)) {
                Port::Number
            } else {
                Port::Bad
            }
        }
        _ => Port::Bad,
    };
    (host, port)
}

/// The bytes that a host's name may have.
const NAME_BYTES: [bool; 256] = {
    let (mut table, mut byte) = ([false; 256], 0_u8);
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        byte += 1;
    }
    table
};

fn is_host(host: &[u8]) -> bool {
    if let [b'[', address @ .., b']'] = host {
        let address = std::str::from_utf8(address);
        return address.is_ok_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let is_name_byte = |byte: &u8| NAME_BYTES[usize::from(*byte)];
    // `.` and `..` name nobody, and could be taken for a folder.
    (1..=255).contains(&host.len()) && host[0] != b'.' && host.iter().all(is_name_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, valid: bool) {
        assert_eq!(is_authority(text.as_bytes()), valid, "{text}");
    }

    #[test]
    fn an_authority_is_a_host_and_maybe_a_port() {
        for text in
            ["a", "shop.example:8080", "my_service", "127.0.0.1:1", "[::1]", "[::ffff:1.2.3.4]:443", "a."]
        {
            check(text, true);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let bad = [
            "",
            ":80",
            "a:",
            "a:b",
            "a:65536",
            "a:000080",
            "a:1:2",
            "u@a",
            "u:p@a",
            "a/b",
            "a?b",
            "a b",
            "a,b",
            "a%2e",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]:",
            "[a]",
            "[]",
            "[v1.a]",
            "[fe80::1%25eth0]",
            ".",
            "..",
            "a\\b",
            "a;b",
            "'a'",
        ];
        for text in bad {
            check(text, false);
        }
        check(&"a".repeat(256), false);
    }

    #[track_caller]
    fn check_form(method: Method, target: &str, form: Option<Target>) {
        assert_eq!(super::form(target.as_bytes(), method).ok(), form, "{target}");
    }

    #[test]
    fn a_target_has_one_of_four_forms() {
        use Method::{Connect, Get, Options};
        check_form(Get, "/", Some(Target::Origin));
        check_form(Get, "//a/b", Some(Target::Origin));
        check_form(Get, "http://a", Some(Target::Absolute { authority: 7, path: 8 }));
        check_form(Get, "HTTPS://a:1/b?c", Some(Target::Absolute { authority: 8, path: 11 }));
        check_form(Options, "*", Some(Target::Asterisk));
        check_form(Connect, "a:1", Some(Target::Authority));
        for target in
            ["*", "a", "a/b", "?a", "ftp://a/", "http:/a", "http:a", "http://", "http:///a", "http://u@a/"]
        {
            check_form(Get, target, None);
        }
        check_form(Get, "http://a?b", None);
        check_form(Connect, "/", None);
        check_form(Connect, "a", None);
    }
}
