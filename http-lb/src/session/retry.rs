//! Whether a request that came to nothing is tried again. Kind: pure.
//!
//! What was never sent may go anywhere. What was sent may have been done: only what does no harm twice is sent again
//! (RFC 9110 section 9.2.2), and only while the client has heard nothing of an answer.

use super::client::BodyFault;

/// How far an attempt came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nobody could be reached: nothing was sent.
    Unreachable,
    /// A kept connection took nothing: nothing was sent.
    Unsent,
    /// A kept connection was closed before a byte of an answer: as a rule the server had given it up as idle.
    Stale,
    /// The connection was lost after the request was sent, or the answer can't be read.
    Broken,
    /// No answer in time. The replica may be busy with it still: it is not asked again.
    Late,
    /// The client's body broke off while it was passed on as it came.
    Body(BodyFault),
    /// It became larger than it may.
    TooLarge,
}

/// What is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The same replica, on a new connection.
    Afresh,
    /// Another replica.
    Elsewhere,
    /// The client is told this status.
    GiveUp(u16),
}

/// What is done about a failure. `repeatable`: the request does no harm twice. `left`: how many attempts there are.
pub fn verdict(failure: Failure, repeatable: bool, left: u32) -> Verdict {
    match failure {
        Failure::Late => Verdict::GiveUp(504),
        Failure::Body(_) => Verdict::GiveUp(400),
        Failure::TooLarge => Verdict::GiveUp(413),
        _ if left == 0 => Verdict::GiveUp(502),
        Failure::Unsent => Verdict::Afresh,
        Failure::Unreachable => Verdict::Elsewhere,
        Failure::Stale if repeatable => Verdict::Afresh,
        Failure::Broken if repeatable => Verdict::Elsewhere,
        Failure::Stale | Failure::Broken => Verdict::GiveUp(502),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_sent_goes_elsewhere_whatever_it_is() {
        assert_eq!(verdict(Failure::Unreachable, false, 1), Verdict::Elsewhere);
        assert_eq!(verdict(Failure::Unsent, false, 1), Verdict::Afresh);
        assert_eq!(verdict(Failure::Unreachable, true, 0), Verdict::GiveUp(502));
    }

    #[test]
    fn what_may_have_been_done_is_repeated_only_without_harm() {
        assert_eq!(verdict(Failure::Stale, true, 1), Verdict::Afresh);
        assert_eq!(verdict(Failure::Stale, false, 1), Verdict::GiveUp(502));
        assert_eq!(verdict(Failure::Broken, true, 1), Verdict::Elsewhere);
        assert_eq!(verdict(Failure::Broken, false, 1), Verdict::GiveUp(502));
        assert_eq!(verdict(Failure::Late, true, 1), Verdict::GiveUp(504));
    }
}
