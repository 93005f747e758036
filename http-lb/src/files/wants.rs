//! What a request for a file wants, and what it gets by that. Kind: pure.

use super::conditional::{self, Conditions, Validators, Verdict};
use crate::wire::range::{self, Selection, Span};
use crate::wire::{Method, Name, RequestHead};

/// What a request says that matters to a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wants<'a> {
    /// What is to be done.
    pub verb: Verb,
    /// `If-Match` and its family.
    pub conditions: Conditions<'a>,
    /// `Range`.
    pub range: Option<&'a [u8]>,
    /// `Accept-Encoding`.
    pub accept_encoding: Option<&'a [u8]>,
}

/// What may be done with a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verb {
    /// It is read.
    #[default]
    Get,
    /// Its head is read.
    Head,
    /// Something else, which can't be done.
    Other,
}

impl<'a> Wants<'a> {
    /// What this request says. Of a condition that is said twice the first counts, which at worst sends what needn't be
    /// sent; two ranges are none, as they must stand in one field (RFC 9110 section 14.2).
    pub fn of(request: &'a RequestHead) -> Self {
        let verb = match request.method() {
            Method::Get => Verb::Get,
            Method::Head => Verb::Head,
            _ => Verb::Other,
        };
        let conditions = Conditions {
            if_match: request.known(Name::IfMatch),
            if_none_match: request.known(Name::IfNoneMatch),
            if_modified_since: request.known(Name::IfModifiedSince),
            if_unmodified_since: request.known(Name::IfUnmodifiedSince),
            if_range: request.known(Name::IfRange),
        };
        let range = request.known(Name::Range).filter(|_| request.all(Name::Range).nth(1).is_none());
        Self { verb, conditions, range, accept_encoding: request.known(Name::AcceptEncoding) }
    }
}

/// What is sent of a representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// All: 200.
    Whole,
    /// Nothing, the client has it: 304.
    NotModified,
    /// Nothing, it is not what the client takes it for: 412.
    Failed,
    /// Nothing, it has no such part: 416.
    Unsatisfiable,
    /// A part: 206.
    Part(Span),
    /// Several parts: 206.
    Parts(Vec<Span>),
}

/// Weighs conditions, then the range: RFC 9110 section 13.2.2, step 5 included. Ranges are for GET alone (section 14.2).
pub(super) fn plan(wants: &Wants<'_>, current: &Validators<'_>, length: u64, now: u64) -> Plan {
    if !wants.conditions.is_empty() {
        match conditional::weigh(&wants.conditions, current) {
            Verdict::Perform => {}
            Verdict::NotModified => return Plan::NotModified,
            Verdict::Failed => return Plan::Failed,
        }
    }
    let range = wants.range.filter(|_| wants.verb == Verb::Get);
    match range.filter(|_| conditional::range_applies(wants.conditions.if_range, current, now)) {
        None => Plan::Whole,
        Some(field) => match range::select(field, length) {
            Selection::Whole => Plan::Whole,
            Selection::Unsatisfiable => Plan::Unsatisfiable,
            Selection::Spans(spans) => match spans[..] {
                [span] => Plan::Part(span),
                _ => Plan::Parts(spans),
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURRENT: Validators<'static> = Validators { etag: b"\"b\"", modified: 100 };
    const PART: Plan = Plan::Part(Span { start: 0, length: 5 });

    #[track_caller]
    fn check(wants: Wants<'_>, expected: Plan) {
        assert_eq!(plan(&wants, &CURRENT, 10, 200), expected, "{wants:?}");
    }

    fn range(field: &str) -> Wants<'_> {
        Wants { range: Some(field.as_bytes()), ..Wants::default() }
    }

    #[test]
    fn ranges_are_for_get_alone() {
        check(range("bytes=0-4"), PART);
        check(Wants { verb: Verb::Head, ..range("bytes=0-4") }, Plan::Whole);
        check(Wants { verb: Verb::Head, ..range("bytes=99-") }, Plan::Whole);
        check(range("bytes=99-"), Plan::Unsatisfiable);
    }

    #[test]
    fn conditions_come_before_ranges() {
        let known = Conditions { if_none_match: Some(b"\"b\""), ..Conditions::default() };
        check(Wants { conditions: known, ..range("bytes=0-4") }, Plan::NotModified);
        check(Wants { conditions: known, ..range("bytes=99-") }, Plan::NotModified);
        let other = Conditions { if_match: Some(b"\"a\""), ..Conditions::default() };
        check(Wants { conditions: other, ..range("bytes=0-4") }, Plan::Failed);
    }

    #[test]
    fn a_range_of_something_else_is_answered_by_the_whole() {
        let same = Conditions { if_range: Some(b"\"b\""), ..Conditions::default() };
        check(Wants { conditions: same, ..range("bytes=0-4") }, PART);
        let other = Conditions { if_range: Some(b"\"a\""), ..Conditions::default() };
        check(Wants { conditions: other, ..range("bytes=0-4") }, Plan::Whole);
        check(Wants { conditions: other, ..range("bytes=99-") }, Plan::Whole);
        check(Wants { conditions: other, ..Wants::default() }, Plan::Whole);
    }
}
