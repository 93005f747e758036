//! Who is owed what, reply by reply. Kind: pure.

use super::*;

const UNKNOWN: &[u8] = b"-UNKNOWN\r\n";

fn unknown(_: u32) -> Box<[u8]> {
    UNKNOWN.into()
}

/// A ledger with one entry per word; words in capitals are writes.
fn ledger(words: &[&str]) -> Ledger<usize> {
    let mut ledger = Ledger::default();
    for (i, word) in words.iter().enumerate() {
        let write = word.chars().all(char::is_uppercase);
        let nature = if write { Nature::Write } else { Nature::Read };
        ledger.enter(Entry::new(i, nature, 1, 0, i as u64), word.as_bytes());
    }
    ledger
}

fn answered(ledger: &mut Ledger<usize>) -> Vec<(usize, String)> {
    let texts = std::iter::from_fn(|| ledger.take_answered());
    texts.map(|(entry, text)| (entry.payee, String::from_utf8_lossy(&text).into_owned())).collect()
}

/// Loses the connection after `sent` bytes; what is sent next, and who was answered once all that was replied.
#[track_caller]
fn check_lost(words: &[&str], sent: usize, again: &str, losses: (u64, u64)) -> Ledger<usize> {
    let mut ledger = ledger(words);
    ledger.sent(sent);
    let lost = ledger.lost(unknown, unknown);
    assert_eq!((lost.replayed, lost.unknown), losses);
    assert_eq!(String::from_utf8_lossy(ledger.unsent()), again);
    ledger
}

#[test]
fn replies_go_to_whom_they_belong_in_order() {
    let mut ledger = ledger(&["get", "SET", "get"]);
    assert!(ledger.front().is_none(), "nothing was sent: a reply now is nobody's");
    ledger.sent(6);
    for payee in [0, 1] {
        assert_eq!(ledger.front().unwrap().payee, payee);
        assert!(ledger.frame());
        assert_eq!(ledger.settle(|entry, _| entry).unwrap().payee, payee);
    }
    assert!(ledger.front().is_none());
    assert_eq!((ledger.unsent(), ledger.len()), (&b"get"[..], 1));
}

#[test]
fn a_transaction_is_settled_by_its_last_reply() {
    let mut ledger = Ledger::default();
    ledger.enter(Entry::new(7, Nature::Write, 3, 0, 0), b"MULTI SET EXEC");
    ledger.sent(14);
    assert_eq!([ledger.frame(), ledger.frame(), ledger.frame()], [false, false, true]);
    assert_eq!(ledger.settle(|entry, _| entry).unwrap().payee, 7);
}

#[test]
fn what_was_never_sent_is_sent_on_the_next_connection() {
    check_lost(&["SET", "get", "DEL"], 0, "SETgetDEL", (0, 0));
}

#[test]
fn half_a_request_did_not_run() {
    check_lost(&["SET"], 2, "SET", (1, 0));
}

#[test]
fn a_read_is_repeated_and_a_write_is_answered_as_unknown_in_its_place() {
    let mut ledger = check_lost(&["get", "SET", "DEL"], 6, "getDEL", (1, 1));
    assert!(answered(&mut ledger).is_empty(), "the read before it has no answer yet");
    ledger.sent(3);
    assert!(ledger.frame() && ledger.settle(|_, _| ()).is_some());
    assert_eq!(answered(&mut ledger), [(1, String::from_utf8_lossy(UNKNOWN).into_owned())]);
    assert_eq!(ledger.unsent(), b"DEL");
}

#[test]
fn half_a_transactions_replies_are_all_owed_again_if_it_is_repeated() {
    let mut ledger = Ledger::default();
    ledger.enter(Entry::new(7, Nature::Read, 3, 0, 0), b"multi get exec");
    ledger.sent(14);
    ledger.frame();
    ledger.lost(unknown, unknown);
    ledger.sent(14);
    assert_eq!([ledger.frame(), ledger.frame(), ledger.frame()], [false, false, true]);
}

#[test]
fn what_was_rejected_is_sent_again_and_what_ran_behind_it_keeps_its_answer() {
    let mut ledger = ledger(&["SET", "get", "DEL", "PUT"]);
    ledger.sent(9);
    ledger.judge(b"-READONLY", true);
    assert!(ledger.is_judging());
    assert_eq!(ledger.next_to_judge(), Some((0, 1)));
    ledger.judge(b"$1 x", false);
    ledger.judge(b"+OK", false);
    assert_eq!(ledger.next_to_judge(), None, "the last one was not sent");
    assert_eq!(ledger.lost(unknown, unknown), Losses { replayed: 2, unknown: 0 });
    assert_eq!(ledger.unsent(), b"SETgetPUT");
    ledger.sent(9);
    for _ in 0..2 {
        assert!(answered(&mut ledger).is_empty());
        assert!(ledger.frame() && ledger.settle(|_, _| ()).is_some());
    }
    assert_eq!(answered(&mut ledger), [(2, "+OK".to_owned())]);
}

#[test]
fn what_waited_too_long_is_answered_and_the_rest_stays() {
    let mut ledger = ledger(&["SET", "get", "DEL"]);
    assert_eq!(ledger.oldest(), Some(0));
    assert_eq!(ledger.expire(2, |_| b"-LOADING"[..].into()), 2);
    assert_eq!(answered(&mut ledger).len(), 2);
    assert_eq!((ledger.unsent(), ledger.oldest()), (&b"DEL"[..], Some(2)));
}

#[test]
fn an_answer_that_is_known_waits_for_its_turn() {
    let mut ledger = ledger(&["get"]);
    ledger.enter_answered(Entry::new(9, Nature::Read, 1, 0, 0), b"-LOADING"[..].into());
    assert!(answered(&mut ledger).is_empty());
    ledger.sent(3);
    assert!(ledger.frame() && ledger.settle(|_, _| ()).is_some());
    assert_eq!(answered(&mut ledger), [(9, "-LOADING".to_owned())]);
}

#[test]
fn a_buffer_that_is_never_empty_does_not_grow_for_that() {
    let mut ledger = Ledger::default();
    let request = [b'x'; 1000];
    ledger.enter(Entry::new(0, Nature::Read, 1, 0, 0), &request);
    for _ in 0..10_000 {
        ledger.enter(Entry::new(0, Nature::Read, 1, 0, 0), &request);
        ledger.sent(1000);
        ledger.frame();
        ledger.settle(|_, _| ());
    }
    assert!(ledger.bytes.capacity() < 4 * KEPT_BYTES, "{}", ledger.bytes.capacity());
}
