//! Progress lines with times, on standard error, so that standard output stays for results. Kind: driver.

use std::{fmt, sync::OnceLock, time::Instant};

/// Prints `text` behind the seconds since the first line.
pub fn say(text: impl fmt::Display) {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    eprintln!("[{:6.1} s] {text}", elapsed.as_secs_f64());
}
