//! What redis-router's framer calls one request, a real Redis answers once; and what Redis refuses, the framer does
//! not let pass. Anything else would hand one client's replies to another. Kind: driver.

use fastrand::Rng;
use integration::{Context, Error, Result, commands::Scratch, debian};
use redis_router::wire::build::put_request;
use redis_router::wire::{Args, Framed, Limits, ReplyFramer, ReplyKind, RequestFramer, Violation, inline};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(10);
const CONVERSATIONS: u64 = 3000;
const CANARY: &[u8] = b"the canary's song";

#[test]
fn one_request_is_answered_once() -> Result<()> {
    debian::ensure(debian::REDIS)?;
    let server = Scratch::start()?;
    let (mut refused, mut whole) = (0, 0);
    for seed in 0..CONVERSATIONS {
        let said = Said::new(conversation(&mut Rng::with_seed(seed)));
        let heard = converse(server.addr(), &said).context(format!("seed {seed}"))?;
        check(&said, &heard)
            .map_err(|e| Error::new(format!("seed {seed}: {e}\n{said:?}\n{}", text(&heard))))?;
        refused += u64::from(said.violation.is_some());
        whole += said.expected.len() as u64;
    }
    // Otherwise the conversations would show nothing.
    assert!(refused > CONVERSATIONS / 10 && whole > CONVERSATIONS, "{refused} refused, {whole} requests");
    Ok(())
}

/// Bytes for the server, and what the framer makes of them.
struct Said {
    bytes: Vec<u8>,
    /// For each request that is a command: its reply, if it can be told.
    expected: Vec<Option<Vec<u8>>>,
    violation: Option<Violation>,
    /// The bytes end with a request, so that a canary may follow.
    complete: bool,
}

impl Said {
    fn new(bytes: Vec<u8>) -> Self {
        let mut said = Self { bytes, expected: Vec::new(), violation: None, complete: true };
        if let Err(violation) = said.read() {
            (said.violation, said.complete) = (Some(violation), false);
        }
        said
    }

    fn read(&mut self) -> std::result::Result<(), Violation> {
        let (mut framer, mut rest) = (RequestFramer::default(), &self.bytes[..]);
        while !rest.is_empty() {
            let Framed::Whole(span) = framer.next(rest, &Limits::default())? else {
                self.complete = false;
                return Ok(());
            };
            let (request, after) = rest.split_at(span.len);
            rest = after;
            let args = if span.inline {
                inline::split(request)?
            } else {
                Args::new(request).map(<[u8]>::to_vec).collect()
            };
            if !args.is_empty() {
                self.expected.push(reply(&args));
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bytes, expected, violation, .. } = self;
        write!(f, "\"{}\": {} requests, then {violation:?}", bytes.escape_ascii(), expected.len())
    }
}

/// What the server must answer, if it can be told.
fn reply(args: &[Vec<u8>]) -> Option<Vec<u8>> {
    match args {
        [name, text] if name.eq_ignore_ascii_case(b"echo") => Some(bulk(text)),
        [name] if name.eq_ignore_ascii_case(b"ping") => Some(b"+PONG\r\n".to_vec()),
        _ => None,
    }
}

fn bulk(text: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat()
}

/// A few requests, each of which may be damaged.
fn conversation(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..rng.usize(1..6) {
        let at = bytes.len();
        match rng.u8(0..10) {
            0 => bytes.extend_from_slice(rng.choice(ODD).expect("there are some")),
            1..3 => bytes.extend(line(rng)),
            _ => array(rng, &mut bytes),
        }
        if rng.u8(0..8) == 0 {
            let at = rng.usize(at..bytes.len());
            damage(rng, &mut bytes, at);
        }
    }
    bytes
}

/// What somebody once got wrong.
const ODD: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"*-7\r\n",
    b"*1\r\n$4\r\nPING",
    b"*01\r\n$4\r\nPING\r\n",
    b"*+1\r\n$4\r\nPING\r\n",
    b"*1\r\n$04\r\nPING\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$3\r\nPING\r\n",
    b"*1\r\n$5\r\nPING\r\n",
    b"*1\r\n*1\r\n$4\r\nPING\r\n",
    b"*1\n$4\nPING\n",
    b"*99999999999\r\n",
    b"*3\r\n$4\r\nPING\r\n",
    b"*1\r\nPING\r\n",
    b"PING\0PING\r\n",
    b"ECHO \"a\\x4\"\r\n",
    b"ECHO \"a\"b\r\n",
    b"ECHO 'it\\'s'\r\n",
    b"ECHO a\x0bb\r\n",
    b"$4\r\nPING\r\n",
    b":1\r\n",
];

fn array(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let text = argument(rng);
    let args: &[&[u8]] = match rng.u8(0..5) {
        0 => &[b"PING"],
        1 => &[b"GET", &text],
        2 => &[&text],
        _ => &[b"ECHO", &text],
    };
    put_request(bytes, args);
}

/// An argument with all that could confuse a parser.
fn argument(rng: &mut Rng) -> Vec<u8> {
    match rng.u8(0..4) {
        0 => b"*1\r\n$4\r\nPING\r\n".to_vec(),
        1 => (0..rng.usize(0..40)).map(|_| rng.u8(..)).collect(),
        // All of a conversation fits into one read of the server, which would reset the connection, and so take replies
        // away, if it closed with bytes unread.
        2 => vec![b'x'; rng.usize(0..2000)],
        _ => (0..rng.usize(0..12)).map(|_| rng.alphanumeric() as u8).collect(),
    }
}

fn line(rng: &mut Rng) -> Vec<u8> {
    let pieces: &[&[u8]] = &[
        b"PING", b"ECHO", b" ", b" ", b"a", b"'", b"\"", b"\\", b"\\x41", b"\t", b"\x0b", b"\0", b"\r",
        b"GET",
    ];
    let words = (0..rng.usize(0..6)).flat_map(|_| rng.choice(pieces).copied().unwrap_or_default()).copied();
    let mut line: Vec<u8> = b"ECHO ".iter().copied().chain(words.collect::<Vec<_>>()).collect();
    line.extend_from_slice(if rng.bool() { b"\r\n" } else { b"\n" });
    line
}

/// Changes, drops or doubles one byte.
fn damage(rng: &mut Rng, bytes: &mut Vec<u8>, at: usize) {
    match rng.u8(0..3) {
        0 => bytes[at] = *rng.choice(b"\r\n$*0123456789x-+ \0").expect("there are some"),
        1 => drop(bytes.remove(at)),
        _ => bytes.insert(at, bytes[at]),
    }
}

/// The replies, whole each, until the server closed or the canary sang.
type Heard = Vec<(ReplyKind, Vec<u8>)>;

fn text(heard: &Heard) -> String {
    heard.iter().map(|(kind, reply)| format!("{kind:?} \"{}\"\n", reply.escape_ascii())).collect()
}

/// Says it all, ends with a canary where one may stand, and hears until the end.
fn converse(addr: SocketAddr, said: &Said) -> Result<Heard> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = said.bytes.clone();
    if said.complete {
        put_request(&mut bytes, &[b"ECHO", CANARY]);
    }
    // A server that refuses the beginning closes before it has read the rest.
    let _ = stream.write_all(&bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut heard = Vec::new();
    if let Err(e) = stream.read_to_end(&mut heard)
        && e.kind() != std::io::ErrorKind::ConnectionReset
    {
        return Err(e.into());
    }
    replies(&heard)
}

fn replies(mut rest: &[u8]) -> Result<Heard> {
    let (mut framer, mut heard) = (ReplyFramer::default(), Vec::new());
    while !rest.is_empty() {
        let advance = framer.advance(rest).map_err(|e| Error::new(e.to_string()))?;
        let (reply, after) = rest.split_at(advance.used);
        rest = after;
        heard.push((advance.end.ok_or_else(|| Error::new("a reply was cut"))?, reply.to_vec()));
    }
    Ok(heard)
}

fn check(said: &Said, heard: &Heard) -> std::result::Result<(), String> {
    let requests = said.expected.len();
    for (at, expected) in said.expected.iter().enumerate() {
        let (_, reply) = heard.get(at).ok_or_else(|| format!("request {at} got no reply"))?;
        if expected.as_ref().is_some_and(|expected| expected != reply) {
            return Err(format!("request {at} got \"{}\"", reply.escape_ascii()));
        }
    }
    let rest = &heard[requests..];
    match said.violation {
        None if said.complete => match rest {
            [(ReplyKind::Other, canary)] if *canary == bulk(CANARY) => Ok(()),
            _ => Err("the canary was not heard, or not alone".into()),
        },
        None if rest.is_empty() => Ok(()),
        None => Err("a request that is not whole was answered".into()),
        // Where we are stricter, or quicker, Redis may have waited for more or gone on.
        Some(violation) => same_text(violation, rest),
    }
}

/// Where Redis refuses too, it says the same, but for bytes that no terminal shows.
fn same_text(violation: Violation, rest: &[(ReplyKind, Vec<u8>)]) -> std::result::Result<(), String> {
    let text = format!("-ERR {violation}\r\n");
    match rest {
        [] => Ok(()),
        _ if is_stricter(violation) || text.contains('?') => Ok(()),
        [(ReplyKind::Error, reply)] if *reply == text.as_bytes() => Ok(()),
        _ => Err(format!("we say {text:?}")),
    }
}

/// Whether Redis takes it, or takes it for something else.
fn is_stricter(violation: Violation) -> bool {
    matches!(violation, Violation::NoCrlf | Violation::Http | Violation::Tls | Violation::Zero)
}
