//! The access log: one record per request, written off the hot path. Kind: driver.
