//! The framers against any bytes, any cuts, and another implementation. Kind: driver.

#[path = "../../proxy-core/tests/shared/fuzz.rs"]
mod fuzz;

use fuzz::{Entry, replay};
use proptest::collection::vec;
use proptest::prelude::*;
use redis_protocol::resp2::{self, types::OwnedFrame as Resp2, types::Resp2Frame};
use redis_protocol::resp3::decode::complete as resp3;
use redis_router::command::{self, fuzz_route};
use redis_router::wire::build::put_request;
use redis_router::wire::fuzz::{fuzz_inline, fuzz_reply, fuzz_request};
use redis_router::wire::{Args, Framed, Limits, ReplyFramer, RequestFramer};

/// The entries of the fuzzer, by the names of its targets.
const TARGETS: [(&str, Entry); 4] =
    [("request", fuzz_request), ("reply", fuzz_reply), ("inline", fuzz_inline), ("route", fuzz_route)];

#[test]
fn what_a_fuzzer_kept_is_replayed() {
    replay(&TARGETS);
}

/// Arguments with all that could confuse a parser.
fn argument() -> impl Strategy<Value = Vec<u8>> {
    let tricky =
        prop::sample::select(vec![&b"\r\n"[..], b"$3\r\n", b"*1\r\n", b"", b"\0", b"\r", b"block", b"1"]);
    prop_oneof![
        vec(any::<u8>(), 0..40),
        tricky.prop_map(<[u8]>::to_vec),
        "[a-z]{1,12}".prop_map(String::into_bytes)
    ]
}

/// Requests of known commands and of nobody's.
fn request() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let known = (0..command::all().len()).prop_map(|at| {
        command::all()[at].name.split('|').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>()
    });
    let name = prop_oneof![known, argument().prop_map(|name| vec![name])];
    (name, vec(argument(), 0..6)).prop_map(|(name, args)| [name, args].concat())
}

fn encode(args: &[Vec<u8>]) -> Vec<u8> {
    let args: Vec<_> = args.iter().map(Vec::as_slice).collect();
    let mut out = Vec::new();
    put_request(&mut out, &args);
    out
}

/// One well-formed frame of RESP3, its elements nested a little. The other implementation takes aggregates neither as
/// a map's keys nor in sets, so there are none here; ours counts them like any element.
fn reply() -> impl Strategy<Value = Vec<u8>> {
    leaf().prop_recursive(6, 40, 6, |element| {
        prop_oneof![
            (prop::sample::select(vec!["*", ">"]), vec(element.clone(), 0..6))
                .prop_map(|(tag, elements)| aggregate(tag, elements.len(), &elements)),
            vec(leaf(), 0..6).prop_map(|elements| aggregate("~", elements.len(), &elements)),
            vec((leaf(), element), 0..4).prop_map(|pairs| {
                let elements: Vec<_> = pairs.iter().map(|(key, value)| [&key[..], value].concat()).collect();
                aggregate("%", pairs.len(), &elements)
            }),
        ]
    })
}

fn leaf() -> impl Strategy<Value = Vec<u8>> {
    let line = "[ -~]{0,20}";
    prop_oneof![
        (prop::sample::select(vec!["+", "-"]), line)
            .prop_map(|(tag, text)| format!("{tag}{text}\r\n").into_bytes()),
        any::<i64>().prop_map(|value| format!(":{value}\r\n").into_bytes()),
        any::<bool>().prop_map(|value| if value { b"#t\r\n".to_vec() } else { b"#f\r\n".to_vec() }),
        (-1e9..1e9).prop_map(|value: f64| format!(",{value}\r\n").into_bytes()),
        Just(b"_\r\n".to_vec()),
        vec(any::<u8>(), 0..300).prop_map(|body| string("$", &body)),
        line.prop_map(|text| string("!", text.as_bytes())),
        line.prop_map(|text| string("=", format!("txt:{text}").as_bytes())),
    ]
}

fn string(tag: &str, body: &[u8]) -> Vec<u8> {
    [format!("{tag}{}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat()
}

fn aggregate(tag: &str, len: usize, elements: &[Vec<u8>]) -> Vec<u8> {
    [format!("{tag}{len}\r\n").as_bytes(), &elements.concat()].concat()
}

/// Several, one after the other, damaged somewhere.
fn damaged(whole: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    fuzz::damaged(vec(whole, 1..4).prop_map(|parts| parts.concat()), any::<u8>())
}

proptest! {
    #[test]
    fn a_request_is_found_whole_and_gives_its_arguments(args in request(), behind in vec(any::<u8>(), 0..20)) {
        let bytes = encode(&args);
        let all = [&bytes[..], &behind].concat();
        let framed = RequestFramer::default().next(&all, &Limits::default()).unwrap();
        let Framed::Whole(span) = framed else { panic!("{framed:?}") };
        prop_assert_eq!((span.len, span.argc as usize, span.inline), (bytes.len(), args.len(), false));
        prop_assert!(Args::new(&all).eq(args.iter().map(Vec::as_slice)));
    }

    #[test]
    fn requests_in_any_state_of_repair_are_cut_alike(bytes in damaged(request().prop_map(|args| encode(&args)))) {
        fuzz_request(&bytes);
        fuzz_route(&bytes);
    }

    #[test]
    fn replies_in_any_state_of_repair_are_cut_alike(bytes in damaged(reply())) {
        fuzz_reply(&bytes);
    }

    #[test]
    fn any_bytes_are_cut_alike(bytes in vec(any::<u8>(), 0..200)) {
        TARGETS.iter().for_each(|(_, entry)| entry(&bytes));
    }

    #[test]
    fn lines_are_split_alike(bytes in "[ \t\"'\\\\x0-9a-fn\r\0]{0,30}") {
        fuzz_inline(bytes.as_bytes());
    }

    #[test]
    fn another_implementation_reads_the_same_requests(bytes in damaged(request().prop_map(|args| encode(&args)))) {
        if let (Ok(Framed::Whole(span)), Ok(Some((frame, len)))) =
            (RequestFramer::default().next(&bytes, &Limits::default()), resp2::decode::decode(&bytes))
            && !span.inline && span.argc > 0
        {
            prop_assert_eq!(span.len, len);
            let Resp2::Array(elements) = frame else { panic!("{frame:?}") };
            prop_assert!(Args::new(&bytes).eq(elements.iter().map(|element| element.as_bytes().unwrap())));
        }
    }

    #[test]
    fn another_implementation_reads_the_same_replies(reply in reply(), behind in vec(any::<u8>(), 0..20)) {
        let all = [&reply[..], &behind].concat();
        let advance = ReplyFramer::default().advance(&all).unwrap();
        prop_assert!(advance.end.is_some());
        prop_assert_eq!(advance.used, reply.len());
        let (_, len) = resp3::decode(&all).unwrap().unwrap();
        prop_assert_eq!(advance.used, len);
    }
}
