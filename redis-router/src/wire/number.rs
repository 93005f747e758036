//! The number between a type byte and its CRLF. Kind: pure.
//!
//! Strict, as Redis' own `string2ll` (src/util.c): no plus, no leading zero, no space, no `-0`. Stricter in one thing:
//! the CR must be followed by its LF, which Redis skips unread.

/// So many digits fit into an `i64`, whatever they are; more is no length of anything.
const DIGITS: usize = 18;

/// The longest number with its sign and its CRLF: so much of a line without an end is read again.
pub(super) const LONGEST: usize = 1 + DIGITS + 2;

/// What the bytes after a type byte are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    /// A number and its CRLF, `len` bytes together.
    Whole { value: i64, len: usize },
    /// The beginning of one.
    Unfinished,
    /// Nothing that could become one.
    Malformed,
    /// A number and a CR, but no LF behind it.
    Torn,
}

/// Reads the number at the front of `bytes`. One and two digits, which is what arguments and replies mostly have, are
/// decided by one comparison each.
#[inline(always)]
pub(super) fn number(bytes: &[u8]) -> Number {
    match *bytes {
        [ones @ b'0'..=b'9', b'\r', b'\n', ..] => Number::Whole { value: digit(ones), len: 3 },
        [tens @ b'1'..=b'9', ones @ b'0'..=b'9', b'\r', b'\n', ..] => {
            Number::Whole { value: digit(tens) * 10 + digit(ones), len: 4 }
        }
        _ => any_number(bytes),
    }
}

#[inline(always)]
fn digit(byte: u8) -> i64 {
    i64::from(byte & 0x0f)
}

fn any_number(bytes: &[u8]) -> Number {
    let negative = bytes.first() == Some(&b'-');
    let digits = &bytes[usize::from(negative)..];
    let mut value = 0;
    for (at, &byte) in digits.iter().enumerate() {
        let leading_zero = at == 1 && value == 0;
        match byte {
            b'0'..=b'9' if at < DIGITS && !leading_zero => value = value * 10 + digit(byte),
            b'\r' if at > 0 && !(negative && value == 0) => {
                let value = if negative { -value } else { value };
                return end(digits.get(at + 1), Number::Whole { value, len: usize::from(negative) + at + 2 });
            }
            _ => return Number::Malformed,
        }
    }
    Number::Unfinished
}

/// `whole`, if the CR was followed by its LF.
fn end(after: Option<&u8>, whole: Number) -> Number {
    match after {
        Some(b'\n') => whole,
        Some(_) => Number::Torn,
        None => Number::Unfinished,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &str, expected: Number) {
        assert_eq!(number(bytes.as_bytes()), expected, "{bytes:?}");
    }

    #[track_caller]
    fn whole(bytes: &str, value: i64) {
        check(bytes, Number::Whole { value, len: bytes.len() });
        check(&format!("{bytes}$3"), Number::Whole { value, len: bytes.len() });
        (0..bytes.len()).for_each(|cut| check(&bytes[..cut], Number::Unfinished));
    }

    #[test]
    fn numbers_are_read() {
        whole("0\r\n", 0);
        whole("7\r\n", 7);
        whole("42\r\n", 42);
        whole("-1\r\n", -1);
        whole("1048576\r\n", 1_048_576);
        whole("999999999999999999\r\n", 999_999_999_999_999_999);
        whole("-999999999999999999\r\n", -999_999_999_999_999_999);
        assert_eq!("-999999999999999999\r\n".len(), LONGEST);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for bytes in [
            "\r\n",
            "+1\r\n",
            " 1\r\n",
            "1 \r\n",
            "01\r\n",
            "00\r\n",
            "-0\r\n",
            "-\r\n",
            "--1\r\n",
            "1\n",
            "0x1\r\n",
            "1e3\r\n",
            "1\0\r\n",
            "1000000000000000000\r\n",
        ] {
            check(bytes, Number::Malformed);
        }
        check("1\r1", Number::Torn);
        check("-12\r\r\n", Number::Torn);
    }
}
