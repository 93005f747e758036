//! The path that a request means: decoded once, without empty and dotted segments. Kind: pure.
//!
//! Whether a path is denied, and where it goes, is decided on this form, or `/media/%63achedfiles` would pass where
//! `/media/cachedfiles` does not. The server behind us is sent the original: it decodes for itself.

use std::borrow::Cow;

/// A path that servers read differently, so that nothing about it can be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// It doesn't begin with a slash.
    #[error("path does not begin with a slash")]
    Relative,
    /// A percent sign without two hexadecimal digits.
    #[error("bad escape in the path")]
    Escape,
    /// An escaped slash, which some take for a slash and some for a letter.
    #[error("escaped slash in the path")]
    Slash,
    /// A backslash, which some take for a slash.
    #[error("backslash in the path")]
    Backslash,
    /// A control byte, escaped or not; NUL above all.
    #[error("control byte in the path")]
    Control,
    /// What was escaped is not UTF-8; overlong forms are how a dot or a slash hides.
    #[error("path is not UTF-8")]
    Utf8,
    /// More `..` than there are segments to leave.
    #[error("path leads above the root")]
    Above,
}

/// The normal form of a path. Borrowed where it is normal already, as nearly all are.
pub fn normalise(path: &[u8]) -> Result<Cow<'_, [u8]>, BadPath> {
    if path.first() != Some(&b'/') {
        return Err(BadPath::Relative);
    }
    if is_plain(path) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode(path)?;
    if decoded.iter().any(|byte| byte.is_ascii_control()) {
        return Err(BadPath::Control);
    }
    if std::str::from_utf8(&decoded).is_err() {
        return Err(BadPath::Utf8);
    }
    resolve(&decoded).map(Cow::Owned)
}

/// Whether there is nothing to decode, to resolve or to refuse.
fn is_plain(path: &[u8]) -> bool {
    let odd = |byte: u8| (byte <= b' ') | (byte >= 0x7f) | (byte == b'%') | (byte == b'\\');
    let no_odd = path.iter().fold(true, |plain, byte| plain & !odd(*byte));
    no_odd && !memchr::memchr_iter(b'/', path).any(|at| matches!(path.get(at + 1), Some(b'/' | b'.')))
}

/// Decodes each escape once: what it gives is a letter, be it a percent sign.
fn decode(path: &[u8]) -> Result<Vec<u8>, BadPath> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.iter();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => match escaped(bytes.next(), bytes.next())? {
                b'/' => return Err(BadPath::Slash),
                other => other,
            },
            other => *other,
        };
        if byte == b'\\' {
            return Err(BadPath::Backslash);
        }
        decoded.push(byte);
    }
    Ok(decoded)
}

fn escaped(high: Option<&u8>, low: Option<&u8>) -> Result<u8, BadPath> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let (high, low) = (digit(high).ok_or(BadPath::Escape)?, digit(low).ok_or(BadPath::Escape)?);
    u8::try_from(high << 4 | low).map_err(|_| BadPath::Escape)
}

/// Removes empty segments, `.`, and `..` with what it leaves (RFC 3986 section 5.2.4, but never above the root).
fn resolve(path: &[u8]) -> Result<Vec<u8>, BadPath> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"" | b"." => {}
            b".." => {
                let parent = memchr::memrchr(b'/', &out).ok_or(BadPath::Above)?;
                out.truncate(parent);
            }
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
                if last {
                    return Ok(out);
                }
            }
        }
    }
    // The last segment was empty or dots: it names a folder.
    out.push(b'/');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, normal: Result<&str, BadPath>) {
        let found = normalise(path.as_bytes()).map(|path| String::from_utf8(path.into_owned()).unwrap());
        assert_eq!(found, normal.map(str::to_owned), "{path}");
    }

    #[test]
    fn a_plain_path_stays_and_is_not_copied() {
        for path in ["/", "/a", "/a/b/", "/a.b/c-d_e~f", "/a;b=c,d", "/a/b..c"] {
            check(path, Ok(path));
            assert!(matches!(normalise(path.as_bytes()), Ok(Cow::Borrowed(_))), "{path}");
        }
    }

    #[test]
    fn escapes_are_decoded_once() {
        check("/media/%63achedfiles", Ok("/media/cachedfiles"));
        check("/%61%2E%62", Ok("/a.b"));
        check("/%252e%252e/", Ok("/%2e%2e/"));
        check("/gr%C3%BCn", Ok("/gr\u{fc}n"));
        check("/a%20b%3Fc", Ok("/a b?c"));
    }

    #[test]
    fn empty_and_dotted_segments_go() {
        check("//media//cachedfiles", Ok("/media/cachedfiles"));
        check("/media/./cachedfiles", Ok("/media/cachedfiles"));
        check("/static/../media/x", Ok("/media/x"));
        check("/static/%2e%2E/media/x", Ok("/media/x"));
        check("/a/b/..", Ok("/a/"));
        check("/a/b/.", Ok("/a/b/"));
        check("/a//", Ok("/a/"));
        check("/a/..", Ok("/"));
        check("/.hidden", Ok("/.hidden"));
        check("/...", Ok("/..."));
        check("/a/..b", Ok("/a/..b"));
    }

    #[test]
    fn what_is_read_differently_is_refused() {
        check("", Err(BadPath::Relative));
        check("*", Err(BadPath::Relative));
        check("a/b", Err(BadPath::Relative));
        check("/..", Err(BadPath::Above));
        check("/a/../../b", Err(BadPath::Above));
        check("/static/..%2fmedia", Err(BadPath::Slash));
        check("/a%5cb", Err(BadPath::Backslash));
        check("/a\\..\\b", Err(BadPath::Backslash));
        check("/a%00.png", Err(BadPath::Control));
        check("/a%0d%0ab", Err(BadPath::Control));
        check("/a%7f", Err(BadPath::Control));
        for path in ["/%", "/%4", "/%zz", "/%u0041", "/%+1"] {
            check(path, Err(BadPath::Escape));
        }
        for path in ["/%ff", "/%c0%ae%c0%ae/", "/%c0%af", "/%e0%80%af", "/%ed%a0%80", "/%c3"] {
            check(path, Err(BadPath::Utf8));
        }
    }

    #[test]
    fn a_normal_path_is_its_own_normal_form() {
        for path in ["//a/./b/../c//", "/%C3%BC/x", "/a b"] {
            let once = normalise(path.as_bytes()).unwrap();
            assert_eq!(normalise(&once).unwrap(), once);
        }
    }
}
