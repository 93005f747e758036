//! A client of HTTP/1.1 that sends bytes, whatever they are, and reads answers. Kind: driver.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::error::{Context, Error, Result};

/// For an answer that must come, on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);

/// An open connection.
pub(super) struct Raw {
    stream: TcpStream,
    bytes: Vec<u8>,
    ended: bool,
}

/// A whole answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The head, with its last line end.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Raw {
    /// Connects.
    pub(super) fn connect(addr: SocketAddr) -> Result<Self> {
        Self::with_patience(addr, PATIENCE)
    }

    /// The same, for somebody who waits for so long only.
    pub(super) fn with_patience(addr: SocketAddr, patience: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE).context(addr)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, bytes: Vec::new(), ended: false })
    }

    /// A request on a connection of its own, and its answer.
    pub(super) fn ask(addr: SocketAddr, request: &[u8]) -> Result<Answer> {
        let mut raw = Self::connect(addr)?;
        raw.send(request);
        raw.answer()?.ok_or_else(|| Error::new("it hung up without an answer"))
    }

    /// A GET with a kept connection.
    pub(super) fn get(&mut self, path: &str) -> Result<Answer> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        self.answer()?.ok_or_else(|| Error::new("it hung up without an answer"))
    }

    /// Sends all of it; false: the other side took no more.
    pub(super) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// What the socket is told beside bytes.
    pub(super) fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Says that nothing more comes from here.
    pub(super) fn half_close(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The next final answer, whole; none: the connection ended before its first byte.
    pub(super) fn answer(&mut self) -> Result<Option<Answer>> {
        self.answer_to(false)
    }

    /// The same, to a HEAD or to something else.
    pub(super) fn answer_to(&mut self, head: bool) -> Result<Option<Answer>> {
        loop {
            let Some(answer) = self.read_answer(head)? else { return Ok(None) };
            if answer.status >= 200 {
                return Ok(Some(answer));
            }
        }
    }

    /// The next answer, interim ones too.
    pub(super) fn any_answer(&mut self) -> Result<Option<Answer>> {
        self.read_answer(false)
    }

    fn read_answer(&mut self, bodiless: bool) -> Result<Option<Answer>> {
        let end = loop {
            match find(&self.bytes, b"\r\n\r\n") {
                Some(at) => break at + 4,
                None if self.fill()? == 0 && self.bytes.is_empty() => return Ok(None),
                None if self.ended => return Err(Error::new("it hung up within a head")),
                None => {}
            }
        };
        let head = String::from_utf8_lossy(&self.bytes[..end]).into_owned();
        self.bytes.drain(..end);
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| Error::new(format!("no status in {head:?}")))?;
        let body = if bodiless { Vec::new() } else { self.body(status, &head)? };
        Ok(Some(Answer { status, head, body }))
    }

    fn body(&mut self, status: u16, head: &str) -> Result<Vec<u8>> {
        if status < 200 || status == 204 || status == 304 {
            return Ok(Vec::new());
        }
        if field(head, "transfer-encoding").is_some() {
            return self.chunks();
        }
        match field(head, "content-length").and_then(|length| length.parse().ok()) {
            Some(length) => self.exactly(length),
            None => {
                while self.fill()? > 0 {}
                Ok(std::mem::take(&mut self.bytes))
            }
        }
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.bytes.len() < length {
            if self.fill()? == 0 {
                return Err(Error::new("it hung up within a body"));
            }
        }
        Ok(self.bytes.drain(..length).collect())
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = loop {
                match find(&self.bytes, b"\r\n") {
                    Some(at) => break self.exactly(at + 2)?,
                    None if self.fill()? == 0 => return Err(Error::new("it hung up within a chunk")),
                    None => {}
                }
            };
            let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16);
            let size = size.map_err(|e| Error::new(format!("{e} in a chunk's line {line:?}")))?;
            let piece = self.exactly(size + 2)?;
            body.extend_from_slice(&piece[..size]);
            if size == 0 {
                return Ok(body);
            }
        }
    }

    /// Whether the other side has ended the connection, as far as that was read.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// What else comes before the end; an error if there is none.
    pub(super) fn rest(&mut self) -> Result<Vec<u8>> {
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.bytes))
    }

    /// Reads once; 0: the end, however it came.
    fn fill(&mut self) -> Result<usize> {
        let mut buffer = [0; 16 * 1024];
        loop {
            return match self.stream.read(&mut buffer) {
                Ok(read) => {
                    self.bytes.extend_from_slice(&buffer[..read]);
                    self.ended |= read == 0;
                    Ok(read)
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(Error::new("it says nothing")),
                Err(_) => {
                    self.ended = true;
                    Ok(0)
                }
            };
        }
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[track_caller]
    fn check(said: &'static str, expected: &[(u16, &str)]) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut raw = Raw::connect(listener.local_addr().unwrap()).unwrap();
        listener.accept().unwrap().0.write_all(said.as_bytes()).unwrap();
        for (status, body) in expected {
            let answer = raw.answer().unwrap().unwrap();
            assert_eq!((answer.status, String::from_utf8_lossy(&answer.body).as_ref()), (*status, *body));
        }
        assert_eq!(raw.answer().unwrap(), None);
    }

    #[test]
    fn answers_are_read_in_each_framing() {
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 304 N\r\n\r\n",
            &[(200, "ab"), (304, "")],
        );
        check(
            "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            &[(200, "ab")],
        );
        check("HTTP/1.0 404 N\r\n\r\nno", &[(404, "no")]);
    }
}
