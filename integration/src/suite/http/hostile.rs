//! Input that nobody sends in good faith: too long, too many, too slow, paths that say one thing and mean another, fields
//! that lie. Each has its status, memory stays bounded, and the application sees only what it should. Kind: driver.

mod limits;
mod load;
mod paths;
mod spoofed;

use std::path::Path;

use super::report::Part;
use super::stage::{Stage, Wishes};
use crate::error::Result;
use crate::progress::say;

/// Small, so that they are reached in seconds.
const LIMITS: &str = r#"
[timeouts]
header = "2s"
idle = "3s"
body = "6s"
send = "60s"
[limits]
body = "1MiB"
min_rate = "1KiB"
min_rate_grace = "1s"
[buffers]
memory = "8MiB"
disk = "256MiB"
in_memory = "64KiB"
per_request = "4MiB"
"#;

/// See the module.
pub(super) fn run(binary: &Path, quick: bool) -> Result<Part> {
    let mut part = Part::named("hostile");
    let stage = Stage::start(binary, &Wishes { workers: 2, extra: LIMITS.into() })?;
    say("hostile: paths");
    paths::all(&stage, &mut part)?;
    say("hostile: limits");
    limits::all(&stage, &mut part)?;
    spoofed::all(&stage, &mut part)?;
    say("hostile: memory");
    load::memory(&stage, &mut part)?;
    if !quick {
        say("hostile: the slow");
        load::slow(&stage, &mut part)?;
    }
    let alive = super::raw::Raw::connect(stage.router.addr()).and_then(|mut raw| raw.get("/"));
    let alive = match alive {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(format!("{:?}", other.map(|answer| answer.status))),
    };
    part.judge("an ordinary request behind all that", alive);
    Ok(part.done())
}
