//! Errors that carry which side failed and how, for the log, the counters and the caller. Kind: pure.
//!
//! An [`Error`] is for us: its text goes to the log. What a client is told (an SQLSTATE, a RESP error, an
//! HTTP status) is chosen by the protocol from [`Error::side`] and [`Error::kind`], never by printing this.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;

/// What caused an error: any error, or a text.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// The side on which something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The side that called us.
    Downstream,
    /// The side that we call.
    Upstream,
    /// Ourselves, or the machine under us.
    Internal,
}

impl Side {
    /// The side as a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Downstream => "downstream",
            Self::Upstream => "upstream",
            Self::Internal => "internal",
        }
    }
}

/// How something failed: few kinds, because each is a metric label and somebody's decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The other side closed or reset its connection.
    Closed,
    /// It took longer than it may.
    Timeout,
    /// The other side refused the connection or the request.
    Refused,
    /// The bytes break the protocol.
    Protocol,
    /// Who asked is unknown, or may not do this.
    Denied,
    /// There is no upstream to go to.
    NoUpstream,
    /// A limit of ours bites.
    Overload,
    /// The operating system failed us.
    Io,
    /// The configuration is wrong.
    Config,
    /// We are wrong.
    Bug,
}

impl Kind {
    /// The kind as a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Protocol => "protocol",
            Self::Denied => "denied",
            Self::NoUpstream => "no_upstream",
            Self::Overload => "overload",
            Self::Io => "io",
            Self::Config => "config",
            Self::Bug => "bug",
        }
    }
}

/// The kind that an I/O error amounts to.
impl From<io::ErrorKind> for Kind {
    fn from(kind: io::ErrorKind) -> Self {
        use io::ErrorKind as E;
        match kind {
            E::ConnectionReset | E::ConnectionAborted | E::BrokenPipe | E::UnexpectedEof => Self::Closed,
            E::NotConnected | E::WriteZero => Self::Closed,
            E::ConnectionRefused | E::HostUnreachable | E::NetworkUnreachable => Self::Refused,
            E::TimedOut => Self::Timeout,
            E::InvalidData => Self::Protocol,
            E::PermissionDenied => Self::Denied,
            _ => Self::Io,
        }
    }
}

/// Something failed: on which side, how, and why.
///
/// `Display` prints the whole chain, outermost context first, so `source()` stays empty and nothing that walks
/// sources prints a cause twice; [`Error::cause`] gives the cause itself.
pub struct Error {
    side: Side,
    kind: Kind,
    context: Vec<Cow<'static, str>>,
    cause: Cause,
}

impl Error {
    /// An error of `kind` on `side`; `cause` is any error or a text.
    pub fn new(side: Side, kind: Kind, cause: impl Into<Cause>) -> Self {
        Self { side, kind, context: Vec::new(), cause: cause.into() }
    }

    /// The caller's side failed.
    pub fn downstream(kind: Kind, cause: impl Into<Cause>) -> Self {
        Self::new(Side::Downstream, kind, cause)
    }

    /// The side that we call failed.
    pub fn upstream(kind: Kind, cause: impl Into<Cause>) -> Self {
        Self::new(Side::Upstream, kind, cause)
    }

    /// We failed, or the machine under us.
    pub fn internal(kind: Kind, cause: impl Into<Cause>) -> Self {
        Self::new(Side::Internal, kind, cause)
    }

    /// An I/O error on `side`; its kind follows from the [`io::ErrorKind`].
    pub fn io(side: Side, cause: io::Error) -> Self {
        Self::new(side, cause.kind().into(), cause)
    }

    /// The configuration is wrong; `cause` says what, where, and what to do.
    pub fn config(cause: impl Into<Cause>) -> Self {
        Self::internal(Kind::Config, cause)
    }

    /// Says what was being done when this happened.
    #[must_use]
    pub fn context(mut self, doing: impl Into<Cow<'static, str>>) -> Self {
        self.context.push(doing.into());
        self
    }

    /// The side that failed.
    pub const fn side(&self) -> Side {
        self.side
    }

    /// How it failed.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// What caused it, for who must look inside.
    pub fn cause(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self.cause.as_ref()
    }

    /// Side and kind, in the order of the labels of `errors_total{side,kind}`.
    pub const fn as_labels(&self) -> [&'static str; 2] {
        [self.side.label(), self.kind.label()]
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for doing in self.context.iter().rev() {
            write!(f, "{doing}: ")?;
        }
        write!(f, "{}", self.cause)?;
        let mut source = self.cause.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [side, kind] = self.as_labels();
        write!(f, "{side}/{kind}: {self}")
    }
}

impl StdError for Error {}

/// What the project's fallible functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// `.context("...")` on a result, as on the error itself.
pub trait Context<T> {
    /// Says what was being done when this happened.
    fn context(self, doing: impl Into<Cow<'static, str>>) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context(self, doing: impl Into<Cow<'static, str>>) -> Self {
        self.map_err(|error| error.context(doing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: &Error, text: &str, labels: [&str; 2]) {
        assert_eq!(error.to_string(), text);
        assert_eq!(error.as_labels(), labels);
    }

    #[test]
    fn a_text_is_cause_enough() {
        check(&Error::upstream(Kind::NoUpstream, "no primary"), "no primary", ["upstream", "no_upstream"]);
    }

    #[test]
    fn contexts_read_from_the_outermost_in() {
        let error =
            Error::downstream(Kind::Protocol, "length 3").context("reading Bind").context("session 7");
        check(&error, "session 7: reading Bind: length 3", ["downstream", "protocol"]);
    }

    #[test]
    fn the_kind_of_an_io_error_follows_from_its_kind() {
        let io = |kind: io::ErrorKind| Error::io(Side::Upstream, io::Error::new(kind, "x"));
        check(&io(io::ErrorKind::ConnectionReset), "x", ["upstream", "closed"]);
        check(&io(io::ErrorKind::ConnectionRefused), "x", ["upstream", "refused"]);
        check(&io(io::ErrorKind::TimedOut), "x", ["upstream", "timeout"]);
        check(&io(io::ErrorKind::StorageFull), "x", ["upstream", "io"]);
    }

    #[test]
    fn an_error_within_an_error_is_told_once() {
        let inner = Error::upstream(Kind::Timeout, "10 s passed").context("logging in");
        let outer = Error::internal(Kind::Io, inner).context("starting");
        check(&outer, "starting: logging in: 10 s passed", ["internal", "io"]);
    }

    #[test]
    fn results_take_context_too() {
        let result: Result<()> = Err(Error::config("bad")).context("loading");
        check(&result.expect_err("it was an error"), "loading: bad", ["internal", "config"]);
    }
}
