//! A load client for Redis or HTTP that offers requests at a rate of its own, whether or not the answers keep up.
//!
//! A client that sends its next request when the last answer has come asks a slow server less often, and so hides its
//! slowness (coordinated omission). This one draws the moments of its requests beforehand, as many independent users
//! would make them, and counts each latency from that moment, the wait for a free connection included. It costs a write
//! and a read per batch and runs on a thread of its own; it says how late it was itself. Kind: driver.

mod connection;
mod engine;
mod exchange;
mod schedule;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::error::{Error, Result};

pub use engine::Client;
pub use exchange::Verb;
pub(crate) use schedule::Schedule;

/// The longest latency that is told apart from longer ones, in microseconds.
const LONGEST_US: u64 = 60_000_000;

/// What is asked for, of whom, how often.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where clients connect.
    pub addr: SocketAddr,
    /// The authority's certificate, if the connections are to be encrypted.
    pub tls: Option<PathBuf>,
    /// How many connections.
    pub connections: usize,
    /// How many requests go in one write, and are answered before the next.
    pub pipeline: usize,
    /// What is said.
    pub talk: Talk,
    /// How often.
    pub pace: Pace,
}

/// What is said on a connection, again and again.
#[derive(Clone, Debug)]
pub enum Talk {
    /// A command of Redis.
    Redis {
        /// What `AUTH` takes, if it is to be said.
        password: Option<&'static str>,
        /// What is done.
        verb: Verb,
        /// To which key.
        key: String,
        /// The size of its value, which must be there for a GET.
        size: usize,
    },
    /// A request of HTTP/1.1, as it goes over the wire. Its answers must all be 200 and equally long: how long, the first
    /// one on each connection tells, which is no part of any run.
    Http {
        /// Its bytes.
        request: String,
    },
}

/// How often something is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// On each connection as soon as the answer has come.
    Closed,
    /// So many requests per second over all connections, at random moments.
    Open(f64),
}

/// What a run gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// From the moment at which a request was due to the end of its answer, in microseconds.
    /// What was due and has no answer yet counts with what it has waited so far.
    pub latency: Histogram<u64>,
    /// Answers to what was due in the window.
    pub answered: u64,
    /// From that moment until it was sent, although a connection was free: what this client itself is to blame for.
    pub lag: Histogram<u64>,
    /// Connections that failed, or heard something else than they had asked for. The former are opened anew at once, as any
    /// client would; what was under way on them is answered by nobody.
    pub errors: u64,
    /// Of these, how many connections were closed while no answer was owed.
    pub closed_idle: u64,
    /// How long the run was.
    pub window: Duration,
}

impl Outcome {
    fn new(window: Duration) -> Result<Self> {
        let (latency, lag) = (histogram()?, histogram()?);
        Ok(Self { latency, answered: 0, lag, errors: 0, closed_idle: 0, window })
    }

    /// A percentile of the latency in microseconds.
    pub fn percentile(&self, percent: f64) -> f64 {
        self.latency.value_at_quantile(percent / 100.0) as f64
    }

    /// Answers per second.
    pub fn per_second(&self) -> f64 {
        self.answered as f64 / self.window.as_secs_f64()
    }

    /// Requests that took longer, or have no answer after that long.
    pub fn slower_than(&self, bound: Duration) -> u64 {
        let micros = u64::try_from(bound.as_micros()).unwrap_or(LONGEST_US);
        self.latency.count_between(micros, LONGEST_US)
    }
}

fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LONGEST_US, 3).map_err(|e| Error::new(format!("a histogram: {e}")))
}
