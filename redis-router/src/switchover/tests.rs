//! A switchover against servers that do as told, and its failures one by one. Kind: driver.

use std::sync::Arc;

use super::*;
use crate::topology::fake::{Say, Scene, redis, redis_at, sentinel};

const SHORT: Deadlines =
    Deadlines { catch_up: Duration::from_millis(50), promote: Duration::from_millis(100) };

/// A settled cluster of a master, a replica and a Sentinel.
async fn settled() -> Scene {
    let scene = Scene::start("127.0.0.0/8").await;
    scene.told(|status| status["nodes"][1]["role"] == "replica" && status["suspect"] == false).await;
    scene
}

/// What a server says, but for one command.
fn but(say: Say, command: &'static str, answer: &'static [u8]) -> Say {
    Arc::new(move |words| if words.join(" ").starts_with(command) { answer.to_vec() } else { say(words) })
}

/// A failure leaves everything as it was.
#[track_caller]
fn is_as_before(scene: &Scene, failure: Result<Report, Failure>, words: &str) {
    let failure = failure.unwrap_err().to_string();
    assert!(failure.contains(words), "{failure}");
    assert!(!scene.handle.barrier().raised(), "the barrier is lowered");
}

/// What a Sentinel and the replica do once they are told to.
async fn obey(scene: &Scene) {
    scene.sentinel.hears("SENTINEL FAILOVER m").await;
    assert!(scene.handle.barrier().raised(), "writes are held");
    let addr = scene.replica.addr.to_string();
    let (host, port) = addr.rsplit_once(':').unwrap();
    scene.sentinel.publish("+new-epoch", "5");
    scene.sentinel.publish("+try-failover", "master m 127.0.0.1 1");
    scene.sentinel.publish("+selected-slave", &format!("slave x {host} {port} @ m 127.0.0.1 1"));
    scene.told(|status| status["candidate"]["epoch"] == 5).await;
    scene.replica.say.send_replace(redis(None));
    scene.published(Some(&scene.replica.addr)).await;
    scene.sentinel.say.send_replace(sentinel(&scene.replica.addr, "5", &[&scene.master.addr]));
}

#[tokio::test]
async fn writes_are_held_until_the_replica_is_the_master() {
    let scene = settled().await;
    let (report, ()) = tokio::join!(switch_over(&scene.handle), obey(&scene));
    let report = report.unwrap();
    assert_eq!((report.to, report.epoch, report.paused), (scene.replica.addr.to_string(), 5, true));
    assert!(!scene.handle.barrier().raised());
    scene.master.hears("CLIENT PAUSE 675 WRITE").await;
}

#[tokio::test]
async fn a_master_that_cannot_be_paused_is_switched_all_the_same() {
    let scene = settled().await;
    scene.master.say.send_replace(but(redis(None), "CLIENT PAUSE", b"-NOPERM no\r\n"));
    let (report, ()) = tokio::join!(switch_over(&scene.handle), obey(&scene));
    assert!(!report.unwrap().paused);
}

#[tokio::test]
async fn one_switchover_at_a_time() {
    let scene = settled().await;
    let raised = scene.handle.barrier().raise();
    let failure = switch_over_within(&scene.handle, SHORT).await.unwrap_err();
    assert_eq!((failure.clone(), failure.status()), (Failure::Busy, 409));
    assert!(scene.handle.barrier().raised(), "it is not ours to lower");
    drop(raised);
}

#[tokio::test]
async fn a_replica_that_lags_behind_stops_it() {
    let scene = settled().await;
    scene.replica.say.send_replace(redis_at(Some(&scene.master.addr), 93));
    scene.told(|status| status["nodes"][1]["offset"] == 93).await;
    is_as_before(&scene, switch_over_within(&scene.handle, SHORT).await, "lacks 7 bytes");
    scene.master.hears("CLIENT UNPAUSE").await;
}

#[tokio::test]
async fn a_sentinel_that_refuses_stops_it() {
    let scene = settled().await;
    let inprog = b"-INPROG Failover already in progress\r\n";
    let says = sentinel(&scene.master.addr, "4", &[&scene.replica.addr]);
    scene.sentinel.say.send_replace(but(says, "SENTINEL FAILOVER", inprog));
    scene.told(|status| status["sentinels"][0]["lost"].is_null()).await;
    is_as_before(&scene, switch_over_within(&scene.handle, SHORT).await, "INPROG");
    scene.master.hears("CLIENT UNPAUSE").await;
}

#[tokio::test]
async fn nobody_promoted_in_time_stops_it() {
    let scene = settled().await;
    is_as_before(&scene, switch_over_within(&scene.handle, SHORT).await, "may still come to its end");
    scene.master.hears("CLIENT UNPAUSE").await;
}

#[tokio::test]
async fn without_a_replica_nothing_is_held() {
    let scene = settled().await;
    scene.replica.say.send_replace(Arc::new(|_| b"-NOPERM no\r\n".to_vec()));
    scene.told(|status| status["nodes"][1]["role"] == "lost").await;
    is_as_before(&scene, switch_over_within(&scene.handle, SHORT).await, "no replica is in sight");
}
