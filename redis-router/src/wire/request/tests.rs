//! Requests, whole, cut and hostile. Kind: pure.

use super::*;

const LIMITS: Limits = Limits { max_args: 16, max_bulk: 1000, max_line: 64, inline: true, stranger: false };

/// Shows the bytes at once, then one by one; both must agree.
fn frame(bytes: &[u8], limits: &Limits) -> Result<Framed, Violation> {
    let at_once = RequestFramer::default().next(bytes, limits);
    let mut framer = RequestFramer::default();
    for end in 0..=bytes.len() {
        match framer.next(&bytes[..end], limits) {
            Ok(Framed::Partial { more }) => assert!(more > 0),
            Ok(whole) => {
                assert_eq!(at_once, Ok(whole));
                break;
            }
            violation => {
                assert_eq!(violation, at_once);
                break;
            }
        }
    }
    at_once
}

#[track_caller]
fn whole(request: &str, argc: u32) {
    let inline = !request.starts_with('*');
    let span = Framed::Whole(Span { len: request.len(), argc, inline });
    assert_eq!(frame(request.as_bytes(), &LIMITS), Ok(span), "{request:?}");
    let more = format!("{request}*1\r\n");
    assert_eq!(frame(more.as_bytes(), &LIMITS), Ok(span), "{more:?}");
    for cut in 0..request.len() {
        let framed = frame(&request.as_bytes()[..cut], &LIMITS);
        assert!(
            matches!(framed, Ok(Framed::Partial { more }) if more <= request.len() - cut),
            "{request:?} at {cut}"
        );
    }
}

#[track_caller]
fn violation(bytes: &str, expected: Violation) {
    assert_eq!(frame(bytes.as_bytes(), &LIMITS), Err(expected), "{bytes:?}");
}

#[track_caller]
fn args(request: &str, expected: &[&str]) {
    let args: Vec<_> = Args::new(request.as_bytes()).map(|arg| String::from_utf8_lossy(arg)).collect();
    assert_eq!(args, expected);
}

#[test]
fn arrays_are_framed() {
    whole("*1\r\n$4\r\nPING\r\n", 1);
    whole("*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n", 2);
    whole("*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\na\r\nb\r\n", 3);
    whole("*2\r\n$4\r\nECHO\r\n$11\r\n$3\r\nGET\r\n*1\r\n", 2);
}

#[test]
fn nothing_is_no_command() {
    whole("*0\r\n", 0);
    whole("*-1\r\n", 0);
    whole("*-1000\r\n", 0);
    whole("\r\n", 0);
    whole("\n", 0);
}

#[test]
fn lines_are_framed() {
    whole("PING\r\n", 0);
    whole("PING\n", 0);
    whole("  set a \"b c\"\r\n", 0);
    whole("$3\r\n", 0);
    whole("get /\r\n", 0);
}

#[test]
fn what_is_missing_is_known() {
    let mut framer = RequestFramer::default();
    let request = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$900\r\nv";
    assert_eq!(framer.next(request, &LIMITS), Ok(Framed::Partial { more: 901 }));
    assert_eq!(framer.pending(), Pending { argc: 3, declared: request.len() + 901 });
    let mut framer = RequestFramer::default();
    assert_eq!(framer.next(b"*3\r\n$3\r\nSET\r\n$9\r\n", &LIMITS), Ok(Framed::Partial { more: 9 + 2 + 6 }));
}

#[test]
fn a_large_request_passes_in_bounded_memory() {
    let mut request = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$900\r\n".to_vec();
    request.extend([b'v'; 900]);
    request.extend(b"\r\n");
    let (mut framer, mut kept, mut passed) = (RequestFramer::default(), Vec::new(), Vec::new());
    let mut span = None;
    for piece in request.chunks(7) {
        assert_eq!(span, None);
        kept.extend_from_slice(piece);
        match framer.next(&kept, &LIMITS).unwrap() {
            Framed::Whole(whole) => span = Some(whole),
            Framed::Partial { .. } => {
                let settled = framer.settled().min(kept.len());
                passed.extend(kept.drain(..settled));
                framer.forget(settled);
            }
        }
        assert!(kept.len() <= 32);
    }
    assert_eq!(span, Some(Span { len: kept.len(), argc: 3, inline: false }));
    passed.append(&mut kept);
    assert_eq!(passed, request);
}

#[test]
fn arrays_that_break_the_rules_are_refused() {
    violation("*x\r\n", Violation::Multibulk);
    violation("*+1\r\n", Violation::Multibulk);
    violation("*01\r\n", Violation::Multibulk);
    violation("* 1\r\n", Violation::Multibulk);
    violation("*\r\n", Violation::Multibulk);
    violation("*1\r$", Violation::NoCrlf);
    violation("*1\r\n$1\r\r\n", Violation::NoCrlf);
    violation("*1\n", Violation::Multibulk);
    violation("*17\r\n", Violation::Multibulk);
    violation("*2147483648\r\n", Violation::Multibulk);
    violation("*99999999999999999999\r\n", Violation::Multibulk);
    violation("*1\r\nPING\r\n", Violation::NoBulk(b'P'));
    violation("*1\r\n*1\r\n$1\r\na\r\n", Violation::NoBulk(b'*'));
    violation("*1\r\n$-1\r\n", Violation::Bulk);
    violation("*1\r\n$01\r\na\r\n", Violation::Bulk);
    violation("*1\r\n$1001\r\n", Violation::Bulk);
    violation("*1\r\n$4294967296\r\n", Violation::Bulk);
    violation("*1\r\n$4\r\nPINGxx", Violation::NoCrlf);
    violation("*2\r\n$3\r\nGET$3\r\nkey\r\n", Violation::NoCrlf);
}

#[test]
fn strangers_may_send_less() {
    let limits = Limits::default().for_strangers();
    let refused = |bytes: &str| frame(bytes.as_bytes(), &limits).unwrap_err();
    assert!(frame(b"*10\r\n$16384\r\n", &limits).is_ok());
    assert_eq!(refused("*11\r\n"), Violation::StrangersMultibulk);
    assert_eq!(refused("*1\r\n$16385\r\n"), Violation::StrangersBulk);
}

#[test]
fn lines_that_break_the_rules_are_refused() {
    violation(&"x".repeat(65), Violation::BigInline);
    violation(&format!("{}\n", "x".repeat(65)), Violation::BigInline);
    whole(&format!("{}\n", "x".repeat(64)), 0);
    violation("GET k\0\n", Violation::Zero);
    let limits = Limits { inline: false, ..LIMITS };
    assert_eq!(frame(b"PING\r\n", &limits), Err(Violation::NoInline(b'P')));
    assert!(frame(b"*1\r\n$4\r\nPING\r\n", &limits).is_ok());
}

#[test]
fn other_protocols_are_recognised() {
    violation("POST / HTTP/1.1\r\n", Violation::Http);
    violation("post\r\n", Violation::Http);
    violation("GET /key HTTP/1.1\r\n", Violation::Http);
    violation("OPTIONS * HTTP/1.0\n", Violation::Http);
    violation("PRI * HTTP/2.0\r\n", Violation::Http);
    violation("Host: redis:6379\r\n", Violation::Http);
    violation("\x16\x03\x01\x02\x00", Violation::Tls);
}

#[test]
fn arguments_are_iterated() {
    args("*1\r\n$4\r\nPING\r\n", &["PING"]);
    args("*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\na\r\nb\r\n*1\r\n", &["SET", "", "a\r\nb"]);
    args("*1\r\n$4\r\nPING\r\n$3\r\nGET\r\n", &["PING"]);
    args("*0\r\n", &[]);
    args("PING\r\n", &[]);
    args("", &[]);
    args("*2\r\n$4\r\nPING\r\n$9\r\nshort", &["PING"]);
}

#[test]
fn the_state_is_small() {
    assert!(size_of::<RequestFramer>() <= 24);
}
