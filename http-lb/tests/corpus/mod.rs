//! Raw requests, by name, and what becomes of them: `smuggling.txt`, which tells its form itself. Kind: pure.

/// One connection's worth of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// All that the client sends, in one piece or in any.
    pub(crate) raw: Vec<u8>,
    /// What becomes of each message in it, in their order.
    pub(crate) expected: Vec<Expected>,
}

/// What becomes of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// It is answered with this status, and the connection is closed: nothing behind it is looked at.
    Refuse(u16),
    /// It is a request with this body.
    Accept(Body),
    /// Its head is taken, but its body is not all there.
    Partial(Body),
    /// Its head is taken and its body refused, with this status if an answer is still possible.
    RefuseBody(u16),
}

/// Where a body ends, and how long it is: of chunks the length of their data, where it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    None,
    Length(u64),
    Chunked(u64),
}

/// All cases.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in include_str!("smuggling.txt").lines().enumerate() {
        let bad = || format!("smuggling.txt:{}: {line}", number + 1);
        match line.split_at_checked(2) {
            None => assert!(line.is_empty() || line == "#", "{}", bad()),
            Some(("# ", _)) => {}
            Some(("> ", text)) => {
                let case = cases.last_mut().unwrap_or_else(|| panic!("{}", bad()));
                unescape(text, &mut case.raw);
                case.raw.extend_from_slice(b"\r\n");
            }
            Some(("| ", text)) => unescape(text, &mut cases.last_mut().expect("a case has a name").raw),
            Some(("= ", text)) => {
                let expected = expected(text).unwrap_or_else(|| panic!("{}", bad()));
                cases.last_mut().expect("a case has a name").expected.push(expected);
            }
            Some(_) => {
                let name = line.strip_prefix('[').and_then(|line| line.strip_suffix(']'));
                let name = name.unwrap_or_else(|| panic!("{}", bad())).to_owned();
                cases.push(Case { name, raw: Vec::new(), expected: Vec::new() });
            }
        }
    }
    cases
}

fn expected(text: &str) -> Option<Expected> {
    let words: Vec<_> = text.split(' ').collect();
    Some(match words[..] {
        ["refuse", status] => Expected::Refuse(status.parse().ok()?),
        ["refuse", "body", status] => Expected::RefuseBody(status.parse().ok()?),
        ["accept", ref body @ ..] => Expected::Accept(expected_body(body)?),
        ["partial", ref body @ ..] => Expected::Partial(expected_body(body)?),
        _ => return None,
    })
}

fn expected_body(words: &[&str]) -> Option<Body> {
    Some(match words {
        ["none"] => Body::None,
        ["length", length] => Body::Length(length.parse().ok()?),
        ["chunked", length] => Body::Chunked(length.parse().ok()?),
        _ => return None,
    })
}

/// Adds the bytes that a text with escapes stands for.
fn unescape(text: &str, out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        out.extend_from_slice(before.as_bytes());
        let (kind, after) = escape.split_at(1);
        rest = after;
        match kind {
            "r" => out.push(b'\r'),
            "n" => out.push(b'\n'),
            "t" => out.push(b'\t'),
            "0" => out.push(0),
            "\\" => out.push(b'\\'),
            "x" => {
                out.push(u8::from_str_radix(&after[..2], 16).expect("two hexadecimal digits"));
                rest = &after[2..];
            }
            "{" => {
                let (repeated, behind) = after.split_once('}').expect("a closing brace");
                let (times, text) = repeated.split_once('*').expect("how often, and what");
                let mut bytes = Vec::new();
                unescape(text, &mut bytes);
                out.extend_from_slice(&bytes.repeat(times.parse().expect("a number")));
                rest = behind;
            }
            other => panic!("unknown escape \\{other}"),
        }
    }
    out.extend_from_slice(rest.as_bytes());
}
