//! What a message says of its connection: whether it stays, what else it may become, and which fields end with it (RFC
//! 9110 section 7.6.1, RFC 9112 section 9). Kind: pure.

use super::name::Name;
use super::text::list;
use super::{Malformed, Version};

/// How many fields a Connection may name: each is looked for again with each field that is passed on.
const NOMINATIONS: u8 = 16;

/// What Connection says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    /// So many fields are named that are meant for us alone.
    pub(super) nominated: u8,
    /// Among them one that isn't ours to drop: to lose it would change what the message means.
    pub(super) nominates_known: bool,
}

impl Wishes {
    /// Reads the values of all Connection fields.
    pub(super) fn read<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Self, Malformed> {
        let mut wishes = Self::default();
        for option in values.flat_map(list) {
            match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => wishes.close = true,
                7 if option.eq_ignore_ascii_case(b"upgrade") => wishes.upgrade = true,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => wishes.keep_alive = true,
                _ => wishes.nominate(option)?,
            }
        }
        Ok(wishes)
    }

    fn nominate(&mut self, option: &[u8]) -> Result<(), Malformed> {
        let known = Name::of_any_case(option);
        self.nominated += 1;
        self.nominates_known |= known != Name::Other && !known.is_hop_by_hop();
        if self.nominated > NOMINATIONS {
            return Err(Malformed::bad("Connection names too many fields"));
        }
        Ok(())
    }

    /// Whether the connection may carry another message (RFC 9112 section 9.3).
    pub(super) fn persists(self, version: Version) -> bool {
        match version {
            Version::Http10 => self.keep_alive && !self.close,
            Version::Http11 | Version::Http2 => !self.close,
        }
    }
}
