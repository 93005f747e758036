//! Pools as conversations between sessions that want a connection. Kind: driver.

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::toy::{House, LIMITS, MS, Mood, Toy, breathe, play};
use super::upkeep::BEAT;
use super::{Lease, Pool, PoolLimits, Refusal, Reuse};
use crate::upstream::permits::Permits;

type Wait<'a> = Pin<&'a mut (dyn Future<Output = Result<Lease<Toy>, Refusal>> + 'a)>;

/// Looks once whether the wait is over.
fn ask(wait: &mut Wait<'_>) -> Option<Result<Lease<Toy>, Refusal>> {
    wait.as_mut().now_or_never()
}

#[track_caller]
fn has_lease(wait: &mut Wait<'_>) -> Lease<Toy> {
    ask(wait).expect("the wait is over").unwrap_or_else(|refusal| panic!("{refusal:?}"))
}

#[track_caller]
fn waits(wait: &mut Wait<'_>) {
    assert!(ask(wait).is_none(), "it still waits");
}

fn limits(change: impl FnOnce(&mut PoolLimits)) -> PoolLimits {
    let mut limits = LIMITS;
    change(&mut limits);
    limits
}

/// One pool with a cap.
fn alone(house: &House, cap: usize) -> (Rc<Pool<Toy>>, Arc<Permits>) {
    let permits = Permits::new(cap);
    (house.pool(LIMITS, &permits), permits)
}

async fn leases(pool: &Rc<Pool<Toy>>, count: usize) -> Vec<Lease<Toy>> {
    let mut leases = Vec::new();
    for _ in 0..count {
        leases.push(pool.lease(0).await.expect("a lease"));
    }
    leases
}

fn release(leases: impl IntoIterator<Item = Lease<Toy>>) {
    leases.into_iter().for_each(|lease| lease.release(Reuse::Clean));
}

#[test]
fn a_released_connection_goes_to_the_longest_waiter_and_newcomers_never_overtake() {
    play(async |house| {
        let (pool, _) = alone(&house, 1);
        let lease = pool.lease(0).await.unwrap();
        let (mut first, mut second): (Wait<'_>, Wait<'_>) = (pin!(pool.lease(0)), pin!(pool.lease(0)));
        waits(&mut first);
        waits(&mut second);
        lease.release(Reuse::Clean);
        assert!(pool.try_lease().is_none(), "a newcomer");
        waits(&mut second);
        let lease = has_lease(&mut first);
        lease.release(Reuse::Clean);
        assert!(pool.try_lease().is_none(), "another newcomer");
        release([has_lease(&mut second)]);
        assert!(pool.try_lease().is_some(), "nobody waits");
        assert_eq!(house.toy.attempts(), 1, "one connection served them all");
    });
}

#[test]
fn the_warmest_connection_is_used_first() {
    play(async |house| {
        let (pool, _) = alone(&house, 2);
        let leases = leases(&pool, 2).await;
        let warmest = leases[1].state;
        release(leases);
        assert_eq!(pool.try_lease().unwrap().state, warmest);
    });
}

#[test]
fn a_waiter_that_leaves_while_a_connection_is_on_its_way_to_it_loses_nothing() {
    play(async |house| {
        let (pool, _) = alone(&house, 1);
        let lease = pool.lease(0).await.unwrap();
        let mut first = Box::pin(pool.lease(0));
        let mut second: Wait<'_> = pin!(pool.lease(0));
        waits(&mut (first.as_mut() as Wait<'_>));
        waits(&mut second);
        lease.release(Reuse::Clean);
        drop(first);
        release([has_lease(&mut second)]);
        assert_eq!((house.toy.attempts(), pool.census().idle), (1, 1));
    });
}

#[test]
fn a_waiter_that_leaves_is_no_longer_in_the_queue_and_wishes_for_nothing() {
    play(async |house| {
        let (pool, permits) = alone(&house, 1);
        let _lease = pool.lease(0).await.unwrap();
        let mut first: Wait<'_> = pin!(pool.lease(0));
        waits(&mut first);
        {
            let mut leaver: Wait<'_> = pin!(pool.lease(0));
            waits(&mut leaver);
            assert_eq!((pool.census().waiting, permits.asking()), (2, 1));
        }
        assert_eq!((pool.census().waiting, permits.asking()), (1, 1));
        let mut third = Box::pin(pool.lease(0));
        waits(&mut (third.as_mut() as Wait<'_>));
        drop(third);
        assert_eq!(pool.census().waiting, 1);
    });
}

#[test]
fn the_wish_for_a_namesakes_connection_ends_with_the_last_waiter() {
    play(async |house| {
        let permits = Permits::new(1);
        let (busy, short) = (house.pool(LIMITS, &permits), house.pool(LIMITS, &permits));
        let lease = busy.lease(0).await.unwrap();
        let mut leaver = Box::pin(short.lease(0));
        waits(&mut (leaver.as_mut() as Wait<'_>));
        drop(leaver);
        assert_eq!(permits.asking(), 0);
        lease.release(Reuse::Clean);
        assert_eq!(busy.census().idle, 1, "it is kept, as nobody goes short");
    });
}

#[test]
fn the_wait_ends_at_its_deadline() {
    play(async |house| {
        let (pool, permits) = alone(&house, 1);
        let _lease = pool.lease(0).await.unwrap();
        let start = Instant::now();
        assert_eq!(pool.lease(0).await.err(), Some(Refusal::TimedOut));
        let waited = start.elapsed();
        assert!((LIMITS.wait..=LIMITS.wait + BEAT + MS).contains(&waited), "{waited:?}");
        assert_eq!((pool.census().waiting, permits.asking()), (0, 0));
    });
}

#[test]
fn waits_end_although_the_watcher_has_gone() {
    play(async |mut house| {
        let (pool, _) = alone(&house, 1);
        let _lease = pool.lease(0).await.unwrap();
        house.news = House::silence();
        assert_eq!(pool.lease(0).await.err(), Some(Refusal::TimedOut));
    });
}

#[test]
fn a_denial_reaches_all_who_wait() {
    play(async |house| {
        let (pool, _) = alone(&house, 5);
        house.toy.set(Mood::Denied(b"no such database"));
        let denied = Some(Refusal::Denied(Bytes::from_static(b"no such database")));
        let (one, two) = tokio::join!(pool.lease(0), pool.lease(0));
        assert_eq!((one.err(), two.err()), (denied.clone(), denied));
        house.toy.set(Mood::Willing);
        assert!(pool.lease(0).await.is_ok(), "the next is not denied");
    });
}

#[test]
fn a_denial_by_the_old_primary_is_not_heard_by_those_who_wait_for_the_new_one() {
    play(async |house| {
        let (pool, _) = alone(&house, 1);
        house.toy.set(Mood::SlowlyDenied(50 * MS, b"I shut down"));
        let mut wait: Wait<'_> = pin!(pool.lease(0));
        waits(&mut wait);
        breathe().await;
        house.toy.set(Mood::Willing);
        house.crown(2, 2);
        assert!(wait.await.is_ok());
        assert_eq!(house.toy.far_end().port, 2);
    });
}

#[test]
fn a_denied_warm_minimum_is_not_tried_on_every_beat() {
    play(async |house| {
        house.toy.set(Mood::Denied(b"no"));
        let _pool = house.pool(limits(|limits| limits.min = 1), &Permits::new(1));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(house.toy.attempts() < 150, "{}", house.toy.attempts());
    });
}

#[test]
fn an_unavailable_server_is_tried_again_ever_more_slowly() {
    play(async |house| {
        let (pool, _) = alone(&house, 1);
        house.toy.set(Mood::Unavailable);
        let mut wait: Wait<'_> = pin!(pool.lease(0));
        waits(&mut wait);
        tokio::time::sleep(8000 * MS).await;
        assert!((10..30).contains(&house.toy.attempts()), "{}", house.toy.attempts());
        assert_eq!(house.toy.suspicions(), house.toy.attempts());
        house.toy.set(Mood::Willing);
        tokio::time::sleep(1001 * MS).await;
        has_lease(&mut wait);
    });
}

#[test]
fn a_bug_while_opening_costs_no_place() {
    play(async |house| {
        let (pool, _) = alone(&house, 3);
        house.toy.set(Mood::Panicking);
        let waits = futures_util::future::join_all((0..12).map(|_| pool.lease(0)));
        let _ = tokio::time::timeout(1000 * MS, waits).await;
        assert_eq!((pool.census().opening, pool.census().open), (0, 0));
        house.toy.set(Mood::Willing);
        release(leases(&pool, 3).await);
    });
}

#[test]
fn no_more_are_opened_than_sessions_wait() {
    play(async |house| {
        let (pool, _) = alone(&house, 20);
        house.toy.set(Mood::Slow(50 * MS));
        let (one, two) = tokio::join!(pool.lease(0), pool.lease(0));
        assert_eq!(house.toy.attempts(), 2);
        release([one.unwrap(), two.unwrap()]);
    });
}

#[test]
fn the_cap_holds_over_namesakes() {
    play(async |house| {
        let permits = Permits::new(3);
        let (one, two) = (house.pool(LIMITS, &permits), house.pool(LIMITS, &permits));
        let _held = (leases(&one, 2).await, leases(&two, 1).await);
        let (mut third, mut fourth): (Wait<'_>, Wait<'_>) = (pin!(one.lease(0)), pin!(two.lease(0)));
        waits(&mut third);
        waits(&mut fourth);
        tokio::time::sleep(1000 * MS).await;
        waits(&mut third);
        waits(&mut fourth);
        assert_eq!(house.toy.attempts(), 3);
    });
}

#[test]
fn a_pool_that_goes_short_gets_what_an_idle_namesake_has() {
    play(async |house| {
        let permits = Permits::new(4);
        let (rich, short) = (house.pool(LIMITS, &permits), house.pool(LIMITS, &permits));
        release(leases(&rich, 4).await);
        let wanted = futures_util::future::join_all((0..4).map(|_| short.lease(0)));
        let got = tokio::time::timeout(50 * MS, wanted).await.expect("at once, not on some beat");
        assert!(got.iter().all(Result::is_ok));
        assert_eq!((rich.census().open, short.census().open), (0, 4));
    });
}

#[test]
fn a_pool_that_goes_short_gets_its_share_of_a_busy_namesakes() {
    play(async |house| {
        let permits = Permits::new(4);
        let (busy, short) = (house.pool(LIMITS, &permits), house.pool(LIMITS, &permits));
        let _crowds = (crowd(&busy, 20), breathe().await, crowd(&short, 20));
        tokio::time::sleep(1000 * MS).await;
        assert_eq!((busy.census().open, short.census().open), (2, 2));
        let opened = house.toy.attempts();
        tokio::time::sleep(5000 * MS).await;
        assert_eq!(house.toy.attempts(), opened, "the shares are stable");
    });
}

#[test]
fn with_more_pools_than_permits_they_take_turns() {
    play(async |house| {
        let permits = Permits::new(1);
        let (one, two) = (house.pool(LIMITS, &permits), house.pool(LIMITS, &permits));
        let _crowd = crowd(&one, 3);
        breathe().await;
        let lease = tokio::time::timeout(1000 * MS, two.lease(0)).await;
        assert!(lease.expect("its turn").is_ok());
    });
}

/// Sessions that always want a lease for 5 ms, and no sooner have given it back than they want it again.
fn crowd(pool: &Rc<Pool<Toy>>, count: usize) -> Vec<tokio::task::JoinHandle<()>> {
    let member = |pool: Rc<Pool<Toy>>| async move {
        while let Ok(lease) = pool.lease(0).await {
            tokio::time::sleep(5 * MS).await;
            lease.release(Reuse::Clean);
        }
    };
    (0..count).map(|_| crate::tasks::spawn_session(member(pool.clone()))).collect()
}

#[test]
fn a_new_epoch_closes_idle_connections_and_fences_leases() {
    play(async |house| {
        let (pool, _) = alone(&house, 3);
        let mut held = leases(&pool, 2).await;
        held.pop().unwrap().release(Reuse::Clean);
        let (mut lent, mut idle) = (house.toy.far_end(), house.toy.far_end());
        house.crown(2, 2);
        assert!(!held[0].is_current(), "at once, before the pool was told");
        assert!(pool.try_lease().is_none());
        idle.hears_last("X").await;
        release(held);
        lent.hears_last("X").await;
        assert_eq!(pool.census().idle, 0);
        drop(pool.lease(0).await);
        assert_eq!(house.toy.far_end().port, 2);
    });
}

#[test]
fn nothing_of_an_old_epoch_is_handed_to_a_waiter() {
    play(async |house| {
        let (pool, _) = alone(&house, 1);
        let lease = pool.lease(0).await.unwrap();
        let mut wait: Wait<'_> = pin!(pool.lease(0));
        waits(&mut wait);
        house.toy.far_end();
        lease.release(Reuse::Clean); // on its way
        house.crown(2, 2);
        waits(&mut wait);
        breathe().await;
        has_lease(&mut wait);
        assert_eq!(house.toy.far_end().port, 2);
    });
}

#[test]
fn what_was_being_opened_for_an_old_epoch_is_closed() {
    play(async |house| {
        let (pool, _) = alone(&house, 1);
        house.toy.set(Mood::Slow(50 * MS));
        let mut wait: Wait<'_> = pin!(pool.lease(0));
        waits(&mut wait);
        breathe().await;
        house.crown(2, 2);
        let lease = wait.await.unwrap();
        assert_eq!((house.toy.far_end().port, house.toy.far_end().port), (1, 2));
        assert!(lease.is_current());
    });
}

#[test]
fn without_a_primary_who_waits_is_held_and_resumes_on_the_new_one() {
    play(async |house| {
        let (pool, _) = alone(&house, 1);
        let _old = pool.lease(0).await.unwrap();
        house.toy.far_end();
        let mut wait: Wait<'_> = pin!(pool.lease(7));
        waits(&mut wait);
        house.lose_primary();
        breathe().await;
        waits(&mut wait);
        let held = house.hold.snapshot();
        assert_eq!((pool.census().waiting, held.clients, held.bytes), (0, 1, 7));
        drop(_old);
        house.crown(2, 2);
        assert!(wait.await.is_ok());
        assert_eq!((house.toy.far_end().port, house.hold.snapshot().clients), (2, 0));
    });
}

#[test]
fn the_hold_is_bounded_in_time_and_number() {
    play(async |house| {
        let (pool, _) = alone(&house, 1);
        house.lose_primary();
        let (mut one, mut two): (Wait<'_>, Wait<'_>) = (pin!(pool.lease(0)), pin!(pool.lease(0)));
        waits(&mut one);
        waits(&mut two);
        assert_eq!(pool.lease(0).await.err(), Some(Refusal::HoldFull));
        assert_eq!(one.await.err(), Some(Refusal::NoUpstream));
    });
}

#[test]
fn what_idles_too_long_is_closed_but_for_the_warm_minimum() {
    play(async |house| {
        let idle = Duration::from_secs(60);
        let permits = Permits::new(5);
        let pool = house.pool(limits(|limits| (limits.idle, limits.min) = (idle, 1)), &permits);
        release(leases(&pool, 3).await);
        tokio::time::sleep(idle - BEAT).await;
        assert_eq!(pool.census().open, 3);
        tokio::time::sleep(3 * BEAT).await;
        assert_eq!(pool.census().open, 1);
        house.toy.far_end().hears_last("X").await;
    });
}

#[test]
fn the_warm_minimum_is_there_before_anybody_asks() {
    play(async |house| {
        let pool = house.pool(limits(|limits| limits.min = 2), &Permits::new(5));
        breathe().await;
        assert_eq!(pool.census().idle, 2);
    });
}

#[test]
fn no_connection_outlives_its_lifetime_and_they_do_not_end_together() {
    play(async |house| {
        let lifetime = Duration::from_secs(1000);
        let pool = house.pool(limits(|limits| limits.lifetime = lifetime), &Permits::new(50));
        release(leases(&pool, 50).await);
        tokio::time::sleep(lifetime.mul_f64(0.9) - BEAT).await;
        assert_eq!(pool.census().open, 50);
        tokio::time::sleep(lifetime.mul_f64(0.05)).await;
        assert!((1..50).contains(&pool.census().open));
        tokio::time::sleep(lifetime.mul_f64(0.05) + 3 * BEAT).await;
        assert_eq!(pool.census().open, 0);
    });
}

#[test]
fn a_busy_connection_ends_at_its_lifetime_too() {
    play(async |house| {
        let lifetime = Duration::from_secs(10);
        let pool = house.pool(limits(|limits| limits.lifetime = lifetime), &Permits::new(1));
        let lease = pool.lease(0).await.unwrap();
        tokio::time::sleep(lifetime).await;
        lease.release(Reuse::Clean);
        assert_eq!((pool.census().open, pool.census().idle), (0, 0));
    });
}

#[test]
fn a_dead_idle_connection_is_never_lent() {
    play(async |house| {
        let (pool, _) = alone(&house, 2);
        release(leases(&pool, 2).await);
        drop(house.toy.far_end());
        house.toy.far_end().say("unasked").await;
        tokio::task::yield_now().await;
        assert!(pool.try_lease().is_none());
        assert_eq!((pool.census().open, house.toy.suspicions()), (0, 2));
    });
}

#[test]
fn a_session_that_has_used_up_its_budget_is_not_lent_a_dead_connection_either() {
    play(async |house| {
        let (pool, _) = alone(&house, 1);
        release(leases(&pool, 1).await);
        let (mut busy, mut talker) = tokio::net::UnixStream::pair().unwrap();
        talker.write_all(&[7; 4096]).await.unwrap();
        drop(house.toy.far_end());
        breathe().await;
        while busy.read_u8().now_or_never().is_some() {}
        assert!(pool.try_lease().is_none());
    });
}

#[test]
fn a_connection_with_unread_or_unsent_bytes_is_not_lent_again() {
    play(async |house| {
        let (pool, _) = alone(&house, 1);
        let dirt: [fn(&mut Lease<Toy>); 2] =
            [|lease| lease.link.inbox.keep(b"?"), |lease| lease.link.outbox.push(b"?")];
        for dirty in dirt {
            let mut lease = pool.lease(0).await.unwrap();
            dirty(&mut lease);
            lease.release(Reuse::Clean);
            assert_eq!(pool.census().open, 0);
        }
    });
}

#[test]
fn a_dropped_lease_and_a_dropped_pool_give_their_permits_back() {
    play(async |house| {
        let (pool, permits) = alone(&house, 2);
        let held = leases(&pool, 2).await;
        assert!(permits.try_take().is_none());
        drop(held);
        assert_eq!(pool.census().open, 0);
        release(leases(&pool, 2).await);
        drop(pool);
        breathe().await;
        assert!(permits.try_take().is_some_and(|_one| permits.try_take().is_some()));
    });
}
