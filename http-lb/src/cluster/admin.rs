//! What an operator sees of the replicas, and does to them. Kind: driver.
//!
//! | path | |
//! |---|---|
//! | `GET /replicas` | all clusters as JSON: queues, slots, replicas |
//! | `POST /replica?replica=ADDR&state=drain` | finish what is in flight, take nothing new; `ready` and `maint` likewise |
//! | `…&weight=N` | another share, until the process ends; 0 gives it nothing |
//! | `…&cluster=NAME` | needed where several clusters have this replica |
//! | `…&wait=SECONDS` | answer when nothing is in flight there any more |

use std::sync::Arc;
use std::time::{Duration, Instant};

use proxy_core::admin::{Query, Reply};
use proxy_core::app::Context;
use proxy_core::net::Addr;
use proxy_core::upstream::{Admin, Endpoint};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{ClusterState, Clusters};

/// The longest that an action may wait.
const LONGEST: Duration = Duration::from_secs(600);

/// How often is looked whether nothing is in flight any more.
const LOOK: Duration = Duration::from_millis(20);

/// Adds to `/status` and to the admin endpoint.
pub(super) fn register(clusters: &Arc<Clusters>, context: &Context) {
    let known = clusters.clone();
    context.status.section("clusters", move || tell(&known));
    let known = clusters.clone();
    context.routes.look("/replicas", move |_| Reply::new(200, format!("{:#}\n", tell(&known))));
    let known = clusters.clone();
    context.routes.act("/replica", LONGEST, move |query| {
        let known = known.clone();
        Box::pin(async move { act(&known, &query).await })
    });
}

/// Does what an operator wants, and tells how the replica stands then.
pub(super) async fn act(clusters: &Clusters, query: &Query) -> Reply {
    match Order::read(clusters, query) {
        Ok(order) => order.carry_out().await,
        Err(reply) => reply,
    }
}

/// What an operator wants of a replica.
struct Order {
    cluster: Arc<ClusterState>,
    endpoint: Arc<Endpoint>,
    state: Option<Admin>,
    weight: Option<u16>,
    wait: Option<Duration>,
}

fn refuse(status: u16, text: impl Into<String>) -> Reply {
    Reply::new(status, format!("{}\n", text.into()))
}

impl Order {
    fn read(clusters: &Clusters, query: &Query) -> Result<Self, Reply> {
        let addr = query.get("replica").ok_or_else(|| refuse(400, "which replica? add replica=ADDRESS"))?;
        let addr: Addr =
            addr.parse().map_err(|error: proxy_core::net::AddrError| refuse(400, error.to_string()))?;
        let (cluster, endpoint) = find(clusters, query.get("cluster"), &addr)?;
        let state = query.get("state").map(state).transpose()?;
        let weight = query.get("weight").map(|text| number(text, "weight")).transpose()?;
        let wait = query.get("wait").map(|text| number(text, "wait")).transpose()?;
        if state.is_none() && weight.is_none() {
            return Err(refuse(400, "what about it? add state=ready|drain|maint or weight=N"));
        }
        let wait = wait.map(|seconds: u16| Duration::from_secs(seconds.into()).min(LONGEST));
        Ok(Self { cluster, endpoint, state, weight, wait })
    }

    async fn carry_out(self) -> Reply {
        if let Some(weight) = self.weight {
            self.cluster.set_weight(self.endpoint.addr(), weight);
            tracing::info!(cluster = self.cluster.name(), endpoint = %self.endpoint.addr(), weight, "weight set");
        }
        if let Some(state) = self.state {
            self.endpoint.set_admin(state);
        }
        let idle = async {
            while self.endpoint.in_flight() > 0 {
                sleep(LOOK).await;
            }
        };
        let in_time = match self.wait {
            Some(wait) => timeout(wait, idle).await.is_ok(),
            None => true,
        };
        let status = if in_time { 200 } else { 504 };
        let told = serde_json::to_value(self.endpoint.snapshot(Instant::now())).unwrap_or_default();
        Reply::new(status, format!("{told:#}\n"))
    }
}

/// The one replica at `addr`, in the named cluster or in the only one that has it.
fn find(
    clusters: &Clusters,
    name: Option<&str>,
    addr: &Addr,
) -> Result<(Arc<ClusterState>, Arc<Endpoint>), Reply> {
    let all = clusters.all();
    let named = all.iter().filter(|cluster| name.is_none_or(|name| name == cluster.name()));
    let mut found = named.filter_map(|cluster| Some((cluster.clone(), cluster.members().find(addr)?)));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(refuse(400, format!("several clusters have {addr}; add cluster=NAME"))),
        (None, _) => Err(refuse(404, format!("there is no replica {addr} here; look at /replicas"))),
    }
}

fn state(text: &str) -> Result<Admin, Reply> {
    match text {
        "ready" => Ok(Admin::Ready),
        "drain" => Ok(Admin::Drain),
        "maint" => Ok(Admin::Maint),
        _ => Err(refuse(400, format!("{text:?} is no state: ready, drain or maint"))),
    }
}

fn number(text: &str, name: &str) -> Result<u16, Reply> {
    text.parse().map_err(|_| refuse(400, format!("{name}={text} is no number from 0 to 65535")))
}

fn tell(clusters: &Clusters) -> Value {
    let all = clusters.all();
    Value::Object(all.iter().map(|cluster| (cluster.name().to_owned(), tell_one(cluster))).collect())
}

fn tell_one(cluster: &ClusterState) -> Value {
    let (queue, now) = (cluster.queue(), Instant::now());
    let classes = cluster.classes();
    let of_class = classes.iter().zip(&queue.classes).map(|(name, (waiting, estimate))| {
        (name.clone(), json!({ "waiting": waiting, "estimate_ms": millis(*estimate) }))
    });
    let replicas = queue.replicas.iter().map(|replica| {
        let mut told = serde_json::to_value(replica.endpoint.snapshot(now)).unwrap_or_default();
        told["slots"] = replica.slots.into();
        told["slots_used"] = replica.used.into();
        told["service_ms"] = millis(replica.latency).into();
        told["leaving"] = replica.leaving.into();
        told
    });
    json!({
        "waiting": queue.waiting,
        "slots": queue.slots,
        "slots_used": queue.replicas.iter().map(|replica| replica.used).sum::<u32>(),
        "up": queue.up,
        "panic": queue.panics,
        "classes": of_class.collect::<serde_json::Map<_, _>>(),
        "replicas": replicas.collect::<Vec<_>>(),
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
