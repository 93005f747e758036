//! The admin endpoint: is it alive, is it ready, what does it count, how does it stand; and: drain. Kind: driver.
//!
//! | path | answer |
//! |---|---|
//! | `GET /livez` | 200 while the process runs |
//! | `GET /readyz` | 200 when all latches are dropped and we aren't draining, else 503 with the reasons |
//! | `GET /metrics` | Prometheus' text format |
//! | `GET /status` | a page that refreshes itself; JSON for `Accept: application/json`, `?format=json` or `/status.json` |
//! | `POST /drain` | 202, and the process drains |
//! | what the binary adds | `GET` to look, `POST` to act ([`Routes`]) |
//!
//! It asks for no password, so it belongs on loopback or a private network. It can't take the process down:
//! few connections, one request on each, and a deadline for the whole.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::drain::{Drain, Phase};
use crate::error::{Error, Result, Side};
use crate::metrics::Registry;
use crate::tasks;

mod readiness;
mod routes;
mod status;

pub use readiness::{Latch, Readiness};
use routes::Route;
pub use routes::{Query, Reply, Routes};
pub use status::Status;

/// Connections at a time: some scrapers and somebody's browser.
const CONNECTIONS: usize = 64;

/// How long a connection may take in all, beside what the binary asks for.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long to wait after an accept that failed, most often for want of file descriptors.
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// The page; everything on it is text that its script takes from `status.json`.
const PAGE: &str = include_str!("page.html");

/// The page needs its own script and style and asks us alone; whatever else slips in doesn't run.
const PAGE_POLICY: &str =
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'";

type Answer = Response<Full<Bytes>>;

/// What the endpoint tells about.
#[derive(Debug, Clone)]
pub struct View {
    /// The binary's name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// When the process started.
    pub since: Instant,
    /// The phase, and the hand for `POST /drain`.
    pub drain: Drain,
    /// What it counts.
    pub registry: Registry,
    /// Whether it is ready.
    pub readiness: Readiness,
    /// How it stands.
    pub status: Status,
    /// What the binary adds.
    pub routes: Routes,
}

/// A bound endpoint that doesn't serve yet.
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
}

impl Endpoint {
    /// Binds the address.
    pub async fn bind(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address).await;
        let named =
            |error| Error::io(Side::Internal, error).context(format!("binding admin.listen {address}"));
        Ok(Self { listener: listener.map_err(named)? })
    }

    /// The address that was bound.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(|error| Error::io(Side::Internal, error))
    }

    /// Serves as long as the process lives, draining included: that is when people look.
    pub async fn serve(self, view: View) -> Result<()> {
        let (view, room) = (Arc::new(view), Arc::new(Semaphore::new(CONNECTIONS)));
        loop {
            let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let view = view.clone();
                    tasks::spawn("admin connection", async move {
                        converse(stream, view).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "admin endpoint can't accept");
                    tokio::time::sleep(AFTER_FAILED_ACCEPT).await;
                }
            }
        }
    }
}

/// One request and its answer. Who doesn't speak HTTP or is slow is let go without a word.
async fn converse(stream: TcpStream, view: Arc<View>) {
    let extra = Arc::new(AtomicU64::new(0));
    let granted = extra.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (view, extra) = (view.clone(), extra.clone());
        async move { Ok::<_, std::convert::Infallible>(reply(&request, &view, &extra).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    if tokio::time::timeout(DEADLINE, &mut connection).await.is_err() {
        let more = Duration::from_millis(granted.load(Relaxed));
        let _ = tokio::time::timeout(more, connection).await;
    }
}

/// What we answer ourselves, or what the binary has added; `extra` is how many milliseconds more it may take.
async fn reply<B>(request: &Request<B>, view: &View, extra: &AtomicU64) -> Answer {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    match view.routes.find(request.uri().path()) {
        None => answer(request, view),
        Some(Route::Look(_)) if !is_look(request) => not_allowed("GET, HEAD"),
        Some(Route::Look(tell)) => told(tell(&query)),
        Some(Route::Act(..)) if *request.method() != Method::POST => not_allowed("POST"),
        Some(Route::Act(..)) if is_foreign(request) => foreign(),
        Some(Route::Act(act, limit)) => {
            extra.store(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX), Relaxed);
            told(acted(act(query), limit).await)
        }
    }
}

/// What was begun goes on to its end, whoever has left meanwhile.
async fn acted(act: BoxFuture<'static, Reply>, limit: Duration) -> Reply {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    tasks::spawn("admin action", async move {
        let _ = sender.send(act.await); // nobody may be there to hear it
    });
    match tokio::time::timeout(limit, receiver).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(_)) => Reply::new(500, "it ended without an answer; look into the log\n"),
        Err(_) => Reply::new(504, "it takes longer than expected, and goes on\n"),
    }
}

fn told(reply: Reply) -> Answer {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = reply.text.starts_with(['{', '[']);
    let kind = if json { "application/json" } else { "text/plain; charset=utf-8" };
    typed(status, kind, reply.text)
}

fn is_look<B>(request: &Request<B>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

fn answer<B>(request: &Request<B>, view: &View) -> Answer {
    match request.uri().path() {
        "/livez" | "/readyz" | "/metrics" | "/status" | "/status.json" | "/" if !is_look(request) => {
            not_allowed("GET, HEAD")
        }
        "/livez" => text(StatusCode::OK, "alive\n".into()),
        "/readyz" => readyz(view),
        "/metrics" => typed(StatusCode::OK, prometheus::TEXT_FORMAT, view.registry.exposition()),
        "/status" | "/" if !wants_json(request) => page(),
        "/status" | "/status.json" | "/" => status_json(view),
        "/drain" if *request.method() != Method::POST => not_allowed("POST"),
        "/drain" if is_foreign(request) => foreign(),
        "/drain" => drain(view),
        _ => text(StatusCode::NOT_FOUND, "try /livez /readyz /metrics /status, or POST /drain\n".into()),
    }
}

fn readyz(view: &View) -> Answer {
    if view.drain.phase() != Phase::Running {
        return text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", view.drain.phase().label()));
    }
    let waiting = view.readiness.waiting_for();
    if waiting.is_empty() {
        return text(StatusCode::OK, "ready\n".into());
    }
    text(StatusCode::SERVICE_UNAVAILABLE, format!("waiting for: {}\n", waiting.join(", ")))
}

fn drain(view: &View) -> Answer {
    tracing::info!("asked to drain by the admin endpoint");
    view.drain.begin();
    text(StatusCode::ACCEPTED, "draining\n".into())
}

fn page() -> Answer {
    let mut answer = typed(StatusCode::OK, "text/html; charset=utf-8", PAGE.into());
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
    answer
}

fn status_json(view: &View) -> Answer {
    let mut all = view.status.tell();
    all.insert("process".into(), process(view));
    typed(StatusCode::OK, "application/json", format!("{:#}\n", Value::Object(all)))
}

/// The section that every binary has.
fn process(view: &View) -> Value {
    let phase = view.drain.phase();
    json!({
        "name": view.name,
        "version": view.version,
        "pid": std::process::id(),
        "uptime_s": view.since.elapsed().as_secs(),
        "phase": phase.label(),
        "ready": phase == Phase::Running && view.readiness.is_ready(),
        "waiting_for": view.readiness.waiting_for().iter().map(|name| &**name).collect::<Vec<_>>(),
        "sessions": view.drain.present(),
        "failure": view.drain.failure(),
    })
}

fn wants_json<B>(request: &Request<B>) -> bool {
    let accept =
        request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let asked = request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "format=json"));
    asked || accept.contains("application/json")
}

/// A page of another site may send a POST from an operator's browser, which then names that site.
///
/// <https://fetch.spec.whatwg.org/#origin-header>
fn is_foreign<B>(request: &Request<B>) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else { return false };
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let same = |origin: &str| origin.split_once("://").map(|(_, authority)| authority) == host;
    !origin.to_str().is_ok_and(same)
}

fn foreign() -> Answer {
    text(StatusCode::FORBIDDEN, "not from another site\n".into())
}

fn not_allowed(allowed: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("allowed here: {allowed}\n"));
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    answer
}

fn text(status: StatusCode, body: String) -> Answer {
    typed(status, "text/plain; charset=utf-8", body)
}

fn typed(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

#[cfg(test)]
mod tests;
