//! The judge: who is the primary, given what was seen of the nodes. Kind: pure.
//!
//! A pure function of what it remembers, what the watcher saw, and the time. It promises: a node whose timeline is below
//! the highest confirmed one is never believed; while a higher timeline stands unconfirmed beside a living primary,
//! writes are held until repmgr or a time limit decides; without memory, nobody is believed before a majority is seen.
//!
//! ```text
//!                       no primary confirmed yet ──► found
//!   confirmed ─┬─ and still there, out of recovery ──► with_incumbent ──► keep · hold · hand over
//!              └─ gone, demoted or out of sight ─────► without_incumbent ─► hold · accept
//! ```
//!
//! The rules R1 to R11 that the comments cite are listed in `ARCHITECTURE.md`.

use std::time::Duration;

use super::evidence::{Court, Seen};
use super::observation::{Moment, NodeView, Timeline};
use super::verdict::{Alert, Decision, Held, Limits, Memory, Reign, Verdict};

/// Judges one moment: what to do now, and what to remember.
pub fn judge(memory: &Memory, nodes: &[NodeView], now: Moment, limits: &Limits) -> (Verdict, Memory) {
    let court = Court::open(memory, nodes, now, limits);
    let mut ruling = Ruling { court: &court, memory: memory.clone(), alerts: Vec::new() };
    let decision = match ruling.rule() {
        Ok(reign) => ruling.confirm(reign),
        Err(held) => ruling.hold(held),
    };
    let Ruling { memory, mut alerts, .. } = ruling;
    let roles = court.roles(&decision, &memory);
    alerts.extend(court.alerts(&roles));
    let suspect = matches!(decision, Decision::Held(_)) || memory.contest.is_some();
    (Verdict { primary: decision, roles, suspect, alerts }, memory)
}

/// A judgement in the making: the evidence, and the memory as it will be afterwards.
struct Ruling<'a> {
    court: &'a Court<'a>,
    memory: Memory,
    alerts: Vec<Alert>,
}

type Outcome = Result<Reign, Held>;

impl<'a> Ruling<'a> {
    fn rule(&mut self) -> Outcome {
        self.forget_what_is_over();
        let Some(reign) = self.memory.confirmed.clone() else { return self.found() };
        match self.court.incumbent(&reign) {
            Some(incumbent) => self.with_incumbent(&reign, &incumbent),
            None => self.without_incumbent(&reign),
        }
    }

    /// A contest ends with the evidence for it; a stray is forgotten once everybody is in sight and nobody is on it.
    fn forget_what_is_over(&mut self) {
        let (court, memory) = (self.court, &mut self.memory);
        memory.contest = memory.contest.filter(|(timeline, _)| court.is_in_evidence(*timeline));
        memory.overruled =
            memory.overruled.filter(|stray| court.is_in_evidence(*stray) || !court.all_in_sight());
        let stray = memory.overruled;
        memory.evident.retain(|timeline, _| court.is_in_evidence(*timeline) || stray == Some(*timeline));
        court.timelines().for_each(|timeline| _ = memory.evident.entry(timeline).or_insert(court.now));
    }

    /// Nothing is known from before: a majority must be in sight, and repmgr must name the candidate (rule R3 c).
    fn found(&mut self) -> Outcome {
        if self.court.any_unasked() {
            return Err(Held::Starting);
        }
        let candidate = self.court.elect(self.court.candidates())?;
        if !self.court.majority_in_sight() {
            return Err(Held::Minority);
        }
        if !self.court.speaks_for(&candidate) {
            return self.overrule_at_start(&candidate);
        }
        self.prove(&candidate)?;
        Ok(candidate.reign())
    }

    /// At a cold start a stray promotion may stand above the real primary: once the contest has lasted long enough, the
    /// lower one is believed if most members name it.
    fn overrule_at_start(&mut self, stray: &Seen<'a>) -> Outcome {
        let mut others = self.court.candidates();
        others.retain(|other| other.timeline < stray.timeline && self.court.majority_names(other));
        let rightful = self.court.elect(others).map_err(|_| Held::Unconfirmed)?;
        if self.court.deposed(&rightful.reign()) {
            return Err(Held::Deposed);
        }
        if !self.contest_is_over(stray.timeline, rightful.timeline) {
            return Err(Held::Contested);
        }
        Ok(rightful.reign())
    }

    /// The primary is still there. It stays, unless the cluster has moved on.
    fn with_incumbent(&mut self, reign: &Reign, incumbent: &Seen<'a>) -> Outcome {
        let above = self.court.highest_timeline(None);
        if above <= reign.timeline {
            self.memory.contest = None;
            return self.keep(incumbent);
        }
        if let Some(winner) = self.confirmed_challenger(above) {
            return Ok(winner.reign());
        }
        // What is remembered may be a state file's, which holds no number of the node.
        if self.court.deposed(&incumbent.reign()) {
            return Err(Held::Deposed);
        }
        if self.contest_is_over(above, incumbent.timeline) {
            self.keep(incumbent)
        } else {
            Err(Held::Contested)
        }
    }

    /// Rule R6: beside a living primary a higher timeline counts once repmgr confirms it.
    fn confirmed_challenger(&self, timeline: Timeline) -> Option<Seen<'a>> {
        let mut challengers = self.court.candidates();
        challengers.retain(|challenger| challenger.timeline == timeline);
        let challenger = self.court.elect(challengers).ok()?;
        self.court.endorses(&challenger).then_some(challenger)
    }

    /// Rule R6, the other half: unconfirmed for too long, the higher timeline is a stray, and remembered as one. So is each
    /// other one above `believed`, which has its own time.
    fn contest_is_over(&mut self, timeline: Timeline, believed: Timeline) -> bool {
        let judged = self.memory.overruled == Some(timeline);
        let known = self.memory.contest.filter(|(contested, _)| *contested == timeline);
        self.memory.contest = (!judged).then(|| known.unwrap_or((timeline, self.court.now)));
        let evident = self.memory.evident.range(believed + 1..).map(|(other, since)| (*other, *since));
        let others = evident.filter(|(other, _)| *other != timeline);
        let waits = |since| self.court.now.saturating_sub(since) < self.court.limits.contest;
        if let Some((young, _)) =
            self.memory.contest.into_iter().chain(others).find(|(_, since)| waits(*since))
        {
            self.alerts.push(Alert::Contest(young));
            return false;
        }
        self.memory.overruled = Some(timeline);
        self.memory.contest = None;
        self.alerts.push(Alert::Overruled(timeline));
        true
    }

    /// The primary stands unchallenged from above; it may still have a twin, or have been away.
    fn keep(&mut self, incumbent: &Seen<'a>) -> Outcome {
        if incumbent.observation.read_only {
            return Err(Held::ReadOnly);
        }
        self.compare_with_twins(incumbent)?;
        if self.memory.absent {
            self.prove(incumbent)?;
        }
        Ok(incumbent.reign())
    }

    /// Rule R4 for a node that was promoted to the same timeline as the living primary. If the standbys or repmgr prefer
    /// that one, writes wait: they never go to two nodes within one timeline.
    fn compare_with_twins(&mut self, incumbent: &Seen<'a>) -> Result<(), Held> {
        let mut twins = self.court.candidates();
        twins.retain(|twin| twin.timeline == incumbent.timeline && twin.key != incumbent.key);
        let preferred =
            |twin: &Seen<'_>| twin.followers() > incumbent.followers() || self.court.majority_names(twin);
        if !twins.iter().any(preferred) {
            return Ok(());
        }
        self.alerts.push(Alert::Tied(incumbent.timeline));
        Err(Held::Tied)
    }

    /// The primary is gone, demoted or out of sight: a strictly higher timeline is the proof of a promotion (rule R3 b).
    fn without_incumbent(&mut self, reign: &Reign) -> Outcome {
        self.memory.absent = true;
        if self.court.is_unasked(&reign.node) {
            return Err(Held::Starting);
        }
        let mut risen = self.court.candidates();
        risen.retain(|candidate| candidate.timeline > reign.timeline);
        if risen.is_empty() {
            return Err(self.why_nobody(reign));
        }
        let winner = self.court.elect(risen)?;
        self.admit(&winner)?;
        Ok(winner.reign())
    }

    /// A risen node is accepted at once, unless there is a reason to doubt: a timeline above its own, an earlier contest
    /// that it lost, or a router that knows the former primary only from its state file. That repmgr stands behind it
    /// outweighs a timeline of which nobody says who leads it, as it does beside a living primary: after the contest.
    fn admit(&mut self, winner: &Seen<'a>) -> Result<(), Held> {
        let (above, stands) = (self.newest(), self.court.endorses(winner) && self.memory.witnessed);
        if self.court.deposed(&winner.reign()) || (above > winner.timeline && !stands) {
            return Err(Held::Deposed);
        }
        if above > winner.timeline && !self.contest_is_over(above, winner.timeline) {
            return Err(Held::Contested);
        }
        if stands {
            return Ok(());
        }
        if self.memory.overruled == Some(winner.timeline) && !self.court.majority_names(winner) {
            return Err(Held::Unconfirmed);
        }
        if self.memory.witnessed { Ok(()) } else { self.prove(winner) }
    }

    /// Nobody has risen. A twin of the lost primary, promoted to the same timeline, is no successor: its history is
    /// another one, and only its number is equal.
    fn why_nobody(&mut self, reign: &Reign) -> Held {
        let candidates = self.court.candidates();
        if candidates.iter().any(|twin| twin.timeline == reign.timeline) {
            self.alerts.push(Alert::Tied(reign.timeline));
            return Held::Tied;
        }
        if candidates.is_empty() { Held::NoCandidate } else { Held::Stale }
    }

    /// What a node must show that was not watched all the time: no newer timeline anywhere, and either standbys that
    /// follow it, or all others in sight, or a long time without anybody who contradicts.
    fn prove(&mut self, candidate: &Seen<'a>) -> Result<(), Held> {
        if self.newest() > candidate.timeline {
            return Err(Held::Deposed);
        }
        if candidate.followers() > 0 || self.court.all_in_sight() {
            return Ok(());
        }
        if self.stood_alone(candidate) < self.court.limits.lone {
            return Err(Held::Lone);
        }
        self.alerts.push(Alert::LonePrimary(candidate.key.clone()));
        Ok(())
    }

    /// For how long this candidate has stood alone before us.
    fn stood_alone(&mut self, candidate: &Seen<'a>) -> Duration {
        let since = match &self.memory.lone {
            Some((node, since)) if node == candidate.key => *since,
            _ => self.court.now,
        };
        self.memory.lone = Some((candidate.key.clone(), since));
        self.court.now.saturating_sub(since)
    }

    /// The highest timeline of which there is any evidence, strays left out.
    fn newest(&self) -> Timeline {
        self.court.highest_timeline(self.memory.overruled)
    }

    fn confirm(&mut self, reign: Reign) -> Decision {
        if reign.timeline > self.memory.floor() {
            self.memory.overruled = self.memory.overruled.filter(|stray| *stray > reign.timeline);
        }
        self.memory.contest = None;
        self.memory.witnessed = true;
        self.memory.absent = false;
        self.memory.lone = None;
        self.memory.confirmed = Some(reign.clone());
        Decision::Primary(reign)
    }

    fn hold(&mut self, held: Held) -> Decision {
        if held != Held::Lone {
            self.memory.lone = None;
        }
        Decision::Held(held)
    }
}
