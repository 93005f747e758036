//! The PROXY protocol, versions 1 and 2 (HAProxy's `doc/proxy-protocol.txt`): how a proxy in front of us says on whose
//! behalf it calls, and how we say so to those behind us. Headers are taken from trusted addresses only, and from
//! those they are due: the specification forbids to guess. Not one byte beyond the header is read. Kind: driver.

mod encode;
mod parse;

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncReadExt,
    time::{Instant, timeout_at},
};

pub use self::{
    encode::{Version, header},
    parse::{HeaderError, Parsed, Progress, fuzz_proxy_header, parse},
};
use crate::{
    error::{Error, Kind, Result, Side},
    net::{Peer, Stream},
};

/// How much is looked at in one go; a header without extensions fits.
const LOOK_AHEAD: usize = 128;

/// The two ends of the connection that a proxy relays to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// The client, as the proxy saw it.
    pub source: SocketAddr,
    /// What the client called, as the proxy saw it.
    pub destination: SocketAddr,
}

/// From whom a listener takes headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The proxies: they must send a header, and it is believed. The bytes of all others are the protocol's own.
    pub trusted: Vec<IpNet>,
    /// Nobody but the trusted comes in.
    pub required: bool,
}

impl Policy {
    /// Whether headers of this address are believed. A unix socket has no address to trust.
    fn trusts(&self, peer: Peer) -> bool {
        let within = |ip: IpAddr| self.trusted.iter().any(|net| net.contains(&ip));
        peer.ip().is_some_and(within)
    }
}

/// Reads the header, if this peer sends one; to be called first, before TLS. `None`: the peer speaks for itself.
///
/// # Errors
/// Downstream: `Denied` to those who aren't trusted where a header is required, `Protocol` where the trusted don't
/// send a proper one, `Timeout`, or what the socket says.
pub async fn accept(stream: &mut Stream, policy: &Policy, deadline: Instant) -> Result<Option<Proxied>> {
    let peer = stream.peer().map_err(downstream)?;
    match (policy.trusts(peer), policy.required) {
        (true, _) => timeout_at(deadline, read_header(stream)).await.unwrap_or_else(|_| Err(too_late())),
        (false, true) => Err(Error::downstream(Kind::Denied, format!("{peer} is no trusted proxy"))),
        (false, false) => Ok(None),
    }
}

/// Takes from the socket only what is known to be the header's: looks, and then reads as far as that.
async fn read_header(stream: &mut Stream) -> Result<Option<Proxied>> {
    let mut ahead = [0; LOOK_AHEAD];
    let mut header = Vec::new();
    loop {
        let seen = stream.peek(&mut ahead).await.map_err(downstream)?;
        if seen == 0 {
            return Err(downstream(io::ErrorKind::UnexpectedEof.into()));
        }
        let taken = header.len();
        header.extend_from_slice(&ahead[..seen]);
        match parse(&header).map_err(|error| Error::downstream(Kind::Protocol, error))? {
            Progress::NeedMore => take(stream, &mut ahead[..seen]).await?,
            Progress::Done(Parsed { proxied, length }) => {
                // What was taken before was too little, so the header ends within what was seen now.
                take(stream, &mut ahead[..length - taken]).await?;
                return Ok(proxied);
            }
        }
    }
}

async fn take(stream: &mut Stream, seen: &mut [u8]) -> Result<()> {
    stream.read_exact(seen).await.map(drop).map_err(downstream)
}

fn downstream(error: io::Error) -> Error {
    Error::io(Side::Downstream, error).context("PROXY header")
}

fn too_late() -> Error {
    Error::downstream(Kind::Timeout, "not complete in time").context("PROXY header")
}

#[cfg(test)]
mod tests;
