//! Which errors prove that a command did not run, so that another server may run it. Kind: pure.

use crate::command::{Command, Flags, Group};

/// The beginning of what `EXEC` says if it is refused for a reason of its own.
const BECAUSE: &[u8] = b"-EXECABORT Transaction discarded because of: ";

/// What a server says that can't run a command as things stand, before it runs it (src/server.c, `processCommand`).
const TURNED_AWAY: [&[u8]; 3] = [b"READONLY ", b"LOADING ", b"MASTERDOWN "];

/// What a master says to writes that has fewer replicas than `min-replicas-to-write`, before it runs them.
const NO_REPLICAS: &[u8] = b"NOREPLICAS Not enough good replicas";

/// How long a server has been what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tenure {
    /// It was promoted a moment ago, and the replicas are on their way to it.
    Fresh,
    /// Whoever follows it does so by now.
    Settled,
}

/// What another router says of a write that may have run.
const NOBODY_KNOWS: &[u8] = b"LOADING the connection to Redis was lost";

/// What a blocked client is told whose server becomes a replica (src/blocked.c, `disconnectAllBlockedClients`);
/// `CLIENT UNBLOCK` is told in other words, and is an answer.
const FORCED: &[u8] = b"-UNBLOCKED force unblock";

/// What `WAIT` says on a replica.
const WAIT_ON_REPLICA: &[u8] = b"-ERR WAIT";

/// Whether an error, of which `head` is the beginning, proves that the command did not run, and that a server in
/// another role would run it, or the same one soon.
///
/// A script may say anything, so of a script only the servers' own sentences count: on a replica no write of it can have
/// been done.
pub fn proves_not_run(command: &Command, head: &[u8], tenure: Tenure) -> bool {
    if head.starts_with(FORCED) {
        return command.flags.contain(Flags::BLOCKING);
    }
    let reason = head.strip_prefix(BECAUSE).or_else(|| head.strip_prefix(b"-")).unwrap_or_default();
    if reason.starts_with(NOBODY_KNOWS) {
        return false;
    }
    if tenure == Tenure::Fresh && reason.starts_with(NO_REPLICAS) {
        return true; // every write of a script is refused as its first one is
    }
    if !TURNED_AWAY.iter().any(|code| reason.starts_with(code)) {
        return matches!(command.name, "wait" | "waitaof") && is_wait_on_replica(head);
    }
    command.group != Group::Scripting || is_own_sentence(reason)
}

/// Whether the error says that the server ended a blocking call because its role changes.
pub fn is_forced(head: &[u8]) -> bool {
    head.starts_with(FORCED)
}

fn is_own_sentence(reason: &[u8]) -> bool {
    reason.starts_with(b"READONLY You can't write against a read only ")
        || reason.starts_with(b"LOADING ")
            && memchr::memmem::find(reason, b" is loading the dataset in memory").is_some()
        || reason.starts_with(b"MASTERDOWN Link with MASTER is down")
}

fn is_wait_on_replica(head: &[u8]) -> bool {
    head.starts_with(WAIT_ON_REPLICA)
        && memchr::memmem::find(head, b"cannot be used with replica instances").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::find;

    #[track_caller]
    fn check(command: &str, reply: &str, proves: bool) {
        let command = find(command.as_bytes(), None);
        let proof = proves_not_run(command, reply.as_bytes(), Tenure::Settled);
        assert_eq!(proof, proves, "{} {reply}", command.name);
    }

    #[test]
    fn a_master_of_a_moment_ago_will_have_its_replicas_soon() {
        let fresh = |command: &str, reply: &str| {
            proves_not_run(find(command.as_bytes(), None), reply.as_bytes(), Tenure::Fresh)
        };
        assert!(fresh("SET", "-NOREPLICAS Not enough good replicas to write.\r\n"));
        assert!(fresh(
            "EXEC",
            "-EXECABORT Transaction discarded because of: NOREPLICAS Not enough good replicas to"
        ));
        assert!(fresh("EVALSHA", "-NOREPLICAS Not enough good replicas to write. script: a, on b:1.\r\n"));
        assert!(!fresh("EVAL", "-NOREPLICAS of the script's own\r\n"));
    }

    #[test]
    fn a_server_that_turns_a_command_away_proves_that_it_did_not_run() {
        check("SET", "-READONLY You can't write against a read only replica.\r\n", true);
        check("GET", "-LOADING Redis is loading the dataset in memory\r\n", true);
        check(
            "GET",
            "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
            true,
        );
        check("EXEC", "-EXECABORT Transaction discarded because of: READONLY You can't write\r\n", true);
        check("BLPOP", "-UNBLOCKED force unblock from blocking operation, instance state changed\r\n", true);
        check("WAIT", "-ERR WAIT cannot be used with replica instances. Please also note\r\n", true);
    }

    #[test]
    fn other_errors_are_answers() {
        check("SET", "-ERR syntax error\r\n", false);
        check("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n", false);
        check("BLPOP", "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n", false);
        check("SET", "-LOADING the connection to Redis was lost while the command was under way\r\n", false);
        check("SET", "-NOREPLICAS Not enough good replicas to write.\r\n", false);
        check("GET", "+READONLY \r\n", false);
        check("GET", "-ERR WAIT cannot be used with replica instances\r\n", false);
    }

    #[test]
    fn a_script_proves_nothing_by_words_of_its_own() {
        check(
            "EVALSHA",
            "-READONLY You can't write against a read only replica. script: a, on b:1.\r\n",
            true,
        );
        check("EVAL", "-READONLY of the script's own\r\n", false);
        check("EVAL", "-LOADING Valkey is loading the dataset in memory\r\n", true);
        check("FCALL", "-LOADING of the script's own\r\n", false);
    }
}
