//! A client of Redis or of Sentinel that blocks its thread: for setting up, looking and checking. Kind: driver.

use super::{Account, Value, resp};
use crate::{Context, Error, Result};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Longer than any command of ours takes, dumps of all keys included; a stopped server is noticed all the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    addr: SocketAddr,
    inbox: Vec<u8>,
}

impl Client {
    /// Connects without logging in.
    pub fn connect(addr: SocketAddr) -> Result<Self> {
        Self::connect_within(addr, PATIENCE)
    }

    /// The same with a patience of its own, which every later call has too.
    pub fn connect_within(addr: SocketAddr, patience: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, patience).context(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        Ok(Self { stream, addr, inbox: Vec::new() })
    }

    /// Connects and logs in.
    pub fn login(addr: SocketAddr, who: Account) -> Result<Self> {
        let mut client = Self::connect(addr)?;
        client.call(&who.auth())?;
        Ok(client)
    }

    /// Sends a command and gives its reply; an error reply is an error.
    pub fn call(&mut self, arguments: &[&str]) -> Result<Value> {
        match self.ask(arguments)? {
            Value::Error(text) => Err(Error::new(format!("{}: {}: {text}", self.addr, arguments[0]))),
            value => Ok(value),
        }
    }

    /// The same where an error reply is an answer, too.
    pub fn ask(&mut self, arguments: &[&str]) -> Result<Value> {
        let mut request = Vec::new();
        resp::request_of(&mut request, arguments);
        self.stream.write_all(&request).context(self.addr)?;
        self.receive()
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context(self.addr)
    }

    /// The next reply.
    pub fn receive(&mut self) -> Result<Value> {
        let mut piece = [0; 16 * 1024];
        loop {
            if let Some((value, length)) = resp::reply(&self.inbox).map_err(|e| Error::new(e.0))? {
                self.inbox.drain(..length);
                return Ok(value);
            }
            match self.stream.read(&mut piece).context(self.addr)? {
                0 => return Err(Error::new(format!("{}: the connection was closed", self.addr))),
                length => self.inbox.extend_from_slice(&piece[..length]),
            }
        }
    }
}
