//! Replies that come in any pieces. Kind: pure.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::site::mux::ledger::Nature;

/// Hears everything, or is a canary that insists on its word.
struct Ear {
    heard: Rc<RefCell<String>>,
    insists: Option<&'static str>,
}

impl Payee for Ear {
    fn hear(&self, bytes: &[u8]) -> bool {
        let text = String::from_utf8_lossy(bytes);
        self.heard.borrow_mut().push_str(&text);
        self.insists.is_none_or(|word| word == text)
    }
}

struct Table {
    ledger: Ledger<Ear>,
    receiver: Receiver,
    heard: Vec<Rc<RefCell<String>>>,
    settled: usize,
    largest: usize,
    tag: u16,
}

fn tag(name: &str) -> u16 {
    command::find(name.as_bytes(), None).id.index() as u16
}

impl Table {
    /// One entry per item: its nature and how many replies it is owed; all are sent.
    fn set(entries: &[(Nature, u32)]) -> Self {
        let mut table = Self {
            ledger: Ledger::default(),
            receiver: Receiver::new(Rejections::OfMaster(Tenure::Settled)),
            heard: Vec::new(),
            settled: 0,
            largest: 0,
            tag: tag("set"),
        };
        for (nature, replies) in entries {
            table.enter(*nature, *replies, None);
        }
        table
    }

    fn enter(&mut self, nature: Nature, replies: u32, insists: Option<&'static str>) {
        let heard = Rc::new(RefCell::new(String::new()));
        self.heard.push(heard.clone());
        self.ledger.enter(Entry::new(Ear { heard, insists }, nature, replies, self.tag, 0), b"x");
        self.ledger.sent(1);
    }

    fn hears(&mut self, bytes: &[u8]) -> Result<Course, Disorder> {
        let Self { ledger, receiver, settled, largest, .. } = self;
        receiver.take(bytes, ledger, &mut |_, _, size| {
            *settled += 1;
            *largest = size.max(*largest);
        })
    }

    fn heard(&self) -> Vec<String> {
        self.heard.iter().map(|heard| heard.borrow().clone()).collect()
    }
}

const READ: (Nature, u32) = (Nature::Read, 1);
const WRITE: (Nature, u32) = (Nature::Write, 1);

#[test]
fn replies_split_anywhere_reach_their_clients() {
    let stream = b"+OK\r\n$3\r\nabc\r\n*2\r\n:1\r\n$-1\r\n";
    for cut in 0..stream.len() {
        let mut table = Table::set(&[READ, READ, READ]);
        assert_eq!(table.hears(&stream[..cut]).unwrap(), Course::On);
        assert_eq!(table.hears(&stream[cut..]).unwrap(), Course::On);
        assert_eq!(table.heard(), ["+OK\r\n", "$3\r\nabc\r\n", "*2\r\n:1\r\n$-1\r\n"], "cut at {cut}");
        assert_eq!(table.settled, 3);
    }
}

#[test]
fn a_push_is_nobodys_reply_wherever_it_is_cut() {
    let stream = b">2\r\n+invalidate\r\n*0\r\n+OK\r\n";
    for cut in 0..stream.len() {
        let mut table = Table::set(&[READ]);
        table.hears(&stream[..cut]).unwrap();
        table.hears(&stream[cut..]).unwrap();
        assert_eq!(table.heard(), ["+OK\r\n"], "cut at {cut}");
    }
}

#[test]
fn what_nobody_asked_for_ends_the_connection() {
    assert!(matches!(Table::set(&[]).hears(b"+OK\r\n"), Err(Disorder::Unsolicited)));
    assert!(matches!(Table::set(&[READ]).hears(b"+OK\r\n+OK\r\n"), Err(Disorder::Unsolicited)));
    assert!(matches!(Table::set(&[READ]).hears(b"HTTP/1.1"), Err(Disorder::Fault(_))));
}

#[test]
fn a_canary_notices_somebody_elses_reply() {
    let mut table = Table::set(&[READ]);
    table.enter(Nature::Read, 1, Some("$1\r\n7\r\n"));
    assert!(table.hears(b"+OK\r\n$1\r\n7\r\n").is_ok());
    table.enter(Nature::Read, 1, Some("$1\r\n8\r\n"));
    assert!(matches!(table.hears(b"+OK\r\n"), Err(Disorder::Order)));
}

#[test]
fn a_transactions_replies_are_given_out_together() {
    let mut table = Table::set(&[(Nature::Write, 3)]);
    table.hears(b"+OK\r\n+QUEUED\r\n").unwrap();
    assert_eq!(table.heard(), [""]);
    table.hears(b"*1\r\n:1\r\n").unwrap();
    assert_eq!(table.heard(), ["+OK\r\n+QUEUED\r\n*1\r\n:1\r\n"]);
}

#[test]
fn a_large_reply_is_passed_on_as_it_comes() {
    let mut table = Table::set(&[READ, READ]);
    table.hears(b"$1000000\r\n").unwrap();
    let piece = vec![b'x'; 50_000];
    table.hears(&piece).unwrap();
    assert_eq!(table.heard()[0].len(), 0);
    assert!(!table.receiver.is_torn());
    for _ in 0..19 {
        table.hears(&piece).unwrap();
    }
    assert!(table.receiver.is_torn());
    assert_eq!(table.heard()[0].len(), 1_000_010);
    table.hears(b"\r\n+OK\r\n").unwrap();
    assert_eq!(table.largest, 1_000_012, "its size is that of the whole");
    assert!(!table.receiver.is_torn());
    assert_eq!(table.heard()[1], "+OK\r\n");
}

#[test]
fn after_a_rejection_nothing_is_given_out_until_all_is_judged() {
    let mut table = Table::set(&[WRITE, READ, WRITE, WRITE]);
    assert_eq!(table.hears(b"-READONLY You can't\r\n$1\r\nx\r\n-READONLY no\r\n").unwrap(), Course::On);
    assert_eq!(table.hears(b"-ERR what\r\n").unwrap(), Course::Rejected);
    assert_eq!(table.heard(), ["", "", "", ""]);
    assert_eq!(table.ledger.lost(|_| b"-UNKNOWN"[..].into(), |_| b"-LOADING"[..].into()).replayed, 3);
    assert_eq!(table.ledger.unsent(), b"xxx");
}

#[test]
fn a_transaction_with_a_rejected_command_did_not_run() {
    let mut table = Table::set(&[(Nature::Write, 3)]);
    let course = table.hears(b"+OK\r\n-READONLY no\r\n-EXECABORT discarded\r\n").unwrap();
    assert_eq!(course, Course::Rejected);
    assert_eq!(table.ledger.lost(|_| b"-UNKNOWN"[..].into(), |_| b"-LOADING"[..].into()).replayed, 1);
}

#[test]
fn what_a_script_says_of_itself_proves_nothing() {
    let mut table = Table::set(&[]);
    table.tag = tag("eval");
    table.enter(Nature::Write, 1, None);
    table.hears(b"-READONLY mine\r\n").unwrap();
    assert_eq!(table.heard(), ["-READONLY mine\r\n"]);
}

#[test]
fn what_is_answered_otherwise_is_told_in_its_turn_in_the_middle_of_a_read() {
    let mut table = Table::set(&[READ, WRITE]);
    table.ledger.lost(|_| b"-UNKNOWN\r\n"[..].into(), |_| b"-LOADING\r\n"[..].into());
    table.ledger.sent(1);
    table.enter(Nature::Read, 1, None);
    table.hears(b"+first\r\n+third\r\n").unwrap();
    assert_eq!(table.heard(), ["+first\r\n", "-UNKNOWN\r\n", "+third\r\n"]);
}

#[test]
fn a_master_that_waits_for_its_replicas_is_asked_again() {
    let reply = b"-NOREPLICAS Not enough good replicas to write.\r\n";
    let mut table = Table::set(&[WRITE]);
    table.receiver.rejections = Rejections::OfMaster(Tenure::Fresh);
    assert_eq!(table.hears(reply).unwrap(), Course::Rejected);
    let mut table = Table::set(&[WRITE]);
    assert_eq!(table.hears(reply).unwrap(), Course::On);
    assert_eq!(table.heard(), ["-NOREPLICAS Not enough good replicas to write.\r\n"]);
}

#[test]
fn a_replicas_refusal_of_a_write_is_the_clients() {
    let mut table = Table::set(&[WRITE]);
    table.receiver.rejections = Rejections::OfReplica;
    table.hears(b"-READONLY You can't\r\n").unwrap();
    assert_eq!(table.heard(), ["-READONLY You can't\r\n"]);
}
