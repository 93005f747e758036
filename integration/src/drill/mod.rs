//! Drills. Kind: driver.
