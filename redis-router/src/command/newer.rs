//! Commands that Redis got after the version that wrote `table.rs`, kept by hand. Kind: pure.
//!
//! Source: `src/commands/*.json` of <https://github.com/redis/redis> at 4f8cdc2a1 (7.2 and 7.4), and the reference at
//! <https://redis.io/docs/latest/commands/> for what came with 8.0. What is missing here is an unknown command, which
//! costs its client a connection of its own and nothing else.

use super::row::*;

#[rustfmt::skip]
pub(super) static NEWER: [Row; 18] = [
    // 7.2
    row("client|no-touch", 3, NOSCRIPT.and(LOADING).and(STALE), Group::Connection, (0, 0, 0), FirstKey::Nowhere),
    row("client|setinfo", 4, NOSCRIPT.and(LOADING).and(STALE), Group::Connection, (0, 0, 0), FirstKey::Nowhere),
    row("cluster|myshardid", 2, STALE, Group::Cluster, (0, 0, 0), FirstKey::Nowhere),
    row("waitaof", 4, BLOCKING, Group::Generic, (0, 0, 0), FirstKey::Nowhere),
    // 7.4
    row("hexpire", -6, WRITE.and(DENYOOM).and(FAST), Group::Hash, (1, 1, 1), FirstKey::At(1)),
    row("hexpireat", -6, WRITE.and(DENYOOM).and(FAST), Group::Hash, (1, 1, 1), FirstKey::At(1)),
    row("hexpiretime", -5, READONLY.and(FAST), Group::Hash, (1, 1, 1), FirstKey::At(1)),
    row("hpersist", -5, WRITE.and(FAST), Group::Hash, (1, 1, 1), FirstKey::At(1)),
    row("hpexpire", -6, WRITE.and(DENYOOM).and(FAST), Group::Hash, (1, 1, 1), FirstKey::At(1)),
    row("hpexpireat", -6, WRITE.and(DENYOOM).and(FAST), Group::Hash, (1, 1, 1), FirstKey::At(1)),
    row("hpexpiretime", -5, READONLY.and(FAST), Group::Hash, (1, 1, 1), FirstKey::At(1)),
    row("hpttl", -5, READONLY.and(FAST), Group::Hash, (1, 1, 1), FirstKey::At(1)),
    row("httl", -5, READONLY.and(FAST), Group::Hash, (1, 1, 1), FirstKey::At(1)),
    // 8.0
    row("hgetdel", -5, WRITE.and(FAST), Group::Hash, (1, 1, 1), FirstKey::At(1)),
    row("hgetex", -5, WRITE.and(FAST), Group::Hash, (1, 1, 1), FirstKey::At(1)),
    row("hsetex", -6, WRITE.and(DENYOOM).and(FAST), Group::Hash, (1, 1, 1), FirstKey::At(1)),
    // No open Redis has it, but redis-py asks for it on every connection.
    row("client|maint_notifications", -3, NOSCRIPT.and(LOADING).and(STALE), Group::Connection, (0, 0, 0), FirstKey::Nowhere),
    // Sentinels have it, no data server does; a container by its subcommand.
    row("sentinel", -2, ADMIN, Group::Server, (0, 0, 0), FirstKey::Nowhere),
];
