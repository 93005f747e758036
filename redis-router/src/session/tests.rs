//! Scenes of whole sessions: clients, a worker, and a Redis that comes, goes and says what it is told. Kind: driver.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::toy::{Client, HOLD, Stage, play};

const LOADING: &str = "-LOADING no Redis";

/// A shared connection that nobody uses lives for a minute; this is longer.
const LONG: Duration = Duration::from_secs(130);

/// What takes no time: everybody has been let to do what he can.
const SOON: Duration = Duration::from_millis(20);

#[test]
fn a_client_that_was_silent_for_long_is_served_as_before() {
    play(async |stage| {
        stage.crown().await;
        let (mut one, mut two) = (stage.client(), stage.client());
        one.asks("GET a", "+OK").await;
        sleep(LONG).await;
        one.asks("GET b", "+OK").await;
        two.asks("GET c", "+OK").await;
    });
}

#[test]
fn a_shared_connection_that_nobody_uses_is_closed() {
    play(async |stage| {
        stage.crown().await;
        let mut client = stage.client();
        client.asks("GET a", "+OK").await;
        drop(client);
        sleep(LONG).await;
        assert_eq!(stage.site.census(), (0, 0));
        stage.client().asks("GET b", "+OK").await;
    });
}

/// The client begins by `first` while there is no master, hears that it waited in vain, and nothing that it says then
/// is run.
#[track_caller]
fn check_refused(first: &'static str) {
    play(async |stage| {
        let mut client = stage.client();
        client.says(&[first]).await;
        client.says(&["SET a 1", "SET b 1", "EXEC"]).await;
        sleep(HOLD).await;
        client.hears(LOADING).await;
        client.is_cut().await;
        stage.crown().await;
        sleep(HOLD).await;
        assert!(stage.redis.heard().is_empty(), "{first}: {:?}", stage.redis.heard());
    });
}

#[test]
fn what_follows_a_transactions_refused_beginning_is_not_run_without_it() {
    check_refused("MULTI");
    check_refused("WATCH a");
}

#[test]
fn who_waits_for_room_hears_of_the_end_of_the_hold_too() {
    play(async |stage| {
        let mut clients: Vec<_> = (0..200).map(|_| stage.client()).collect();
        let set = format!("SET k {}", "v".repeat(40_000));
        for client in &mut clients {
            client.says(&[&set]).await;
        }
        assert!(stage.site.census().1 < 200 * 40_000, "some wait for room");
        let began = Instant::now();
        for client in &mut clients {
            client.hears(LOADING).await;
        }
        assert!(began.elapsed() < HOLD * 3, "{:?}", began.elapsed());
    });
}

#[test]
fn shared_connections_are_as_many_as_make_sense_and_no_more() {
    play(async |stage| {
        stage.crown().await;
        let mut client = stage.client();
        let mut databases = 1;
        loop {
            client.says(&[&format!("SELECT {databases}")]).await;
            if client.hears_either("+OK", "-ERR too many combinations").await {
                databases += 1;
            } else {
                break;
            }
        }
        assert_eq!((databases, stage.site.census().0), (256, 256));
        client.asks("GET a", "+OK").await;
        client.asks("SELECT 255", "+OK").await;
        sleep(LONG).await;
        client.asks("SELECT 256", "+OK").await;
    });
}

/// Each of these sizes is said while the Redis is slow to read, and answered in the end; `silent`: its client says no
/// more behind it.
#[track_caller]
fn check_large(sizes: impl Iterator<Item = usize>, silent: bool) {
    play(async |stage| {
        stage.crown().await;
        for size in sizes {
            let mut client = stage.client();
            let set = format!("SET k {}", "v".repeat(size));
            client.asks(&set, "+OK").await; // its connection to the Redis is there from now on
            stage.redis.listens.send_replace(false);
            client.says(&[&set]).await;
            if silent {
                client.falls_silent().await;
            }
            stage.redis.listens.send_replace(true);
            client.hears("+OK").await;
        }
    });
}

#[test]
fn the_end_of_a_large_request_arrives_also_when_its_server_is_slow() {
    check_large((64..640).step_by(8).map(|kib| kib << 10), false);
}

#[test]
fn a_large_request_is_answered_also_when_it_is_the_last() {
    check_large((64..640).step_by(8).map(|kib| kib << 10), true);
}

/// What writes and goes by a connection of its own is held by the barrier, too, costs the others nothing meanwhile, and
/// is answered when the barrier has fallen.
#[track_caller]
fn check_barred(line: &str) {
    play(async |stage| {
        stage.crown().await;
        let (mut writes, mut reads) = (stage.client(), stage.client());
        let raised = stage.site.common.barrier.raise();
        writes.says(&[line]).await;
        reads.asks("GET a", "+OK").await;
        assert_eq!(stage.redis.heard(), ["GET a"]);
        drop(raised);
        writes.hears("+OK").await;
    });
}

#[test]
fn the_barrier_holds_a_blocking_call() {
    check_barred("BLPOP q 0");
}

#[test]
fn the_barrier_holds_a_large_request() {
    check_barred(&format!("SET k {}", "v".repeat(100_000)));
}

/// A client says these lines `times` over before it hears anything of what is answered.
#[track_caller]
fn check_says_all_first(lines: &[&str], times: usize) {
    play(async |stage| {
        stage.crown().await;
        let reply = format!("${}\r\n{}\r\n", 100_000, "v".repeat(100_000)).leak();
        stage.redis.says.set(Some(reply));
        let mut client = stage.client();
        for _ in 0..times {
            client.says(lines).await;
        }
        client.hears_bytes(times * lines.len() * reply.len()).await;
    });
}

#[test]
fn a_client_may_say_all_before_it_hears_anything() {
    let line = format!("SET k {}", "v".repeat(20_000));
    check_says_all_first(&[&line], 1000); // by the shared connection, and then by one of its own: 100 MB of replies
    let large = format!("SET k {}", "v".repeat(200_000));
    check_says_all_first(&[&large, "GET k"], 400);
}

#[test]
fn answers_of_our_own_wait_for_the_end_of_a_large_reply() {
    for (line, expected) in [("DEBUG SLEEP 0", "-NOPERM"), ("CLIENT GETNAME", "$-1"), ("GET", "$9000000")] {
        play(async |stage| {
            stage.crown().await;
            let mut client = stage.client();
            let reply = format!("$9000000\r\n{}\r\n", "v".repeat(9_000_000)).leak();
            stage.redis.says.set(Some(reply));
            for _ in 0..2 {
                client.says(&["GET k"]).await; // the second time on a connection of its own
                client.says(&[line]).await;
                client.hears_bytes(reply.len()).await;
                client.hears(expected).await;
                client.hears_the_rest().await;
            }
        });
    }
}

#[test]
fn what_can_not_be_read_is_not_answered_inside_a_large_reply() {
    for nonsense in ["GET \"abc\r\n", "*x\r\n"] {
        play(async |stage| {
            stage.crown().await;
            let mut client = stage.client();
            let reply = format!("$9000000\r\n{}\r\n", "v".repeat(9_000_000)).leak();
            stage.redis.says.set(Some(reply));
            client.asks("GET k", "$9000000").await;
            client.hears_the_rest().await;
            client.says(&["GET k"]).await; // on a connection of its own
            client.blurts(nonsense).await;
            let heard = client.hears_to_the_end().await;
            assert!(reply.as_bytes().starts_with(&heard), "{nonsense:?}: something else is in it");
        });
    }
}

#[test]
fn who_is_slow_to_read_one_large_reply_is_not_cut() {
    play(async |stage| {
        stage.crown().await;
        let replies = [100_000, 80_000_000].map(|len| &*format!("${len}\r\n{}\r\n", "v".repeat(len)).leak());
        let mut client = stage.client();
        for reply in replies {
            stage.redis.says.set(Some(reply)); // behind a large one it has a connection of its own
            client.says(&["GET k"]).await;
            client.says(&["PING"]).await;
            sleep(LONG).await;
            client.hears_bytes(2 * reply.len()).await;
        }
    });
}

/// A client with a connection of its own, and a question there that is answered by `reply`.
async fn blocked(stage: &Stage, reply: &'static str) -> Client {
    stage.crown().await;
    let mut client = stage.client();
    stage.redis.says.set(Some(reply));
    client.says(&["BLPOP q 0"]).await;
    client
}

/// The first client of the stage, which waits, is gone at once when another kills it.
async fn check_killed(stage: &Stage, waits: Client) {
    let mut waits = waits;
    sleep(HOLD / 2).await;
    let began = Instant::now();
    stage.client().asks("CLIENT KILL ID 1", ":1").await;
    waits.is_cut().await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn a_client_that_waits_without_a_master_can_be_killed() {
    // For a connection of its own; for a shared one's answer; for whether the database exists.
    let waits: [&[&str]; 3] = [&["BLPOP q 0"], &["GET a", "CLIENT ID"], &["SELECT 3"]];
    for lines in waits {
        play(async |stage| {
            let mut client = stage.client();
            client.says(lines).await;
            check_killed(&stage, client).await;
        });
    }
}

#[test]
fn a_client_whose_own_connection_is_lost_can_be_killed() {
    play(async |stage| {
        let client = blocked(&stage, "").await;
        stage.dethrone().await;
        check_killed(&stage, client).await;
    });
}

#[test]
fn a_client_that_is_turned_away_again_and_again_can_be_killed() {
    play(async |stage| {
        let client = blocked(&stage, "-LOADING Redis is loading the dataset in memory\r\n").await;
        check_killed(&stage, client).await;
    });
}

#[test]
fn to_be_unblocked_is_remembered_while_the_own_connection_is_lost() {
    play(async |stage| {
        let _client = blocked(&stage, "").await;
        stage.dethrone().await;
        stage.client().asks("CLIENT UNBLOCK 1", ":1").await;
        stage.crown().await;
        sleep(HOLD / 2).await;
        let unblocked = stage.redis.heard().into_iter().find(|line| line.starts_with("CLIENT UNBLOCK"));
        assert_eq!(unblocked.as_deref(), Some("CLIENT UNBLOCK 7 TIMEOUT"));
    });
}
