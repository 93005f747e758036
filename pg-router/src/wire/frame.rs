//! Where one message ends and the next begins. Kind: pure.
//!
//! After the first packet every message is a type byte, a length that counts itself but not the type, and a body:
//! <https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-MESSAGE-CONCEPTS>. The session walks
//! headers in the bytes it has and forwards slices; nobody here waits for, copies or keeps a body, except [`Inbox`],
//! which serves the short conversations of login and monitoring.
//!
//! A length below 4 is refused (it would stop or reverse the walk), and so is one above the cap of its type: a length
//! that wraps is a smuggled message (CVE-2024-27304 and its class).

/// The bytes of a header: a type and a length.
pub const HEADER: usize = 5;

/// The largest length of a message that may be large: PostgreSQL's own `PQ_LARGE_MESSAGE_LIMIT` (src/include/libpq/libpq.h).
pub const LARGE: u32 = 0x3fff_fffe;

/// The largest length of a message that has no reason to be large: PostgreSQL's own `PQ_SMALL_MESSAGE_LIMIT`.
pub const SMALL: u32 = 10_000;

/// A type and a length, as they stand on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The message's type.
    pub tag: u8,
    /// The declared length: it counts itself and the body, not the type; 4 or more.
    pub len: u32,
}

impl Header {
    /// All bytes of the message, from its type to its end.
    #[inline]
    pub fn size(self) -> usize {
        self.len as usize + 1
    }

    /// The bytes of its body.
    #[inline]
    pub fn body(self) -> usize {
        self.len as usize - 4
    }

    /// This header, if its length is at most `cap`.
    #[inline]
    pub fn within(self, cap: u32) -> Result<Self, FrameError> {
        if self.len <= cap {
            Ok(self)
        } else {
            Err(FrameError::TooLong { tag: self.tag, len: self.len, cap })
        }
    }
}

/// Bytes that cannot be a message. The stream is lost: there is no way to find the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length does not even count itself.
    #[error("message {:?} declares a length of {len}, below 4", char::from(*.tag))]
    TooShort {
        /// The message's type.
        tag: u8,
        /// The declared length.
        len: u32,
    },
    /// The length is above what this type may have.
    #[error("message {:?} declares a length of {len}, above {cap}", char::from(*.tag))]
    TooLong {
        /// The message's type.
        tag: u8,
        /// The declared length.
        len: u32,
        /// The largest allowed.
        cap: u32,
    },
    /// No such type comes from this side.
    #[error("unknown message type {:?}", char::from(*.tag))]
    UnknownType {
        /// The type.
        tag: u8,
    },
}

/// The header at the front of `buf`; `None` while fewer than five bytes are there.
///
/// Knows only the limits that hold for every message; `frontend::header` and `backend::header` add those of a side.
#[inline]
pub fn header(buf: &[u8]) -> Result<Option<Header>, FrameError> {
    let Some(&[tag, a, b, c, d]) = buf.first_chunk::<HEADER>() else { return Ok(None) };
    let len = u32::from_be_bytes([a, b, c, d]);
    if len < 4 {
        return Err(FrameError::TooShort { tag, len });
    }
    Header { tag, len }.within(LARGE).map(Some)
}

/// One whole message, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its type.
    pub tag: u8,
    /// What stands after the length.
    pub body: &'a [u8],
}

/// The whole message at the front of `buf`, and what follows it; `None` while it is not all there.
#[inline]
pub fn split(buf: &[u8]) -> Result<Option<(Message<'_>, &[u8])>, FrameError> {
    let Some(header) = header(buf)? else { return Ok(None) };
    let Some((message, rest)) = buf.split_at_checked(header.size()) else { return Ok(None) };
    Ok(Some((Message { tag: header.tag, body: &message[HEADER..] }, rest)))
}

/// Appends one message: its type, the body that `fill` appends, and the length of that.
#[inline]
pub fn put(out: &mut Vec<u8>, tag: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    put_untyped(out, fill);
}

/// Appends what `fill` appends, with its length in front: the form of the first packet, which has no type.
#[inline]
pub(super) fn put_untyped(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    fill(out);
    let len =
        u32::try_from(out.len() - start).expect("what we send is config or a capped message, below 4 GiB");
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

/// Appends a string and its zero. What follows a zero inside `text` would be read as the next field, so it is cut there.
#[inline]
pub fn put_cstr(out: &mut Vec<u8>, text: &[u8]) {
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    out.extend_from_slice(&text[..end]);
    out.push(0);
}

/// The least room an [`Inbox`] offers to a read.
pub const ROOM: usize = 4096;

/// Gathers bytes until whole messages are there, for conversations short enough to copy: login and monitoring.
///
/// Holds at most one message of `cap` bytes and what one read brought behind it.
#[derive(Debug)]
pub struct Inbox {
    buf: Vec<u8>,
    at: usize,
    cap: u32,
}

impl Inbox {
    /// An empty one that refuses messages longer than `cap`.
    pub fn new(cap: u32) -> Self {
        Self { buf: Vec::new(), at: 0, cap }
    }

    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.tail().extend_from_slice(bytes);
    }

    /// Where to append what is read: room for one read of [`ROOM`] bytes, never for what a header promises.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        self.buf.drain(..self.at);
        self.at = 0;
        self.buf.reserve(ROOM);
        &mut self.buf
    }

    /// Whether a whole message is there.
    pub fn is_ready(&self) -> Result<bool, FrameError> {
        let Some(header) = header(&self.buf[self.at..])? else { return Ok(false) };
        Ok(self.buf.len() - self.at >= header.within(self.cap)?.size())
    }

    /// The next whole message, if there is one.
    pub fn pop(&mut self) -> Result<Option<Message<'_>>, FrameError> {
        let Some(header) = header(&self.buf[self.at..])? else { return Ok(None) };
        header.within(self.cap)?;
        let Some((message, _)) = split(&self.buf[self.at..])? else { return Ok(None) };
        self.at += header.size();
        Ok(Some(message))
    }

    /// What has not been popped: the beginning of what belongs to whoever reads next.
    pub fn into_rest(mut self) -> Vec<u8> {
        self.buf.split_off(self.at)
    }
}

/// Fuzz entry: walks any bytes as messages, whole and one byte at a time, and compares what was seen.
pub fn fuzz_frame(data: &[u8]) {
    let whole = gather(&mut Inbox::new(LARGE), [data]);
    let dripped = gather(&mut Inbox::new(LARGE), data.chunks(1));
    assert_eq!(whole, dripped, "a split changed the messages");
}

/// All messages of these pieces, and the error that ended them.
fn gather<'a>(
    inbox: &mut Inbox,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<(u8, Vec<u8>)>, Option<FrameError>) {
    let mut seen = Vec::new();
    for piece in pieces {
        inbox.push(piece);
        loop {
            match inbox.pop() {
                Ok(Some(message)) => seen.push((message.tag, message.body.to_vec())),
                Ok(None) => break,
                Err(error) => return (seen, Some(error)),
            }
        }
    }
    (seen, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(bytes: &[u8], want: Result<Option<(u8, usize)>, FrameError>) {
        assert_eq!(header(bytes).map(|h| h.map(|h| (h.tag, h.size()))), want, "{bytes:?}");
    }

    #[test]
    fn a_header_is_five_bytes() {
        check(b"", Ok(None));
        check(b"Z\0\0\0", Ok(None));
        check(b"Z\0\0\0\x05", Ok(Some((b'Z', 6))));
        check(b"S\0\0\0\x04rest", Ok(Some((b'S', 5))));
    }

    #[test]
    fn a_length_that_does_not_count_itself_is_refused() {
        for len in 0..4u8 {
            check(&[b'Q', 0, 0, 0, len], Err(FrameError::TooShort { tag: b'Q', len: len.into() }));
        }
    }

    #[test]
    fn lengths_up_to_four_gibibytes_are_refused() {
        check(&[b'd', 0x3f, 0xff, 0xff, 0xfe], Ok(Some((b'd', 0x3fff_ffff))));
        for len in [LARGE + 1, 0x8000_0000, u32::MAX - 4, u32::MAX] {
            let [a, b, c, d] = len.to_be_bytes();
            check(&[b'd', a, b, c, d], Err(FrameError::TooLong { tag: b'd', len, cap: LARGE }));
        }
    }

    #[test]
    fn an_inbox_refuses_before_the_body_has_come() {
        let mut inbox = Inbox::new(100);
        inbox.push(&[b'E', 0, 0, 0, 101]);
        assert_eq!(inbox.pop(), Err(FrameError::TooLong { tag: b'E', len: 101, cap: 100 }));
    }

    #[test]
    fn an_inbox_gives_back_what_it_did_not_use() {
        let mut inbox = Inbox::new(SMALL);
        inbox.push(b"Z\0\0\0\x05ISnext");
        assert_eq!(inbox.pop(), Ok(Some(Message { tag: b'Z', body: b"I" })));
        assert_eq!(inbox.into_rest(), b"Snext");
    }

    #[test]
    fn a_zero_inside_a_string_cannot_smuggle_a_field() {
        let mut out = Vec::new();
        put_cstr(&mut out, b"bob\0database\0template1");
        assert_eq!(out, b"bob\0");
    }

    #[test]
    fn the_corpus_holds() {
        let corpus: [&[u8]; 6] = [
            b"",
            b"Q",
            b"Q\0\0\0\x03",
            b"Q\0\0\0\x04Q\0\0\0\x05xS\0\0\0\x04",
            b"d\xff\xff\xff\xff",
            b"X\0\0\0\x09abc",
        ];
        corpus.into_iter().for_each(fuzz_frame);
    }

    fn messages() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
        proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..50)), 0..10)
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_messages(messages in messages(), size in 1usize..40) {
            let mut bytes = Vec::new();
            for (tag, body) in &messages {
                put(&mut bytes, *tag, |out| out.extend_from_slice(body));
            }
            let seen = gather(&mut Inbox::new(LARGE), bytes.chunks(size));
            prop_assert_eq!(seen, (messages, None));
        }

        #[test]
        fn any_bytes_walk_the_same_in_any_split(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            fuzz_frame(&data);
        }
    }
}
