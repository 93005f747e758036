//! How keys are shown. Kind: pure.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// The longest key that is shown whole.
const LONGEST: usize = 64;

/// How keys are shown, which may hold what not everybody should read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStyle {
    /// As they are, up to 64 bytes; what can't be printed is escaped.
    #[default]
    Plain,
    /// By a number that is the same for the same key, so that keys can be told apart and found again, but not read.
    Hashed,
    /// Not at all.
    Hidden,
}

impl KeyStyle {
    /// The key as it is shown.
    pub fn show(self, key: &[u8]) -> String {
        match self {
            Self::Plain if key.len() > LONGEST => {
                format!("{}… ({} bytes)", key[..LONGEST].escape_ascii(), key.len())
            }
            Self::Plain => key.escape_ascii().to_string(),
            Self::Hashed => {
                let mut text = String::with_capacity(17);
                // A string takes whatever is written to it.
                let _ = write!(text, "#{:016x}", hash(key));
                text
            }
            Self::Hidden => String::new(),
        }
    }
}

/// FNV-1a, 64 bits: <http://www.isthe.com/chongo/tech/comp/fnv/>.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_by_their_style() {
        assert_eq!(KeyStyle::Plain.show(b"a\r\n\xff"), "a\\r\\n\\xff");
        assert_eq!(KeyStyle::Plain.show(&[b'x'; 65]), format!("{}… (65 bytes)", "x".repeat(64)));
        assert_eq!(KeyStyle::Plain.show(&[b'x'; 64]), "x".repeat(64));
        assert_eq!(KeyStyle::Hidden.show(b"secret"), "");
        // The reference's own vectors.
        assert_eq!(KeyStyle::Hashed.show(b""), "#cbf29ce484222325");
        assert_eq!(KeyStyle::Hashed.show(b"foobar"), "#85944171f73967e8");
    }
}
