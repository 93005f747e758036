//! A Sentinel of the model: what it believes, and its failover, state by state. Kind: pure.

use super::world::{DOWN_AFTER, HELLO, TIMEOUT, Told, WRONG_ROLE, World};
use crate::topology::observation::Epoch;

/// One Sentinel.
#[derive(Clone, Debug)]
pub(super) struct Sentinel {
    pub(super) up: bool,
    pub(super) frozen: bool,
    pub(super) master: usize,
    pub(super) epoch: Epoch,
    /// The epoch of elections, which runs ahead of the configured one.
    pub(super) current: Epoch,
    pub(super) failover: Option<Failover>,
    /// For how many steps each node was out of its sight, or of the wrong role.
    unseen: Vec<u32>,
    wrong: Vec<u32>,
    until_hello: u32,
    /// Steps before it stands for election again.
    rest: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Failover {
    pub(super) state: State,
    pub(super) target: usize,
    epoch: Epoch,
    steps: u32,
}

/// The states, in their order (`SENTINEL_FAILOVER_STATE_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Select,
    Promote,
    WaitPromotion,
    Reconfigure,
}

impl Sentinel {
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            up: true,
            frozen: false,
            master: 0,
            epoch: 0,
            current: 0,
            failover: None,
            unseen: vec![0; nodes],
            wrong: vec![0; nodes],
            until_hello: HELLO,
            rest: 0,
        }
    }

    pub(super) fn answers(&self) -> bool {
        self.up && !self.frozen
    }

    /// A start with the configuration on disk: what was under way is forgotten.
    pub(super) fn restart(&mut self) {
        (self.up, self.frozen, self.failover) = (true, false, None);
        self.unseen.fill(0);
    }

    /// `SENTINEL REMOVE` and `MONITOR`, on a Sentinel of which nothing else is left.
    pub(super) fn monitor(&mut self, master: usize) {
        *self = Self { master, ..Self::new(self.unseen.len()) };
    }
}

impl World {
    /// A Sentinel's turn: look, greet, go on with its failover, or begin one, and put roles right.
    pub(super) fn act(&mut self, index: usize) {
        if !self.sentinels[index].answers() {
            return;
        }
        self.watch(index);
        self.greet(index);
        if self.sentinels[index].failover.is_some() {
            self.fail_over(index);
        } else {
            self.stand_for_election(index);
            self.put_roles_right(index);
        }
    }

    fn watch(&mut self, index: usize) {
        for node in 0..self.nodes.len() {
            let seen = self.reaches_node(index, node);
            let master = self.sentinels[index].master;
            let follows = self.nodes[node].of;
            let is_wrong = seen && node != master && follows != Some(master);
            let sentinel = &mut self.sentinels[index];
            sentinel.unseen[node] = if seen { 0 } else { sentinel.unseen[node] + 1 };
            sentinel.wrong[node] = if is_wrong { sentinel.wrong[node] + 1 } else { 0 };
        }
        self.sentinels[index].rest = self.sentinels[index].rest.saturating_sub(1);
    }

    fn is_down(&self, index: usize) -> bool {
        let sentinel = &self.sentinels[index];
        sentinel.unseen[sentinel.master] > DOWN_AFTER
    }

    /// Hello messages: whoever has configured the higher epoch is followed (`sentinelProcessHelloMessage`).
    fn greet(&mut self, index: usize) {
        let sentinel = &mut self.sentinels[index];
        sentinel.until_hello = sentinel.until_hello.saturating_sub(1);
        if sentinel.until_hello > 0 {
            return;
        }
        sentinel.until_hello = HELLO;
        self.say_hello(index);
    }

    fn say_hello(&mut self, index: usize) {
        let Sentinel { epoch, current, ref failover, master, .. } = self.sentinels[index];
        let promoted = failover.as_ref().filter(|failover| failover.state == State::Reconfigure);
        let master = promoted.map_or(master, |failover| failover.target);
        for other in 0..self.sentinels.len() {
            if other == index || !self.reaches_sentinel(index, other) {
                continue;
            }
            let peer = &mut self.sentinels[other];
            if current > peer.current {
                peer.current = current;
                self.telling.push((other, Told::NewEpoch(current)));
            }
            let peer = &mut self.sentinels[other];
            if epoch > peer.epoch {
                (peer.epoch, peer.master, peer.failover) = (epoch, master, None);
                peer.wrong.fill(0);
            }
        }
    }

    /// Needs a majority that sees the master down and follows into the new epoch.
    fn stand_for_election(&mut self, index: usize) {
        if !self.is_down(index) || self.sentinels[index].rest > 0 {
            return;
        }
        let voters: Vec<usize> = (0..self.sentinels.len())
            .filter(|other| *other == index || self.reaches_sentinel(index, *other) && self.is_down(*other))
            .filter(|other| *other == index || self.sentinels[*other].failover.is_none())
            .collect();
        self.sentinels[index].rest = 2 * TIMEOUT;
        if voters.len() * 2 <= self.sentinels.len() {
            return;
        }
        for voter in &voters {
            self.sentinels[*voter].rest = 2 * TIMEOUT;
        }
        let known = voters.iter().map(|voter| self.sentinels[*voter].current).max().unwrap();
        self.begin_failover(index, known + 1);
        for voter in voters.into_iter().filter(|voter| *voter != index) {
            self.sentinels[voter].current = known + 1;
            self.telling.push((voter, Told::NewEpoch(known + 1)));
        }
    }

    /// `SENTINEL FAILOVER`: no vote is asked for.
    pub(super) fn force_failover(&mut self, index: usize) {
        if self.sentinels[index].answers() && self.sentinels[index].failover.is_none() {
            self.begin_failover(index, self.sentinels[index].current + 1);
        }
    }

    fn begin_failover(&mut self, index: usize, epoch: Epoch) {
        let target = self.sentinels[index].master;
        self.sentinels[index].current = epoch;
        self.sentinels[index].failover = Some(Failover { state: State::Select, target, epoch, steps: 0 });
        self.telling.extend([(index, Told::NewEpoch(epoch)), (index, Told::TryFailover)]);
    }

    fn fail_over(&mut self, index: usize) {
        let Some(mut failover) = self.sentinels[index].failover.take() else { return };
        failover.steps += 1;
        let goes_on = match failover.state {
            State::Select => self.select(index, &mut failover),
            State::Promote => self.try_promote(index, &mut failover),
            State::WaitPromotion => self.see_promotion(index, &mut failover),
            State::Reconfigure => self.reconfigure(index, &mut failover),
        };
        if goes_on {
            self.sentinels[index].failover = Some(failover);
        }
    }

    fn select(&mut self, index: usize, failover: &mut Failover) -> bool {
        let master = self.sentinels[index].master;
        let good = |node: &usize| {
            *node != master && self.reaches_node(index, *node) && self.nodes[*node].of == Some(master)
        };
        let best = (0..self.nodes.len()).filter(good).max_by_key(|node| self.nodes[*node].offset);
        let Some(target) = best else { return self.abort(index) };
        (failover.target, failover.state, failover.steps) = (target, State::Promote, 0);
        self.telling.push((index, Told::Candidate(target)));
        true
    }

    fn try_promote(&mut self, index: usize, failover: &mut Failover) -> bool {
        if self.reaches_node(index, failover.target) {
            self.promote(failover.target);
            (failover.state, failover.steps) = (State::WaitPromotion, 0);
            self.telling.push((index, Told::Candidate(failover.target)));
            return true;
        }
        failover.steps <= TIMEOUT || self.abort(index)
    }

    /// The leader asks the candidate once a second.
    fn see_promotion(&mut self, index: usize, failover: &mut Failover) -> bool {
        let asked = failover.steps.is_multiple_of(20);
        if asked && self.reaches_node(index, failover.target) && self.nodes[failover.target].is_master() {
            self.sentinels[index].epoch = failover.epoch;
            (failover.state, failover.steps) = (State::Reconfigure, 0);
            self.telling.push((index, Told::Candidate(failover.target)));
            self.sentinels[index].failover = Some(failover.clone());
            self.say_hello(index);
            return true;
        }
        failover.steps <= TIMEOUT || self.abort(index)
    }

    /// The other replicas follow; only then does the leader switch its own configuration.
    fn reconfigure(&mut self, index: usize, failover: &mut Failover) -> bool {
        let master = self.sentinels[index].master;
        let mut left = false;
        for node in (0..self.nodes.len()).filter(|node| *node != failover.target && *node != master) {
            if !self.reaches_node(index, node) {
                left = true;
            } else if self.nodes[node].of.is_some_and(|of| of != failover.target) {
                self.demote(node, failover.target);
                left = true;
            }
        }
        if left && failover.steps <= TIMEOUT {
            return true;
        }
        self.sentinels[index].master = failover.target;
        self.sentinels[index].wrong.fill(0);
        self.say_hello(index);
        false
    }

    fn abort(&mut self, index: usize) -> bool {
        self.telling.push((index, Told::Aborted));
        false
    }

    /// A node that is no replica of the master is made one, if the master looks sane.
    fn put_roles_right(&mut self, index: usize) {
        let master = self.sentinels[index].master;
        if !self.reaches_node(index, master) || !self.nodes[master].is_master() {
            return;
        }
        for node in 0..self.nodes.len() {
            if self.sentinels[index].wrong[node] > WRONG_ROLE {
                self.demote(node, master);
                self.sentinels[index].wrong[node] = 0;
            }
        }
    }
}
