//! One batch of requests and the answers that it must get. Kind: pure.

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
    head: u8,
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
    pub(super) fn new(verb: Verb, key: &str, size: usize, pipeline: usize) -> Self {
        let value = vec![b'x'; size];
        let mut batch = Vec::new();
        for _ in 0..pipeline {
            match verb {
                Verb::Get => resp::request(&mut batch, &[b"GET", key.as_bytes()]),
                Verb::Set => resp::request(&mut batch, &[b"SET", key.as_bytes(), &value]),
            }
        }
        let (answer, head) = match verb {
            Verb::Get => (format!("${size}\r\n").len() + size + 2, b'$'),
            Verb::Set => ("+OK\r\n".len(), b'+'),
        };
        Self { batch, answer, head }
    }
}

impl Progress {
    /// A batch was sent.
    pub(super) fn begin(&mut self, pipeline: usize) {
        *self = Self { owed: pipeline, at: 0 };
    }

    /// Takes what was read; says how many answers are whole by it.
    pub(super) fn hear(&mut self, exchange: &Exchange, mut bytes: &[u8]) -> Result<usize, Unexpected> {
        let before = self.owed;
        while let Some(first) = bytes.first() {
            if self.owed == 0 || (self.at == 0 && *first != exchange.head) {
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
        let exchange = Exchange::new(verb, "k", 3, pipeline);
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
        let exchange = Exchange::new(Verb::Set, "k", 2, 2);
        let one = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nxx\r\n";
        assert_eq!(String::from_utf8(exchange.batch).unwrap(), one.repeat(2));
    }
}
