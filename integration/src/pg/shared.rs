//! One cluster for all tests of a test binary: whoever holds it has it alone, and finds it whole. Kind: driver.

use super::{Cluster, ClusterOptions};
use crate::Result;
use std::{
    ops::Deref,
    sync::{Mutex, MutexGuard},
};

/// The shared cluster, held. It stays up between tests and goes when the process ends: statics aren't dropped, the
/// sweeper's pipe is closed all the same.
pub struct Shared(MutexGuard<'static, Option<Cluster>>);

impl Deref for Shared {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.0.as_ref().expect("shared() fills it before it hands it out")
    }
}

/// Waits for the cluster and makes sure that it is whole, with n1 its primary; a test that broke it costs the next one
/// a new cluster.
pub fn shared() -> Result<Shared> {
    static CLUSTER: Mutex<Option<Cluster>> = Mutex::new(None);
    let mut held = CLUSTER.lock().unwrap_or_else(|poisoned| {
        CLUSTER.clear_poison();
        poisoned.into_inner()
    });
    if !held.as_ref().is_some_and(Cluster::pristine) {
        *held = None; // the old one is down before the new one comes up
        *held = Some(Cluster::start(&ClusterOptions::default())?);
    }
    Ok(Shared(held))
}
