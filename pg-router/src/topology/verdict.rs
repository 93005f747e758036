//! The judge's vocabulary: what it remembers, what bounds it, and what it says. Kind: pure.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::observation::{Loss, Moment, NodeKey, Timeline};

/// What bounds the judge.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// How long an observation may be believed; three probe periods (rule R1).
    pub expiry: Duration,
    /// How long writes are held while a higher timeline stands unconfirmed beside a living primary (rule R6).
    pub contest: Duration,
    /// How long a primary that came back alone must have stood there, with nobody to speak for or against it.
    ///
    /// A crashed primary that was started again by hand looks exactly like the last survivor of a cluster. Waiting gives
    /// the others time to be seen; waiting for ever would turn the loss of two standbys into a loss of service.
    pub lone: Duration,
    /// How far a standby may be behind and still be read from; no limit if none.
    pub max_lag: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            expiry: Duration::from_millis(750),
            contest: Duration::from_secs(5),
            lone: Duration::from_secs(30),
            max_lag: None,
        }
    }
}

/// A node's term as the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reign {
    /// Which node.
    pub node: NodeKey,
    /// Its number in `repmgr.nodes`, if known.
    pub node_id: Option<i32>,
    /// The timeline that it writes.
    pub timeline: Timeline,
    /// The cluster that it belongs to.
    pub system_identifier: u64,
}

/// What the judge carries from one judgement to the next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// The last confirmed primary. Its timeline is the floor below which no node is ever believed (rule R5).
    pub confirmed: Option<Reign>,
    /// Whether this process saw that primary itself, or only read about it in the state file.
    pub witnessed: bool,
    /// Whether the primary has been away since it was last confirmed, so that it must prove itself when it returns.
    pub absent: bool,
    /// The higher timeline that stands beside the living primary, and since when.
    pub contest: Option<(Timeline, Moment)>,
    /// The higher timeline that nobody confirmed in time. It must be confirmed before it is ever accepted.
    pub overruled: Option<Timeline>,
    /// Since when each timeline in evidence has been so; a stray's for as long as it is remembered.
    pub evident: BTreeMap<Timeline, Moment>,
    /// The node that stands alone before us, and since when.
    pub lone: Option<(NodeKey, Moment)>,
}

impl Memory {
    /// What a router knows that starts with a state file: a claim to be checked, not a fact.
    pub fn restored(reign: Reign) -> Self {
        Self { confirmed: Some(reign), absent: true, ..Self::default() }
    }

    /// The timeline below which no node is believed.
    pub fn floor(&self) -> Timeline {
        self.confirmed.as_ref().map_or(0, |reign| reign.timeline)
    }
}

/// What the judge says.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Where writes go.
    pub primary: Decision,
    /// What each node is, in the order in which the nodes were given.
    pub roles: Vec<(NodeKey, Role)>,
    /// Whether all nodes should be looked at in quick succession.
    pub suspect: bool,
    /// What a person should know about.
    pub alerts: Vec<Alert>,
}

impl Verdict {
    /// The nodes that may be read from.
    pub fn replicas(&self) -> impl Iterator<Item = &NodeKey> {
        self.roles.iter().filter(|(_, role)| *role == Role::Replica).map(|(key, _)| key)
    }

    /// The nodes that take writes and must not be sent any.
    pub fn zombies(&self) -> impl Iterator<Item = &NodeKey> {
        self.roles.iter().filter(|(_, role)| *role == Role::Zombie).map(|(key, _)| key)
    }

    /// What a node is.
    pub fn role(&self, key: &NodeKey) -> Option<Role> {
        self.roles.iter().find(|(known, _)| known == key).map(|(_, role)| *role)
    }
}

/// Where writes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// To this node.
    Primary(Reign),
    /// Nowhere; they wait.
    Held(Held),
}

/// Why writes wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Not every node was asked yet.
    Starting,
    /// The nodes that answer belong to different clusters, and no side is the larger one.
    Lineage,
    /// No node takes writes.
    NoCandidate,
    /// The primary is alive but refuses writes.
    ReadOnly,
    /// A node takes writes, but too few of the others are in sight to believe it.
    Minority,
    /// A node takes writes, but nothing follows it, and not every other node is in sight.
    Lone,
    /// A node takes writes, but its own copy of `repmgr.nodes` names another primary.
    Unconfirmed,
    /// A higher timeline stands beside the living primary, and repmgr has not said whose it is.
    Contested,
    /// The cluster has moved on to a timeline whose primary is out of sight.
    Deposed,
    /// Several nodes were promoted to one timeline, and the one that we followed is gone or not preferred.
    Tied,
    /// Only nodes take writes whose timeline is older than the last confirmed one.
    Stale,
}

impl Held {
    /// Whether what is under way on the last primary must be given up: somebody may have followed it. A primary that is
    /// merely out of sight keeps its statements; if it is gone, so are their connections.
    pub fn fences(self) -> bool {
        !matches!(self, Self::Starting | Self::NoCandidate | Self::ReadOnly)
    }

    /// The reason in words, for logs and the status page.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "not every node has been asked yet",
            Self::Lineage => "the nodes belong to different clusters",
            Self::NoCandidate => "no node takes writes",
            Self::ReadOnly => "the primary refuses writes (default_transaction_read_only)",
            Self::Minority => "a node takes writes but too few others are in sight",
            Self::Lone => "a node takes writes but no standby follows it and others are out of sight",
            Self::Unconfirmed => "a node takes writes but repmgr does not name it as the primary",
            Self::Contested => "a higher timeline stands beside the living primary",
            Self::Deposed => "the cluster is on a newer timeline whose primary is out of sight",
            Self::Tied => "several nodes were promoted to one timeline",
            Self::Stale => {
                "only nodes on an older timeline than the last one take writes, which topology.json in state_dir \
                 remembers; if the servers were re-initialised, restart once with --forget-epoch"
            }
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Not asked yet.
    Unasked,
    /// Out of sight.
    Lost(Loss),
    /// The last observation is too old.
    Expired,
    /// Takes writes and is the primary.
    Primary,
    /// Takes writes and may yet become the primary.
    Candidate,
    /// Takes writes and must not be sent anything, not even reads (rule R4).
    Zombie,
    /// May be read from (rule R9).
    Replica,
    /// In recovery, but not to be read from.
    Unroutable(Unfit),
    /// Belongs to another cluster (rule R2).
    Quarantined,
    /// Holds a vote and no data.
    Witness,
}

impl Role {
    /// The role in one word, as the label of a metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unasked => "unasked",
            Self::Lost(_) => "lost",
            Self::Expired => "expired",
            Self::Primary => "primary",
            Self::Candidate => "candidate",
            Self::Zombie => "zombie",
            Self::Replica => "replica",
            Self::Unroutable(_) => "unroutable",
            Self::Quarantined => "quarantined",
            Self::Witness => "witness",
        }
    }

    /// Why the role is what it is, where one would ask.
    pub fn why(self) -> Option<&'static str> {
        match self {
            Self::Lost(loss) => Some(loss.as_str()),
            Self::Expired => Some("last observation is too old"),
            Self::Unroutable(unfit) => Some(unfit.as_str()),
            Self::Quarantined => Some("another system_identifier"),
            Self::Zombie => Some("takes writes, but not as this cluster's primary"),
            _ => None,
        }
    }
}

/// Why a standby is not read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// No primary was ever confirmed, so that there is nobody to be in step with.
    NoPrimary,
    /// Its WAL receiver is not streaming.
    NotStreaming,
    /// It receives another timeline than the primary's.
    OtherTimeline,
    /// Somebody paused its replay.
    Paused,
    /// It is further behind than allowed.
    Lagging,
    /// `repmgr.nodes` of the primary says that it is not active.
    Inactive,
    /// It is neither in recovery nor does it take writes.
    ReadOnly,
}

impl Unfit {
    /// The reason in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoPrimary => "no primary was confirmed yet",
            Self::NotStreaming => "its WAL receiver is not streaming",
            Self::OtherTimeline => "it receives another timeline than the primary's",
            Self::Paused => "its replay is paused",
            Self::Lagging => "it is too far behind",
            Self::Inactive => "repmgr.nodes says that it is not active",
            Self::ReadOnly => "it is out of recovery but refuses writes",
        }
    }
}

/// What a person should know about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alert {
    /// A node takes writes that is not the primary: whoever reaches it directly writes into the void.
    Zombie(NodeKey),
    /// A node of another cluster stands in the list.
    Quarantined(NodeKey),
    /// A higher timeline stands beside the living primary; writes are held until the limit has passed.
    Contest(Timeline),
    /// A higher timeline stands beside the living primary, and repmgr has not confirmed it in time.
    Overruled(Timeline),
    /// The primary was believed though nothing but the state file speaks for it.
    LonePrimary(NodeKey),
    /// Several nodes took writes on one timeline; without a further promotion a person must decide.
    Tied(Timeline),
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zombie(node) => write!(f, "{node} takes writes but is not the primary: fence or rejoin it"),
            Self::Quarantined(node) => write!(f, "{node} belongs to another cluster (system_identifier)"),
            Self::Contest(timeline) => {
                write!(f, "timeline {timeline} stands beside the living primary: writes are held")
            }
            Self::Overruled(timeline) => {
                write!(
                    f,
                    "timeline {timeline} stands beside the living primary and repmgr does not confirm it"
                )
            }
            Self::LonePrimary(node) => {
                write!(f, "{node} was accepted as the primary though no other node could speak for it")
            }
            Self::Tied(timeline) => write!(f, "several nodes were promoted to timeline {timeline}"),
        }
    }
}
