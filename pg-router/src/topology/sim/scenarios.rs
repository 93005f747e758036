//! The known ways in which failovers go wrong, one by one.
//!
//! Kind: pure.
