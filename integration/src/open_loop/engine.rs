//! The loop: sends what is due, takes what has come, sleeps in between. Kind: driver.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};
use rustix::thread::set_current_timer_slack;

use super::connection::{Connection, Tls};
use super::exchange::{Exchange, Progress};
use super::schedule::Schedule;
use super::{Load, Outcome, Pace};
use crate::error::{Context, Error, Result};

/// Bytes per read.
const READ: usize = 64 * 1024;

/// The shortest sleep: waking for each of 50 000 requests a second would cost more than the requests. What falls due
/// meanwhile is sent together, and its latency counts from when it was due all the same.
const NAP: Duration = Duration::from_micros(50);

/// The kernel may wake us so much too late; its default of 50 us would be as long as a nap.
const SLACK: NonZeroU64 = NonZeroU64::new(1000).expect("a thousand nanoseconds are more than none");

/// Events that one look takes.
const EVENTS: usize = 512;

/// A connected load client.
pub struct Client {
    load: Load,
    tls: Option<Tls>,
    exchange: Exchange,
    connections: Vec<Connection>,
}

impl Client {
    /// Opens all connections.
    pub fn connect(load: &Load) -> Result<Self> {
        let tls = load.tls.as_deref().map(Tls::trusting).transpose()?;
        let open = |_| Connection::open(load.addr, tls.as_ref(), &load.talk);
        let opened = (0..load.connections).map(open).collect::<Result<Vec<_>>>()?;
        let length = opened.first().map_or(0, |(_, length)| *length);
        let connections = opened.into_iter().map(|(connection, _)| connection).collect();
        let exchange = Exchange::new(&load.talk, length, load.pipeline);
        Ok(Self { load: load.clone(), tls, exchange, connections })
    }

    /// Offers the load for `warm` and then for `window`, of which it tells, on a thread of its own.
    pub fn run(&mut self, warm: Duration, window: Duration) -> Result<Outcome> {
        std::thread::scope(|scope| {
            let runner = std::thread::Builder::new().name("open-loop".into()).spawn_scoped(scope, || {
                let _ = set_current_timer_slack(Some(SLACK)); // without it the naps are longer
                Run::begin(self, warm, window)?.offer()
            })?;
            runner.join().unwrap_or_else(|_| Err(Error::new("the load client panicked")))
        })
    }
}

/// Where one connection is.
#[derive(Default)]
struct Line {
    progress: Progress,
    /// When its batch was due.
    due: Duration,
    /// Bytes of its batch that were sent.
    sent: usize,
    /// It waits for room in the kernel.
    blocked: bool,
    broken: bool,
}

/// One run. Moments are durations since its start.
struct Run<'a> {
    client: &'a mut Client,
    lines: Vec<Line>,
    idle: VecDeque<usize>,
    schedule: Option<Schedule>,
    poll: OwnedFd,
    start: Instant,
    warm: Duration,
    end: Duration,
    /// No connection was free when we looked last: what waits since then waits for the subject.
    starved: bool,
    outcome: Outcome,
    buffer: Vec<u8>,
}

impl<'a> Run<'a> {
    fn begin(client: &'a mut Client, warm: Duration, window: Duration) -> Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        for (number, connection) in client.connections.iter().enumerate() {
            watch(&poll, number, connection).context("epoll")?;
        }
        let count = client.connections.len();
        let schedule = match client.load.pace {
            Pace::Closed => None,
            Pace::Open(per_second) => Some(Schedule::new(per_second / client.load.pipeline as f64)),
        };
        Ok(Self {
            client,
            lines: (0..count).map(|_| Line::default()).collect(),
            idle: (0..count).collect(),
            schedule,
            poll,
            start: Instant::now(),
            warm,
            end: warm + window,
            starved: false,
            outcome: Outcome::new(window)?,
            buffer: vec![0; READ],
        })
    }

    fn offer(mut self) -> Result<Outcome> {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            let now = self.start.elapsed();
            if now >= self.end {
                self.count_unfinished();
                return Ok(self.outcome);
            }
            self.send_due(now);
            let timeout = self.until_next(self.start.elapsed());
            events.clear();
            let timeout = Timespec::try_from(timeout).ok();
            match epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(io::Error::from(e).into()),
            }
            let now = self.start.elapsed();
            for event in &events {
                let number = event.data.u64() as usize;
                if let Err(error) = self.look(number, event.flags, now) {
                    self.give_up(number, &error);
                }
            }
        }
    }

    fn until_next(&self, now: Duration) -> Duration {
        let left = self.end.saturating_sub(now);
        match &self.schedule {
            Some(schedule) if !self.idle.is_empty() => schedule.due().saturating_sub(now).max(NAP).min(left),
            _ => left,
        }
    }

    /// Starts a batch on each free connection, as far as batches are due.
    fn send_due(&mut self, now: Duration) {
        while let Some(&number) = self.idle.front() {
            let due = match &mut self.schedule {
                None => now,
                Some(schedule) if schedule.due() <= now => {
                    let due = schedule.due();
                    schedule.advance(fastrand::f64());
                    due
                }
                Some(_) => break,
            };
            self.idle.pop_front();
            self.start_batch(number, due, now);
        }
        self.starved = self.idle.is_empty();
    }

    fn start_batch(&mut self, number: usize, due: Duration, now: Duration) {
        let line = &mut self.lines[number];
        line.progress.begin(self.client.load.pipeline);
        (line.due, line.sent) = (due, 0);
        if due >= self.warm && !self.starved {
            record(&mut self.outcome.lag, now.saturating_sub(due), 1);
        }
        if let Err(error) = self.send(number) {
            self.give_up(number, &error);
        }
    }

    /// Sends what the kernel takes of a batch, and asks to be told when it takes the rest.
    fn send(&mut self, number: usize) -> io::Result<()> {
        let (line, connection) = (&mut self.lines[number], &mut self.client.connections[number]);
        let batch = &self.client.exchange.batch;
        while line.sent < batch.len() {
            match connection.write(&batch[line.sent..])? {
                0 => break,
                taken => line.sent += taken,
            }
        }
        let blocked = !connection.flush()? || line.sent < batch.len();
        if blocked != line.blocked {
            line.blocked = blocked;
            let out = if blocked { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
            let data = epoll::EventData::new_u64(number as u64);
            epoll::modify(&self.poll, &*connection, data, epoll::EventFlags::IN | out)?;
        }
        Ok(())
    }

    fn look(&mut self, number: usize, flags: epoll::EventFlags, now: Duration) -> io::Result<()> {
        if flags.contains(epoll::EventFlags::OUT) {
            self.send(number)?;
        }
        if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
            self.take(number, now)?;
        }
        Ok(())
    }

    fn take(&mut self, number: usize, now: Duration) -> io::Result<()> {
        let (line, connection) = (&mut self.lines[number], &mut self.client.connections[number]);
        loop {
            let Some(n) = connection.read(&mut self.buffer)? else { return Ok(()) };
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let whole = line.progress.hear(&self.client.exchange, &self.buffer[..n]);
            let whole = whole.map_err(|_| io::ErrorKind::InvalidData)?;
            if whole > 0 && line.due >= self.warm {
                self.outcome.answered += whole as u64;
                record(&mut self.outcome.latency, now.saturating_sub(line.due), whole as u64);
            }
            if whole > 0 && line.progress.owed == 0 {
                self.idle.push_back(number);
                return Ok(());
            }
            if !connection.may_hold_more(n, self.buffer.len()) {
                return Ok(());
            }
        }
    }

    /// The connection is of no use any more. One that was closed is opened anew, as any client would; one that says what
    /// was not asked for stays away.
    fn give_up(&mut self, number: usize, error: &io::Error) {
        if self.lines[number].broken {
            return;
        }
        let owed = self.lines[number].progress.owed > 0;
        self.outcome.errors += 1;
        self.outcome.closed_idle += u64::from(!owed);
        let _ = epoll::delete(&self.poll, &self.client.connections[number]); // it can only be gone already
        let opened = error.kind() != io::ErrorKind::InvalidData && self.reopen(number).is_ok();
        self.lines[number] = Line { broken: !opened, ..Line::default() };
        match (opened, owed) {
            (true, true) => self.idle.push_back(number),
            (true, false) => {} // it is among the free ones
            (false, _) => self.idle.retain(|free| *free != number),
        }
    }

    /// A connection in its place.
    fn reopen(&mut self, number: usize) -> Result<()> {
        let Client { load, tls, connections, .. } = &mut *self.client;
        connections[number] = Connection::open(load.addr, tls.as_ref(), &load.talk)?.0;
        Ok(watch(&self.poll, number, &connections[number])?)
    }

    /// What was due and has no answer yet took at least until now: left out, the slowest would not count at all.
    fn count_unfinished(&mut self) {
        let Some(mut schedule) = self.schedule.take() else { return };
        let asked = |line: &&Line| line.due >= self.warm && line.progress.owed > 0 && !line.broken;
        for line in self.lines.iter().filter(asked) {
            record(&mut self.outcome.latency, self.end.saturating_sub(line.due), line.progress.owed as u64);
        }
        while schedule.due() < self.end {
            if schedule.due() >= self.warm {
                let waited = self.end.saturating_sub(schedule.due());
                record(&mut self.outcome.latency, waited, self.client.load.pipeline as u64);
            }
            schedule.advance(fastrand::f64());
        }
    }
}

/// Hears of what comes on this connection.
fn watch(poll: &OwnedFd, number: usize, connection: &Connection) -> io::Result<()> {
    let data = epoll::EventData::new_u64(number as u64);
    Ok(epoll::add(poll, connection, data, epoll::EventFlags::IN)?)
}

fn record(histogram: &mut Histogram<u64>, took: Duration, times: u64) {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    histogram.saturating_record_n(micros, times);
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use super::super::{Talk, Verb};
    use super::*;

    const WINDOW: Duration = Duration::from_millis(200);

    /// A server that gives `answer` for every request of `request` bytes, on each of its connections.
    fn server(request: usize, answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                std::thread::spawn(move || serve(client, request, answer));
            }
        });
        addr
    }

    fn serve(mut client: TcpStream, request: usize, answer: &str) {
        let mut asked = vec![0; request];
        while client.read_exact(&mut asked).is_ok() && client.write_all(answer.as_bytes()).is_ok() {}
    }

    fn load(addr: SocketAddr, connections: usize, pace: Pace) -> Load {
        let talk = Talk::Redis { password: None, verb: Verb::Get, key: "k".into(), size: 3 };
        Load { addr, tls: None, connections, pipeline: 1, talk, pace }
    }

    #[test]
    fn http_is_counted_by_the_length_of_the_first_answer() {
        const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let addr = server(REQUEST.len(), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab");
        let talk = Talk::Http { request: REQUEST.into() };
        let outcome = run(&Load { talk, ..load(addr, 2, Pace::Closed) });
        assert!(outcome.latency.len() > 10 && outcome.errors == 0, "{} answers", outcome.latency.len());
    }

    const GET: &str = "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
    const ABC: &str = "$3\r\nabc\r\n";

    fn run(load: &Load) -> Outcome {
        Client::connect(load).unwrap().run(Duration::ZERO, WINDOW).unwrap()
    }

    #[test]
    fn a_closed_loop_is_answered_again_and_again() {
        let outcome = run(&load(server(GET.len(), ABC), 2, Pace::Closed));
        assert!(outcome.latency.len() > 10 && outcome.errors == 0, "{} answers", outcome.latency.len());
    }

    #[test]
    fn an_open_loop_offers_what_it_was_told_to() {
        let outcome = run(&load(server(GET.len(), ABC), 8, Pace::Open(1000.0)));
        assert!((100..400).contains(&outcome.latency.len()), "{} of about 200", outcome.latency.len());
    }

    #[test]
    fn a_server_that_never_answers_is_slow_and_not_absent() {
        let outcome = run(&load(server(usize::MAX >> 40, ABC), 2, Pace::Open(1000.0)));
        assert!((100..400).contains(&outcome.latency.len()), "{} of about 200", outcome.latency.len());
        assert!(outcome.percentile(90.0) > 100_000.0, "{} us", outcome.percentile(90.0));
        assert!(outcome.slower_than(WINDOW / 2) > 50 && outcome.per_second() == 0.0, "{outcome:?}");
    }

    #[test]
    fn a_connection_that_is_closed_while_it_is_idle_is_opened_anew() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // The first request is due at once, on the first connection; another is not due in time.
        let rarely = load(listener.local_addr().unwrap(), 2, Pace::Open(0.001));
        let mut client = Client::connect(&rarely).unwrap();
        let [_asked, (idle, _)] = [listener.accept().unwrap(), listener.accept().unwrap()];
        drop(idle);
        let outcome = client.run(Duration::ZERO, WINDOW).unwrap();
        assert_eq!((outcome.closed_idle, outcome.errors), (1, 1), "{outcome:?}");
        listener.set_nonblocking(true).unwrap();
        listener.accept().expect("another connection in its place");
    }

    #[test]
    fn a_client_goes_on_by_another_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let mut asked = vec![0; GET.len()];
                let _ = client.read_exact(&mut asked).and_then(|()| client.write_all(ABC.as_bytes()));
            }
        });
        let outcome = run(&load(addr, 1, Pace::Open(100.0)));
        assert!(outcome.answered > 1 && outcome.errors >= outcome.answered - 1, "{outcome:?}");
    }

    #[test]
    fn an_error_reply_is_no_answer() {
        let outcome = run(&load(server(GET.len(), "-ERR no\r\n"), 3, Pace::Closed));
        assert_eq!((outcome.errors, outcome.latency.len()), (3, 0));
    }
}
