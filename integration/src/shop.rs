//! The whole stack as a drill needs it: PostgreSQL and Redis behind our routers, Pretix on them, a front before it.
//! Kind: driver.

use std::{net::Ipv4Addr, path::Path};

use crate::{
    Result,
    front::Front,
    peers::Subject,
    pg,
    pretix::{Options, Pretix},
    process::free_port,
    progress::say,
    redis,
    router::{self, PgRouterOptions, Profile, RedisRouterOptions, Router},
};

/// Everything that a purchase passes. Fields are dropped in this order.
pub struct Shop {
    /// Who stands in front.
    pub front: Box<dyn Subject>,
    /// The application.
    pub pretix: Pretix,
    redis_router: Router,
    /// Redis under Sentinel.
    pub redis: redis::Cluster,
    pg_router: Router,
    /// PostgreSQL under repmgr.
    pub pg: pg::Cluster,
}

impl Shop {
    /// Opens it with two replicas behind `subject`, whose binary is `binary` if it is ours, below `dir`.
    pub fn open(subject: &str, binary: &Path, dir: &Path) -> Result<Self> {
        let of = |name| router::build(name, Profile::Fast);
        let (pg_binary, redis_binary) = (of(router::PG)?, of(router::REDIS)?);
        say("starting PostgreSQL, Redis and our routers before them");
        let pg = pg::Cluster::start(&pg::ClusterOptions { sync_standby: true, ..Default::default() })?;
        let pg_router = Router::start(&pg, &PgRouterOptions::new(&pg_binary))?;
        let redis = redis::Cluster::start(&redis::ClusterOptions::default())?;
        let redis_router = Router::start(&redis, &RedisRouterOptions::new(&redis_binary))?;
        Pretix::prepare(pg.primary()?)?;
        let port = free_port();
        let pretix = Pretix::start(&Options {
            dir: dir.join("pretix"),
            database: pg_router.addr(),
            redis: redis_router.addr(),
            public: (Ipv4Addr::LOCALHOST, port).into(),
            replicas: 2,
            base_port: None,
        })?;
        let front = Front { port: Some(port), dir: Some(dir.join("front")), ..Front::of_shop(&pretix)? };
        let front = front.start(subject, binary)?;
        say("the shop is open");
        Ok(Self { front, pretix, redis_router, redis, pg_router, pg })
    }

    /// Closes it, from the front to the back.
    pub fn close(self) -> Result<()> {
        let Self { front, pretix, redis_router, redis, pg_router, pg } = self;
        drop(front);
        pretix.stop()?;
        drop((redis_router, pg_router));
        redis.stop()?;
        pg.stop()
    }
}
