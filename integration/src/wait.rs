//! Waiting for what the servers do in their own time. Kind: driver.
use crate::Result;
use std::time::Duration;

/// Calls `probe` each 20 ms until it gives a value; after `timeout` the error names `what` and the last state seen.
pub fn eventually<T>(
    _timeout: Duration,
    _what: &str,
    _probe: impl FnMut() -> std::result::Result<T, String>,
) -> Result<T> {
    unimplemented!()
}
/// The same for async probes.
pub async fn eventually_async<T, F: Future<Output = std::result::Result<T, String>>>(
    _timeout: Duration,
    _what: &str,
    _probe: impl FnMut() -> F,
) -> Result<T> {
    unimplemented!()
}
