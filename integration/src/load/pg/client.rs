//! One client of the load: a statement, its answer, a pause, and again; when its connection is lost it makes another.
//! Simple and extended protocol take turns, and so do writes and reads. Kind: driver.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, NoTls, SimpleQueryMessage};

use super::LoadOptions;
use crate::load::Shared;
use crate::load::tally::{ClientLog, Evidence, Failure, Outcome, Write};

const PAUSE_BETWEEN_LOGINS: Duration = Duration::from_millis(20);
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer that takes longer than this counts as none.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(90);
const KNOWN_ROWS: u64 = 100;

pub(super) async fn run(number: usize, options: Arc<LoadOptions>, shared: Arc<Shared>) -> ClientLog {
    let mut session = Session {
        number,
        options,
        shared,
        log: ClientLog::default(),
        connections: JoinSet::new(),
        turn: number as u64,
        served: false,
    };
    while let Some(client) = session.login().await {
        if session.work(&client).await == Leaving::Lost {
            session.log.disconnects.push(Instant::now());
            session.shared.note_trouble();
        }
    }
    session.log
}

struct Session {
    number: usize,
    options: Arc<LoadOptions>,
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
            match tokio::time::timeout(LOGIN_TIMEOUT, tokio_postgres::connect(&self.options.conninfo, NoTls))
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
        let last = self.options.session_length.map_or(u64::MAX, |length| self.turn + length);
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
            tokio::time::sleep(self.options.think).await;
        }
        Leaving::Done
    }

    async fn write(
        &mut self,
        client: &Client,
        insert: impl AsyncFn(&Client, i64, usize) -> Result<Option<Evidence>, Error>,
    ) {
        let id = self.shared.new_id();
        let sent = Instant::now();
        let answer = self.answer(insert(client, id, self.number)).await;
        let ended = Instant::now();
        let outcome = match answer {
            Answer::Rows(Some(evidence)) => Outcome::Acked(Some(evidence)),
            Answer::Rows(None) => Outcome::failed("an insert that returned no row"),
            Answer::Error(e) => of_failed_write(&e),
            Answer::Nothing => Outcome::Unknown,
        };
        self.shared.note_write(&outcome, ended, &mut self.served);
        self.log.writes.push(Write { id: Some(id), sent, ended, outcome });
    }

    async fn read(
        &mut self,
        client: &Client,
        select: impl AsyncFn(&Client, i32) -> Result<Option<i32>, Error>,
    ) {
        let key = (self.turn % KNOWN_ROWS) as i32;
        let trouble = match self.answer(select(client, key)).await {
            Answer::Rows(value) if value == Some(key * 7) => None,
            Answer::Rows(_) => Some("a read that gave a wrong value".to_string()),
            Answer::Error(e) => Some(text(&e)),
            Answer::Nothing => Some("a read without an answer".to_string()),
        };
        if let Some(text) = trouble {
            self.shared.note_trouble();
            self.log.failures.push(Failure { at: Instant::now(), text });
        }
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

/// The server's word, if it gave one; a connection that ends without one leaves the outcome unknown.
fn of_failed_write(error: &Error) -> Outcome {
    match error.as_db_error() {
        Some(db) if *db.code() == SqlState::TRANSACTION_RESOLUTION_UNKNOWN => Outcome::Unknown,
        Some(_) => Outcome::Failed(text(error)),
        None => Outcome::Unknown,
    }
}

/// An error in one line: SQLSTATE and message where the server sent them.
fn text(error: &Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} {}", db.code().code(), db.message()),
        None => error.to_string(),
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
