//! Eight bytes at once, in a word: how bytes are looked through that stand between two of interest. Kind: pure.
//!
//! Each test gives a word that has the highest bit of a byte set where it holds. Some set it for bytes behind a true one
//! as well (a borrow runs upwards), so that only the lowest is meaningful; which is the one that is asked for.
//! "Bit Twiddling Hacks" (Anderson) and "Hacker's Delight" (Warren) have the sums. Portable, unlike the vectors of one
//! processor, and for texts of this length as quick.

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH: u64 = ONES << 7;
const LOW: u64 = !HIGH;

const fn all(byte: u8) -> u64 {
    ONES * byte as u64
}

/// Bytes below one that is at most 0x80.
const fn below(word: u64, byte: u8) -> u64 {
    word.wrapping_sub(all(byte)) & !word & HIGH
}

const fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ all(byte), 1)
}

/// Bytes from 0x7f on. Exact.
const fn beyond(word: u64) -> u64 {
    (((word & LOW) + ONES) | word) & HIGH
}

/// Control bytes, but tabs as well.
const fn controls(word: u64) -> u64 {
    below(word, b' ') | equal(word, 0x7f)
}

/// What ends a target: anything but visible ASCII, and what begins a fragment.
const fn ends_target(word: u64) -> u64 {
    below(word, b' ' + 1) | equal(word, b'#') | beyond(word)
}

/// Letters. Exact.
const fn letters(word: u64) -> u64 {
    // Lower case, and the highest bit free to be carried into.
    let folded = (word | all(0x20)) & LOW;
    let from_a = folded + all(0x80 - b'a');
    let past_z = folded + all(0x80 - b'z' - 1);
    from_a & !past_z & !word & HIGH
}

/// Hyphens. Exact.
const fn hyphens(word: u64) -> u64 {
    let other = word ^ all(b'-');
    !(((other & LOW) + LOW) | other) & HIGH
}

/// Where the lowest bit is, as a byte of the word; 8 for none.
const fn lowest(bits: u64) -> usize {
    (bits.trailing_zeros() / 8) as usize
}

/// The first byte of the text for which the test holds.
#[inline(always)]
fn find(text: &[u8], test: impl Fn(u64) -> u64) -> Option<usize> {
    let (blocks, rest) = text.as_chunks::<32>();
    for (index, block) in blocks.iter().enumerate() {
        // Of four words at once, which compilers put into vectors.
        let found = words(block).map(&test);
        if found[0] | found[1] | found[2] | found[3] != 0 {
            return first(found).map(|at| index * 32 + at);
        }
    }
    let (eights, ones) = rest.as_chunks();
    for (index, eight) in eights.iter().enumerate() {
        let found = test(u64::from_le_bytes(*eight));
        if found != 0 {
            return Some(text.len() - rest.len() + index * 8 + lowest(found));
        }
    }
    // One by one, among what no test is for.
    let found = |byte: &u8| test(all(b'a') & !0xff | u64::from(*byte)) != 0;
    ones.iter().position(found).map(|at| text.len() - ones.len() + at)
}

#[inline(always)]
fn words(block: &[u8; 32]) -> [u64; 4] {
    let (words, _) = block.as_chunks();
    std::array::from_fn(|index| u64::from_le_bytes(words[index]))
}

/// The byte of the lowest bit in words that follow each other.
#[inline(always)]
fn first(found: [u64; 4]) -> Option<usize> {
    let word = found.iter().position(|word| *word != 0)?;
    Some(word * 8 + lowest(found[word]))
}

/// The first byte that may not stand in a field's value: a control byte that is no tab (RFC 9110 section 5.5).
#[inline]
pub(super) fn find_control(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let found = from + find(&text[from..], controls)?;
        if text[found] != b'\t' {
            return Some(found);
        }
        from = found + 1;
    }
}

/// The first byte that may not stand in a target.
#[inline]
pub(super) fn find_target_end(text: &[u8]) -> Option<usize> {
    find(text, ends_target)
}

/// Makes letters and hyphens at the front lower case; gives how many there are, and which byte ends them: none if the
/// text's end is fewer than eight bytes away, where more may follow.
#[inline]
pub(super) fn lower_letters(text: &mut [u8]) -> (usize, Option<u8>) {
    let (words, _) = text.as_chunks_mut();
    for (index, bytes) in words.iter_mut().enumerate() {
        let word = u64::from_le_bytes(*bytes);
        let letters = letters(word);
        let others = !(letters | hyphens(word)) & HIGH;
        // The highest bit of a letter, moved to that of its case; of letters before the first other byte only.
        let before = others.wrapping_sub(1) & !others;
        *bytes = (word | (letters & before) >> 2).to_le_bytes();
        if others != 0 {
            let at = lowest(others);
            // Out of the word at hand: the text has just been written, and would have to be waited for.
            return (index * 8 + at, Some((word >> (at * 8)) as u8));
        }
    }
    (words.len() * 8, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte at every place, among others: the function finds what the test says.
    #[track_caller]
    fn check(found: impl Fn(&[u8]) -> Option<usize>, test: impl Fn(u8) -> bool) {
        for (byte, filler) in
            (0..=255_u8).flat_map(|byte| [b'a', b'Z', b'/', b'~'].map(|filler| (byte, filler)))
        {
            for (len, at) in
                [1, 7, 8, 9, 31, 32, 33, 40, 70].into_iter().flat_map(|len| (0..len).map(move |at| (len, at)))
            {
                let mut text = vec![filler; len];
                text[at] = byte;
                assert_eq!(found(&text), test(byte).then_some(at), "{byte:#x} at {at} of {len}");
                text[at..].fill(byte);
                assert_eq!(found(&text), test(byte).then_some(at), "{byte:#x} from {at} of {len}");
            }
        }
    }

    #[test]
    fn control_bytes_are_found_and_tabs_are_none() {
        check(find_control, |byte| byte != b'\t' && (byte < b' ' || byte == 0x7f));
        assert_eq!(find_control(b"\t\t\t\ta\t\t\t\tb\t\r"), Some(11));
        assert_eq!(find_control(b""), None);
    }

    #[test]
    fn a_target_ends_at_what_is_not_visible_and_at_a_fragment() {
        check(find_target_end, |byte| byte <= b' ' || byte >= 0x7f || byte == b'#');
    }

    #[test]
    fn letters_and_hyphens_are_lowered_up_to_anything_else() {
        for byte in 0..=255_u8 {
            let plain = byte.is_ascii_alphabetic() || byte == b'-';
            for at in 0..16 {
                let mut text = *b"Aa-ZzMmNAa-ZzMmN";
                text[at] = byte;
                let (len, end) = lower_letters(&mut text);
                let expected = if plain { (16, None) } else { (at, Some(byte)) };
                assert_eq!((len, end), expected, "{byte:#x} at {at}");
                let mut expected = *b"aa-zzmmnaa-zzmmn";
                expected[at] = byte.to_ascii_lowercase();
                assert_eq!(text[..len], expected[..len]);
                assert_eq!(text[(at + 1).max(len)..], b"Aa-ZzMmNAa-ZzMmN"[(at + 1).max(len)..], "left alone");
            }
        }
        assert_eq!(lower_letters(&mut b"Host".to_owned()), (0, None), "too short for a word");
    }
}
