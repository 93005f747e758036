//! Reading the fields of one message body, front to back, without ever trusting a length. Kind: pure.

/// A message body that is not what its type says: which message, and what is wrong with it.
///
/// SQLSTATE 08P01, `protocol_violation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed {message} message: {what}")]
pub struct Malformed {
    /// The message's name as the PostgreSQL documentation spells it.
    pub message: &'static str,
    /// What is wrong.
    pub what: &'static str,
}

/// What is left to read of one message body.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    message: &'static str,
}

impl<'a> Cursor<'a> {
    /// Starts at the front of `body`; `message` names it in errors.
    #[inline]
    pub fn new(message: &'static str, body: &'a [u8]) -> Self {
        Self { rest: body, message }
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A 16-bit integer in network order.
    #[inline]
    pub fn i16(&mut self) -> Result<i16, Malformed> {
        self.array().map(i16::from_be_bytes)
    }

    /// A 32-bit integer in network order.
    #[inline]
    pub fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    /// Exactly `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(self.wrong("it ends too early"))?;
        self.rest = tail;
        Ok(*head)
    }

    /// The next `len` bytes; `len` comes from the wire and may lie.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.rest.split_at_checked(len).ok_or(self.wrong("it ends too early"))?;
        self.rest = tail;
        Ok(head)
    }

    /// A zero-terminated string, without its zero.
    #[inline]
    pub fn cstr(&mut self) -> Result<&'a [u8], Malformed> {
        let end = memchr::memchr(0, self.rest).ok_or(self.wrong("a string has no end"))?;
        let (head, tail) = self.rest.split_at(end);
        self.rest = &tail[1..];
        Ok(head)
    }

    /// A zero-terminated string that must be UTF-8.
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.cstr()?).map_err(|_| self.wrong("a string is not UTF-8"))
    }

    /// A value with its length in front (32 bits); -1 stands for NULL, and other negative lengths for nothing good.
    #[inline]
    pub fn value(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.i32()? {
            -1 => Ok(None),
            len => {
                let len = usize::try_from(len).map_err(|_| self.wrong("a length is negative"))?;
                self.take(len).map(Some)
            }
        }
    }

    /// A 16-bit count; negative ones are refused.
    #[inline]
    pub fn count(&mut self) -> Result<u16, Malformed> {
        u16::try_from(self.i16()?).map_err(|_| self.wrong("a count is negative"))
    }

    /// All that is left.
    #[inline]
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may be left.
    #[inline]
    pub fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.wrong("it goes on after its end")) }
    }

    /// An error about this message.
    #[inline]
    pub fn wrong(&self, what: &'static str) -> Malformed {
        Malformed { message: self.message, what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: PartialEq + std::fmt::Debug>(
        bytes: &'static [u8],
        read: impl Fn(&mut Cursor<'static>) -> Result<T, Malformed>,
        want: Result<T, &str>,
    ) {
        let got = read(&mut Cursor::new("Test", bytes));
        assert_eq!(got.map_err(|e| e.what), want, "{bytes:?}");
    }

    #[test]
    fn integers_are_big_endian_and_signed() {
        check(&[1, 2], Cursor::i16, Ok(0x0102));
        check(&[0xff; 4], Cursor::i32, Ok(-1));
        check(&[0; 3], Cursor::i32, Err("it ends too early"));
        check(&[], Cursor::u8, Err("it ends too early"));
    }

    #[test]
    fn strings_end_at_their_zero() {
        check(b"ab\0c", |c| c.cstr().map(<[u8]>::to_vec), Ok(b"ab".to_vec()));
        check(b"ab", |c| c.cstr().map(<[u8]>::to_vec), Err("a string has no end"));
        check(b"\xff\0", |c| c.text().map(str::to_owned), Err("a string is not UTF-8"));
    }

    #[test]
    fn lying_lengths_are_refused() {
        let value = |c: &mut Cursor<'static>| c.value().map(|v| v.map(<[u8]>::to_vec));
        check(&[0xff, 0xff, 0xff, 0xff], value, Ok(None));
        check(&[0, 0, 0, 1, 7], value, Ok(Some(vec![7])));
        check(&[0, 0, 0, 2, 7], value, Err("it ends too early"));
        check(&[0x7f, 0xff, 0xff, 0xff, 7], value, Err("it ends too early"));
        check(&[0xff, 0xff, 0xff, 0xfe, 7], value, Err("a length is negative"));
        check(&[0xff, 0xff], Cursor::count, Err("a count is negative"));
    }

    #[test]
    fn trailing_bytes_are_noticed() {
        assert!(Cursor::new("Test", &[]).end().is_ok());
        assert!(Cursor::new("Test", &[0]).end().is_err());
    }
}
