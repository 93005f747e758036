//! What Redis says of a command: the types of the table's rows. Kind: pure.

/// What a command does and where it may run, as Redis' `COMMAND` calls it
/// (<https://redis.io/docs/latest/commands/command/#flags>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(u32);

macro_rules! flags {
    ($($name:ident = $bit:literal, $doc:literal;)+) => {
        impl Flags {
            $(#[doc = $doc] pub const $name: Self = Self(1 << $bit);)+
        }
        $(pub(super) const $name: Flags = Flags::$name;)+
    };
}

flags! {
    WRITE = 0, "May change data.";
    READONLY = 1, "Reads data and changes none.";
    DENYOOM = 2, "Refused when memory is short.";
    ADMIN = 3, "For operators.";
    PUBSUB = 4, "Publishes or subscribes.";
    NOSCRIPT = 5, "Not for scripts.";
    BLOCKING = 6, "May wait for something to happen.";
    LOADING = 7, "Allowed while the server loads its data.";
    STALE = 8, "Allowed on a replica that has lost its master.";
    SKIP_MONITOR = 9, "Not shown by `MONITOR`.";
    SKIP_SLOWLOG = 10, "Not kept by `SLOWLOG`.";
    ASKING = 11, "Implies `ASKING` in a cluster.";
    FAST = 12, "Takes constant or logarithmic time.";
    NO_AUTH = 13, "Allowed before authentication.";
    NO_MANDATORY_KEYS = 14, "May have no keys, though it takes some.";
    NO_ASYNC_LOADING = 15, "Refused while a replica loads beside its old data.";
    NO_MULTI = 16, "Not for transactions.";
    MOVABLEKEYS = 17, "Where its keys stand depends on its arguments.";
    ALLOW_BUSY = 18, "Allowed while a script keeps the server busy.";
}

pub(super) const NONE: Flags = Flags(0);

impl Flags {
    /// Whether all of `flags` are set.
    #[inline]
    pub const fn contain(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// These and those.
    pub(super) const fn and(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }
}

/// The kind of data, or of service, that a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Redis' own and say all that there is to say")]
pub enum Group {
    Bitmap,
    Cluster,
    Connection,
    Generic,
    Geo,
    Hash,
    Hyperloglog,
    List,
    Pubsub,
    Scripting,
    Server,
    Set,
    SortedSet,
    Stream,
    String,
    Transactions,
}

/// Where a command's first key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstKey {
    /// It has none.
    Nowhere,
    /// At this argument; the command's name is argument 0.
    At(u8),
    /// Behind this argument, if that is a positive number: the number of keys.
    Counted(u8),
    /// Behind this word, which stands anywhere.
    After(&'static str),
}

/// One command, or one subcommand (`client|kill`).
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) arity: i16,
    pub(super) flags: Flags,
    pub(super) group: Group,
    /// First, last and step.
    pub(super) keys: (i16, i16, i16),
    pub(super) first_key: FirstKey,
}

/// So that the tables read as tables.
pub(super) const fn row(
    name: &'static str,
    arity: i16,
    flags: Flags,
    group: Group,
    keys: (i16, i16, i16),
    first_key: FirstKey,
) -> Row {
    Row { name, arity, flags, group, keys, first_key }
}
