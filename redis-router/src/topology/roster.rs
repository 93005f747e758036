//! The Redis nodes that are watched: whoever a Sentinel names, as long as one does. Kind: wiring.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proxy_core::net::Addr;
use proxy_core::upstream::Endpoint;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::observation::{Moment, NodeKey, NodeView, Observation, Sight};
use super::probe::Interest;
use super::verdict::{Standing, Verdict};

/// More nodes than this are not watched: a Sentinel that names more is not to be believed.
pub(super) const MAX_NODES: usize = 64;

/// A node that no Sentinel has named for so long is watched no longer. `SENTINEL RESET` forgets replicas for as long as
/// the next `INFO` takes, 10 s.
const FORGET: Duration = Duration::from_secs(30);

/// One node that is watched.
pub(super) struct Node {
    pub(super) key: NodeKey,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) sight: Sight<Observation>,
    /// What is wrong with it in a person's eyes, so that it is said once.
    pub(super) complaint: Option<String>,
    interest: watch::Sender<Interest>,
    /// Whether there was a report since the endpoint was last told.
    pub(super) fresh: bool,
    standing: Option<Standing>,
    named_at: Moment,
    task: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whether two sets of endpoints are the same, in the same order.
pub(super) fn same(left: &[Arc<Endpoint>], right: &[Arc<Endpoint>]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| Arc::ptr_eq(left, right))
}

#[derive(Default)]
pub(super) struct Roster(Vec<Node>);

impl Roster {
    /// Takes in a node whose probe `start` begins.
    pub(super) fn add(
        &mut self,
        endpoint: Arc<Endpoint>,
        now: Moment,
        start: impl FnOnce(watch::Receiver<Interest>) -> JoinHandle<()>,
    ) {
        let interest = watch::Sender::new(Interest::Doubt);
        let task = start(interest.subscribe());
        self.0.push(Node {
            key: endpoint.addr().to_string().into(),
            endpoint,
            sight: Sight::Unasked,
            complaint: None,
            interest,
            fresh: false,
            standing: None,
            named_at: now,
            task,
        });
    }

    pub(super) fn has_room(&self) -> bool {
        self.0.len() < MAX_NODES
    }

    pub(super) fn get(&self, key: &NodeKey) -> Option<&Node> {
        self.0.iter().find(|node| node.key == *key)
    }

    pub(super) fn get_mut(&mut self, key: &NodeKey) -> Option<&mut Node> {
        self.0.iter_mut().find(|node| node.key == *key)
    }

    /// A Sentinel names this address; true if the node is watched already.
    pub(super) fn name(&mut self, addr: &Addr, now: Moment) -> bool {
        let node = self.0.iter_mut().find(|node| node.endpoint.addr() == addr);
        node.map(|node| node.named_at = now).is_some()
    }

    /// Removes the nodes that nobody names any more; `kept` are needed all the same.
    pub(super) fn forget(&mut self, kept: &[&NodeKey], now: Moment) -> Vec<NodeKey> {
        let over = |node: &Node| now.saturating_sub(node.named_at) > FORGET && !kept.contains(&&node.key);
        let gone = self.0.iter().filter(|node| over(node)).map(|node| node.key.clone()).collect();
        self.0.retain(|node| !over(node));
        gone
    }

    pub(super) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.0.iter().map(|node| Arc::clone(&node.endpoint)).collect()
    }

    /// What the judge gets to see.
    pub(super) fn views(&self) -> Vec<NodeView> {
        let view = |node: &Node| NodeView { key: node.key.clone(), sight: node.sight.clone() };
        self.0.iter().map(view).collect()
    }

    /// The endpoints of these nodes.
    pub(super) fn pick<'a>(&self, keys: impl Iterator<Item = &'a NodeKey>) -> Vec<Arc<Endpoint>> {
        keys.filter_map(|key| self.get(key)).map(|node| Arc::clone(&node.endpoint)).collect()
    }

    /// How closely each node is to be watched from now on.
    pub(super) fn watch_closely(&self, candidate: Option<&NodeKey>, doubt: bool) {
        for node in &self.0 {
            let interest = match candidate {
                Some(key) if *key == node.key => Interest::Candidate,
                _ if doubt => Interest::Doubt,
                _ => Interest::Calm,
            };
            node.interest.send_if_modified(|known| std::mem::replace(known, interest) != interest);
        }
    }

    /// Tells the endpoints what was seen, where there is something to tell: a report, or another standing.
    pub(super) fn observe(&mut self, verdict: &Verdict, now: Instant) {
        for node in &mut self.0 {
            let standing = verdict.standing(&node.key);
            let told = node.standing == standing && !std::mem::take(&mut node.fresh);
            if told {
                continue;
            }
            node.standing = standing;
            let fit = match standing {
                None | Some(Standing::Unasked) => continue,
                Some(Standing::Master | Standing::Replica) => Ok(()),
                standing => Err(standing.and_then(Standing::why).unwrap_or("has no standing")),
            };
            node.endpoint.observe(fit, now);
        }
    }
}
