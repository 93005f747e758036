//! A replica of the h2 crate, spoken to in HTTP/1.1. Kind: driver.

use std::cell::Cell;
use std::fs;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use proxy_core::tls::{ClientAuth, ClientTlsConfig, Identity, ServerTls, ServerTlsConfig, Verify, Version};
use tokio::net::UnixListener;
use tokio::task::LocalSet;

use super::*;

const GET: &[u8] = b"GET /a?b HTTP/1.1\r\nhost: shop.example\r\nx-a: 1\r\n\r\n";

/// Where a replica listens, and how many connections it has seen.
struct Replica {
    addr: Addr,
    seen: Rc<Cell<usize>>,
    _dir: tempfile::TempDir,
}

/// Starts a replica that answers by path.
fn replica(tls: Option<ServerTls>) -> Replica {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("replica");
    let listener = UnixListener::bind(&path).unwrap();
    let seen = Rc::new(Cell::new(0));
    let counter = seen.clone();
    spawn_session(async move {
        loop {
            let stream = Stream::from(listener.accept().await.unwrap().0);
            counter.set(counter.get() + 1);
            let stream = match &tls {
                None => stream,
                Some(tls) => match tls.accept(stream, &[], Instant::now() + PATIENCE).await {
                    Ok(stream) => stream,
                    Err(_) => continue,
                },
            };
            spawn_session(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((request, respond))) = connection.accept().await {
                    spawn_session(answer(request, respond));
                }
            });
        }
    });
    Replica { addr: Addr::Unix(path), seen, _dir: dir }
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let told = format!("{} {} {:?}", request.method(), request.uri(), request.headers());
    let (head, mut body) = request.into_parts();
    let mut response = Response::new(());
    match head.uri.path() {
        "/echo" => {
            let mut send = respond.send_response(response, false).unwrap();
            while let Some(Ok(piece)) = body.data().await {
                body.flow_control().release_capacity(piece.len()).unwrap();
                send.send_data(piece, false).unwrap();
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "1".parse().unwrap());
            send.send_trailers(trailers).unwrap();
        }
        "/reset" => respond.send_reset(Reason::INTERNAL_ERROR),
        "/half" => {
            response.headers_mut().insert("content-length", "10".parse().unwrap());
            let mut send = respond.send_response(response, false).unwrap();
            send.send_data("half".into(), false).unwrap();
            send.send_reset(Reason::INTERNAL_ERROR);
        }
        "/early" => {
            *response.status_mut() = http::StatusCode::PAYLOAD_TOO_LARGE;
            respond.send_response(response, true).unwrap();
        }
        _ => {
            response.headers_mut().insert("content-length", told.len().to_string().parse().unwrap());
            let mut send = respond.send_response(response, false).unwrap();
            send.send_data(told.into(), true).unwrap();
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(10);

fn plain() -> Way {
    Way { tls: None, patience: PATIENCE }
}

async fn stage<T>(test: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(test).await
}

/// Reads until `end` has come, or the end of the stream.
async fn hear(link: &mut Link, end: &str) -> String {
    let mut heard = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let read = std::future::poll_fn(|cx| link.poll_fill(cx, &mut piece)).await.unwrap_or(0);
        heard.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&heard);
        if read == 0 || (!end.is_empty() && text.ends_with(end)) {
            return text.into_owned();
        }
    }
}

async fn say(link: &mut Link, bytes: &[u8]) {
    std::future::poll_fn(|cx| link.poll_put(cx, bytes)).await.unwrap();
}

#[tokio::test]
async fn a_request_in_http1_is_answered_by_a_replica_that_speaks_http2() {
    stage(async {
        let (replica, connections) = (replica(None), Rc::new(Connections::default()));
        let mut dialled = connections.dial(&replica.addr, &plain(), [GET, b""]).await.unwrap();
        assert_eq!(dialled.sent, GET.len());
        let told = "GET http://shop.example/a?b {\"x-a\": \"1\"}";
        let expected = format!("HTTP/1.1 200 \r\ncontent-length: {}\r\n\r\n{told}", told.len());
        assert_eq!(hear(&mut dialled.link, told).await, expected);
        // The next on the same link, and one on another: the replica sees one connection.
        say(&mut dialled.link, GET).await;
        assert_eq!(hear(&mut dialled.link, told).await, expected);
        let mut another = connections.dial(&replica.addr, &plain(), [GET, b""]).await.unwrap();
        assert_eq!(hear(&mut another.link, told).await, expected);
        assert_eq!(replica.seen.get(), 1);
    })
    .await;
}

#[tokio::test]
async fn bodies_of_either_framing_pass_and_trailers_come_back() {
    stage(async {
        let (replica, connections) = (replica(None), Rc::new(Connections::default()));
        for body in
            ["content-length: 5\r\n\r\nhello", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
        {
            let request = format!("POST /echo HTTP/1.1\r\nhost: a\r\n{body}");
            let parts = [&request.as_bytes()[..40], &request.as_bytes()[40..]];
            let mut link = connections.dial(&replica.addr, &plain(), parts).await.unwrap().link;
            let heard = hear(&mut link, "\r\n\r\n").await;
            let heard =
                if heard.contains("x-sum") { heard } else { heard + &hear(&mut link, "1\r\n\r\n").await };
            let expected =
                "HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n";
            assert_eq!(heard, expected);
        }
    })
    .await;
}

/// What is heard before the link closes.
async fn check_cut(request: &str, expected: &str) {
    stage(async {
        let (replica, connections) = (replica(None), Rc::new(Connections::default()));
        let parts = [request.as_bytes(), b""];
        let mut link = connections.dial(&replica.addr, &plain(), parts).await.unwrap().link;
        assert_eq!(hear(&mut link, "").await, expected);
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_closes_the_link() {
    check_cut("GET /reset HTTP/1.1\r\nhost: a\r\n\r\n", "").await;
    let half = "HTTP/1.1 200 \r\ncontent-length: 10\r\n\r\n";
    let request = "GET /half HTTP/1.1\r\nhost: a\r\n\r\n";
    stage(async {
        let (replica, connections) = (replica(None), Rc::new(Connections::default()));
        let parts = [request.as_bytes(), b""];
        let mut link = connections.dial(&replica.addr, &plain(), parts).await.unwrap().link;
        let heard = hear(&mut link, "").await;
        // A reset may overtake data (RFC 9113 section 5.4.2): what matters is that it is not whole.
        assert!(heard.is_empty() || heard.starts_with(half) && heard.len() < half.len() + 10, "{heard}");
    })
    .await;
}

#[tokio::test]
async fn who_is_not_there_or_speaks_no_http2_is_unreachable() {
    stage(async {
        let connections = Rc::new(Connections::default());
        let nowhere = Addr::Unix("/nonexistent/replica".into());
        assert!(connections.dial(&nowhere, &plain(), [GET, b""]).await.is_err());
        let files = Files::new();
        let speaks = |alpn: &[u8]| replica(Some(files.server(alpn)));
        let way = |ca: &str| Way { tls: Some(files.client(ca)), ..plain() };
        assert!(connections.dial(&speaks(b"http/1.1").addr, &way("cert.pem"), [GET, b""]).await.is_err());
        assert!(connections.dial(&speaks(b"h2").addr, &way("other.pem"), [GET, b""]).await.is_err());
        let replica = speaks(b"h2");
        let mut link = connections.dial(&replica.addr, &way("cert.pem"), [GET, b""]).await.unwrap().link;
        assert!(hear(&mut link, "}").await.contains("GET https://shop.example/a?b"));
    })
    .await;
}

/// Certificates for `localhost`, which is what a unix socket's host is called.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        for name in ["cert", "other"] {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            fs::write(files.0.path().join(format!("{name}.pem")), made.cert.pem()).unwrap();
            fs::write(files.0.path().join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
        }
        files
    }

    fn server(&self, alpn: &[u8]) -> ServerTls {
        let file = |name: &str| self.0.path().join(name);
        let identities = vec![Identity { certificate: file("cert.pem"), key: file("cert.key") }];
        let alpn = vec![alpn.to_vec(), b"x".to_vec()];
        let client_auth = ClientAuth::Off;
        ServerTls::new(ServerTlsConfig { identities, client_auth, alpn, oldest: Version::Tls12 }).unwrap()
    }

    fn client(&self, ca: &str) -> Arc<ClientTls> {
        let verify = Verify::ChainAndName(self.0.path().join(ca));
        let alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(ClientTls::new(ClientTlsConfig { verify, identity: None, server_name: None, alpn }).unwrap())
    }
}
