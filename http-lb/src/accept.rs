//! A client comes in: PROXY header, encryption, and then its session. Kind: driver.
