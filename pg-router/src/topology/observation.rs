//! What one look at a node showed: the facts that the judge weighs, and nothing else. Kind: pure.
//!
//! An observation is a value. It is made by the watcher out of one round trip on a monitor connection, it carries the
//! moment at which it was made, and it is never amended: the next round replaces it, an error takes it away.

use std::sync::Arc;
use std::time::Duration;

/// A moment on the router's own monotonic clock, as the time since the watcher started.
pub type Moment = Duration;

/// How the router names a node: the text of its address, as configured or as discovered.
pub type NodeKey = Arc<str>;

/// A PostgreSQL timeline. Every promotion makes a new, higher one.
pub type Timeline = u32;

/// A place in the write-ahead log.
pub type Lsn = u64;

/// One node as the judge gets to see it.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeView {
    /// Which node.
    pub key: NodeKey,
    /// What is known about it now.
    pub sight: Sight,
}

/// What is known about a node now.
#[derive(Clone, Debug, PartialEq)]
pub enum Sight {
    /// Nobody has answered or failed to answer yet; no conclusion may be drawn from silence.
    Unasked,
    /// The last look failed; whatever was known before is revoked (rule R1).
    Lost(Loss),
    /// The last look succeeded.
    Seen(Arc<Observation>),
}

/// Why there is no observation of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The monitor connection ended: end of file, reset, or a FATAL message such as 57P01.
    Closed,
    /// Nothing listens there.
    Refused,
    /// The node listens but takes no sessions: 57P03, "the database system is starting up" and its kin.
    Unready,
    /// No answer within the time allowed.
    Silent,
    /// It answers, but not to our question: a failed login, a missing function.
    Unusable,
}

impl Loss {
    /// A word for logs, metrics and the status page.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "connection closed",
            Self::Refused => "connection refused",
            Self::Unready => "not accepting sessions",
            Self::Silent => "no answer in time",
            Self::Unusable => "monitor query failed",
        }
    }
}

/// What one monitor round saw of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// When the answer arrived.
    pub at: Moment,
    /// `pg_control_system().system_identifier`: which cluster this data directory belongs to.
    pub system_identifier: u64,
    /// `pg_is_in_recovery()`.
    pub in_recovery: bool,
    /// Whether a new transaction would refuse to write although the node is not in recovery.
    pub read_only: bool,
    /// The timeline of what the node writes or, in recovery, of what it last received.
    ///
    /// On a primary this comes from the name of the current WAL file: the control file shows the old timeline until
    /// the first checkpoint after the promotion has ended, which can take minutes.
    pub timeline: Option<Timeline>,
    /// The end of what the node wrote or, in recovery, replayed.
    pub lsn: Lsn,
    /// The WAL receiver, if one runs.
    pub receiver: Option<Receiver>,
    /// `pg_is_wal_replay_paused()`.
    pub replay_paused: bool,
    /// For how long what was received has been waiting to be replayed; zero if nothing waits.
    pub lag: Duration,
    /// The `application_name` of each standby that streams from this node.
    pub followers: Vec<String>,
    /// The node's own row in its copy of `repmgr.nodes`, if it could be told.
    pub node_id: Option<i32>,
    /// The node's copy of repmgr's tables; none if they could not be read.
    pub repmgr: Option<RepmgrView>,
}

/// The state of a standby's WAL receiver (`pg_stat_wal_receiver`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// Whether `status` is `streaming`; a receiver that waits on a dead end of history is alive too.
    pub streaming: bool,
    /// `received_tli`.
    pub timeline: Timeline,
    /// `sender_host:sender_port`, for people; host texts are never compared (rule R4).
    pub sender: String,
}

/// A node's copy of repmgr's tables. On a standby it is replicated data; on a returned old primary it is out of date.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RepmgrView {
    /// `repmgr.nodes`.
    pub rows: Vec<RepmgrRow>,
    /// `repmgr.voting_term.term`, which grows with each election.
    pub voting_term: i64,
}

/// A row of `repmgr.nodes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepmgrRow {
    /// `node_id`.
    pub node_id: i32,
    /// `node_name`, which a standby uses as its `application_name`.
    pub name: String,
    /// `type`.
    pub kind: RepmgrKind,
    /// `active`.
    pub active: bool,
    /// `host:port` out of `conninfo`; user, password and options are never taken from there (rule R10).
    pub address: Option<String>,
}

/// `repmgr.nodes.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepmgrKind {
    /// Holds the data and writes it.
    Primary,
    /// Holds the data.
    Standby,
    /// Holds a vote and a copy of repmgr's tables, but a database of its own.
    Witness,
}

impl RepmgrView {
    /// The one node that this copy calls the active primary; none if it names none or several.
    pub fn primary(&self) -> Option<i32> {
        let mut named = self.rows.iter().filter(|row| row.kind == RepmgrKind::Primary && row.active);
        let first = named.next()?;
        named.next().is_none().then_some(first.node_id)
    }

    /// The row of a node.
    pub fn row(&self, node_id: i32) -> Option<&RepmgrRow> {
        self.rows.iter().find(|row| row.node_id == node_id)
    }
}

impl Observation {
    /// The node that this node's copy of `repmgr.nodes` calls the active primary.
    pub fn names_primary(&self) -> Option<i32> {
        self.repmgr.as_ref()?.primary()
    }

    /// Whether the node's own copy of `repmgr.nodes` says that it is itself the active primary.
    pub fn names_itself(&self) -> bool {
        self.node_id.is_some() && self.names_primary() == self.node_id
    }

    /// Whether the node is a repmgr witness, which holds no data of the cluster (rule R9).
    pub fn is_witness(&self) -> bool {
        let own = self.node_id.zip(self.repmgr.as_ref()).and_then(|(id, view)| view.row(id));
        own.is_some_and(|row| row.kind == RepmgrKind::Witness)
    }

    /// Whether the node takes writes at this moment, rightly or not (rule R3).
    pub fn takes_writes(&self) -> bool {
        !self.in_recovery && !self.read_only && self.timeline.is_some()
    }

    /// The highest timeline of which this node is evidence: its own and the one that it receives.
    pub fn highest_timeline(&self) -> Timeline {
        let received = self.receiver.as_ref().map_or(0, |receiver| receiver.timeline);
        self.timeline.unwrap_or(0).max(received)
    }

    /// How many of the nodes that repmgr knows stream from this one; all that stream, if repmgr's tables are unread.
    pub fn followers_of_cluster(&self) -> usize {
        let known = |name: &&String| match &self.repmgr {
            Some(view) => view.rows.iter().any(|row| row.name == **name),
            None => true,
        };
        self.followers.iter().filter(known).count()
    }
}
