//! What Sentinels publish, and the failover that it tells of. Kind: pure.
//!
//! The events of a leader, in their order (`sentinel.c`, the failover state machine): `+new-epoch`, `+try-failover`,
//! `+elected-leader`, `+selected-slave`, `+failover-state-wait-promotion`, `+promoted-slave`, `+switch-master`.

use std::time::Duration;

use proxy_core::net::Addr;

use super::discovery::address;
use super::observation::{Candidacy, Epoch, Moment, NodeKey};
use super::verdict::{Memory, Reign};

/// One event, as far as it concerns us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// `+new-epoch`: this Sentinel has entered an epoch; it names no master.
    NewEpoch(Epoch),
    /// `+try-failover`: this Sentinel stands for the leader, in the epoch that it has just entered.
    TryFailover,
    /// This replica was chosen, is being promoted, or has been.
    Candidate(Addr),
    /// `-failover-abort-…`: the leader gives up.
    Aborted,
    /// Anything else: a reason to ask again.
    Other,
}

impl Event {
    /// Reads an event about `master`; none if it is about another one.
    pub(super) fn read(master: &str, channel: &str, payload: &str) -> Option<Self> {
        if channel == "+new-epoch" {
            return payload.trim().parse().ok().map(Self::NewEpoch);
        }
        let subject = Subject::read(payload);
        if subject.master != Some(master) {
            return None;
        }
        Some(match channel {
            "+try-failover" => Self::TryFailover,
            "+selected-slave"
            | "+failover-state-send-slaveof-noone"
            | "+failover-state-wait-promotion"
            | "+promoted-slave" => subject.replica.map_or(Self::Other, Self::Candidate),
            _ if channel.starts_with("-failover-abort-") => Self::Aborted,
            _ => Self::Other,
        })
    }
}

/// Whom an event is about: `master <name> <ip> <port>`, or `<type> <name> <ip> <port> @ <master> <ip> <port>`, or, for
/// `+switch-master` alone, the name first (`sentinelEvent` and its callers).
struct Subject<'a> {
    master: Option<&'a str>,
    replica: Option<Addr>,
}

impl<'a> Subject<'a> {
    fn read(payload: &'a str) -> Self {
        let words: Vec<&str> = payload.split(' ').collect();
        let at = words.iter().position(|word| *word == "@");
        match (words.as_slice(), at) {
            (["master", name, ..], None) => Self { master: Some(name), replica: None },
            (["slave", _, host, port, ..], Some(at)) => {
                Self { master: words.get(at + 1).copied(), replica: address(host, port) }
            }
            (words, Some(at)) => Self { master: words.get(at + 1).copied(), replica: None },
            (words, None) => Self { master: words.first().copied(), replica: None },
        }
    }
}

/// Longer than the `failover-timeout` of 3 minutes that Sentinel has by default.
const MAX_AGE: Duration = Duration::from_secs(200);

/// Follows the failovers that Sentinels tell of, one at a time: the newest.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    /// The epoch that each Sentinel has entered last, and whether it stands for the leader in it.
    entered: Vec<(NodeKey, Epoch, Option<Epoch>)>,
    candidacy: Option<Candidacy>,
}

impl Tracker {
    /// Takes in an event; the candidate's address has been mapped to the key under which we watch it.
    pub(super) fn hear(
        &mut self,
        sentinel: &NodeKey,
        event: &Event,
        candidate: Option<NodeKey>,
        now: Moment,
    ) {
        match event {
            Event::NewEpoch(epoch) => self.enter(sentinel, *epoch),
            Event::TryFailover => self.stand(sentinel),
            Event::Candidate(_) => self.nominate(sentinel, candidate, now),
            Event::Aborted => self.abort(sentinel),
            Event::Other => {}
        }
    }

    /// The failover that was told of last.
    pub(super) fn candidacy(&self) -> Option<&Candidacy> {
        self.candidacy.as_ref()
    }

    /// Forgets a failover that is over: a Sentinel has confirmed it, or a later one; it was given up; or nothing was heard
    /// of it for longer than one may take.
    pub(super) fn settle(&mut self, memory: &Memory, now: Moment) {
        let settled = memory.claim.as_ref().filter(|_| memory.provisional.is_none()).map(|claim| claim.epoch);
        let over = |candidacy: &Candidacy| {
            let voided = |reign: &Reign| reign.epoch == candidacy.epoch && reign.node == candidacy.node;
            settled.is_some_and(|epoch| epoch >= candidacy.epoch)
                || memory.voided.as_ref().is_some_and(voided)
                || now.saturating_sub(candidacy.since) > MAX_AGE
        };
        if self.candidacy.as_ref().is_some_and(over) {
            self.candidacy = None;
        }
    }

    /// A Sentinel's events are heard no longer: what it entered may have changed unheard.
    pub(super) fn forget(&mut self, sentinel: &NodeKey) {
        self.entered.retain(|(known, ..)| known != sentinel);
    }

    fn enter(&mut self, sentinel: &NodeKey, epoch: Epoch) {
        match self.entered.iter_mut().find(|(known, ..)| known == sentinel) {
            Some(entry) => entry.1 = epoch,
            None => self.entered.push((sentinel.clone(), epoch, None)),
        }
    }

    fn stand(&mut self, sentinel: &NodeKey) {
        if let Some(entry) = self.entered.iter_mut().find(|(known, ..)| known == sentinel) {
            entry.2 = Some(entry.1);
        }
    }

    fn nominate(&mut self, sentinel: &NodeKey, candidate: Option<NodeKey>, now: Moment) {
        let stands = self.entered.iter().find(|(known, ..)| known == sentinel).and_then(|entry| entry.2);
        let (Some(node), Some(epoch)) = (candidate, stands) else { return };
        let known = self.candidacy.as_ref();
        if known.is_some_and(|known| known.epoch > epoch || (known.epoch == epoch && known.node == node)) {
            return;
        }
        self.candidacy =
            Some(Candidacy { node, epoch, leader: sentinel.clone(), since: now, aborted: false });
    }

    fn abort(&mut self, sentinel: &NodeKey) {
        if let Some(candidacy) = self.candidacy.as_mut().filter(|candidacy| candidacy.leader == *sentinel) {
            candidacy.aborted = true;
        }
        if let Some(entry) = self.entered.iter_mut().find(|(known, ..)| known == sentinel) {
            entry.2 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(channel: &str, payload: &str, expected: Option<Event>) {
        assert_eq!(Event::read("mymaster", channel, payload), expected, "{channel} {payload}");
    }

    fn candidate(text: &str) -> Option<Event> {
        Some(Event::Candidate(text.parse().unwrap()))
    }

    #[test]
    fn events_of_a_failover_are_read() {
        let replica = "slave 10.0.0.2:6379 10.0.0.2 6379 @ mymaster 10.0.0.1 6379";
        check("+new-epoch", "7", Some(Event::NewEpoch(7)));
        check("+try-failover", "master mymaster 10.0.0.1 6379", Some(Event::TryFailover));
        check("+selected-slave", replica, candidate("10.0.0.2:6379"));
        check("+failover-state-wait-promotion", replica, candidate("10.0.0.2:6379"));
        check("+promoted-slave", replica, candidate("10.0.0.2:6379"));
        check("-failover-abort-slave-timeout", "master mymaster 10.0.0.1 6379", Some(Event::Aborted));
        check("+switch-master", "mymaster 10.0.0.1 6379 10.0.0.2 6379", Some(Event::Other));
        check("+sdown", "master mymaster 10.0.0.1 6379", Some(Event::Other));
        check("+sentinel", "sentinel ab12 10.0.0.9 26379 @ mymaster 10.0.0.1 6379", Some(Event::Other));
    }

    #[test]
    fn names_and_ipv6_addresses_are_read() {
        check("+selected-slave", "slave r2:6379 r2 6379 @ mymaster r1 6379", candidate("r2:6379"));
        check("+selected-slave", "slave [::2]:6379 ::2 6379 @ mymaster ::1 6379", candidate("[::2]:6379"));
    }

    #[test]
    fn events_of_another_master_are_none_and_nonsense_is_no_candidate() {
        check("+try-failover", "master other 10.0.0.1 6379", None);
        check("+selected-slave", "slave x 10.0.0.2 6379 @ other 10.0.0.1 6379", None);
        check("+switch-master", "other 10.0.0.1 6379 10.0.0.2 6379", None);
        check("+new-epoch", "seven", None);
        check("+selected-slave", "slave x 10.0.0.2 port @ mymaster 10.0.0.1 6379", Some(Event::Other));
        check("+selected-slave", "slave x 10.0.0.2 0 @ mymaster 10.0.0.1 6379", Some(Event::Other));
        check("+selected-slave", "", None);
        check("+selected-slave", "slave @", None);
    }

    /// Plays events of Sentinels: who, and what; a candidate's key is its address.
    fn play(events: &[(&str, Event)]) -> Tracker {
        let mut tracker = Tracker::default();
        for (sentinel, event) in events {
            let node = if let Event::Candidate(addr) = event { Some(addr.to_string().into()) } else { None };
            tracker.hear(&NodeKey::from(*sentinel), event, node, Moment::ZERO);
        }
        tracker
    }

    fn chosen(text: &str) -> Event {
        Event::Candidate(text.parse().unwrap())
    }

    fn found(tracker: &Tracker) -> Option<(&str, Epoch, bool)> {
        tracker.candidacy().map(|candidacy| (&*candidacy.node, candidacy.epoch, candidacy.aborted))
    }

    #[test]
    fn a_candidate_counts_in_the_epoch_in_which_its_leader_stands() {
        let events = [
            ("s1", Event::NewEpoch(7)),
            ("s1", Event::TryFailover),
            ("s2", Event::NewEpoch(9)),
            ("s1", Event::NewEpoch(8)),
            ("s1", chosen("b:1")),
        ];
        assert_eq!(found(&play(&events)), Some(("b:1", 7, false)));
    }

    #[test]
    fn a_candidate_without_a_known_epoch_is_none() {
        assert_eq!(found(&play(&[("s1", chosen("b:1"))])), None);
        assert_eq!(found(&play(&[("s1", Event::NewEpoch(7)), ("s1", chosen("b:1"))])), None);
    }

    #[test]
    fn only_the_leader_gives_up() {
        let begun = [("s1", Event::NewEpoch(7)), ("s1", Event::TryFailover), ("s1", chosen("b:1"))];
        let with = |sentinel| play(&[&begun[..], &[(sentinel, Event::Aborted)]].concat());
        assert_eq!(found(&with("s2")), Some(("b:1", 7, false)));
        assert_eq!(found(&with("s1")), Some(("b:1", 7, true)));
    }

    #[test]
    fn a_failover_that_a_sentinel_confirmed_is_over() {
        let mut tracker =
            play(&[("s1", Event::NewEpoch(7)), ("s1", Event::TryFailover), ("s1", chosen("b:1"))]);
        let claim = |epoch| Memory::restored(Reign { node: "b:1".into(), epoch });
        tracker.settle(&claim(6), Moment::ZERO);
        assert!(tracker.candidacy().is_some());
        let provisional = Some(Reign { node: "a:1".into(), epoch: 6 });
        tracker.settle(&Memory { provisional, ..claim(7) }, Moment::ZERO);
        assert!(tracker.candidacy().is_some());
        tracker.settle(&claim(7), Moment::ZERO);
        assert!(tracker.candidacy().is_none());
    }
}
