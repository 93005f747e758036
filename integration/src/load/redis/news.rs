//! A client that publishes on one connection what it subscribed to on another. Kind: driver.

use std::time::{Duration, Instant};

use super::client::Client;
use crate::load::tally::ClientLog;
use crate::redis::{Connection, Value};

/// A message that has not come by then does not come: publishing is fire and forget.
const DELIVERY: Duration = Duration::from_millis(500);

pub(super) async fn run(client: Client) -> ClientLog {
    let channel = client.own_key("news");
    let mut reader = Reader { client, channel, sent: 0, settled: 0, seen: 0 };
    let (mut subscriber, mut publisher) = (None, None);
    while !reader.client.shared.stopped() {
        if subscriber.is_none() {
            subscriber = reader.subscribe().await;
        }
        if publisher.is_none() {
            publisher = reader.client.open().await;
        }
        let (Some(listening), Some(publishing)) = (&mut subscriber, &mut publisher) else { continue };
        if !reader.publish(publishing).await {
            reader.client.disconnected();
            publisher = None;
        }
        if !reader.listen(listening).await {
            reader.client.disconnected();
            subscriber = None;
        }
        reader.client.think().await;
    }
    reader.client.log
}

struct Reader {
    client: Client,
    channel: String,
    /// The number of the last message that was published.
    sent: u64,
    /// Up to here nothing is waited for any longer.
    settled: u64,
    /// The number of the last message that came.
    seen: u64,
}

impl Reader {
    async fn subscribe(&mut self) -> Option<Connection> {
        let mut connection = self.client.open().await?;
        let [reply] = self.client.exchange(&mut connection, [&["SUBSCRIBE", &self.channel]]).await;
        let channel = self.channel.clone();
        self.client.read(&reply, |value| match value.items() {
            [kind, name, count] => {
                (kind.text(), name.text(), count.number()) == (Some("subscribe"), Some(&channel), Some(1))
            }
            _ => false,
        });
        reply.alive().ok().map(|()| connection)
    }

    /// Whether the connection lives.
    async fn publish(&mut self, connection: &mut Connection) -> bool {
        self.sent += 1;
        let (sent, message) = (Instant::now(), format!("{}-{}", self.client.number, self.sent));
        let [reply] = self.client.exchange(connection, [&["PUBLISH", &self.channel, &message]]).await;
        self.client.write(None, sent, &reply, |value| matches!(value, Value::Integer(_)));
        reply.alive().is_ok()
    }

    /// Waits for the last message; whether the connection lives.
    async fn listen(&mut self, connection: &mut Connection) -> bool {
        while self.settled < self.sent {
            match tokio::time::timeout(DELIVERY, connection.receive()).await {
                Ok(Ok(message)) => self.heard(&message),
                Ok(Err(_)) => return false,
                Err(_) => {
                    self.client.log.missed_messages += self.sent - self.settled;
                    self.settled = self.sent;
                }
            }
        }
        true
    }

    fn heard(&mut self, message: &Value) {
        let number = match message.items() {
            [kind, channel, body]
                if kind.text() == Some("message") && channel.text() == Some(&self.channel) =>
            {
                body.text()
                    .and_then(|body| body.strip_prefix(&format!("{}-", self.client.number))?.parse().ok())
            }
            _ => None,
        };
        match number {
            Some(number) if number > self.seen && number <= self.sent => self.accept(number),
            _ => self.client.wrong(format!("after message {} came {message}", self.seen)),
        }
    }

    /// A message that was given up may still come: it was counted as missed, and is not any more.
    fn accept(&mut self, number: u64) {
        let missed = &mut self.client.log.missed_messages;
        if number <= self.settled {
            *missed = missed.saturating_sub(1);
        } else {
            *missed += number - self.settled - 1;
            self.settled = number;
        }
        self.seen = number;
    }
}
