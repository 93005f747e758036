//! Connections to the replicas: dialled, kept idle on their worker, spoken to in HTTP/1.1. Kind: driver.

pub mod pingora;
