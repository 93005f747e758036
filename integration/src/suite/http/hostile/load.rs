//! Many at a time, and the slow: what http-lb keeps for them is bounded, and they are cut in time. Kind: driver.

use std::time::{Duration, Instant};

use crate::error::Result;

use super::super::raw::{PATIENCE, Raw};
use super::super::report::Part;
use super::super::stage::Stage;

/// Connections at a time.
const MANY: usize = 256;

/// More memory than this, beside what `buffers.memory` allows (8 MiB here), is more than MANY connections are worth: a head
/// of 32 KiB each and what the allocator keeps.
const ROOM_KIB: f64 = 8.0 * 1024.0 + 24.0 * 1024.0;

/// Heads without an end, bodies that wait for their last byte, answers that nobody reads.
pub(super) fn memory(stage: &Stage, part: &mut Part) -> Result<()> {
    // What everybody needs once is not what these cost.
    Raw::connect(stage.router.addr())?.get("/bytes/1000000")?;
    part.set("rss_kib", stage.memory("VmRSS")?);
    within(stage, part, "heads_without_end", || {
        let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Test: {}", "x".repeat(30_000));
        let open = || Raw::connect(stage.router.addr()).map(|mut raw| (raw.send(head.as_bytes()), raw).1);
        (0..MANY).map(|_| open()).collect::<Result<Vec<_>>>().map(drop)
    })?;
    within(stage, part, "bodies_without_end", || bodies(stage))?;
    within(stage, part, "answers_unread", || {
        let open = |_| {
            let mut raw = Raw::connect(stage.router.addr())?;
            raw.send(b"GET /bytes/1000000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
            Ok(raw)
        };
        let mut all = (0..MANY).map(open).collect::<Result<Vec<_>>>()?;
        // The first of them has what it asked for, so that all were begun.
        all.first_mut().map_or(Ok(None), Raw::answer).map(drop)
    })
}

/// All but the last byte of each, then that: what was kept was kept well.
fn bodies(stage: &Stage) -> Result<()> {
    const LENGTH: usize = 500_000;
    let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LENGTH}\r\n\r\n");
    let body = vec![b'x'; LENGTH - 1];
    let mut all = Vec::new();
    for _ in 0..MANY / 4 {
        let mut raw = Raw::connect(stage.router.addr())?;
        raw.send(head.as_bytes());
        raw.send(&body);
        all.push(raw);
    }
    for mut raw in all {
        raw.send(b"x");
        let answer = raw.answer()?.map_or(0, |answer| answer.status);
        if answer != 200 {
            return Err(crate::Error::new(format!("a body was answered with {answer}")));
        }
    }
    Ok(())
}

/// How much memory it takes at its peak.
fn within(stage: &Stage, part: &mut Part, name: &str, what: impl FnOnce() -> Result<()>) -> Result<()> {
    stage.forget_peak()?;
    let before = stage.memory("VmRSS")?;
    let outcome = what();
    let grown = stage.memory("VmHWM")? - before;
    part.set(&format!("{name}_kib"), grown);
    let verdict = match outcome {
        Err(e) => Err(e.to_string()),
        Ok(()) if grown > ROOM_KIB => Err(format!("{grown:.0} KiB more")),
        Ok(()) => Ok(()),
    };
    part.judge(name, verdict);
    Ok(())
}

/// Who takes too long is told so where that is possible, and cut.
pub(super) fn slow(stage: &Stage, part: &mut Part) -> Result<()> {
    let trickle = |head: &str, piece: &str| -> Result<(u16, Duration)> {
        let mut raw = Raw::connect(stage.router.addr())?;
        raw.send(head.as_bytes());
        let start = Instant::now();
        raw.socket().set_read_timeout(Some(Duration::from_millis(200)))?;
        while start.elapsed() < 2 * PATIENCE {
            match raw.answer() {
                Ok(answer) => return Ok((answer.map_or(0, |answer| answer.status), start.elapsed())),
                Err(_) => _ = raw.send(piece.as_bytes()),
            }
        }
        Ok((u16::MAX, start.elapsed()))
    };
    let mut slow = |name: &str, head: &str, piece: &str, patience: u64| -> Result<()> {
        let (status, took) = trickle(head, piece)?;
        part.set(&format!("{name}_s"), took.as_secs_f64());
        let good = matches!(status, 0 | 408) && took < Duration::from_secs(patience);
        let wrong = format!("{status} after {:.1} s", took.as_secs_f64());
        part.judge(name, if good { Ok(()) } else { Err(wrong) });
        Ok(())
    };
    slow("slow_line", "GE", "T", 4)?;
    slow("slow_header", "GET / HTTP/1.1\r\nHost: localhost\r\n", "X-Test: 1\r\n", 4)?;
    slow("slow_body", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n", "x", 8)?;
    slow(
        "slow_chunks",
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        "1\r\nx\r\n",
        8,
    )?;
    slow("silent", "", "", 6)?;
    slow_reader(stage, part)
}

/// Longer than http-lb waits for a reader at a stretch: six times the time of grace.
const PAUSE: Duration = Duration::from_secs(9);

/// It asks for more than any buffer holds and takes nothing of it.
fn slow_reader(stage: &Stage, part: &mut Part) -> Result<()> {
    const LENGTH: usize = 60_000_000;
    let mut raw = Raw::connect(stage.router.addr())?;
    raw.send(format!("GET /bytes/{LENGTH} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
    std::thread::sleep(PAUSE);
    let outcome = raw.answer();
    let verdict = match outcome {
        Err(_) if raw.has_ended() => Ok(()),
        Err(error) => Err(format!("it was not cut: {error}")),
        Ok(answer) => Err(format!("{:?} came whole", answer.map(|answer| answer.status))),
    };
    part.judge("slow_reader", verdict);
    Ok(())
}
