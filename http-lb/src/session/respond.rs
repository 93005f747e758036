//! A replica's answer on its way to the client: taken as fast as the replica gives it, sent as fast as the client takes
//! it. Kind: driver.
//!
//! ```text
//!   whole in the first read ──────────────▶ one write
//!   taken: whole, or HOLD bytes ──────────▶ one write, or head and then as fast as the client goes
//!   streamed (server-sent events …) ──────▶ each piece as it comes
//! ```
//! The replica is free as soon as its last byte has come, however slowly the client listens.

use std::future::{Future, poll_fn};
use std::io;
use std::ops::Range;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;

use super::client::{AnswerHead, Client, Gone, Size};
use super::desk::Desk;
use super::lease::Lease;
use crate::body::Backlog;
use crate::edge::compress::Encoder;
use crate::server::Lost;

/// Bytes of an answer that we wait for before we begin to pass it on: one that is whole by then has a length, and leaves
/// in one write. Replicas write a head and its body in two, a moment apart.
const HOLD: u64 = 64 * 1024;

/// Why an answer did not arrive.
#[derive(Debug)]
pub(super) enum Interrupted {
    /// The client has left.
    Gone,
    /// The replica broke off before the client heard anything: it may still be told so.
    Early(Lost),
    /// The replica broke off, or we could not go on, in the middle: the client must see that something is missing.
    Midway,
}

impl From<Gone> for Interrupted {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

impl From<io::Error> for Interrupted {
    fn from(error: io::Error) -> Self {
        tracing::warn!(%error, "an answer can't be kept or compressed");
        Self::Midway
    }
}

/// An answer whose head is known, and who is to hear it.
pub(super) struct Passing<'a, C> {
    pub(super) client: &'a mut C,
    pub(super) desk: &'a Desk,
    pub(super) head: AnswerHead<'a>,
    /// Compresses its body.
    pub(super) encoder: Option<Encoder>,
}

impl<C: Client> Passing<'_, C> {
    /// Passes an answer on whose body is whole, in the scratch.
    pub(super) async fn whole(&mut self, body: Range<usize>) -> Result<(), Interrupted> {
        match self.encoder.take() {
            None => self.client.begin(&self.head, &self.desk.floor.scratch.borrow()[body], true)?,
            Some(mut encoder) => {
                let mut coded = Vec::new();
                encoder.push(&self.desk.floor.scratch.borrow()[body], false, &mut coded)?;
                encoder.finish(&mut coded)?;
                self.begin_coded(&coded)?;
            }
        }
        Ok(self.client.flush().await?)
    }

    fn begin_coded(&mut self, coded: &[u8]) -> Result<(), Gone> {
        self.head.size = Size::Length(coded.len() as u64);
        self.client.begin(&self.head, coded, true)
    }

    /// Passes each piece on as it comes; `first` lies in the scratch.
    pub(super) async fn stream(
        &mut self,
        first: Range<usize>,
        lease: &mut Lease<'_>,
    ) -> Result<(), Interrupted> {
        let scratch = self.desk.floor.scratch.clone();
        let first = self.coded(&scratch.borrow()[first], true)?;
        self.begin(&first)?;
        self.client.flush().await?;
        while !lease.is_done() {
            let came = self.more(lease, |_| Interrupted::Midway).await?;
            let piece = self.coded(&scratch.borrow()[came], true)?;
            self.client.put(&piece)?;
            self.client.flush().await?;
        }
        self.end(lease).await
    }

    /// Takes all of the answer as fast as it comes; `first` lies in the scratch. What the client does not take meanwhile
    /// waits in the backlog.
    pub(super) async fn take(
        &mut self,
        first: Range<usize>,
        lease: &mut Lease<'_>,
        mut backlog: Backlog,
    ) -> Result<(), Interrupted> {
        backlog.push(&self.desk.floor.scratch.borrow()[first]);
        while !lease.is_done() && backlog.len() < HOLD && backlog.has_room() {
            let came = self.more(lease, Interrupted::Early).await?;
            backlog.push(&self.desk.floor.scratch.borrow()[came]);
        }
        if lease.is_done() {
            return self.say(&mut backlog).await;
        }
        let first = backlog.take()?.unwrap_or_default();
        let first = self.coded(&first, false)?;
        self.begin(&first)?;
        while let Some(piece) = self.next(&mut backlog, lease).await? {
            let piece = self.coded_bytes(piece)?;
            self.write(piece, &mut backlog, lease).await?;
        }
        self.end(lease).await
    }

    /// Says an answer that has come whole.
    async fn say(&mut self, backlog: &mut Backlog) -> Result<(), Interrupted> {
        if self.encoder.is_some() {
            let mut coded = Vec::new();
            while let Some(piece) = backlog.take()? {
                coded.extend_from_slice(&self.coded(&piece, false)?);
            }
            coded.extend_from_slice(&self.last()?);
            self.begin_coded(&coded)?;
            return Ok(self.client.flush().await?);
        }
        if let Some(body) = backlog.whole() {
            self.client.begin(&self.head, body, true)?;
            return Ok(self.client.flush().await?);
        }
        self.head.size = match self.head.size {
            Size::Unknown => Size::Length(backlog.len()),
            known => known,
        };
        let first = backlog.take()?.unwrap_or_default();
        self.client.begin(&self.head, &first, false)?;
        while let Some(piece) = backlog.take()? {
            self.client.write(piece).await?;
        }
        self.client.end(&[])?;
        Ok(self.client.flush().await?)
    }

    fn begin(&mut self, first: &[u8]) -> Result<(), Gone> {
        if self.encoder.is_some() {
            self.head.size = Size::Unknown;
        }
        self.client.begin(&self.head, first, false)
    }

    /// Says the end, and what the encoder still has.
    async fn end(&mut self, lease: &Lease<'_>) -> Result<(), Interrupted> {
        let last = self.last()?;
        self.client.write(last.into()).await?;
        self.client.end(lease.trailers())?;
        Ok(self.client.flush().await?)
    }

    fn coded(&mut self, piece: &[u8], flush: bool) -> io::Result<Vec<u8>> {
        let mut coded = Vec::new();
        match &mut self.encoder {
            Some(encoder) => encoder.push(piece, flush, &mut coded)?,
            None => coded.extend_from_slice(piece),
        }
        Ok(coded)
    }

    fn coded_bytes(&mut self, piece: Bytes) -> io::Result<Bytes> {
        if self.encoder.is_none() { Ok(piece) } else { self.coded(&piece, false).map(Bytes::from) }
    }

    fn last(&mut self) -> io::Result<Vec<u8>> {
        let mut coded = Vec::new();
        if let Some(encoder) = self.encoder.take() {
            encoder.finish(&mut coded)?;
        }
        Ok(coded)
    }

    /// The oldest bytes that wait; none wait: the next ones that come.
    async fn next(
        &mut self,
        backlog: &mut Backlog,
        lease: &mut Lease<'_>,
    ) -> Result<Option<Bytes>, Interrupted> {
        loop {
            if let Some(piece) = backlog.take()? {
                return Ok(Some(piece));
            }
            if lease.is_done() {
                return Ok(None);
            }
            let came = self.more(lease, |_| Interrupted::Midway).await?;
            backlog.push(&self.desk.floor.scratch.borrow()[came]);
        }
    }

    /// The next bytes, while there is a client to send them to: their place in the scratch.
    async fn more(
        &mut self,
        lease: &mut Lease<'_>,
        lost: fn(Lost) -> Interrupted,
    ) -> Result<Range<usize>, Interrupted> {
        let mut coming = pin!(lease.more());
        poll_fn(|cx| match coming.as_mut().poll(cx) {
            Poll::Ready(came) => Poll::Ready(came.map_err(lost)),
            Poll::Pending => self.client.poll_gone(cx).map(|()| Err(Interrupted::Gone)),
        })
        .await
    }

    /// Writes a piece, and takes in what comes meanwhile.
    async fn write(
        &mut self,
        piece: Bytes,
        backlog: &mut Backlog,
        lease: &mut Lease<'_>,
    ) -> Result<(), Interrupted> {
        let mut writing = pin!(self.client.write(piece));
        loop {
            tokio::select! {
                biased;
                written = &mut writing => return Ok(written?),
                came = lease.more(), if !lease.is_done() && backlog.has_room() => {
                    let came = came.map_err(|_| Interrupted::Midway)?;
                    backlog.push(&self.desk.floor.scratch.borrow()[came]);
                }
            }
        }
    }
}
