//! One batch of requests and the answers that it must get. Kind: pure.

use super::Talk;
use crate::redis::resp;

/// What is done to the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// It is read.
    Get,
    /// It is written.
    Set,
}

/// The bytes of a batch, and how its answers look: all alike, so that counting bytes is all there is to parse.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    /// What is sent.
    pub(super) batch: Vec<u8>,
    /// The bytes of one answer.
    answer: usize,
    /// What an answer begins with.
    head: &'static [u8],
}

/// How far the answers to one batch have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Answers that are still owed.
    pub(super) owed: usize,
    /// Bytes of the present one that are there.
    at: usize,
}

/// Something came that was not asked for: an error reply, most often.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unexpected;

impl Exchange {
    /// `length` is that of one answer where only the server knows it.
    pub(super) fn new(talk: &Talk, length: usize, pipeline: usize) -> Self {
        match talk {
            Talk::Redis { verb, key, size, .. } => Self::redis(*verb, key, *size, pipeline),
            Talk::Http { request } => {
                Self { batch: request.repeat(pipeline).into_bytes(), answer: length, head: OK }
            }
        }
    }

    fn redis(verb: Verb, key: &str, size: usize, pipeline: usize) -> Self {
        let value = vec![b'x'; size];
        let mut batch = Vec::new();
        for _ in 0..pipeline {
            match verb {
                Verb::Get => resp::request(&mut batch, &[b"GET", key.as_bytes()]),
                Verb::Set => resp::request(&mut batch, &[b"SET", key.as_bytes(), &value]),
            }
        }
        let (answer, head): (_, &[u8]) = match verb {
            Verb::Get => (format!("${size}\r\n").len() + size + 2, b"$"),
            Verb::Set => ("+OK\r\n".len(), b"+"),
        };
        Self { batch, answer, head }
    }

    /// Whether `bytes` may be the next ones of an answer of which `at` are there.
    fn goes_on(&self, at: usize, bytes: &[u8]) -> bool {
        self.head.iter().skip(at).zip(bytes).all(|(wanted, found)| wanted == found)
    }
}

/// What an HTTP answer begins with that is one.
pub(super) const OK: &[u8] = b"HTTP/1.1 200 ";

/// The length of the HTTP answer that `bytes` begin with, as soon as its head is there; an error if it is none that can
/// be counted.
pub(super) fn http_length(bytes: &[u8]) -> Result<Option<usize>, Unexpected> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| Unexpected)?;
    let field = head.lines().filter_map(|line| line.split_once(':'));
    let length = field.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.and_then(|(_, value)| value.trim().parse().ok()).ok_or(Unexpected)?;
    if bytes.starts_with(OK) { Ok(Some(end + 4 + length)) } else { Err(Unexpected) }
}

impl Progress {
    /// A batch was sent.
    pub(super) fn begin(&mut self, pipeline: usize) {
        *self = Self { owed: pipeline, at: 0 };
    }

    /// Takes what was read; says how many answers are whole by it.
    pub(super) fn hear(&mut self, exchange: &Exchange, mut bytes: &[u8]) -> Result<usize, Unexpected> {
        let before = self.owed;
        while !bytes.is_empty() {
            if self.owed == 0 || !exchange.goes_on(self.at, bytes) {
                return Err(Unexpected);
            }
            let taken = bytes.len().min(exchange.answer - self.at);
            bytes = &bytes[taken..];
            self.at += taken;
            if self.at == exchange.answer {
                *self = Self { owed: self.owed - 1, at: 0 };
            }
        }
        Ok(before - self.owed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(verb: Verb, pipeline: usize, answers: &str, whole: Result<usize, Unexpected>) {
        let exchange = Exchange::redis(verb, "k", 3, pipeline);
        for cut in 0..answers.len() {
            let mut progress = Progress::default();
            progress.begin(pipeline);
            let first = progress.hear(&exchange, &answers.as_bytes()[..cut]);
            let both = first.and_then(|n| Ok(n + progress.hear(&exchange, &answers.as_bytes()[cut..])?));
            assert_eq!(both, whole, "{answers:?} cut at {cut}");
        }
    }

    #[test]
    fn answers_are_counted_however_they_are_split() {
        check(Verb::Get, 2, "$3\r\nabc\r\n$3\r\nabc\r\n", Ok(2));
        check(Verb::Get, 2, "$3\r\nabc\r\n$3\r\nab", Ok(1));
        check(Verb::Set, 3, "+OK\r\n+OK\r\n+OK\r\n", Ok(3));
    }

    #[test]
    fn what_was_not_asked_for_is_noticed() {
        check(Verb::Get, 1, "-LOADING no\r\n", Err(Unexpected));
        check(Verb::Set, 2, "+OK\r\n-ERR no\r\n", Err(Unexpected));
        check(Verb::Set, 1, "+OK\r\n+OK\r\n", Err(Unexpected));
    }

    #[test]
    fn a_batch_is_its_requests_one_behind_the_other() {
        let exchange = Exchange::redis(Verb::Set, "k", 2, 2);
        let one = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nxx\r\n";
        assert_eq!(String::from_utf8(exchange.batch).unwrap(), one.repeat(2));
    }

    #[test]
    fn http_answers_are_as_long_as_the_first_one_and_all_200() {
        let answer = "HTTP/1.1 200 OK\r\nContent-length: 3\r\n\r\nabc";
        assert_eq!(http_length(answer.as_bytes()), Ok(Some(answer.len())));
        assert_eq!(http_length(b"HTTP/1.1 200 OK\r\nContent-Le"), Ok(None));
        assert_eq!(http_length(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), Err(Unexpected));
        let exchange = Exchange::new(&Talk::Http { request: "GET".into() }, answer.len(), 1);
        for (text, whole) in [(answer.to_string(), Ok(1)), (answer.replace("200", "503"), Err(Unexpected))] {
            for cut in 0..text.len() {
                let mut progress = Progress { owed: 1, at: 0 };
                let first = progress.hear(&exchange, &text.as_bytes()[..cut]);
                let both = first.and_then(|n| Ok(n + progress.hear(&exchange, &text.as_bytes()[cut..])?));
                assert_eq!(both, whole, "cut at {cut}");
            }
        }
    }
}
