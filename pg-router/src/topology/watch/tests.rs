//! The watcher against servers that speak the protocol and lie as told. Kind: driver.

use std::time::Instant as Clock;

use proxy_core::drain::Drain;
use proxy_core::net::{self, SocketOptions};
use proxy_core::upstream::State;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::topology::Greeted;
use crate::wire::backend::{AUTHENTICATION_OK, Status, put_command_complete, put_ready_for_query};
use crate::wire::row::put_data_row;

const LIMIT: Duration = Duration::from_secs(20);

/// A server that lets everybody in and answers each question as its facts say; none end the connection.
async fn serve(mut stream: TcpStream, facts: watch::Receiver<Option<Facts>>) -> std::io::Result<()> {
    let startup = stream.read_u32().await?;
    stream.read_exact(&mut vec![0; startup as usize - 4]).await?;
    let mut out = AUTHENTICATION_OK.to_vec();
    put_ready_for_query(&mut out, Status::Idle);
    let mut changes = facts.clone();
    loop {
        stream.write_all(&std::mem::take(&mut out)).await?;
        tokio::select! {
            question = question(&mut stream) => answer(&mut out, &question?, *facts.borrow()),
            _ = changes.wait_for(Option::is_none) => return Ok(()),
        }
    }
}

async fn question(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.read_u8().await?;
    let mut body = vec![0; stream.read_u32().await? as usize - 4];
    stream.read_exact(&mut body).await?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

#[derive(Clone, Copy)]
struct Facts {
    in_recovery: bool,
    timeline: u32,
}

fn answer(out: &mut Vec<u8>, question: &str, facts: Option<Facts>) {
    let Some(Facts { in_recovery, timeline }) = facts else { return };
    let flag = Some(if in_recovery { "t" } else { "f" });
    if question.contains("pg_control_system") {
        let (file, number) = (format!("{timeline:08X}0000000000000001"), timeline.to_string());
        let file = (!in_recovery).then_some(file.as_str());
        let (status, received) = (in_recovery.then_some("streaming"), in_recovery.then_some(number.as_str()));
        let off = Some("off");
        let row = [
            flag,
            off,
            Some("7"),
            file,
            Some("1"),
            None,
            None,
            Some("1"),
            status,
            received,
            None,
            None,
            None,
        ];
        put_data_row(out, &row);
    } else {
        put_data_row(out, &[flag]);
    }
    put_command_complete(out, "SELECT 1");
    put_ready_for_query(out, Status::Idle);
}

async fn node(facts: Facts) -> (Addr, watch::Sender<Option<Facts>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = Addr::from(listener.local_addr().unwrap());
    let (sender, receiver) = watch::channel(Some(facts));
    tasks::spawn("fake server", async move {
        while receiver.borrow().is_some() {
            let (stream, _) = listener.accept().await.unwrap();
            if receiver.borrow().is_some() {
                tasks::spawn("fake session", serve(stream, receiver.clone()));
            }
        }
    });
    (addr, sender)
}

fn watcher(nodes: Vec<Addr>, dir: &std::path::Path) -> (Watcher, Arc<Publisher>) {
    let registry = Registry::new("pg-router", "test");
    let replicas = Arc::new(Cluster::new("replicas", []));
    let state = State::open(dir, &registry).unwrap();
    let publisher = Arc::new(Publisher::new(state, Arc::clone(&replicas), &registry, Clock::now()));
    let dial: Dial =
        Arc::new(|addr| Box::pin(async move { net::connect(&addr, &SocketOptions::default(), LIMIT).await }));
    let account = Account { user: "m".into(), database: "m".into(), credential: None };
    let pace = Pace::new(Duration::from_secs(10), Duration::from_millis(5));
    let limits = Limits { expiry: Duration::from_secs(30), ..Limits::default() };
    let greeted = Greeted::default();
    let settings = Settings { nodes, account, dial, pace, limits, greeted };
    (Watcher::new(settings, Arc::clone(&publisher), replicas, &registry), publisher)
}

/// Waits until this node is published as the primary, or nobody is.
async fn published(publisher: &Publisher, expected: Option<&Addr>) -> Arc<Topology> {
    let mut topologies = publisher.subscribe();
    let found = topologies.wait_for(|topology| topology.primary.as_ref().map(|p| p.addr()) == expected);
    let found = tokio::time::timeout(LIMIT, found).await.expect("published in time");
    Arc::clone(&found.unwrap())
}

#[tokio::test]
async fn a_failover_is_followed_by_what_the_connections_tell_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (first, first_facts) = node(Facts { in_recovery: false, timeline: 1 }).await;
    let (second, second_facts) = node(Facts { in_recovery: true, timeline: 1 }).await;
    let (watcher, publisher) = watcher(vec![first.clone(), second.clone()], dir.path());
    let (handle, drain) = (watcher.handle(), Drain::new());
    tasks::spawn("watcher", watcher.run(drain.watch()));

    let topology = published(&publisher, Some(&first)).await;
    assert_eq!((topology.epoch, topology.lineage.as_str()), (1, "7"));

    // The beat is ten seconds: nothing but the end of the connection can tell.
    first_facts.send_replace(None);
    published(&publisher, None).await;

    second_facts.send_replace(Some(Facts { in_recovery: false, timeline: 2 }));
    assert_eq!(published(&publisher, Some(&second)).await.epoch, 2);
    handle.evidence(&second, Evidence::Closed);
    let status = handle.status();
    assert_eq!(status["primary"]["timeline"], 2);
    assert_eq!(status["switches"][0]["to"], second.to_string());
    drain.terminate();
}
