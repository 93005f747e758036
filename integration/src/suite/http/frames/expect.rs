//! What must come of what was sent: life, an error of the connection or of a stream, an answer. Kind: driver.

use super::frame::{Frame, code, flag, kind, status};
use super::peer::{Peer, get};
use super::verdict::{Verdict, Wrong};

/// What became of a request.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Peer {
    /// The connection is as good as ever.
    pub(super) fn is_alive(&mut self) -> Verdict {
        match self.until_pong()? {
            None => Err("it closed the connection".into()),
            Some(frames) => match frames.iter().find(|frame| frame.kind == kind::GOAWAY) {
                Some(goaway) => Err(format!("GOAWAY with code {}", goaway.error_code()).into()),
                None => Ok(()),
            },
        }
    }

    /// A connection error (RFC 9113 section 5.4.1): GOAWAY with one of these codes, or no word and the end.
    pub(super) fn connection_error(&mut self, codes: &[u32]) -> Verdict {
        let payload = self.ping()?;
        loop {
            let Some(frame) = self.next()? else { return Ok(()) };
            match frame.kind {
                kind::GOAWAY if frame.error_code() != code::NO_ERROR => return self.one_of(&frame, codes),
                kind::PING if frame.payload == payload => return Err("it goes on as if nothing was".into()),
                _ => {}
            }
        }
    }

    /// A stream error (section 5.4.2), which may also be treated as one of the connection.
    pub(super) fn stream_error(&mut self, stream: u32, codes: &[u32]) -> Verdict {
        loop {
            let Some(frame) = self.next()? else { return Ok(()) };
            match frame.kind {
                kind::GOAWAY if frame.error_code() != code::NO_ERROR => return self.one_of(&frame, codes),
                kind::RST_STREAM if frame.stream == stream => return self.one_of(&frame, codes),
                _ => {}
            }
        }
    }

    /// A word of the end with another code is only that if the connection does end.
    fn one_of(&mut self, frame: &Frame, codes: &[u32]) -> Verdict {
        let code = frame.error_code();
        if codes.contains(&code) {
            return Ok(());
        }
        let goaway = frame.kind == kind::GOAWAY;
        while goaway && self.next()?.is_some() {}
        let name = if goaway { "GOAWAY" } else { "RST_STREAM" };
        Err(Wrong { why: format!("{name} with code {code}, not of {codes:?}"), only_the_code: goaway })
    }

    /// A malformed request (section 8.1.1): a stream error, or, as a server may, an answer that says so.
    pub(super) fn malformed(&mut self, stream: u32) -> Verdict {
        loop {
            let Some(frame) = self.next()? else { return Ok(()) };
            match frame.kind {
                kind::GOAWAY if frame.error_code() != code::NO_ERROR => {
                    return self.one_of(&frame, &[code::PROTOCOL]);
                }
                kind::RST_STREAM if frame.stream == stream => return self.one_of(&frame, &[code::PROTOCOL]),
                kind::HEADERS if frame.stream == stream => match status(&frame.payload) {
                    Some(400..=499 | 501 | 505) => return Ok(()),
                    other => return Err(format!("it was answered with {other:?}").into()),
                },
                _ => {}
            }
        }
    }

    /// The whole answer on this stream.
    pub(super) fn answer(&mut self, stream: u32) -> Result<Answer, Wrong> {
        let mut answer = Answer::default();
        loop {
            let frame = self.next()?.ok_or("it closed the connection")?;
            match frame.kind {
                kind::GOAWAY if frame.error_code() != code::NO_ERROR => {
                    return Err(format!("GOAWAY with code {}", frame.error_code()).into());
                }
                kind::RST_STREAM if frame.stream == stream => {
                    // An answer may be over before the request is (section 8.1).
                    return Err(format!("RST_STREAM with code {}", frame.error_code()).into());
                }
                kind::HEADERS if frame.stream == stream => {
                    let said = status(&frame.payload).filter(|status| *status >= 200);
                    answer.status = said.unwrap_or(answer.status);
                }
                kind::DATA if frame.stream == stream => answer.body.extend_from_slice(&frame.payload),
                _ => continue,
            }
            if frame.stream == stream && frame.has(flag::END_STREAM) {
                return Ok(answer);
            }
        }
    }

    /// It is answered, and well.
    pub(super) fn succeeds(&mut self, stream: u32) -> Verdict {
        let answer = self.answer(stream)?;
        if answer.status == 200 {
            Ok(())
        } else {
            Err(format!("it was answered with {}", answer.status).into())
        }
    }

    /// A GET on a stream of its own, which is answered well.
    pub(super) fn still_serves(&mut self, stream: u32) -> Verdict {
        self.send(&[get(stream)])?;
        self.succeeds(stream)
    }
}
