//! Where a body ends, as its bytes come by. Kind: pure.

use std::ops::Range;

use crate::wire::{ChunkedDecoder, Framing, Malformed, ResponseFraming};

/// What is still to come of a body.
#[derive(Debug)]
pub enum Measure {
    /// Nothing.
    Done,
    /// So many bytes.
    Length(u64),
    /// Chunks, up to the last one.
    Chunked(Box<ChunkedDecoder>),
    /// Whatever comes until the connection is closed.
    UntilClose,
}

/// What was found at the front of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portion {
    /// So many bytes are dealt with.
    pub used: usize,
    /// Where among them the body's own bytes lie.
    pub data: Range<usize>,
}

impl From<Framing> for Measure {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::Length(0) => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Box::default()),
        }
    }
}

impl From<ResponseFraming> for Measure {
    fn from(framing: ResponseFraming) -> Self {
        match framing {
            ResponseFraming::None | ResponseFraming::Length(0) => Self::Done,
            ResponseFraming::Length(length) => Self::Length(length),
            ResponseFraming::Chunked => Self::Chunked(Box::default()),
            ResponseFraming::UntilClose => Self::UntilClose,
        }
    }
}

impl Measure {
    /// Takes what belongs to the body from the front of `bytes`; to be called again with what is behind it, until that
    /// is nothing or the body [is done](Self::is_done).
    ///
    /// # Errors
    /// The chunks are not as they should be.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Portion, Malformed> {
        match self {
            Self::Done => Ok(Portion { used: 0, data: 0..0 }),
            Self::UntilClose => Ok(Portion { used: bytes.len(), data: 0..bytes.len() }),
            Self::Length(left) => {
                let used = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= used as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(Portion { used, data: 0..used })
            }
            Self::Chunked(decoder) => {
                let decoded = decoder.advance(bytes)?;
                Ok(Portion { used: decoded.used, data: decoded.data })
            }
        }
    }

    /// Chunks may announce no more than so many bytes from here on; other lengths are known before.
    pub fn bound(&mut self, room: u64) {
        if let Self::Chunked(decoder) = self {
            decoder.bound(room);
        }
    }

    /// Whether all of the body has come.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Done => true,
            Self::Chunked(decoder) => decoder.is_done(),
            Self::Length(_) | Self::UntilClose => false,
        }
    }

    /// Whether the end of the stream is the end of the body.
    pub fn ends_with_stream(&self) -> bool {
        matches!(self, Self::UntilClose) || self.is_done()
    }

    /// The fields behind the last chunk.
    pub fn trailers(&self) -> &[u8] {
        match self {
            Self::Chunked(decoder) => decoder.trailers().as_bytes(),
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows the measure these bytes, cut at each place; what it takes for the body, and what it leaves.
    #[track_caller]
    fn check(framing: Framing, bytes: &str, body: &str, left: &str) {
        for cut in 0..=bytes.len() {
            let (mut measure, mut taken, mut rest) = (Measure::from(framing), String::new(), String::new());
            for piece in [&bytes[..cut], &bytes[cut..]] {
                let mut at = 0;
                while at < piece.len() && !measure.is_done() {
                    let portion = measure.take(&piece.as_bytes()[at..]).unwrap();
                    taken.push_str(&piece[at + portion.data.start..at + portion.data.end]);
                    at += portion.used;
                }
                rest.push_str(&piece[at..]);
            }
            assert_eq!(
                (taken.as_str(), rest.as_str(), measure.is_done()),
                (body, left, true),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn a_body_ends_where_its_framing_says() {
        check(Framing::None, "GET /", "", "GET /");
        check(Framing::Length(0), "GET /", "", "GET /");
        check(Framing::Length(3), "a=1GET /", "a=1", "GET /");
        check(Framing::Chunked, "2\r\na=\r\n1\r\n1\r\n0\r\n\r\nGET /", "a=1", "GET /");
        check(Framing::Chunked, "0\r\nx-sum: 1\r\n\r\n", "", "");
    }

    #[test]
    fn a_body_until_close_is_never_done() {
        let mut measure = Measure::from(ResponseFraming::UntilClose);
        assert_eq!(measure.take(b"abc").unwrap(), Portion { used: 3, data: 0..3 });
        assert!(!measure.is_done() && measure.ends_with_stream());
        assert!(!Measure::from(ResponseFraming::Length(3)).ends_with_stream());
    }
}
