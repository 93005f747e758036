//! Asks a replica how it is: one request over a connection of its own, or a connection alone. Kind: driver.

use std::sync::Arc;

use proxy_core::net::{self, Addr, SocketOptions, Stream};
use proxy_core::tls::ClientTls;
use proxy_core::upstream::Probe;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::config::{Check, CheckKind};
use crate::wire::{ChunkedDecoder, HeadLimits, Method, ResponseFraming, ResponseHead};

/// How much of a body is looked at.
const MAX_BODY: usize = 64 << 10;

/// Read at a time.
const READ: usize = 4096;

/// How the replicas of a cluster are asked.
#[derive(Debug)]
pub(super) struct HttpProbe {
    check: Check,
    request: Vec<u8>,
    method: Method,
    tls: Option<Arc<ClientTls>>,
    options: SocketOptions,
}

impl HttpProbe {
    /// By this check.
    pub(super) fn new(check: Check, tls: Option<Arc<ClientTls>>, options: SocketOptions) -> Self {
        let request = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: http-lb/{} (health check)\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            check.method,
            check.path,
            check.host,
            env!("CARGO_PKG_VERSION"),
        );
        let method = Method::of(check.method.as_bytes());
        Self { request: request.into_bytes(), method, check, tls, options }
    }

    async fn connect(&self, addr: &Addr) -> Result<Stream, String> {
        let stream =
            net::connect(addr, &self.options, self.check.timeout).await.map_err(|error| error.to_string())?;
        let Some(tls) = &self.tls else { return Ok(stream) };
        let shaken = tls.connect(stream, addr.host(), &[], Instant::now() + self.check.timeout).await;
        shaken.map_err(|error| error.to_string())
    }

    async fn ask(&self, stream: &mut Stream) -> std::io::Result<Result<(), String>> {
        stream.write_all(&self.request).await?;
        stream.flush().await?;
        let mut answer = Answer::new(self.method);
        let mut piece = [0; READ];
        loop {
            let len = stream.read(&mut piece).await?;
            if let Err(fault) = answer.hear(&piece[..len]) {
                return Ok(Err(fault));
            }
            // Whether the status is well is known with the head; a body is read only where one is looked for.
            let status = answer.status();
            match status {
                Some(status) if !self.check.expect.contains(&status) => {
                    return Ok(Err(format!("it answered {status}")));
                }
                Some(_) if self.check.contains.as_ref().is_none_or(|text| answer.contains(text)) => {
                    return Ok(Ok(()));
                }
                Some(_) if answer.done || len == 0 => {
                    return Ok(Err("its answer lacks the expected text".to_owned()));
                }
                None if len == 0 => return Ok(Err("it closed without an answer".to_owned())),
                _ => {}
            }
        }
    }
}

impl Probe for HttpProbe {
    type Failure = String;

    async fn check(&self, addr: &Addr) -> Result<(), String> {
        let mut stream = self.connect(addr).await?;
        if self.check.kind == CheckKind::Connect {
            return Ok(());
        }
        self.ask(&mut stream).await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

/// What has come of an answer.
struct Answer {
    method: Method,
    head: ResponseHead,
    is_whole: bool,
    chunks: ChunkedDecoder,
    body: Vec<u8>,
    /// Nothing more of it will be looked at.
    done: bool,
}

impl Answer {
    fn new(method: Method) -> Self {
        let (head, chunks) = (ResponseHead::new(), ChunkedDecoder::new());
        Self { method, head, is_whole: false, chunks, body: Vec::new(), done: false }
    }

    /// The status, once the head of the final answer is there.
    fn status(&self) -> Option<u16> {
        self.is_whole.then(|| self.head.status())
    }

    fn contains(&self, text: &str) -> bool {
        memchr::memmem::find(&self.body, text.as_bytes()).is_some()
    }

    fn hear(&mut self, mut piece: &[u8]) -> Result<(), String> {
        while !self.is_whole && !piece.is_empty() {
            let fed = self.head.feed(piece, &HeadLimits::default(), self.method);
            let Some(used) = fed.map_err(|fault| fault.what.to_owned())? else { return Ok(()) };
            piece = &piece[used..];
            if self.head.is_interim() {
                self.head.clear();
            } else {
                self.is_whole = true;
            }
        }
        if !self.is_whole {
            return Ok(());
        }
        match self.head.framing() {
            ResponseFraming::Chunked => self.hear_chunks(piece)?,
            _ => self.keep(piece),
        }
        let length = self
            .head
            .content_length()
            .map_or(usize::MAX, |length| usize::try_from(length).unwrap_or(usize::MAX));
        self.done |= self.body.len() >= length.min(MAX_BODY) || self.chunks.is_done();
        Ok(())
    }

    fn hear_chunks(&mut self, mut piece: &[u8]) -> Result<(), String> {
        while !piece.is_empty() && !self.chunks.is_done() {
            let decoded = self.chunks.advance(piece).map_err(|fault| fault.what.to_owned())?;
            self.keep(&piece[decoded.data]);
            piece = &piece[decoded.used..];
        }
        Ok(())
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = MAX_BODY - self.body.len();
        self.body.extend_from_slice(&piece[..piece.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::{TcpListener, UnixListener};

    use super::*;

    const LONG: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";

    /// Takes one request and answers in two pieces; gives what it heard.
    async fn answer(stream: impl Into<Stream>, text: &str) -> String {
        let (mut stream, mut heard) = (stream.into(), Vec::new());
        while !heard.ends_with(b"\r\n\r\n") && stream.read_buf(&mut heard).await.unwrap() > 0 {}
        let (one, other) = text.split_at(text.len() / 2);
        for piece in [one, other] {
            stream.write_all(piece.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        String::from_utf8(heard).unwrap()
    }

    async fn probed(check: Check, text: &str) -> (Result<(), String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().into();
        let probe = HttpProbe::new(check, None, SocketOptions::default());
        let server = async { answer(listener.accept().await.unwrap().0, text).await };
        tokio::join!(probe.check(&addr), server)
    }

    async fn check(text: &str, contains: Option<&str>, expected: Result<(), &str>) {
        let contains = contains.map(str::to_owned);
        let (result, _) = probed(Check { contains, expect: vec![200, 204], ..Check::default() }, text).await;
        assert_eq!(result.as_ref().map_err(String::as_str).copied(), expected, "{text:?}");
    }

    #[tokio::test]
    async fn statuses_decide() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", None, Ok(())).await;
        check("HTTP/1.1 204 No Content\r\n\r\n", None, Ok(())).await;
        check("HTTP/1.0 200 OK\r\n\r\nold", None, Ok(())).await;
        check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", None, Ok(())).await;
        check("HTTP/1.1 503 Busy\r\n\r\n", None, Err("it answered 503")).await;
        check("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", None, Err("it answered 302")).await;
        check("HTTP/1.1 200", None, Err("it closed without an answer")).await;
        check("", None, Err("it closed without an answer")).await;
    }

    #[tokio::test]
    async fn a_text_is_looked_for_where_it_is_wanted() {
        let lacks = Err("its answer lacks the expected text");
        check("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nall ok!", Some("ok"), Ok(())).await;
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad", Some("ok"), lacks).await;
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
            Some("ok"),
            Ok(()),
        )
        .await;
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", Some("ok"), lacks)
            .await;
        check("HTTP/1.1 200 OK\r\nX: ok\r\n\r\nbad", Some("ok"), lacks).await;
        let long = format!("{LONG}{}ok", "x".repeat(MAX_BODY));
        let (result, _) = probed(Check { contains: Some("ok".into()), ..Check::default() }, &long).await;
        assert_eq!(result, lacks.map_err(str::to_owned), "beyond what is looked at");
    }

    #[tokio::test]
    async fn what_is_no_http_is_not_well() {
        let (result, _) = probed(Check::default(), "SSH-2.0-OpenSSH\r\n").await;
        assert!(result.is_err());
    }

    #[tokio::test]
    async fn host_path_and_method_are_the_configured_ones() {
        let asked = Check {
            path: "/healthcheck/?full=1".into(),
            host: "shop.example".into(),
            method: "HEAD".into(),
            ..Check::default()
        };
        let (result, heard) = probed(asked, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n").await;
        assert_eq!(result, Ok(()));
        assert!(heard.starts_with("HEAD /healthcheck/?full=1 HTTP/1.1\r\nHost: shop.example\r\n"), "{heard}");
        assert!(heard.contains("\r\nConnection: close\r\n"), "{heard}");
    }

    #[tokio::test]
    async fn a_unix_socket_and_a_mere_connection_will_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let addr = Addr::Unix(path);
        let probe = HttpProbe::new(Check::default(), None, SocketOptions::default());
        let server = async { answer(listener.accept().await.unwrap().0, "HTTP/1.1 200 OK\r\n\r\n").await };
        assert_eq!(tokio::join!(probe.check(&addr), server).0, Ok(()));
        let connect = Check { kind: CheckKind::Connect, timeout: Duration::from_secs(1), ..Check::default() };
        let probe = HttpProbe::new(connect, None, SocketOptions::default());
        assert_eq!(probe.check(&addr).await, Ok(()));
        drop(listener);
        assert!(probe.check(&addr).await.is_err());
    }
}
