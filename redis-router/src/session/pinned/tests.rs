//! Tests. Kind: pure.
