//! What may be said about a statement without asking the server: does it only read, does it end a transaction.
//!
//! Used off the hot path, after a failure, to decide whether a statement may be run a second time. Doubt means no.
//!
//! Kind: pure.
