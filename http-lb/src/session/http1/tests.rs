//! Conversations with the codec. Kind: driver.
