//! What requests are answered by: the configuration and all that was made of it, as one snapshot. Kind: wiring.

use std::sync::Arc;

use crate::body::Budget;
use crate::cluster::Clusters;
use crate::config::Config;
use crate::session::pace::Tempo;
use crate::wire::HeadLimits;

/// One snapshot. A request looks at one alone, from its beginning to its end.
pub struct House {
    /// The configuration.
    pub config: Arc<Config>,
    /// The replicas.
    pub clusters: Arc<Clusters>,
    /// What bodies may take.
    pub budget: Arc<Budget>,
    /// What the head of a request may be.
    pub head: HeadLimits,
    /// What the head of an answer may be.
    pub answer_head: HeadLimits,
    /// How slow clients may be.
    pub tempo: Tempo,
}

impl House {
    /// The house of a configuration.
    pub fn new(config: Arc<Config>, clusters: Arc<Clusters>, budget: Arc<Budget>) -> Self {
        let limits = &config.limits;
        let head =
            HeadLimits { line: limits.line.as_usize(), total: limits.head.as_usize(), fields: limits.fields };
        let total = limits.response_head.as_usize();
        let answer_head = HeadLimits { line: total, total, fields: HeadLimits::default().fields * 2 };
        let rate = u32::try_from(limits.min_rate.as_usize()).unwrap_or(u32::MAX);
        let tempo = Tempo { grace: limits.min_rate_grace, bytes_per_second: rate };
        Self { head, answer_head, tempo, clusters, budget, config }
    }
}
