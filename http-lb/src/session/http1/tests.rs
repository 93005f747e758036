//! Conversations with the codec and the engine, as texts. Kind: driver.

use std::cell::Cell;
use std::time::Duration;

use crate::config::{Config, Route, Upstream};
use crate::session::toy::{Script, Shop, with};

const OK: &str = "HTTP/1.1 200 OK\ncontent-length: 2\n\nhi";

fn hi(_: &str) -> (Vec<String>, bool) {
    (vec![OK.to_owned()], false)
}

fn as_it_is(_: &mut Config) {}

/// One client says something to a balancer whose replica answers by `script`, and hears what is expected.
#[track_caller]
fn check(script: Script, says: &str, hears: &str) {
    let heard = with(script, as_it_is, async |shop: Shop| shop.hears(says).await);
    assert_eq!(heard, hears);
}

/// As [`check`], for what matters of an answer alone: how it begins, and whether the connection ends.
#[track_caller]
fn check_start(script: Script, adapt: fn(&mut Config), says: &str, start: &str, ends: bool) {
    let heard = with(script, adapt, async |shop: Shop| shop.hears(says).await);
    assert!(heard.starts_with(start) && heard.ends_with('|') == ends, "{heard}");
}

#[test]
fn a_connection_carries_one_request_after_the_other() {
    let get = "GET / HTTP/1.1\nhost: a\n\n";
    let answer = "HTTP/1.1 200 OK\ncontent-length: 2\n\nhi";
    check(hi, get, answer);
    check(hi, &get.repeat(3), &answer.repeat(3));
}

#[test]
fn who_wants_it_closed_has_it_closed() {
    let answer = "HTTP/1.1 200 OK\ncontent-length: 2\nconnection: close\n\nhi|";
    check(hi, "GET / HTTP/1.1\nhost: a\nconnection: close\n\n", answer);
    check(hi, "GET / HTTP/1.0\nhost: a\n\n", answer);
    let kept = "HTTP/1.1 200 OK\ncontent-length: 2\nconnection: keep-alive\n\nhi";
    check(hi, "GET / HTTP/1.0\nhost: a\nconnection: keep-alive\n\n", kept);
}

#[test]
fn what_is_not_http_is_refused_and_never_repeated_to_its_sender() {
    let says = "GET /<script>x</script> HTTP/1.1\nhost: a\nhost: b\n\n";
    let heard = with(hi, as_it_is, async |shop: Shop| shop.hears(says).await);
    assert!(heard.starts_with("HTTP/1.1 400 Bad Request\n") && heard.ends_with('|'), "{heard}");
    assert!(!heard.contains("script"), "{heard}");
    check_start(hi, as_it_is, "\u{1}\u{2}", "HTTP/1.1 400 ", true);
    let long = format!("GET /{} HTTP/1.1\nhost: a\n\n", "x".repeat(9000));
    check_start(hi, as_it_is, &long, "HTTP/1.1 414 ", true);
    let many = format!("GET / HTTP/1.1\nhost: a\n{}\n", "a: b\n".repeat(200));
    check_start(hi, as_it_is, &many, "HTTP/1.1 431 ", true);
}

#[test]
fn a_head_has_a_deadline_and_an_idle_connection_another() {
    let heard = with(hi, as_it_is, async |shop: Shop| {
        let (mut slow, mut idle) = (shop.client(), shop.client());
        slow.says_exactly("GET / HT").await;
        tokio::time::sleep(Duration::from_secs(9)).await;
        slow.says_exactly("TP/1.1\r\n").await;
        let early = slow.hears().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let late = slow.hears().await;
        tokio::time::sleep(Duration::from_secs(70)).await;
        (early, late, idle.hears().await)
    });
    assert_eq!((heard.0.as_str(), heard.2.as_str()), ("", "|"));
    assert!(heard.1.starts_with("HTTP/1.1 408 ") && heard.1.ends_with('|'), "{}", heard.1);
}

#[test]
fn who_hesitates_is_invited_by_us() {
    let heard = with(hi, as_it_is, async |shop: Shop| {
        let mut client = shop.client();
        client.says("POST / HTTP/1.1\nhost: a\nexpect: 100-continue\ncontent-length: 3\n\n").await;
        let invited = client.hears().await;
        assert!(shop.asked.borrow().is_empty(), "the replica is not bothered before the body is there");
        client.says("a=1").await;
        let answer = client.hears().await;
        assert!(!shop.asked.borrow()[0].contains("expect"));
        (invited, answer)
    });
    assert_eq!(heard.0, "HTTP/1.1 100 Continue\n\n");
    assert_eq!(heard.1, "HTTP/1.1 200 OK\ncontent-length: 2\n\nhi");
}

#[test]
fn a_body_in_chunks_reaches_the_replica_with_its_length() {
    with(hi, as_it_is, async |shop: Shop| {
        let chunks = "POST / HTTP/1.1\nhost: a\ntransfer-encoding: chunked\n\n2\na=\n1\n1\n0\n\n";
        assert!(shop.hears(chunks).await.starts_with("HTTP/1.1 200"));
        let asked = shop.asked.borrow();
        assert!(asked[0].contains("content-length: 3\n") && asked[0].ends_with("\n\na=1"), "{}", asked[0]);
        assert!(!asked[0].contains("chunked"));
    });
}

#[test]
fn a_body_that_is_too_large_or_too_slow_or_broken_is_told_so() {
    let small = |config: &mut Config| config.limits.body = proxy_core::config::Size::new(10);
    let large = format!("POST / HTTP/1.1\nhost: a\ncontent-length: 11\n\n{}", "x".repeat(11));
    check_start(hi, small, &large, "HTTP/1.1 413 ", false);
    let chunks = "POST / HTTP/1.1\nhost: a\ntransfer-encoding: chunked\n\n6\nabcdef\n6\nabcdef\n";
    check_start(hi, small, chunks, "HTTP/1.1 413 ", true);
    // Neither is the data waited for, nor is the sum of all chunks.
    let announced = "POST / HTTP/1.1\nhost: a\ntransfer-encoding: chunked\n\nb\n";
    check_start(hi, small, announced, "HTTP/1.1 413 ", true);
    let summed = "POST / HTTP/1.1\nhost: a\ntransfer-encoding: chunked\n\n6\nabcdef\n5\n";
    check_start(hi, small, summed, "HTTP/1.1 413 ", true);
    let broken = "POST / HTTP/1.1\nhost: a\ntransfer-encoding: chunked\n\nxyz\n";
    check_start(hi, as_it_is, broken, "HTTP/1.1 400 ", true);
    let heard = with(hi, as_it_is, async |shop: Shop| {
        let mut client = shop.client();
        client.says("POST / HTTP/1.1\nhost: a\ncontent-length: 100\n\n").await;
        for _ in 0..12 {
            client.says("x").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        client.hears().await
    });
    assert!(heard.starts_with("HTTP/1.1 408 "), "{heard}");
}

#[test]
fn an_answer_to_head_has_no_body() {
    let script: Script = |_| (vec!["HTTP/1.1 200 OK\ncontent-length: 2\n\n".to_owned()], false);
    check(
        script,
        &"HEAD / HTTP/1.1\nhost: a\n\n".repeat(2),
        &"HTTP/1.1 200 OK\ncontent-length: 2\n\n".repeat(2),
    );
}

#[test]
fn an_answer_whose_length_nobody_told_has_one_when_it_is_small() {
    let close: Script = |_| (vec!["HTTP/1.1 200 OK\n\nhel".to_owned(), "lo".to_owned()], true);
    check(close, "GET / HTTP/1.1\nhost: a\n\n", "HTTP/1.1 200 OK\ncontent-length: 5\n\nhello");
    let chunks: Script = |_| {
        (vec!["HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n2\nhe\n".into(), "3\nllo\n0\n\n".into()], false)
    };
    check(chunks, "GET / HTTP/1.1\nhost: a\n\n", "HTTP/1.1 200 OK\ncontent-length: 5\n\nhello");
}

#[test]
fn events_reach_the_client_as_they_come() {
    let script: Script = |_| {
        let head = "HTTP/1.1 200 OK\ncontent-type: text/event-stream\n\n";
        (vec![head.to_owned(), "data: 1\n\n".to_owned(), "data: 2\n\n".to_owned()], true)
    };
    let head = "HTTP/1.1 200 OK\ncontent-type: text/event-stream\ntransfer-encoding: chunked\n\n";
    let events = format!("{head}b\ndata: 1\n\n\nb\ndata: 2\n\n\n0\n\n");
    check(script, "GET / HTTP/1.1\nhost: a\n\n", &events);
}

#[test]
fn hints_go_before_the_answer() {
    let script: Script =
        |_| (vec!["HTTP/1.1 103 Early Hints\nlink: </a.css>\n\n".to_owned(), OK.to_owned()], false);
    let hinted = "HTTP/1.1 103 Early Hints\nlink: </a.css>\n\nHTTP/1.1 200 OK\ncontent-length: 2\n\nhi";
    check(script, "GET / HTTP/1.1\nhost: a\n\n", hinted);
}

#[test]
fn a_large_answer_frees_the_replica_before_the_client_has_it() {
    let script: Script =
        |_| (vec![format!("HTTP/1.1 200 OK\ncontent-length: 3000000\n\n{}", "x".repeat(3_000_000))], false);
    let heard = with(script, as_it_is, async |shop: Shop| {
        let (mut slow, mut next) = (shop.client(), shop.client());
        slow.says("GET / HTTP/1.1\nhost: a\n\n").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        next.says("GET /next HTTP/1.1\nhost: a\n\n").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(*shop.calls.borrow(), 1, "the connection was free for the next one");
        (slow.hears().await.len(), next.hears().await.len())
    });
    assert!(heard.0 > 3_000_000 && heard.1 > 3_000_000, "{heard:?}");
}

#[test]
fn connections_to_replicas_are_used_again() {
    with(hi, as_it_is, async |shop: Shop| {
        for _ in 0..3 {
            shop.hears("GET / HTTP/1.1\nhost: a\n\n").await;
        }
        assert_eq!((*shop.calls.borrow(), shop.asked.borrow().len()), (1, 3));
    });
}

#[test]
fn what_may_have_been_done_is_not_done_again() {
    let hang_up: Script = |_| (Vec::new(), true);
    for (method, asked) in [("GET", 3), ("POST", 1)] {
        with(hang_up, as_it_is, async |shop: Shop| {
            let mut client = shop.client();
            client.says(&format!("{method} / HTTP/1.1\nhost: a\n\n")).await;
            tokio::time::sleep(Duration::from_secs(16)).await;
            let heard = client.hears().await;
            assert!(heard.starts_with("HTTP/1.1 502 "), "{heard}");
            assert!(shop.asked.borrow().len() <= asked && !shop.asked.borrow().is_empty(), "{method}");
        });
    }
}

#[test]
fn an_answer_that_cannot_be_trusted_is_a_bad_gateway() {
    let both: Script =
        |_| (vec!["HTTP/1.1 200 OK\ncontent-length: 2\ntransfer-encoding: chunked\n\nhi".to_owned()], false);
    check_start(both, as_it_is, "POST / HTTP/1.1\nhost: a\n\n", "HTTP/1.1 502 ", false);
    let more: Script = |_| (vec![format!("{OK}HTTP/1.1 200 OK\ncontent-length: 4\n\nevil")], false);
    with(more, as_it_is, async |shop: Shop| {
        let twice = shop.hears(&"GET / HTTP/1.1\nhost: a\n\n".repeat(2)).await;
        assert!(!twice.contains("evil") && twice.matches("200 OK").count() == 2, "{twice}");
        assert_eq!(*shop.calls.borrow(), 2, "a connection with more on it is not used again");
    });
}

#[test]
fn nothing_is_read_behind_a_broken_body() {
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    // The bare LF behind the 5 is wrong. Whoever read these chunks once more would find a body, and a request behind it.
    let body = "1\r\na\r\n5\nxyz\r\n0\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let heard = with(hi, as_it_is, async |shop: Shop| {
        let mut client = shop.client();
        client.says_exactly(&format!("{head}{body}")).await;
        client.hears().await
    });
    assert!(heard.starts_with("HTTP/1.1 400 ") && heard.ends_with('|'), "{heard}");
    assert!(heard.contains("connection: close\n") && heard.matches("HTTP/1.1 ").count() == 1, "{heard}");
}

/// Bodies go to the replica as they come.
fn streaming(config: &mut Config) {
    let cluster = Some(config.clusters[0].name.clone());
    config.routes = vec![Route { cluster, stream_request: true, ..Route::default() }];
}

#[test]
fn a_replica_that_answers_before_it_has_heard_all_is_heard_at_once_and_not_used_again() {
    with(hi, streaming, async |shop: Shop| {
        let mut hesitant = shop.client();
        hesitant.says("POST /hasty HTTP/1.1\nhost: a\ncontent-length: 50\n\nhalf").await;
        let heard = hesitant.hears().await;
        assert_eq!(heard, "HTTP/1.1 200 OK\ncontent-length: 2\nconnection: close\n\nhi|");
        // On the same connection this would be the rest of the body.
        let next = shop.hears("GET /next HTTP/1.1\nhost: a\n\n").await;
        assert_eq!(next, OK.to_owned());
        assert!(shop.asked.borrow()[1].starts_with("GET /next "), "{:?}", shop.asked.borrow());
        assert_eq!(*shop.calls.borrow(), 2);
    });
}

/// A second replica, at the same port of another address.
fn two_replicas(config: &mut Config) {
    let upstreams = &mut config.clusters[0].upstreams;
    let address = upstreams[0].address.to_string().replace("127.0.0.1", "127.0.0.2").parse().unwrap();
    upstreams.push(Upstream { address, weight: 1, slots: None });
}

#[test]
fn nothing_of_a_head_that_broke_off_is_left_in_the_next_one() {
    thread_local!(static ASKED: Cell<u32> = const { Cell::new(0) });
    let script: Script = |_| match ASKED.replace(ASKED.get() + 1) {
        0 => (vec!["HTTP/1.1 404 Not Found\nx-secret: one".to_owned()], true),
        _ => (vec![OK.to_owned()], false),
    };
    let heard =
        with(script, two_replicas, async |shop: Shop| shop.hears("GET / HTTP/1.1\nhost: a\n\n").await);
    assert_eq!((heard.as_str(), ASKED.get()), (OK, 2));
}

#[test]
fn a_replica_that_informs_without_end_is_a_bad_gateway() {
    let script: Script = |_| (vec!["HTTP/1.1 103 Early Hints\nlink: </a.css>\n\n".repeat(100)], false);
    let heard = with(script, as_it_is, async |shop: Shop| shop.hears("POST / HTTP/1.1\nhost: a\n\n").await);
    assert!(heard.contains("HTTP/1.1 502 ") && heard.matches("HTTP/1.1 103 ").count() < 50, "{heard}");
}

#[test]
fn a_replica_that_says_nothing_is_given_up() {
    let silent: Script = |_| (Vec::new(), false);
    let heard = with(silent, as_it_is, async |shop: Shop| {
        let mut client = shop.client();
        client.says("GET / HTTP/1.1\nhost: a\n\n").await;
        tokio::time::sleep(Duration::from_secs(61)).await;
        client.hears().await
    });
    assert!(heard.starts_with("HTTP/1.1 504 "), "{heard}");
}

/// On a fresh connection and on a kept one, where a replica has 30 s.
#[track_caller]
fn check_unhurried(path: &str, seconds: u64) {
    let short = |config: &mut Config| config.timeouts.response = Duration::from_secs(30);
    let body = "x".repeat(24 << 20); // more than sockets hold
    let post = format!("POST {path} HTTP/1.1\nhost: a\ncontent-length: {}\n\n{body}", body.len());
    for before in ["", "GET / HTTP/1.1\nhost: a\n\n"] {
        let (heard, calls) = with(hi, short, async |shop: Shop| {
            let mut client = shop.client();
            client.says(before).await;
            client.hears().await;
            client.says(&post).await;
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            (client.hears().await, *shop.calls.borrow())
        });
        assert_eq!((heard.as_str(), calls), (OK, 1), "after {before:?}");
    }
}

#[test]
fn a_replica_has_its_time_from_the_end_of_the_request() {
    check_unhurried("/dawdling/slow", 41); // 20 s until it reads the body, and 20 s until it answers
}

#[test]
fn a_replica_that_takes_a_long_request_slowly_is_not_given_up() {
    check_unhurried("/dawdling/often", 81); // 20 s for each 8 MiB
}

#[test]
fn an_answer_that_breaks_off_in_the_middle_is_seen_to() {
    let script: Script =
        |_| (vec![format!("HTTP/1.1 200 OK\ncontent-length: 200000\n\n{}", "x".repeat(100_000))], true);
    let heard = with(script, as_it_is, async |shop: Shop| shop.hears("GET / HTTP/1.1\nhost: a\n\n").await);
    assert!(heard.starts_with("HTTP/1.1 200 ") && heard.ends_with('|') && heard.len() < 150_000);
}

/// Whether the only replica, whose first client left at once, is with the next one already after so many seconds.
#[track_caller]
fn check_next(script: Script, first: &str, seconds: u64, expected: bool) {
    let one_slot = |config: &mut Config| {
        config.clusters[0].slots = 1;
        config.clusters[0].queue.timeout = Duration::from_secs(600);
    };
    with(script, one_slot, async |shop: Shop| {
        let (mut leaving, mut next) = (shop.client(), shop.client());
        leaving.says(&format!("GET {first} HTTP/1.1\nhost: a\n\n")).await;
        let _ = tokio::time::timeout(Duration::from_secs(1), leaving.hears()).await;
        next.says("GET /next HTTP/1.1\nhost: a\n\n").await;
        drop(leaving);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        assert_eq!(shop.asked.borrow().len() > 1, expected, "{first}, after {seconds} s");
    });
}

#[test]
fn a_replica_that_works_for_nobody_is_not_free_before_it_has_ended() {
    check_next(hi, "/slow", 19, false);
    check_next(hi, "/slow", 21, true);
    check_next(hi, "/slow/er", 59, false);
    check_next(hi, "/slow/er", 61, true);
    check_next(hi, "/attentive", 1, true);
}

#[test]
fn a_stream_that_nobody_listens_to_is_cut() {
    let endless: Script = |request| match request.contains("/next") {
        true => (vec![OK.to_owned()], false),
        false => {
            let head = "HTTP/1.1 200 OK\ncontent-type: text/event-stream\n\n".to_owned();
            (std::iter::once(head).chain(vec![": \n\n".to_owned(); 30_000]).collect(), true)
        }
    };
    check_next(endless, "/events", 4, false);
    check_next(endless, "/events", 6, true);
}

#[test]
fn draining_says_so_with_the_last_answer_and_closes_the_idle() {
    let slow: Script = |_| (vec![OK[..20].to_owned(), OK[20..].to_owned()], false);
    with(slow, as_it_is, async |shop: Shop| {
        let (mut busy, mut idle) = (shop.client(), shop.client());
        busy.says("GET / HTTP/1.1\nhost: a\n\n").await;
        tokio::task::yield_now().await;
        shop.drain.begin();
        let last = busy.hears().await;
        assert!(last.contains("connection: close\n") && last.ends_with("hi|"), "{last}");
        assert_eq!(idle.hears().await, "|");
    });
}

#[test]
fn after_101_both_sides_talk_freely() {
    let script: Script = |request| match request.contains("upgrade: toy") {
        true => (
            vec!["HTTP/1.1 101 Switching Protocols\nconnection: upgrade\nupgrade: toy\n\nhello".to_owned()],
            false,
        ),
        false => (vec![OK.to_owned()], false),
    };
    let heard = with(script, as_it_is, async |shop: Shop| {
        shop.hears("GET / HTTP/1.1\nhost: a\nconnection: upgrade\nupgrade: toy\n\n").await
    });
    assert!(heard.starts_with("HTTP/1.1 101 Switching Protocols\n"), "{heard}");
    assert!(heard.contains("upgrade: toy\n") && heard.ends_with("hello"), "{heard}");
    let heard = with(script, as_it_is, async |shop: Shop| {
        let mut client = shop.client();
        client.says("GET / HTTP/1.1\nhost: a\nconnection: upgrade\nupgrade: toy\n\n").await;
        client.hears().await;
        tokio::time::sleep(Duration::from_secs(3590)).await;
        let before = client.hears().await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        (before, client.hears().await)
    });
    assert_eq!((heard.0.as_str(), heard.1.as_str()), ("", "|"), "it ends after an hour of silence");
}

#[test]
fn an_idle_session_is_small() {
    let size = with(hi, as_it_is, async |shop: Shop| {
        let session = shop.session();
        size_of_val(&*session) + size_of_val(&session.serve())
    });
    assert!(size <= 768, "{size} bytes");
}

#[test]
fn the_future_of_a_request_is_of_a_size_that_is_quickly_moved() {
    let size = with(hi, as_it_is, async |shop: Shop| {
        let mut session = shop.session();
        let house = session.desk().house();
        size_of_val(&session.answer(house))
    });
    assert!(size <= 3072, "{size} bytes");
}
