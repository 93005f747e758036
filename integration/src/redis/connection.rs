//! A client of Redis for a task: what load clients and watchers speak through. Kind: driver.

use super::{Account, Resp, Value, resp};
use std::{io, net::SocketAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    inbox: Vec<u8>,
    /// How much of the inbox has been handed out.
    taken: usize,
}

impl Connection {
    /// Connects and logs in.
    pub async fn open(addr: SocketAddr, who: Account, version: Resp) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self { stream, inbox: Vec::new(), taken: 0 };
        let greeting: &[&str] = match version {
            Resp::V2 => &who.auth(),
            Resp::V3 => &["HELLO", "3", "AUTH", who.user, who.password],
        };
        match connection.call(greeting).await? {
            Value::Error(text) => Err(io::Error::other(text)),
            _ => Ok(connection),
        }
    }

    /// Sends one command and waits for its reply.
    pub async fn call(&mut self, arguments: &[&str]) -> io::Result<Value> {
        let mut request = Vec::new();
        resp::request_of(&mut request, arguments);
        self.send(&request).await?;
        self.receive().await
    }

    /// Sends requests as they were written.
    pub async fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        self.stream.write_all(requests).await
    }

    /// The next reply or push. Dropping the future loses nothing.
    pub async fn receive(&mut self) -> io::Result<Value> {
        loop {
            let fresh = &self.inbox[self.taken..];
            let parsed = resp::reply(fresh);
            match parsed.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.0))? {
                Some((value, length)) => {
                    self.taken += length;
                    return Ok(value);
                }
                None => self.read().await?,
            }
        }
    }

    async fn read(&mut self) -> io::Result<()> {
        self.inbox.drain(..self.taken);
        self.taken = 0;
        match self.stream.read_buf(&mut self.inbox).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}
