//! Nothing but files beneath the root is sent, whatever a path says and wherever links lead. Kind: driver.

use super::*;

/// Whatever a path says, nothing but regular files beneath the root is sent, indexed or not, links followed or not.
#[test]
fn nothing_else_than_files_beneath_the_root_is_sent() {
    let outside = TempDir::new().expect("a temporary folder can be made");
    write(outside.path(), "secret.txt", b"secret");
    for (preload, symlinks) in [(true, false), (true, true), (false, false), (false, true)] {
        let shop =
            Shop::new(&[("dir/a.txt", b"x"), (".env", b"secret"), (".git/config", b"secret")], |terms| {
                let root = &terms.mounts[0].root;
                symlink(outside.path().join("secret.txt"), root.join("out.txt")).expect("a link can be made");
                symlink(outside.path(), root.join("outside")).expect("a link can be made");
                symlink("../../../../../../etc/passwd", root.join("passwd")).expect("a link can be made");
                symlink("/proc/self/environ", root.join("environ")).expect("a link can be made");
                mkfifoat(CWD, root.join("pipe"), Mode::RUSR).expect("a pipe can be made");
                (terms.mounts[0].preload, terms.mounts[0].symlinks) = (preload, symlinks);
            });
        let secret = outside.path().join("secret.txt");
        let paths = [
            "out.txt",
            "outside/secret.txt",
            "passwd",
            "environ",
            "pipe",
            "dir",
            "dir/",
            "",
            "/",
            "dir/../dir/a.txt",
            "../secret.txt",
            "..",
            ".",
            "dir/.",
            "dir//a.txt",
            "/dir/a.txt",
            ".env",
            ".git/config",
            "dir/a.txt/",
            "dir/a.txt/b",
            "dir/a.txt\0",
            "no.txt",
            "/etc/passwd",
            secret.to_str().expect("it is text"),
        ];
        for path in paths.into_iter().chain([format!("{}a", "x/".repeat(4000)).as_str(), &"y".repeat(300)]) {
            let answer = shop.find(path);
            assert!(matches!(answer, Answer::Missing), "{preload} {symlinks} {path:?}: {answer:?}");
        }
        assert_eq!(shop.get("dir/a.txt").body, b"x");
    }
}

#[test]
fn links_within_the_root_are_followed_if_that_is_wished() {
    for (preload, symlinks) in [(true, true), (false, true), (true, false), (false, false)] {
        let shop = Shop::new(&[("a.txt", b"x")], |terms| {
            symlink("a.txt", terms.mounts[0].root.join("b.txt")).expect("a link can be made");
            (terms.mounts[0].preload, terms.mounts[0].symlinks) = (preload, symlinks);
        });
        assert_eq!(matches!(shop.find("b.txt"), Answer::Memory { .. }), symlinks);
    }
}

/// `current -> release-1` becomes `current -> release-2`.
#[test]
fn a_link_to_the_folder_may_be_put_over() {
    for preload in [true, false] {
        let mut shop = Shop::new(&[("1/a.txt", b"one"), ("2/a.txt", b"two")], |terms| {
            let current = terms.mounts[0].root.join("current");
            symlink("1", &current).expect("a link can be made");
            (terms.mounts[0].root, terms.mounts[0].preload) = (current, preload);
        });
        assert_eq!(shop.get("a.txt").body, b"one");
        symlink("2", shop.folder.path().join("next")).expect("a link can be made");
        fs::rename(shop.folder.path().join("next"), shop.folder.path().join("current"))
            .expect("it can be renamed");
        shop.look(Instant::now());
        assert_eq!(shop.get("a.txt").body, b"two");
    }
}

#[test]
fn a_folder_that_vanishes_is_served_from_memory_on() {
    let mut shop = Shop::new(&[("s/a.txt", b"x")], |terms| {
        let root = terms.mounts[0].root.join("s");
        terms.mounts[0].root = root;
    });
    fs::rename(shop.folder.path().join("s"), shop.folder.path().join("t")).expect("it can be renamed");
    shop.look(Instant::now());
    assert_eq!(shop.get("a.txt").body, b"x");
}

#[test]
fn a_site_without_its_folder_does_not_open() {
    let terms = Terms { mounts: vec![Mount::assets("/static/", "/nonexistent/folder")], ..Terms::default() };
    let refused = Site::open_now(terms, Gauges::new(&Registry::new("http-lb", "0")), None)
        .expect_err("it is not there");
    assert!(refused.to_string().starts_with("can't open the folder /nonexistent/folder for /static/: "));
}
