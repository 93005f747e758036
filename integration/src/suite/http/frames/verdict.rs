//! How a case ends. Kind: pure.

/// Why a case is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) why: String,
    /// It is an error and the end of the connection, as it should be, with another code: h2spec lets that pass, too.
    pub(super) only_the_code: bool,
}

pub(super) type Verdict = Result<(), Wrong>;

impl From<String> for Wrong {
    fn from(why: String) -> Self {
        Self { why, only_the_code: false }
    }
}

impl From<&str> for Wrong {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}
