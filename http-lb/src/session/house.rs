//! What requests are answered by: the configuration and all that was made of it, as one snapshot. Kind: wiring.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use proxy_core::tls::ClientTls;

use crate::body::Budget;
use crate::cluster::{ClusterState, Clusters};
use crate::config::{self, Config, Sticky};
use crate::edge::Edge;
use crate::files::Site;
use crate::server::{Keeping, pingora};
use crate::session::http2;
use crate::session::pace::Tempo;
use crate::wire::HeadLimits;

/// One snapshot. A request looks at one alone, from its beginning to its end.
pub struct House {
    /// The configuration.
    pub config: Arc<Config>,
    /// What is decided about requests.
    pub edge: Arc<Edge>,
    /// The static files.
    pub site: Option<Arc<Site>>,
    /// The ways to the replicas, in the order of the configuration's clusters.
    pub ways: Vec<Way>,
    /// The names of the classes, the most important first.
    pub classes: Vec<String>,
    /// What bodies may take.
    pub budget: Arc<Budget>,
    /// What the head of a request may be.
    pub head: HeadLimits,
    /// What the head of an answer may be.
    pub answer_head: HeadLimits,
    /// How slow clients may be.
    pub tempo: Tempo,
}

/// The way to the replicas of one cluster.
pub struct Way {
    /// Who of them is next.
    pub cluster: Arc<ClusterState>,
    /// Encryption towards them.
    pub tls: Option<Arc<ClientTls>>,
    /// There where they speak HTTP/2.
    pub http2: Option<pingora::Way>,
    /// How connections to them are kept.
    pub keeping: Keeping,
    /// How long a request waits for one of them, unless its route says otherwise.
    pub patience: Duration,
    /// How often a request is tried beyond the first time.
    pub retries: u32,
    /// Whether replicas are chosen by a key of the request.
    pub hashes: bool,
    /// The cookie that keeps clients at one of them.
    pub sticky: Option<Sticky>,
}

impl House {
    /// The house of a configuration.
    pub fn new(
        config: Arc<Config>,
        edge: Arc<Edge>,
        site: Option<Arc<Site>>,
        clusters: &Clusters,
        budget: Arc<Budget>,
    ) -> Self {
        let limits = &config.limits;
        let head =
            HeadLimits { line: limits.line.as_usize(), total: limits.head.as_usize(), fields: limits.fields };
        let total = limits.response_head.as_usize();
        let answer_head = HeadLimits { line: total, total, fields: 2 * limits.fields };
        let rate = u32::try_from(limits.min_rate.as_usize()).unwrap_or(u32::MAX);
        let tempo = Tempo { grace: limits.min_rate_grace, bytes_per_second: rate };
        let connect = config.timeouts.connect;
        let way =
            |settings: &config::Cluster| Some(Way::new(settings, clusters.find(&settings.name)?, connect));
        let ways = config.clusters.iter().filter_map(way).collect();
        let classes = config.class_names().into_iter().map(str::to_owned).collect();
        Self { edge, site, ways, classes, budget, head, answer_head, tempo, config }
    }

    /// On which terms HTTP/2 is spoken.
    pub fn http2(&self) -> Rc<http2::Terms> {
        Rc::new(http2::Terms::new(&self.config, self.head, self.tempo))
    }
}

impl Way {
    fn new(settings: &config::Cluster, cluster: Arc<ClusterState>, connect: Duration) -> Self {
        let keeping = Keeping { timeout: settings.keepalive.idle_timeout, most: settings.keepalive.max_idle };
        let (retries, sticky) = (settings.retries.attempts, settings.sticky.clone());
        let hashes = settings.policy == config::Policy::Hash;
        let tls = cluster.tls();
        let http2 = settings.http2.then(|| pingora::Way { tls: tls.clone(), patience: connect });
        let patience = settings.queue.timeout;
        Self { tls, http2, cluster, keeping, patience, retries, hashes, sticky }
    }
}
