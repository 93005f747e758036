//! The words of an inline request, as somebody types them into telnet. Kind: pure.
//!
//! The rules are those of Redis' `sdssplitargs` (src/sds.c): words are parted by blanks; a quote may begin anywhere in a
//! word and ends it; `"…"` knows `\n \r \t \b \a \xHH` and takes any other character behind a backslash as it is; `'…'`
//! knows `\'` alone. A zero byte is refused, of which each version of Redis makes something else.

use std::iter::Peekable;
use std::slice::Iter;

use super::Violation;

type Bytes<'a> = Peekable<Iter<'a, u8>>;

/// The words of a line, whose end may be with it. A line without any is no command and gets no reply.
pub fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, Violation> {
    let end = memchr::memchr2(b'\n', 0, line).unwrap_or(line.len());
    if line.get(end) == Some(&0) {
        return Err(Violation::Zero);
    }
    let mut bytes = line[..end].iter().peekable();
    let mut words = Vec::new();
    loop {
        while bytes.next_if(|byte| is_space(**byte)).is_some() {}
        if bytes.peek().is_none() {
            return Ok(words);
        }
        words.push(word(&mut bytes)?);
    }
}

/// As C's `isspace`, which parts words; [`word`] says what ends one.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// A word that is not quoted ends at a blank, a tab or a CR, but, unlike what `isspace` would say, not at a vertical tab.
fn word(bytes: &mut Bytes<'_>) -> Result<Vec<u8>, Violation> {
    let mut word = Vec::new();
    while let Some(&byte) = bytes.next_if(|byte| !matches!(byte, b' ' | b'\t' | b'\r')) {
        match byte {
            b'"' => return quoted(bytes, word, b'"', escaped),
            b'\'' => return quoted(bytes, word, b'\'', escaped_quote),
            byte => word.push(byte),
        }
    }
    Ok(word)
}

/// Goes on with `word` up to the closing quote, which must end it.
fn quoted(
    bytes: &mut Bytes<'_>,
    mut word: Vec<u8>,
    quote: u8,
    escaped: fn(&mut Bytes<'_>) -> u8,
) -> Result<Vec<u8>, Violation> {
    loop {
        match bytes.next() {
            None => return Err(Violation::Quotes),
            Some(&byte) if byte == quote => break,
            Some(b'\\') => word.push(escaped(bytes)),
            Some(&byte) => word.push(byte),
        }
    }
    match bytes.peek() {
        Some(&&byte) if !is_space(byte) => Err(Violation::Quotes),
        _ => Ok(word),
    }
}

/// What a backslash in single quotes means.
fn escaped_quote(bytes: &mut Bytes<'_>) -> u8 {
    bytes.next_if(|byte| **byte == b'\'').copied().unwrap_or(b'\\')
}

/// What a backslash in double quotes means; the last byte of a line is itself.
fn escaped(bytes: &mut Bytes<'_>) -> u8 {
    if let Some(byte) = hexadecimal(bytes) {
        return byte;
    }
    match bytes.next() {
        None => b'\\',
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'b') => 0x08,
        Some(b'a') => 0x07,
        Some(&byte) => byte,
    }
}

/// `xHH`, if both digits are there; else nothing is taken.
fn hexadecimal(bytes: &mut Bytes<'_>) -> Option<u8> {
    let mut ahead = bytes.clone();
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    ahead.next_if(|byte| **byte == b'x')?;
    let byte = digit(ahead.next()?)? * 16 + digit(ahead.next()?)?;
    *bytes = ahead;
    u8::try_from(byte).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &[&str]) {
        let expected: Vec<_> = expected.iter().map(|word| word.as_bytes().to_vec()).collect();
        assert_eq!(split(line.as_bytes()), Ok(expected.clone()), "{line:?}");
        for end in ["\n", "\r\n"] {
            assert_eq!(split(format!("{line}{end}").as_bytes()), Ok(expected.clone()), "{line:?} {end:?}");
        }
    }

    #[track_caller]
    fn unbalanced(line: &str) {
        assert_eq!(split(line.as_bytes()), Err(Violation::Quotes), "{line:?}");
    }

    #[test]
    fn words_are_parted_by_blanks() {
        check("", &[]);
        check("  \t ", &[]);
        check("PING", &["PING"]);
        check("  set  key\tvalue ", &["set", "key", "value"]);
        check("a\u{b}b", &["a\u{b}b"]);
        check("\u{b}a", &["a"]);
    }

    #[test]
    fn quotes_keep_blanks() {
        check(r#"set k "a b""#, &["set", "k", "a b"]);
        check("set k 'a b'", &["set", "k", "a b"]);
        check(r#"set k """#, &["set", "k", ""]);
        check("''", &[""]);
        check(r#"a"b c""#, &["ab c"]);
        check(r#"a'b"c'"#, &["ab\"c"]);
    }

    #[test]
    fn escapes_are_those_of_redis() {
        check(r#""\n\r\t\b\a""#, &["\n\r\t\u{8}\u{7}"]);
        check(r#""\x41\x7a""#, &["Az"]);
        check(r#""\"\\\q""#, &["\"\\q"]);
        check(r#""\x4""#, &["x4"]);
        check(r#""\xg1""#, &["xg1"]);
        check(r"'\'\n'", &[r"'\n"]);
        check(r"a\nb", &[r"a\nb"]);
    }

    #[test]
    fn quotes_must_be_balanced() {
        unbalanced("\"");
        unbalanced("'");
        unbalanced(r#"get "k"#);
        unbalanced(r#"get "k\"#);
        unbalanced(r#"get "k\""#);
        unbalanced(r#"GET "x\x4"#);
        unbalanced(r#""a"b"#);
        unbalanced("'a''b'");
    }

    #[test]
    fn a_zero_byte_is_refused() {
        assert_eq!(split(b"get k\0 more"), Err(Violation::Zero));
        assert_eq!(split(b"get \"k\0\""), Err(Violation::Zero));
        assert_eq!(split(b"get k\n\0"), Ok(vec![b"get".to_vec(), b"k".to_vec()]));
    }
}
