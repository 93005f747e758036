//! Kind: wiring.
