//! Who belongs to a cluster: what the operator wrote, what names stand for, and the weights that were set since.
//! Kind: pure.
//!
//! A name keeps its last good answer: an empty or failed one says nothing about the replicas, only about the name
//! service.

use std::collections::BTreeMap;

use proxy_core::net::Addr;

use crate::config::{Target, Upstream};

/// One replica that belongs to the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Where it is.
    pub(super) addr: Addr,
    /// Its share.
    pub(super) weight: u16,
    /// Its slots; 0: no limit.
    pub(super) slots: u32,
}

/// One answer of the name service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Where a replica is.
    pub(super) addr: Addr,
    /// RFC 2782: the lowest is asked; others stand by. 0 for addresses.
    pub(super) priority: u16,
    /// Its share among those of its priority. 1 for addresses.
    pub(super) weight: u16,
}

/// Who belongs to a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Roster {
    entries: Vec<(Upstream, Vec<Record>)>,
    slots: u32,
    /// What an operator has set since, whoever is found there.
    weights: BTreeMap<Addr, u16>,
}

impl Roster {
    /// What is written, before any name was asked for; `slots` is what a replica has that says nothing else.
    pub(super) fn new(upstreams: &[Upstream], slots: u32) -> Self {
        let entry = |upstream: &Upstream| {
            let fixed = match &upstream.address {
                Target::One(addr) => vec![Record { addr: addr.clone(), priority: 0, weight: 1 }],
                Target::Dns { .. } | Target::Srv(_) => Vec::new(),
            };
            (upstream.clone(), fixed)
        };
        Self { entries: upstreams.iter().map(entry).collect(), slots, weights: BTreeMap::new() }
    }

    /// What was found and set before the configuration changed.
    #[must_use]
    pub(super) fn after(mut self, former: &Self) -> Self {
        for (upstream, records) in self.entries.iter_mut().filter(|(_, records)| records.is_empty()) {
            let same = former.entries.iter().find(|(other, _)| other.address == upstream.address);
            records.extend(same.into_iter().flat_map(|(_, known)| known.iter().cloned()));
        }
        self.weights.clone_from(&former.weights);
        self
    }

    /// The names to be asked for, each once.
    pub(super) fn names(&self) -> Vec<Target> {
        let mut names: Vec<Target> = Vec::new();
        let written = self.entries.iter().map(|(upstream, _)| &upstream.address);
        for name in written.filter(|target| !matches!(target, Target::One(_))) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// A name was answered for. Whether that changes anything.
    pub(super) fn learn(&mut self, name: &Target, mut records: Vec<Record>) -> bool {
        // Name servers turn their answers round with every question.
        records.sort_by(|a, b| (a.priority, &a.addr).cmp(&(b.priority, &b.addr)));
        let mut changed = false;
        for (_, known) in self.entries.iter_mut().filter(|(upstream, _)| &upstream.address == name) {
            if !records.is_empty() && *known != records {
                known.clone_from(&records);
                changed = true;
            }
        }
        changed
    }

    /// Whether every name has been answered for at least once.
    pub(super) fn is_complete(&self) -> bool {
        self.entries.iter().all(|(_, records)| !records.is_empty())
    }

    /// An operator sets a replica's weight. Whether there is such a replica.
    pub(super) fn set_weight(&mut self, addr: &Addr, weight: u16) -> bool {
        let known = self.members().iter().any(|member| &member.addr == addr);
        if known {
            self.weights.insert(addr.clone(), weight);
        }
        known
    }

    /// The replicas, each once.
    pub(super) fn members(&self) -> Vec<Found> {
        let mut members: BTreeMap<Addr, Found> = BTreeMap::new();
        let mut order = Vec::new();
        for (upstream, records) in &self.entries {
            let lowest = records.iter().map(|record| record.priority).min();
            for record in records.iter().filter(|record| Some(record.priority) == lowest) {
                // SRV's weight 0 is "hardly ever", which is what 1 is beside others; our own 0 is "never".
                let weight = upstream.weight.saturating_mul(record.weight.max(1));
                let weight = self.weights.get(&record.addr).copied().unwrap_or(weight);
                let slots = upstream.slots.unwrap_or(self.slots);
                let found = Found { addr: record.addr.clone(), weight, slots };
                if members.insert(record.addr.clone(), found).is_none() {
                    order.push(record.addr.clone());
                }
            }
        }
        order.iter().filter_map(|addr| members.remove(addr)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(upstreams: &[&str]) -> Roster {
        let upstream = |text: &&str| Upstream { address: text.parse().unwrap(), weight: 1, slots: None };
        Roster::new(&upstreams.iter().map(upstream).collect::<Vec<_>>(), 2)
    }

    fn name() -> Target {
        "dns:tasks.pretix:8000".parse().unwrap()
    }

    fn records(of: &[(&str, u16, u16)]) -> Vec<Record> {
        let record = |&(addr, priority, weight): &(&str, u16, u16)| {
            let addr = addr.parse().unwrap();
            Record { addr, priority, weight }
        };
        of.iter().map(record).collect()
    }

    #[track_caller]
    fn check(roster: &Roster, expected: &str) {
        let members: Vec<_> = roster
            .members()
            .iter()
            .map(|found| format!("{}*{}/{}", found.addr, found.weight, found.slots))
            .collect();
        assert_eq!(members.join(" "), expected);
    }

    #[test]
    fn a_name_stands_for_what_was_last_answered() {
        let mut roster = roster(&["10.0.0.9:8000", "dns:tasks.pretix:8000"]);
        assert!(!roster.is_complete());
        check(&roster, "10.0.0.9:8000*1/2");
        assert!(roster.learn(&name(), records(&[("10.0.0.2:8000", 0, 1), ("10.0.0.1:8000", 0, 1)])));
        check(&roster, "10.0.0.9:8000*1/2 10.0.0.1:8000*1/2 10.0.0.2:8000*1/2");
        assert!(
            !roster.learn(&name(), records(&[("10.0.0.1:8000", 0, 1), ("10.0.0.2:8000", 0, 1)])),
            "turned round"
        );
        assert!(!roster.learn(&name(), Vec::new()), "nothing is no news");
        assert!(roster.is_complete());
        assert!(roster.learn(&name(), records(&[("10.0.0.3:8000", 0, 1)])));
        check(&roster, "10.0.0.9:8000*1/2 10.0.0.3:8000*1/2");
    }

    #[test]
    fn of_services_the_first_priority_counts() {
        let mut roster = roster(&["srv:_http._tcp.pretix"]);
        let name = roster.names().remove(0);
        roster.learn(&name, records(&[("c:1", 2, 9), ("b:1", 1, 0), ("a:1", 1, 5)]));
        check(&roster, "a:1*5/2 b:1*1/2");
    }

    #[test]
    fn a_weight_that_was_set_outlives_answers_and_configurations() {
        let mut former = roster(&["dns:tasks.pretix:8000", "dns:tasks.pretix:8000", "unix:/x"]);
        assert_eq!(former.names().len(), 1);
        former.learn(&name(), records(&[("10.0.0.1:8000", 0, 1)]));
        assert!(former.set_weight(&"10.0.0.1:8000".parse().unwrap(), 7));
        assert!(!former.set_weight(&"10.0.0.2:8000".parse().unwrap(), 7));
        check(&former, "10.0.0.1:8000*7/2 unix:/x*1/2");
        let reloaded = roster(&["dns:tasks.pretix:8000", "dns:other:1"]).after(&former);
        check(&reloaded, "10.0.0.1:8000*7/2");
    }
}
