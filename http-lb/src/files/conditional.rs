//! Whether a request's conditions hold: If-Match and its family, in the order of RFC 9110 section 13.2.2. Kind: pure.

use crate::wire::date;
use crate::wire::etag::{Comparison, lists};

/// The conditions of a request, as they were written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Conditions<'a> {
    /// `If-Match`.
    pub if_match: Option<&'a [u8]>,
    /// `If-None-Match`.
    pub if_none_match: Option<&'a [u8]>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<&'a [u8]>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<&'a [u8]>,
    /// `If-Range`.
    pub if_range: Option<&'a [u8]>,
}

impl Conditions<'_> {
    /// Whether there is any that [`weigh`] would look at.
    pub(super) fn is_empty(&self) -> bool {
        self.if_match.or(self.if_none_match).or(self.if_modified_since).or(self.if_unmodified_since).is_none()
    }
}

/// What a representation is recognised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validators<'a> {
    /// The entity tag, quotes included; always a strong one.
    pub(super) etag: &'a [u8],
    /// When it was last modified, in seconds since 1970.
    pub(super) modified: u64,
}

/// What the conditions come to, for GET and HEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Do as was asked.
    Perform,
    /// The client has it already: 304.
    NotModified,
    /// It is not what the client takes it for: 412.
    Failed,
}

/// Weighs all but `If-Range`, for GET and HEAD. A date that can't be read is no condition (sections 13.1.3, 13.1.4).
pub(super) fn weigh(conditions: &Conditions<'_>, current: &Validators<'_>) -> Verdict {
    let holds = match (conditions.if_match, read(conditions.if_unmodified_since)) {
        (Some(list), _) => lists(list, current.etag, Comparison::Strong),
        (None, Some(date)) => current.modified <= date,
        (None, None) => true,
    };
    if !holds {
        return Verdict::Failed;
    }
    let known = match (conditions.if_none_match, read(conditions.if_modified_since)) {
        (Some(list), _) => lists(list, current.etag, Comparison::Weak),
        (None, Some(date)) => current.modified <= date,
        (None, None) => false,
    };
    if known { Verdict::NotModified } else { Verdict::Perform }
}

/// Whether a range may be answered by a part (section 13.1.5): the client has the rest of just this representation. A date
/// tells that only if the file was not modified within the second before it was sent first, hence `now`.
pub(super) fn range_applies(if_range: Option<&[u8]>, current: &Validators<'_>, now: u64) -> bool {
    match if_range {
        None => true,
        Some(tag) if tag.starts_with(b"\"") => tag == current.etag,
        // A weak tag is never good enough for a part.
        Some(tag) if tag.starts_with(b"W/") => false,
        Some(text) => date::parse(text) == Some(current.modified) && current.modified < now,
    }
}

/// A date, if there is one and it can be read.
fn read(text: Option<&[u8]>) -> Option<u64> {
    date::parse(text?)
}

/// For the fuzzer: no text makes it fail.
pub fn fuzz_weigh(text: &[u8]) {
    let current = Validators { etag: b"\"x\"", modified: 1 };
    let conditions = Conditions { if_match: Some(text), if_none_match: Some(text), ..Conditions::default() };
    weigh(&conditions, &current);
    let dates = Conditions {
        if_modified_since: Some(text),
        if_unmodified_since: Some(text),
        ..Conditions::default()
    };
    weigh(&dates, &current);
    range_applies(Some(text), &current, 2);
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Failed, NotModified, Perform};
    use super::*;
    use proptest::prelude::*;

    /// One second before, when, and one second after the file was modified.
    const DATES: [&str; 3] =
        ["Sun, 06 Nov 1994 08:49:36 GMT", "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:38 GMT"];
    const CURRENT: Validators<'static> = Validators { etag: b"\"b\"", modified: 784_111_777 };

    /// Conditions as `name: value`, several of them.
    #[track_caller]
    fn check(fields: &[(&str, &str)], expected: Verdict) {
        let value = |name| fields.iter().find(|field| field.0 == name).map(|field| field.1.as_bytes());
        let conditions = Conditions {
            if_match: value("if-match"),
            if_none_match: value("if-none-match"),
            if_modified_since: value("if-modified-since"),
            if_unmodified_since: value("if-unmodified-since"),
            if_range: None,
        };
        assert_eq!(weigh(&conditions, &CURRENT), expected, "{fields:?}");
        assert_eq!(conditions.is_empty(), fields.is_empty());
    }

    /// Each of these values, alone.
    #[track_caller]
    fn check_each(name: &str, values: &[&str], expected: Verdict) {
        values.iter().for_each(|value| check(&[(name, value)], expected));
    }

    #[test]
    fn without_conditions_it_is_done() {
        check(&[], Perform);
    }

    /// RFC 9110 section 13.1.1.
    #[test]
    fn if_match_wants_one_of_these_and_weak_ones_never_match() {
        let listed = ["\"b\"", "*", "\"a\", \"b\"", "\"a\",,\t\"b\"  ,", "W/\"b\", \"b\""];
        check_each("if-match", &listed, Perform);
        check_each("if-match", &["\"a\"", "W/\"b\""], Failed);
        check_each("if-match", &["", "b", "\"a\" \"b\"", "\"b", "\"a,\"b\""], Failed);
    }

    /// Section 13.1.2.
    #[test]
    fn if_none_match_knows_the_weak_ones_too() {
        check_each("if-none-match", &["\"b\"", "W/\"b\"", "*", "\"a\", W/\"b\""], NotModified);
        check_each("if-none-match", &["\"a\"", "w/\"b\"", "nonsense"], Perform);
    }

    /// Section 13.1.3, in each of the three formats of section 5.6.7.
    #[test]
    fn if_modified_since_is_about_later_changes() {
        check_each("if-modified-since", &[DATES[0], "yesterday", ""], Perform);
        check_each("if-modified-since", &[DATES[1], DATES[2]], NotModified);
        let other_formats = ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"];
        check_each("if-modified-since", &other_formats, NotModified);
    }

    /// Section 13.1.4.
    #[test]
    fn if_unmodified_since_fails_when_there_was_a_change() {
        check_each("if-unmodified-since", &[DATES[0]], Failed);
        check_each("if-unmodified-since", &[DATES[1], DATES[2], "yesterday"], Perform);
    }

    /// Section 13.2.2: the steps 1 to 4, one after the other.
    #[test]
    fn conditions_are_weighed_in_the_order_of_the_rfc() {
        check(&[("if-match", "\"b\""), ("if-unmodified-since", DATES[0])], Perform);
        check(&[("if-match", "\"a\""), ("if-unmodified-since", DATES[2])], Failed);
        check(&[("if-match", "\"b\""), ("if-none-match", "\"b\"")], NotModified);
        check(&[("if-match", "\"a\""), ("if-none-match", "\"b\"")], Failed);
        check(&[("if-none-match", "\"a\""), ("if-modified-since", DATES[2])], Perform);
        check(&[("if-none-match", "\"b\""), ("if-modified-since", DATES[0])], NotModified);
        check(&[("if-unmodified-since", DATES[0]), ("if-none-match", "\"b\"")], Failed);
        check(&[("if-unmodified-since", DATES[2]), ("if-modified-since", DATES[2])], NotModified);
    }

    /// Section 13.1.5.
    #[test]
    fn a_part_is_only_for_who_has_the_rest_of_the_same() {
        let applies = |value: &str, now| range_applies(Some(value.as_bytes()), &CURRENT, now);
        let later = CURRENT.modified + 1;
        assert!(range_applies(None, &CURRENT, later));
        assert!(applies("\"b\"", later) && !applies("\"a\"", later));
        assert!(!applies("W/\"b\"", later), "weak ones never do");
        assert!(!applies("\"b\", \"b\"", later), "a list is none");
        assert!(applies(DATES[1], later));
        assert!(!applies(DATES[1], CURRENT.modified), "it may change again within this second");
        assert!(!applies(DATES[0], later) && !applies(DATES[2], later), "another date is another file");
        assert!(!applies("nonsense", later) && !applies("", later));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fail(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            fuzz_weigh(&text);
        }
    }
}
