//! What one look at a Sentinel or a node showed: the facts that the judge weighs, and nothing else. Kind: pure.
//!
//! An observation is a value. It carries the moment at which it was made and is never amended: the next look replaces
//! it, an error takes it away.

use std::sync::Arc;
use std::time::Duration;

/// A moment on the router's own monotonic clock, as the time since the watcher started.
pub type Moment = Duration;

/// How the router names a Sentinel or a node: the text of the address under which we reach it.
pub type NodeKey = Arc<str>;

/// Sentinel's config-epoch: it grows with each failover that was won or forced.
pub type Epoch = u64;

/// What is known about somebody now.
#[derive(Clone, Debug, PartialEq)]
pub enum Sight<T> {
    /// Nobody has answered or failed to answer yet; no conclusion may be drawn from silence.
    Unasked,
    /// The last look failed; whatever was known before is revoked.
    Lost(Loss),
    /// The last look succeeded.
    Seen(Arc<T>),
}

/// Why there is no observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The connection ended, and there was no other.
    Closed,
    /// Nothing listens there.
    Refused,
    /// It is loading its data.
    Unready,
    /// It runs a script that takes long, and answers nothing else meanwhile.
    Busy,
    /// No answer within the time allowed.
    Silent,
    /// It answers, but not to our question: a failed login, another protocol, an unknown master.
    Unusable,
    /// It is not at an address that Sentinels may name.
    NotAllowed,
}

impl Loss {
    /// A word for logs, metrics and the status page.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "connection closed",
            Self::Refused => "connection refused",
            Self::Unready => "loading",
            Self::Busy => "busy with a script",
            Self::Silent => "no answer in time",
            Self::Unusable => "question not answered",
            Self::NotAllowed => "address not allowed",
        }
    }
}

/// One Sentinel as the judge gets to see it.
#[derive(Clone, Debug, PartialEq)]
pub struct SentinelView {
    /// Which one.
    pub key: NodeKey,
    /// What it says.
    pub sight: Sight<Testimony>,
}

/// What a Sentinel says about the master.
///
/// The address is that of `SENTINEL GET-MASTER-ADDR-BY-NAME`, the epoch that of `SENTINEL MASTER`, asked in one write:
/// while a failover ends, the leader's `SENTINEL MASTER` shows the new epoch with the old address (`sentinel.c`,
/// `addReplySentinelRedisInstance` beside `sentinelGetCurrentMasterAddress`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Testimony {
    /// When the answer arrived.
    pub at: Moment,
    /// Whom it names, under the address by which we reach it.
    pub master: NodeKey,
    /// As of which epoch.
    pub epoch: Epoch,
    /// The `failover-state`, while a failover is in progress there.
    pub failover: Option<String>,
    /// Its flags: `s_down`, `o_down` and others.
    pub flags: String,
    /// How many Sentinels must agree that the master is down.
    pub quorum: u32,
    /// How many other Sentinels it knows.
    pub others: u32,
}

/// One Redis node as the judge gets to see it.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeView {
    /// Which one.
    pub key: NodeKey,
    /// What it says.
    pub sight: Sight<Observation>,
}

/// What one look at a Redis node showed: `ROLE` and `INFO`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// When the answer arrived.
    pub at: Moment,
    /// What it calls itself.
    pub role: Role,
    /// The end of what it wrote or received.
    pub offset: u64,
    /// `master_replid`: the history that its data belongs to. Empty where it is not told.
    pub replid: String,
    /// `master_replid2`: the history before its promotion.
    pub replid2: String,
    /// `run_id`: which process this is, whatever it is called.
    pub run_id: String,
    /// For how long its offset has been behind the master's; set by who knows both.
    pub lag: Duration,
}

/// What a node calls itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes writes.
    Master {
        /// Replicas that are online and were heard from just now.
        followers: u32,
    },
    /// It follows.
    Replica {
        /// Whom, as it was told.
        of: String,
        /// Whether its link is up.
        linked: bool,
    },
}

impl Observation {
    /// Whether it takes writes, rightly or not.
    pub fn is_master(&self) -> bool {
        matches!(self.role, Role::Master { .. })
    }

    /// How many replicas follow it.
    pub fn followers(&self) -> u32 {
        if let Role::Master { followers } = self.role { followers } else { 0 }
    }

    /// Whether its data goes on from that history: its own, or the one before its promotion.
    pub fn descends_from(&self, replid: &str) -> bool {
        self.replid.is_empty() || replid.is_empty() || self.replid == replid || self.replid2 == replid
    }
}

/// A node that is about to be promoted, told by the events of the Sentinel that leads the failover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidacy {
    /// Which node.
    pub node: NodeKey,
    /// The epoch of the election (`+new-epoch`), in which it would be the master.
    pub epoch: Epoch,
    /// Which Sentinel leads.
    pub leader: NodeKey,
    /// Since when.
    pub since: Moment,
    /// Whether the leader has given up (`-failover-abort-…`).
    pub aborted: bool,
}
