//! Upstream connections that need TLS or HTTP/2, by pingora. Kind: driver.
