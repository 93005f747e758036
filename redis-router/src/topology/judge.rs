//! The judge: who is the master, given what Sentinels and nodes say. Kind: pure.
//!
//! A pure function of what it remembers, what the watcher heard, and the time. It promises: the highest epoch that was
//! ever heard counts, from whichever Sentinel; no older one, but by the way back; nobody is the master whose own `ROLE`
//! does not say so; two Sentinels that differ within one epoch change nothing.
//!
//! ```text
//!   testimonies ──► claim (highest epoch) ◄── promotion seen (provisional) ◄── given up: back to the former
//!                     │      ▲
//!                     │      └── way back: all Sentinels agree for long on an older one that answers as a master
//!                     ▼
//!        its node ─┬─ a master ─┬─ a Sentinel speaks for it ────► master
//!                  │            └─ nobody does ─┬─ has replicas ─► master, alarm
//!                  │                            └─ alone ────────► master for a while, then fenced
//!                  ├─ a replica ────────────────────────────────► held
//!                  └─ out of sight ─────────────────────────────► held
//! ```
//!
//! Why not a majority of the Sentinels: an epoch grows only by a won election or by an operator's forced failover, so
//! that its number alone is the proof; and a majority of two is both, so that losing one would lose the service.

use super::evidence::{Court, Seat};
use super::observation::{Candidacy, Loss, Moment, NodeView, SentinelView};
use super::verdict::{Alert, Decision, Ground, Held, Limits, Memory, Reign, Verdict};

/// Judges one moment: what to do now, and what to remember.
pub fn judge(
    memory: &Memory,
    sentinels: &[SentinelView],
    nodes: &[NodeView],
    candidacy: Option<&Candidacy>,
    now: Moment,
    limits: &Limits,
) -> (Verdict, Memory) {
    let court = Court { sentinels, nodes, candidacy, now, limits };
    let mut ruling =
        Ruling { court: &court, memory: memory.clone(), alerts: Vec::new(), ground: Ground::Sentinel };
    let master = match ruling.rule() {
        Ok(reign) => ruling.crown(reign),
        Err(held) => Decision::Held(held),
    };
    let Ruling { mut memory, mut alerts, ground, .. } = ruling;
    let standings = court.standings(&master, &memory);
    alerts.extend(court.alerts(&memory, &standings));
    let suspect =
        matches!(master, Decision::Held(_)) || ground != Ground::Sentinel || court.is_failing_over();
    let anew = matches!(master, Decision::Master(_)) && std::mem::take(&mut memory.turned);
    let handing_over = matches!(&master, Decision::Master(reign) if court.is_handing_over(reign));
    (Verdict { master, anew, ground, standings, suspect, handing_over, alerts }, memory)
}

/// A judgement in the making: the evidence, and the memory as it will be afterwards.
struct Ruling<'a> {
    court: &'a Court<'a>,
    memory: Memory,
    alerts: Vec<Alert>,
    ground: Ground,
}

type Outcome = Result<Reign, Held>;

impl Ruling<'_> {
    fn rule(&mut self) -> Outcome {
        self.memory.started |= !self.court.any_unasked();
        if !self.memory.started {
            return Err(Held::Starting);
        }
        self.give_up();
        self.hear_sentinels();
        self.hear_promotion();
        self.turn_back();
        let Some(claim) = self.memory.claim.clone() else { return Err(Held::NoSentinel) };
        self.examine(claim)
    }

    /// The highest epoch wins, from whichever Sentinel; within one epoch whoever was known first stays.
    fn hear_sentinels(&mut self) {
        let Some(newest) = self.court.newest(&self.memory.replid) else { return };
        let claim = self.memory.claim.as_ref();
        if claim.is_none_or(|claim| newest.epoch > claim.epoch) {
            self.raise(newest);
        } else if self.memory.provisional.is_some() && claim.is_some_and(|claim| self.court.speaks_for(claim))
        {
            self.memory.provisional = None;
            self.memory.raised_at = self.court.now;
        }
    }

    fn raise(&mut self, claim: Reign) {
        self.memory.claim = Some(claim);
        self.memory.provisional = None;
        self.memory.raised_at = self.court.now;
    }

    /// A provisional master whose leader gave up, or that was made a replica again, never was one.
    fn give_up(&mut self) {
        self.memory.voided = self.court.given_up().or_else(|| self.memory.voided.take());
        let (Some(former), Some(claim)) = (&self.memory.provisional, &self.memory.claim) else { return };
        let demoted = self.court.is_replica(&claim.node) && self.court.is_doubted(claim);
        if !demoted && self.memory.voided.as_ref() != Some(claim) {
            return;
        }
        let former = former.clone();
        self.memory.voided = self.memory.claim.take();
        self.raise(former);
        self.memory.broken = None;
        self.ground = Ground::Abort;
        self.memory.turned = true;
    }

    /// The candidate of a failover in progress answers as a master: half a second to a second before any Sentinel notices
    /// (its leader asks once a second). This needs somebody whom it replaces.
    fn hear_promotion(&mut self) {
        let Some(promoted) = self.court.promoted() else { return };
        let newer = self.memory.claim.as_ref().is_some_and(|claim| promoted.epoch > claim.epoch);
        if newer && self.memory.voided.as_ref() != Some(&promoted) {
            let former = self.memory.provisional.take().or_else(|| self.memory.claim.clone());
            self.memory.provisional = former;
            self.memory.claim = Some(promoted);
        }
    }

    /// After `SENTINEL REMOVE` and `MONITOR`, or with new Sentinels, epochs begin again from zero.
    fn turn_back(&mut self) {
        let Some(older) = self.court.agreed_against(self.memory.claim.as_ref()) else {
            self.memory.regress = None;
            return;
        };
        let since = match &self.memory.regress {
            Some((reign, since)) if *reign == older => *since,
            _ => self.court.now,
        };
        if self.court.now.saturating_sub(since) < self.court.limits.regress {
            if self.memory.provisional.is_none() {
                self.alerts.push(Alert::Regress(older.clone()));
            }
            self.memory.regress = Some((older, since));
            return;
        }
        self.memory.regress = None;
        self.raise(older);
        self.ground = Ground::WayBack;
        self.memory.turned = true;
    }

    /// Whether the node of the claim is what is claimed of it.
    fn examine(&mut self, claim: Reign) -> Outcome {
        match self.court.seat(&claim.node) {
            Seat::Master { followers } => self.support(claim, followers),
            Seat::Replica => Err(Held::Demoted),
            // Nothing changes while a script runs; only who was the master already may go on being it.
            Seat::Away(Loss::Busy) if self.memory.reigning.as_ref() == Some(&claim) => Ok(claim),
            Seat::Away(_) | Seat::Unknown if self.replaces(&claim) => Err(Held::Deposed),
            Seat::Away(_) | Seat::Unknown => Err(Held::OutOfSight),
        }
    }

    fn replaces(&self, claim: &Reign) -> bool {
        self.memory.reigning.as_ref().is_some_and(|reigning| reigning.node != claim.node)
    }

    /// It is a master; somebody should also say so: a Sentinel, the promotion before our eyes, or replicas that follow.
    fn support(&mut self, claim: Reign, followers: u32) -> Outcome {
        if self.memory.provisional.is_some() {
            self.ground = Ground::Promotion;
        } else if !self.court.names(&claim) {
            self.ground = Ground::Memory;
            if followers == 0 {
                return self.stand_alone(claim);
            }
            self.alerts.push(Alert::NoSentinel);
        }
        self.memory.lonely = None;
        Ok(claim)
    }

    /// Nobody speaks for it: what is acknowledged here may be lost, and is refused after a while.
    fn stand_alone(&mut self, claim: Reign) -> Outcome {
        self.alerts.push(Alert::Lonely(claim.node.clone()));
        let since = *self.memory.lonely.get_or_insert(self.court.now);
        match self.court.limits.fence {
            Some(after) if self.court.now.saturating_sub(since) >= after => Err(Held::Fenced),
            _ => Ok(claim),
        }
    }

    fn crown(&mut self, reign: Reign) -> Decision {
        if let Some(observation) = self.court.observation(&reign.node).filter(|seen| !seen.replid.is_empty())
        {
            if !observation.descends_from(&self.memory.replid) {
                self.memory.broken = Some(reign.node.clone());
            } else if self.memory.reigning.as_ref() != Some(&reign) {
                self.memory.broken = None;
            }
            self.memory.replid.clone_from(&observation.replid);
        }
        self.memory.reigning = Some(reign.clone());
        Decision::Master(reign)
    }
}
