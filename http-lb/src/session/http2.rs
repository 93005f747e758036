//! HTTP/2 downstream, by pingora. Kind: driver.
