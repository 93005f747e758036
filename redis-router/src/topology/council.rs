//! The Sentinels that are asked: those configured, and those that they know. Kind: wiring.

use std::sync::Arc;

use proxy_core::net::Addr;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::observation::{NodeKey, SentinelView, Sight, Testimony};
use super::sentinel::Census;

/// More Sentinels than this are not asked.
const MAX_SENTINELS: usize = 32;

/// One Sentinel that is asked.
pub(super) struct Member {
    pub(super) key: NodeKey,
    pub(super) sight: Sight<Testimony>,
    pub(super) census: Census,
    /// What is wrong with it in a person's eyes, so that it is said once.
    pub(super) complaint: Option<String>,
    /// Why its events are not heard.
    pub(super) deaf: Option<String>,
    configured: bool,
    wake: Arc<Notify>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Member {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

#[derive(Default)]
pub(super) struct Council(Vec<Member>);

impl Council {
    pub(super) fn add(
        &mut self,
        key: NodeKey,
        configured: bool,
        wake: Arc<Notify>,
        tasks: [JoinHandle<()>; 2],
    ) {
        self.0.push(Member {
            key,
            sight: Sight::Unasked,
            census: Census::default(),
            complaint: None,
            deaf: None,
            configured,
            wake,
            tasks,
        });
    }

    pub(super) fn get_mut(&mut self, key: &NodeKey) -> Option<&mut Member> {
        self.0.iter_mut().find(|member| member.key == *key)
    }

    pub(super) fn has(&self, key: &NodeKey) -> bool {
        self.0.iter().any(|member| member.key == *key)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.0.iter()
    }

    /// What the judge gets to see.
    pub(super) fn views(&self) -> Vec<SentinelView> {
        let view = |member: &Member| SentinelView { key: member.key.clone(), sight: member.sight.clone() };
        self.0.iter().map(view).collect()
    }

    pub(super) fn bells(&self) -> Vec<Arc<Notify>> {
        self.0.iter().map(|member| Arc::clone(&member.wake)).collect()
    }

    /// Sentinels to be asked beside the present ones. One goes by its run id: a host name and an address may be the same.
    /// Until each of those known has answered or failed to, nobody is added, for it might be one of them.
    pub(super) fn missing(&self) -> Vec<Addr> {
        if self.0.iter().any(|member| member.sight == Sight::Unasked) {
            return Vec::new();
        }
        let mut missing: Vec<Addr> = Vec::new();
        let peers = self.0.iter().flat_map(|member| &member.census.peers);
        for peer in peers.filter(|peer| !self.knows(&peer.run_id)) {
            let room = self.0.len() + missing.len() < MAX_SENTINELS;
            if room && !self.has(&peer.addr.to_string().into()) && !missing.contains(&peer.addr) {
                missing.push(peer.addr.clone());
            }
        }
        missing
    }

    /// Discovered Sentinels to be asked no longer: another one by a second address, or out of sight and known to nobody.
    pub(super) fn redundant(&self) -> Vec<NodeKey> {
        let discovered = self.0.iter().enumerate().filter(|(_, member)| !member.configured);
        discovered.filter(|(at, member)| self.is_redundant(*at, member)).map(|(_, m)| m.key.clone()).collect()
    }

    pub(super) fn remove(&mut self, key: &NodeKey) {
        self.0.retain(|member| member.key != *key);
    }

    fn knows(&self, run_id: &str) -> bool {
        !run_id.is_empty() && self.0.iter().any(|member| member.census.run_id == run_id)
    }

    fn is_redundant(&self, at: usize, member: &Member) -> bool {
        let run_id = &member.census.run_id;
        let twin = self.0.iter().enumerate().any(|(other, twin)| {
            other != at
                && !run_id.is_empty()
                && twin.census.run_id == *run_id
                && (twin.configured || other < at)
        });
        let mut in_sight = self.0.iter().filter(|other| matches!(other.sight, Sight::Seen(_))).peekable();
        let forgotten = in_sight.peek().is_some()
            && !in_sight
                .any(|other| other.census.peers.iter().any(|peer| *peer.addr.to_string() == *member.key));
        twin || (matches!(member.sight, Sight::Lost(_)) && forgotten)
    }
}
