//! One downstream connection, and each request on it from head to last byte. Kind: driver.

pub mod http2;
