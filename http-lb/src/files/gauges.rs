//! What the metrics say about files. Kind: wiring.

use prometheus::{IntCounter, IntGauge};
use proxy_core::metrics::Registry;

use super::index::Tally;

/// The metrics of a site.
#[derive(Debug, Clone)]
pub(super) struct Gauges {
    bytes: IntGauge,
    in_memory: IntGauge,
    kept: IntGauge,
    pub(super) reindexed: IntCounter,
    pub(super) unread: IntCounter,
}

impl Gauges {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            bytes: registry.gauge("files_bytes", "Memory that files and their compressed variants take"),
            in_memory: registry.gauge("files_in_memory", "Files that are served from memory"),
            kept: registry.gauge("files_kept", "Files that are served though they have vanished from disk"),
            reindexed: registry.counter("files_reindexed_total", "Times a changed folder was indexed anew"),
            unread: registry
                .counter("files_index_failures_total", "Times a changed folder could not be indexed"),
        }
    }

    pub(super) fn set(&self, tallies: impl Iterator<Item = Tally>) {
        let (mut bytes, mut in_memory, mut kept) = (0, 0, 0);
        for tally in tallies {
            bytes += tally.bytes;
            in_memory += tally.in_memory;
            kept += tally.kept;
        }
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.in_memory.set(i64::try_from(in_memory).unwrap_or(i64::MAX));
        self.kept.set(i64::try_from(kept).unwrap_or(i64::MAX));
    }
}
