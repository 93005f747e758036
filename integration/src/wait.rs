//! Waiting for what servers do in their own time: polls on a short interval, never sleeps for a guess, and names what
//! it waited for when it gives up. Kind: driver.

use crate::{Error, Result};
use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Short beside anything that a server does, long beside the price of a look.
const INTERVAL: Duration = Duration::from_millis(20);

/// Calls `probe` until it gives a value; after `timeout` the error names `what` and the last state seen.
pub fn eventually<T>(
    timeout: Duration,
    what: &str,
    mut probe: impl FnMut() -> std::result::Result<T, String>,
) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(seen) if Instant::now() >= deadline => return Err(gave_up(timeout, what, &seen)),
            Err(_) => thread::sleep(INTERVAL),
        }
    }
}

/// The same for async probes.
pub async fn eventually_async<T, F: Future<Output = std::result::Result<T, String>>>(
    timeout: Duration,
    what: &str,
    mut probe: impl FnMut() -> F,
) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        match probe().await {
            Ok(value) => return Ok(value),
            Err(seen) if Instant::now() >= deadline => return Err(gave_up(timeout, what, &seen)),
            Err(_) => tokio::time::sleep(INTERVAL).await,
        }
    }
}

/// The last lines of a log, for the error of who waited in vain.
pub fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

fn gave_up(timeout: Duration, what: &str, seen: &str) -> Error {
    Error::new(format!("waited {:.1} s for {what}; last seen: {seen}", timeout.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_value_is_waited_for() {
        let mut looks = 0;
        let value = eventually(Duration::from_secs(5), "three looks", || {
            looks += 1;
            if looks < 3 { Err("too early".into()) } else { Ok(looks) }
        });
        assert_eq!(value.unwrap(), 3);
    }

    #[test]
    fn giving_up_names_the_wish_and_the_last_state() {
        let gone: Result<()> = eventually(Duration::ZERO, "a primary", || Err("three standbys".into()));
        assert_eq!(gone.unwrap_err().to_string(), "waited 0.0 s for a primary; last seen: three standbys");
    }
}
