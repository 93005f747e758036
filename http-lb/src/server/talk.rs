//! One request and its answer on a connection to a replica. Kind: driver.
//!
//! What is read lies in the worker's scratch, where it stays until the next await; a body in chunks is packed there, so
//! that whoever asks gets one range of the body's own bytes.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::task::{Context, Poll, ready};

use proxy_core::link::Link;

use crate::body::Measure;
use crate::wire::{HeadLimits, Malformed, Method, ResponseHead};

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The replica closed the connection.
    #[error("the replica closed the connection")]
    Closed,
    /// It has paused for longer than it may.
    #[error("the replica has paused for too long")]
    Late,
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What it answered can't be read.
    #[error("the answer can't be read: {0}")]
    Malformed(#[from] Malformed),
}

/// A connection on which a request is answered.
pub struct Talk {
    link: Link,
    /// What is to come of the answer's body.
    rest: Measure,
    keep_alive: bool,
    /// The replica ends the connection behind this answer.
    closes: bool,
    /// More was said than was asked for.
    babbles: bool,
}

impl Talk {
    /// A connection on which nothing is owed.
    pub fn new(link: Link) -> Self {
        Self { link, rest: Measure::Done, keep_alive: false, closes: false, babbles: false }
    }

    /// Writes what the kernel takes of the two slices.
    #[inline]
    pub fn poll_send(&mut self, cx: &mut Context<'_>, parts: [&[u8]; 2]) -> Poll<io::Result<usize>> {
        match parts {
            [whole, []] => self.link.poll_put(cx, whole), // a plain send costs less than a writev
            parts => self.link.poll_gather(cx, &parts.map(IoSlice::new)),
        }
    }

    /// Passes on what TLS holds back.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.poll_flush(cx)
    }

    /// More than one write will carry this request: none of them is to wait for the acknowledgement of another.
    pub fn send_at_once(&self) {
        if let Some(tcp) = self.link.stream().tcp() {
            let _ = tcp.set_nodelay(true); // without it the request is slower, and all else is the same
        }
    }

    /// Reads the next head: an interim one, or the last. Ready with the place in `scratch` of the body's bytes that came
    /// along. `head` is to be empty, or to hold the beginning of this head.
    ///
    /// # Errors
    /// There will be none.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        head: &mut ResponseHead,
        limits: &HeadLimits,
        method: Method,
    ) -> Poll<Result<Range<usize>, Lost>> {
        loop {
            let read = ready!(self.poll_read(cx, scratch))?;
            if read == 0 {
                return Poll::Ready(Err(Lost::Closed));
            }
            let Some(used) = head.feed(&scratch[..read], limits, method)? else { continue };
            if head.status() < 200 {
                self.link.inbox.keep(&scratch[used..read]);
                return Poll::Ready(Ok(0..0));
            }
            self.rest = head.framing().into();
            self.keep_alive = head.keep_alive();
            self.closes = !self.keep_alive;
            return Poll::Ready(self.unframe(scratch, used..read));
        }
    }

    /// Reads on in the body. Ready with the place of what came in `scratch`, which may be empty.
    ///
    /// # Errors
    /// The body breaks off.
    pub fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<Result<Range<usize>, Lost>> {
        let read = ready!(self.poll_read(cx, scratch))?;
        if read > 0 {
            return Poll::Ready(self.unframe(scratch, 0..read));
        }
        if !self.rest.ends_with_stream() {
            return Poll::Ready(Err(Lost::Closed));
        }
        self.rest = Measure::Done;
        Poll::Ready(Ok(0..0))
    }

    /// What an interim head left over, or what the socket has.
    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<usize>> {
        let left = self.link.inbox.rest();
        if left.is_empty() {
            return self.link.poll_fill(cx, scratch);
        }
        let read = left.len().min(scratch.len());
        scratch[..read].copy_from_slice(&left[..read]);
        self.link.inbox.consume(read);
        Poll::Ready(Ok(read))
    }

    /// Takes the body's own bytes out of what was read, and packs them where the first of them lies.
    fn unframe(&mut self, scratch: &mut [u8], read: Range<usize>) -> Result<Range<usize>, Lost> {
        let (mut at, mut packed) = (read.start, 0..0);
        while at < read.end && !self.rest.is_done() {
            let portion = self.rest.take(&scratch[at..read.end])?;
            let data = at + portion.data.start..at + portion.data.end;
            if packed.is_empty() {
                packed = data;
            } else {
                let len = data.len();
                scratch.copy_within(data, packed.end);
                packed.end += len;
            }
            at += portion.used;
        }
        self.babbles = at < read.end;
        Ok(packed)
    }

    /// Not all of the request was said: the connection is closed behind the answer.
    pub fn spend(&mut self) {
        (self.keep_alive, self.closes) = (false, false);
    }

    /// Whether the answer is whole.
    pub fn is_done(&self) -> bool {
        self.rest.is_done()
    }

    /// The fields behind the body.
    pub fn trailers(&self) -> &[u8] {
        self.rest.trailers()
    }

    /// The replica has said more than it was asked for: nothing that follows on this connection can be trusted.
    pub fn babbles(&self) -> bool {
        self.babbles
    }

    /// The connection, if it can carry another request.
    ///
    /// One that the replica ends behind its whole answer is reset: all was said and heard on both sides, and nobody would
    /// gain from two more segments, and from a TIME_WAIT that the replica keeps for a minute. HAProxy does so towards
    /// servers, too.
    pub fn into_kept(self) -> Option<Link> {
        let whole = self.rest.is_done() && !self.babbles;
        if let (true, true, Some(tcp)) = (whole, self.closes, self.link.stream().tcp()) {
            let _ = tcp.set_zero_linger(); // without it the end takes longer, and all else is the same
        }
        (whole && self.keep_alive).then_some(self.link)
    }

    /// The connection, for something other than HTTP.
    pub fn into_link(self) -> Link {
        self.link
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;

    struct Heard {
        status: u16,
        body: String,
        babbles: bool,
        kept: bool,
    }

    /// Hears an answer that is sent in pieces, and perhaps the end of the connection.
    async fn hear(pieces: &[&str], ends: bool) -> Result<Heard, Lost> {
        let (near, mut far) = UnixStream::pair().unwrap();
        let (mut talk, mut scratch, mut body) =
            (Talk::new(Link::new(near.into(), &[])), [0; 1024], String::new());
        let (mut head, limits) = (ResponseHead::new(), HeadLimits::default());
        let mut pieces = pieces.iter();
        let mut next = || pieces.next().map(|piece| piece.as_bytes().to_vec());
        let mut came: Option<Range<usize>> = None;
        loop {
            match next() {
                Some(piece) => far.write_all(&piece).await.unwrap(),
                None if ends => far.shutdown().await.unwrap(),
                None => {}
            }
            if came.is_none() {
                came = tokio::time::timeout(
                    std::time::Duration::from_millis(20),
                    poll_fn(|cx| talk.poll_head(cx, &mut scratch, &mut head, &limits, Method::Get)),
                )
                .await
                .ok()
                .transpose()?;
                let Some(range) = came.clone() else { continue };
                body.push_str(std::str::from_utf8(&scratch[range]).unwrap());
            } else if !talk.is_done() {
                let range = poll_fn(|cx| talk.poll_body(cx, &mut scratch)).await?;
                body.push_str(std::str::from_utf8(&scratch[range]).unwrap());
            }
            if came.is_some() && talk.is_done() {
                break;
            }
        }
        Ok(Heard { status: head.status(), body, babbles: talk.babbles(), kept: talk.into_kept().is_some() })
    }

    #[track_caller]
    fn check(pieces: &[&str], ends: bool, expected: Option<(u16, &str, bool, bool)>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        let heard = runtime.unwrap().block_on(hear(pieces, ends));
        let heard =
            heard.as_ref().map(|heard| (heard.status, heard.body.as_str(), heard.babbles, heard.kept));
        assert_eq!(heard.ok(), expected);
    }

    /// What a replica that has answered hears of the end of its connection.
    async fn farewell(answer: &str, spent: bool) -> io::Result<usize> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let near = tokio::net::TcpStream::connect(listener.local_addr()?).await?;
        let (mut far, _) = listener.accept().await?;
        far.write_all(answer.as_bytes()).await?;
        let mut talk = Talk::new(Link::new(near.into(), &[]));
        let (mut scratch, mut head, limits) = ([0; 1024], ResponseHead::new(), HeadLimits::default());
        poll_fn(|cx| talk.poll_head(cx, &mut scratch, &mut head, &limits, Method::Get)).await.unwrap();
        if spent {
            talk.spend();
        }
        drop(talk.into_kept());
        far.read(&mut scratch).await
    }

    #[tokio::test]
    async fn a_connection_that_the_replica_ends_is_reset_behind_its_whole_answer() {
        let ends = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi";
        let reset = farewell(ends, false).await.unwrap_err();
        assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(farewell(ends, true).await.unwrap(), 0, "not all of the request was said");
        assert_eq!(
            farewell(&format!("{ends} and more"), false).await.unwrap(),
            0,
            "nobody knows what it says"
        );
        assert_eq!(farewell("HTTP/1.1 204 Fine\r\n\r\n", false).await.unwrap(), 0, "it would have been kept");
    }

    #[test]
    fn an_answer_is_heard_to_its_end() {
        let whole = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        check(&[whole], false, Some((200, "hello", false, true)));
        check(&[&whole[..20], &whole[20..40], &whole[40..]], false, Some((200, "hello", false, true)));
        check(&["HTTP/1.1 204 No Content\r\n\r\n"], false, Some((204, "", false, true)));
    }

    #[test]
    fn chunks_are_packed() {
        let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
        check(&[chunks], false, Some((200, "hello", false, true)));
        check(&[&chunks[..50], &chunks[50..55], &chunks[55..]], false, Some((200, "hello", false, true)));
    }

    #[test]
    fn an_answer_without_a_length_ends_with_its_connection() {
        check(&["HTTP/1.1 200 OK\r\n\r\nhel", "lo"], true, Some((200, "hello", false, false)));
    }

    #[test]
    fn who_closes_is_not_kept() {
        let close = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi";
        check(&[close], true, Some((200, "hi", false, false)));
    }

    #[test]
    fn who_says_more_than_asked_is_not_trusted() {
        let more = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n";
        check(&[more], false, Some((200, "hi", true, false)));
    }

    #[test]
    fn an_answer_that_breaks_off_is_lost() {
        check(&["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel"], true, None);
        check(&["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n"], true, None);
        check(&["HTTP/1.1 200"], true, None);
        check(&["nonsense"], false, None);
    }
}
