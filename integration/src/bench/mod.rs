//! Benches. Kind: driver.
