//! Which claims of being primary are admitted, given who is remembered as the last one. Kind: pure.
//!
//! ```text
//!                     lineage   epoch    primary
//!   refused           other     any      any        not a copy of our data at all
//!   refused           same      older    any        from the past: a returned old primary, a stale Sentinel
//!   refused           same      same     other      two primaries in one epoch: promoted beside each other
//!   admitted          same      same     same       still there, or there again
//!   admitted          same      newer    any        a promotion
//! ```
//!
//! The way back for all that is refused is the operator's: `--forget-epoch`, and each refusal says so.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Who is primary, of which history, in which epoch: the part of a topology that outlives a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reign {
    /// Which history the epoch counts: PostgreSQL's system identifier, the name of a Redis master.
    pub lineage: String,
    /// What only grows within a lineage: PostgreSQL's timeline, Sentinel's config-epoch.
    pub epoch: u64,
    /// The primary's address.
    pub primary: String,
}

/// Why a claim was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The claim is of another history.
    #[error(
        "lineage {claimed:?} is not the lineage {known:?} that {} remembers; \
         if the servers were re-initialised, restart once with --forget-epoch", .file.display()
    )]
    OtherLineage {
        /// The claim's.
        claimed: String,
        /// Ours.
        known: String,
        /// Where it is remembered.
        file: PathBuf,
    },
    /// The claim is from the past.
    #[error(
        "epoch {claimed} is older than epoch {known} (of {primary}), which {} remembers; \
         if the servers were re-initialised, restart once with --forget-epoch", .file.display()
    )]
    OlderEpoch {
        /// The claim's.
        claimed: u64,
        /// Ours.
        known: u64,
        /// Who was primary in ours.
        primary: String,
        /// Where it is remembered.
        file: PathBuf,
    },
    /// The claim's epoch has a primary already.
    #[error(
        "{claimed} claims epoch {epoch}, in which {known} was primary, as {} remembers; \
         if the same server moved to a new address, restart once with --forget-epoch", .file.display()
    )]
    OtherPrimary {
        /// The epoch of both.
        epoch: u64,
        /// The claim's primary.
        claimed: String,
        /// Ours.
        known: String,
        /// Where it is remembered.
        file: PathBuf,
    },
}

impl Refused {
    /// The label of its metric.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::OtherLineage { .. } => "other_lineage",
            Self::OlderEpoch { .. } => "older_epoch",
            Self::OtherPrimary { .. } => "other_primary",
        }
    }
}

/// Whether `claimed` may follow `known`; `file` is where `known` is remembered.
pub fn admit(claimed: &Reign, known: &Reign, file: &Path) -> Result<(), Refused> {
    if claimed.lineage != known.lineage {
        return Err(other_lineage(claimed, known, file));
    }
    if claimed.epoch < known.epoch {
        return Err(older_epoch(claimed, known, file));
    }
    if claimed.epoch == known.epoch && claimed.primary != known.primary {
        return Err(other_primary(claimed, known, file));
    }
    Ok(())
}

fn other_lineage(claimed: &Reign, known: &Reign, file: &Path) -> Refused {
    let (claimed, known) = (claimed.lineage.clone(), known.lineage.clone());
    Refused::OtherLineage { claimed, known, file: file.into() }
}

fn older_epoch(claimed: &Reign, known: &Reign, file: &Path) -> Refused {
    let primary = known.primary.clone();
    Refused::OlderEpoch { claimed: claimed.epoch, known: known.epoch, primary, file: file.into() }
}

fn other_primary(claimed: &Reign, known: &Reign, file: &Path) -> Refused {
    let (epoch, claimed, known) = (known.epoch, claimed.primary.clone(), known.primary.clone());
    Refused::OtherPrimary { epoch, claimed, known, file: file.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reign(lineage: &str, epoch: u64, primary: &str) -> Reign {
        Reign { lineage: lineage.into(), epoch, primary: primary.into() }
    }

    /// How a claim fares against `db2`, primary of lineage `a` in epoch 4.
    fn check(lineage: &str, epoch: u64, primary: &str, expected: Result<(), &str>) {
        let admitted =
            admit(&reign(lineage, epoch, primary), &reign("a", 4, "db2"), Path::new("/state/file"));
        assert_eq!(admitted.as_ref().map_err(Refused::reason).copied(), expected);
        let Err(refused) = admitted else { return };
        let text = refused.to_string();
        assert!(text.contains("/state/file") && text.contains("--forget-epoch"), "{text}");
    }

    #[test]
    fn a_newer_epoch_is_admitted_whoever_is_primary_in_it() {
        check("a", 5, "db1", Ok(()));
        check("a", u64::MAX, "db2", Ok(()));
    }

    #[test]
    fn the_same_primary_stays_admitted() {
        check("a", 4, "db2", Ok(()));
    }

    #[test]
    fn the_past_elsewhere_and_beside_are_refused() {
        check("a", 3, "db2", Err("older_epoch"));
        check("a", 0, "db1", Err("older_epoch"));
        check("a", 4, "db1", Err("other_primary"));
        check("b", 4, "db2", Err("other_lineage"));
        check("b", 9, "db1", Err("other_lineage"));
        check("", 9, "db1", Err("other_lineage"));
    }

    proptest! {
        #[test]
        fn however_claims_come_each_epoch_has_one_primary_and_epochs_never_fall(
            claims in proptest::collection::vec((0u64..5, 0u8..3, 0u8..9), 0..50),
        ) {
            let mut reigns: Vec<Reign> = Vec::new();
            for (epoch, primary, lineage) in claims {
                let claimed = reign(if lineage == 0 { "b" } else { "a" }, epoch, &format!("db{primary}"));
                if reigns.last().is_none_or(|known| admit(&claimed, known, Path::new("")).is_ok()) {
                    reigns.push(claimed);
                }
            }
            for pair in reigns.windows(2) {
                prop_assert_eq!(&pair[0].lineage, &pair[1].lineage);
                prop_assert!(pair[0].epoch < pair[1].epoch || pair[0] == pair[1]);
            }
        }
    }
}
