use std::sync::Arc;
use std::time::Instant;
use proxy_core::app::Context;
use proxy_core::upstream::*;
impl crate::router::PgRouter {
    pub(crate) fn watch_cluster(&self, publisher: Publisher, _c: &Context) -> proxy_core::error::Result<()> {
        let addr = self.shared.config.load().cluster.nodes[0].clone();
        let e = Arc::new(Endpoint::new(addr, 1, Arc::new(Rules::default()), Instant::now()));
        let c = publisher.current();
        publisher.publish(Claim { epoch: 1, lineage: "x".into(), primary: e, replicas: c.replicas.clone() }, Instant::now()).expect("ok");
        std::mem::forget(publisher);
        Ok(())
    }
}
