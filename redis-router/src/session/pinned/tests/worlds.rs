//! A client against a server that is lost and found at random: whatever happens, each request is answered once, in
//! order, and truthfully. Kind: pure.
//!
//! The server is a model of Redis with counters: `INCR` writes, `GET` reads, transactions and watches work. It runs any
//! part of what was sent before it is lost; what it has run stays. The seed is in each complaint.

use std::collections::{BTreeMap, VecDeque};

use super::*;

/// A linear congruential generator (Knuth's MMIX), enough for a dice.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What a connection is to the server.
#[derive(Default)]
struct Side {
    queue: Option<Vec<String>>,
    /// What was watched, and what it was.
    watched: BTreeMap<String, i64>,
    subs: Vec<String>,
    /// The server is a replica by now.
    demoted: bool,
    /// A command of the transaction was refused.
    dirty: bool,
}

const READONLY: &str = "READONLY You can't write against a read only replica./";

/// Runs one request; gives its replies.
fn serve(side: &mut Side, data: &mut BTreeMap<String, i64>, line: &str) -> Vec<String> {
    let words: Vec<_> = line.split(' ').collect();
    let name = words[0].to_uppercase();
    if side.demoted && name == "INCR" {
        side.dirty |= side.queue.is_some();
        return vec![format!("-{READONLY}")];
    }
    if let Some(queue) = side.queue.as_mut().filter(|_| !["EXEC", "DISCARD"].contains(&&*name)) {
        queue.push(line.to_owned());
        return vec!["+QUEUED/".into()];
    }
    let key = || words[1].to_owned();
    match &*name {
        "GET" => vec![format!(":{}/", data.get(words[1]).copied().unwrap_or(0))],
        "INCR" => {
            let value = data.entry(key()).or_default();
            *value += 1;
            vec![format!(":{value}/")]
        }
        "BLPOP" => vec!["*-1/".into()],
        "WATCH" => {
            side.watched.insert(key(), data.get(words[1]).copied().unwrap_or(0));
            vec!["+OK/".into()]
        }
        "UNWATCH" => {
            side.watched.clear();
            vec!["+OK/".into()]
        }
        "MULTI" => {
            side.queue = Some(Vec::new());
            vec!["+OK/".into()]
        }
        "DISCARD" => {
            let subs = std::mem::take(&mut side.subs);
            *side = Side { subs, demoted: side.demoted, ..Side::default() };
            vec!["+OK/".into()]
        }
        "EXEC" => {
            let queue = side.queue.take().expect("the machine keeps transactions together");
            let watched = std::mem::take(&mut side.watched);
            if std::mem::take(&mut side.dirty) {
                return vec!["-EXECABORT Transaction discarded because of previous errors./".into()];
            }
            if side.demoted && queue.iter().any(|line| line.starts_with("INCR")) {
                return vec![format!("-EXECABORT Transaction discarded because of: {READONLY}")];
            }
            let changed = |(key, old): (String, i64)| data.get(&key).copied().unwrap_or(0) != old;
            if watched.into_iter().any(changed) {
                return vec!["_/".into()];
            }
            let replies: Vec<_> = queue.iter().flat_map(|line| serve(side, data, line)).collect();
            vec![format!("*{}/{}", queue.len(), replies.concat())]
        }
        "SUBSCRIBE" => {
            let mut confirm = |name: &&str| {
                side.subs.retain(|known| known != name);
                side.subs.push((*name).to_owned());
                format!(">3/$9/subscribe/${}/{name}/:{}/", name.len(), side.subs.len())
            };
            words[1..].iter().map(&mut confirm).collect()
        }
        other => panic!("the model does not know {other}"),
    }
}

/// What a client may say next, and whether it is in a transaction then.
fn next_line(dice: &mut Dice, tx: &mut bool, channels: &mut u64) -> String {
    let key = ["a", "b"][dice.below(2) as usize];
    match (dice.below(10), *tx) {
        (0..=3, _) => format!("INCR {key}"),
        (4..=5, _) => format!("GET {key}"),
        (6..=7, false) => {
            *tx = true;
            "MULTI".into()
        }
        (6..=7, true) => {
            *tx = false;
            if dice.below(4) == 0 { "DISCARD" } else { "EXEC" }.into()
        }
        (8, false) => format!("WATCH {key}"),
        (9, false) if dice.below(2) == 0 => "BLPOP q 1".into(),
        (9, false) => {
            *channels += 2;
            format!("SUBSCRIBE {} {}", *channels - 1, channels)
        }
        _ => format!("GET {key}"),
    }
}

/// What was acknowledged to the client, and what may have been done in its name.
#[derive(Default)]
struct Account {
    acknowledged: i64,
    unknown: i64,
}

/// Takes a reply for a line into account; the lines of an open transaction are in `queue`.
fn book(account: &mut Account, line: &str, reply: &str, queue: &mut Option<Vec<String>>, seed: u64) {
    let incrs = |lines: &[String]| lines.iter().filter(|line| line.starts_with("INCR")).count() as i64;
    let unknown = reply.ends_with("it may have run, or not/");
    match line.split(' ').next().unwrap_or_default() {
        "MULTI" => *queue = Some(Vec::new()),
        "DISCARD" => *queue = None,
        "EXEC" => {
            let queue = queue.take().unwrap_or_default();
            match reply {
                _ if unknown => account.unknown += incrs(&queue),
                "*-1/" | "_/" => {}
                _ => {
                    let whole = format!("*{}/", queue.len());
                    assert!(reply.starts_with(&whole), "seed {seed}: {queue:?} gave {reply}");
                    account.acknowledged += incrs(&queue);
                }
            }
        }
        _ if queue.is_some() => {
            assert_eq!(reply, "+QUEUED/", "seed {seed}: {line}");
            queue.get_or_insert_default().push(line.into());
        }
        "INCR" if unknown => account.unknown += 1,
        "INCR" => {
            assert!(reply.starts_with(':'), "seed {seed}: {line}: {reply}");
            account.acknowledged += 1;
        }
        "GET" => assert!(reply.starts_with(':'), "seed {seed}: {line}: {reply}"),
        "BLPOP" => assert_eq!(reply, "*-1/", "seed {seed}"),
        _ => assert_eq!(reply, "+OK/", "seed {seed}: {line}"),
    }
}

/// The requests in these bytes, and how many bytes are those of whole ones.
fn whole_lines(bytes: &[u8]) -> (Vec<String>, usize) {
    let mut framer = crate::wire::RequestFramer::default();
    let (mut found, mut at) = (Vec::new(), 0);
    while let Ok(crate::wire::Framed::Whole(span)) =
        framer.next(&bytes[at..], &crate::wire::Limits::default())
    {
        found.push(lines(&bytes[at..at + span.len]));
        at += span.len;
    }
    (found, at)
}

fn run(seed: u64) {
    let mut dice = Dice(seed);
    let mut talk = Talk::v3();
    let (mut data, mut side) = (BTreeMap::new(), Side::default());
    let (mut asked, mut tx, mut channels) = (VecDeque::new(), false, 0);
    let mut turned = false;
    let mut replies: VecDeque<String> = VecDeque::new();
    for turn in 0..200 {
        match dice.below(if turn < 150 { 8 } else { 4 }) {
            // The server runs one more request, and its replies are on their way.
            0..=1 => {
                let (found, _) = whole_lines(&talk.sent);
                if let Some(line) = found.first() {
                    let (_, len) = whole_lines(&request(line));
                    talk.sent.drain(..len);
                    replies.extend(serve(&mut side, &mut data, line));
                }
            }
            // A reply arrives.
            2..=3 => {
                let Some(reply) = replies.pop_front() else { continue };
                let (_, deliver) = talk.deliver(&wire(&reply));
                let hang_up = match deliver {
                    Deliver::ToClient | Deliver::Swallow => false,
                    Deliver::Replay => talk.pinned.may_hang_up(talk.sent.len()),
                    Deliver::Stray => side.demoted,
                    Deliver::Instead(_) => true,
                };
                turned |= deliver == Deliver::Replay;
                assert!(turned || !hang_up, "seed {seed}: {deliver:?} for {reply}");
                if hang_up {
                    (side, replies, turned) = (Side::default(), VecDeque::new(), false);
                    assert!(!talk.loses(talk.sent.len()).cut, "seed {seed}");
                }
            }
            // The client says something.
            4..=6 if !turned => {
                let line = next_line(&mut dice, &mut tx, &mut channels);
                talk.says(&line);
                asked.push_back(line);
            }
            // The connection is lost: the server has run some of what had left, some never left.
            7 if dice.below(2) == 0 => side.demoted = true,
            _ => {
                let unsent = dice.below(talk.sent.len() as u64 + 1) as usize;
                let left = talk.sent[..talk.sent.len() - unsent].to_vec();
                let (found, _) = whole_lines(&left);
                let ran = dice.below(found.len() as u64 + 1) as usize;
                for line in &found[..ran] {
                    serve(&mut side, &mut data, line);
                }
                (side, replies, turned) = (Side::default(), VecDeque::new(), false);
                assert!(!talk.loses(unsent).cut, "seed {seed}");
            }
        }
    }
    // Peace: everything is answered, by a primary.
    if turned || side.demoted {
        let left = whole_lines(&talk.sent).1;
        assert!(!talk.loses(left).cut, "seed {seed}");
        (side, replies) = (Side::default(), VecDeque::new());
    }
    for line in whole_lines(&talk.sent).0 {
        replies.extend(serve(&mut side, &mut data, &line));
    }
    for reply in replies {
        talk.hears(&reply);
    }
    settle_account(&talk, asked, &data, channels, seed);
}

fn settle_account(
    talk: &Talk,
    mut asked: VecDeque<String>,
    data: &BTreeMap<String, i64>,
    channels: u64,
    seed: u64,
) {
    assert_eq!(talk.pinned.owed(), 0, "seed {seed}");
    let (mut account, mut queue, mut confirmed) = (Account::default(), None, 0);
    let mut rest = &talk.got[..];
    while !rest.is_empty() {
        let used = ReplyFramer::default().advance(rest).expect("what the client got are replies").used;
        let reply = text(&rest[..used]);
        rest = &rest[used..];
        if reply.starts_with('>') {
            confirmed += 1;
            assert!(reply.contains(&format!("/{confirmed}/")), "seed {seed}: {reply} is not {confirmed}");
            continue;
        }
        while asked.front().is_some_and(|line| line.starts_with("SUBSCRIBE")) {
            asked.pop_front();
        }
        let line = asked.pop_front().expect("nothing is answered that was not asked");
        book(&mut account, &line, &reply, &mut queue, seed);
    }
    asked.retain(|line| !line.starts_with("SUBSCRIBE"));
    assert_eq!((asked, confirmed), (VecDeque::new(), channels), "seed {seed}: not answered");
    let done: i64 = data.values().sum();
    let most = account.acknowledged + account.unknown;
    assert!((account.acknowledged..=most).contains(&done), "seed {seed}: {done} done, {account:?} booked");
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} acknowledged, {} unknown", self.acknowledged, self.unknown)
    }
}

#[test]
fn whatever_happens_each_request_is_answered_once_in_order_and_truthfully() {
    (1..=2_000).for_each(run);
}

#[test]
fn no_server_and_no_client_can_make_it_panic() {
    const LINES: [&str; 26] = [
        "GET a",
        "INCR a",
        "MULTI",
        "EXEC",
        "DISCARD",
        "WATCH a",
        "UNWATCH",
        "SUBSCRIBE a b",
        "UNSUBSCRIBE",
        "PSUBSCRIBE a",
        "PUNSUBSCRIBE x y",
        "MONITOR",
        "CLIENT TRACKING ON",
        "CLIENT TRACKING OFF",
        "CLIENT CACHING YES",
        "CLIENT REPLY OFF",
        "CLIENT REPLY SKIP",
        "CLIENT REPLY ON",
        "SELECT 1",
        "WAIT 1 0",
        "BLPOP q 0",
        "CLIENT NO-EVICT on",
        "JSON.GET a",
        "HELLO 3",
        "RESET",
        "CLIENT GETREDIR",
    ];
    const HEADS: [&str; 14] = [
        "",
        "+OK/",
        "+QUEUED/",
        "+1.1 [",
        ":1/",
        "-ERR no/",
        "-READONLY no/",
        "-EXECABORT Transaction discarded because of: ",
        "*3/$9/subscribe/$1/a/:1/",
        "*3/$11/unsubscribe/$-1/:0/",
        "*3/$7/message/",
        "*",
        ">3/$9/subscribe/$1/a/:1/",
        "_/",
    ];
    use ReplyKind::{Error, Null, Other, Push, Simple};
    for seed in 1..=3_000 {
        let mut dice = Dice(seed);
        let mut talk = Talk::new(if seed % 2 == 0 { Resp::V2 } else { Resp::V3 });
        for _ in 0..100 {
            match dice.below(20) {
                0..=9 => drop(talk.order(LINES[dice.below(LINES.len() as u64) as usize])),
                10..=17 => {
                    let kind = [Simple, Error, Push, Null, Other][dice.below(5) as usize];
                    let head = wire(HEADS[dice.below(HEADS.len() as u64) as usize]);
                    talk.pinned.begin_reply(kind, &head);
                    if dice.below(20) > 0 {
                        talk.pinned.end_reply();
                    }
                    talk.pinned.answer(&mut talk.got);
                }
                18 => drop(talk.pinned.lost(dice.below(100) as usize, &mut talk.got)),
                _ => talk.pinned.give_up("LOADING no", &mut talk.got),
            }
            let _ = (talk.pinned.is_done(), talk.pinned.may_hang_up(7), talk.pinned.redirection());
        }
    }
}
