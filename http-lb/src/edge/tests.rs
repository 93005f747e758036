//! Decisions about whole requests. Kind: pure.
