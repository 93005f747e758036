//! One client of the load: a statement, its answer, a pause, and again; when its connection is lost it makes another.
//! Simple and extended protocol take turns, and so do writes and reads. Kind: driver.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, NoTls, SimpleQueryMessage};

use super::Shared;
use super::tally::{ClientLog, Evidence, Outcome, Read, Write};

const PAUSE_BETWEEN_LOGINS: Duration = Duration::from_millis(20);
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer that takes longer than this counts as none.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(90);
const KNOWN_ROWS: u64 = 100;

pub(super) async fn run(number: usize, shared: Arc<Shared>) -> ClientLog {
    let mut session = Session {
        number,
        shared,
        log: ClientLog::default(),
        connections: JoinSet::new(),
        turn: number as u64,
        served: false,
    };
    while let Some(client) = session.login().await {
        if session.work(&client).await == Leaving::Lost {
            session.log.disconnects.push(Instant::now());
            session.shared.troubles.fetch_add(1, Relaxed);
        }
    }
    session.log
}

struct Session {
    number: usize,
    shared: Arc<Shared>,
    log: ClientLog,
    /// The tasks that drive our connections; they end with this session.
    connections: JoinSet<()>,
    turn: u64,
    /// Whether a write of this client was ever acknowledged.
    served: bool,
}

/// What a statement gave, before it is known whether that is good or bad news.
enum Answer<T> {
    Rows(T),
    Error(Error),
    Nothing,
}

/// Why a client is without its connection.
#[derive(PartialEq, Eq)]
enum Leaving {
    /// The other side ended it.
    Lost,
    /// We did.
    Done,
}

impl Session {
    async fn login(&mut self) -> Option<Client> {
        while !self.shared.stopped() {
            match tokio::time::timeout(
                LOGIN_TIMEOUT,
                tokio_postgres::connect(&self.shared.options.conninfo, NoTls),
            )
            .await
            {
                Ok(Ok((client, connection))) => {
                    self.connections.spawn(async move { drop(connection.await) });
                    return Some(client);
                }
                _ => self.log.failed_logins.push(Instant::now()),
            }
            tokio::time::sleep(PAUSE_BETWEEN_LOGINS).await;
        }
        None
    }

    /// Returns when the load, the session or the connection is over.
    async fn work(&mut self, client: &Client) -> Leaving {
        let last = self.shared.options.session_length.map_or(u64::MAX, |length| self.turn + length);
        while !self.shared.stopped() && self.turn < last {
            if client.is_closed() {
                return Leaving::Lost;
            }
            self.turn += 1;
            match self.turn % 4 {
                0 => self.write(client, insert_simple).await,
                1 => self.read(client, select_simple).await,
                2 => self.write(client, insert_extended).await,
                _ => self.read(client, select_extended).await,
            }
            tokio::time::sleep(self.shared.options.think).await;
        }
        Leaving::Done
    }

    async fn write(
        &mut self,
        client: &Client,
        insert: impl AsyncFn(&Client, i64, usize) -> Result<Option<Evidence>, Error>,
    ) {
        let id = self.shared.next_id.fetch_add(1, Relaxed).cast_signed();
        let sent = Instant::now();
        let answer = self.answer(insert(client, id, self.number)).await;
        let ended = Instant::now();
        let outcome = match answer {
            Answer::Rows(Some(evidence)) => Outcome::Acked(evidence),
            Answer::Rows(None) => Outcome::failed("an insert that returned no row"),
            Answer::Error(e) => Outcome::of_failed_write(&e),
            Answer::Nothing => Outcome::Unknown,
        };
        self.note_write(&outcome, ended);
        self.log.writes.push(Write { id, sent, ended, outcome });
    }

    fn note_write(&mut self, outcome: &Outcome, ended: Instant) {
        if matches!(outcome, Outcome::Acked(_)) {
            self.first_answer();
            self.shared.acked_writes.fetch_add(1, Relaxed);
            self.shared.last_ack_us.fetch_max(self.shared.micros(ended), Relaxed);
        } else {
            self.shared.troubles.fetch_add(1, Relaxed);
        }
    }

    fn first_answer(&mut self) {
        if !std::mem::replace(&mut self.served, true) {
            self.shared.served.fetch_add(1, Relaxed);
        }
    }

    async fn read(
        &mut self,
        client: &Client,
        select: impl AsyncFn(&Client, i32) -> Result<Option<i32>, Error>,
    ) {
        let key = (self.turn % KNOWN_ROWS) as i32;
        let sent = Instant::now();
        let trouble = match self.answer(select(client, key)).await {
            Answer::Rows(value) if value == Some(key * 7) => None,
            Answer::Rows(_) => Some("a read that gave a wrong value".to_string()),
            Answer::Error(e) => Some(super::tally::text(&e)),
            Answer::Nothing => Some("a read without an answer".to_string()),
        };
        self.shared.troubles.fetch_add(u64::from(trouble.is_some()), Relaxed);
        self.log.reads.push(Read { sent, ended: Instant::now(), trouble });
    }

    async fn answer<T>(&self, statement: impl Future<Output = Result<T, Error>>) -> Answer<T> {
        tokio::select! {
            biased;
            result = statement => match result {
                Ok(rows) => Answer::Rows(rows),
                Err(e) => Answer::Error(e),
            },
            () = tokio::time::sleep(STATEMENT_TIMEOUT) => Answer::Nothing,
            () = self.shared.out_of_patience() => Answer::Nothing,
        }
    }
}

async fn insert_simple(client: &Client, id: i64, number: usize) -> Result<Option<Evidence>, Error> {
    let sql =
        format!("insert into drill_writes (id, client) values ({id}, {number}) returning node, timeline");
    Ok(first_row(&client.simple_query(&sql).await?)
        .and_then(|row| Some(Evidence::new(row.get(0)?, row.get(1)?))))
}

/// One round trip with the unnamed statement: what a driver without prepared statements sends.
async fn insert_extended(client: &Client, id: i64, number: usize) -> Result<Option<Evidence>, Error> {
    let sql = "insert into drill_writes (id, client) values ($1, $2) returning node, timeline";
    let number = number as i32;
    let rows = client.query_typed(sql, &[(&id, Type::INT8), (&number, Type::INT4)]).await?;
    Ok(rows.first().map(|row| Evidence::new(row.get(0), row.get(1))))
}

async fn select_simple(client: &Client, key: i32) -> Result<Option<i32>, Error> {
    let rows = client.simple_query(&format!("select v from drill_known where k = {key}")).await?;
    Ok(first_row(&rows).and_then(|row| row.get(0)?.parse().ok()))
}

async fn select_extended(client: &Client, key: i32) -> Result<Option<i32>, Error> {
    let rows = client.query_typed("select v from drill_known where k = $1", &[(&key, Type::INT4)]).await?;
    Ok(rows.first().map(|row| row.get(0)))
}

fn first_row(messages: &[SimpleQueryMessage]) -> Option<&tokio_postgres::SimpleQueryRow> {
    messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })
}
