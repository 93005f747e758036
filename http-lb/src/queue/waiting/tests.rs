//! The queue by tables: who is granted, who waits, who is sent away. Kind: driver.

use super::super::fleet::{Balance, Standing};
use super::super::ticket::{Affinity, ClientKey, Tag};
use super::*;

const MS: Duration = Duration::from_millis(1);
const UNIT: u32 = 256;

/// A queue with the slots that are in use, as a test tells its story.
struct Scene {
    queue: Waiting<&'static str, u64>,
    start: Instant,
    now: Instant,
    news: Vec<News<u64>>,
    /// Who holds which slot.
    held: Vec<(u64, ReplicaId, Class)>,
    places: Vec<(u64, Place)>,
}

fn class(rank: u8) -> Class {
    Class::new(rank).unwrap()
}

impl Scene {
    /// Replicas `a`, `b` … with so many slots each.
    fn new(slots: &[u32], limits: Limits) -> Self {
        let mut fleet = Fleet::new(Balance::LeastInFlight, limits.reserved, Some(0));
        for (number, (who, slots)) in ["a", "b", "c", "d"].into_iter().zip(slots).enumerate() {
            let condition = Condition { standing: Standing::Up, weight: UNIT, slots: *slots };
            fleet.add(who, Tag(number as u64), number as u64, condition);
        }
        let start = Instant::now();
        let (news, held, places) = Default::default();
        Self { queue: Waiting::new(fleet, limits), start, now: start, news, held, places }
    }

    fn simple(slots: &[u32]) -> Self {
        Self::new(slots, Limits::default())
    }

    fn ticket(&self, rank: u8, client: u64) -> Ticket {
        Ticket::new(class(rank), ClientKey::new(client), self.start + 1000 * MS)
    }

    /// Request `caller` asks: `"a"` is where it goes, else why it waits or doesn't.
    fn ask(&mut self, caller: u64, ticket: &Ticket) -> &'static str {
        if let Some(id) = self.queue.take(ticket, 0) {
            self.held.push((caller, id, ticket.class));
            return self.queue.fleet.find(id).unwrap().who;
        }
        match self.queue.join(ticket, self.now, caller, &mut self.news) {
            Ok(place) => {
                self.places.push((caller, place));
                "waits"
            }
            Err(shed) => shed.label(),
        }
    }

    fn ask_as(&mut self, caller: u64, rank: u8, client: u64) -> &'static str {
        let ticket = self.ticket(rank, client);
        self.ask(caller, &ticket)
    }

    /// Request `caller` is done with its slot.
    fn done(&mut self, caller: u64) {
        let at = self.held.iter().position(|(holder, ..)| *holder == caller).unwrap();
        let (_, id, class) = self.held.remove(at);
        self.queue.give_back((id, class), Some(100 * MS), self.now, 0, &mut self.news);
    }

    fn leave(&mut self, caller: u64) -> bool {
        let (_, place) = *self.places.iter().find(|(other, _)| *other == caller).unwrap();
        self.queue.leave(place).is_some()
    }

    fn stand(&mut self, who: &str, standing: Standing) {
        let replica = self.queue.fleet.replicas.iter().find(|replica| replica.who == who).unwrap();
        let (id, condition) = (replica.id, Condition { standing, ..replica.condition });
        self.queue.set(id, condition);
        self.queue.dispatch(self.now, 0, &mut self.news);
    }

    /// What was told since the last time, as `caller:where` or `caller:why`.
    fn heard(&mut self) -> String {
        let told = std::mem::take(&mut self.news).into_iter().map(|news| match news.verdict {
            Ok(id) => {
                self.held.push((news.caller, id, news.class));
                format!("{}:{}", news.caller, self.queue.fleet.find(id).unwrap().who)
            }
            Err(shed) => format!("{}:{}", news.caller, shed.label()),
        });
        told.collect::<Vec<_>>().join(" ")
    }

    fn id(&self, who: &str) -> ReplicaId {
        self.queue.fleet.replicas.iter().find(|replica| replica.who == who).unwrap().id
    }
}

#[test]
fn slots_are_exact_and_the_next_waits() {
    let mut scene = Scene::simple(&[1, 2]);
    let mut got: Vec<_> = (1..=3).map(|caller| scene.ask_as(caller, 4, caller)).collect();
    got.sort_unstable();
    assert_eq!(got, ["a", "b", "b"]);
    assert_eq!(scene.ask_as(4, 4, 4), "waits");
    scene.done(2);
    assert_eq!(scene.heard().split(':').next(), Some("4"));
}

#[test]
fn no_limit_means_that_nobody_waits() {
    let mut scene = Scene::simple(&[0, 0]);
    assert!((0..1000).all(|caller| scene.ask_as(caller, 4, 1) != "waits"));
    assert_eq!(scene.queue.estimate(class(4)), Duration::ZERO);
}

#[test]
fn urgent_classes_come_first_and_clients_in_turn() {
    let mut scene = Scene::new(&[1], Limits { low_share_percent: 0, ..Limits::default() });
    scene.ask_as(0, 4, 0);
    for (caller, rank, client) in [(1, 5, 1), (2, 4, 2), (3, 4, 2), (4, 4, 3), (5, 0, 2)] {
        assert_eq!(scene.ask_as(caller, rank, client), "waits");
    }
    let mut order = Vec::new();
    for holder in [0, 5, 2, 4, 3, 1] {
        scene.done(holder);
        order.push(scene.heard());
    }
    assert_eq!(order, ["5:a", "2:a", "4:a", "3:a", "1:a", ""]);
}

#[test]
fn lower_classes_have_their_small_share() {
    let mut scene = Scene::new(&[1], Limits { low_share_percent: 25, ..Limits::default() });
    scene.ask_as(0, 0, 0);
    (1..=10).for_each(|caller| _ = scene.ask_as(caller, 0, caller));
    (11..=12).for_each(|caller| _ = scene.ask_as(caller, 7, caller));
    let mut holder = 0;
    let order: Vec<u64> = std::iter::from_fn(|| {
        scene.done(holder);
        holder = scene.heard().split(':').next()?.parse().ok()?;
        Some(holder)
    })
    .collect();
    assert_eq!(
        order,
        [1, 2, 3, 4, 11, 5, 6, 7, 8, 12, 9, 10],
        "one of five: a debt of 25 % with each of four"
    );
}

#[test]
fn reserved_slots_are_for_the_top_class_alone() {
    let limits = Limits { reserved: 1, ..Limits::default() };
    let mut scene = Scene::new(&[3], limits.clone());
    assert_eq!((scene.ask_as(1, 4, 1), scene.ask_as(2, 4, 2), scene.ask_as(3, 4, 3)), ("a", "a", "waits"));
    assert_eq!((scene.ask_as(4, 0, 4), scene.ask_as(5, 0, 5)), ("a", "waits"));
    scene.done(4);
    assert_eq!(scene.heard(), "5:a", "the reserved one goes to the top class again");
    scene.done(5);
    assert_eq!(scene.heard(), "", "and to nobody else");
    scene.done(1);
    assert_eq!(scene.heard(), "3:a");
    let mut scene = Scene::new(&[1], limits);
    assert_eq!(scene.ask_as(1, 4, 1), "a", "of the last slot nothing can be reserved");
}

#[test]
fn deadlines_come_whether_or_not_a_slot_does() {
    let mut scene = Scene::simple(&[1]);
    scene.ask_as(1, 4, 1);
    for (caller, ms) in [(2, 300), (3, 100), (4, 200)] {
        let ticket = Ticket { deadline: scene.now + ms * MS, ..scene.ticket(4, 1) };
        assert_eq!(scene.ask(caller, &ticket), "waits");
    }
    scene.queue.expire(scene.now + 200 * MS, &mut scene.news);
    assert_eq!(scene.heard(), "3:deadline 4:deadline");
    scene.now += 300 * MS;
    scene.done(1);
    assert_eq!(scene.heard(), "2:deadline", "who is late is not granted");
    let late = Ticket { deadline: scene.now, ..scene.ticket(4, 1) };
    assert_eq!((scene.ask(5, &late), scene.ask(6, &late)), ("a", "deadline"));
}

#[test]
fn who_leaves_is_skipped() {
    let mut scene = Scene::simple(&[1]);
    (1..=4).for_each(|caller| _ = scene.ask_as(caller, 4, 1));
    assert!(scene.leave(2) && !scene.leave(2));
    scene.done(1);
    assert_eq!(scene.heard(), "3:a");
    assert!(!scene.leave(3), "it was told already");
}

#[test]
fn where_all_is_full_the_less_urgent_and_the_greedy_give_way() {
    let mut scene = Scene::new(&[1], Limits { max: 3, ..Limits::default() });
    (0..=3).for_each(|caller| _ = scene.ask_as(caller, 4, caller));
    assert_eq!(scene.ask_as(4, 4, 4), "full", "of equals who comes is refused");
    assert_eq!(scene.ask_as(5, 5, 5), "full");
    assert_eq!(
        (scene.ask_as(6, 3, 9), scene.heard().as_str()),
        ("waits", "3:full"),
        "the newest of the lowest class"
    );
    assert_eq!((scene.ask_as(7, 3, 9), scene.heard().as_str()), ("waits", "2:full"));
    assert_eq!((scene.ask_as(8, 3, 9), scene.heard().as_str()), ("waits", "1:full"));
    assert_eq!(scene.ask_as(9, 3, 9), "full");
    assert_eq!(
        (scene.ask_as(10, 3, 10), scene.heard().as_str()),
        ("waits", "8:full"),
        "the last of who has three"
    );
    assert_eq!(scene.ask_as(11, 3, 10), "full", "with it both would have two");
}

#[test]
fn a_class_has_a_limit_of_its_own() {
    let mut per_class = [usize::MAX; CLASSES];
    per_class[5] = 1;
    let mut scene = Scene::new(&[1], Limits { per_class, ..Limits::default() });
    scene.ask_as(1, 5, 1);
    assert_eq!(
        (scene.ask_as(2, 5, 2), scene.ask_as(3, 5, 3), scene.ask_as(4, 4, 4)),
        ("waits", "full", "waits")
    );
    let mut scene = Scene::new(&[1], Limits { max: 0, ..Limits::default() });
    assert_eq!((scene.ask_as(1, 5, 1), scene.ask_as(2, 0, 2)), ("a", "full"), "nobody may wait");
}

#[test]
fn who_asks_again_goes_elsewhere_and_first() {
    let mut scene = Scene::new(&[1, 1], Limits { max: 1, ..Limits::default() });
    (1..=3).for_each(|caller| _ = scene.ask_as(caller, 4, caller));
    let mut again = scene.ticket(4, 9);
    let (_, first, class) = scene.held.remove(0);
    let (_, second, _) = scene.held[0];
    again.was_at(first);
    scene.queue.give_back((first, class), None, scene.now, 0, &mut scene.news);
    let elsewhere = scene.queue.fleet.find(first).unwrap().who;
    assert_eq!(scene.heard(), format!("3:{elsewhere}"));
    assert_eq!(scene.ask_as(4, 4, 4), "waits");
    assert_eq!(scene.ask(9, &again), "waits", "the limit is not for who held a slot before");
    scene.done(3);
    assert_eq!(scene.heard(), format!("4:{elsewhere}"), "the one that it has been to is not for it");
    assert_eq!((scene.ask_as(5, 4, 5), scene.ask_as(6, 4, 6)), ("waits", "full"));
    scene.done(2);
    let other = scene.queue.fleet.find(second).unwrap().who;
    assert_eq!(scene.heard(), format!("9:{other}"));
}

#[test]
fn who_was_everywhere_goes_back_to_who_is_up_or_waits_for_one() {
    let mut scene = Scene::simple(&[1, 1]);
    let mut ticket = scene.ticket(4, 1);
    ticket.was_at(scene.id("a"));
    assert_eq!(scene.ask(1, &ticket), "b");
    scene.done(1);
    ticket.was_at(scene.id("b"));
    scene.stand("a", Standing::Down);
    assert_eq!(scene.ask(2, &ticket), "b", "there is nobody else, and it is up");
    scene.done(2);
    scene.stand("b", Standing::Down);
    assert_eq!(scene.ask(3, &ticket), "waits", "all are down, and both were asked");
    assert_eq!(scene.ask_as(4, 4, 4).len(), 1, "in panic who comes anew is sent to one of them");
    scene.done(4);
    scene.stand("b", Standing::Up);
    assert_eq!(scene.heard(), "3:b");
}

#[test]
fn a_replica_that_is_down_or_away_is_given_nothing_new() {
    for standing in [Standing::Down, Standing::Away, Standing::Gone] {
        let mut scene = Scene::simple(&[1, 1]);
        scene.stand("a", standing);
        assert_eq!((scene.ask_as(1, 4, 1), scene.ask_as(2, 4, 2)), ("b", "waits"), "{standing:?}");
        scene.stand("a", Standing::Up);
        assert_eq!(scene.heard(), "2:a");
    }
}

#[test]
fn who_has_no_replica_left_is_told_so_at_once() {
    let mut scene = Scene::simple(&[1, 1]);
    (1..=4).for_each(|caller| _ = scene.ask_as(caller, 4, 1));
    scene.stand("a", Standing::Away);
    assert_eq!(scene.heard(), "");
    scene.stand("b", Standing::Away);
    assert_eq!(scene.heard(), "3:draining 4:draining");
    assert_eq!(scene.ask_as(5, 4, 1), "draining");
    scene.stand("a", Standing::Gone);
    scene.stand("b", Standing::Gone);
    assert_eq!(scene.ask_as(6, 4, 1), "no_replica");
    scene.done(1);
    scene.done(2);
    assert!(scene.queue.fleet.replicas.is_empty(), "who is gone and idle is forgotten");
}

#[test]
fn panic_begins_below_its_threshold() {
    let check = |percent: Option<u8>, down: &[&str], expected: &[&str]| {
        let mut scene = Scene::simple(&[1, 1, 1, 1]);
        scene.queue.fleet.configure(Balance::RoundRobin, 0, percent);
        down.iter().for_each(|who| scene.stand(who, Standing::Down));
        let mut got: Vec<_> = (0..5).map(|caller| scene.ask_as(caller, 4, caller)).collect();
        got.retain(|got| *got != "waits");
        got.sort_unstable();
        assert_eq!(got, expected, "{percent:?}, down: {down:?}");
    };
    check(Some(0), &["a", "b", "c"], &["d"]);
    check(Some(0), &["a", "b", "c", "d"], &["a", "b", "c", "d"]);
    check(None, &["a", "b", "c", "d"], &[]);
    check(Some(50), &["a", "b"], &["c", "d"]);
    check(Some(50), &["a", "b", "c"], &["a", "b", "c", "d"]);
}

#[test]
fn a_sticky_request_waits_for_its_replica_as_long_as_that_may_be_asked() {
    let mut scene = Scene::simple(&[1, 1]);
    let sticky = scene.ticket(4, 1).towards(Affinity::Sticky(Tag(0)));
    assert_eq!((scene.ask(1, &sticky), scene.ask(2, &sticky)), ("a", "waits"));
    assert_eq!(scene.ask_as(3, 4, 3), "b", "others are not in its way");
    assert_eq!((scene.ask(4, &sticky), scene.ask_as(5, 4, 5)), ("waits", "waits"));
    scene.done(3);
    assert_eq!(scene.heard(), "5:b", "nor it in theirs");
    scene.stand("a", Standing::Down);
    scene.done(5);
    assert_eq!(scene.heard(), "2:b", "any other will do once its own is down");
    let unknown = scene.ticket(4, 1).towards(Affinity::Sticky(Tag(99)));
    scene.done(2);
    assert_eq!((scene.heard().as_str(), scene.ask(6, &unknown)), ("4:b", "waits"));
}

#[test]
fn a_key_goes_to_its_replica_until_that_has_no_room() {
    let mut scene = Scene::simple(&[2, 2, 2]);
    scene.queue.fleet.configure(Balance::Hash, 0, Some(0));
    let ticket = scene.ticket(4, 1).towards(Affinity::Key(77));
    let first = scene.ask(1, &ticket);
    scene.done(1);
    assert_eq!(scene.ask(2, &ticket), first, "again");
    let others: Vec<_> = (3..=7).map(|caller| scene.ask(caller, &ticket)).collect();
    assert_eq!(others.iter().filter(|other| **other == first).count(), 1, "{others:?}");
    assert_eq!(scene.ask(8, &ticket), "waits");
}

#[test]
fn the_estimate_is_who_is_before_and_how_long_they_take() {
    let mut scene = Scene::simple(&[2, 2]);
    assert_eq!(scene.queue.estimate(class(4)), GUESS / 4);
    (1..=4).for_each(|caller| _ = scene.ask_as(caller, 4, caller));
    scene.done(1);
    assert_eq!(scene.queue.estimate(class(4)), 25 * MS, "100 ms each, four at a time");
    (5..=8).for_each(|caller| _ = scene.ask_as(caller, 4, caller));
    assert_eq!((scene.queue.estimate(class(3)), scene.queue.estimate(class(4))), (25 * MS, 100 * MS));
    assert_eq!(scene.queue.retry_after(class(4)), 1);
    (9..=99).for_each(|caller| _ = scene.ask_as(caller, 4, caller));
    assert_eq!(scene.queue.retry_after(class(4)), 3);
}
