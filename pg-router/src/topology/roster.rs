//! The nodes that are watched: those configured, and those in the confirmed primary's `repmgr.nodes`. Kind: wiring.

use std::sync::Arc;
use std::time::Instant;

use proxy_core::net::Addr;
use proxy_core::upstream::Endpoint;
use tokio::task::JoinHandle;

use super::monitor::Complaint;
use super::observation::{NodeKey, NodeView, RepmgrRow, Sight};
use super::verdict::{Role, Verdict};

/// More nodes than this are not discovered: a table that names more is not a cluster of ours.
const MAX_NODES: usize = 64;

/// One node that is watched.
pub(super) struct Member {
    key: NodeKey,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) sight: Sight,
    /// What is wrong with it in a person's eyes, so that it is said once.
    pub(super) complaint: Option<Complaint>,
    /// Whether there was a report since the endpoint was last told.
    pub(super) fresh: bool,
    role: Option<Role>,
    configured: bool,
    task: JoinHandle<()>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the confirmed primary's table says: who belongs to the cluster, by number and address.
pub(super) struct Census<'a> {
    rows: &'a [RepmgrRow],
    /// The numbers of the nodes that told theirs.
    known: Vec<(NodeKey, i32)>,
}

/// The table of the primary, if it could be read.
pub(super) fn census<'a>(nodes: &'a [NodeView], primary: &NodeKey) -> Option<Census<'a>> {
    let seen = |node: &'a NodeView| match &node.sight {
        Sight::Seen(seen) => Some((node.key.clone(), seen)),
        Sight::Unasked | Sight::Lost(_) => None,
    };
    let (_, authority) = nodes.iter().filter_map(seen).find(|(key, _)| key == primary)?;
    let known = nodes.iter().filter_map(seen).filter_map(|(key, seen)| Some((key, seen.node_id?)));
    Some(Census { rows: &authority.repmgr.as_ref()?.rows, known: known.collect() })
}

/// Whether two sets of endpoints are the same, in the same order.
pub(super) fn same(left: &[Arc<Endpoint>], right: &[Arc<Endpoint>]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| Arc::ptr_eq(left, right))
}

#[derive(Default)]
pub(super) struct Roster(Vec<Member>);

impl Roster {
    pub(super) fn add(
        &mut self,
        key: NodeKey,
        endpoint: Arc<Endpoint>,
        configured: bool,
        task: JoinHandle<()>,
    ) {
        self.0.push(Member {
            key,
            endpoint,
            sight: Sight::Unasked,
            complaint: None,
            fresh: false,
            role: None,
            configured,
            task,
        });
    }

    pub(super) fn remove(&mut self, key: &NodeKey) {
        self.0.retain(|member| member.key != *key);
    }

    pub(super) fn has(&self, key: &NodeKey) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn get(&self, key: &NodeKey) -> Option<&Member> {
        self.0.iter().find(|member| member.key == *key)
    }

    pub(super) fn get_mut(&mut self, key: &NodeKey) -> Option<&mut Member> {
        self.0.iter_mut().find(|member| member.key == *key)
    }

    pub(super) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.0.iter().map(|member| Arc::clone(&member.endpoint)).collect()
    }

    /// What the judge gets to see.
    pub(super) fn views(&self) -> Vec<NodeView> {
        let view = |member: &Member| NodeView { key: member.key.clone(), sight: member.sight.clone() };
        self.0.iter().map(view).collect()
    }

    /// The endpoints of these nodes.
    pub(super) fn pick<'a>(&self, keys: impl Iterator<Item = &'a NodeKey>) -> Vec<Arc<Endpoint>> {
        keys.filter_map(|key| self.get(key)).map(|member| Arc::clone(&member.endpoint)).collect()
    }

    /// Tells the endpoints what was seen, where there is something to tell: a report, or another role.
    pub(super) fn observe(&mut self, verdict: &Verdict, now: Instant) {
        for member in &mut self.0 {
            let role = verdict.role(&member.key);
            let told = member.role == role && !std::mem::take(&mut member.fresh);
            if told {
                continue;
            }
            member.role = role;
            let fit = match role {
                None | Some(Role::Unasked) => continue,
                Some(Role::Primary | Role::Replica) => Ok(()),
                role => Err(role.and_then(Role::why).unwrap_or("has no role")),
            };
            member.endpoint.observe(fit, now);
        }
    }

    /// Nodes to be watched no longer: discovered ones that have left the table, and those that are another one by a
    /// second address.
    pub(super) fn redundant(&self, census: &Census<'_>) -> Vec<NodeKey> {
        let discovered = self.0.iter().filter(|member| !member.configured);
        discovered.filter(|member| !self.belongs(member, census)).map(|member| member.key.clone()).collect()
    }

    fn belongs(&self, member: &Member, census: &Census<'_>) -> bool {
        let listed = census.rows.iter().find(|row| row.address.as_deref() == Some(&*member.key));
        listed.is_some_and(|row| !self.is_known_elsewhere(row, &member.key, census))
    }

    /// Addresses to be watched beside the present ones.
    pub(super) fn missing(&self, census: &Census<'_>) -> Vec<Addr> {
        let room = MAX_NODES.saturating_sub(self.0.len());
        let missing = census.rows.iter().filter(|row| !census.known.iter().any(|(_, id)| *id == row.node_id));
        let addresses = missing.filter_map(|row| row.address.as_deref());
        let strange = addresses.filter(|address| !self.has(&NodeKey::from(*address)));
        strange.filter_map(|address| address.parse().ok()).take(room).collect()
    }

    /// Whether the node of this row answers under another address that was configured.
    fn is_known_elsewhere(&self, row: &RepmgrRow, key: &NodeKey, census: &Census<'_>) -> bool {
        let twins = census.known.iter().filter(|(other, id)| *id == row.node_id && other != key);
        twins.into_iter().any(|(other, _)| self.get(other).is_some_and(|member| member.configured))
    }
}
