//! Numbers as text, written where they are wanted: without an allocation, and without the machinery of formatting, which
//! costs more than the rest of a small answer. Kind: pure.

use std::net::Ipv4Addr;

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

/// Writes an address of four bytes, with dots between them.
#[inline]
pub fn put_ipv4(out: &mut Vec<u8>, address: Ipv4Addr) {
    let (mut text, mut at) = ([0; 4 * DOTTED], 0);
    for octet in address.octets() {
        let (digits, len) = OCTETS[usize::from(octet)];
        text[at..at + DOTTED].copy_from_slice(&digits);
        at += len;
    }
    out.extend_from_slice(&text[..at - 1]);
}

/// Up to three digits and a dot.
const DOTTED: usize = 4;

/// Each byte as text, with a dot behind it, and how long that is.
const OCTETS: [([u8; DOTTED], usize); 256] = {
    let mut all = [([0; DOTTED], 0); 256];
    let mut number = 0;
    while number < 256 {
        let (mut len, mut power) = (0, 100);
        while power > 0 {
            if number >= power || power == 1 {
                all[number].0[len] = b'0' + (number / power % 10) as u8;
                len += 1;
            }
            power /= 10;
        }
        all[number].0[len] = b'.';
        all[number].1 = len + 1;
        number += 1;
    }
    all
};

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
    fn every_byte_of_an_address_is_written_at_every_place() {
        for byte in 0..=255 {
            for octets in [[byte, 0, 10, 100], [255, byte, 255, byte], [1, 2, 3, byte]] {
                let (address, mut out) = (Ipv4Addr::from(octets), b"before ".to_vec());
                put_ipv4(&mut out, address);
                assert_eq!(out, format!("before {address}").into_bytes());
            }
        }
    }

    #[test]
    fn numbers_are_written_in_full() {
        for number in [0, 7, 9, 10, 64, 99, 100, 255, 999, 1000, 8080, u64::MAX] {
            let mut out = b"before ".to_vec();
            put_decimal(&mut out, number);
            assert_eq!(out, format!("before {number}").into_bytes());
        }
    }
}
