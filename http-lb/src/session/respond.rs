//! A replica's answer on its way to the client: taken as fast as the replica gives it, sent as fast as the client takes
//! it. Kind: driver.
//!
//! ```text
//!   whole in the first read ──────────────▶ one write
//!   taken: whole, or HOLD bytes ──────────▶ one write, or head and then as fast as the client goes
//!   streamed (server-sent events …) ──────▶ each piece as it comes
//! ```
//! The replica is free as soon as its last byte has come, however slowly the client listens.

use std::ops::Range;
use std::pin::pin;

use bytes::Bytes;

use super::client::{AnswerHead, Client, Gone};
use super::desk::Desk;
use super::lease::Lease;
use crate::body::Backlog;
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
    /// The replica broke off, or we could not keep what it said, in the middle: the client must see that something is
    /// missing.
    Midway,
}

impl From<Gone> for Interrupted {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

/// Passes an answer on whose body is whole, in the scratch.
pub(super) async fn whole<C: Client>(
    client: &mut C,
    desk: &Desk,
    head: &AnswerHead<'_>,
    body: Range<usize>,
) -> Result<(), Interrupted> {
    client.begin(head, &desk.floor.scratch.borrow()[body], true)?;
    Ok(client.flush().await?)
}

/// Passes each piece on as it comes; `first` lies in the scratch.
pub(super) async fn stream<C: Client>(
    client: &mut C,
    desk: &Desk,
    head: &AnswerHead<'_>,
    first: Range<usize>,
    lease: &mut Lease<'_>,
) -> Result<(), Interrupted> {
    client.begin(head, &desk.floor.scratch.borrow()[first], false)?;
    client.flush().await?;
    while !lease.is_done() {
        tokio::select! {
            biased;
            came = lease.more() => {
                let came = came.map_err(|_| Interrupted::Midway)?;
                client.put(&desk.floor.scratch.borrow()[came])?;
            }
            () = client.gone() => return Err(Interrupted::Gone),
        }
        client.flush().await?;
    }
    client.end(lease.trailers())?;
    Ok(client.flush().await?)
}

/// Takes all of the answer as fast as it comes; `first` lies in the scratch. What the client does not take meanwhile waits
/// in the backlog.
pub(super) async fn take<C: Client>(
    client: &mut C,
    desk: &Desk,
    head: &AnswerHead<'_>,
    first: Range<usize>,
    lease: &mut Lease<'_>,
    mut backlog: Backlog,
) -> Result<(), Interrupted> {
    backlog.push(&desk.floor.scratch.borrow()[first]);
    while !lease.is_done() && backlog.len() < HOLD && backlog.has_room() {
        let came = lease.more().await.map_err(Interrupted::Early)?;
        backlog.push(&desk.floor.scratch.borrow()[came]);
    }
    if lease.is_done()
        && let Some(body) = backlog.whole()
    {
        client.begin(head, body, true)?;
        return Ok(client.flush().await?);
    }
    let first = backlog.take().map_err(|_| Interrupted::Midway)?.unwrap_or_default();
    client.begin(head, &first, false)?;
    while let Some(piece) = next(&mut backlog, desk, lease).await? {
        write(client, piece, &mut backlog, desk, lease).await?;
    }
    client.end(lease.trailers())?;
    Ok(client.flush().await?)
}

/// The oldest bytes that wait; none wait: the next ones that come.
async fn next(
    backlog: &mut Backlog,
    desk: &Desk,
    lease: &mut Lease<'_>,
) -> Result<Option<Bytes>, Interrupted> {
    loop {
        if let Some(piece) = backlog.take().map_err(|_| Interrupted::Midway)? {
            return Ok(Some(piece));
        }
        if lease.is_done() {
            return Ok(None);
        }
        let came = lease.more().await.map_err(|_| Interrupted::Midway)?;
        backlog.push(&desk.floor.scratch.borrow()[came]);
    }
}

/// Writes a piece, and takes in what comes meanwhile.
async fn write<C: Client>(
    client: &mut C,
    piece: Bytes,
    backlog: &mut Backlog,
    desk: &Desk,
    lease: &mut Lease<'_>,
) -> Result<(), Interrupted> {
    let mut writing = pin!(client.write(piece));
    loop {
        tokio::select! {
            biased;
            written = &mut writing => return Ok(written?),
            came = lease.more(), if !lease.is_done() && backlog.has_room() => {
                let came = came.map_err(|_| Interrupted::Midway)?;
                backlog.push(&desk.floor.scratch.borrow()[came]);
            }
        }
    }
}
