//! What the router itself answers to commands that no server could answer. Kind: pure.

/// The truth about a write that was sent to a server which then was lost; the client's connection lives on.
///
/// By the code a client does what it would do if its own connection were lost in the same moment: it is the only one for
/// which redis-py raises a `ConnectionError`, which Celery survives. Any other is a `ResponseError`, as of a faulty command,
/// and ends a Celery worker. The price: a client that repeats after LOADING by itself, repeats this as well, as it
/// would after a lost connection.
pub const UNKNOWN: &str =
    "LOADING the connection to Redis was lost while the command was under way: it may have run, or not";

/// No master could be reached in time; nothing was sent. Clients know the code as one that passes.
pub const NO_MASTER: &str =
    "-LOADING no Redis master can be reached; the command was not sent, try again\r\n";

/// As [`NO_MASTER`], for want of room to wait in.
pub const HOLD_FULL: &str =
    "-LOADING too many commands wait for a Redis master; the command was not sent, try again\r\n";

/// `error` as the answer to a request that expects so many replies: to a whole transaction, as its EXEC's.
pub fn refusal(error: &[u8], replies: u32) -> Box<[u8]> {
    let mut answer = Vec::with_capacity(error.len());
    for i in 1..replies {
        answer.extend_from_slice(if i == 1 { b"+OK\r\n" } else { b"+QUEUED\r\n" });
    }
    answer.extend_from_slice(error);
    answer.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_hears_as_many_replies_as_it_expects() {
        assert_eq!(*refusal(b"-E\r\n", 1), *b"-E\r\n");
        assert_eq!(*refusal(b"-E\r\n", 4), *b"+OK\r\n+QUEUED\r\n+QUEUED\r\n-E\r\n");
    }
}
