//! What the clients of a load remember, and the figures that follow from it. Kind: pure.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

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
    /// Acknowledged: it must be there for ever. An answer may say who wrote it.
    Acked(Option<Evidence>),
    /// Refused with an error that says that it did not happen.
    Failed(String),
    /// Cut off without an answer, or answered as unknown (SQLSTATE 08007, `LOADING … it may have run, or not`): it may have happened.
    Unknown,
}

/// One write.
#[derive(Clone, Debug)]
pub struct Write {
    /// The id that it leaves behind; none where only later answers show whether it happened.
    pub id: Option<i64>,
    /// When it was sent.
    pub sent: Instant,
    /// When its answer came, or the end of its connection.
    pub ended: Instant,
    /// How it ended.
    pub outcome: Outcome,
}

/// A command that writes nothing and went wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// When that was seen.
    pub at: Instant,
    /// What it was told.
    pub text: String,
}

/// What one client remembers.
#[derive(Clone, Debug, Default)]
pub struct ClientLog {
    /// Its writes, oldest first.
    pub writes: Vec<Write>,
    /// Its other commands that went wrong, oldest first.
    pub failures: Vec<Failure>,
    /// Answers that can't be true: somebody else's, an earlier one, one that came twice.
    pub wrong_answers: Vec<String>,
    /// Acknowledged writes without an id that a later answer proved to be gone.
    pub vanished: u64,
    /// When acknowledged pops were sent whose items came again: they are gone, too.
    pub undone: Vec<Instant>,
    /// Published messages that a subscriber did not get.
    pub missed_messages: u64,
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
}

impl Write {
    /// Did it leave an id, and is that one of these?
    fn is_in(&self, ids: &HashSet<i64>) -> bool {
        self.id.is_some_and(|id| ids.contains(&id))
    }

    fn is_missing_in(&self, ids: &HashSet<i64>) -> bool {
        self.id.is_some_and(|id| !ids.contains(&id))
    }
}

impl Tally {
    /// Every write of every client.
    pub fn writes(&self) -> impl Iterator<Item = &Write> {
        self.clients.iter().flat_map(|client| &client.writes)
    }

    /// Every acknowledged write.
    pub fn acked(&self) -> impl Iterator<Item = &Write> {
        self.writes().filter(|write| matches!(write.outcome, Outcome::Acked(_)))
    }

    /// Acknowledged writes that `present` lacks, or whose absence a later answer showed.
    pub fn lost(&self, present: &HashSet<i64>) -> usize {
        let vanished: u64 = self.clients.iter().map(|client| client.vanished).sum();
        self.lost_writes(present).count() + vanished as usize + self.undone().count()
    }

    fn undone(&self) -> impl Iterator<Item = Instant> {
        self.clients.iter().flat_map(|client| client.undone.iter().copied())
    }

    /// The writes behind [`Self::lost`] that have an id.
    pub fn lost_writes(&self, present: &HashSet<i64>) -> impl Iterator<Item = &Write> {
        self.acked().filter(|write| write.is_missing_in(present))
    }

    /// Writes that went to a server that was no longer the primary: not `present`, and either sent after the `first`
    /// promotion and seen `elsewhere`, or sent after the `last` one and acknowledged, as pops may be. In between, a server that was
    /// promoted and replaced takes along what it had acknowledged, by nature.
    pub fn astray(
        &self,
        first: Instant,
        last: Instant,
        present: &HashSet<i64>,
        elsewhere: &HashSet<i64>,
    ) -> usize {
        let acked = |write: &Write| matches!(write.outcome, Outcome::Acked(_));
        let missing = self.writes().filter(|write| write.is_missing_in(present));
        let strayed = |write: &&Write| {
            write.sent > first && write.is_in(elsewhere) || write.sent > last && acked(write)
        };
        let pops = self.undone().filter(|sent| *sent > last);
        missing.filter(strayed).count() + pops.count()
    }

    /// Answers that can't be true.
    pub fn wrong_answers(&self) -> impl Iterator<Item = &str> {
        self.clients.iter().flat_map(|client| &client.wrong_answers).map(String::as_str)
    }

    /// Writes that were refused with an error and are in `present` all the same: an untrue answer.
    pub fn failed_but_written(&self, present: &HashSet<i64>) -> usize {
        let refused = |write: &&Write| matches!(write.outcome, Outcome::Failed(_));
        self.writes().filter(refused).filter(|write| write.is_in(present)).count()
    }

    /// Writes whose outcome nobody told.
    pub fn unknown(&self) -> usize {
        self.writes().filter(|write| write.outcome == Outcome::Unknown).count()
    }

    /// Of those, how many were sent after `moment`.
    pub fn unknown_after(&self, moment: Instant) -> usize {
        self.writes().filter(|write| write.outcome == Outcome::Unknown && write.sent > moment).count()
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
        let others = self.clients.iter().flat_map(|client| &client.failures);
        let others = others.map(|failure| failure.text.as_str());
        let mut counts = BTreeMap::new();
        for text in writes.chain(others) {
            *counts.entry(text).or_default() += 1;
        }
        counts
    }

    /// Clients that lost their connection at least once.
    pub fn disconnected_clients(&self) -> usize {
        self.clients.iter().filter(|client| !client.disconnects.is_empty()).count()
    }

    /// Published messages that no subscriber got.
    pub fn missed_messages(&self) -> u64 {
        self.clients.iter().map(|client| client.missed_messages).sum()
    }

    /// Logins that failed.
    pub fn failed_logins(&self) -> usize {
        self.clients.iter().map(|client| client.failed_logins.len()).sum()
    }

    /// The longest time between two acknowledged writes, over all clients together.
    pub fn blackout(&self) -> Duration {
        let mut moments: Vec<Instant> = self.acked().map(|write| write.ended).collect();
        moments.sort_unstable();
        moments.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// The first acknowledged write that ended after `moment`.
    pub fn first_ack_after(&self, moment: Instant) -> Option<Instant> {
        self.acked().map(|write| write.ended).filter(|ended| *ended > moment).min()
    }

    /// The first sign of trouble after `moment`: an error, an unknown outcome, a lost connection.
    pub fn first_trouble_after(&self, moment: Instant) -> Option<Instant> {
        let writes = self
            .writes()
            .filter(|write| !matches!(write.outcome, Outcome::Acked(_)))
            .map(|write| write.ended);
        let others = self.clients.iter().flat_map(|client| &client.failures).map(|failure| failure.at);
        let disconnects = self.clients.iter().flat_map(|client| client.disconnects.iter().copied());
        writes.chain(others).chain(disconnects).filter(|at| *at >= moment).min()
    }

    /// Acknowledged writes that were sent after `confirmed` and yet were written on an older timeline than `timeline`:
    /// acknowledged by a server that was no longer the primary.
    pub fn misrouted(&self, confirmed: Instant, timeline: &str) -> usize {
        let stale = |write: &&Write| match &write.outcome {
            Outcome::Acked(Some(evidence)) => evidence.timeline.as_str() < timeline,
            _ => false,
        };
        self.acked().filter(|write| write.ended > confirmed).filter(stale).count()
    }

    /// Ids among `strays` whose writes were sent after `moment`: what reached a server that it should not have reached,
    /// acknowledged or not.
    pub fn sent_after(&self, moment: Instant, strays: &HashSet<i64>) -> usize {
        self.writes().filter(|write| write.sent > moment && write.is_in(strays)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(base: Instant, id: i64, sent: u64, ended: u64, outcome: Outcome) -> Write {
        let at = |ms| base + Duration::from_millis(ms);
        Write { id: Some(id), sent: at(sent), ended: at(ended), outcome }
    }

    fn acked(timeline: &str) -> Outcome {
        Outcome::Acked(Some(Evidence::new("n", timeline)))
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
        assert_eq!(tally.unknown_after(Instant::now() + Duration::from_secs(1)), 0);
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

    #[test]
    fn a_write_that_is_elsewhere_or_acknowledged_and_not_present_went_astray() {
        let base = Instant::now();
        let after = |ms| base + Duration::from_millis(ms);
        let (present, nowhere) = (HashSet::from([1, 3, 5]), HashSet::new());
        assert_eq!(sample(base).astray(after(950), after(950), &present, &nowhere), 1);
        assert_eq!(sample(base).astray(after(10), after(1215), &present, &nowhere), 0);
        assert_eq!(sample(base).astray(after(10), after(10), &present, &HashSet::from([2, 4, 5])), 3);
    }
}
