//! What tests of parsers have in common: the corpora of the fuzzers, and bytes that go wrong. Included by path in the tests
//! of each crate with a fuzzer. Kind: driver.

use proptest::collection::vec;
use proptest::prelude::*;

/// An entry of the fuzzer.
pub(crate) type Entry = fn(&[u8]);

/// Gives each entry what the fuzzer kept for the target of this name.
pub(crate) fn replay(targets: &[(&str, Entry)]) {
    for (target, entry) in targets {
        let folder = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
        let files = std::fs::read_dir(&folder).expect("each target has a corpus");
        let files: Vec<_> = files.map(|file| file.expect("the corpus can be read").path()).collect();
        assert!(!files.is_empty(), "{folder} is empty");
        files.iter().for_each(|file| entry(&std::fs::read(file).expect("the corpus can be read")));
    }
}

/// Bytes that begin well, and go wrong somewhere: up to three of them are others.
pub(crate) fn damaged(
    whole: impl Strategy<Value = Vec<u8>>,
    byte: impl Strategy<Value = u8>,
) -> impl Strategy<Value = Vec<u8>> {
    (whole, vec((any::<prop::sample::Index>(), byte), 0..4)).prop_map(|(mut bytes, damage)| {
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}
