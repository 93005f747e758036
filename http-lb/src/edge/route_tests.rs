//! Routes, by host and path. Kind: pure.
