//! The judge's vocabulary: what it remembers, what bounds it, and what it says. Kind: pure.

use std::fmt;
use std::time::Duration;

use super::observation::{Epoch, Loss, Moment, NodeKey};

/// What bounds the judge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// How long an observation may be believed; three probe periods.
    pub expiry: Duration,
    /// For how long no Sentinel and no replica may be in sight before writes stop; none never stops them.
    pub fence: Option<Duration>,
    /// For how long all Sentinels must agree on an older epoch before it is believed.
    ///
    /// A master that died and came back answers as a master until a Sentinel demotes it: 8 s of stable wrong role, seen
    /// every 10 s (`sentinelRefreshInstanceInfo`). Less than their sum would believe a phantom.
    pub regress: Duration,
    /// How far a replica may be behind and still be read from; no limit if none.
    pub max_lag: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            expiry: Duration::from_secs(3),
            fence: Some(Duration::from_secs(2)),
            regress: Duration::from_secs(30),
            max_lag: None,
        }
    }
}

/// A node's term as the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reign {
    /// Which node.
    pub node: NodeKey,
    /// As of which epoch.
    pub epoch: Epoch,
}

/// What the judge carries from one judgement to the next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// The claim of the highest epoch that was ever heard: nobody below it is believed.
    pub claim: Option<Reign>,
    /// When it was heard first or, after a promotion that we saw, confirmed.
    pub raised_at: Moment,
    /// Who was the master last, by our own verdict.
    pub reigning: Option<Reign>,
    /// While the claim rests on the promotion alone, that no Sentinel has confirmed: the one that it replaced.
    pub provisional: Option<Reign>,
    /// Whether every Sentinel was asked once.
    pub started: bool,
    /// Since when neither a Sentinel nor a replica speaks for the master.
    pub lonely: Option<Moment>,
    /// What all Sentinels say against the claim, and since when.
    pub regress: Option<(Reign, Moment)>,
    /// The history that the master's data belongs to (`master_replid`).
    pub replid: String,
    /// Whose data does not go on from that of its predecessor.
    pub broken: Option<NodeKey>,
    /// A promotion that its leader has given up, so that it is not believed again.
    pub voided: Option<Reign>,
    /// Whether the claim goes against what was published, and has not been published yet.
    pub turned: bool,
}

impl Memory {
    /// What a router knows that starts with a state file: a claim to be checked, not a fact.
    pub fn restored(reign: Reign) -> Self {
        Self { claim: Some(reign), ..Self::default() }
    }
}

/// What the judge says.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Where writes go.
    pub master: Decision,
    /// Whether this goes against what was published: an older epoch, or another master in the same one. Set with the
    /// judgement that turns back, and with it alone.
    pub anew: bool,
    /// What the decision rests on.
    pub ground: Ground,
    /// What each node is, in the order in which the nodes were given.
    pub standings: Vec<(NodeKey, Standing)>,
    /// Whether everybody should be looked at in quick succession.
    pub suspect: bool,
    /// Whether a Sentinel is about to promote another node, so that what the master still takes would be lost: new
    /// writes wait, for [`PROMOTION`] at most.
    ///
    /// [`PROMOTION`]: super::evidence::PROMOTION
    pub handing_over: bool,
    /// What a person should know about.
    pub alerts: Vec<Alert>,
}

impl Verdict {
    /// The nodes that may be read from.
    pub fn replicas(&self) -> impl Iterator<Item = &NodeKey> {
        self.standings.iter().filter(|(_, standing)| *standing == Standing::Replica).map(|(key, _)| key)
    }

    /// What a node is.
    pub fn standing(&self, key: &NodeKey) -> Option<Standing> {
        self.standings.iter().find(|(known, _)| known == key).map(|(_, standing)| *standing)
    }

    /// Who the master is.
    pub fn reign(&self) -> Option<&Reign> {
        match &self.master {
            Decision::Master(reign) => Some(reign),
            Decision::Held(_) => None,
        }
    }
}

/// Where writes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// To this node.
    Master(Reign),
    /// Nowhere; they wait.
    Held(Held),
}

/// What a decision rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// A Sentinel names it as of the highest epoch.
    Sentinel,
    /// It was promoted before our eyes by a Sentinel that leads a failover, and no Sentinel has confirmed it yet.
    Promotion,
    /// No Sentinel speaks for it any more, but it answers as the master that it was.
    Memory,
    /// All Sentinels have agreed on an older epoch for long enough.
    WayBack,
    /// The promotion was given up.
    Abort,
}

impl Ground {
    /// The ground in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sentinel => "a Sentinel names it as of the highest epoch",
            Self::Promotion => "it was promoted; no Sentinel has confirmed it yet",
            Self::Memory => "no Sentinel speaks for it, but it is still a master",
            Self::WayBack => "all Sentinels have agreed on it for long, as of an older epoch",
            Self::Abort => "the promotion of another was given up",
        }
    }
}

/// Why writes wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Not every Sentinel was asked yet.
    Starting,
    /// No Sentinel answers, and nothing is remembered.
    NoSentinel,
    /// The master has not answered yet, or does not answer any more.
    OutOfSight,
    /// A Sentinel names another node as of a newer epoch, and that one does not answer as a master yet.
    Deposed,
    /// The node that the Sentinels name calls itself a replica.
    Demoted,
    /// Neither a Sentinel nor a replica is in sight: the master may have been replaced behind our back.
    Fenced,
}

impl Held {
    /// Whether what is under way on the last master must be given up: somebody may have followed it.
    pub fn fences(self) -> bool {
        matches!(self, Self::Deposed | Self::Demoted | Self::Fenced)
    }

    /// The reason in words, for logs and the status page.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "not every Sentinel has been asked yet",
            Self::NoSentinel => "no Sentinel answers, and no master is remembered",
            Self::OutOfSight => "the master does not answer",
            Self::Deposed => "a newer epoch names another node, which does not answer as a master yet",
            Self::Demoted => "the node that the Sentinels name calls itself a replica",
            Self::Fenced => "neither a Sentinel nor a replica is in sight of the master",
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
pub enum Standing {
    /// Not asked yet.
    Unasked,
    /// Out of sight.
    Lost(Loss),
    /// The last observation is too old.
    Expired,
    /// Takes writes and is the master.
    Master,
    /// About to be promoted, or a master by its own word that nobody has confirmed yet.
    Candidate,
    /// Takes writes and must not be sent anything, not even reads.
    Zombie,
    /// May be read from.
    Replica,
    /// A replica that is not to be read from.
    Unroutable(Unfit),
}

impl Standing {
    /// The standing in one word, as the label of a metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unasked => "unasked",
            Self::Lost(_) => "lost",
            Self::Expired => "expired",
            Self::Master => "master",
            Self::Candidate => "candidate",
            Self::Zombie => "zombie",
            Self::Replica => "replica",
            Self::Unroutable(_) => "unroutable",
        }
    }

    /// Why it is what it is, where one would ask.
    pub fn why(self) -> Option<&'static str> {
        match self {
            Self::Lost(loss) => Some(loss.as_str()),
            Self::Expired => Some("last observation is too old"),
            Self::Unroutable(unfit) => Some(unfit.as_str()),
            Self::Zombie => Some("calls itself a master, but is not the one of the highest epoch"),
            Self::Candidate => Some("is not confirmed as the master"),
            _ => None,
        }
    }
}

/// Why a replica is not read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Its link to its master is down.
    Unlinked,
    /// Its data belongs to another history than the master's.
    OtherLineage,
    /// It is further behind than allowed.
    Lagging,
}

impl Unfit {
    /// The reason in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unlinked => "its link to its master is down",
            Self::OtherLineage => "it follows another history than the master's",
            Self::Lagging => "it is too far behind",
        }
    }
}

/// What a person should know about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alert {
    /// A Sentinel is behind the others; what it says about the master is not believed.
    StaleSentinel {
        /// Which.
        sentinel: NodeKey,
        /// What it says.
        says: Reign,
    },
    /// Two nodes are named as of the same epoch; the one that was known first stays.
    Disputed {
        /// Whom we keep.
        kept: Reign,
        /// Who else is named.
        other: NodeKey,
    },
    /// No Sentinel speaks for the master, which is kept.
    NoSentinel,
    /// Too few Sentinels are in sight of us to elect a leader; if they don't see one another either, there will be no
    /// automatic failover.
    NoQuorum {
        /// How many answer.
        seen: usize,
        /// Of how many.
        known: usize,
    },
    /// Neither Sentinel nor replica is in sight; writes stop, or will.
    Lonely(NodeKey),
    /// A node calls itself a master and is not the one.
    SecondMaster(NodeKey),
    /// The master's data does not go on from its predecessor's.
    LineageBreak(NodeKey),
    /// All Sentinels name a master as of an older epoch: it is believed after a while, or `--forget-epoch` at once.
    Regress(Reign),
}

impl fmt::Display for Reign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (epoch {})", self.node, self.epoch)
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StaleSentinel { sentinel, says } => {
                write!(f, "Sentinel {sentinel} is behind the others: it names {says}, and is not believed")
            }
            Self::Disputed { kept, other } => {
                write!(f, "{other} is named as of the same epoch as {kept}, which is kept")
            }
            Self::NoSentinel => f.write_str("no Sentinel speaks for the master: it is kept while it answers"),
            Self::NoQuorum { seen, known } => {
                write!(f, "only {seen} of {known} Sentinels answer: they can elect no leader")
            }
            Self::Lonely(node) => write!(f, "no Sentinel and no replica is in sight of {node}"),
            Self::SecondMaster(node) => {
                write!(f, "{node} calls itself a master: whoever writes to it directly loses these writes")
            }
            Self::LineageBreak(node) => {
                write!(f, "the data of {node} does not go on from its predecessor's (master_replid)")
            }
            Self::Regress(reign) => {
                write!(
                    f,
                    "all Sentinels name {reign}, older than what is remembered: it is believed after a while; \
                     --forget-epoch believes it at once"
                )
            }
        }
    }
}
