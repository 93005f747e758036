//! What is kept in memory, and what comes from disk. Kind: driver.

use super::*;

#[test]
fn a_file_that_is_too_large_for_memory_comes_from_disk() {
    let content = text(50_000);
    let name = hashed("big", &content, "txt");
    let shop = Shop::new(&[("big.txt", &content), (&name, &content), ("small.txt", b"x")], |terms| {
        terms.mounts[0].max_file = 49_999;
    });
    assert!(matches!(shop.find("big.txt"), Answer::Disk { .. }));
    assert_eq!(shop.get("big.txt").body, content);
    assert_eq!(shop.get("big.txt").field("cache-control"), "public, max-age=600");
    assert_eq!(shop.get(&name).field("cache-control"), IMMUTABLE, "its hash was looked at");
    shop.write(&name, b"something else");
    assert_eq!(shop.get(&name).field("cache-control"), "public, max-age=600", "it is not that file any more");
}

#[test]
fn a_huge_file_is_neither_read_nor_hashed() {
    let name = "huge.0123456789ab.bin";
    let shop = Shop::new(&[(name, b"")], |terms| {
        let file = File::options().write(true).open(terms.mounts[0].root.join(name)).expect("it is there");
        file.set_len(1 << 40).expect("a file may have a hole");
    });
    let Answer::Disk { status: 200, length, offset: 0, .. } = shop.find(name) else {
        panic!("it comes from disk")
    };
    assert_eq!(length, 1 << 40);
    let end = shop.ask(name, ranged("bytes=-2"));
    assert_eq!((end.status, end.body.as_slice()), (206, &[0, 0][..]));
    assert_eq!(end.field("content-range"), "bytes 1099511627774-1099511627775/1099511627776");
    assert_eq!(end.field("cache-control"), "public, max-age=600");
}

/// Django leaves most files twice, with and without the hash in their names.
#[test]
fn files_of_the_same_content_share_it() {
    let content = text(10_000);
    let twin = hashed("a", &content, "js");
    let shop = Shop::new(&[("a.js", &content), (&twin, &content)], |terms| {
        terms.mounts[0].precompress = vec![Coding::Gzip];
    });
    shop.compress();
    for path in ["a.js", twin.as_str()] {
        assert_eq!(shop.ask(path, accepting("gzip")).maybe("content-encoding"), Some("gzip"));
    }
    let (_, tally) = shop.site.tallies().next().expect("there is a mount");
    assert!(tally.in_memory == 2 && tally.bytes < 12_000, "{tally:?}");
    let freshness = [shop.get("a.js"), shop.get(&twin)].map(|sent| sent.field("cache-control").to_owned());
    assert_eq!(freshness, ["public, max-age=600", IMMUTABLE], "what is said of them differs");
}

#[test]
fn memory_is_bounded_and_small_files_come_first() {
    let (content, other) = (text(10_000), text(10_001));
    let files = [("a.txt", content.as_slice()), ("b.txt", other.as_slice()), ("c.txt", b"x")];
    let shop = Shop::new(&files, |terms| terms.memory = 12_000);
    let tally = shop.site.mounts().served[0].tally();
    assert_eq!((tally.files, tally.in_memory), (3, 2));
    assert!(tally.bytes <= 12_000);
    assert_eq!((shop.get("a.txt").body, shop.get("b.txt").body), (content, other));
}
