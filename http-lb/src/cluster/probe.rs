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
