//! What is published, and what is refused. Kind: driver.

use std::{path::Path, time::Duration};

use super::*;
use crate::upstream::Rules;

const LATER: Duration = Duration::from_secs(7);

/// A router's life: its state folder, and the publisher of the present run.
struct Router {
    dir: tempfile::TempDir,
    publisher: Publisher,
    start: Instant,
}

impl Router {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let start = Instant::now();
        Self { publisher: publisher(dir.path(), start), dir, start }
    }

    fn restart(&mut self) {
        self.publisher = publisher(self.dir.path(), self.start);
    }

    fn hear(&self, lineage: &str, epoch: u64, primary: u16) -> Result<Arc<Topology>, Refused> {
        self.publisher.publish(claim(lineage, epoch, primary), self.start)
    }

    #[track_caller]
    fn accepts(&self, lineage: &str, epoch: u64, primary: u16) {
        let published = self.hear(lineage, epoch, primary).unwrap();
        let current = self.publisher.current();
        assert!(Arc::ptr_eq(&published, &current));
        assert_eq!((current.lineage.as_str(), current.epoch), (lineage, epoch));
        assert_eq!(current.primary.as_ref().unwrap().addr(), endpoint(primary).addr());
    }

    /// A refusal changes nothing, and says what to do.
    #[track_caller]
    fn refuses(&self, lineage: &str, epoch: u64, primary: u16, words: &str) {
        let before = self.publisher.current();
        let text = self.hear(lineage, epoch, primary).unwrap_err().to_string();
        let file = self.dir.path().to_str().unwrap();
        for word in [words, file, "--forget-epoch"] {
            assert!(text.contains(word), "no {word:?} in: {text}");
        }
        assert!(Arc::ptr_eq(&before, &self.publisher.current()));
    }
}

fn publisher(dir: &Path, now: Instant) -> Publisher {
    let registry = Registry::new("test", "0");
    let state = State::open(dir, &registry).unwrap();
    Publisher::new(state, Arc::new(Cluster::new("replicas", [])), &registry, now)
}

fn endpoint(port: u16) -> Arc<Endpoint> {
    let addr = format!("127.0.0.1:{port}").parse().unwrap();
    Arc::new(Endpoint::new(addr, 1, Arc::new(Rules::default()), Instant::now()))
}

fn claim(lineage: &str, epoch: u64, primary: u16) -> Claim {
    let replicas = Arc::new(Cluster::new("replicas", []));
    Claim { epoch, lineage: lineage.into(), primary: endpoint(primary), replicas }
}

#[test]
fn epochs_grow() {
    let router = Router::new();
    assert!(router.publisher.current().primary.is_none());
    router.accepts("a", 3, 1);
    router.accepts("a", 4, 2);
    router.accepts("a", 9, 1);
}

#[test]
fn an_older_epoch_is_refused() {
    let router = Router::new();
    router.accepts("a", 4, 2);
    router.refuses("a", 3, 1, "epoch 3 is older than epoch 4 (of 127.0.0.1:2)");
}

#[test]
fn another_lineage_is_refused_however_new_its_epoch() {
    let router = Router::new();
    router.accepts("a", 4, 2);
    router.refuses("b", 5, 2, "lineage \"b\" is not the lineage \"a\"");
}

#[test]
fn one_epoch_has_one_primary() {
    let router = Router::new();
    router.accepts("a", 4, 2);
    router.refuses("a", 4, 1, "127.0.0.1:1 claims epoch 4, in which 127.0.0.1:2 was primary");
}

#[test]
fn a_lost_primary_loses_no_epoch() {
    let router = Router::new();
    router.accepts("a", 4, 2);
    let bereft = router.publisher.lost_primary(false, router.start);
    assert_eq!((bereft.epoch, bereft.primary.is_none()), (4, true));
    router.refuses("a", 3, 1, "older");
    router.refuses("a", 4, 1, "claims epoch 4");
    router.accepts("a", 4, 2);
}

#[test]
fn a_restarted_router_is_not_captured_by_a_returned_old_primary() {
    let mut router = Router::new();
    router.accepts("a", 4, 2);
    router.restart();
    assert_eq!(router.publisher.current().epoch, 4);
    router.refuses("a", 3, 1, "older");
    router.refuses("a", 4, 1, "claims epoch 4");
    router.refuses("b", 9, 1, "lineage");
    router.accepts("a", 4, 2);
}

#[test]
fn who_has_proof_overrules_what_is_remembered() {
    let mut router = Router::new();
    router.accepts("a", 4, 2);
    let published = router.publisher.overrule(claim("a", 3, 1), router.start);
    assert_eq!(published.epoch, 3);
    router.restart();
    router.accepts("a", 3, 1);
}

#[test]
fn what_the_operator_forgets_binds_nobody() {
    let mut router = Router::new();
    router.accepts("a", 4, 2);
    State::forget(router.dir.path()).unwrap();
    router.restart();
    router.accepts("b", 1, 1);
}

#[test]
fn what_is_published_is_on_disk_already() {
    let router = Router::new();
    let mut ear = router.publisher.subscribe();
    router.accepts("a", 4, 2);
    assert!(ear.has_changed().unwrap());
    let heard = ear.borrow_and_update().epoch;
    let stored = State::open(router.dir.path(), &Registry::new("test", "0")).unwrap();
    assert_eq!(stored.remembered().unwrap().epoch, heard);
}

#[test]
fn other_replicas_in_the_same_epoch_are_news_but_not_a_new_reign() {
    let router = Router::new();
    let mut claim = claim("a", 4, 2);
    let first = router.publisher.publish(claim.clone(), router.start).unwrap();
    claim.replicas = Arc::new(Cluster::new("replicas", [endpoint(3)]));
    let second = router.publisher.publish(claim, router.start + LATER).unwrap();
    assert_eq!(second.replicas.endpoints().len(), 1);
    assert_eq!((second.since, second.revision), (first.since, first.revision + 1));
}

#[test]
fn a_reign_begins_with_each_change_of_the_primary() {
    let router = Router::new();
    let claim = claim("a", 4, 2);
    router.publisher.publish(claim.clone(), router.start).unwrap();
    let lost = router.publisher.lost_primary(false, router.start + LATER);
    assert_eq!(lost.since, router.start + LATER);
    let again = router.publisher.publish(claim, router.start + 2 * LATER).unwrap();
    assert_eq!(again.since, router.start + 2 * LATER);
}

#[test]
fn a_primary_is_lost_once() {
    let router = Router::new();
    router.accepts("a", 4, 2);
    let first = router.publisher.lost_primary(false, router.start);
    let second = router.publisher.lost_primary(false, router.start + LATER);
    assert!(Arc::ptr_eq(&first, &second));
}

#[test]
fn the_status_tells_who_and_since_when() {
    let router = Router::new();
    let published = router.hear("a", 4, 2).unwrap();
    let status = serde_json::to_value(published.snapshot(router.start + LATER)).unwrap();
    assert_eq!(status["epoch"], 4);
    assert_eq!(status["primary"]["addr"], "127.0.0.1:2");
    assert_eq!(status["since_ms"], 7000);
}

#[test]
fn the_metrics_tell_epoch_primary_and_refusals() {
    let router = Router::new();
    let metrics = &router.publisher.metrics;
    assert_eq!((metrics.epoch.get(), metrics.has_primary.get()), (0, 0));
    router.accepts("a", 4, 2);
    router.refuses("a", 3, 1, "older");
    assert_eq!((metrics.epoch.get(), metrics.has_primary.get()), (4, 1));
    assert_eq!(metrics.refused.with_label_values(&["older_epoch"]).get(), 1);
    router.publisher.lost_primary(false, router.start);
    assert_eq!((metrics.epoch.get(), metrics.has_primary.get()), (4, 0));
}
