//! What is known of a request when it is over, and many of them in little room. Kind: pure.

use std::net::IpAddr;
use std::ops::Range;

/// A request that is over.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// When it was over, in microseconds since 1970.
    pub at: u64,
    /// Who asked.
    pub client: IpAddr,
    /// The status that was sent; 499 where the client left before there was one.
    pub status: u16,
    /// Bytes of the answer's body that were sent.
    pub sent: u64,
    /// Bytes of the request's body that were received.
    pub received: u64,
    /// How long it took.
    pub times: Times,
    /// Whether the client spoke https.
    pub https: bool,
    /// What became of it, in a word: `proxied`, `file`, `shed`, `rate`, …
    pub outcome: &'static str,
    /// The first line of its head.
    pub line: &'a [u8],
    /// The host that it was for.
    pub host: &'a [u8],
    /// Its class.
    pub class: &'a str,
    /// The replica that answered; empty if none did.
    pub upstream: &'a [u8],
    /// Its id.
    pub id: &'a [u8],
    /// `Referer`; empty if there is none.
    pub referer: &'a [u8],
    /// `User-Agent`; empty if there is none.
    pub agent: &'a [u8],
}

/// How long parts of a request took, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// From the first byte of the request to the last byte of the answer.
    pub total: u64,
    /// In the queue, before there was a slot.
    pub queued: u64,
    /// With the replica: from its slot to the last byte of its answer.
    pub upstream: u64,
}

/// How many texts an entry has.
const TEXTS: usize = 7;
/// No text is written longer than this; a request line can be 8 KiB.
const LONGEST: usize = 2048;

/// Entries on their way to the writer: their texts lie in one vector.
#[derive(Debug, Default)]
pub struct Batch {
    text: Vec<u8>,
    entries: Vec<Packed>,
}

#[derive(Debug)]
struct Packed {
    at: u64,
    client: IpAddr,
    sent: u64,
    received: u64,
    times: Times,
    status: u16,
    https: bool,
    outcome: &'static str,
    start: u32,
    lengths: [u16; TEXTS],
}

impl Batch {
    /// Room for so many entries, and so many bytes of text.
    pub fn with_capacity(entries: usize, bytes: usize) -> Self {
        Self { text: Vec::with_capacity(bytes), entries: Vec::with_capacity(entries) }
    }

    /// Adds an entry.
    #[inline]
    pub fn push(&mut self, entry: &Entry<'_>) {
        let Ok(start) = u32::try_from(self.text.len()) else { return };
        let texts: [&[u8]; TEXTS] = [
            entry.line,
            entry.host,
            entry.class.as_bytes(),
            entry.upstream,
            entry.id,
            entry.referer,
            entry.agent,
        ];
        let mut lengths = [0; TEXTS];
        for (length, text) in lengths.iter_mut().zip(texts) {
            let text = &text[..text.len().min(LONGEST)];
            self.text.extend_from_slice(text);
            *length = text.len() as u16;
        }
        self.entries.push(Packed {
            at: entry.at,
            client: entry.client,
            sent: entry.sent,
            received: entry.received,
            times: entry.times,
            status: entry.status,
            https: entry.https,
            outcome: entry.outcome,
            start,
            lengths,
        });
    }

    /// The entries, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries.iter().map(|packed| packed.open(&self.text))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of text.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }
}

impl Packed {
    fn open<'a>(&self, text: &'a [u8]) -> Entry<'a> {
        let mut start = self.start as usize;
        let mut next = self.lengths.iter().map(|length| {
            let span: Range<usize> = start..start + usize::from(*length);
            start = span.end;
            &text[span]
        });
        let mut text = || next.next().unwrap_or_default();
        Entry {
            at: self.at,
            client: self.client,
            sent: self.sent,
            received: self.received,
            times: self.times,
            status: self.status,
            https: self.https,
            outcome: self.outcome,
            line: text(),
            host: text(),
            class: std::str::from_utf8(text()).unwrap_or_default(),
            upstream: text(),
            id: text(),
            referer: text(),
            agent: text(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A request as most are.
    pub(in super::super) fn usual() -> Entry<'static> {
        Entry {
            at: 784_111_777_123_456,
            client: IpAddr::from([192, 0, 2, 1]),
            status: 200,
            sent: 1234,
            received: 0,
            times: Times { total: 25_000, queued: 1500, upstream: 20_000 },
            https: true,
            outcome: "proxied",
            line: b"GET /demo/?q=secret HTTP/1.1",
            host: b"shop.example.org",
            class: "session",
            upstream: b"10.0.0.1:8000",
            id: b"0123456789abcdef",
            referer: b"https://example.org/?q=hidden",
            agent: b"Mozilla/5.0 \"x\"",
        }
    }

    #[test]
    fn a_batch_gives_back_what_was_put_in() {
        let mut batch = Batch::default();
        let other = Entry { status: 404, line: b"GET / HTTP/1.0", host: b"", referer: b"", ..usual() };
        batch.push(&usual());
        batch.push(&other);
        let back: Vec<_> = batch.iter().map(|entry| format!("{entry:?}")).collect();
        assert_eq!(back, [format!("{:?}", usual()), format!("{other:?}")]);
        assert_eq!(batch.len(), 2);
    }

    #[test]
    fn texts_are_cut_at_a_length() {
        let mut batch = Batch::default();
        let long = vec![b'a'; 3 * LONGEST];
        batch.push(&Entry { agent: &long, ..usual() });
        assert_eq!(batch.iter().next().unwrap().agent.len(), LONGEST);
        assert_eq!(batch.iter().next().unwrap().line, usual().line);
    }
}
