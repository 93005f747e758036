//! Entity tags and the lists of them in conditions (RFC 9110 section 8.8.3). Kind: pure.

use super::text::trim_start;

/// How tags are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Both must be strong: the bytes are the same (If-Match, If-Range).
    Strong,
    /// One that is weak equals its strong twin (If-None-Match).
    Weak,
}

/// An entity tag: what is between the quotes, and whether `W/` is before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

impl Tag<'_> {
    fn equals(self, other: Self, comparison: Comparison) -> bool {
        let comparable = comparison == Comparison::Weak || !self.weak && !other.weak;
        comparable && self.opaque == other.opaque
    }
}

/// Whether the list of a condition names the entity tag, or is `*`, which names any. What is not an entity tag ends the
/// list: what follows is nobody's.
pub fn lists(list: &[u8], etag: &[u8], comparison: Comparison) -> bool {
    let mut rest = trim_start(list);
    if rest.first() == Some(&b'*') {
        return trim_start(&rest[1..]).is_empty();
    }
    let Some((wanted, [])) = split(etag) else { return false };
    while let Some((tag, behind)) = split(rest) {
        if tag.equals(wanted, comparison) {
            return true;
        }
        match trim_start(behind) {
            [b',', more @ ..] => rest = skip_empty(more),
            _ => return false,
        }
    }
    false
}

/// A list may have empty elements (RFC 9110 section 5.6.1.2).
fn skip_empty(mut list: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b',', rest @ ..] = list {
        list = rest;
    }
    list
}

/// The entity tag at the front, and what is behind it.
fn split(text: &[u8]) -> Option<(Tag<'_>, &[u8])> {
    let (weak, text) = text.strip_prefix(b"W/").map_or((false, text), |text| (true, text));
    let text = text.strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', text)?;
    let opaque = &text[..end];
    let valid = opaque.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
    valid.then_some((Tag { weak, opaque }, &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(list: &str, etag: &str, strong: bool, weak: bool) {
        let found =
            [Comparison::Strong, Comparison::Weak].map(|how| lists(list.as_bytes(), etag.as_bytes(), how));
        assert_eq!(found, [strong, weak], "{list} for {etag}");
    }

    #[test]
    fn tags_are_compared_as_the_standard_has_it() {
        // The table of RFC 9110 section 8.8.3.2.
        check("W/\"1\"", "W/\"1\"", false, true);
        check("W/\"1\"", "W/\"2\"", false, false);
        check("W/\"1\"", "\"1\"", false, true);
        check("\"1\"", "\"1\"", true, true);
    }

    #[test]
    fn any_of_a_list_will_do() {
        check("\"a\", \"b\" ,\"c\"", "\"c\"", true, true);
        check("\"a\",W/\"b\"", "\"b\"", false, true);
        check(" , \"a\",,\"b\"", "\"b\"", false, false);
        check("\"a\",, ,\"b\"", "\"b\"", true, true);
        check("\"a,b\"", "\"b\"", false, false);
        check("\"a,b\", \"b\"", "\"b\"", true, true);
        check("*", "\"a\"", true, true);
        check(" * ", "W/\"a\"", true, true);
        check("\"\"", "\"\"", true, true);
    }

    #[test]
    fn what_is_no_tag_matches_nothing() {
        for list in ["", "a", "\"a", "w/\"a\"", "W/", "*, \"a\"", "b \"a\"", "\"b\" \"a\"", "\"a b\"", "'a'"]
        {
            check(list, "\"a\"", false, false);
        }
        check("\"a\"", "a", false, false);
        check("\"a\"", "\"a\"x", false, false);
    }
}
