//! A crowd of visitors: each comes when it likes, whatever became of those before it, and leaves when its patience is at
//! an end. What each was told is remembered. Kind: driver.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{Context, Error, Result, open_loop::Schedule, wait::eventually};

/// Longer than any crowd needs to be as large as somebody waits for.
const LONG: Duration = Duration::from_secs(60);

/// What visitors do.
#[derive(Clone)]
pub struct Errand {
    /// Its name.
    pub name: &'static str,
    /// How many of all visitors have it, in relation to the others' shares.
    pub share: f64,
    /// The request of the visitor with this number: head and body.
    pub request: Arc<dyn Fn(u64) -> Request + Send + Sync>,
    /// How it is done.
    pub manner: Manner,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Everything up to the empty line and with it.
    pub head: String,
    /// What follows.
    pub body: String,
}

impl Request {
    /// A request without a body; `fields` are whole lines. The connection ends with its answer.
    pub fn get(addr: SocketAddr, path: &str, fields: &str) -> Self {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n{fields}\r\n");
        Self { head, body: String::new() }
    }

    /// A request with a body of this type.
    pub fn post(addr: SocketAddr, path: &str, fields: &str, kind: &str, body: String) -> Self {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Type: {kind}\r\n\
             Content-Length: {length}\r\n{fields}\r\n"
        );
        Self { head, body }
    }
}

/// How visitors talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As fast as they can.
    Usual,
    /// The body comes in this many pieces, one in a while.
    SlowUpload {
        /// The number of pieces.
        pieces: usize,
        /// Between two of them.
        pause: Duration,
    },
    /// The answer is read in pieces of this many bytes, one in a while.
    SlowRead {
        /// The most that is read at once.
        piece: usize,
        /// Between two of them.
        pause: Duration,
    },
}

/// A visitor's story.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    /// Which errand, by its place in the list.
    pub errand: usize,
    /// Its number.
    pub id: u64,
    /// When it came, since the crowd began.
    pub came: Duration,
    /// How long it took, from the moment at which it was due.
    pub took: Duration,
    /// How it ended.
    pub end: End,
}

/// How a visit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a whole answer.
    Answered {
        /// Its status.
        status: u16,
        /// Whether it says when to come again.
        retry_after: bool,
    },
    /// Without one: the connection was refused, reset, or closed too early.
    Cut,
    /// The visitor had waited long enough.
    GaveUp,
}

impl Visit {
    /// When it ended, since the crowd began.
    pub fn gone(&self) -> Duration {
        self.came + self.took
    }

    /// Was it given what it came for?
    pub fn served(&self) -> bool {
        matches!(self.end, End::Answered { status: 200..=399, .. })
    }
}

/// What kind of crowd.
#[derive(Clone)]
pub struct Plan {
    /// Whom they visit.
    pub addr: SocketAddr,
    /// How many come in a second, at random moments.
    pub per_second: f64,
    /// How long those wait who talk as fast as they can; the slow ones have four times as much.
    pub patience: Duration,
    /// What they want.
    pub errands: Vec<Errand>,
}

/// A crowd that comes and goes until it is told to stop.
pub struct Crowd {
    counts: Arc<Counts>,
    begun: Instant,
    thread: Option<JoinHandle<Vec<Visit>>>,
}

/// What a crowd and the one who watches it share.
#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    came: AtomicU64,
    served: AtomicU64,
}

impl Crowd {
    /// Lets them come.
    pub fn start(plan: Plan) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (counts, begun) = (Arc::new(Counts::default()), Instant::now());
        let of_thread = counts.clone();
        let thread = std::thread::Builder::new()
            .name("crowd".into())
            .spawn(move || runtime.block_on(come(plan, begun, of_thread)))
            .context("can't start the crowd's thread")?;
        Ok(Self { counts, begun, thread: Some(thread) })
    }

    /// The time since it began.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// How many were served so far.
    pub fn served(&self) -> u64 {
        self.counts.served.load(Relaxed)
    }

    /// Waits until so many have come.
    pub fn has_come(&self, count: u64) -> Result<()> {
        eventually(LONG, &format!("{count} visitors"), || match self.counts.came.load(Relaxed) {
            came if came >= count => Ok(()),
            came => Err(came.to_string()),
        })
    }

    /// Nobody comes any more; those who are there end their visits.
    pub fn finish(mut self) -> Result<Vec<Visit>> {
        self.counts.stop.store(true, Relaxed);
        let thread =
            self.thread.take().expect("only finish and drop take the thread, and both end the crowd");
        thread.join().map_err(|_| Error::new("the crowd panicked"))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.counts.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn come(plan: Plan, begun: Instant, counts: Arc<Counts>) -> Vec<Visit> {
    let plan = Arc::new(plan);
    let (mut schedule, mut visits) = (Schedule::new(plan.per_second), JoinSet::new());
    let mut stories = Vec::new();
    for id in 0.. {
        sleep(schedule.due().saturating_sub(begun.elapsed())).await;
        if counts.stop.load(Relaxed) {
            break;
        }
        let (plan, errand, due) = (plan.clone(), plan.pick(fastrand::f64()), schedule.due());
        visits.spawn(async move {
            let end = plan.visit(errand, id).await;
            Visit { errand, id, came: due, took: begun.elapsed().saturating_sub(due), end }
        });
        counts.came.fetch_add(1, Relaxed);
        schedule.advance(fastrand::f64());
        while let Some(Ok(visit)) = visits.try_join_next() {
            counts.served.fetch_add(u64::from(visit.served()), Relaxed);
            stories.push(visit);
        }
    }
    stories.extend(visits.join_all().await);
    stories
}

impl Plan {
    /// The errand at this point of all shares; `random` is uniform in 0..1.
    fn pick(&self, random: f64) -> usize {
        let total: f64 = self.errands.iter().map(|errand| errand.share).sum();
        let mut left = random * total;
        let found = self.errands.iter().position(|errand| {
            left -= errand.share;
            left < 0.0
        });
        found.unwrap_or(self.errands.len() - 1)
    }

    async fn visit(&self, errand: usize, id: u64) -> End {
        let errand = &self.errands[errand];
        let request = (errand.request)(id);
        let patience = if errand.manner == Manner::Usual { self.patience } else { self.patience * 4 };
        match timeout(patience, talk(self.addr, &request, errand.manner)).await {
            Ok(Ok(end)) => end,
            Ok(Err(_)) => End::Cut,
            Err(_) => End::GaveUp,
        }
    }
}

async fn talk(addr: SocketAddr, request: &Request, manner: Manner) -> std::io::Result<End> {
    let socket = TcpSocket::new_v4()?;
    if let Manner::SlowRead { piece, .. } = manner {
        socket.set_recv_buffer_size(u32::try_from(piece).unwrap_or(u32::MAX))?;
    }
    let mut stream = socket.connect(addr).await?;
    stream.set_nodelay(true)?;
    match manner {
        Manner::SlowUpload { pieces, pause } => upload(&mut stream, request, pieces, pause).await?,
        _ => stream.write_all(format!("{}{}", request.head, request.body).as_bytes()).await?,
    }
    let (piece, pause) = match manner {
        Manner::SlowRead { piece, pause } => (piece, pause),
        _ => (64 * 1024, Duration::ZERO),
    };
    let answer = read(&mut stream, piece, pause).await?;
    Ok(whole(&answer).unwrap_or(End::Cut))
}

/// An answer may come before the end, and is then the answer.
async fn upload(
    stream: &mut TcpStream,
    request: &Request,
    pieces: usize,
    pause: Duration,
) -> std::io::Result<()> {
    stream.write_all(request.head.as_bytes()).await?;
    for piece in request.body.as_bytes().chunks(request.body.len().div_ceil(pieces).max(1)) {
        sleep(pause).await;
        if stream.write_all(piece).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Every request asks for the end of its connection. What came before a reset may be a whole answer.
async fn read(stream: &mut TcpStream, piece: usize, pause: Duration) -> std::io::Result<Vec<u8>> {
    let (mut answer, mut buffer) = (Vec::new(), vec![0; piece]);
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => return Ok(answer),
            Ok(n) => answer.extend_from_slice(&buffer[..n]),
            Err(_) if whole(&answer).is_some() => return Ok(answer),
            Err(e) => return Err(e),
        }
        if pause > Duration::ZERO {
            sleep(pause).await;
        }
    }
}

/// How a visit with this answer ended; none if a part of it is missing.
fn whole(answer: &[u8]) -> Option<End> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = (std::str::from_utf8(&answer[..end]).ok()?, &answer[end + 4..]);
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let field = |wanted: &str| {
        head.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
    };
    let complete = match (field("content-length"), field("transfer-encoding")) {
        (Some((_, length)), _) => body.len() >= length.trim().parse::<usize>().ok()?,
        (None, Some(_)) => body.ends_with(b"0\r\n\r\n"),
        (None, None) => true,
    };
    complete.then(|| End::Answered { status, retry_after: field("retry-after").is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answer: &str, end: Option<End>) {
        assert_eq!(whole(answer.as_bytes()), end, "{answer:?}");
    }

    #[test]
    fn an_answer_that_is_cut_is_none() {
        let ok = Some(End::Answered { status: 200, retry_after: false });
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", ok);
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", None);
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", ok);
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", None);
        check("HTTP/1.1 200 OK\r\nContent-Le", None);
        let shed = Some(End::Answered { status: 503, retry_after: true });
        check("HTTP/1.1 503 Busy\r\nretry-after: 5\r\ncontent-length: 0\r\n\r\n", shed);
    }

    #[test]
    fn errands_are_picked_by_their_shares() {
        let errand = |name, share| Errand {
            name,
            share,
            request: Arc::new(|_| Request { head: String::new(), body: String::new() }),
            manner: Manner::Usual,
        };
        let plan = Plan {
            addr: ([127, 0, 0, 1], 1).into(),
            per_second: 1.0,
            patience: Duration::ZERO,
            errands: vec![errand("browse", 3.0), errand("buy", 1.0)],
        };
        assert_eq!([0.0, 0.7, 0.76, 0.999].map(|random| plan.pick(random)), [0, 0, 1, 1]);
    }

    #[test]
    fn a_closed_port_cuts_everybody() {
        let addr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let request = move |_| Request::get(addr, "/", "");
        let errand = Errand { name: "go", share: 1.0, request: Arc::new(request), manner: Manner::Usual };
        let plan = Plan { addr, per_second: 1000.0, patience: Duration::from_secs(5), errands: vec![errand] };
        let crowd = Crowd::start(plan).unwrap();
        crowd.has_come(10).unwrap();
        let visits = crowd.finish().unwrap();
        assert!(!visits.is_empty() && visits.iter().all(|visit| visit.end == End::Cut));
    }
}
