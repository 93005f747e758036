//! What an operator says of a folder: who may have what, for how long, and under which path. Kind: driver.

use super::*;

#[test]
fn only_names_that_tell_their_content_are_immutable() {
    let (listed, stranger) = ("app.0123456789ab.js", "app.ba9876543210.js");
    let own = hashed("own", b"own", "js");
    let manifest = format!(r#"{{"paths": {{"app.js": "{listed}", "x.js": "x.js"}}}}"#);
    let bundles = r#"{"1": "<script src=\"/s/CACHE/js/out.aaaaaaaaaaaa.js\"></script>"}"#;
    let shop = Shop::new(
        &[
            ("staticfiles.json", manifest.as_bytes()),
            ("CACHE/manifest.json", bundles.as_bytes()),
            ("CACHE/js/out.aaaaaaaaaaaa.js", b"1"),
            (listed, b"2"),
            (stranger, b"3"),
            (&own, b"own"),
            ("x.js", b"4"),
        ],
        |_| {},
    );
    for (path, immutable) in [
        (listed, true),
        ("CACHE/js/out.aaaaaaaaaaaa.js", true),
        (&own, true),
        (stranger, false),
        ("x.js", false),
    ] {
        assert_eq!(shop.get(path).field("cache-control") == IMMUTABLE, immutable, "{path}");
    }
}

#[test]
fn media_is_attached_where_a_browser_might_run_it_and_some_of_it_is_nobodys_business() {
    let files: [(&str, &[u8]); 5] = [
        ("pub/a.png", b"x"),
        ("pub/a.svg", b"x"),
        ("pub/a.html", b"x"),
        ("cachedfiles/a.pdf", b"x"),
        ("invoices/1", b"x"),
    ];
    let shop = Shop::new(&files, |terms| {
        let root = terms.mounts[0].root.clone();
        terms.mounts[0] = Mount::media("/media/", root);
        terms.mounts[0].denied = ["cachedfiles", "invoices"].map(str::to_owned).to_vec();
    });
    assert_eq!(shop.get("pub/a.png").maybe("content-disposition"), None);
    assert_eq!(shop.get("pub/a.png").field("cache-control"), "public, max-age=604800");
    assert_eq!(shop.get("pub/a.svg").field("content-disposition"), "attachment");
    assert_eq!(shop.get("pub/a.html").field("content-disposition"), "attachment");
    for path in ["cachedfiles/a.pdf", "cachedfiles", "cachedfiles/none", "cachedfilesx", "invoices/1"] {
        assert!(matches!(shop.find(path), Answer::Denied), "{path}");
    }
}

#[test]
fn if_only_some_of_it_is_public_the_rest_is_not_there() {
    let shop = Shop::new(&[("pub/a.png", b"x"), ("other/a.png", b"x")], |terms| {
        terms.mounts[0].only = vec!["pub/".to_owned()];
    });
    assert_eq!(shop.get("pub/a.png").status, 200);
    assert!(matches!(shop.find("other/a.png"), Answer::Denied));
}

#[test]
fn candidates_are_tried_one_after_the_other() {
    let shop =
        Shop::new(&[("a", b"a"), ("b.html", b"b"), ("c/index.html", b"c"), ("app.html", b"app")], |terms| {
            let candidates = ["$uri", "$uri.html", "$uri/index.html", "/app.html"];
            terms.mounts[0].candidates = candidates.map(|text| text.parse().expect("it is one")).to_vec();
            terms.mounts[0].denied = vec!["secret".to_owned()];
        });
    for (path, body) in [("a", b"a".as_slice()), ("b", b"b"), ("c", b"c"), ("d", b"app"), ("../x", b"app")] {
        assert_eq!(shop.get(path).body, body, "{path}");
    }
    assert!(matches!(shop.find("secret"), Answer::Denied));
}

#[test]
fn a_page_stands_for_its_folder_only_if_that_is_wished() {
    let files: [(&str, &[u8]); 2] = [("index.html", b"top"), ("a b/index.html", b"page")];
    for preload in [true, false] {
        let shop = Shop::new(&files, |terms| {
            (terms.mounts[0].preload, terms.mounts[0].index) = (preload, Some("index.html".to_owned()));
        });
        assert_eq!((shop.get("").body, shop.get("a b/").body), (b"top".to_vec(), b"page".to_vec()));
        let moved = shop.get("a b");
        assert_eq!((moved.status, moved.field("location")), (301, "/static/a%20b/"));
    }
    let shop = Shop::new(&files, |_| {});
    assert!(matches!(shop.find(""), Answer::Missing));
    assert!(matches!(shop.find("a b"), Answer::Missing));
}

#[test]
fn the_longest_prefix_is_found() {
    let shop = Shop::new(&[("x", b"x")], |terms| {
        let root = terms.mounts[0].root.clone();
        terms.mounts.push(Mount::assets("/", &root));
        terms.mounts.push(Mount::assets("/static/media/", &root));
    });
    let find = |path: &'static str| {
        shop.site.find(path.as_bytes()).map(|(id, rest)| (id.0, std::str::from_utf8(rest).expect("text")))
    };
    assert_eq!(find("/static/a.js"), Some((0, "a.js")));
    assert_eq!(find("/static/media/a.js"), Some((2, "a.js")));
    assert_eq!(find("/static"), Some((1, "static")));
    assert_eq!(find("/staticx/a"), Some((1, "staticx/a")));
    assert_eq!(find("x"), None);
}

#[test]
fn mounts_that_can_not_be_are_refused() {
    let check = |change: fn(&mut Mount), good: bool| {
        let mut mount = Mount::assets("/static/", "/srv");
        change(&mut mount);
        assert_eq!(mount.check().is_ok(), good, "{mount:?}");
    };
    check(|_| {}, true);
    check(|mount| mount.prefix = "/".to_owned(), true);
    check(|mount| mount.prefix = "/static".to_owned(), false);
    check(|mount| mount.prefix = "static/".to_owned(), false);
    check(|mount| mount.prefix = "/a//b/".to_owned(), false);
    check(|mount| mount.prefix = "/a/../b/".to_owned(), false);
    check(|mount| mount.denied = vec!["/cachedfiles".to_owned()], false);
    check(|mount| mount.denied = vec![String::new()], false);
    check(|mount| mount.fields = vec![("x-a".to_owned(), "b\r\nc: d".to_owned())], false);
    check(|mount| mount.fields = vec![("Link".to_owned(), "</a.css>; rel=preload".to_owned())], true);
    check(|mount| mount.fields = vec![("Cache-Control".to_owned(), "no-store".to_owned())], false);
    check(|mount| mount.fields = vec![("x a".to_owned(), "b".to_owned())], false);
}
