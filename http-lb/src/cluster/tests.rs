//! Clusters as the process has them: built, checked, ordered about, reloaded. Kind: driver.

use std::time::{Duration, Instant};

use proxy_core::admin::Query;
use proxy_core::upstream::{Admin, Health};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::config;
use crate::queue::{Affinity, ClientKey, Shed, Ticket};

const PATIENCE: Duration = Duration::from_secs(10);

fn context() -> Context {
    Context::new(Arc::default(), "http-lb", "0")
}

fn config(clusters: &[(&str, &[&str])]) -> Config {
    let check = config::Check { interval: Duration::from_millis(20), ..config::Check::default() };
    let cluster = |(name, upstreams): &(&str, &[&str])| config::Cluster {
        name: (*name).to_owned(),
        upstreams: upstreams.iter().map(|text| upstream(text)).collect(),
        slots: 1,
        check: Some(check.clone()),
        ..config::Cluster::default()
    };
    Config { clusters: clusters.iter().map(cluster).collect(), ..Config::default() }
}

fn upstream(text: &str) -> config::Upstream {
    config::Upstream { address: text.parse().unwrap(), weight: 1, slots: None }
}

fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

fn ticket() -> Ticket {
    let class = crate::queue::Class::default();
    Ticket::new(class, ClientKey::new(1), Instant::now() + Duration::from_millis(100))
}

async fn order(clusters: &Arc<Clusters>, query: &str) -> (u16, String) {
    let reply = admin::act(clusters, &Query::parse(query)).await;
    (reply.status, reply.text)
}

fn admins(cluster: &ClusterState) -> Vec<Admin> {
    cluster.members().endpoints().iter().map(|endpoint| endpoint.admin()).collect()
}

#[tokio::test]
async fn a_cluster_serves_before_anybody_was_asked() {
    let context = context();
    let clusters = Clusters::new(&config(&[("shop", &["127.0.0.1:1", "127.0.0.1:2"])]), &context).unwrap();
    let shop = clusters.find("shop").unwrap();
    let (one, two) = (shop.try_slot(&ticket(), now()).unwrap(), shop.slot(&ticket()).await.unwrap());
    assert_ne!(one.endpoint().addr(), two.endpoint().addr());
    assert_eq!(shop.slot(&ticket()).await.unwrap_err(), Shed::Deadline);
    assert!(clusters.find("other").is_none() && shop.sticky().is_none());
    assert!(shop.retry_after(crate::queue::Class::TOP) >= 5, "the configured least");
}

#[tokio::test]
async fn operators_are_obeyed_and_told_what_they_did_wrong() {
    let context = context();
    let upstreams: &[&str] = &["127.0.0.1:1", "127.0.0.1:2"];
    let clusters =
        Clusters::new(&config(&[("shop", upstreams), ("api", &["127.0.0.1:2"])]), &context).unwrap();
    let shop = clusters.find("shop").unwrap();
    for (query, status, text) in [
        ("", 400, "which replica"),
        ("replica=nobody", 400, "the port is missing"),
        ("replica=127.0.0.1:9&state=drain", 404, "no replica"),
        ("replica=127.0.0.1:2&state=drain", 400, "several clusters"),
        ("replica=127.0.0.1:1&state=gone", 400, "no state"),
        ("replica=127.0.0.1:1", 400, "what about it"),
        ("replica=127.0.0.1:1&weight=-1", 400, "no number"),
        ("replica=127.0.0.1:1&state=drain", 200, r#""admin": "drain""#),
        ("cluster=shop&replica=127.0.0.1:2&state=maint&weight=7", 200, r#""weight": 7"#),
    ] {
        let (got, told) = order(&clusters, query).await;
        assert!(got == status && told.contains(text), "{query:?}: {got} {told}");
    }
    assert_eq!(admins(&shop), [Admin::Drain, Admin::Maint]);
    clusters.reload(&config(&[("shop", upstreams)])).unwrap();
    assert_eq!(admins(&shop), [Admin::Drain, Admin::Maint], "a reload does not undo it");
    assert_eq!(shop.members().endpoints()[1].weight(), 7);
}

#[tokio::test]
async fn a_drained_replica_is_given_nothing_and_finishes_what_it_has() {
    let context = context();
    let clusters = Clusters::new(&config(&[("shop", &["127.0.0.1:1"])]), &context).unwrap();
    clusters.start();
    let shop = clusters.find("shop").unwrap();
    let slot = shop.try_slot(&ticket(), now()).unwrap();
    assert_eq!(order(&clusters, "replica=127.0.0.1:1&state=drain&wait=0").await.0, 504);
    let waits = order(&clusters, "replica=127.0.0.1:1&state=drain&wait=10");
    let finishes = async { slot.settle(proxy_core::upstream::Outcome::Served) };
    assert_eq!(tokio::join!(waits, finishes).0.0, 200);
    let draining = async {
        while shop.slot(&ticket()).await.err() != Some(Shed::Draining) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, draining).await.expect("the queue hears of it");
    order(&clusters, "replica=127.0.0.1:1&state=ready").await;
    let ready = async {
        while shop.slot(&ticket()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, ready).await.expect("and of its end");
    shop.stop();
}

#[tokio::test]
async fn checks_find_who_is_up_and_then_the_process_is_ready() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (up, down) = (listener.local_addr().unwrap().to_string(), "127.0.0.1:1");
    let context = context();
    let clusters = Clusters::new(&config(&[("shop", &[&up, down])]), &context).unwrap();
    let shop = clusters.find("shop").unwrap();
    clusters.start();
    assert_eq!(context.readiness.waiting_for().len(), 1);
    let serve = async {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            _ = stream.read(&mut request).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        }
    };
    let story = async {
        let healths =
            || shop.members().endpoints().iter().map(|endpoint| endpoint.health()).collect::<Vec<_>>();
        while healths() != [Health::Up, Health::Down] || !context.readiness.is_ready() {
            tokio::task::yield_now().await;
        }
        let slot = shop.slot(&ticket()).await.unwrap();
        assert_eq!(slot.endpoint().addr().to_string(), up);
        let told = context.status.tell();
        let replicas = told["clusters"]["shop"]["replicas"].as_array().unwrap().clone();
        let healths: Vec<&Value> = replicas.iter().map(|replica| &replica["health"]).collect();
        assert_eq!(healths, ["up", "down"]);
        assert_eq!((&replicas[0]["slots_used"], &told["clusters"]["shop"]["up"]), (&1.into(), &1.into()));
    };
    tokio::select! {
        () = serve => {}
        told = timeout(PATIENCE, story) => told.expect("in time"),
    }
    clusters.all().iter().for_each(|cluster| cluster.stop());
}

#[tokio::test]
async fn a_cookie_tells_no_address_and_leads_back() {
    let mut config = config(&[("shop", &["127.0.0.1:1", "127.0.0.1:2"])]);
    let cookie = |key: Option<&str>| config::Sticky {
        cookie: "replica".to_owned(),
        max_age: None,
        key: key.map(proxy_core::config::Secret::new),
    };
    let tag = |config: &Config| {
        let clusters = Clusters::new(config, &context()).unwrap();
        let shop = clusters.find("shop").unwrap();
        let slot = shop.try_slot(&ticket(), now()).unwrap();
        let (tag, addr) = (slot.tag(), slot.endpoint().addr().clone());
        drop(slot);
        let back = shop.try_slot(&ticket().towards(Affinity::Sticky(tag)), now()).unwrap();
        assert_eq!(back.endpoint().addr(), &addr);
        let other = ticket().towards(Affinity::Sticky(tag));
        assert!(shop.try_slot(&other, now()).is_none(), "it waits for its own, although another one is free");
        (addr, tag)
    };
    let tags = |config: &Config| std::iter::repeat_with(|| tag(config)).take(24).collect::<Vec<_>>();
    config.clusters[0].sticky = Some(cookie(Some("secret")));
    let known: std::collections::HashMap<_, _> = tags(&config).into_iter().collect();
    assert!(tags(&config).iter().all(|(addr, tag)| known.get(addr).is_none_or(|before| before == tag)));
    config.clusters[0].sticky = Some(cookie(None));
    let drawn = tags(&config);
    assert!(
        drawn.iter().all(|(addr, tag)| known.get(addr) != Some(tag)),
        "without a key it is drawn at the start"
    );
}

#[tokio::test]
async fn a_reload_keeps_who_stays_and_lets_the_others_finish() {
    let context = context();
    let clusters = Clusters::new(&config(&[("shop", &["127.0.0.1:1", "127.0.0.1:2"])]), &context).unwrap();
    let shop = clusters.find("shop").unwrap();
    let slots = [shop.try_slot(&ticket(), now()).unwrap(), shop.try_slot(&ticket(), now()).unwrap()];
    let before = shop.members().endpoints();
    clusters
        .reload(&config(&[("shop", &["127.0.0.1:2", "127.0.0.1:3"]), ("api", &["127.0.0.1:4"])]))
        .unwrap();
    assert!(Arc::ptr_eq(&shop, &clusters.find("shop").unwrap()) && clusters.find("api").is_some());
    assert!(shop.members().contains(&before[1]) && !shop.members().contains(&before[0]));
    let third = shop.try_slot(&ticket(), now()).unwrap();
    assert_eq!(third.endpoint().addr().to_string(), "127.0.0.1:3", "the slot of who stays is still in use");
    assert!(shop.try_slot(&ticket(), now()).is_none());
    drop(slots);
    assert_eq!(shop.try_slot(&ticket(), now()).unwrap().endpoint().addr().to_string(), "127.0.0.1:2");
}
