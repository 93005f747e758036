//! A small client on a connection of its own, for watching a server: short questions, text answers. Kind: driver.
//!
//! Everything is bounded: the length of a message, the rows of an answer, the time of a question. What the server
//! says unasked is listened to as well: a changed parameter (`in_hot_standby` tells a promotion), a shutdown.

use super::greeting::Greeting;
use super::login::LoggedIn;
use super::talk::{Talk, TalkError};
use crate::wire::backend::{self, ServerError};
use crate::wire::cursor::Malformed;
use crate::wire::frame::Message;
use crate::wire::frontend;
use crate::wire::row::{Row, data_row};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

/// The longest message of an answer.
const MAX_MESSAGE: u32 = 1 << 20;

/// The most rows of an answer: the nodes of a cluster are far fewer.
const MAX_ROWS: usize = 1000;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The statement failed; the connection is as good as before.
    #[error("{0}")]
    Statement(ServerError),
    /// The server ended the connection and said why (`57P01`: it shuts down; `57P03`: it can not go on).
    #[error("the server ended the connection: {0}")]
    Fatal(ServerError),
    /// The connection failed or was closed without a word.
    #[error(transparent)]
    Talk(#[from] TalkError),
    /// The server did not answer in time.
    #[error("the server did not answer within {0:?}")]
    Timeout(Duration),
    /// A message is not what its type says.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A message that has no place here, by its type.
    #[error("unexpected message {:?} from the server", char::from(*.0))]
    Unexpected(u8),
    /// More rows or parameters than are reasonable.
    #[error("the server's answer is too long")]
    TooLong,
    /// An earlier question is still open: it failed half-way. Connect again.
    #[error("the connection is out of step after an earlier failure")]
    OutOfStep,
}

impl ControlError {
    /// Whether the connection is of no more use.
    pub fn is_broken(&self) -> bool {
        !matches!(self, Self::Statement(_))
    }

    /// The server's own words, if it spoke.
    pub fn server(&self) -> Option<&ServerError> {
        match self {
            Self::Statement(error) | Self::Fatal(error) => Some(error),
            _ => None,
        }
    }
}

/// A logged-in connection that answers one question at a time.
#[derive(Debug)]
pub struct Control<S> {
    talk: Talk<S>,
    greeting: Greeting,
    open: bool,
}

/// What has come of an answer so far.
#[derive(Default)]
struct Answer {
    rows: Vec<Row>,
    error: Option<ServerError>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Control<S> {
    /// Takes over a connection.
    pub fn new(server: LoggedIn<S>) -> Self {
        let talk = Talk::new(server.stream, MAX_MESSAGE).with(&server.rest);
        Self { talk, greeting: server.greeting, open: false }
    }

    /// What the server says of itself, as of its last message.
    pub fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// Asks by the simple protocol; the rows of all statements in `sql`, one after the other.
    ///
    /// A question that fails half-way, or whose future is dropped, leaves the connection out of step for good.
    pub async fn simple_query(&mut self, sql: &str, limit: Duration) -> Result<Vec<Row>, ControlError> {
        if std::mem::replace(&mut self.open, true) {
            return Err(ControlError::OutOfStep);
        }
        let answer = timeout(limit, self.ask(sql)).await.map_err(|_| ControlError::Timeout(limit))??;
        self.open = false;
        answer.error.map_or(Ok(answer.rows), |error| Err(ControlError::Statement(error)))
    }

    /// Waits for what the server says unasked: returns when a parameter has changed, fails when the connection ends.
    /// Dropping the future loses nothing.
    pub async fn news(&mut self) -> Result<(), ControlError> {
        loop {
            let message = self.talk.next().await?;
            match message.tag {
                b'S' => return note(&mut self.greeting, message.body),
                b'N' | b'A' => {}
                b'E' => return Err(ControlError::Fatal(ServerError::read(message.body))),
                tag => return Err(ControlError::Unexpected(tag)),
            }
        }
    }

    /// Says goodbye, as far as the server still listens.
    pub async fn close(mut self) {
        let _ = self.talk.send(&frontend::TERMINATE).await;
    }

    async fn ask(&mut self, sql: &str) -> Result<Answer, ControlError> {
        let (mut question, mut answer) = (Vec::new(), Answer::default());
        frontend::put_query(&mut question, sql);
        self.talk.send(&question).await.map_err(TalkError::Io)?;
        loop {
            let message = self.talk.next().await?;
            if answer.take(message, &mut self.greeting)? {
                return Ok(answer);
            }
        }
    }
}

impl Answer {
    /// Takes one message; true when the answer is complete.
    fn take(&mut self, message: Message<'_>, greeting: &mut Greeting) -> Result<bool, ControlError> {
        match message.tag {
            b'D' => self.push(data_row(message.body)?)?,
            b'E' => self.fail(ServerError::read(message.body))?,
            b'S' => note(greeting, message.body)?,
            b'Z' => return Ok(backend::ready_for_query(message.body).map(|_| true)?),
            b'T' | b'C' | b'I' | b'N' | b'A' => {}
            tag => return Err(ControlError::Unexpected(tag)),
        }
        Ok(false)
    }

    fn push(&mut self, row: Row) -> Result<(), ControlError> {
        if self.rows.len() >= MAX_ROWS {
            return Err(ControlError::TooLong);
        }
        self.rows.push(row);
        Ok(())
    }

    fn fail(&mut self, error: ServerError) -> Result<(), ControlError> {
        if error.is_fatal() {
            return Err(ControlError::Fatal(error));
        }
        self.error = Some(error);
        Ok(())
    }
}

fn note(greeting: &mut Greeting, body: &[u8]) -> Result<(), ControlError> {
    let (name, value) = backend::parameter_status(body)?;
    if greeting.note(name, value) { Ok(()) } else { Err(ControlError::TooLong) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::backend::{Status, put_command_complete, put_parameter_status, put_ready_for_query};
    use crate::wire::error::{Report, put_error};
    use crate::wire::row::{put_data_row, put_row_description};
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    const LIMIT: Duration = Duration::from_secs(1);

    /// A connection whose server has already said `bytes`, and the server's end.
    async fn control(bytes: &[u8]) -> (Control<DuplexStream>, DuplexStream) {
        let (ours, mut theirs) = duplex(1 << 16);
        theirs.write_all(bytes).await.unwrap();
        (Control::new(LoggedIn { stream: ours, greeting: Greeting::default(), rest: Vec::new() }), theirs)
    }

    fn script(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        build(&mut out);
        out
    }

    fn ready(out: &mut Vec<u8>) {
        put_ready_for_query(out, Status::Idle);
    }

    async fn ask(bytes: &[u8]) -> Result<Vec<Row>, ControlError> {
        let (mut control, _server) = control(bytes).await;
        control.simple_query("select 1", LIMIT).await
    }

    #[tokio::test(start_paused = true)]
    async fn rows_are_gathered_until_the_server_is_ready() {
        let bytes = script(|out| {
            put_row_description(out, &["a", "b"]);
            put_data_row(out, &[Some("1"), None]);
            put_data_row(out, &[Some("2"), Some("x")]);
            put_command_complete(out, "SELECT 2");
            ready(out);
        });
        let rows = ask(&bytes).await.unwrap();
        assert_eq!(rows, [vec![Some("1".into()), None], vec![Some("2".into()), Some("x".into())]]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_statement_leaves_the_connection_usable() {
        let bytes = script(|out| {
            put_error(out, &Report::error("42P01", "no such table"));
            ready(out);
            ready(out);
        });
        let (mut control, _server) = control(&bytes).await;
        let error = control.simple_query("select 1", LIMIT).await.unwrap_err();
        assert!(!error.is_broken());
        assert_eq!(error.server().unwrap().code, "42P01");
        assert_eq!(control.simple_query("", LIMIT).await.unwrap(), Vec::<Row>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_is_told_from_a_failed_statement() {
        let error = ask(&script(|out| put_error(out, &Report::fatal("57P01", "bye")))).await.unwrap_err();
        assert!(matches!(&error, ControlError::Fatal(server) if server.code == "57P01"), "{error}");
        assert!(error.is_broken());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_runs_into_the_limit_and_stays_out_of_step() {
        let (mut control, _server) = control(b"").await;
        let asked = control.simple_query("select 1", LIMIT).await;
        assert!(matches!(asked, Err(ControlError::Timeout(LIMIT))));
        let again = control.simple_query("select 1", LIMIT).await;
        assert!(matches!(again, Err(ControlError::OutOfStep)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_connection_is_noticed() {
        let (mut control, server) = control(b"").await;
        drop(server);
        assert!(control.simple_query("select 1", LIMIT).await.unwrap_err().is_broken());
        assert!(matches!(control.news().await, Err(ControlError::Talk(TalkError::Closed))));
    }

    #[tokio::test(start_paused = true)]
    async fn endless_and_misplaced_answers_are_cut() {
        let many = script(|out| (0..=MAX_ROWS).for_each(|_| put_data_row(out, &[None])));
        assert!(matches!(ask(&many).await, Err(ControlError::TooLong)));
        assert!(matches!(ask(b"G\0\0\0\x07\0\0\0").await, Err(ControlError::Unexpected(b'G'))));
        assert!(matches!(ask(b"D\x7f\0\0\0").await, Err(ControlError::Talk(TalkError::Frame(_)))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_promotion_is_heard_unasked() {
        let bytes = script(|out| {
            put_parameter_status(out, "in_hot_standby", "off");
            put_error(out, &Report::fatal("57P01", "bye"));
        });
        let (mut control, _server) = control(&bytes).await;
        control.news().await.unwrap();
        assert_eq!(control.greeting().in_hot_standby(), Some(false));
        assert!(matches!(control.news().await, Err(ControlError::Fatal(_))));
    }
}
