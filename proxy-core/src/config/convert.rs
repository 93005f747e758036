//! From a value as written to the shape that its key wants. Kind: pure.

use std::str::FromStr;

use serde::de;

use super::fault::Fault;
use super::tree::{self, Node, Table, Value};

impl Node {
    pub(super) fn number<T: TryFrom<i64> + FromStr + Bounds>(self) -> Result<T, Fault> {
        let number = match self.value {
            Value::Integer(number) => T::try_from(number).ok(),
            Value::Raw(text) => text.trim().parse().ok(),
            _ => None,
        };
        let (least, most) = T::bounds();
        number.ok_or_else(|| Fault::value(format_args!("expected a whole number from {least} to {most}")))
    }

    pub(super) fn float(self) -> Result<f64, Fault> {
        match self.value {
            Value::Float(number) => Ok(number),
            #[allow(clippy::cast_precision_loss, reason = "a setting beyond 2^53 has no meaning as a float")]
            Value::Integer(number) => Ok(number as f64),
            Value::Raw(text) => text.trim().parse().map_err(|_| Fault::value("expected a number")),
            _ => Err(Fault::value("expected a number")),
        }
    }

    pub(super) fn boolean(self) -> Result<bool, Fault> {
        match self.value {
            Value::Boolean(answer) => Ok(answer),
            Value::Raw(text) => text.trim().parse().map_err(|_| Fault::value("expected true or false")),
            _ => Err(Fault::value("expected true or false")),
        }
    }

    pub(super) fn text(self, expected: &dyn de::Expected) -> Result<String, Fault> {
        match self.value {
            Value::Text(text) | Value::Raw(text) => Ok(text),
            Value::Contents(_) => Err(Fault::value("only a secret may come from a file")),
            _ => Err(Fault::value(format_args!("expected {expected}, in quotes"))),
        }
    }

    /// The elements; from the environment either an inline TOML array or words separated by commas.
    pub(super) fn list(self) -> Result<Vec<Self>, Fault> {
        let origin = &self.origin;
        match self.value {
            Value::List(items) => Ok(items),
            // "[::1]:5432" begins like an array but doesn't end like one.
            Value::Raw(text) if text.trim().starts_with('[') && text.trim().ends_with(']') => {
                let value = tree::parse_inline(text.trim(), origin)?;
                Self { value, origin: origin.clone() }.list()
            }
            Value::Raw(text) => Ok(words(&text)
                .map(|word| Self { value: Value::Raw(word.to_owned()), origin: origin.clone() })
                .collect()),
            _ => Err(Fault::value("expected a list: [ … ]")),
        }
    }

    /// The entries; from the environment an inline TOML table.
    pub(super) fn table(self) -> Result<Table, Fault> {
        let expected = || Fault::value("expected a table: { … }").secret();
        match self.value {
            Value::Table(table) => Ok(table),
            Value::Raw(text) => match tree::parse_inline(text.trim(), &self.origin)? {
                Value::Table(table) => Ok(table),
                _ => Err(expected()),
            },
            _ => Err(expected()),
        }
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// The ends of an integer type, for the remedy in a fault.
pub(super) trait Bounds {
    fn bounds() -> (String, String);
}

macro_rules! bounds {
    ($($type:ty)*) => {
        $(impl Bounds for $type {
            fn bounds() -> (String, String) {
                (Self::MIN.to_string(), Self::MAX.to_string())
            }
        })*
    };
}

bounds!(i8 i16 i32 i64 u8 u16 u32 u64);
