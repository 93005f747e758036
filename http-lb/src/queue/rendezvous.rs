//! Consistent hashing: the same key to the same replica, and hardly anybody moves when a replica comes or goes.
//! Kind: pure.
//!
//! Highest random weight (Thaler, Ravishankar: "Using name-based mappings to increase hit rates", 1998): every replica
//! gets a score from the key and from its own name, and the highest one wins. A ring with points (Ketama) does the same
//! with a table to build and to keep, needs many points to be even, and pingora's knows IP addresses only; we have few
//! replicas, unix sockets among them, and look at each one anyway.
//!
//! Bounded load (Mirrokni, Thorup, Zadimoghaddam: "Consistent hashing with bounded loads", 2016): who carries more than
//! a quarter above its share is passed over, so that one popular key can't drown one replica.

use super::ticket::mix;

/// A replica may carry so much of its fair share, in percent, before keys go to the next one.
const BOUND_PERCENT: u64 = 125;

/// One replica as the choice sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Contender {
    /// Where it stands.
    pub(super) index: usize,
    /// The digest of its name.
    pub(super) name: u64,
    /// Its share.
    pub(super) weight: u32,
    /// How much it carries now.
    pub(super) used: u32,
    /// Whether it has room for one more.
    pub(super) has_room: bool,
}

/// The contender that `key` falls to: the highest score among those with room within the bound, or else with room.
pub(super) fn choose(key: u64, contenders: impl Iterator<Item = Contender> + Clone) -> Option<usize> {
    let contenders = contenders.filter(|contender| contender.weight > 0);
    let weights: u64 = contenders.clone().map(|contender| u64::from(contender.weight)).sum();
    let load: u64 = contenders.clone().map(|contender| u64::from(contender.used)).sum();
    let highest = |of: &mut dyn Iterator<Item = Contender>| {
        let scored = of.map(|contender| (score(key, &contender), contender.index));
        scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, index)| index)
    };
    let mut open = contenders.clone().filter(|contender| contender.has_room);
    let mut within = open.clone().filter(|contender| is_within(contender, load, weights));
    highest(&mut within).or_else(|| highest(&mut open))
}

/// With one more it carries at most its share of all, times the bound, rounded up.
fn is_within(contender: &Contender, load: u64, weights: u64) -> bool {
    let share = u128::from(load + 1) * u128::from(contender.weight) * u128::from(BOUND_PERCENT);
    let bound = share.div_ceil(u128::from(weights.max(1)) * 100);
    u128::from(contender.used) < bound
}

/// `-weight / ln(u)` for a number `u` between 0 and 1 that the key and the name give: so each replica wins in proportion
/// to its weight.
fn score(key: u64, contender: &Contender) -> f64 {
    let bits = mix(key ^ contender.name) >> 11;
    let unit = (bits as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(contender.weight) / unit.ln()
}

#[cfg(test)]
mod tests {
    use super::super::ticket::digest;
    use super::*;

    const KEYS: u64 = 20_000;

    fn contenders(weights: &[u32]) -> Vec<Contender> {
        let contender = |(index, &weight): (usize, &u32)| Contender {
            index,
            name: digest(format!("10.0.0.{index}:8000").as_bytes()),
            weight,
            used: 0,
            has_room: true,
        };
        weights.iter().enumerate().map(contender).collect()
    }

    fn owners(of: &[Contender]) -> Vec<usize> {
        (0..KEYS).map(|key| choose(digest(&key.to_be_bytes()), of.iter().copied()).unwrap()).collect()
    }

    #[test]
    fn keys_fall_in_proportion_to_the_weights() {
        let of = contenders(&[1, 1, 2]);
        let mut shares = [0_u64; 3];
        owners(&of).into_iter().for_each(|owner| shares[owner] += 1);
        for (share, expected) in shares.iter().zip([KEYS / 4, KEYS / 4, KEYS / 2]) {
            assert!(share.abs_diff(expected) < KEYS / 50, "{shares:?}");
        }
    }

    #[test]
    fn only_the_keys_of_who_leaves_move() {
        let all = contenders(&[3, 3, 3, 3]);
        let fewer: Vec<_> = all.iter().copied().filter(|contender| contender.index != 2).collect();
        let moved = owners(&all).into_iter().zip(owners(&fewer)).filter(|(before, after)| before != after);
        assert!(moved.map(|(before, _)| before).all(|before| before == 2));
    }

    #[test]
    fn one_key_does_not_drown_one_replica() {
        let mut of = contenders(&[1, 1, 1, 1]);
        for _ in 0..400 {
            let owner = choose(42, of.iter().copied()).unwrap();
            of[owner].used += 1;
        }
        let used: Vec<_> = of.iter().map(|contender| contender.used).collect();
        assert!(used.iter().all(|used| *used <= 125), "{used:?}");
    }

    #[test]
    fn who_has_no_room_is_passed_over_and_who_has_some_is_found() {
        let mut of = contenders(&[1, 1]);
        let owner = choose(7, of.iter().copied()).unwrap();
        of[owner].has_room = false;
        assert_eq!(choose(7, of.iter().copied()), Some(1 - owner));
        of[1 - owner].used = 100;
        assert_eq!(choose(7, of.iter().copied()), Some(1 - owner), "above its bound, but the only one");
        of[1 - owner].has_room = false;
        assert_eq!(choose(7, of.iter().copied()), None);
        assert_eq!(choose(7, contenders(&[0, 0]).into_iter()), None);
    }
}
