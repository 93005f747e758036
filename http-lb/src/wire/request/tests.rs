//! Requests as they are sent, and what is made of them. What must be refused is in `tests/corpus/smuggling.txt`. Kind: pure.

use super::*;

fn parse(text: &str) -> Result<Option<(RequestHead, usize)>, Malformed> {
    RequestHead::parse(text.as_bytes(), &HeadLimits::default())
}

#[track_caller]
fn request(text: &str) -> RequestHead {
    parse(text).unwrap_or_else(|refused| panic!("{text}: {refused}")).expect("a whole head").0
}

/// A request of HTTP/1.1 with these lines behind Host.
#[track_caller]
fn with(lines: &str) -> RequestHead {
    request(&format!("POST / HTTP/1.1\r\nHost: shop\r\n{lines}\r\n"))
}

#[track_caller]
fn refused(text: &str) -> Malformed {
    parse(text).map(|_| ()).expect_err(text)
}

/// Method, host, path, query and target of a first line, with this Host.
#[track_caller]
fn check_target(line: &str, host: &str, path: &str, query: Option<&str>, target: &str) {
    let request = request(&format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert_eq!(text(request.path()), path, "{line}");
    assert_eq!(request.query().map(text).as_deref(), query, "{line}");
    assert_eq!(text(request.target()), target, "{line}");
    assert_eq!(text(request.host()), host.to_lowercase(), "{line}");
}

#[test]
fn a_target_is_taken_apart() {
    check_target("GET /", "a", "/", None, "/");
    check_target("GET /a/b?c=d?e", "a", "/a/b", Some("c=d?e"), "/a/b?c=d?e");
    check_target("GET /?", "a", "/", Some(""), "/?");
    check_target("GET //a//b", "a", "//a//b", None, "//a//b");
    check_target("GET http://Shop:80/a?b", "SHOP:80", "/a", Some("b"), "/a?b");
    check_target("GET http://shop", "shop", "/", None, "/");
    check_target("OPTIONS *", "a", "*", None, "*");
    check_target("CONNECT a:443", "a:443", "a:443", None, "a:443");
}

#[test]
fn a_target_without_a_path_says_so() {
    assert!(!request("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").has_path());
    assert!(!request("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n").has_path());
    assert!(request("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n").has_path());
}

#[test]
fn the_first_line_is_kept_for_the_log() {
    let request = request("\r\nPROPFIND /a?b HTTP/1.0\r\n\r\n");
    assert_eq!(request.line(), b"PROPFIND /a?b HTTP/1.0");
    assert_eq!((request.method(), request.method_text()), (Method::Other, &b"PROPFIND"[..]));
    assert_eq!((request.version(), request.host()), (Version::Http10, &b""[..]));
}

#[test]
fn the_name_of_a_host_has_no_port() {
    for (host, name) in [("a", "a"), ("A:80", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]")] {
        let request = request(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(request.host_name(), name.as_bytes(), "{host}");
    }
}

#[test]
fn fields_are_found_by_name_in_their_order() {
    let request = with("X-One: 1\r\nCOOKIE: a=b\r\nX-one:2 \r\nCookie:\tc=d\r\nX-Empty:\r\n");
    assert_eq!(request.field(b"x-ONE"), Some(&b"1"[..]));
    assert_eq!(request.field(b"x-empty"), Some(&b""[..]));
    assert_eq!(request.field(b"x-two"), None);
    assert_eq!(request.known(Name::Cookie), Some(&b"a=b"[..]));
    assert_eq!(request.known(Name::Range), None);
    assert!(request.all(Name::Cookie).eq([&b"a=b"[..], b"c=d"]));
    assert_eq!(request.all(Name::Range).count(), 0);
    assert_eq!(request.fields().nth(3), Some((&b"x-one"[..], &b"2"[..])));
    assert_eq!(request.fields().len(), 6);
}

#[test]
fn a_line_can_be_passed_on_as_it_is() {
    let request = with("X-One:  1 \r\n");
    let field = request.entries().last().unwrap();
    assert_eq!((field.known, field.line), (Name::Other, &b"x-one:  1 \r\n"[..]));
}

#[test]
fn a_name_that_nobody_knows_has_no_place_of_its_own() {
    let request = with("X-One: 1\r\n");
    assert_eq!((request.known(Name::Other), request.all(Name::Other).count()), (None, 0));
}

#[track_caller]
fn check_keep_alive(text: &str, keep_alive: bool) {
    assert_eq!(request(text).keep_alive(), keep_alive, "{text}");
}

#[test]
fn a_connection_is_kept_unless_somebody_says_otherwise() {
    check_keep_alive("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true);
    check_keep_alive("GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", false);
    check_keep_alive("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n", false);
    check_keep_alive("GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n", false);
    check_keep_alive("GET / HTTP/1.0\r\n\r\n", false);
    check_keep_alive("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true);
}

#[test]
fn connection_takes_its_own_fields_away() {
    let request = with("Connection: x-Own , TE\r\nX-Own: a\r\n");
    assert!(request.nominates(b"x-own") && request.nominates(b"te"));
    assert!(!request.nominates(b"x-other") && !with("").nominates(b"x-own"));
}

#[test]
fn an_upgrade_must_be_named() {
    assert_eq!(with("Connection: Upgrade\r\nUpgrade: websocket\r\n").upgrade(), Some(&b"websocket"[..]));
    assert_eq!(with("Upgrade: websocket\r\n").upgrade(), None);
    assert_eq!(with("Connection: Upgrade\r\n").upgrade(), None);
    let old = request("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(old.upgrade(), None);
}

#[test]
fn a_client_waits_only_with_a_body() {
    assert!(with("Content-Length: 1\r\nExpect: 100-Continue\r\n").expects_continue());
    assert!(!with("Expect: 100-continue\r\n").expects_continue());
    assert!(!with("Content-Length: 1\r\n").expects_continue());
    let old = request("POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n");
    assert!(!old.expects_continue());
}

#[test]
fn a_body_ends_where_it_says() {
    assert_eq!(with("").framing(), Framing::None);
    assert_eq!(with("Content-Length: 0\r\n").framing(), Framing::Length(0));
    assert_eq!(with("Content-Length: 12\r\n").framing(), Framing::Length(12));
    assert_eq!(with("Transfer-Encoding: Chunked\r\n").framing(), Framing::Chunked);
}

#[test]
fn a_refusal_has_a_status_and_a_reason() {
    assert_eq!(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Malformed::HTTP2);
    assert_eq!(refused("GET / HTTP/1.9\r\n\r\n"), Malformed { status: 505, what: "unknown version" });
    assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), Malformed { status: 400, what: "no Host" });
    assert_eq!(
        refused("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"),
        Malformed { status: 400, what: "folded field" }
    );
    let early = "\x16\x03\x01";
    assert_eq!(refused(early).what, "not HTTP");
}

#[test]
fn a_head_that_is_not_whole_waits_for_more() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for len in 0..text.len() {
        assert!(parse(&text[..len]).unwrap().is_none(), "{len}");
    }
}

#[test]
fn what_is_behind_the_head_is_left_alone() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (_, used) = parse(&format!("{text}\n\0 anything")).unwrap().unwrap();
    assert_eq!(used, text.len());
    let (_, used) = parse(&format!("{text}{}", "x".repeat(100_000))).unwrap().unwrap();
    assert_eq!(used, text.len());
}

#[test]
fn one_head_serves_many_requests() {
    let mut head = RequestHead::new();
    for (text, host) in
        [("GET /1 HTTP/1.1\r\nHost: a\r\nCookie: b\r\n\r\n", "a"), ("PUT /2 HTTP/1.0\r\n\r\n", "")]
    {
        head.clear();
        assert!(head.is_idle());
        assert_eq!(head.feed(text.as_bytes(), &HeadLimits::default()), Ok(Some(text.len())));
        assert_eq!(head.host(), host.as_bytes());
    }
    assert_eq!((head.known(Name::Cookie), head.method(), head.keep_alive()), (None, Method::Put, false));
}

#[test]
fn a_large_head_leaves_no_large_room_behind() {
    let mut head = RequestHead::new();
    let text =
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", format!("X: {}\r\n", "a".repeat(8000)).repeat(3));
    assert_eq!(head.feed(text.as_bytes(), &HeadLimits::default()), Ok(Some(text.len())));
    head.clear();
    assert!(head.bytes.capacity() <= 8192);
}

#[test]
fn an_empty_line_is_not_yet_a_request() {
    let mut head = RequestHead::new();
    for (piece, idle) in [("", true), ("\r", false), ("\n", true), ("G", false)] {
        assert_eq!(head.feed(piece.as_bytes(), &HeadLimits::default()), Ok(None));
        assert_eq!(head.is_idle(), idle, "{piece:?}");
    }
}

#[test]
fn few_fields_may_be_named_by_connection() {
    let many = |count| format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {}\r\n\r\n", "x,".repeat(count));
    assert!(parse(&many(16)).is_ok());
    assert_eq!(refused(&many(17)).what, "Connection names too many fields");
}

const LIMITS: HeadLimits = HeadLimits { line: 40, total: 100, fields: 3 };

/// How a head of this request line, these fields and nothing else is refused.
#[track_caller]
fn check_limit(target: usize, fields: &[usize], status: Option<u16>) {
    let line = format!("GET /{} HTTP/1.0\r\n", "a".repeat(target - 14));
    let fields: String = fields.iter().map(|len| format!("x:{}\r\n", "b".repeat(len - 2))).collect();
    let found = RequestHead::parse(format!("{line}{fields}\r\n").as_bytes(), &LIMITS);
    assert_eq!(found.err().map(|refused| refused.status), status, "{target}, {fields}");
}

#[test]
fn limits_hold_to_the_byte() {
    check_limit(40, &[40], None);
    check_limit(41, &[], Some(414));
    check_limit(20, &[41], Some(431));
    check_limit(20, &[2, 2, 2], None);
    check_limit(20, &[2, 2, 2, 2], Some(431));
    check_limit(40, &[40, 12], None);
    check_limit(40, &[40, 13], Some(431));
}

fn parts<'a>(target: &'a str, authority: Option<&'a str>, ended: bool) -> Parts<'a> {
    Parts {
        method: b"GET",
        authority: authority.map(str::as_bytes),
        path_and_query: target.as_bytes(),
        ended,
    }
}

fn from_parts(parts: Parts<'_>, fields: &[(&str, &str)]) -> Result<RequestHead, Malformed> {
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let mut head = RequestHead::new();
    head.fill(parts, fields, &HeadLimits::default())?;
    Ok(head)
}

#[test]
fn a_request_of_http2_is_like_any_other() {
    let fields = [("cookie", "a=1"), ("x-one", "1"), ("cookie", "b=2"), ("te", "trailers")];
    let request = from_parts(parts("/a?b", Some("Shop:443"), true), &fields).unwrap();
    assert_eq!(
        (request.host(), request.path(), request.query()),
        (&b"shop:443"[..], &b"/a"[..], Some(&b"b"[..]))
    );
    assert!(request.all(Name::Cookie).eq([b"a=1; b=2"]));
    assert_eq!(request.field(b"x-one"), Some(&b"1"[..]));
    assert_eq!((request.version(), request.framing()), (Version::Http2, Framing::None));
    assert!(request.keep_alive());
}

#[test]
fn a_body_of_http2_ends_with_its_stream() {
    let framing =
        |ended, fields: &[_]| from_parts(parts("/", Some("a"), ended), fields).map(|head| head.framing());
    assert_eq!(framing(true, &[]), Ok(Framing::None));
    assert_eq!(framing(false, &[]), Ok(Framing::Chunked));
    assert_eq!(framing(false, &[("content-length", "5")]), Ok(Framing::Length(5)));
    assert_eq!(framing(true, &[("content-length", "0")]), Ok(Framing::Length(0)));
    assert!(framing(true, &[("content-length", "5")]).is_err());
    let waits = from_parts(parts("/", Some("a"), false), &[("expect", "100-continue")]).unwrap();
    assert!(waits.expects_continue());
}

fn refused_parts(target: &str, authority: Option<&str>, field: (&str, &str)) -> Malformed {
    from_parts(parts(target, authority, true), &[field]).map(|_| ()).expect_err(target)
}

#[test]
fn a_request_of_http2_is_refused_like_any_other() {
    for field in [
        ("Upper", "a"),
        ("bad name", "a"),
        ("x", "a\r\nb: c"),
        ("x", "\0"),
        ("x", " a"),
        ("x", "a\t"),
        ("cookie", " a=b"),
        ("", "a"),
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("host", "other"),
        ("content-length", "+5"),
    ] {
        assert_eq!(refused_parts("/", Some("a"), field).status, 400, "{field:?}");
    }
    for target in ["", "a", "http://a/", "/a b", "/a#b", "/\r\nhost: b", "/\u{e9}", "*"] {
        assert_eq!(refused_parts(target, Some("a"), ("x", "y")).status, 400, "{target}");
    }
    for authority in ["", "a b", "u@a", "a\r\nx: y"] {
        assert_eq!(refused_parts("/", Some(authority), ("x", "y")).status, 400, "{authority}");
    }
    assert_eq!(refused_parts("/", None, ("x", "y")).what, "no Host");
    let long = "a".repeat(9000);
    assert_eq!(refused_parts(&format!("/{long}"), Some("a"), ("x", "y")).status, 414);
    assert_eq!(refused_parts("/", Some("a"), ("x", &"b".repeat(40_000))).status, 431);
}
