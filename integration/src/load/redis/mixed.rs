//! A client that does a bit of everything, one thing each turn. Kind: driver.

use std::time::Instant;

use super::KEY;
use super::client::{Client, Cut, Reply};
use super::ledger::{Counter, Queue};
use crate::load::tally::{ClientLog, Outcome};
use crate::redis::{Connection, Value};

/// Answers with what it wrote.
const SCRIPT: &str = "redis.call('SET', KEYS[1], ARGV[1]) return ARGV[1]";

/// Longer than a push takes to be seen, shorter than anybody's patience.
const POP_SECONDS: &str = "2";

pub(super) async fn run(client: Client) -> ClientLog {
    let turn = client.number as u64;
    let mut mixed =
        Mixed { client, turn, counter: Counter::default(), queue: Queue::default(), known: None, sha: None };
    while let Some(mut connection) = mixed.client.open().await {
        if mixed.work(&mut connection).await.is_err() {
            mixed.client.disconnected();
        }
    }
    mixed.client.log
}

struct Mixed {
    client: Client,
    turn: u64,
    counter: Counter,
    queue: Queue,
    /// The last key that was surely written, and its value.
    known: Option<(String, String)>,
    /// The script's name, once the server has told it.
    sha: Option<String>,
}

/// A write under way: its id, its key and its value, when it was sent.
struct Entry {
    id: i64,
    key: String,
    value: String,
    sent: Instant,
}

impl Mixed {
    /// Returns when the load, the session or the connection is over.
    async fn work(&mut self, connection: &mut Connection) -> Result<(), Cut> {
        let last = self.client.options.session_length.map_or(u64::MAX, |length| self.turn + length);
        while !self.client.shared.stopped() && self.turn < last {
            self.turn += 1;
            match self.turn % 8 {
                0 => self.set(connection).await?,
                1 => self.get(connection).await?,
                2 => self.increment(connection).await?,
                3 => self.push_and_pop(connection).await?,
                4 => self.transaction(connection).await?,
                5 => self.script(connection).await?,
                6 => self.pipeline(connection).await?,
                _ => self.watched(connection).await?,
            }
            self.client.think().await;
        }
        Ok(())
    }

    fn entry(&self) -> Entry {
        let id = self.client.shared.new_id();
        let value = format!("{id}:{}", self.client.number);
        Entry { id, key: format!("{KEY}{id}"), value, sent: Instant::now() }
    }

    /// Enters a write with an id.
    fn written(&mut self, entry: Entry, reply: &Reply, good: impl Fn(&Value) -> bool) -> Outcome {
        let outcome = self.client.write(Some(entry.id), entry.sent, reply, good);
        if matches!(outcome, Outcome::Acked(_)) {
            self.known = Some((entry.key, entry.value));
        }
        outcome
    }

    /// Enters the outcome of an increment; `value` is where the counter's value is in a good reply.
    fn incremented(&mut self, outcome: &Outcome, value: Option<i64>) {
        match (outcome, value) {
            (Outcome::Acked(_), Some(value)) => {
                let proof = self.counter.acked(value);
                self.client.proven(proof, || format!("its counter went to {value} by itself"));
            }
            (Outcome::Unknown, _) => self.counter.unknown(),
            _ => {}
        }
    }

    async fn set(&mut self, connection: &mut Connection) -> Result<(), Cut> {
        let entry = self.entry();
        let [reply] = self.client.exchange(connection, [&["SET", &entry.key, &entry.value]]).await;
        self.written(entry, &reply, Value::is_ok);
        reply.alive()
    }

    /// What is gone is counted at the end: an empty answer tells nothing new.
    async fn get(&mut self, connection: &mut Connection) -> Result<(), Cut> {
        let Some((key, value)) = self.known.clone() else { return Ok(()) };
        let [reply] = self.client.exchange(connection, [&["GET", &key]]).await;
        self.client.read(&reply, |got| got.text() == Some(&value) || *got == Value::Null);
        reply.alive()
    }

    async fn increment(&mut self, connection: &mut Connection) -> Result<(), Cut> {
        let (sent, key) = (Instant::now(), self.client.own_key("c"));
        let [reply] = self.client.exchange(connection, [&["INCR", &key]]).await;
        let outcome = self.client.write(None, sent, &reply, |value| matches!(value, Value::Integer(_)));
        self.incremented(&outcome, reply.value.as_ref().and_then(Value::number));
        reply.alive()
    }

    async fn push_and_pop(&mut self, connection: &mut Connection) -> Result<(), Cut> {
        let (key, item) = (self.client.own_key("q"), self.client.shared.new_id());
        push(&mut self.client, connection, &mut self.queue, &key, item).await?;
        let sent = Instant::now();
        self.queue.asked();
        let [reply] = self.client.exchange(connection, [&["BRPOP", &key, POP_SECONDS]]).await;
        popped(&mut self.client, &mut self.queue, &key, sent, &reply);
        reply.alive()
    }

    /// As the pipelines of client libraries: all of it in one write.
    async fn transaction(&mut self, connection: &mut Connection) -> Result<(), Cut> {
        let (entry, counter) = (self.entry(), self.client.own_key("c"));
        let commands: [&[&str]; 4] =
            [&["MULTI"], &["SET", &entry.key, &entry.value], &["INCR", &counter], &["EXEC"]];
        let [_, _, _, reply] = self.client.exchange(connection, commands).await;
        let good = |value: &Value| matches!(value.items(), [set, Value::Integer(_)] if set.is_ok());
        let outcome = self.written(entry, &reply, good);
        let value = reply.value.as_ref().and_then(|value| value.items().get(1)?.number());
        self.incremented(&outcome, value);
        reply.alive()
    }

    async fn script(&mut self, connection: &mut Connection) -> Result<(), Cut> {
        let Some(sha) = self.sha.clone() else { return self.load_script(connection).await };
        let entry = self.entry();
        let command = ["EVALSHA", &sha, "1", &entry.key, &entry.value];
        let [reply] = self.client.exchange(connection, [&command]).await;
        if reply.value.as_ref().and_then(Value::error).is_some_and(|text| text.starts_with("NOSCRIPT")) {
            self.sha = None;
        }
        let value = entry.value.clone();
        self.written(entry, &reply, |got| got.text() == Some(&value));
        reply.alive()
    }

    async fn load_script(&mut self, connection: &mut Connection) -> Result<(), Cut> {
        let [reply] = self.client.exchange(connection, [&["SCRIPT", "LOAD", SCRIPT]]).await;
        self.client.read(&reply, |sha| sha.text().is_some_and(|sha| sha.len() == 40));
        self.sha = reply.value.as_ref().and_then(Value::text).map(Into::into);
        reply.alive()
    }

    /// The answers must come in order.
    async fn pipeline(&mut self, connection: &mut Connection) -> Result<(), Cut> {
        let (entry, tag) = (self.entry(), format!("{}-{}", self.client.number, self.turn));
        let (key, value) = (entry.key.clone(), entry.value.clone());
        let commands: [&[&str]; 4] =
            [&["SET", &key, &value], &["ECHO", &tag], &["GET", &key], &["STRLEN", &key]];
        let [set, echo, get, length] = self.client.exchange(connection, commands).await;
        let outcome = self.written(entry, &set, Value::is_ok);
        let sure = matches!(outcome, Outcome::Acked(_));
        self.client.read(&echo, |got| got.text() == Some(&tag));
        self.client.read(&get, |got| got.text() == Some(&value) || !sure && *got == Value::Null);
        let expected = value.len() as i64;
        self.client.read(&length, |got| got.number() == Some(expected) || !sure && *got == Value::Integer(0));
        length.alive()
    }

    /// Nobody else touches the key, so only a failover may abort it: no failure, and no write either.
    async fn watched(&mut self, connection: &mut Connection) -> Result<(), Cut> {
        let key = self.client.own_key("c");
        let [watch, get] = self.client.exchange(connection, [&["WATCH", &key], &["GET", &key]]).await;
        self.client.read(&watch, Value::is_ok);
        self.client.read(&get, |got| got.number().is_some() || *got == Value::Null);
        get.alive()?;
        let entry = self.entry();
        let commands: [&[&str]; 3] = [&["MULTI"], &["SET", &entry.key, &entry.value], &["EXEC"]];
        let [_, _, reply] = self.client.exchange(connection, commands).await;
        if reply.value != Some(Value::Null) {
            self.written(entry, &reply, |value| matches!(value.items(), [set] if set.is_ok()));
        }
        reply.alive()
    }
}

/// Pushes an item and enters it.
pub(super) async fn push(
    client: &mut Client,
    connection: &mut Connection,
    queue: &mut Queue,
    key: &str,
    item: i64,
) -> Result<(), Cut> {
    let sent = Instant::now();
    let [reply] = client.exchange(connection, [&["LPUSH", key, &item.to_string()]]).await;
    match client.write(None, sent, &reply, |value| matches!(value, Value::Integer(1..))) {
        Outcome::Acked(_) => queue.pushed(item, true),
        Outcome::Unknown => queue.pushed(item, false),
        Outcome::Failed(_) => {}
    }
    reply.alive()
}

/// Enters what a BRPOP gave.
pub(super) fn popped(client: &mut Client, queue: &mut Queue, key: &str, sent: Instant, reply: &Reply) {
    let item = |value: &Value| match value.items() {
        [from, item] if from.text() == Some(key) => item.number(),
        _ => None,
    };
    let good = |value: &Value| *value == Value::Null || item(value).is_some();
    let outcome = client.write(None, sent, reply, good);
    let proof = match (&outcome, reply.value.as_ref().and_then(item)) {
        (Outcome::Acked(_), Some(item)) => queue.popped(item, sent),
        (Outcome::Acked(_), None) => queue.empty(),
        (Outcome::Unknown, _) => return queue.unknown_pop(),
        (Outcome::Failed(_), _) => return,
    };
    client.proven(proof, || format!("{key} gave what was not in it: {:?}", reply.value));
}
