//! What becomes of a site when its folders change. Kind: driver.

use super::*;

#[test]
fn a_change_is_taken_over_as_a_whole_once_it_has_come_to_rest() {
    let mut shop = Shop::new(&[("a.txt", b"old"), ("b.txt", b"old")], |_| {});
    let now = Instant::now();
    shop.write("a.txt", b"newer");
    shop.watch.look(shop.site.mounts(), now);
    assert_eq!(shop.get("a.txt").body, b"old", "it may go on changing");
    shop.write("b.txt", b"newer");
    shop.watch.look(shop.site.mounts(), now);
    assert_eq!((shop.get("a.txt").body, shop.get("b.txt").body), (b"old".to_vec(), b"old".to_vec()));
    shop.watch.look(shop.site.mounts(), now);
    assert_eq!((shop.get("a.txt").body, shop.get("b.txt").body), (b"newer".to_vec(), b"newer".to_vec()));
    shop.remove("a.txt");
    shop.look(now);
    assert!(matches!(shop.find("a.txt"), Answer::Missing));
    shop.write("c.txt", b"new");
    assert_eq!(shop.get("c.txt").body, b"new", "what is not indexed yet comes from disk");
}

#[test]
fn a_folder_that_never_rests_is_indexed_all_the_same() {
    let mut shop = Shop::new(&[("a.txt", b"old")], |_| {});
    for turn in 0..12 {
        shop.write("a.txt", format!("new {turn}").as_bytes());
        shop.watch.look(shop.site.mounts(), Instant::now());
    }
    assert!(shop.get("a.txt").body.starts_with(b"new"));
}

#[test]
fn what_did_not_change_is_not_read_again() {
    let mut shop = Shop::new(&[("a.js", &text(10_000)), ("b.js", b"old")], |terms| {
        terms.mounts[0].precompress = vec![Coding::Gzip];
    });
    shop.compress();
    let index = shop.site.mounts().served[0].index.load_full();
    shop.write("b.js", b"newer");
    shop.look(Instant::now());
    let again = shop.site.mounts().served[0].index.load_full();
    assert!(std::ptr::eq(
        index.asset(b"a.js").expect("it is there").as_ref(),
        again.asset(b"a.js").expect("it is").as_ref()
    ));
}

/// A deploy: pages that were made before it still ask for the old files.
#[test]
fn hashed_files_that_vanish_are_served_for_a_while() {
    let (old, new) = (hashed("app", b"old", "js"), hashed("app", b"new", "js"));
    let mut shop = Shop::new(&[(&old, b"old"), ("plain.js", b"x")], |terms| {
        terms.mounts[0].keep = Duration::from_secs(60);
    });
    let start = Instant::now();
    shop.remove(&old);
    shop.remove("plain.js");
    shop.write(&new, b"new");
    shop.look(start);
    assert_eq!((shop.get(&old).body, shop.get(&new).body), (b"old".to_vec(), b"new".to_vec()));
    assert_eq!(shop.get(&old).field("cache-control"), IMMUTABLE);
    assert!(matches!(shop.find("plain.js"), Answer::Missing), "nobody knows what it would be now");
    assert_eq!(shop.site.mounts().served[0].tally().kept, 1);
    shop.look(start + Duration::from_secs(59));
    assert_eq!(shop.get(&old).body, b"old");
    shop.look(start + Duration::from_secs(60));
    assert!(matches!(shop.find(&old), Answer::Missing));
}

#[test]
fn vanished_files_are_kept_only_as_far_as_there_is_room() {
    let content = text(10_000);
    let old = hashed("old", &content, "js");
    let mut shop = Shop::new(&[(&old, &content)], |terms| terms.memory = 15_000);
    shop.remove(&old);
    shop.write("new.js", &text(9_000));
    shop.look(Instant::now());
    assert!(matches!(shop.find(&old), Answer::Missing));
    assert_eq!(shop.get("new.js").body.len(), 9_000);
}

/// The keeper's own thread: nothing but time makes it look.
#[test]
fn the_keeper_looks_by_itself_and_ends_with_its_site() {
    let shop = Shop::new(&[("a.js", &text(10_000))], |terms| {
        terms.poll = Duration::from_millis(1);
        terms.mounts[0].precompress = vec![Coding::Gzip];
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    while shop.ask("a.js", accepting("gzip")).maybe("content-encoding").is_none() {
        assert!(Instant::now() < deadline, "it compresses");
        std::thread::yield_now();
    }
    shop.write("a.js", b"new");
    while shop.get("a.js").body != b"new" {
        assert!(Instant::now() < deadline, "it notices");
        std::thread::yield_now();
    }
    let mounts = std::sync::Arc::downgrade(&shop.site.mounts);
    drop(shop);
    while mounts.strong_count() > 0 {
        assert!(Instant::now() < deadline, "it ends");
        std::thread::yield_now();
    }
}
