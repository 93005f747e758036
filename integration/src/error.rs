//! What went wrong, in words for the person at the terminal. Kind: pure.

use std::fmt;

/// Shorthand for the results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A sentence, and the exit code that it means. Nobody branches on the errors of a test bed, so they have no kinds.
pub struct Error {
    text: String,
    code: u8,
}

impl Error {
    /// An error that says `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 1 }
    }

    /// An error that the user can put right before trying again (exit code 2).
    pub fn usage(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 2 }
    }

    /// The same error, told from one step further out.
    pub fn context(self, what: impl fmt::Display) -> Self {
        Self { text: format!("{what}: {}", self.text), ..self }
    }

    /// What the process should exit with.
    pub fn code(&self) -> u8 {
        self.code
    }
}

/// Adds what was being tried to any error that becomes ours.
pub trait Context<T> {
    /// Puts `what` before the error's own text.
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|e| e.into().context(what))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

// A failed test prints its error by Debug; the sentence is what it should show.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        Self::new(e.to_string())
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(e: tokio_postgres::Error) -> Self {
        match e.as_db_error() {
            Some(db) => Self::new(format!("{} {} ({})", db.severity(), db.message(), db.code().code())),
            None => Self::new(e.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_is_told_from_the_outside_in() {
        let e = Error::new("no route").context("node 1").context("start");
        assert_eq!(e.to_string(), "start: node 1: no route");
    }

    #[test]
    fn context_keeps_the_exit_code() {
        assert_eq!(Error::usage("run apt").context("install").code(), 2);
    }
}
