//! A site over real folders: what is served, how, and what becomes of it when the folders change. Kind: driver.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use md5::Digest as _;
use proxy_core::metrics::Registry;
use rustix::fs::{CWD, Mode, mkfifoat};
use tempfile::TempDir;

use super::gauges::Gauges;
use super::keeper::{self, Watch};
use super::precompress;
use super::*;

const NOW: u64 = 4_000_000_000;
const ASSETS: MountId = MountId(0);

/// A folder, and a site that serves it at `/static/`.
struct Shop {
    folder: TempDir,
    site: Site,
    watch: Watch,
}

/// What came of a request: everything that a codec would send, but Date and Connection.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    status: u16,
    fields: String,
    length: Option<u64>,
    body: Vec<u8>,
}

impl Shop {
    /// With these files, on terms that `change` changes.
    fn new(files: &[(&str, &[u8])], change: impl FnOnce(&mut Terms)) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        for (path, content) in files {
            write(folder.path(), path, content);
        }
        let mut terms = Terms { mounts: vec![Mount::assets("/static/", folder.path())], ..Terms::default() };
        // The keeper's thread looks on its own then only when a test lets it.
        terms.poll = Duration::ZERO;
        terms.mounts[0].precompress.clear();
        change(&mut terms);
        let site = open(terms, None);
        Self { folder, site, watch: Watch::default() }
    }

    fn answer(&self, path: &str, wants: Wants<'_>) -> Answer {
        self.site.answer(ASSETS, &wants, path.as_bytes(), NOW)
    }

    fn get(&self, path: &str) -> Sent {
        sent(self.answer(path, Wants::default()))
    }

    /// Looks twice, as a change must come to rest; the second time at this moment.
    fn look(&mut self, now: Instant) {
        self.watch.look(self.site.inner(), now);
        self.watch.look(self.site.inner(), now);
    }

    fn write(&self, path: &str, content: &[u8]) {
        write(self.folder.path(), path, content);
    }
}

fn open(terms: Terms, before: Option<&Site>) -> Site {
    Site::open_now(terms, Gauges::new(&Registry::new("http-lb", "0")), before).expect("the folders are there")
}

fn write(folder: &Path, path: &str, content: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("folders can be made");
    fs::write(path, content).expect("files can be written");
}

/// `name.<hash>.ext`, as Django names it.
fn hashed(stem: &str, content: &[u8], extension: &str) -> String {
    let hash: String = md5::Md5::digest(content).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{stem}.{hash}.{extension}")
}

#[track_caller]
fn sent(answer: Answer) -> Sent {
    let text = |fields: Bytes| String::from_utf8(fields.to_vec()).expect("fields are text");
    let sent = match answer {
        Answer::Memory { status, fields, length, body } => {
            Sent { status, fields: text(fields), length, body: body.to_vec() }
        }
        Answer::Disk { status, fields, length, file, offset } => {
            let mut body = vec![0; usize::try_from(length).expect("tests are small")];
            file.read_exact_at(&mut body, offset).expect("the file is as long as was said");
            Sent { status, fields: text(fields), length: Some(length), body }
        }
        Answer::Parts { fields, length, parts } => {
            let pieces = parts.into_iter().map(|part| match part {
                Part::Memory(bytes) => bytes.to_vec(),
                Part::Disk { file, offset, length } => {
                    let mut piece = vec![0; usize::try_from(length).expect("tests are small")];
                    file.read_exact_at(&mut piece, offset).expect("the file is as long as was said");
                    piece
                }
            });
            Sent { status: 206, fields: text(fields), length: Some(length), body: pieces.flatten().collect() }
        }
        other => panic!("nothing is sent: {other:?}"),
    };
    for line in sent.fields.split_inclusive("\r\n") {
        assert!(line.ends_with("\r\n") && line.contains(": "), "a field: {line:?}");
    }
    sent
}

impl Sent {
    #[track_caller]
    fn field(&self, name: &str) -> &str {
        self.maybe(name).unwrap_or_else(|| panic!("no {name} in {}", self.fields))
    }

    fn maybe(&self, name: &str) -> Option<&str> {
        self.fields.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

fn text(length: usize) -> Vec<u8> {
    b"Every ticket is sold once. ".iter().copied().cycle().take(length).collect()
}

const IMMUTABLE: &str = "public, max-age=31536000, immutable";

#[test]
fn a_file_is_sent_from_memory_with_all_it_needs() {
    let shop = Shop::new(&[("css/app.css", b"body {}")], |_| {});
    let sent = shop.get("css/app.css");
    assert_eq!((sent.status, sent.length, sent.body.as_slice()), (200, Some(7), &b"body {}"[..]));
    assert_eq!(sent.field("content-type"), "text/css; charset=utf-8");
    assert_eq!(sent.field("cache-control"), "public, max-age=600");
    assert_eq!(sent.field("accept-ranges"), "bytes");
    assert_eq!(sent.field("vary"), "Accept-Encoding");
    assert_eq!(sent.field("x-content-type-options"), "nosniff");
    assert!(sent.field("etag").starts_with('"') && sent.field("last-modified").ends_with(" GMT"));
    assert!(matches!(shop.answer("css/app.css", Wants::default()), Answer::Memory { .. }));
}

/// The same request of the same file in memory, small on disk, and large on disk, gets the same, but for the entity tag.
#[track_caller]
fn check_alike(wants: Wants<'_>, status: u16, length: Option<u64>, body: &[u8]) {
    let content = text(100_000);
    let memory = Shop::new(&[("a.txt", &content)], |_| {});
    let disk = Shop::new(&[("a.txt", &content)], |terms| terms.mounts[0].preload = false);
    for shop in [memory, disk] {
        let sent = sent(shop.answer("a.txt", wants));
        assert_eq!((sent.status, sent.length), (status, length), "{wants:?}");
        assert_eq!(sent.body, body, "{wants:?}");
    }
}

fn ranged(range: &str) -> Wants<'_> {
    Wants { range: Some(range.as_bytes()), ..Wants::default() }
}

#[test]
fn memory_and_disk_answer_alike() {
    let content = text(100_000);
    let conditions = Conditions { if_none_match: Some(b"*"), ..Conditions::default() };
    check_alike(Wants::default(), 200, Some(100_000), &content);
    check_alike(Wants { verb: Verb::Head, ..Wants::default() }, 200, Some(100_000), b"");
    check_alike(Wants { conditions, ..Wants::default() }, 304, None, b"");
    let conditions = Conditions { if_match: Some(b"\"other\""), ..Conditions::default() };
    check_alike(Wants { conditions, ..Wants::default() }, 412, Some(0), b"");
    check_alike(ranged("bytes=10-19"), 206, Some(10), &content[10..20]);
    check_alike(ranged("bytes=1000-90999"), 206, Some(90_000), &content[1000..91_000]);
    check_alike(ranged("bytes=100000-"), 416, Some(0), b"");
}

#[test]
fn several_parts_add_up() {
    let content = text(100_000);
    for preload in [true, false] {
        let shop = Shop::new(&[("a.txt", &content)], |terms| terms.mounts[0].preload = preload);
        let sent = sent(shop.answer("a.txt", ranged("bytes=0-4,50000-89999")));
        assert_eq!(sent.length, Some(sent.body.len() as u64));
        let boundary =
            sent.field("content-type").strip_prefix("multipart/byteranges; boundary=").expect("it has parts");
        let body = String::from_utf8(sent.body.clone()).expect("the file is text");
        let parts: Vec<_> = body.split(&format!("--{boundary}")).collect();
        assert_eq!((parts.len(), parts[0], parts[3]), (4, "", "--\r\n"));
        let head = "\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-range: bytes";
        assert_eq!(parts[1], format!("{head} 0-4/100000\r\n\r\nEvery\r\n"));
        let second = String::from_utf8_lossy(&content[50_000..90_000]);
        assert_eq!(parts[2], format!("{head} 50000-89999/100000\r\n\r\n{second}\r\n"));
    }
}

#[test]
fn a_known_file_is_known_again_by_its_tag_and_by_its_date() {
    let shop = Shop::new(&[("a.txt", b"x")], |_| {});
    let first = shop.get("a.txt");
    let by_tag = Conditions { if_none_match: Some(first.field("etag").as_bytes()), ..Conditions::default() };
    let by_date = Conditions {
        if_modified_since: Some(first.field("last-modified").as_bytes()),
        ..Conditions::default()
    };
    for conditions in [by_tag, by_date] {
        let again = sent(shop.answer("a.txt", Wants { conditions, ..Wants::default() }));
        assert_eq!(again.status, 304);
        for name in ["etag", "cache-control", "vary"] {
            assert_eq!(again.field(name), first.field(name), "a cache freshens what it has");
        }
        assert!(again.maybe("content-type").is_none());
    }
}

#[test]
fn files_are_only_read() {
    for preload in [true, false] {
        let shop = Shop::new(&[("a.txt", b"x")], |terms| terms.mounts[0].preload = preload);
        let wants = Wants { verb: Verb::Other, ..Wants::default() };
        assert!(matches!(shop.answer("a.txt", wants), Answer::NotAllowed));
        assert!(matches!(shop.answer("b.txt", wants), Answer::Missing), "the fallback may take it");
    }
}

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
            let answer = shop.answer(path, Wants::default());
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
        assert_eq!(matches!(shop.answer("b.txt", Wants::default()), Answer::Memory { .. }), symlinks);
    }
}

#[test]
fn a_file_that_is_too_large_for_memory_comes_from_disk() {
    let content = text(50_000);
    let name = hashed("big", &content, "txt");
    let shop = Shop::new(&[("big.txt", &content), (&name, &content), ("small.txt", b"x")], |terms| {
        terms.mounts[0].max_file = 49_999;
    });
    assert!(matches!(shop.answer("big.txt", Wants::default()), Answer::Disk { .. }));
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
        let file =
            fs::File::options().write(true).open(terms.mounts[0].root.join(name)).expect("it is there");
        file.set_len(1 << 40).expect("a file may have a hole");
    });
    let Answer::Disk { status: 200, length, offset: 0, .. } = shop.answer(name, Wants::default()) else {
        panic!("it comes from disk")
    };
    assert_eq!(length, 1 << 40);
    let end = sent(shop.answer(name, ranged("bytes=-2")));
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
    while keeper::compress_one(shop.site.inner()) {}
    for path in ["a.js", twin.as_str()] {
        assert_eq!(sent(shop.answer(path, accepting("gzip"))).maybe("content-encoding"), Some("gzip"));
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
    let tally = shop.site.inner().mounts[0].tally();
    assert_eq!((tally.files, tally.in_memory), (3, 2));
    assert!(tally.bytes <= 12_000);
    assert_eq!((shop.get("a.txt").body, shop.get("b.txt").body), (content, other));
}

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

fn accepting(accept: &str) -> Wants<'_> {
    Wants { accept_encoding: Some(accept.as_bytes()), ..Wants::default() }
}

/// Unpacks what was sent, by what it says itself.
#[track_caller]
fn unpacked(sent: &Sent) -> Vec<u8> {
    let (mut plain, packed) = (Vec::new(), sent.body.as_slice());
    let read = match sent.maybe("content-encoding") {
        Some("br") => brotli::Decompressor::new(packed, 4096).read_to_end(&mut plain),
        Some("zstd") => {
            zstd::stream::read::Decoder::new(packed).expect("it begins well").read_to_end(&mut plain)
        }
        Some("gzip") => flate2::read::GzDecoder::new(packed).read_to_end(&mut plain),
        _ => return sent.body.clone(),
    };
    read.expect("it can be unpacked");
    plain
}

#[test]
fn variants_are_made_and_chosen_and_each_has_its_own_tag() {
    let content = text(10_000);
    let shop = Shop::new(&[("a.js", &content), ("a.png", &content), ("tiny.js", b"x")], |terms| {
        terms.mounts[0].precompress = Coding::ALL.to_vec();
    });
    while keeper::compress_one(shop.site.inner()) {}
    let mut tags = vec![shop.get("a.js").field("etag").to_owned()];
    for coding in Coding::ALL {
        let sent = sent(shop.answer("a.js", accepting(coding.token())));
        assert_eq!(sent.maybe("content-encoding"), Some(coding.token()));
        assert_eq!((unpacked(&sent), sent.length), (content.clone(), Some(sent.body.len() as u64)));
        assert_eq!(sent.field("vary"), "Accept-Encoding");
        tags.push(sent.field("etag").to_owned());
    }
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(tags.len(), 4);
    assert!(sent(shop.answer("a.js", accepting("identity"))).maybe("content-encoding").is_none());
    assert!(sent(shop.answer("tiny.js", accepting("br"))).maybe("content-encoding").is_none());
    let picture = sent(shop.answer("a.png", accepting("br")));
    assert!(picture.maybe("content-encoding").is_none() && picture.maybe("vary").is_none());
}

#[test]
fn variants_do_not_outgrow_the_memory() {
    let content = text(10_000);
    let shop = Shop::new(&[("a.js", &content)], |terms| {
        terms.mounts[0].precompress = Coding::ALL.to_vec();
        terms.memory = 11_000;
    });
    while keeper::compress_one(shop.site.inner()) {}
    assert_eq!(shop.site.inner().mounts[0].tally().in_memory, 1);
    assert!(shop.site.inner().mounts[0].bytes() < 12_000);
}

/// A sibling that was made of the file is taken; one that was not is left alone.
#[test]
fn variants_on_disk_are_taken_if_they_are_of_the_file() {
    let content = text(10_000);
    let packed = precompress::compress(&content, Coding::Gzip).expect("text shrinks");
    let other = precompress::compress(&text(9_999), Coding::Brotli).expect("text shrinks");
    let files = [("a.js", content.as_slice()), ("a.js.gz", packed.as_ref()), ("a.js.br", other.as_ref())];
    let shop = Shop::new(&files, |_| {});
    let gzip = sent(shop.answer("a.js", accepting("gzip, br")));
    assert_eq!((gzip.maybe("content-encoding"), gzip.body.as_slice()), (Some("gzip"), packed.as_ref()));
    let itself = shop.get("a.js.gz");
    assert_eq!((itself.field("content-type"), itself.maybe("content-encoding")), ("application/gzip", None));
    let disk = Shop::new(&files, |terms| terms.mounts[0].preload = false);
    let gzip = sent(disk.answer("a.js", accepting("gzip")));
    assert_eq!((gzip.maybe("content-encoding"), gzip.body.as_slice()), (Some("gzip"), packed.as_ref()));
    assert_eq!(disk.get("a.js").field("vary"), "Accept-Encoding");
}

#[test]
fn a_part_of_a_variant_is_a_part_of_that_variant() {
    let content = text(10_000);
    let packed = precompress::compress(&content, Coding::Gzip).expect("text shrinks");
    let shop = Shop::new(&[("a.js", &content), ("a.js.gz", &packed)], |_| {});
    let part = sent(shop.answer("a.js", Wants { range: Some(b"bytes=2-5"), ..accepting("gzip") }));
    assert_eq!(part.body, packed[2..6]);
    assert_eq!(part.field("content-range"), format!("bytes 2-5/{}", packed.len()));
    let plain = shop.get("a.js");
    let conditions = Conditions { if_range: Some(plain.field("etag").as_bytes()), ..Conditions::default() };
    let other = Wants { range: Some(b"bytes=2-5"), conditions, ..accepting("gzip") };
    assert_eq!(
        sent(shop.answer("a.js", other)).status,
        200,
        "the client has the beginning of something else"
    );
}

#[test]
fn a_change_is_taken_over_as_a_whole_once_it_has_come_to_rest() {
    let mut shop = Shop::new(&[("a.txt", b"old"), ("b.txt", b"old")], |_| {});
    let now = Instant::now();
    shop.write("a.txt", b"newer");
    shop.watch.look(shop.site.inner(), now);
    assert_eq!(shop.get("a.txt").body, b"old", "it may go on changing");
    shop.write("b.txt", b"newer");
    shop.watch.look(shop.site.inner(), now);
    assert_eq!((shop.get("a.txt").body, shop.get("b.txt").body), (b"old".to_vec(), b"old".to_vec()));
    shop.watch.look(shop.site.inner(), now);
    assert_eq!((shop.get("a.txt").body, shop.get("b.txt").body), (b"newer".to_vec(), b"newer".to_vec()));
    fs::remove_file(shop.folder.path().join("a.txt")).expect("it can be removed");
    shop.look(now);
    assert!(matches!(shop.answer("a.txt", Wants::default()), Answer::Missing));
    shop.write("c.txt", b"new");
    assert_eq!(shop.get("c.txt").body, b"new", "what is not indexed yet comes from disk");
}

#[test]
fn a_folder_that_never_rests_is_indexed_all_the_same() {
    let mut shop = Shop::new(&[("a.txt", b"old")], |_| {});
    for turn in 0..12 {
        shop.write("a.txt", format!("new {turn}").as_bytes());
        shop.watch.look(shop.site.inner(), Instant::now());
    }
    assert!(shop.get("a.txt").body.starts_with(b"new"));
}

#[test]
fn what_did_not_change_is_not_read_again() {
    let mut shop = Shop::new(&[("a.js", &text(10_000)), ("b.js", b"old")], |terms| {
        terms.mounts[0].precompress = vec![Coding::Gzip];
    });
    while keeper::compress_one(shop.site.inner()) {}
    let index = shop.site.inner().mounts[0].index.load_full();
    shop.write("b.js", b"newer");
    shop.look(Instant::now());
    let again = shop.site.inner().mounts[0].index.load_full();
    assert!(std::ptr::eq(
        index.asset(b"a.js").expect("it is there").as_ref(),
        again.asset(b"a.js").expect("it is").as_ref()
    ));
}

#[test]
fn other_terms_make_other_heads_of_the_same_variants() {
    let shop =
        Shop::new(&[("a.js", &text(10_000))], |terms| terms.mounts[0].precompress = vec![Coding::Gzip]);
    while keeper::compress_one(shop.site.inner()) {}
    let mut terms = shop.site.inner().terms.clone();
    terms.mounts[0].max_age = Duration::from_secs(7);
    terms.mounts[0].precompress.clear();
    let site = open(terms, Some(&shop.site));
    let sent = sent(site.answer(ASSETS, &accepting("gzip"), b"a.js", NOW));
    assert_eq!(
        (sent.maybe("content-encoding"), sent.field("cache-control")),
        (Some("gzip"), "public, max-age=7")
    );
}

/// A deploy: pages that were made before it still ask for the old files.
#[test]
fn hashed_files_that_vanish_are_served_for_a_while() {
    let (old, new) = (hashed("app", b"old", "js"), hashed("app", b"new", "js"));
    let mut shop = Shop::new(&[(&old, b"old"), ("plain.js", b"x")], |terms| {
        terms.mounts[0].keep = Duration::from_secs(60);
    });
    let start = Instant::now();
    fs::remove_file(shop.folder.path().join(&old)).expect("it can be removed");
    fs::remove_file(shop.folder.path().join("plain.js")).expect("it can be removed");
    shop.write(&new, b"new");
    shop.look(start);
    assert_eq!((shop.get(&old).body, shop.get(&new).body), (b"old".to_vec(), b"new".to_vec()));
    assert_eq!(shop.get(&old).field("cache-control"), IMMUTABLE);
    assert!(
        matches!(shop.answer("plain.js", Wants::default()), Answer::Missing),
        "nobody knows what it would be now"
    );
    assert_eq!(shop.site.inner().mounts[0].tally().kept, 1);
    shop.look(start + Duration::from_secs(59));
    assert_eq!(shop.get(&old).body, b"old");
    shop.look(start + Duration::from_secs(60));
    assert!(matches!(shop.answer(&old, Wants::default()), Answer::Missing));
}

#[test]
fn vanished_files_are_kept_only_as_far_as_there_is_room() {
    let content = text(10_000);
    let old = hashed("old", &content, "js");
    let mut shop = Shop::new(&[(&old, &content)], |terms| terms.memory = 15_000);
    fs::remove_file(shop.folder.path().join(&old)).expect("it can be removed");
    shop.write("new.js", &text(9_000));
    shop.look(Instant::now());
    assert!(matches!(shop.answer(&old, Wants::default()), Answer::Missing));
    assert_eq!(shop.get("new.js").body.len(), 9_000);
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
        assert!(matches!(shop.answer(path, Wants::default()), Answer::Denied), "{path}");
    }
}

#[test]
fn if_only_some_of_it_is_public_the_rest_is_not_there() {
    let shop = Shop::new(&[("pub/a.png", b"x"), ("other/a.png", b"x")], |terms| {
        terms.mounts[0].only = vec!["pub/".to_owned()];
    });
    assert_eq!(shop.get("pub/a.png").status, 200);
    assert!(matches!(shop.answer("other/a.png", Wants::default()), Answer::Denied));
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
    assert!(matches!(shop.answer("secret", Wants::default()), Answer::Denied));
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
    assert!(matches!(shop.answer("", Wants::default()), Answer::Missing));
    assert!(matches!(shop.answer("a b", Wants::default()), Answer::Missing));
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
fn an_application_sends_clients_where_they_can_not_go_themselves() {
    let shop = Shop::new(&[("ticket.pdf", b"ticket"), ("page.html", b"<p>")], |terms| {
        terms.mounts[0].internal = true
    });
    assert!(matches!(shop.answer("ticket.pdf", Wants::default()), Answer::Denied));
    let said: [(&[u8], &[u8]); 4] = [
        (b"content-disposition", b"attachment; filename=\"t.pdf\""),
        (b"content-length", b"0"),
        (b"set-cookie", b"a=1"),
        (b"etag", b"\"theirs\""),
    ];
    let accel = |path: &str, wants| sent(shop.site.accel(&wants, path.as_bytes(), said.into_iter(), NOW));
    let ticket = accel("/static/ticket.pdf", Wants { verb: Verb::Other, ..Wants::default() });
    assert_eq!((ticket.status, ticket.body.as_slice()), (200, &b"ticket"[..]));
    assert_eq!(ticket.field("content-type"), "application/pdf");
    assert_eq!(ticket.field("content-disposition"), "attachment; filename=\"t.pdf\"");
    assert_eq!(ticket.field("set-cookie"), "a=1");
    assert_eq!(ticket.field("cache-control"), "private, no-cache", "unless the application says more");
    assert_ne!(ticket.field("etag"), "\"theirs\"");
    assert_eq!(ticket.maybe("content-length"), None);
    let said: [(&[u8], &[u8]); 2] = [(b"content-type", b"text/plain"), (b"cache-control", b"no-store")];
    let page = sent(shop.site.accel(&ranged("bytes=0-0,2-2"), b"/static/page.html", said.into_iter(), NOW));
    assert!(page.field("content-type").starts_with("multipart/byteranges") || page.status == 200);
    assert_eq!(page.field("cache-control"), "no-store");
    assert!(matches!(
        shop.site.accel(&Wants::default(), b"/elsewhere", [].into_iter(), NOW),
        Answer::Missing
    ));
}

#[test]
fn fields_of_the_mount_are_in_every_answer() {
    for preload in [true, false] {
        let shop = Shop::new(&[("a.js", b"x")], |terms| {
            terms.mounts[0].preload = preload;
            terms.mounts[0].fields = vec![("Access-Control-Allow-Origin".to_owned(), "*".to_owned())];
        });
        assert_eq!(shop.get("a.js").field("access-control-allow-origin"), "*");
    }
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

/// The keeper's own thread: nothing but time makes it look.
#[test]
fn the_keeper_looks_by_itself_and_ends_with_its_site() {
    let shop = Shop::new(&[("a.js", &text(10_000))], |terms| {
        terms.poll = Duration::from_millis(1);
        terms.mounts[0].precompress = vec![Coding::Gzip];
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    while sent(shop.answer("a.js", accepting("gzip"))).maybe("content-encoding").is_none() {
        assert!(Instant::now() < deadline, "it compresses");
        std::thread::yield_now();
    }
    shop.write("a.js", b"new");
    while shop.get("a.js").body != b"new" {
        assert!(Instant::now() < deadline, "it notices");
        std::thread::yield_now();
    }
    let inner = std::sync::Arc::downgrade(&shop.site.inner);
    drop(shop);
    while inner.strong_count() > 0 {
        assert!(Instant::now() < deadline, "it ends");
        std::thread::yield_now();
    }
}
