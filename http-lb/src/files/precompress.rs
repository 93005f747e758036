//! Making compressed variants, and checking those that lie on disk. Kind: pure.

use std::io::{self, Read, Write};

use bytes::Bytes;

use super::coding::Coding;

/// Smaller files fit into one packet as they are.
pub(super) const LEAST: usize = 860;

/// A variant that is not at least so much smaller is not worth it: in percent.
const GAIN: usize = 5;

/// The levels: time doesn't matter, each file is compressed once.
const BROTLI_LEVEL: u32 = 11;
const BROTLI_WINDOW: u32 = 22;
const ZSTD_LEVEL: i32 = 19;

/// Compresses as well as it can; `None` if that isn't worth it.
pub(super) fn compress(plain: &[u8], coding: Coding) -> Option<Bytes> {
    if plain.len() < LEAST {
        return None;
    }
    let packed = match coding {
        Coding::Brotli => brotli(plain),
        Coding::Zstd => zstd::bulk::compress(plain, ZSTD_LEVEL),
        Coding::Gzip => gzip(plain),
    };
    // Writing to memory doesn't fail; if it did, the file as it is would do.
    packed.ok().filter(|packed| pays(plain.len(), packed.len())).map(Bytes::from)
}

/// Whether a variant of this size is worth it.
pub(super) fn pays(plain: usize, packed: usize) -> bool {
    packed <= plain - plain / 100 * GAIN - plain % 100 * GAIN / 100
}

/// Whether `packed` is this very file in the coding: siblings on disk may be older than what they were made of.
pub(super) fn is_of(packed: &[u8], coding: Coding, plain: &[u8]) -> bool {
    match coding {
        Coding::Brotli => same(brotli::Decompressor::new(packed, 4096), plain),
        Coding::Zstd => zstd::stream::read::Decoder::new(packed).is_ok_and(|unpacked| same(unpacked, plain)),
        Coding::Gzip => same(flate2::read::MultiGzDecoder::new(packed), plain),
    }
}

/// Compares piece by piece, so that a bomb ends at the first byte that is too much.
fn same(mut unpacked: impl Read, mut plain: &[u8]) -> bool {
    let mut piece = [0; 8192];
    loop {
        match unpacked.read(&mut piece) {
            Ok(0) => return plain.is_empty(),
            Ok(read) => match plain.strip_prefix(&piece[..read]) {
                Some(rest) => plain = rest,
                None => return false,
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

fn brotli(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut writer = brotli::CompressorWriter::new(Vec::new(), 4096, BROTLI_LEVEL, BROTLI_WINDOW);
    writer.write_all(plain)?;
    Ok(writer.into_inner())
}

fn gzip(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(plain)?;
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(length: usize) -> Vec<u8> {
        b"Every ticket is sold once. ".iter().copied().cycle().take(length).collect()
    }

    fn noise(length: usize) -> Vec<u8> {
        let step = |state: &mut u32, _| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some((*state >> 24) as u8)
        };
        (0..length).scan(7, step).collect()
    }

    #[track_caller]
    fn check(plain: &[u8], worth: bool) {
        for coding in Coding::ALL {
            let packed = compress(plain, coding);
            assert_eq!(packed.is_some(), worth, "{coding:?}");
            let same = |packed: Bytes| is_of(&packed, coding, plain) && pays(plain.len(), packed.len());
            assert!(packed.is_none_or(same), "{coding:?}: it unpacks to the same bytes");
        }
    }

    #[test]
    fn what_shrinks_is_kept_and_unpacks_to_the_same() {
        check(&text(100_000), true);
        check(&text(LEAST), true);
    }

    #[test]
    fn what_doesnt_shrink_or_is_small_is_left_as_it_is() {
        check(&noise(100_000), false);
        check(&text(LEAST - 1), false);
        check(b"", false);
    }

    #[test]
    fn five_percent_must_be_gained() {
        for (plain, packed, worth) in
            [(1000, 950, true), (1000, 951, false), (10, 10, true), (99, 95, true), (99, 96, false)]
        {
            assert_eq!(pays(plain, packed), worth, "{plain} -> {packed}");
        }
    }

    #[test]
    fn a_sibling_of_another_content_is_found_out() {
        let (plain, other) = (text(5000), text(5001));
        for coding in Coding::ALL {
            let packed = compress(&plain, coding).expect("text shrinks");
            assert!(!is_of(&packed, coding, &other), "{coding:?}: too short");
            assert!(!is_of(&packed, coding, &plain[1..]), "{coding:?}: another");
            assert!(!is_of(&packed[..packed.len() - 4], coding, &plain), "{coding:?}: cut");
            assert!(!is_of(b"", coding, &plain) && !is_of(&plain, coding, &plain), "{coding:?}: not coded");
        }
    }
}
