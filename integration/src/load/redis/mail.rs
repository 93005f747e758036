//! A client that waits for an item on one connection and posts it on another, as a worker of a task queue. Kind: driver.

use std::time::{Duration, Instant};

use super::client::Client;
use super::ledger::Queue;
use super::mixed::{popped, push};
use crate::load::tally::ClientLog;

/// A failover may keep an item away for longer; then the answer is empty, and the next turn asks again.
const POP_SECONDS: &str = "5";

/// Long enough for the wait to have begun.
const POSTED_AFTER: Duration = Duration::from_millis(5);

pub(super) async fn run(mut client: Client) -> ClientLog {
    let (mut waiter, mut poster, mut queue) = (None, None, Queue::default());
    let key = client.own_key("m");
    loop {
        let Some(mut waiting) = ready(&mut client, waiter.take()).await else { return client.log };
        let Some(mut posting) = ready(&mut client, poster.take()).await else { return client.log };
        let sent = Instant::now();
        queue.asked();
        client.send(&mut waiting, &[&["BRPOP", &key, POP_SECONDS]]).await;
        tokio::time::sleep(POSTED_AFTER).await;
        let item = client.shared.new_id();
        match push(&mut client, &mut posting, &mut queue, &key, item).await {
            Ok(()) => poster = Some(posting),
            Err(_) => client.disconnected(),
        }
        let value = client.receive(&mut waiting).await;
        let reply = super::client::Reply { at: Instant::now(), value };
        popped(&mut client, &mut queue, &key, sent, &reply);
        match reply.alive() {
            Ok(()) => waiter = Some(waiting),
            Err(_) => client.disconnected(),
        }
        client.think().await;
    }
}

/// The connection that there is, or a new one; none when the load is over.
async fn ready(
    client: &mut Client,
    connection: Option<crate::redis::Connection>,
) -> Option<crate::redis::Connection> {
    match connection {
        Some(connection) if !client.shared.stopped() => Some(connection),
        _ => client.open().await,
    }
}
