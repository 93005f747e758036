//! A client comes in: PROXY header, encryption, and then its session. Kind: driver.

use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use proxy_core::drain::Presence;
use proxy_core::error::{Error, Side};
use proxy_core::link::Link;
use proxy_core::listener::{Accepted, Permit};
use proxy_core::metrics::SessionMetrics;
use proxy_core::net::{Peer, Stream};
use proxy_core::proxy_protocol::{self, Policy};
use proxy_core::session::Ending;
use proxy_core::tls::ServerTls;
use proxy_core::worker::Floor;
use tokio::time::{Instant, timeout_at};

use crate::config::{self, Listener, Mode};
use crate::metrics::Tally;
use crate::passthrough::{self, Passage};
use crate::server::Identity;
use crate::session::registry::{Address, Registry};
use crate::session::{House, Session, Terms, Visitor};
use crate::site::Site;

/// What a listener gives to each of its sessions.
pub struct Gate {
    /// Its configuration.
    pub listener: Listener,
    /// Which of the masters it leads to.
    pub master: usize,
    /// Encryption, if there is any.
    pub tls: Option<Arc<ServerTls>>,
    /// Whose PROXY headers are believed.
    pub proxies: Policy,
    /// What clients that come now may do.
    pub terms: ArcSwap<Terms>,
    /// Counts its sessions.
    pub metrics: SessionMetrics,
}

/// What the sessions of a worker share.
pub struct Desk {
    /// The worker.
    pub floor: Rc<Floor>,
    /// The masters.
    pub sites: Vec<Rc<Site>>,
    /// All clients of the process.
    pub guests: Arc<Registry>,
    /// What was met.
    pub tally: Rc<Tally>,
}

/// Serves one accepted connection to its end.
pub async fn serve(desk: Rc<Desk>, gate: Arc<Gate>, accepted: Accepted) {
    let present = desk.floor.drain().session();
    let _open = gate.metrics.open();
    let outcome = converse(&desk, &gate, accepted, present).await;
    gate.metrics.settle(outcome.map(Ending::label), "login");
}

async fn converse(
    desk: &Rc<Desk>,
    gate: &Arc<Gate>,
    accepted: Accepted,
    _present: Presence,
) -> Result<Ending, Error> {
    let (stream, peer, _permit): (_, _, Permit) =
        accepted.into_stream().map_err(|error| Error::io(Side::Downstream, error))?;
    let (stream, peer) = Box::pin(come_in(desk, gate, stream, peer)).await?;
    let site = &desk.sites[gate.master];
    let path = gate.listener.listen.to_string();
    let address = |peer: Peer| peer.addr().map_or_else(|| Address::Unix(path.as_str().into()), Address::Tcp);
    let (peer, local) = (address(peer), address(stream.local().unwrap_or(Peer::Unix)));
    let link = Link::new(stream, &[]);
    match gate.listener.mode {
        Mode::Shared => {
            let visitor = Visitor { peer, local };
            let house = House { floor: &desk.floor, guests: &desk.guests, tally: &desk.tally };
            // In a box: as a value it would be kept twice, in the future that makes it and in the one that runs it.
            let session = Box::new(Session::new(link, visitor, &house, site.clone(), gate.terms.load_full()));
            Ok(session.run().await)
        }
        Mode::Passthrough => Ok(Box::pin(pass_through(desk, gate, site, link)).await),
    }
}

async fn pass_through(desk: &Desk, gate: &Gate, site: &Rc<Site>, link: Link) -> Ending {
    let passage = Passage {
        role: gate.listener.role,
        hold: site.common.hold.clone(),
        topology: site.common.topology.clone(),
    };
    let dial = |addr| async move { site.dial.open(&addr).await.map(|stream| Link::new(stream, &[])) };
    passthrough::serve(link, &passage, dial, &desk.floor).await.ending
}

/// From the accepted socket to a stream that speaks Redis.
async fn come_in(desk: &Desk, gate: &Gate, mut stream: Stream, peer: Peer) -> Result<(Stream, Peer), Error> {
    let deadline = Instant::now() + gate.listener.login_timeout;
    let shake = async {
        let told = proxy_protocol::accept(&mut stream, &gate.proxies, deadline).await?;
        let stream = match &gate.tls {
            Some(tls) => tls.accept(stream, &[], deadline).await?,
            None => stream,
        };
        Ok((stream, told.map_or(peer, |told| Peer::Tcp(told.source))))
    };
    let seat = desk.floor.seat();
    let terminated = || Error::downstream(proxy_core::error::Kind::Closed, "the process ends");
    let slow = || Error::downstream(proxy_core::error::Kind::Timeout, "the client took too long to come in");
    let shaken = seat.until_terminated(timeout_at(deadline, shake)).await.ok_or_else(terminated)?;
    shaken.map_err(|_| slow())?
}

impl Gate {
    /// What the clients of `listener` may do.
    pub fn terms(listener: &Listener, config: &config::Config, master: &config::Master) -> Terms {
        let identity = match config.users.is_empty() {
            true => Identity::default(),
            false => Identity::configured(master.user.as_deref(), master.password.as_ref()),
        };
        Terms::new(listener, config, Arc::new(identity))
    }
}
