//! How urgent a request is. Kind: pure.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many classes there are at most; each has a line of its own and a few series in the metrics.
pub const CLASSES: usize = 32;

/// How urgent a request is: 0 is the most urgent.
///
/// Who is in which class is decided by routes; here the number alone counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Class(u8);

impl Class {
    /// The most urgent one, for which slots may be reserved.
    pub const TOP: Self = Self(0);

    /// The class of this rank, if there can be one.
    pub const fn new(rank: u8) -> Option<Self> {
        if (rank as usize) < CLASSES { Some(Self(rank)) } else { None }
    }

    /// Its rank; more urgent is smaller.
    pub const fn rank(self) -> u8 {
        self.0
    }

    /// Its place in an array of [`CLASSES`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// All classes, the most urgent one first.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + Clone {
        (0..CLASSES as u8).map(Self)
    }
}

/// In the middle, so that there is room above and below.
impl Default for Class {
    fn default() -> Self {
        Self(4)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Class> for u8 {
    fn from(class: Class) -> Self {
        class.0
    }
}

impl TryFrom<u8> for Class {
    type Error = String;

    fn try_from(rank: u8) -> Result<Self, String> {
        Self::new(rank)
            .ok_or_else(|| format!("there are the classes 0 (the most urgent one) to {}", CLASSES - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_small_numbers() {
        assert_eq!(Class::all().count(), CLASSES);
        assert!(Class::all().all(|class| Class::new(class.rank()) == Some(class)));
        assert!(serde_json::from_str::<Class>("31").is_ok());
        assert!(
            serde_json::from_str::<Class>("32")
                .unwrap_err()
                .to_string()
                .contains("0 (the most urgent one) to 31")
        );
        assert!(Class::TOP < Class::default());
    }
}
