//! A client comes in: the encryption dance, who it is, what it wants set, and then its session. Kind: driver.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use proxy_core::drain::Presence;
use proxy_core::error::{Error, Kind, Side};
use proxy_core::link::Link;
use proxy_core::listener::{Accepted, Permit};
use proxy_core::net::Stream;
use proxy_core::proxy_protocol::{self, Policy};
use proxy_core::session::{Ending, drive};
use proxy_core::tls::ServerTls;
use proxy_core::upstream::pool::{Refusal, Reuse};
use proxy_core::worker::{Floor, Seat};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use crate::auth::scram::ScramServer;
use crate::cancel::{CancelKey, Directory};
use crate::config::Listener;
use crate::connect::PoolKey;
use crate::pools::{Entry, Pools, Shared};
use crate::server::random;
use crate::session::vars::Vars;
use crate::session::{Conversation, Handle, Session, Tally};
use crate::wire::error::{Report, put_error};
use crate::wire::frame;
use crate::wire::startup::{self, First, Startup};
use crate::wire::{backend, frontend};

/// Bytes that a login message may have; the largest is a SCRAM proof of a few hundred.
const MAX_LOGIN_MESSAGE: usize = 4096;

/// The only mechanism that we offer.
const SCRAM: &str = "SCRAM-SHA-256";

/// What a listener gives to each of its sessions.
pub struct Gate {
    /// Its configuration.
    pub listener: Listener,
    /// Encryption, if there is any.
    pub tls: Option<Arc<ServerTls>>,
    /// Whether clients must encrypt.
    pub tls_required: bool,
    /// Whose PROXY headers are believed.
    pub proxies: Policy,
    /// Counts its sessions.
    pub metrics: proxy_core::metrics::SessionMetrics,
}

/// What the sessions of a worker share.
pub struct Desk {
    /// The worker.
    pub floor: Rc<Floor>,
    /// Its pools.
    pub pools: Pools,
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// Whom a cancel request may name.
    pub directory: Rc<Directory>,
    /// What sessions have met.
    pub tally: Rc<Tally>,
    /// Where a cancel request goes that names another worker's session.
    pub forward_cancel: Rc<dyn Fn(i32, Vec<u8>)>,
    /// The next session's number.
    pub next_id: std::cell::Cell<u64>,
}

/// What a server reports at login.
type Params = Arc<Vec<(String, String)>>;

/// A client that may begin.
struct Client {
    stream: Stream,
    unread: Vec<u8>,
    entry: Rc<Entry>,
    vars: Vars,
}

/// Serves one accepted connection to its end.
pub async fn serve(desk: Rc<Desk>, gate: Arc<Gate>, accepted: Accepted) {
    let present = desk.floor.drain().session();
    let seat = desk.floor.seat();
    let _open = gate.metrics.open();
    let outcome = converse(&desk, &gate, accepted, seat, present).await;
    gate.metrics.settle(outcome.map(Ending::label), "login");
}

async fn converse(
    desk: &Rc<Desk>,
    gate: &Gate,
    accepted: Accepted,
    seat: Seat,
    _present: Presence,
) -> Result<Ending, Error> {
    let (stream, _peer, _permit): (_, _, Permit) =
        accepted.into_stream().map_err(|error| Error::io(Side::Downstream, error))?;
    let deadline = Instant::now() + gate.listener.login_timeout;
    let coming = Box::pin(come_in(desk, gate, stream, deadline));
    let Some(coming) = seat.until_terminated(timeout_at(deadline, coming)).await else {
        return Ok(Ending::Terminated);
    };
    let timed_out = || Error::downstream(Kind::Timeout, "the client took too long to log in");
    let Some(client) = coming.map_err(|_| timed_out())?? else {
        return Ok(Ending::Finished);
    };
    session(desk, gate, client, seat).await
}

/// Gives the client its key and runs its session.
async fn session(desk: &Rc<Desk>, gate: &Gate, client: Client, seat: Seat) -> Result<Ending, Error> {
    let Client { stream, unread, entry, vars } = client;
    let secret = random().map_err(|error| Error::io(Side::Internal, error))?;
    let key = CancelKey::new(desk.floor.id, seat.key(), secret);
    let handle = Rc::new(Handle::default());
    let listing = desk.directory.list(key, handle.clone());
    let mut link = Link::new(stream, &unread);
    backend::put_backend_key_data(link.outbox.buffer(), key.pid, &key.secret);
    backend::put_ready_for_query(link.outbox.buffer(), backend::Status::Idle);
    let id = desk.next_id.replace(desk.next_id.get() + 1);
    let machine = Conversation::new(Session::new(id, gate.listener.mode, vars, handle, desk.tally.clone()));
    let waker = std::future::poll_fn(|cx| std::task::Poll::Ready(cx.waker().clone())).await;
    listing.woken_by(waker);
    Ok(drive(link, machine, entry.pool.clone(), seat, desk.floor.scratch.clone()).await)
}

/// From the first packet to the welcome. `None`: it only wanted to cancel, or went away again.
async fn come_in(
    desk: &Rc<Desk>,
    gate: &Gate,
    mut stream: Stream,
    deadline: Instant,
) -> Result<Option<Client>, Error> {
    proxy_protocol::accept(&mut stream, &gate.proxies, deadline).await?;
    let Some((mut stream, packet, unread)) = first_packet(desk, gate, stream, deadline).await? else {
        return Ok(None);
    };
    let Ok(Some((First::Start(startup), _))) = startup::first(&packet) else {
        return Err(Error::internal(Kind::Bug, "the first packet was read as a startup packet before"));
    };
    let mut reader = Reader { stream: &mut stream, buffer: unread };
    if let Err(refusal) = welcome_checks(gate, &startup, reader.stream.is_tls()) {
        return refuse(reader.stream, &refusal).await;
    }
    negotiate(&mut reader, &startup).await?;
    if let Err(error) = authenticate(desk, &mut reader, &startup).await? {
        let message = format!("password authentication failed for user \"{}\"", startup.user());
        refuse::<()>(reader.stream, &Report::fatal(error, &message)).await?;
    }
    let key = pool_key(gate, &startup);
    let Some(entry) = desk.pools.get(&key) else {
        let report = Report::fatal("53300", "too many combinations of user, database and settings");
        return refuse(reader.stream, &report).await;
    };
    let params = match server_params(&entry, &desk.shared, startup.user()).await {
        Ok(params) => params,
        Err(answer) => {
            write(reader.stream, &answer).await?;
            return Err(Error::downstream(Kind::Denied, "the server refuses this user or database"));
        }
    };
    let vars = send_welcome(reader.stream, &startup, &params).await?;
    let unread = std::mem::take(&mut reader.buffer);
    Ok(Some(Client { stream, unread, entry, vars }))
}

/// Answers requests for encryption until the client says who it is: the stream, its startup packet, and what came
/// behind that. What is sent in clear behind a request for TLS is never read as if it were encrypted.
async fn first_packet(
    desk: &Rc<Desk>,
    gate: &Gate,
    mut stream: Stream,
    deadline: Instant,
) -> Result<Option<(Stream, Vec<u8>, Vec<u8>)>, Error> {
    let mut buffer = Vec::new();
    if let (Some(tls), Some(true)) = (&gate.tls, says_tls_hello(&stream).await) {
        stream = tls.accept(stream, &[], deadline).await?; // PostgreSQL 17's direct TLS
    }
    loop {
        let Some(used) = read_first(&mut stream, &mut buffer).await? else {
            return Ok(None);
        };
        let behind = buffer.split_off(used);
        let packet = std::mem::replace(&mut buffer, behind);
        let first = startup::first(&packet).ok().flatten().map(|(first, _)| first);
        match first {
            Some(First::Start(_)) => return Ok(Some((stream, packet, buffer))),
            Some(First::Cancel(key)) => {
                (desk.forward_cancel)(key.pid, key.secret.to_vec());
                return Ok(None);
            }
            Some(First::Tls) if gate.tls.is_some() && !stream.is_tls() => {
                write(&mut stream, b"S").await?;
                let tls = gate.tls.as_ref().expect("looked at in the guard");
                stream = tls.accept(stream, &std::mem::take(&mut buffer), deadline).await?;
            }
            _ if buffer.is_empty() => write(&mut stream, b"N").await?,
            _ => return Err(Error::downstream(Kind::Protocol, "bytes behind a request for encryption")),
        }
    }
}

async fn says_tls_hello(stream: &Stream) -> Option<bool> {
    let mut byte = [0];
    let n = stream.peek(&mut byte).await.ok()?;
    (n == 1).then(|| startup::is_tls_hello(byte[0]))
}

/// Reads until a first packet is whole, and says how long it is; `None` if the client leaves before it says anything.
async fn read_first(stream: &mut Stream, buffer: &mut Vec<u8>) -> Result<Option<usize>, Error> {
    loop {
        match startup::first(buffer) {
            Ok(Some((_, used))) => return Ok(Some(used)),
            Ok(None) => {}
            Err(error) => {
                let message = error.to_string();
                let _: Result<Option<()>, _> =
                    refuse(stream, &Report::fatal(error.sqlstate(), &message)).await;
                return Err(Error::downstream(Kind::Protocol, message));
            }
        }
        let empty = buffer.is_empty();
        match stream.read_buf(buffer).await {
            Ok(0) if empty => return Ok(None),
            Ok(0) => return Err(Error::downstream(Kind::Closed, "closed in the middle of its first packet")),
            Ok(_) => {}
            Err(error) => return Err(Error::io(Side::Downstream, error)),
        }
    }
}

/// What can be refused before anybody proves anything.
fn welcome_checks(gate: &Gate, startup: &Startup<'_>, encrypted: bool) -> Result<(), Report<'static>> {
    if gate.tls_required && !encrypted {
        return Err(Report::fatal("28000", "this listener takes encrypted connections only")
            .hint("Connect with sslmode=require."));
    }
    if startup.get("replication").is_some_and(|value| !matches!(value, "false" | "off" | "no" | "0")) {
        return Err(Report::fatal("0A000", "replication connections can't go through the router")
            .hint("Connect to the server itself."));
    }
    Ok(())
}

/// A client that speaks a newer minor version, or options that we do not know, is told what we speak.
async fn negotiate(reader: &mut Reader<'_>, startup: &Startup<'_>) -> Result<(), Error> {
    if !startup.needs_negotiation() {
        return Ok(());
    }
    let mut out = Vec::new();
    backend::put_negotiate_protocol_version(&mut out, startup::SUPPORTED_MINOR, startup.unknown_options());
    write(reader.stream, &out).await
}

/// SCRAM-SHA-256 (RFC 5802, RFC 7677). The inner error is the SQLSTATE of a refusal.
async fn authenticate(
    desk: &Rc<Desk>,
    reader: &mut Reader<'_>,
    startup: &Startup<'_>,
) -> Result<Result<(), &'static str>, Error> {
    let verifier = desk.shared.dial.roster.load().verifier(startup.user());
    let nonce = random().map_err(|error| Error::io(Side::Internal, error))?;
    let mut scram = ScramServer::new(verifier, nonce);
    let mut out = Vec::new();
    backend::put_authentication_sasl(&mut out, &[SCRAM]);
    write(reader.stream, &out).await?;
    let message = reader.password().await?;
    let initial = frontend::sasl_initial(&message).map_err(violation)?;
    if initial.mechanism != SCRAM.as_bytes() {
        return Ok(Err("28000"));
    }
    let first = match scram.first(initial.data.unwrap_or_default()) {
        Ok(first) => first,
        Err(error) => return Ok(Err(error.sqlstate())),
    };
    out.clear();
    backend::put_authentication_sasl_continue(&mut out, &first);
    write(reader.stream, &out).await?;
    let message = reader.password().await?;
    let last = match scram.finish(&message) {
        Ok(last) => last,
        Err(error) => return Ok(Err(error.sqlstate())),
    };
    out.clear();
    backend::put_authentication_sasl_final(&mut out, &last);
    out.extend_from_slice(&backend::AUTHENTICATION_OK);
    write(reader.stream, &out).await.map(Ok)
}

/// Settings that PostgreSQL reports follow the client; all others are part of the pool's name.
fn pool_key(gate: &Gate, startup: &Startup<'_>) -> PoolKey {
    let own = |name: &str| {
        matches!(name, "user" | "database" | "replication")
            || name.starts_with("_pq_.")
            || Vars::follows(name)
    };
    let settings = startup.parameters().filter(|(name, _)| !own(name));
    PoolKey {
        user: startup.user().to_owned(),
        database: startup.database().to_owned(),
        role: gate.listener.role,
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}

/// What the server reports at login. The first client of a pool waits for a connection of it, but not during an
/// outage: then what the monitors were told must do. The error is the server's own answer to a login that it refuses.
async fn server_params(entry: &Entry, shared: &Shared, user: &str) -> Result<Params, Bytes> {
    if entry.common.welcome.load().is_none() {
        let patience = shared.config.load().pool.connect_timeout;
        if entry.pool.has_target() {
            match tokio::time::timeout(patience, entry.pool.lease(0)).await {
                Ok(Ok(lease)) => lease.release(Reuse::Clean),
                Ok(Err(Refusal::Denied(answer))) => return Err(answer),
                _ => {}
            }
        }
    }
    if let Some(welcome) = entry.common.welcome.load_full() {
        return Ok(welcome);
    }
    let mut greeted = shared.greeted.subscribe();
    let told = greeted.wait_for(|told| !told.is_empty()).await; // the login's deadline bounds this
    Ok(Arc::new(told.map(|told| guessed(&told, user)).unwrap_or_default()))
}

/// What a server would tell `user`, made from what it told a monitor.
fn guessed(greeting: &[(String, String)], user: &str) -> Vec<(String, String)> {
    let ours = |name: &str| match name {
        "session_authorization" => Some(user),
        "is_superuser" | "in_hot_standby" => Some("off"),
        _ => None,
    };
    let told = |(name, value): &(String, String)| (name.clone(), ours(name).unwrap_or(value).to_owned());
    greeting.iter().map(told).collect()
}

/// Sends what the server would report, with the client's own wishes in it.
async fn send_welcome(
    stream: &mut Stream,
    startup: &Startup<'_>,
    params: &[(String, String)],
) -> Result<Vars, Error> {
    let mut vars = Vars::collect(params.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    vars.set("application_name", "");
    for (name, value) in startup.parameters().filter(|(name, _)| Vars::follows(name)) {
        vars.set(name, value);
    }
    let mut out = Vec::new();
    for (name, value) in params.iter().filter(|(name, _)| !Vars::follows(name)) {
        backend::put_parameter_status(&mut out, name, value);
    }
    vars.iter().for_each(|(name, value)| backend::put_parameter_status(&mut out, name, value));
    write(stream, &out).await?;
    Ok(vars)
}

/// Reads messages of the login, and nothing behind them.
struct Reader<'a> {
    stream: &'a mut Stream,
    buffer: Vec<u8>,
}

impl Reader<'_> {
    /// The body of the next message, which must be an answer to a question about authentication.
    async fn password(&mut self) -> Result<Vec<u8>, Error> {
        loop {
            match frame::header(&self.buffer).map_err(violation)? {
                Some(header) if header.tag != b'p' || header.size() > MAX_LOGIN_MESSAGE => {
                    return Err(violation("a client must answer what it was asked"));
                }
                Some(header) if self.buffer.len() >= header.size() => {
                    let behind = self.buffer.split_off(header.size());
                    let message = std::mem::replace(&mut self.buffer, behind);
                    return Ok(message[frame::HEADER..].to_vec());
                }
                _ => {}
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(Error::downstream(Kind::Closed, "closed while logging in")),
                Ok(_) => {}
                Err(error) => return Err(Error::io(Side::Downstream, error)),
            }
        }
    }
}

fn violation(what: impl std::fmt::Display) -> Error {
    Error::downstream(Kind::Protocol, what.to_string())
}

async fn write(stream: &mut Stream, bytes: &[u8]) -> Result<(), Error> {
    stream.write_all(bytes).await.map_err(|error| Error::io(Side::Downstream, error))?;
    stream.flush().await.map_err(|error| Error::io(Side::Downstream, error))
}

/// Says why not, and ends the login.
async fn refuse<T>(stream: &mut Stream, report: &Report<'_>) -> Result<Option<T>, Error> {
    let mut out = Vec::new();
    put_error(&mut out, report);
    write(stream, &out).await?;
    Err(Error::downstream(Kind::Denied, report.message.to_owned()))
}
