//! The commands of Redis: which one a request is, and where it may go. Kind: pure.
//!
//! `table.rs` is what a real server says of its commands, `newer.rs` what later versions added, `rules.rs` what sharing
//! a connection means for each; all three become one static table while the program is compiled.

mod index;
mod keys;
mod newer;
mod proof;
mod route;
mod row;
mod rules;
mod table;

pub use keys::first_key;
pub use proof::{Tenure, is_forced, proves_not_run};
pub use route::{Denial, Route, Verb, Why, fuzz_route, is_bulky, route};
pub use row::{FirstKey, Flags, Group};

/// A command's number, dense from 0; it may differ from build to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandId(u16);

impl CommandId {
    /// That of every command that is not in the table.
    pub const UNKNOWN: Self = Self(u16::MAX);

    /// Its place in [`all`]; for [`UNKNOWN`](Self::UNKNOWN) the place behind the last.
    #[inline]
    pub fn index(self) -> usize {
        usize::from(self.0).min(index::COUNT)
    }
}

/// What is known of a command.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// Its number.
    pub id: CommandId,
    /// In lower case, a subcommand's with its container: `get`, `client|kill`.
    pub name: &'static str,
    /// How many arguments it takes, its name included; negative: at least so many.
    pub arity: i16,
    /// What Redis says of it.
    pub flags: Flags,
    /// What it is about.
    pub group: Group,
    /// Where its keys begin, as `COMMAND` says; 0: nowhere, or see [`first_key`].
    pub first_key: i16,
    /// Where they end; negative: counted from the last argument.
    pub last_key: i16,
    /// How far they are apart.
    pub step: i16,
    /// Whether it has subcommands.
    container: bool,
    /// Whether it is one.
    subcommand: bool,
    class: Class,
    script: Option<Script>,
    bulky: bool,
    replayable: bool,
    may_write: bool,
    key: FirstKey,
    rule: rules::Rule,
}

impl Command {
    /// Whether it may be asked again when nobody knows if it ran: a pure read, or what changes nothing the second time.
    #[inline]
    pub fn replayable(&self) -> bool {
        self.replayable
    }

    /// Whether it may change data, or reach the replicas: what `CLIENT PAUSE … WRITE` holds. A listener that refuses
    /// writes goes by [`Flags::WRITE`] instead, since a replica itself takes `PUBLISH` and refuses what a script writes.
    #[inline]
    pub fn may_write(&self) -> bool {
        self.may_write
    }

    /// What it has to do with the server's cache of scripts.
    #[inline]
    pub fn script(&self) -> Option<Script> {
        self.script
    }

    /// Whether Redis takes it with so many arguments, its name (and its subcommand's) included.
    #[inline]
    pub fn takes(&self, argc: u32) -> bool {
        let least = u32::from(self.arity.unsigned_abs());
        if self.arity < 0 { argc >= least } else { argc == least }
    }

    /// Whether it is in no table: a module's, a newer version's, or nobody's.
    #[inline]
    pub fn is_unknown(&self) -> bool {
        self.id == CommandId::UNKNOWN
    }
}

/// What a command has to do with the server's cache of scripts, which is empty after a failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Runs the text in argument 1, and keeps it.
    Eval,
    /// Runs the kept text whose SHA-1 is argument 1.
    EvalSha,
    /// Keeps the text in argument 2.
    Load,
    /// Empties the cache.
    Flush,
}

/// For whom latencies are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Reads data.
    Read,
    /// Changes data.
    Write,
    /// Waits: its latency is not the server's.
    Blocking,
    /// Publishes or subscribes.
    PubSub,
    /// Runs or manages scripts and functions.
    Script,
    /// `MULTI` and its family.
    Transaction,
    /// Speaks to the server, not to its data; and what is unknown.
    Admin,
    /// Speaks about the connection.
    Connection,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::Write,
        Self::Blocking,
        Self::PubSub,
        Self::Script,
        Self::Transaction,
        Self::Admin,
        Self::Connection,
    ];

    /// As a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Blocking => "blocking",
            Self::PubSub => "pubsub",
            Self::Script => "script",
            Self::Transaction => "transaction",
            Self::Admin => "admin",
            Self::Connection => "connection",
        }
    }
}

/// The command of this name; of a container (`CLIENT`, `XINFO`) the subcommand that `first_arg` names, if it is known,
/// else the container itself. A name that is in no table gives a command that [is unknown](Command::is_unknown).
#[inline]
pub fn find(name: &[u8], first_arg: Option<&[u8]>) -> &'static Command {
    match index::lookup(name, None) {
        Some(command) if command.container => find_sub(command, name, first_arg),
        Some(command) => command,
        None => &index::UNKNOWN,
    }
}

#[inline]
fn find_sub(container: &'static Command, name: &[u8], first_arg: Option<&[u8]>) -> &'static Command {
    first_arg.and_then(|first_arg| index::lookup(name, Some(first_arg))).unwrap_or(container)
}

/// Every command that is known, by its number.
pub fn all() -> &'static [Command] {
    &index::COMMANDS
}

/// The command's class.
#[inline]
pub fn class(command: &Command) -> Class {
    command.class
}

#[cfg(test)]
mod tests;
