//! Hosts, paths and keys as they are written, parsed once. Kind: pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A host: `shop.example.org`, or `*.example.org` for all names beneath.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This one.
    Exact(String),
    /// All beneath: holds `.example.org`.
    Beneath(String),
}

impl HostPattern {
    /// Whether the host (lower case, without a port) is meant.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Beneath(end) => host.len() > end.len() && host.ends_with(end.as_str()),
        }
    }
}

impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let name = lower.strip_prefix("*.").unwrap_or(&lower);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let address = lower.starts_with('[') && lower.ends_with(']');
        if name.is_empty() || name.starts_with('.') || !(address || name.bytes().all(plain)) {
            return Err(format!(
                "{text:?} is no host; write shop.example.org or *.example.org, without a port"
            ));
        }
        Ok(match lower.strip_prefix('*') {
            Some(end) => Self::Beneath(end.to_owned()),
            None => Self::Exact(lower),
        })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Beneath(end) => write!(f, "*{end}"),
        }
    }
}

/// The path of a request in the rule of a class: `*` stands for one segment, `**` for any number of them, also none.
/// A slash at the end is needed where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Is(String),
    One,
    Any,
}

impl PathPattern {
    /// Whether a normalised path is meant. The work is bounded by the product of the numbers of segments.
    pub fn matches(&self, path: &[u8]) -> bool {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        // As for a glob with a single star: on a mismatch go back to the last `**` and let it take one more.
        let (mut rest, mut at) = (Some(path), 0);
        let mut retry: Option<(Option<&[u8]>, usize)> = None;
        loop {
            match (self.segments.get(at), rest) {
                (Some(Segment::Any), _) => {
                    at += 1;
                    retry = Some((rest, at));
                    continue;
                }
                (None, None) => return true,
                (Some(segment), Some(left)) => {
                    let (first, more) = split(left);
                    if segment.takes(first) {
                        (rest, at) = (more, at + 1);
                        continue;
                    }
                }
                _ => {}
            }
            let Some((Some(left), after)) = retry else { return false };
            (rest, at) = (split(left).1, after);
            retry = Some((rest, after));
        }
    }
}

impl PathPattern {
    /// The segments that are written out: a path without one of them is not meant.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Is(word) => Some(word.as_str()),
            Segment::One | Segment::Any => None,
        })
    }
}

impl Segment {
    fn takes(&self, text: &[u8]) -> bool {
        match self {
            Self::Is(word) => word.as_bytes() == text,
            Self::One => !text.is_empty(),
            Self::Any => true,
        }
    }
}

/// The first segment, and what follows its slash.
fn split(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match path.iter().position(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], Some(&path[slash + 1..])),
        None => (path, None),
    }
}

impl FromStr for PathPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inner = text.strip_prefix('/');
        let inner = inner.ok_or_else(|| format!("{text:?} is no path; it begins with a slash"))?;
        let segment = |word: &str| match word {
            "*" => Ok(Segment::One),
            "**" => Ok(Segment::Any),
            word if word.contains('*') => {
                Err(format!("{word:?}: a star stands for a whole segment; write /*/ or /**/"))
            }
            word => Ok(Segment::Is(word.to_owned())),
        };
        let segments = inner.split('/').map(segment).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), segments })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// By what clients or requests are told apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Key {
    /// The client's address; of IPv6, its /64 network.
    #[default]
    Address,
    /// The host that is asked for.
    Host,
    /// The path.
    Path,
    /// The value of a cookie; the address where there is none.
    Cookie(String),
    /// The value of a header field; the address where there is none.
    Header(String),
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let known = match text.split_once(':') {
            Some(("cookie", rest)) => name(rest).map(Self::Cookie),
            Some(("header", rest)) => name(&rest.to_ascii_lowercase()).map(Self::Header),
            Some(_) => None,
            None => [("address", Self::Address), ("host", Self::Host), ("path", Self::Path)]
                .into_iter()
                .find_map(|(word, key)| (word == text).then_some(key)),
        };
        known.ok_or_else(|| {
            format!("{text:?} is no key; write address, host, path, cookie:NAME or header:NAME")
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("address"),
            Self::Host => f.write_str("host"),
            Self::Path => f.write_str("path"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Header(name) => write!(f, "header:{name}"),
        }
    }
}

/// These are written as texts.
macro_rules! as_text {
    ($($type:ty)*) => {
        $(
            impl<'de> Deserialize<'de> for $type {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
                }
            }

            impl Serialize for $type {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.collect_str(self)
                }
            }
        )*
    };
}

as_text!(HostPattern PathPattern Key);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, meant: &[&str], others: &[&str]) {
        let parsed: PathPattern = pattern.parse().expect("the pattern is valid");
        for path in meant.iter().chain(others) {
            assert_eq!(parsed.matches(path.as_bytes()), meant.contains(path), "{pattern} {path}");
        }
    }

    #[test]
    fn a_star_is_one_segment() {
        check("/*/cart/", &["/demo/cart/"], &["/cart/", "//cart/", "/demo/cart", "/a/b/cart/"]);
        check("/", &["/"], &["/a"]);
    }

    #[test]
    fn two_stars_are_any_number() {
        check("/**", &["/", "/a/b/c"], &[]);
        let checkouts = ["/demo/conf/checkout/start", "/checkout/", "/checkout"];
        check("/**/checkout/**", &checkouts, &["/demo/checkouts/"]);
        let confirmations = ["/a/b/order/X/s/pay/1/confirm", "/pay/x/pay/1/confirm"];
        check("/**/pay/*/confirm", &confirmations, &["/pay/1/confirm/2"]);
        check("/**/a/**/b", &["/a/x/a/y/b"], &["/b/a"]);
    }

    #[test]
    fn a_hostile_path_costs_no_more_than_its_length() {
        check("/**/a/**/a/**/a/**/b", &[], &[&"/a".repeat(4000)]);
    }

    #[test]
    fn stars_within_a_word_are_refused() {
        let error = "/a*/".parse::<PathPattern>().expect_err("half a star");
        assert!(error.contains("whole segment"), "{error}");
        assert!("cart/".parse::<PathPattern>().is_err());
    }

    #[test]
    fn hosts_are_told_with_all_beneath() {
        let host = |text: &str| text.parse::<HostPattern>();
        assert!(host("Shop.Example.org").is_ok_and(|host| host.matches("shop.example.org")));
        assert!(host("*.example.org").is_ok_and(|host| host.matches("a.b.example.org")));
        assert!(host("*.example.org").is_ok_and(|host| !host.matches("example.org")));
        assert!(host("*.example.org").is_ok_and(|host| !host.matches(".example.org")));
        assert!(host("*.example.org").is_ok_and(|host| !host.matches("badexample.org")));
        for wrong in ["", "*", "*.", "a:80", "a b", "http://a"] {
            assert!(host(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_named() {
        let key = |text: &str| text.parse::<Key>().ok();
        assert_eq!(key("address"), Some(Key::Address));
        assert_eq!(key("header:X-Token"), Some(Key::Header("x-token".to_owned())));
        assert_eq!(key("cookie:Session"), Some(Key::Cookie("Session".to_owned())));
        assert_eq!(key("cookie:"), None);
        assert_eq!(key("ip"), None);
    }
}
