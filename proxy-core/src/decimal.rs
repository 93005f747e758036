//! Numbers as text, written where they are wanted: without an allocation, and without the machinery of formatting, which
//! costs more than the rest of a small answer. Kind: pure.

/// Writes a number in digits.
#[inline]
pub fn put_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20]; // those of u64::MAX
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_full() {
        for number in [0, 7, 10, 255, 8080, u64::MAX] {
            let mut out = b"before ".to_vec();
            put_decimal(&mut out, number);
            assert_eq!(out, format!("before {number}").into_bytes());
        }
    }
}
