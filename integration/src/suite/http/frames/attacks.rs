//! What HTTP/2 lets a client do that costs it little and its server much: the named floods. Each is played for a bounded
//! time on one connection, while others are served. Kind: driver.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::super::raw::Raw;
use super::super::report::Part;
use super::super::stage::Stage;
use super::frame::{
    FRAME_SIZE, Frame, MAX_WINDOW, block, code, continuation, data, flag, headers, kind, ping, priority,
    reset, setting, settings, window_update,
};
use super::peer::{Flood, GET, Peer, get, get_of, post};
use super::verdict::Wrong;
use crate::error::{Error, Result};
use crate::progress::say;

/// What one connection may make us keep, in KiB: its windows, its streams' heads, h2's own buffers.
const ROOM_KIB: f64 = 24.0 * 1024.0;

/// No other client may wait so long for a small page, on a busy machine.
const WAIT: Duration = Duration::from_millis(1000);

/// Frames that are sent in one write.
const BATCH: u32 = 256;

/// The `n`-th frames of an attack; stream numbers are to be made of `n`.
type Frames = fn(u32) -> Vec<Frame>;

/// Its name, its settings, what comes before, what comes again and again, how often at most.
struct Attack {
    name: &'static str,
    settings: &'static [(u16, u32)],
    first: fn() -> Vec<Frame>,
    again: Frames,
    times: u32,
    /// It is to be cut before it has come to its end.
    cut: bool,
}

const ATTACKS: &[Attack] = &[
    // CVE-2023-44487.
    attack("rapid_reset", nothing, |n| vec![get(n * 2 + 1), reset(n * 2 + 1, code::CANCEL)], 50_000, true),
    // CVE-2024-27316 and its kin.
    attack(
        "continuation_flood",
        || vec![headers(1, flag::END_STREAM, block(&GET))],
        |_| vec![continuation(1, flag::NONE, field(1000))],
        20_000,
        true,
    ),
    attack(
        "empty_continuations",
        || vec![headers(1, flag::END_STREAM, block(&GET))],
        |_| vec![continuation(1, flag::NONE, [])],
        200_000,
        true,
    ),
    // CVE-2025-8671: the server is made to reset.
    attack(
        "made_you_reset_window_zero",
        nothing,
        |n| vec![get(n * 2 + 1), window_update(n * 2 + 1, 0)],
        50_000,
        true,
    ),
    attack(
        "made_you_reset_window_overflow",
        nothing,
        |n| vec![get(n * 2 + 1), window_update(n * 2 + 1, MAX_WINDOW)],
        50_000,
        true,
    ),
    attack(
        "made_you_reset_half_closed",
        nothing,
        |n| vec![get(n * 2 + 1), data(n * 2 + 1, flag::NONE, "x")],
        50_000,
        true,
    ),
    attack(
        "made_you_reset_priority",
        nothing,
        |n| vec![post(n * 2 + 1), Frame::new(kind::PRIORITY, 0, n * 2 + 1, [0; 4])],
        50_000,
        true,
    ),
    // CVE-2019-9512, 9515: frames that must be answered.
    attack("ping_flood", nothing, |n| vec![ping(flag::NONE, &u64::from(n).to_be_bytes())], 1_000_000, false),
    attack("settings_flood", nothing, |_| vec![settings(&[(setting::UNKNOWN, 1)])], 500_000, false),
    // CVE-2019-9518, 9513 and more: frames that say nothing.
    attack("empty_data", || vec![post(1)], |_| vec![data(1, flag::NONE, [])], 500_000, false),
    attack("priority_flood", nothing, |n| vec![priority(n % 1000 * 2 + 1, 0)], 500_000, false),
    attack(
        "window_updates_of_one",
        || vec![get_of(1, "/bytes/200000")],
        |_| vec![window_update(0, 1)],
        500_000,
        false,
    ),
    attack("unknown_frames", nothing, |_| vec![Frame::new(kind::UNKNOWN, 0, 0, [0; 16])], 500_000, false),
    // CVE-2019-9516, and a bomb of fields that are remembered once and named a thousand times.
    attack(
        "empty_field_names",
        nothing,
        |n| vec![headers(n * 2 + 1, flag::WHOLE, [0, 0, 0].repeat(4000))],
        5_000,
        true,
    ),
    attack(
        "field_bomb",
        || vec![headers(1, flag::WHOLE, remembered())],
        |n| vec![headers(n * 2 + 3, flag::WHOLE, [&block(&GET)[..], &[0x80 | 62; 15_000]].concat())],
        2_000,
        true,
    ),
    // CVE-2019-9517: everything is asked for, nothing taken.
    Attack {
        settings: &[(setting::INITIAL_WINDOW_SIZE, 0)],
        ..attack("answers_nobody_takes", nothing, |n| vec![get_of(n * 2 + 1, "/bytes/60000")], 90, false)
    },
];

const fn attack(
    name: &'static str,
    first: fn() -> Vec<Frame>,
    again: Frames,
    times: u32,
    cut: bool,
) -> Attack {
    Attack { name, settings: &[], first, again, times, cut }
}

fn nothing() -> Vec<Frame> {
    Vec::new()
}

/// A field of so many bytes.
fn field(size: usize) -> Vec<u8> {
    block(&[("x-flood", &"x".repeat(size.min(FRAME_SIZE)))])
}

/// A request with a field of 4000 bytes that the server is to remember.
fn remembered() -> Vec<u8> {
    let mut block = block(&GET);
    let mut field = field(3900);
    field[0] = 0x40;
    block.append(&mut field);
    block
}

/// Plays all of them.
pub(super) fn all(stage: &Stage, part: &mut Part) -> Result<()> {
    let addr = stage.router.addr();
    for attack in ATTACKS {
        stage.application.seen()?;
        stage.forget_peak()?;
        let before = stage.memory("VmRSS")?;
        let (told, waits) = beside(addr, || attack.play(addr))?;
        let grown = stage.memory("VmHWM")? - before;
        let seen = stage.application.seen()?.iter().filter(|seen| seen.target != BYSTANDER).count();
        let waited = waits.max() as f64 / 1000.0;
        let name = attack.name;
        say(format_args!("frames: {name}: {told:?}, {grown:.0} KiB, others at most {waited:.1} ms"));
        part.set(&format!("{name}_kib"), grown);
        part.set(&format!("{name}_others_ms"), waited);
        let verdict = match told {
            Err(wrong) => Err(wrong.why),
            Ok(told) if attack.cut && told.endings.contains(&Ended::Played) => {
                Err("it was let play to its end".into())
            }
            Ok(_) if grown > ROOM_KIB => Err(format!("{grown:.0} KiB more")),
            Ok(_) if waits.max() > WAIT.as_micros() as u64 => Err(format!("others waited {waited:.0} ms")),
            Ok(Told { connections, sent, endings }) => {
                part.note(format!(
                    "{name}: {sent} rounds on {connections} connections, which ended {endings:?}; {seen} requests reached the application"
                ));
                Ok(())
            }
        };
        part.judge(attack.name, verdict);
    }
    Ok(())
}

/// How an attack ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ended {
    /// By a GOAWAY with this code.
    Told(u32),
    /// Without a word.
    Cut,
    /// The server reads no more of it.
    Blocked,
    /// All of it was taken.
    Played,
}

/// How long an attack goes on, by one connection after the other.
const SPAN: Duration = Duration::from_secs(2);

/// What an attack came to.
#[derive(Debug, Default)]
struct Told {
    connections: u32,
    sent: u64,
    /// How its connections ended, each way once.
    endings: BTreeSet<Ended>,
}

impl Attack {
    fn play(&self, addr: SocketAddr) -> std::result::Result<Told, Wrong> {
        let (start, mut told) = (Instant::now(), Told::default());
        while told.connections == 0 || start.elapsed() < SPAN {
            let (ended, sent) = self.connection(addr)?;
            told.connections += 1;
            told.sent += u64::from(sent);
            told.endings.insert(ended);
        }
        Ok(told)
    }

    /// How it ended, and after how many rounds.
    fn connection(&self, addr: SocketAddr) -> std::result::Result<(Ended, u32), Wrong> {
        let mut peer = Peer::open_with(addr, self.settings)?;
        peer.send(&(self.first)())?;
        let mut sent = 0;
        while sent < self.times {
            let until = self.times.min(sent + BATCH);
            let frames: Vec<Frame> = (sent..until).flat_map(self.again).collect();
            sent = until;
            match peer.flood(&frames) {
                Flood::Taken => {}
                Flood::Over => return Ok((peer.last_word().map_or(Ended::Cut, Ended::Told), sent)),
                Flood::Blocked => return Ok((Ended::Blocked, sent)),
            }
        }
        // What was taken by the kernel may not have been read yet.
        Ok(match peer.last_word() {
            Some(code) => (Ended::Told(code), sent),
            None if peer.is_over() => (Ended::Cut, sent),
            None => (Ended::Played, sent),
        })
    }
}

const BYSTANDER: &str = "/bystander";

/// Does something while another client asks for a page again and again; with how long that had to wait.
fn beside<T>(addr: SocketAddr, what: impl FnOnce() -> T) -> Result<(T, Histogram<u64>)> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let bystander = scope.spawn(|| -> Result<Histogram<u64>> {
            let mut waits = Histogram::new(3).map_err(|e| Error::new(e.to_string()))?;
            let mut raw = Raw::connect(addr)?;
            while !over.load(Ordering::Relaxed) || waits.is_empty() {
                let start = Instant::now();
                let answer = raw.get(BYSTANDER)?;
                if answer.status != 200 {
                    return Err(Error::new(format!("another client was answered with {}", answer.status)));
                }
                waits.saturating_record(start.elapsed().as_micros().try_into().unwrap_or(u64::MAX));
                std::thread::sleep(Duration::from_millis(2));
            }
            Ok(waits)
        });
        let told = what();
        over.store(true, Ordering::Relaxed);
        let waits = bystander.join().unwrap_or_else(|_| Err(Error::new("the bystander panicked")));
        Ok((told, waits?))
    })
}
