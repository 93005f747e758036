//! The passthrough mode: one server connection per client, and nothing in between is read. Kind: driver.
//!
//! Promises: a client that comes while nobody can take it waits, its first bytes kept, within the bounds of the hold; it
//! never reaches a server that the topology does not name; once the topology moves away from its server both sides are cut
//! (what the client owed or was owed, only the two of them know). That is what a proxy of layer 4 can do for a client;
//! the shared mode keeps it connected.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use proxy_core::backoff::Backoff;
use proxy_core::error::Error;
use proxy_core::link::{Link, Scratch};
use proxy_core::net::Addr;
use proxy_core::relay::{Relayed, relay};
use proxy_core::session::Ending;
use proxy_core::upstream::pool::Role;
use proxy_core::upstream::{Endpoint, Hold, InFlight, Policy, Topology};
use proxy_core::worker::{Floor, Pulse, Seat};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// Bytes that a waiting client may send ahead; beyond that it is not read.
const AHEAD_BYTES: usize = 64 * 1024;

/// Between two attempts to reach a server that the topology names and that does not answer.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// How long a client that could not be served may take to hear so.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a client hears that waited in vain. LOADING is what client libraries take for a server that will be there soon.
const NOBODY: &[u8] = b"-LOADING redis-router: no server could be reached in time\r\n";
const CROWDED: &[u8] = b"-LOADING redis-router: too many clients wait for a server\r\n";

/// How the clients of one listener are passed through.
#[derive(Clone)]
pub struct Passage {
    /// To the primary, or to one of the replicas.
    pub role: Role,
    /// The waiting room.
    pub hold: Arc<Hold>,
    /// Who is primary and who are replicas. Its news must reach the floor's seats, as those of the floor's own do.
    pub topology: watch::Receiver<Arc<Topology>>,
}

/// Serves one client to its end. `dial` opens a connection that the client may use as its own: nothing is said on it yet.
pub async fn serve<D, F>(mut client: Link, passage: &Passage, dial: D, floor: &Rc<Floor>) -> Relayed
where
    D: Fn(Addr) -> F,
    F: Future<Output = Result<Link, Error>>,
{
    let seat = floor.seat();
    match passage.reach_for(&mut client, &dial, &seat, &floor.scratch).await {
        Ok((upstream, target)) => {
            // A subscriber may hear nothing for days.
            relay(client, upstream, &seat, &floor.scratch, None, || !passage.may_keep(&target)).await
        }
        Err(ending) => {
            let _ = timeout(FAREWELL, seat.until_terminated(client.finish())).await;
            Relayed { ending, up: 0, down: 0, spliced: 0 }
        }
    }
}

/// Where a client goes, and as of which epoch.
struct Target {
    in_flight: InFlight,
    epoch: u64,
}

impl Target {
    fn endpoint(&self) -> &Arc<Endpoint> {
        self.in_flight.endpoint()
    }
}

/// Why no server was reached.
enum Unserved {
    Crowded,
    Nobody,
}

impl Passage {
    /// Reaches a server, and minds the client meanwhile.
    async fn reach_for<D, F>(
        &self,
        client: &mut Link,
        dial: &D,
        seat: &Seat,
        scratch: &Scratch,
    ) -> Result<(Link, Target), Ending>
    where
        D: Fn(Addr) -> F,
        F: Future<Output = Result<Link, Error>>,
    {
        let mut reach = pin!(self.reach(client.inbox.rest().len(), dial));
        let mut ended = false;
        let reached = poll_fn(|cx| {
            if let Poll::Ready(reached) = reach.as_mut().poll(cx) {
                return Poll::Ready(Ok(reached));
            }
            if seat.pulse(cx) == Some(Pulse::Terminate) {
                return Poll::Ready(Err(Ending::Terminated));
            }
            ended = ended || client.read_ahead(cx, scratch, AHEAD_BYTES);
            // An end behind a request is the client's way to say that it wants one answer.
            if ended && client.inbox.is_empty() { Poll::Ready(Err(Ending::Aborted)) } else { Poll::Pending }
        });
        reached.await?.map_err(|unserved| {
            client.outbox.push(unserved.words());
            Ending::Upstream
        })
    }

    /// Waits for a server and connects to it, again and again until the hold's deadline.
    async fn reach<D, F>(&self, bytes: usize, dial: &D) -> Result<(Link, Target), Unserved>
    where
        D: Fn(Addr) -> F,
        F: Future<Output = Result<Link, Error>>,
    {
        let deadline = self.hold.deadline();
        let mut pauses = Backoff::new(PAUSES.0, PAUSES.1);
        loop {
            let target = self.target(bytes, deadline).await?;
            match dial(target.endpoint().addr().clone()).await {
                Ok(link) if self.is_current(&target) => return Ok((link, target)),
                Ok(_) => {} // it moved on meanwhile: so do we
                Err(error) => {
                    tracing::debug!(%error, "a server could not be reached for a client");
                    target.endpoint().suspect();
                    let pause = pauses.next_delay(fastrand::u32(..));
                    if Instant::now() + pause >= deadline {
                        return Err(Unserved::Nobody);
                    }
                    sleep(pause).await;
                }
            }
        }
    }

    /// Who serves this client, waited for if need be.
    async fn target(&self, bytes: usize, deadline: Instant) -> Result<Target, Unserved> {
        let mut topology = self.topology.clone();
        loop {
            if let Some(target) = self.pick(&topology.borrow_and_update()) {
                return Ok(target);
            }
            let held = self.hold.enter(bytes).map_err(|_| Unserved::Crowded)?;
            let waited = held.wait_until(&mut topology, deadline, |seen| self.has_target(seen)).await;
            waited.map_err(|_| Unserved::Nobody)?;
        }
    }

    fn pick(&self, topology: &Topology) -> Option<Target> {
        let now = std::time::Instant::now();
        let in_flight = match self.role {
            Role::Primary => topology.primary.as_ref().map(Endpoint::enter),
            Role::Replica => topology.replicas.pick(Policy::LeastInFlight, fastrand::u64(..), now),
        };
        in_flight.map(|in_flight| Target { in_flight, epoch: topology.epoch })
    }

    fn has_target(&self, topology: &Topology) -> bool {
        self.role.has_target(topology)
    }

    fn is_current(&self, target: &Target) -> bool {
        self.role.is_served_by(target.endpoint(), target.epoch, &self.topology.borrow())
    }

    fn may_keep(&self, target: &Target) -> bool {
        self.role.may_keep(target.endpoint(), target.epoch, &self.topology.borrow())
    }
}

impl Unserved {
    fn words(&self) -> &'static [u8] {
        match self {
            Self::Crowded => CROWDED,
            Self::Nobody => NOBODY,
        }
    }
}

#[cfg(test)]
mod tests;
