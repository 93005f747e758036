//! The questions that the judge asks of what was seen: who takes writes, who names whom, who is missing. Kind: pure.

use super::observation::{Moment, NodeKey, NodeView, Observation, Sight, Timeline};
use super::standby;
use super::verdict::{Alert, Decision, Held, Limits, Memory, Reign, Role};

/// One node that answered in time and belongs to the cluster.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) key: &'a NodeKey,
    pub(super) observation: &'a Observation,
    /// The node's own timeline; zero if it could not be told.
    pub(super) timeline: Timeline,
}

impl Seen<'_> {
    /// The reign that begins if this node is believed.
    pub(super) fn reign(&self) -> Reign {
        Reign {
            node: self.key.clone(),
            node_id: self.observation.node_id,
            timeline: self.timeline,
            system_identifier: self.observation.system_identifier,
        }
    }

    pub(super) fn followers(&self) -> usize {
        self.observation.followers_of_cluster()
    }
}

/// All that is before the judge at one moment.
pub(super) struct Court<'a> {
    pub(super) now: Moment,
    pub(super) limits: &'a Limits,
    nodes: &'a [NodeView],
    /// Which cluster this is: remembered, or else what most nodes say.
    lineage: Option<u64>,
    /// Whether there are answers, but no cluster to which most of them belong.
    divided: bool,
    /// The nodes that hold data of this cluster.
    seen: Vec<Seen<'a>>,
    /// repmgr's witnesses, which vote and hold nothing.
    witnesses: Vec<&'a Observation>,
    /// How many nodes belong to the cluster as far as we know, seen or not.
    members: usize,
}

impl<'a> Court<'a> {
    pub(super) fn open(memory: &Memory, nodes: &'a [NodeView], now: Moment, limits: &'a Limits) -> Self {
        let fresh = nodes.iter().filter_map(|node| Some((&node.key, fresh(node, now, limits)?)));
        let (witnesses, data): (Vec<_>, Vec<_>) = fresh.partition(|(_, seen)| seen.is_witness());
        let remembered = memory.confirmed.as_ref().map(|reign| reign.system_identifier);
        let lineage = remembered.or_else(|| lineage_of_most(&data));
        let divided = lineage.is_none() && !data.is_empty();
        let ours = |seen: &Observation| Some(seen.system_identifier) == lineage;
        let strangers = data.iter().filter(|(_, seen)| !ours(seen)).count();
        let seen = data.into_iter().filter(|(_, seen)| ours(seen)).map(|(key, observation)| Seen {
            key,
            observation,
            timeline: observation.timeline.unwrap_or(0),
        });
        Self {
            now,
            limits,
            nodes,
            lineage,
            divided,
            seen: seen.collect(),
            witnesses: witnesses.into_iter().map(|(_, seen)| seen).collect(),
            members: nodes.len() - strangers,
        }
    }

    /// Whether some node has neither answered nor failed to answer.
    pub(super) fn any_unasked(&self) -> bool {
        self.nodes.iter().any(|node| node.sight == Sight::Unasked)
    }

    /// Whether this node is known and has neither answered nor failed to answer.
    pub(super) fn is_unasked(&self, key: &NodeKey) -> bool {
        self.nodes.iter().any(|node| node.key == *key && node.sight == Sight::Unasked)
    }

    /// The remembered primary, if it is still out of recovery and on the timeline on which it was confirmed.
    pub(super) fn incumbent(&self, reign: &Reign) -> Option<Seen<'a>> {
        let same = |seen: &&Seen<'_>| *seen.key == reign.node && seen.timeline == reign.timeline;
        self.seen.iter().filter(same).find(|seen| !seen.observation.in_recovery).copied()
    }

    /// Every node that takes writes, rightly or not.
    pub(super) fn candidates(&self) -> Vec<Seen<'a>> {
        self.seen.iter().filter(|seen| seen.observation.takes_writes()).copied().collect()
    }

    /// The highest timeline of which any node is evidence, the given one left out.
    pub(super) fn highest_timeline(&self, except: Option<Timeline>) -> Timeline {
        self.timelines().filter(|timeline| Some(*timeline) != except).max().unwrap_or(0)
    }

    /// The timelines of which there is evidence.
    pub(super) fn timelines(&self) -> impl Iterator<Item = Timeline> + '_ {
        self.seen.iter().map(|seen| seen.observation.highest_timeline())
    }

    /// Whether any node is evidence of this timeline.
    pub(super) fn is_in_evidence(&self, timeline: Timeline) -> bool {
        self.timelines().any(|evident| evident == timeline)
    }

    /// Rule R4: the highest timeline wins; among equals the one most standbys follow, then the one most members name,
    /// then the one of the later election.
    pub(super) fn elect(&self, mut candidates: Vec<Seen<'a>>) -> Result<Seen<'a>, Held> {
        if self.divided {
            return Err(Held::Lineage);
        }
        for measure in [Self::timeline_of, Self::followers_of, Self::votes_for, Self::term_of] {
            let best = candidates.iter().map(|candidate| measure(self, candidate)).max();
            candidates.retain(|candidate| Some(measure(self, candidate)) == best);
        }
        match candidates.as_slice() {
            [] => Err(Held::NoCandidate),
            [winner] => Ok(*winner),
            _ => Err(Held::Tied),
        }
    }

    fn timeline_of(&self, candidate: &Seen<'_>) -> i64 {
        candidate.timeline.into()
    }

    fn followers_of(&self, candidate: &Seen<'_>) -> i64 {
        i64::try_from(candidate.followers()).unwrap_or(i64::MAX)
    }

    fn votes_for(&self, candidate: &Seen<'_>) -> i64 {
        candidate.observation.node_id.map_or(0, |id| i64::try_from(self.votes(id)).unwrap_or(i64::MAX))
    }

    fn term_of(&self, candidate: &Seen<'_>) -> i64 {
        candidate.observation.repmgr.as_ref().map_or(0, |view| view.voting_term)
    }

    /// How many members in sight name this node as the active primary.
    fn votes(&self, node_id: i32) -> usize {
        self.everyone().filter(|seen| seen.names_primary() == Some(node_id)).count()
    }

    fn everyone(&self) -> impl Iterator<Item = &'a Observation> + '_ {
        self.seen.iter().map(|seen| seen.observation).chain(self.witnesses.iter().copied())
    }

    /// Whether most members, seen or not, name this node as the active primary.
    pub(super) fn majority_names(&self, candidate: &Seen<'_>) -> bool {
        candidate.observation.node_id.is_some_and(|id| self.is_majority(self.votes(id)))
    }

    /// Whether repmgr stands behind this node: by its own row or by most members (rule R6).
    pub(super) fn endorses(&self, candidate: &Seen<'_>) -> bool {
        candidate.observation.names_itself() || self.majority_names(candidate)
    }

    /// Whether this node may be believed at a cold start (rule R3 c): repmgr stands behind it, or there is no repmgr.
    pub(super) fn speaks_for(&self, candidate: &Seen<'_>) -> bool {
        self.endorses(candidate) || self.everyone().all(|seen| seen.repmgr.is_none())
    }

    /// Whether a node on a later timeline says that somebody else has become the primary. Its copy of `repmgr.nodes` came
    /// down that timeline, so it is what the new primary wrote about itself.
    pub(super) fn deposed(&self, reign: &Reign) -> bool {
        let beyond = self.seen.iter().filter(|seen| seen.observation.highest_timeline() > reign.timeline);
        let mut named = beyond.filter_map(|seen| seen.observation.names_primary());
        reign.node_id.is_some_and(|incumbent| named.any(|id| id != incumbent))
    }

    /// Whether most members answer.
    pub(super) fn majority_in_sight(&self) -> bool {
        self.is_majority(self.everyone().count())
    }

    /// Whether all members answer.
    pub(super) fn all_in_sight(&self) -> bool {
        self.everyone().count() == self.members
    }

    fn is_majority(&self, count: usize) -> bool {
        count * 2 > self.members
    }

    /// What each node is, given the decision.
    pub(super) fn roles(&self, decision: &Decision, memory: &Memory) -> Vec<(NodeKey, Role)> {
        self.nodes.iter().map(|node| (node.key.clone(), self.role(node, decision, memory))).collect()
    }

    fn role(&self, node: &NodeView, decision: &Decision, memory: &Memory) -> Role {
        let observation = match &node.sight {
            Sight::Unasked => return Role::Unasked,
            Sight::Lost(loss) => return Role::Lost(*loss),
            Sight::Seen(_) => fresh(node, self.now, self.limits),
        };
        let Some(observation) = observation else { return Role::Expired };
        if observation.is_witness() {
            return Role::Witness;
        }
        if self.lineage.is_some_and(|lineage| observation.system_identifier != lineage) {
            return Role::Quarantined;
        }
        if observation.takes_writes() {
            return role_of_writer(node, observation, decision, memory);
        }
        standby::role(observation, memory.floor(), self.primary_of(decision), self.limits)
    }

    fn primary_of(&self, decision: &Decision) -> Option<&'a Observation> {
        let Decision::Primary(reign) = decision else { return None };
        self.seen.iter().find(|seen| *seen.key == reign.node).map(|seen| seen.observation)
    }

    /// What the roles give cause to say.
    pub(super) fn alerts(&self, roles: &[(NodeKey, Role)]) -> Vec<Alert> {
        let alert = |(key, role): &(NodeKey, Role)| match role {
            Role::Zombie => Some(Alert::Zombie(key.clone())),
            Role::Quarantined => Some(Alert::Quarantined(key.clone())),
            _ => None,
        };
        roles.iter().filter_map(alert).collect()
    }
}

/// A node that takes writes is the primary, or may become it while nobody is, or is a zombie.
fn role_of_writer(node: &NodeView, seen: &Observation, decision: &Decision, memory: &Memory) -> Role {
    match decision {
        Decision::Primary(reign) if reign.node == node.key => Role::Primary,
        Decision::Held(_) if seen.timeline.unwrap_or(0) >= memory.floor() => Role::Candidate,
        _ => Role::Zombie,
    }
}

/// The observation of a node, unless it is too old to be believed (rule R1).
fn fresh<'a>(node: &'a NodeView, now: Moment, limits: &Limits) -> Option<&'a Observation> {
    let Sight::Seen(observation) = &node.sight else { return None };
    (now.saturating_sub(observation.at) <= limits.expiry).then_some(observation)
}

/// The cluster to which most of the nodes in sight belong; none if no side is the larger one.
fn lineage_of_most(data: &[(&NodeKey, &Observation)]) -> Option<u64> {
    let same = |lineage: u64| data.iter().filter(|(_, seen)| seen.system_identifier == lineage).count();
    let lineages = data.iter().map(|(_, seen)| seen.system_identifier);
    lineages.max_by_key(|lineage| same(*lineage)).filter(|lineage| same(*lineage) * 2 > data.len())
}
