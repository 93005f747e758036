//! The evidence of one moment: what Sentinels and nodes say together. Kind: pure.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use super::observation::{
    Candidacy, Loss, Moment, NodeKey, NodeView, Observation, Role, SentinelView, Sight, Testimony,
};
use super::verdict::{Alert, Decision, Limits, Memory, Reign, Standing, Unfit};

/// A Sentinel that hears the others' messages catches up with them in this time: they are sent every 2 s
/// (`sentinel_publish_period`).
const CATCH_UP: Duration = Duration::from_secs(5);

/// An answer that was on its way when an event came may be as old as this.
const IN_FLIGHT: Duration = Duration::from_millis(200);

/// From the choice of a candidate (`+selected-slave`) a Sentinel takes one or two of its turns of 50 to 100 ms to promote it.
/// One that takes longer than this is not waited for: most likely the candidate can't be reached.
pub(super) const PROMOTION: Duration = Duration::from_secs(1);

/// What lies before the judge.
pub(super) struct Court<'a> {
    pub(super) sentinels: &'a [SentinelView],
    pub(super) nodes: &'a [NodeView],
    pub(super) candidacy: Option<&'a Candidacy>,
    pub(super) now: Moment,
    pub(super) limits: &'a Limits,
}

/// What a node is by its own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    Master {
        followers: u32,
    },
    Replica,
    Away(Loss),
    /// Not asked yet, or not watched.
    Unknown,
}

impl<'a> Court<'a> {
    pub(super) fn any_unasked(&self) -> bool {
        self.sentinels.iter().any(|sentinel| sentinel.sight == Sight::Unasked)
    }

    /// What the Sentinels in sight say.
    fn testimonies(&self) -> impl Iterator<Item = (&'a NodeKey, &'a Testimony)> {
        let fresh = |at: Moment| self.now.saturating_sub(at) <= self.limits.expiry;
        self.sentinels.iter().filter_map(move |sentinel| match &sentinel.sight {
            Sight::Seen(testimony) if fresh(testimony.at) => Some((&sentinel.key, &**testimony)),
            _ => None,
        })
    }

    fn claims(&self) -> impl Iterator<Item = Reign> {
        self.testimonies()
            .map(|(_, testimony)| Reign { node: self.true_name(&testimony.master), epoch: testimony.epoch })
    }

    /// The claim of the highest epoch. Where Sentinels differ within it: whom more of them name, then whose data goes on
    /// from what is known, then who answers as a master with more replicas, then any, but the same for every router.
    pub(super) fn newest(&self, replid: &str) -> Option<Reign> {
        let newest = self.claims().map(|claim| claim.epoch).max()?;
        let claims = self.claims().filter(|claim| claim.epoch == newest);
        claims.max_by_key(|claim| {
            let votes = self.claims().filter(|other| other == claim).count();
            let seen = self.observation(&claim.node);
            let descends = seen.is_some_and(|seen| seen.descends_from(replid));
            let followers = seen.map(|seen| (seen.is_master(), seen.followers()));
            (votes, descends, followers, Reverse(claim.node.clone()))
        })
    }

    /// Whether a Sentinel in sight names exactly this.
    pub(super) fn speaks_for(&self, reign: &Reign) -> bool {
        self.claims().any(|claim| claim == *reign)
    }

    /// Whether a Sentinel in sight is not as far as this epoch.
    pub(super) fn is_doubted(&self, reign: &Reign) -> bool {
        self.claims().any(|claim| claim.epoch < reign.epoch)
    }

    /// Whether a Sentinel in sight names this node, as of this epoch or, after it was told of it anew, an older one.
    pub(super) fn names(&self, reign: &Reign) -> bool {
        self.claims().any(|claim| claim.node == reign.node)
    }

    /// Whether a failover is in progress, as far as we have heard.
    pub(super) fn is_failing_over(&self) -> bool {
        self.failover().is_some() || self.testimonies().any(|(_, testimony)| testimony.failover.is_some())
    }

    /// The failover with a candidate that its leader has not given up.
    fn failover(&self) -> Option<&'a Candidacy> {
        self.candidacy.filter(|candidacy| !candidacy.aborted && !self.is_over(candidacy))
    }

    /// Whether the leader has nothing in progress any more, and has not brought its epoch in: it has followed another
    /// leader, which it tells by no `-failover-abort`, or was restarted.
    fn is_over(&self, candidacy: &Candidacy) -> bool {
        let since = candidacy.since + IN_FLIGHT;
        self.testimonies().any(|(sentinel, said)| {
            let later = *sentinel == candidacy.leader && said.at >= since;
            later && said.failover.is_none() && said.epoch < candidacy.epoch
        })
    }

    /// Whether another node than the master is about to be promoted, as of a newer epoch.
    pub(super) fn is_handing_over(&self, master: &Reign) -> bool {
        self.failover().is_some_and(|candidacy| {
            let other = self.true_name(&candidacy.node) != master.node;
            other && candidacy.epoch > master.epoch && self.now.saturating_sub(candidacy.since) <= PROMOTION
        })
    }

    /// A promotion that came to nothing.
    pub(super) fn given_up(&self) -> Option<Reign> {
        let candidacy = self.candidacy.filter(|candidacy| candidacy.aborted || self.is_over(candidacy))?;
        Some(Reign { node: self.true_name(&candidacy.node), epoch: candidacy.epoch })
    }

    /// The candidate, once it answers as a master.
    pub(super) fn promoted(&self) -> Option<Reign> {
        let candidacy = self.failover()?;
        let seen = self.observation(&candidacy.node)?;
        let promoted = seen.is_master() && seen.at >= candidacy.since;
        promoted.then(|| Reign { node: self.true_name(&candidacy.node), epoch: candidacy.epoch })
    }

    /// What all Sentinels in sight, a majority of the known ones, say against the claim: one node, which answers as a
    /// master, as of an epoch that is not newer; while whom we know is no master with replicas.
    pub(super) fn agreed_against(&self, claim: Option<&Reign>) -> Option<Reign> {
        let claim = claim?;
        let mut claims = self.claims();
        let agreed = claims.next()?;
        let all = claims.all(|other| other == agreed);
        let majority = self.testimonies().count() * 2 > self.sentinels.len();
        let against = agreed != *claim && agreed.epoch <= claim.epoch;
        if !all || !majority || !against || !self.is_master(&agreed.node) {
            return None;
        }
        let stands = agreed.node != claim.node
            && matches!(self.seat(&claim.node), Seat::Master { followers } if followers > 0);
        (!stands).then_some(agreed)
    }

    fn view(&self, key: &NodeKey) -> Option<&'a NodeView> {
        self.nodes.iter().find(|node| node.key == *key)
    }

    /// The last look at a node, if it is fresh.
    pub(super) fn observation(&self, key: &NodeKey) -> Option<&'a Arc<Observation>> {
        match &self.view(key)?.sight {
            Sight::Seen(seen) if self.now.saturating_sub(seen.at) <= self.limits.expiry => Some(seen),
            _ => None,
        }
    }

    pub(super) fn seat(&self, key: &NodeKey) -> Seat {
        if let Some(seen) = self.observation(key) {
            return match seen.role {
                Role::Master { followers } => Seat::Master { followers },
                Role::Replica { .. } => Seat::Replica,
            };
        }
        match self.view(key).map(|node| &node.sight) {
            None | Some(Sight::Unasked) => Seat::Unknown,
            Some(Sight::Lost(loss)) => Seat::Away(*loss),
            Some(Sight::Seen(_)) => Seat::Away(Loss::Silent),
        }
    }

    fn is_master(&self, key: &NodeKey) -> bool {
        matches!(self.seat(key), Seat::Master { .. })
    }

    pub(super) fn is_replica(&self, key: &NodeKey) -> bool {
        self.seat(key) == Seat::Replica
    }

    /// One process may be called by a name and by an address: it goes by the first under which it was seen.
    fn true_name(&self, key: &NodeKey) -> NodeKey {
        let run_id = |node: &'a NodeView| match &node.sight {
            Sight::Seen(seen) if !seen.run_id.is_empty() => Some(&seen.run_id),
            _ => None,
        };
        let Some(own) = self.view(key).and_then(run_id) else { return key.clone() };
        let first = self.nodes.iter().find(|node| run_id(node) == Some(own));
        first.map_or_else(|| key.clone(), |node| node.key.clone())
    }

    /// What each node is, beside what was decided.
    pub(super) fn standings(&self, master: &Decision, memory: &Memory) -> Vec<(NodeKey, Standing)> {
        let reign = if let Decision::Master(reign) = master { Some(reign) } else { None };
        let standing = |node: &NodeView| (node.key.clone(), self.standing(node, reign, memory));
        self.nodes.iter().map(standing).collect()
    }

    fn standing(&self, node: &NodeView, reign: Option<&Reign>, memory: &Memory) -> Standing {
        let is_reigning = reign.is_some_and(|reign| reign.node == self.true_name(&node.key));
        let seen = match &node.sight {
            _ if is_reigning => return Standing::Master,
            Sight::Unasked => return Standing::Unasked,
            Sight::Lost(loss) => return Standing::Lost(*loss),
            Sight::Seen(seen) => seen,
        };
        if self.observation(&node.key).is_none() {
            return Standing::Expired;
        }
        let candidate = self.failover();
        let claimed = memory.claim.as_ref().is_none_or(|claim| claim.node == node.key);
        match &seen.role {
            Role::Master { .. } if claimed => Standing::Candidate,
            Role::Master { .. } if candidate.is_some_and(|candidacy| candidacy.node == node.key) => {
                Standing::Candidate
            }
            Role::Master { .. } => Standing::Zombie,
            Role::Replica { linked, .. } => {
                self.unfit(seen, *linked, memory).map_or(Standing::Replica, Standing::Unroutable)
            }
        }
    }

    fn unfit(&self, seen: &Observation, linked: bool, memory: &Memory) -> Option<Unfit> {
        if !linked {
            return Some(Unfit::Unlinked);
        }
        let told = !seen.replid.is_empty() && !memory.replid.is_empty();
        if told && seen.replid != memory.replid {
            return Some(Unfit::OtherLineage);
        }
        self.limits.max_lag.is_some_and(|limit| seen.lag > limit).then_some(Unfit::Lagging)
    }

    /// What a person should know, beside what the ruling itself has found.
    pub(super) fn alerts(&self, memory: &Memory, standings: &[(NodeKey, Standing)]) -> Vec<Alert> {
        let mut alerts = Vec::new();
        if let Some(claim) = &memory.claim {
            let settled = self.now.saturating_sub(memory.raised_at) >= CATCH_UP;
            alerts.extend(self.dissent(claim, settled && memory.provisional.is_none()));
        }
        let (seen, known) = (self.testimonies().count(), self.sentinels.len());
        if seen > 0 && seen * 2 <= known && !self.any_unasked() {
            alerts.push(Alert::NoQuorum { seen, known });
        }
        let zombies = standings.iter().filter(|(_, standing)| *standing == Standing::Zombie);
        alerts.extend(zombies.map(|(node, _)| Alert::SecondMaster(node.clone())));
        alerts.extend(memory.broken.clone().map(Alert::LineageBreak));
        alerts
    }

    /// Sentinels that say something else; until a claim has settled all are allowed to be behind.
    fn dissent(&self, claim: &Reign, settled: bool) -> Vec<Alert> {
        let mut alerts = Vec::new();
        for (sentinel, testimony) in self.testimonies() {
            let says = Reign { node: self.true_name(&testimony.master), epoch: testimony.epoch };
            if says.epoch < claim.epoch && settled {
                alerts.push(Alert::StaleSentinel { sentinel: sentinel.clone(), says });
            } else if says.epoch == claim.epoch && says.node != claim.node {
                let alert = Alert::Disputed { kept: claim.clone(), other: says.node };
                if !alerts.contains(&alert) {
                    alerts.push(alert);
                }
            }
        }
        alerts
    }
}
