//! What is sent of a file: all of it, parts, or word that it is known. Kind: driver.

use super::*;

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
    assert!(matches!(shop.find("css/app.css"), Answer::Memory { .. }));
}

/// The same request of the same file in memory, small on disk, and large on disk, gets the same, but for the entity tag.
#[track_caller]
fn check_alike(wants: Wants<'_>, status: u16, length: Option<u64>, body: &[u8]) {
    let content = text(100_000);
    let memory = Shop::new(&[("a.txt", &content)], |_| {});
    let disk = Shop::new(&[("a.txt", &content)], |terms| terms.mounts[0].preload = false);
    for shop in [memory, disk] {
        let sent = shop.ask("a.txt", wants);
        assert_eq!((sent.status, sent.length), (status, length), "{wants:?}");
        assert_eq!(sent.body, body, "{wants:?}");
    }
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
        let sent = shop.ask("a.txt", ranged("bytes=0-4,50000-89999"));
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
        let again = shop.ask("a.txt", Wants { conditions, ..Wants::default() });
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

#[test]
fn an_application_sends_clients_where_they_can_not_go_themselves() {
    let shop = Shop::new(&[("ticket.pdf", b"ticket"), ("page.html", b"<p>")], |terms| {
        terms.mounts[0].internal = true
    });
    assert!(matches!(shop.find("ticket.pdf"), Answer::Denied));
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
