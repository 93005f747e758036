//! A stream on which messages are sent and awaited, one at a time. Kind: driver.

use crate::wire::frame::{FrameError, Inbox, Message};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Why no message came.
#[derive(Debug, thiserror::Error)]
pub enum TalkError {
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What came is not a message.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// A stream and what has been read of it.
#[derive(Debug)]
pub(super) struct Talk<S> {
    stream: S,
    inbox: Inbox,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    /// Refuses messages longer than `cap`.
    pub(super) fn new(stream: S, cap: u32) -> Self {
        Self { stream, inbox: Inbox::new(cap) }
    }

    /// As if `bytes` had been read first.
    pub(super) fn with(mut self, bytes: &[u8]) -> Self {
        self.inbox.push(bytes);
        self
    }

    /// Sends all of `bytes`.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// The next message. Dropping the future loses nothing: what has been read stays.
    pub(super) async fn next(&mut self) -> Result<Message<'_>, TalkError> {
        while !self.inbox.is_ready()? {
            self.fill().await?;
        }
        Ok(self.inbox.pop()?.expect("a whole message is there"))
    }

    async fn fill(&mut self) -> Result<(), TalkError> {
        match self.stream.read_buf(self.inbox.tail()).await? {
            0 => Err(TalkError::Closed),
            _ => Ok(()),
        }
    }

    /// The stream, and what was read of it beyond the last message.
    pub(super) fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.inbox.into_rest())
    }
}
