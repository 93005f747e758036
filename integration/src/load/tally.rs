//! What the clients of a load remember, and the figures that follow from it. Kind: pure.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;

/// Who wrote a row, as the row itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The server's `cluster_name`.
    pub node: String,
    /// The timeline on which it was written, as the eight hex digits of a WAL file's name.
    pub timeline: String,
}

/// How a write ended, in the client's eyes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged: it must be there for ever.
    Acked(Evidence),
    /// Refused with an error that says that it did not happen.
    Failed(String),
    /// Cut off without an answer, or answered with SQLSTATE 08007: it may have happened.
    Unknown,
}

/// One write.
#[derive(Clone, Debug)]
pub struct Write {
    /// The id that it inserts.
    pub id: i64,
    /// When it was sent.
    pub sent: Instant,
    /// When its answer came, or the end of its connection.
    pub ended: Instant,
    /// How it ended.
    pub outcome: Outcome,
}

/// One read.
#[derive(Clone, Debug)]
pub struct Read {
    /// When it was sent.
    pub sent: Instant,
    /// When its answer came, or the end of its connection.
    pub ended: Instant,
    /// What went wrong, if anything did.
    pub trouble: Option<String>,
}

/// What one client remembers.
#[derive(Clone, Debug, Default)]
pub struct ClientLog {
    /// Its writes, oldest first.
    pub writes: Vec<Write>,
    /// Its reads, oldest first.
    pub reads: Vec<Read>,
    /// When it lost a connection.
    pub disconnects: Vec<Instant>,
    /// When a login failed.
    pub failed_logins: Vec<Instant>,
}

/// What all clients of a load remember.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// One log per client.
    pub clients: Vec<ClientLog>,
}

impl Evidence {
    /// What a row says.
    pub fn new(node: &str, timeline: &str) -> Self {
        Self { node: node.to_string(), timeline: timeline.to_string() }
    }
}

impl Outcome {
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }

    /// The server's word, if it gave one; a connection that ends without one leaves the outcome unknown.
    pub(crate) fn of_failed_write(error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) if *db.code() == SqlState::TRANSACTION_RESOLUTION_UNKNOWN => Self::Unknown,
            Some(_) => Self::Failed(text(error)),
            None => Self::Unknown,
        }
    }
}

/// An error in one line: SQLSTATE and message where the server sent them.
pub(crate) fn text(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} {}", db.code().code(), db.message()),
        None => error.to_string(),
    }
}

impl Tally {
    /// Every write of every client.
    pub fn writes(&self) -> impl Iterator<Item = &Write> {
        self.clients.iter().flat_map(|client| &client.writes)
    }

    /// Every acknowledged write with what its row says.
    pub fn acked(&self) -> impl Iterator<Item = (&Write, &Evidence)> {
        self.writes().filter_map(|write| match &write.outcome {
            Outcome::Acked(evidence) => Some((write, evidence)),
            _ => None,
        })
    }

    /// Acknowledged ids that `present` lacks.
    pub fn lost(&self, present: &HashSet<i64>) -> usize {
        self.acked().filter(|(write, _)| !present.contains(&write.id)).count()
    }

    /// Writes that were refused with an error and are in `present` all the same: an untrue answer.
    pub fn failed_but_written(&self, present: &HashSet<i64>) -> usize {
        let refused = |write: &&Write| matches!(write.outcome, Outcome::Failed(_));
        self.writes().filter(refused).filter(|write| present.contains(&write.id)).count()
    }

    /// Writes whose outcome nobody told.
    pub fn unknown(&self) -> usize {
        self.writes().filter(|write| write.outcome == Outcome::Unknown).count()
    }

    /// Statements that ended in an error other than an unknown outcome: reads too.
    pub fn failed(&self) -> usize {
        self.failures().values().sum()
    }

    /// The texts of those errors, with how often each came.
    pub fn failures(&self) -> BTreeMap<&str, usize> {
        let writes = self.writes().filter_map(|write| match &write.outcome {
            Outcome::Failed(text) => Some(text.as_str()),
            _ => None,
        });
        let reads =
            self.clients.iter().flat_map(|client| &client.reads).filter_map(|read| read.trouble.as_deref());
        let mut counts = BTreeMap::new();
        for text in writes.chain(reads) {
            *counts.entry(text).or_default() += 1;
        }
        counts
    }

    /// Clients that lost their connection at least once.
    pub fn disconnected_clients(&self) -> usize {
        self.clients.iter().filter(|client| !client.disconnects.is_empty()).count()
    }

    /// Logins that failed.
    pub fn failed_logins(&self) -> usize {
        self.clients.iter().map(|client| client.failed_logins.len()).sum()
    }

    /// The longest time between two acknowledged writes, over all clients together.
    pub fn blackout(&self) -> Duration {
        let mut moments: Vec<Instant> = self.acked().map(|(write, _)| write.ended).collect();
        moments.sort_unstable();
        moments.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// The first acknowledged write that ended after `moment`.
    pub fn first_ack_after(&self, moment: Instant) -> Option<Instant> {
        self.acked().map(|(write, _)| write.ended).filter(|ended| *ended > moment).min()
    }

    /// The first sign of trouble after `moment`: an error, an unknown outcome, a lost connection.
    pub fn first_trouble_after(&self, moment: Instant) -> Option<Instant> {
        let writes = self
            .writes()
            .filter(|write| !matches!(write.outcome, Outcome::Acked(_)))
            .map(|write| write.ended);
        let reads = self
            .clients
            .iter()
            .flat_map(|c| &c.reads)
            .filter(|read| read.trouble.is_some())
            .map(|read| read.ended);
        let disconnects = self.clients.iter().flat_map(|client| client.disconnects.iter().copied());
        writes.chain(reads).chain(disconnects).filter(|at| *at >= moment).min()
    }

    /// Acknowledged writes that were sent after `confirmed` and yet were written on an older timeline than `timeline`:
    /// acknowledged by a server that was no longer the primary.
    pub fn misrouted(&self, confirmed: Instant, timeline: &str) -> usize {
        let stale = |evidence: &Evidence| evidence.timeline.as_str() < timeline;
        self.acked().filter(|(write, evidence)| write.ended > confirmed && stale(evidence)).count()
    }

    /// Ids among `strays` whose writes were sent after `moment`: what reached a server that it should not have reached,
    /// acknowledged or not.
    pub fn sent_after(&self, moment: Instant, strays: &HashSet<i64>) -> usize {
        self.writes().filter(|write| write.sent > moment && strays.contains(&write.id)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(base: Instant, id: i64, sent: u64, ended: u64, outcome: Outcome) -> Write {
        let at = |ms| base + Duration::from_millis(ms);
        Write { id, sent: at(sent), ended: at(ended), outcome }
    }

    fn acked(timeline: &str) -> Outcome {
        Outcome::Acked(Evidence::new("n", timeline))
    }

    fn sample(base: Instant) -> Tally {
        let one = ClientLog {
            writes: vec![write(base, 1, 0, 10, acked("00000001")), write(base, 2, 15, 900, Outcome::Unknown)],
            disconnects: vec![base + Duration::from_millis(900)],
            ..ClientLog::default()
        };
        let other = ClientLog {
            writes: vec![
                write(base, 3, 0, 20, acked("00000001")),
                write(base, 4, 25, 800, Outcome::failed("57P01 x")),
                write(base, 5, 1000, 1200, acked("00000002")),
                write(base, 6, 1210, 1220, acked("00000001")),
            ],
            ..ClientLog::default()
        };
        Tally { clients: vec![one, other] }
    }

    #[test]
    fn what_was_acknowledged_and_is_not_there_is_lost() {
        let tally = sample(Instant::now());
        assert_eq!(tally.lost(&HashSet::from([1, 3, 5, 6])), 0);
        assert_eq!(tally.lost(&HashSet::from([1, 2, 5])), 2);
    }

    #[test]
    fn a_refused_write_that_is_there_was_an_untrue_answer() {
        let tally = sample(Instant::now());
        assert_eq!(tally.failed_but_written(&HashSet::from([1, 2, 3])), 0);
        assert_eq!(tally.failed_but_written(&HashSet::from([4])), 1);
    }

    #[test]
    fn unknown_failed_and_disconnected_are_three_things() {
        let tally = sample(Instant::now());
        assert_eq!((tally.unknown(), tally.failed(), tally.disconnected_clients()), (1, 1, 1));
        assert_eq!(tally.failures(), BTreeMap::from([("57P01 x", 1)]));
    }

    #[test]
    fn the_blackout_is_the_longest_gap_over_all_clients() {
        assert_eq!(sample(Instant::now()).blackout(), Duration::from_millis(1180));
        assert_eq!(Tally::default().blackout(), Duration::ZERO);
    }

    #[test]
    fn trouble_and_resumption_are_found_in_time() {
        let base = Instant::now();
        let at = |ms| base + Duration::from_millis(ms);
        let tally = sample(base);
        assert_eq!(tally.first_trouble_after(at(30)), Some(at(800)));
        assert_eq!(tally.first_ack_after(at(30)), Some(at(1200)));
        assert_eq!(tally.first_ack_after(at(1220)), None);
    }

    #[test]
    fn a_write_acknowledged_on_an_old_timeline_after_the_promotion_is_misrouted() {
        let base = Instant::now();
        let confirmed = base + Duration::from_millis(1100);
        assert_eq!(sample(base).misrouted(confirmed, "00000002"), 1);
        assert_eq!(sample(base).sent_after(confirmed, &HashSet::from([1, 6])), 1);
    }
}
