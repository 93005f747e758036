//! Connections with a client of the h2 crate, and with frames by hand. Kind: driver.

mod exchanges;
mod frames;
mod lives;

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use proxy_core::drain::Drain;
use proxy_core::tasks::spawn_session;
use proxy_core::upstream::{Cluster, Topology};
use proxy_core::worker::{Floor, Surroundings};
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;

use super::*;
use crate::session::{AnswerHead, Client, Size};

fn terms() -> Terms {
    Terms {
        streams: 100,
        stream_window: 64 << 10,
        connection_window: 1 << 20,
        resets: 20,
        requests: 1000,
        head: HeadLimits::default(),
        id_field: HeaderName::from_static("x-request-id"),
        preface: Duration::from_secs(10),
        idle: Duration::from_secs(75),
        body: Duration::from_secs(900),
        send: Duration::from_secs(900),
        tempo: Tempo { grace: Duration::from_secs(10), bytes_per_second: 512 },
    }
}

/// A served connection: the client's end of it.
struct Scene {
    near: UnixStream,
    drain: Drain,
    ending: oneshot::Receiver<Ending>,
}

/// A worker's floor in a process that is drained by `drain`.
fn floor(drain: &Drain) -> Rc<Floor> {
    let topology = Topology {
        epoch: 0,
        lineage: String::new(),
        primary: None,
        replicas: Arc::new(Cluster::new("replicas", [])),
        fenced: false,
        since: std::time::Instant::now(),
        revision: 0,
    };
    let topology = watch::Sender::new(Arc::new(topology)).subscribe();
    Floor::open(0, Surroundings { drain: drain.clone(), topology }, Arc::default())
}

/// Runs a test where sessions can be spawned.
async fn stage<T>(test: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(test).await
}

/// Serves one connection on these terms, each request by `exchange`.
fn serve_on<F, Fut>(terms: Terms, exchange: F) -> Scene
where
    F: FnMut(Box<RequestHead>, Exchange) -> Fut + 'static,
    Fut: Future<Output = ()> + 'static,
{
    serve_early(Vec::new(), terms, exchange)
}

/// As [`serve_on`]; so much was read from the client already.
fn serve_early<F, Fut>(early: Vec<u8>, terms: Terms, exchange: F) -> Scene
where
    F: FnMut(Box<RequestHead>, Exchange) -> Fut + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let (near, far) = UnixStream::pair().unwrap();
    let drain = Drain::new();
    let floor = floor(&drain);
    let (tell, ending) = oneshot::channel();
    spawn_session(async move {
        let _ = tell.send(serve(far.into(), early, Rc::new(terms), &floor, Box::default, exchange).await);
    });
    Scene { near, drain, ending }
}

/// Serves one request by this, and lets the test hear what it gave.
fn serve_one<T: 'static>(
    exchange: impl AsyncFnOnce(Exchange) -> T + 'static,
) -> (Scene, oneshot::Receiver<T>) {
    let (tell, told) = oneshot::channel();
    let mut once = Some((exchange, tell));
    let scene = serve_on(terms(), move |_, client| {
        let (exchange, tell) = once.take().expect("one request comes");
        async move {
            let _ = tell.send(exchange(client).await);
        }
    });
    (scene, told)
}

/// A client of the h2 crate on the scene's connection, and what else the scene has.
async fn client(scene: Scene) -> (SendRequest<Bytes>, Drain, oneshot::Receiver<Ending>) {
    let (requests, connection) = h2::client::handshake(scene.near).await.unwrap();
    spawn_session(async move {
        let _ = connection.await; // how it ended is what the tests see at the other end
    });
    (requests, scene.drain, scene.ending)
}

async fn ask(requests: &mut SendRequest<Bytes>, request: Request<()>) -> ResponseFuture {
    let mut ready = requests.clone().ready().await.unwrap();
    ready.send_request(request, true).unwrap().0
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://shop.example{path}")).body(()).unwrap()
}

/// Says a whole answer.
async fn answer(
    client: &mut Exchange,
    status: u16,
    fields: &[u8],
    body: &[u8],
) -> Result<(), crate::session::Gone> {
    let head = AnswerHead { status, fields, dated: false, size: Size::Length(body.len() as u64) };
    client.begin(&head, body, true)?;
    client.flush().await
}
