//! Durations and sizes with their units, as people write them. Kind: pure.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// `#[serde(with = "proxy_core::config::duration")]` for a `Duration` written as `"250ms"`, `"5s"` or `"1h 30m"`.
pub mod duration {
    use super::{DurationVisitor, Serializer};
    use serde::Deserializer;
    use std::time::Duration;

    /// Reads a duration with its unit.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_str(DurationVisitor)
    }

    /// Writes a duration so that it can be read again.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }
}

/// `#[serde(with = "proxy_core::config::optional_duration", default)]` for an `Option<Duration>`.
pub mod optional_duration {
    use super::{Serializer, duration};
    use serde::{Deserialize, Deserializer};
    use std::time::Duration;

    #[derive(Deserialize)]
    struct Wrapped(#[serde(with = "duration")] Duration);

    /// Reads a duration with its unit, if there is one.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Wrapped>::deserialize(deserializer)?.map(|wrapped| wrapped.0))
    }

    /// Writes a duration, if there is one, so that it can be read again.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => duration::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }
}

struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = std::time::Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration with its unit, such as \"250ms\", \"5s\" or \"1h\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        // humantime takes a bare "0"; we want the unit everywhere.
        let with_unit = text.ends_with(|last: char| last.is_ascii_alphabetic());
        let parsed = with_unit.then(|| humantime::parse_duration(text).ok()).flatten();
        parsed.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// A number of bytes, written as `"64KiB"`, `"1MiB"` or `"512B"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// So many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The number of bytes as a length in memory; the largest one where it doesn't fit.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// The text is no size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotASize;

impl fmt::Display for NotASize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number with its unit, such as \"512B\", \"64KiB\" or \"1MiB\"")
    }
}

impl std::error::Error for NotASize {}

impl FromStr for Size {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Self, NotASize> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(NotASize)?;
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| NotASize)?;
        let known = UNITS.iter().find(|(name, _)| *name == unit.trim_start());
        let (_, factor) = known.ok_or(NotASize)?;
        number.checked_mul(*factor).map(Self).ok_or(NotASize)
    }
}

/// The largest unit that divides it, so that it reads back as the same size.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let divides = |(_, factor): &&(&str, u64)| self.0 >= *factor && self.0.is_multiple_of(*factor);
        let (unit, factor) = UNITS.iter().find(divides).unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(SizeVisitor)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NotASize}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error as AnyError, StrDeserializer};
    use std::time::Duration;

    fn text(text: &str) -> StrDeserializer<'_, AnyError> {
        text.into_deserializer()
    }

    #[track_caller]
    fn check(written: &str, bytes: Option<u64>) {
        assert_eq!(written.parse().map(Size::bytes).ok(), bytes, "{written}");
    }

    #[test]
    fn sizes_have_units() {
        check("64KiB", Some(65536));
        check("1 MiB", Some(1 << 20));
        check("3kB", Some(3000));
        check("0B", Some(0));
    }

    #[test]
    fn sizes_without_a_unit_or_too_large_are_refused() {
        check("64", None);
        check("KiB", None);
        check("-1KiB", None);
        check("1.5MiB", None);
        check("99999999TiB", None);
        check("", None);
    }

    #[test]
    fn durations_have_units() {
        let read = |written| duration::deserialize(text(written)).ok();
        assert_eq!(read("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(read("1h 30m"), Some(Duration::from_secs(5400)));
        assert_eq!(read("5"), None);
        assert_eq!(read("0"), None);
        assert_eq!(read("-5s"), None);
    }

    proptest! {
        #[test]
        fn a_size_reads_back_as_itself(bytes: u64) {
            prop_assert_eq!(Size::new(bytes).to_string().parse(), Ok(Size::new(bytes)));
        }
    }
}
