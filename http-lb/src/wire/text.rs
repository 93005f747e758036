//! The alphabets of RFC 9110 section 5.6, and the few ways in which its texts are taken apart. Kind: pure.

/// For each byte that may stand in a token (RFC 9110 section 5.6.2) its lower case, and zero for every other.
const LOWER: [u8; 256] = lower();

const fn lower() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        if byte.is_ascii_alphanumeric() || is_token_mark(byte) {
            table[byte as usize] = byte.to_ascii_lowercase();
        }
        byte += 1;
    }
    table
}

const fn is_token_mark(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'#'
            | b'$'
            | b'%'
            | b'&'
            | b'\''
            | b'*'
            | b'+'
            | b'-'
            | b'.'
            | b'^'
            | b'_'
            | b'`'
            | b'|'
            | b'~'
    )
}

/// Makes the token at the front lower case; gives its length.
#[inline]
pub(super) fn lower_token(text: &mut [u8]) -> usize {
    let mut len = 0;
    for byte in text {
        let lower = LOWER[usize::from(*byte)];
        if lower == 0 {
            break;
        }
        *byte = lower;
        len += 1;
    }
    len
}

/// The length of the token at the front.
#[inline]
pub(super) fn token_len(text: &[u8]) -> usize {
    text.iter().take_while(|byte| LOWER[usize::from(**byte)] != 0).count()
}

/// Whether the text is one token, and not empty.
#[inline]
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && token_len(text) == text.len()
}

/// Whether a field's value may hold the byte: what is visible, spaces, tabs, and what is beyond ASCII (RFC 9110 section
/// 5.5, `field-content` and `obs-text`).
#[inline]
const fn is_value_byte(byte: u8) -> bool {
    (byte >= b' ' || byte == b'\t') && byte != 0x7f
}

/// Whether the text may be a field's value. Without a branch, so that many bytes are compared at once.
#[inline]
pub(super) fn is_value(text: &[u8]) -> bool {
    text.iter().fold(true, |good, byte| good & is_value_byte(*byte))
}

/// The text without the spaces and tabs around it (`OWS`).
#[inline]
pub(super) fn trim(text: &[u8]) -> &[u8] {
    trim_end(trim_start(text))
}

#[inline]
pub(super) fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    text
}

#[inline]
pub(super) fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The elements of a list, its empty ones left out (RFC 9110 section 5.6.1). Commas in quotes divide as well: none of
/// the lists that are read in this way has quotes.
pub(super) fn list(text: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    text.split(|byte| *byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// A number of decimal digits and nothing else, if it fits.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_before_what_may_not_be_in_it() {
        let mut text = *b"X-Name_1: Value";
        assert_eq!(lower_token(&mut text), 8);
        assert_eq!(&text, b"x-name_1: Value");
        for byte in b"()<>@,;:\\\"/[]?={} \t\r\n\0\x7f\x80\xff" {
            assert!(!is_token(&[*byte]), "{byte:#x}");
        }
    }

    #[test]
    fn a_value_has_no_control_bytes_but_tabs() {
        for byte in 0..=255_u8 {
            assert_eq!(is_value(&[b'a', byte]), byte == b'\t' || byte > 0x1f && byte != 0x7f, "{byte:#x}");
        }
    }

    #[test]
    fn lists_have_spaces_and_holes() {
        assert!(list(b" a,, b\t,c ,").eq([&b"a"[..], b"b", b"c"]));
        assert_eq!(list(b" , ,").count(), 0);
    }

    #[test]
    fn a_number_is_digits_that_fit() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for text in ["", "18446744073709551616", "+1", "-1", "1 ", "0x1", "1e3", "\u{b2}"] {
            assert_eq!(decimal(text.as_bytes()), None, "{text}");
        }
    }
}
