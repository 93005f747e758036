//! One node's monitor: an open connection, a question on each beat, an ear for what comes unasked. Kind: driver.
//!
//! ```text
//!   connect, log in ─► whole question ─► report ─► wait ─┬─ beat ──► in recovery and suspect? small question first
//!          ▲                                             ├─ suspicion ─► whole question, at once
//!          │                                             ├─ parameter changed (in_hot_standby) ─► the same
//!          └───────────── report the loss ◄──────────────┴─ end of file, FATAL
//! ```
//!
//! A loss is reported the moment it is noticed; nothing that was seen before it is repeated (rule R1).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use proxy_core::error::{Error, Kind};
use proxy_core::net::{Addr, Stream};
use proxy_core::upstream::Endpoint;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::observation::{Loss, NodeKey, Observation, Sight};
use super::question::{self, Unreadable};
use crate::auth::{Credential, KeyCache};
use crate::server::{Control, ControlError, Login, LoginError, TalkError, login_alone};
use crate::wire::row::Row;

/// How often a node that can't be reached is tried while all are suspected: each try may cost it a process.
const RETRY_FLOOR: Duration = Duration::from_millis(50);

/// Opens a connection to a node, encrypted if it should be.
pub type Dial = Arc<dyn Fn(Addr) -> BoxFuture<'static, Result<Stream, Error>> + Send + Sync>;

/// What the node that was reached last reports at login: names and values.
pub type Greeted = watch::Sender<Arc<Vec<(String, String)>>>;

/// As whom the monitor logs in.
#[derive(Clone, Debug)]
pub struct Account {
    /// The role; it should have `pg_monitor` and be allowed to read repmgr's tables.
    pub user: String,
    /// The database that holds repmgr's tables.
    pub database: String,
    /// What to show when asked for it.
    pub credential: Option<Credential>,
}

/// How often to look, and how long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two looks in quiet times.
    pub calm: Duration,
    /// Between two looks while there is no primary or a doubt about it.
    pub suspect: Duration,
    /// How long an answer may take.
    pub patience: Duration,
}

impl Pace {
    /// Answers may take two beats, but never less than half a second: a busy machine is not a dead one.
    pub fn new(calm: Duration, suspect: Duration) -> Self {
        Self { calm, suspect, patience: (calm * 2).max(Duration::from_millis(500)) }
    }
}

/// What a monitor says to the watcher.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) node: NodeKey,
    pub(super) sight: Sight,
    pub(super) complaint: Option<Complaint>,
}

/// Something that a person should mend, beside the observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Complaint {
    /// The user lacks `pg_monitor`.
    Blinkered,
    /// repmgr's tables can't be read: the server's words.
    NoRepmgr(String),
    /// No connection, or no answer: the cause in words.
    Fault(String),
}

/// The monitor of one node.
pub(super) struct Monitor {
    pub(super) greeting: Greeted,
    pub(super) key: NodeKey,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) account: Arc<Account>,
    pub(super) dial: Dial,
    pub(super) pace: Pace,
    pub(super) born: Instant,
    /// Whether all nodes are to be looked at in quick succession.
    pub(super) suspect: watch::Receiver<bool>,
    pub(super) reports: mpsc::Sender<Report>,
}

/// Why a session on a node ended.
struct Ended {
    loss: Loss,
    words: String,
}

impl Monitor {
    /// Watches until nobody listens any more.
    pub(super) async fn run(mut self) {
        let mut keys = KeyCache::default();
        while !self.reports.is_closed() {
            let Ended { loss, words } = match self.connect(&mut keys).await {
                Ok(control) => self.watch(control).await,
                Err(ended) => ended,
            };
            self.report(Sight::Lost(loss), Some(Complaint::Fault(words))).await;
            self.rest().await;
        }
    }

    async fn report(&self, sight: Sight, complaint: Option<Complaint>) {
        // The watcher is gone: so are we, at the next turn of the loop.
        let _ = self.reports.send(Report { node: self.key.clone(), sight, complaint }).await;
    }

    /// Until the node is tried again; a suspicion doesn't shorten it below the floor.
    async fn rest(&mut self) {
        let floor = self.pace.suspect.max(RETRY_FLOOR);
        sleep(floor).await;
        if !*self.suspect.borrow_and_update() {
            let more = self.pace.calm.saturating_sub(floor);
            tokio::select! {
                () = sleep(more) => {}
                () = self.endpoint.suspected() => {}
                _ = self.suspect.changed() => {}
            }
        }
    }

    async fn connect(&self, keys: &mut KeyCache) -> Result<Control<Stream>, Ended> {
        let opened = timeout(self.pace.patience * 2, self.open(keys)).await;
        opened.unwrap_or_else(|_| Err(Ended { loss: Loss::Silent, words: "no login in time".into() }))
    }

    async fn open(&self, keys: &mut KeyCache) -> Result<Control<Stream>, Ended> {
        let stream = (self.dial)(self.endpoint.addr().clone()).await.map_err(Ended::dialling)?;
        let login = Login {
            user: &self.account.user,
            database: &self.account.database,
            credential: self.account.credential.as_ref(),
            parameters: &[("application_name", "pg-router monitor"), ("search_path", "pg_catalog")],
            clear_text: matches!(stream, Stream::Unix(_)) || stream.is_tls(),
        };
        let logged_in = login_alone(stream, &login, keys).await.map_err(Ended::logging_in)?;
        self.greeting.send_replace(Arc::new(logged_in.greeting.params.clone()));
        Ok(Control::new(logged_in))
    }

    /// Asks on each beat until the connection ends.
    async fn watch(&mut self, control: Control<Stream>) -> Ended {
        let mut session = Session { control, repmgr: true, in_recovery: false, whole_at: self.born };
        loop {
            if let Err(ended) = self.look(&mut session).await {
                return ended;
            }
            if let Err(error) = self.wait(&mut session.control).await {
                return Ended::asking(error);
            }
        }
    }

    /// A standby that is suspected of nothing but being promoted is asked the small question in between.
    async fn look(&self, session: &mut Session) -> Result<(), Ended> {
        let suspect = *self.suspect.borrow();
        let recent = session.whole_at.elapsed() < self.pace.calm;
        if suspect && recent && session.in_recovery && session.still_in_recovery(self.pace.patience).await? {
            return Ok(());
        }
        let (observation, complaint) = session.whole(self).await?;
        self.report(Sight::Seen(Arc::new(observation)), complaint).await;
        Ok(())
    }

    /// Until the next beat, a suspicion, a change of pace or news from the server.
    async fn wait(&mut self, control: &mut Control<Stream>) -> Result<(), ControlError> {
        let suspect = *self.suspect.borrow_and_update();
        let beat = if suspect { self.pace.suspect } else { self.pace.calm };
        tokio::select! {
            news = control.news() => news,
            () = sleep(beat) => Ok(()),
            () = self.endpoint.suspected() => Ok(()),
            _ = self.suspect.changed() => Ok(()),
        }
    }
}

/// A connection to a node, and what it has told so far.
struct Session {
    control: Control<Stream>,
    /// Whether repmgr's tables could be read so far.
    repmgr: bool,
    in_recovery: bool,
    whole_at: Instant,
}

impl Session {
    async fn still_in_recovery(&mut self, patience: Duration) -> Result<bool, Ended> {
        let rows = self.ask(question::IN_RECOVERY, patience).await.map_err(Ended::asking)?;
        question::read_in_recovery(&rows).map_err(Ended::reading)
    }

    async fn whole(&mut self, monitor: &Monitor) -> Result<(Observation, Option<Complaint>), Ended> {
        let (rows, missing) = self.rows(monitor.pace.patience).await?;
        let read = question::read(&rows, &monitor.key, monitor.born.elapsed());
        let answer = read.map_err(Ended::reading)?;
        self.in_recovery = answer.observation.in_recovery;
        self.whole_at = Instant::now();
        Ok((answer.observation, missing.or(answer.blinkered.then_some(Complaint::Blinkered))))
    }

    /// Without repmgr's tables the rest is asked for alone, as long as this connection lives.
    async fn rows(&mut self, patience: Duration) -> Result<(Vec<Row>, Option<Complaint>), Ended> {
        let mut missing = None;
        if self.repmgr {
            match self.ask(question::WITH_REPMGR, patience).await {
                Ok(rows) => return Ok((rows, None)),
                Err(ControlError::Statement(error)) if is_missing(&error.code) => {
                    missing = Some(Complaint::NoRepmgr(error.to_string()));
                    self.repmgr = false;
                }
                Err(error) => return Err(Ended::asking(error)),
            }
        }
        let rows = self.ask(question::WITHOUT_REPMGR, patience).await.map_err(Ended::asking)?;
        Ok((rows, missing))
    }

    async fn ask(&mut self, sql: &str, patience: Duration) -> Result<Vec<Row>, ControlError> {
        self.control.simple_query(sql, patience).await
    }
}

/// Undefined table, schema, function or column, or no right to it.
fn is_missing(code: &str) -> bool {
    matches!(code, "42P01" | "3F000" | "42883" | "42703" | "42501")
}

impl Ended {
    fn dialling(error: Error) -> Self {
        let loss = match error.kind() {
            Kind::Refused => Loss::Refused,
            Kind::Timeout => Loss::Silent,
            _ => Loss::Closed,
        };
        Self { loss, words: error.to_string() }
    }

    fn logging_in(error: LoginError) -> Self {
        let loss = match &error {
            LoginError::Talk(_) => Loss::Closed,
            error => error.server().map_or(Loss::Unusable, |server| loss_of(&server.code)),
        };
        Self { loss, words: error.to_string() }
    }

    fn asking(error: ControlError) -> Self {
        let loss = match &error {
            ControlError::Talk(TalkError::Closed | TalkError::Io(_)) | ControlError::Fatal(_) => Loss::Closed,
            ControlError::Timeout(_) => Loss::Silent,
            _ => Loss::Unusable,
        };
        Self { loss, words: error.to_string() }
    }

    fn reading(error: Unreadable) -> Self {
        Self { loss: Loss::Unusable, words: error.to_string() }
    }
}

/// Class 57: the server shuts down (57P01, 57P02) or can't take sessions now (57P03).
fn loss_of(code: &str) -> Loss {
    match code {
        "57P03" => Loss::Unready,
        "57P01" | "57P02" => Loss::Closed,
        _ => Loss::Unusable,
    }
}
