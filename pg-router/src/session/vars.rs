//! The settings that PostgreSQL reports and that follow a client from server connection to server connection.
//! Kind: pure.
//!
//! PostgreSQL reports a change of these by ParameterStatus (documentation, "Asynchronous Operations"), so that nobody
//! has to read a client's SQL to know them.

use std::rc::Rc;

use crate::wire::frontend;

/// The settings that follow a client, as PostgreSQL spells them.
pub const FOLLOWED: [&str; 6] = [
    "client_encoding",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "standard_conforming_strings",
    "application_name",
];

/// The only one of them that may be empty: who gave no name must not go by another's.
const NAMELESS: &str = "application_name";

/// The values of [`FOLLOWED`], in that order. Cheap to clone and to compare while nobody changes them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vars(Rc<[Box<str>; FOLLOWED.len()]>);

impl Vars {
    /// The values among `params`; what is missing is empty, and left as it is on a server unless it is the name.
    pub fn collect<'a>(params: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut vars = Self::default();
        for (name, value) in params {
            vars.set(name, value);
        }
        vars
    }

    /// Whether `name` follows the client (PostgreSQL's names know no case).
    pub fn follows(name: &str) -> bool {
        index(name).is_some()
    }

    /// Takes a value over; false when it is not one of ours or nothing changes by it.
    pub fn set(&mut self, name: &str, value: &str) -> bool {
        match index(name) {
            Some(at) if *self.0[at] != *value => {
                Rc::make_mut(&mut self.0)[at] = value.into();
                true
            }
            _ => false,
        }
    }

    /// The same values at the same place: nothing to compare.
    #[inline]
    pub fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// All names with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        FOLLOWED.iter().zip(self.0.iter()).map(|(name, value)| (*name, &**value))
    }

    /// Appends one Query that makes a server that has `theirs` like us; false when there is nothing to do.
    pub fn put_changes(&self, theirs: &Self, out: &mut Vec<u8>) -> bool {
        let mut sql = String::new();
        for ((name, ours), (_, theirs)) in self.iter().zip(theirs.iter()) {
            if ours != theirs && (!ours.is_empty() || name == NAMELESS) {
                sql.extend(["SET ", name, " TO ", &quoted(ours), ";"]);
            }
        }
        if !sql.is_empty() {
            frontend::put_query(out, &sql);
        }
        !sql.is_empty()
    }
}

fn index(name: &str) -> Option<usize> {
    FOLLOWED.iter().position(|followed| followed.eq_ignore_ascii_case(name))
}

/// A string constant that means the same whatever standard_conforming_strings says (documentation, 4.1.2.2), and in
/// every client_encoding that the connection may have at this moment: in SJIS, BIG5 or GBK a backslash or a quote can be
/// the second half of a character. None of these settings has a meaning beyond ASCII; PostgreSQL itself puts `?` in the
/// place of other characters of an application_name.
fn quoted(value: &str) -> String {
    let ascii = value.replace(|char: char| !char.is_ascii(), "?");
    match ascii.contains('\\') {
        true => format!("E'{}'", ascii.replace('\\', "\\\\").replace('\'', "''")),
        false => format!("'{}'", ascii.replace('\'', "''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ours: &[(&str, &str)], theirs: &[(&str, &str)], expected: Option<&str>) {
        let mut out = Vec::new();
        let ours = Vars::collect(ours.iter().copied());
        let changed = ours.put_changes(&Vars::collect(theirs.iter().copied()), &mut out);
        assert_eq!(changed, expected.is_some());
        if let Some(sql) = expected {
            assert_eq!(std::str::from_utf8(&out[5..out.len() - 1]).unwrap(), sql);
        }
    }

    #[test]
    fn only_what_differs_is_set() {
        check(
            &[("TimeZone", "UTC"), ("DateStyle", "ISO, MDY")],
            &[("TimeZone", "UTC"), ("DateStyle", "German")],
            Some("SET DateStyle TO 'ISO, MDY';"),
        );
        check(&[("timezone", "UTC")], &[("TimeZone", "UTC")], None);
    }

    #[test]
    fn what_the_client_never_named_is_left_alone() {
        check(&[], &[("TimeZone", "UTC")], None);
    }

    #[test]
    fn who_has_no_name_does_not_keep_another_s() {
        check(
            &[("application_name", "")],
            &[("application_name", "shop")],
            Some("SET application_name TO '';"),
        );
    }

    #[test]
    fn a_value_can_not_end_its_string() {
        check(
            &[("application_name", "a'; DROP TABLE x --")],
            &[],
            Some("SET application_name TO 'a''; DROP TABLE x --';"),
        );
        check(&[("application_name", "\\'; x")], &[], Some("SET application_name TO E'\\\\''; x';"));
    }

    #[test]
    fn no_encoding_makes_a_quote_of_what_is_none() {
        check(&[("application_name", "caf\u{e9}\\")], &[], Some("SET application_name TO E'caf?\\\\';"));
    }
}
