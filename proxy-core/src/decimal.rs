//! Numbers as text, written where they are wanted: without an allocation, and without the machinery of formatting, which
//! costs more than the rest of a small answer. Kind: pure.

/// Writes a number in digits. Most have up to three (addresses, statuses, small lengths): those are written as what they
/// are, as a copy of unknown length costs more than the digits.
#[inline]
pub fn put_decimal(out: &mut Vec<u8>, number: u64) {
    let digit = |power: u64| b'0' + (number / power % 10) as u8;
    match number {
        0..10 => out.push(digit(1)),
        10..100 => out.extend_from_slice(&[digit(10), digit(1)]),
        100..1000 => out.extend_from_slice(&[digit(100), digit(10), digit(1)]),
        _ => put_long(out, number),
    }
}

fn put_long(out: &mut Vec<u8>, mut number: u64) {
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
        for number in [0, 7, 9, 10, 64, 99, 100, 255, 999, 1000, 8080, u64::MAX] {
            let mut out = b"before ".to_vec();
            put_decimal(&mut out, number);
            assert_eq!(out, format!("before {number}").into_bytes());
        }
    }
}
