//! The watcher against servers that speak the protocol and say what they are told to say. Kind: driver.

use proxy_core::net::Addr;

use crate::topology::fake::{Scene, redis, sentinel};

#[tokio::test]
async fn a_promotion_is_followed_by_what_the_connections_tell_alone() {
    let scene = Scene::start("127.0.0.0/8").await;
    let topology = scene.published(Some(&scene.master.addr)).await;
    assert_eq!((topology.epoch, topology.lineage.as_str()), (4, "m"));
    scene.told(|status| status["nodes"][1]["role"] == "replica").await;

    let Addr::Tcp { host, port } = &scene.replica.addr else { panic!() };
    scene.sentinel.publish("+new-epoch", "5");
    scene.sentinel.publish("+try-failover", "master m 127.0.0.1 1");
    scene.sentinel.publish("+selected-slave", &format!("slave x {host} {port} @ m 127.0.0.1 1"));
    scene.told(|status| status["candidate"]["epoch"] == 5).await;
    scene.replica.say.send_replace(redis(None));
    assert_eq!(scene.published(Some(&scene.replica.addr)).await.epoch, 5);
    let status = scene.handle.status();
    assert_eq!(status["switches"][0]["to"], scene.replica.addr.to_string());
    assert!(status["switches"][0]["evidence"][1].as_str().unwrap().contains("in epoch 5"), "{status:#}");

    scene.sentinel.publish("-failover-abort-slave-timeout", "master m 127.0.0.1 1");
    assert_eq!(scene.published(Some(&scene.master.addr)).await.epoch, 4);
}

#[tokio::test]
async fn any_event_and_any_lost_connection_make_it_look_again() {
    let scene = Scene::start("127.0.0.1").await;
    scene.published(Some(&scene.master.addr)).await;
    scene.master.say.send_replace(redis(Some(&scene.replica.addr)));
    assert!(scene.published(None).await.fenced, "it calls itself a replica");
    scene.replica.say.send_replace(redis(None));
    scene.sentinel.say.send_replace(sentinel(&scene.replica.addr, "7", &[&scene.master.addr]));
    assert_eq!(scene.published(Some(&scene.replica.addr)).await.epoch, 7);
}

#[tokio::test]
async fn the_end_of_a_connection_to_a_node_makes_the_sentinels_be_asked() {
    let scene = Scene::start("127.0.0.1").await;
    scene.quiet().await;
    scene.replica.say.send_replace(redis(Some(&scene.master.addr)));
    scene.sentinel.hears("SENTINEL MASTER m").await;
}

#[tokio::test]
async fn traffic_that_suspects_makes_it_look_everywhere() {
    let scene = Scene::start("127.0.0.1").await;
    scene.quiet().await;
    let primary = scene.publisher.current().primary.clone().unwrap();
    scene.handle.suspect(&primary);
    scene.master.hears("INFO replication").await;
    scene.replica.hears("INFO replication").await;
    scene.sentinel.hears("SENTINEL MASTER m").await;
}

#[tokio::test]
async fn who_may_not_be_named_hears_nothing_from_us() {
    let scene = Scene::start("localhost").await;
    scene.told(|status| status["sentinels"][0]["lost"] == "address not allowed").await;
    assert_eq!(scene.handle.status()["nodes"], serde_json::json!([]));
}
