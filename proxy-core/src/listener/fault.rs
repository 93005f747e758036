//! What to do when accept(2) fails: never to end the loop. Kind: pure.

use rustix::io::Errno;

/// How the accept loop goes on after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// That one connection was lost before we took it: take the next at once.
    Next,
    /// This process is out of descriptors: give the reserved one for turning a client away politely.
    Shed,
    /// The machine is out of something, or the error is unknown: wait a little, since the connection that failed is
    /// still in the backlog and the socket would report it again at once, for ever.
    Pause,
}

impl Reaction {
    /// The reaction as a metric label.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Shed => "shed",
            Self::Pause => "pause",
        }
    }
}

/// Judges an error of accept(2). Its man page asks to treat the pending network errors of the new socket like EAGAIN;
/// EPERM is a firewall's word about that one connection.
pub(super) fn judge(errno: Option<Errno>) -> Reaction {
    match errno {
        Some(
            Errno::INTR
            | Errno::CONNABORTED
            | Errno::CONNRESET
            | Errno::PROTO
            | Errno::PERM
            | Errno::NETDOWN
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::OPNOTSUPP
            | Errno::NETUNREACH
            | Errno::TIMEDOUT,
        ) => Reaction::Next,
        Some(Errno::MFILE) => Reaction::Shed,
        _ => Reaction::Pause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(errnos: &[Errno], reaction: Reaction) {
        for errno in errnos {
            assert_eq!(judge(Some(*errno)), reaction, "{errno}");
        }
    }

    #[test]
    fn a_connection_that_died_in_the_backlog_is_skipped() {
        check(&[Errno::CONNABORTED, Errno::INTR, Errno::PROTO, Errno::NETUNREACH], Reaction::Next);
    }

    #[test]
    fn no_descriptors_means_turning_clients_away() {
        check(&[Errno::MFILE], Reaction::Shed);
    }

    #[test]
    fn a_machine_in_need_is_given_time_and_so_is_what_nobody_foresaw() {
        check(&[Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::BADF, Errno::INVAL], Reaction::Pause);
        assert_eq!(judge(None), Reaction::Pause);
    }
}
