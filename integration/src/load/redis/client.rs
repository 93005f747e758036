//! What all clients have in common: connections that are made again when they are lost, exchanges that end in a known
//! way, and the log. Kind: driver.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::RedisLoad;
use super::ledger::Proof;
use crate::load::Shared;
use crate::load::tally::{ClientLog, Failure, Outcome, Write};
use crate::redis::{Connection, Resp, UNKNOWN_OUTCOME, Value, resp};

const PAUSE_BETWEEN_LOGINS: Duration = Duration::from_millis(20);
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer that takes longer than this counts as none.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);

/// One client of the load.
pub(super) struct Client {
    pub(super) number: usize,
    pub(super) options: Arc<RedisLoad>,
    pub(super) shared: Arc<Shared>,
    pub(super) log: ClientLog,
    /// Whether a write of this client was ever acknowledged.
    served: bool,
}

/// The connection is gone.
#[derive(Debug)]
pub(super) struct Cut;

/// What came back for one command, and when; nothing where the connection ended first.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) at: Instant,
    pub(super) value: Option<Value>,
}

impl Client {
    pub(super) fn new(number: usize, options: Arc<RedisLoad>, shared: Arc<Shared>) -> Self {
        Self { number, options, shared, log: ClientLog::default(), served: false }
    }

    /// A key that no other client touches.
    pub(super) fn own_key(&self, what: &str) -> String {
        format!("{what}:{}:{}", self.options.first_id, self.number)
    }

    /// Keeps trying until it is logged in, or the load is over. Every second client speaks RESP3.
    pub(super) async fn open(&mut self) -> Option<Connection> {
        let version = if self.number.is_multiple_of(2) { Resp::V2 } else { Resp::V3 };
        while !self.shared.stopped() {
            let login = Connection::open(self.options.addr, self.options.who, version);
            match tokio::time::timeout(LOGIN_TIMEOUT, login).await {
                Ok(Ok(connection)) => return Some(connection),
                _ => self.log.failed_logins.push(Instant::now()),
            }
            tokio::time::sleep(PAUSE_BETWEEN_LOGINS).await;
        }
        None
    }

    pub(super) async fn think(&self) {
        tokio::time::sleep(self.options.think).await;
    }

    /// Sends all commands in one write and gives one reply for each.
    pub(super) async fn exchange<const N: usize>(
        &self,
        connection: &mut Connection,
        commands: [&[&str]; N],
    ) -> [Reply; N] {
        let mut alive = self.send(connection, &commands).await;
        let mut replies = [const { None }; N];
        for reply in &mut replies {
            let value = if alive { self.receive(connection).await } else { None };
            alive = value.is_some();
            *reply = Some(Reply { at: Instant::now(), value });
        }
        replies.map(|reply| reply.expect("each was set a moment ago"))
    }

    /// Whether the connection took them.
    pub(super) async fn send(&self, connection: &mut Connection, commands: &[&[&str]]) -> bool {
        let mut requests = Vec::new();
        commands.iter().for_each(|command| resp::request_of(&mut requests, command));
        connection.send(&requests).await.is_ok()
    }

    /// The next reply; none when the connection ended, or nobody waits any longer.
    pub(super) async fn receive(&self, connection: &mut Connection) -> Option<Value> {
        tokio::select! {
            biased;
            reply = connection.receive() => reply.ok(),
            () = tokio::time::sleep(ANSWER_TIMEOUT) => None,
            () = self.shared.out_of_patience() => None,
        }
    }

    /// Enters a write. A reply that is no error must be a `good` one.
    pub(super) fn write(
        &mut self,
        id: Option<i64>,
        sent: Instant,
        reply: &Reply,
        good: impl Fn(&Value) -> bool,
    ) -> Outcome {
        let outcome = match &reply.value {
            None => Outcome::Unknown,
            Some(Value::Error(text)) if text.ends_with(UNKNOWN_OUTCOME) => Outcome::Unknown,
            Some(Value::Error(text)) => Outcome::Failed(text.clone()),
            Some(value) if good(value) => Outcome::Acked(None),
            Some(value) => {
                self.wrong(format!("a write was answered by {value}"));
                Outcome::Failed("a wrong answer".into())
            }
        };
        self.shared.note_write(&outcome, reply.at, &mut self.served);
        self.log.writes.push(Write { id, sent, ended: reply.at, outcome: outcome.clone() });
        outcome
    }

    /// Enters a read, whose reply must be a `good` one.
    pub(super) fn read(&mut self, reply: &Reply, good: impl Fn(&Value) -> bool) {
        match &reply.value {
            None => self.failed("cut off before its answer".into()),
            Some(Value::Error(text)) => self.failed(text.clone()),
            Some(value) if good(value) => {}
            Some(value) => self.wrong(format!("a read was answered by {value}")),
        }
    }

    /// Enters what an answer proved; `what` it was.
    pub(super) fn proven(&mut self, proof: Proof, what: impl FnOnce() -> String) {
        self.log.vanished += proof.vanished;
        self.log.undone.extend(proof.undone);
        if proof.impossible {
            self.wrong(what());
        }
    }

    /// Enters a command that writes nothing and failed.
    pub(super) fn failed(&mut self, text: String) {
        self.shared.note_trouble();
        self.log.failures.push(Failure { at: Instant::now(), text });
    }

    /// Enters an answer that can't be true.
    pub(super) fn wrong(&mut self, text: String) {
        self.shared.note_trouble();
        self.log.wrong_answers.push(format!("client {}: {text}", self.number));
    }

    /// Enters a lost connection, unless we are leaving anyway.
    pub(super) fn disconnected(&mut self) {
        if !self.shared.stopped() {
            self.shared.note_trouble();
            self.log.disconnects.push(Instant::now());
        }
    }
}

impl Reply {
    /// Nothing more comes from a connection that ended.
    pub(super) fn alive(&self) -> Result<(), Cut> {
        self.value.as_ref().map(drop).ok_or(Cut)
    }
}
