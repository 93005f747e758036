//! Static files: from memory where they fit, from disk otherwise. Kind: wiring.
//!
//! A [`Site`] holds all mounts (a prefix of the path and the folder behind it). A mount that is preloaded is walked at the
//! start: each file that fits lies in memory with its head fields ready to be sent, once per content coding. Whatever is not
//! there is opened beneath the mount's root, and nowhere else. What a request wants is weighed by pure code: conditions,
//! ranges, codings. A change on disk is noticed, and the new index replaces the old one in one swap.

mod answer;
mod asset;
mod coding;
mod compose;
mod conditional;
mod configured;
mod disk;
mod gauges;
mod hashed;
mod heading;
mod index;
mod keeper;
mod kind;
mod making;
mod mounts;
mod precompress;
mod ranges;
mod served;
mod site;
mod stamp;
mod terms;
mod walk;
mod wants;

pub use answer::{Answer, Part};
pub use coding::Coding;
pub use conditional::{Conditions, fuzz_weigh};
pub use index::Tally;
pub use kind::{content_type, is_compressible};
pub use mounts::Unopened;
pub use site::Site;
pub use terms::{Attachments, BadMount, Candidate, Mount, MountId, Terms};
pub use wants::{Verb, Wants};

#[cfg(test)]
mod tests;
