//! Which of equals? The choice among candidates, by a ticket or by chance. Kind: pure.
//!
//! The candidates come as an iterator that is walked twice and read live from atomics, so that a choice allocates
//! nothing. They may change between the walks; then the last one seen is taken, which is still a candidate.

/// How to choose among the eligible endpoints of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// One after the other, interleaved, in exact proportion to the weights.
    RoundRobin,
    /// The one with the least in flight for its weight.
    #[default]
    LeastInFlight,
    /// The better one of two at random: nearly as good as looking at all, and routers that can't see each other's
    /// work don't all run to the same endpoint. Where it is known how long work takes lately, that counts too.
    TwoChoices,
}

/// One eligible endpoint as the choice sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it stands in the cluster.
    pub index: usize,
    /// Its share; a candidate of weight zero is never chosen.
    pub weight: u32,
    /// How much it carries now.
    pub in_flight: u32,
    /// How long its work takes lately, in any unit that is the same for all; 0 where nobody knows.
    pub latency: u32,
}

impl Candidate {
    /// Whether giving the next piece of work to `self` leaves it less loaded for its weight than `other` would be.
    /// Cross-multiplied: (a + 1) / wa < (b + 1) / wb. The one more is the work to be given; without it weights
    /// wouldn't count among the idle.
    fn is_freer_than(&self, other: &Self) -> bool {
        let cost = |of: &Self, by: &Self| (u64::from(of.in_flight) + 1) * u64::from(by.weight);
        cost(self, other) < cost(other, self)
    }

    /// The same with how long the work takes: what is in flight there and the piece to be given, one after the other.
    /// Who is unknown is taken for as fast as the other, so that it is tried.
    fn is_sooner_than(&self, other: &Self) -> bool {
        let latency = |of: &Self, by: &Self| if of.latency == 0 { by.latency } else { of.latency }.max(1);
        let load = |of: &Self, by: &Self| (u128::from(of.in_flight) + 1) * u128::from(by.weight);
        let cost = |of: &Self, by: &Self| load(of, by) * u128::from(latency(of, by));
        cost(self, other) < cost(other, self)
    }
}

/// Chooses by `policy`. `ticket` grows by one with each choice; `random` is any uniform number.
pub fn choose<I>(policy: Policy, candidates: I, ticket: u64, random: u64) -> Option<usize>
where
    I: Iterator<Item = Candidate> + Clone,
{
    let candidates = candidates.filter(|candidate| candidate.weight > 0);
    match policy {
        Policy::RoundRobin => by_turn(candidates, ticket),
        Policy::LeastInFlight => freest(candidates, random),
        Policy::TwoChoices => freer_of_two(candidates, random),
    }
    .map(|candidate| candidate.index)
}

/// Weighted round robin without shared state but the ticket: think of a wheel with one slot per unit of weight.
/// Walking it in strides of about the golden ratio, coprime to its size, visits each slot once per turn (so the
/// proportions are exact) and never dwells on the slots of one candidate (so it is interleaved).
fn by_turn(candidates: impl Iterator<Item = Candidate> + Clone, ticket: u64) -> Option<Candidate> {
    let unit = candidates.clone().fold(0, |unit, candidate| gcd(unit, candidate.weight.into())).max(1);
    let size: u64 = candidates.clone().map(|candidate| u64::from(candidate.weight) / unit).sum();
    let mut slot = (size > 0).then(|| slot(ticket, size))?;
    let mut last = None;
    for candidate in candidates {
        let slots = u64::from(candidate.weight) / unit;
        if slot < slots {
            return Some(candidate);
        }
        slot -= slots;
        last = Some(candidate);
    }
    last
}

/// Both factors are below 2^40 in any cluster that fits into memory (a weight has 24 bits), but a product that
/// could wrap is not worth the argument.
fn slot(ticket: u64, size: u64) -> u64 {
    let place = u128::from(ticket % size) * u128::from(stride(size));
    u64::try_from(place % u128::from(size)).unwrap_or(0)
}

fn stride(size: u64) -> u64 {
    let golden = size * 618 / 1000;
    (golden.max(1)..).find(|&stride| gcd(stride, size) == 1).unwrap_or(1)
}

const fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Walks the ring from a random place, so that equals share what comes.
fn freest(candidates: impl Iterator<Item = Candidate> + Clone, random: u64) -> Option<Candidate> {
    let count = candidates.clone().count();
    let start = below(random, count)?;
    let ring = candidates.clone().skip(start).chain(candidates.take(start));
    ring.reduce(|best, next| if next.is_freer_than(&best) { next } else { best })
}

fn freer_of_two(candidates: impl Iterator<Item = Candidate> + Clone, random: u64) -> Option<Candidate> {
    let count = candidates.clone().count();
    let first = below(random >> 32, count)?;
    let second = below(random & 0xffff_ffff, count - 1).map_or(first, |other| (first + 1 + other) % count);
    let one = candidates.clone().nth(first).or_else(|| candidates.clone().last())?;
    let two = candidates.clone().nth(second).or_else(|| candidates.last())?;
    Some(if two.is_sooner_than(&one) { two } else { one })
}

/// A uniform number below `count`, from the low 32 bits of `random`; `None` when there is nothing to choose from.
fn below(random: u64, count: usize) -> Option<usize> {
    let scaled = (u128::from(random & 0xffff_ffff) * count as u128) >> 32;
    (count > 0).then(|| usize::try_from(scaled).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidates(of: &[(u32, u32)]) -> Vec<Candidate> {
        let candidate = |(index, &(weight, in_flight))| Candidate { index, weight, in_flight, latency: 0 };
        of.iter().enumerate().map(candidate).collect()
    }

    fn pick(policy: Policy, of: &[(u32, u32)], ticket: u64, random: u64) -> Option<usize> {
        choose(policy, candidates(of).into_iter(), ticket, random)
    }

    fn shares(policy: Policy, of: &[(u32, u32)], picks: u64) -> Vec<usize> {
        let mut shares = vec![0; of.len()];
        for ticket in 0..picks {
            shares[pick(policy, of, ticket, fastrand::u64(..)).unwrap()] += 1;
        }
        shares
    }

    #[test]
    fn a_turn_of_round_robin_is_in_exact_proportion() {
        assert_eq!(shares(Policy::RoundRobin, &[(1, 9), (1, 0), (1, 3)], 300), [100, 100, 100]);
        assert_eq!(shares(Policy::RoundRobin, &[(5, 0), (1, 0), (1, 0)], 70), [50, 10, 10]);
        assert_eq!(shares(Policy::RoundRobin, &[(768, 0), (256, 0)], 40), [30, 10]);
    }

    #[test]
    fn round_robin_interleaves() {
        let turn: Vec<_> =
            (0..7).map(|n| pick(Policy::RoundRobin, &[(4, 0), (3, 0)], n, 0).unwrap()).collect();
        assert!(!turn.windows(3).any(|w| w[0] == w[1] && w[1] == w[2]), "three in a row: {turn:?}");
    }

    #[test]
    fn the_least_in_flight_is_chosen_by_its_weight() {
        let check = |of: &[(u32, u32)], expected| {
            for random in [0, u64::MAX, 1 << 31] {
                assert_eq!(pick(Policy::LeastInFlight, of, 0, random), Some(expected), "{of:?}");
            }
        };
        check(&[(1, 5), (1, 4), (1, 6)], 1);
        check(&[(1, 5), (2, 8), (1, 5)], 1);
        check(&[(1, 0), (3, 1)], 1);
        check(&[(1, 0), (2, 2)], 0);
    }

    #[test]
    fn equals_share_what_comes() {
        let shares = shares(Policy::LeastInFlight, &[(1, 2), (1, 2), (1, 2), (1, 2)], 4000);
        assert!(shares.iter().all(|&share| (800..1200).contains(&share)), "{shares:?}");
    }

    #[test]
    fn two_choices_never_take_the_worst_and_look_at_all() {
        let shares = shares(Policy::TwoChoices, &[(1, 0), (1, 1), (1, 2)], 3000);
        assert_eq!(shares[2], 0, "the worst loses against whomever it meets");
        assert!(shares[0] > shares[1] && shares[1] > 0, "{shares:?}");
    }

    #[test]
    fn two_choices_prefer_who_will_be_done_sooner() {
        let check = |of: [(u32, u32); 2], expected: Option<usize>| {
            let candidate =
                |(index, (in_flight, latency))| Candidate { index, weight: 256, in_flight, latency };
            for random in [0, u64::MAX, 1 << 63, 1 << 31] {
                let of = of.into_iter().enumerate().map(candidate);
                let chosen = choose(Policy::TwoChoices, of.clone(), 0, random);
                assert!(expected.is_none() || chosen == expected, "{random}: {chosen:?}");
            }
        };
        check([(0, 100), (0, 900)], Some(0));
        check([(8, 100), (0, 800)], Some(1));
        check([(1, 0), (0, 500)], Some(1));
        check([(0, 0), (0, 500)], None);
    }

    #[test]
    fn nobody_is_chosen_from_nobody() {
        for policy in [Policy::RoundRobin, Policy::LeastInFlight, Policy::TwoChoices] {
            assert_eq!(pick(policy, &[], 7, 7), None);
            assert_eq!(pick(policy, &[(0, 0), (0, 0)], 7, 7), None);
            assert_eq!(pick(policy, &[(0, 0), (1, 9)], 7, 7), Some(1));
        }
    }

    fn any_policy() -> impl Strategy<Value = Policy> {
        proptest::sample::select(vec![Policy::RoundRobin, Policy::LeastInFlight, Policy::TwoChoices])
    }

    proptest! {
        #[test]
        fn somebody_with_weight_is_chosen_whenever_there_is_one(
            policy in any_policy(),
            of in proptest::collection::vec((0u32..0x100_0000, any::<u32>()), 0..9),
            ticket: u64,
            random: u64,
        ) {
            let chosen = pick(policy, &of, ticket, random);
            prop_assert_eq!(chosen.is_some(), of.iter().any(|candidate| candidate.0 > 0));
            prop_assert!(chosen.is_none_or(|index| of[index].0 > 0));
        }

        #[test]
        fn every_turn_of_round_robin_is_in_exact_proportion(weights in proptest::collection::vec(1u32..20, 1..6), start in 0u64..1000) {
            let of: Vec<_> = weights.iter().map(|&weight| (weight, 0)).collect();
            let size = weights.iter().sum::<u32>();
            let mut left = weights;
            for ticket in start * u64::from(size)..(start + 1) * u64::from(size) {
                let index = pick(Policy::RoundRobin, &of, ticket, 0).unwrap();
                prop_assert!(left[index] > 0, "more than its share");
                left[index] -= 1;
            }
        }
    }
}
