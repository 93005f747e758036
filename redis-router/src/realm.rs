//! One master as the process has it: its watcher, what the workers are given of it, and who logs in there. Kind: wiring.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proxy_core::app::Context;
use proxy_core::error::{Error, Result};
use proxy_core::tasks;
use proxy_core::tls::{ClientTls, ClientTlsSettings};
use proxy_core::upstream::permits::Permits;
use proxy_core::upstream::{Cluster, Hold, Publisher, State};
use tokio::task::JoinHandle;

use crate::config::{Config, Master};
use crate::site::Common;
use crate::topology::{self, Access, Account, Fence, Handle, Pace, Watcher};

/// How long connecting to a server and logging in may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// One master, as the process sees it.
pub struct Realm {
    /// What the workers are given.
    pub common: Arc<Common>,
    /// How its servers are reached.
    pub access: Arc<Access>,
    sentinel_access: Arc<Access>,
    /// What its watcher says.
    pub handle: Handle,
    watcher: Option<Watcher>,
}

impl Realm {
    /// Everything about one master, its watcher ready to run. `forget`: the last epoch, as the operator says.
    pub fn open(
        master: &Master,
        config: &Config,
        forget: bool,
        hold: &Arc<Hold>,
        context: &Context,
    ) -> Result<Self> {
        let state = State::open_as_told(&config.state_dir.join(&master.name), forget, &context.registry)?;
        let replicas = Arc::new(Cluster::new("replicas", []));
        let publisher = Arc::new(Publisher::new(state, replicas.clone(), &context.registry, Instant::now()));
        let topology = publisher.subscribe();
        let reach = |account, tls: &Option<ClientTlsSettings>| {
            let tls = tls.as_ref().map(|tls| ClientTls::new(tls.config(&[])?)).transpose()?.map(Arc::new);
            Ok::<_, Error>(Arc::new(Access::new(account, tls, config.sockets, CONNECT_TIMEOUT)))
        };
        let access = reach(redis_account(master), &master.redis_tls)?;
        let sentinel_access = reach(sentinel_account(master), &master.sentinel_tls)?;
        let settings = settings(master, access.clone(), sentinel_access.clone());
        let watcher = Watcher::new(settings, publisher, replicas, &context.registry);
        let handle = watcher.handle();
        let common = Common {
            master: master.name.clone(),
            topology,
            hold: hold.clone(),
            permits: Permits::new(config.pool.size),
            barrier: handle.barrier(),
        };
        Ok(Self { common: Arc::new(common), access, sentinel_access, handle, watcher: Some(watcher) })
    }

    /// Lets the watcher run. The process is ready once it has found a master; the task that waits for that is handed
    /// back.
    pub fn start(&mut self, context: &Context) -> JoinHandle<()> {
        let watcher = self.watcher.take().expect("a service is started once");
        tasks::spawn_essential("watcher", watcher.run(context.drain.watch()), &context.drain);
        let latch = context.readiness.latch("a master");
        let mut topology = self.common.topology.clone();
        tasks::spawn("readiness", async move {
            let _ = topology.wait_for(|seen| seen.primary.is_some()).await; // the sender lives as long as we do
            drop(latch);
        })
    }

    /// Takes over what may change while it runs: certificates, passwords, and how many connections clients may have of
    /// their own.
    pub fn reload(&self, config: &Config) -> Result<()> {
        for tls in [&self.access.tls, &self.sentinel_access.tls].into_iter().flatten() {
            tls.reload()?;
        }
        if let Some(master) = config.masters.iter().find(|master| master.name == self.common.master) {
            self.access.set_account(redis_account(master));
            self.sentinel_access.set_account(sentinel_account(master));
        }
        self.common.permits.resize(config.pool.size);
        Ok(())
    }
}

/// What the watcher is to know.
fn settings(master: &Master, redis: Arc<Access>, sentinel: Arc<Access>) -> topology::Settings {
    topology::Settings {
        master: master.name.clone(),
        sentinels: master.sentinels.clone(),
        redis,
        sentinel,
        allowed: master.allowed.clone(),
        address_map: master.address_map.clone(),
        pace: Pace {
            calm: master.probe_interval,
            suspect: master.suspect_interval,
            patience: master.probe_timeout,
        },
        fence: Fence { enabled: master.fence.enabled, after: master.fence.after },
        regress_after: master.regress_timeout,
        max_lag: master.max_lag,
    }
}

fn redis_account(master: &Master) -> Account {
    Account { user: master.user.clone(), password: master.password.clone() }
}

fn sentinel_account(master: &Master) -> Account {
    Account { user: master.sentinel_user.clone(), password: master.sentinel_password.clone() }
}
