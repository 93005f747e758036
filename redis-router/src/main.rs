//! Kind: wiring.
fn main() {}
