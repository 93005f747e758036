//! The pools of one worker, by whom they serve; their caps and what their servers say at login are shared by all
//! workers. Kind: driver.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use proxy_core::upstream::Hold;
use proxy_core::upstream::permits::Permits;
use proxy_core::upstream::pool::{Pool, PoolLimits, Role};
use proxy_core::worker::Floor;

use crate::auth::KeyCache;
use crate::config::Config;
use crate::connect::{Common, Dial, Opener, PoolKey};
use crate::topology::Greeted;

/// What all workers share.
pub struct Shared {
    /// The configuration now.
    pub config: ArcSwap<Config>,
    /// How connections are opened.
    pub dial: Arc<Dial>,
    /// What the monitors were told at login; serves clients that come during an outage.
    pub greeted: Greeted,
    /// Where clients wait while there is no primary.
    pub hold: Arc<Hold>,
    commons: Mutex<HashMap<PoolKey, Arc<Common>>>,
}

impl Shared {
    /// Nothing is open yet.
    pub fn new(config: Arc<Config>, dial: Arc<Dial>, hold: Arc<Hold>, greeted: Greeted) -> Self {
        Self { config: ArcSwap::new(config), dial, greeted, hold, commons: Mutex::default() }
    }

    /// Gives existing pools their new size.
    pub fn resize(&self, size: usize) {
        self.lock().values().for_each(|common| common.permits.resize(size));
    }

    /// The shared part of a key, or `None` if there are too many keys.
    fn common(&self, key: &PoolKey) -> Option<Arc<Common>> {
        let config = self.config.load();
        let mut commons = self.lock();
        if let Some(common) = commons.get(key) {
            return Some(common.clone());
        }
        if commons.len() >= config.pool.max_pools {
            commons.retain(|_, common| Arc::strong_count(common) > 1);
        }
        if commons.len() >= config.pool.max_pools {
            return None;
        }
        let common =
            Arc::new(Common { permits: Permits::new(config.pool.size), welcome: ArcSwapOption::empty() });
        commons.insert(key.clone(), common.clone());
        Some(common)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PoolKey, Arc<Common>>> {
        self.commons.lock().unwrap_or_else(PoisonError::into_inner) // a map is whole whoever has panicked
    }
}

/// A worker's pool with the part of it that is shared.
pub struct Entry {
    /// The pool.
    pub pool: Rc<Pool<Opener>>,
    /// What it shares with its namesakes.
    pub common: Arc<Common>,
}

/// The pools of one worker.
pub struct Pools {
    shared: Arc<Shared>,
    floor: Rc<Floor>,
    keys: Rc<RefCell<KeyCache>>,
    entries: RefCell<HashMap<PoolKey, Rc<Entry>>>,
}

impl Pools {
    /// No pools yet.
    pub fn new(shared: Arc<Shared>, floor: Rc<Floor>) -> Self {
        Self { shared, floor, keys: Rc::default(), entries: RefCell::default() }
    }

    /// The pool of `key`; made when it is first asked for. `None` when there are too many already.
    pub fn get(&self, key: &PoolKey) -> Option<Rc<Entry>> {
        if let Some(entry) = self.entries.borrow().get(key) {
            return Some(entry.clone());
        }
        self.drop_unused();
        let common = self.shared.common(key)?;
        let opener = Opener {
            dial: self.shared.dial.clone(),
            key: key.clone(),
            common: common.clone(),
            keys: self.keys.clone(),
        };
        let pool = Pool::new(
            opener,
            limits(&self.shared.config.load(), key.role),
            common.permits.clone(),
            self.shared.hold.clone(),
            self.floor.scratch.clone(),
            self.floor.topology.clone(),
        );
        let entry = Rc::new(Entry { pool, common });
        self.entries.borrow_mut().insert(key.clone(), entry.clone());
        Some(entry)
    }

    /// Connections by key, for the metrics.
    pub fn each(&self, mut see: impl FnMut(&PoolKey, &Pool<Opener>)) {
        self.entries.borrow().iter().for_each(|(key, entry)| see(key, &entry.pool));
    }

    /// Pools that nobody uses and that have no connection any more make room.
    fn drop_unused(&self) {
        let used = |entry: &Rc<Entry>| Rc::strong_count(entry) > 1 || entry.pool.census().open > 0;
        self.entries.borrow_mut().retain(|_, entry| used(entry));
    }
}

fn limits(config: &Config, role: Role) -> PoolLimits {
    PoolLimits {
        role,
        policy: config.cluster.balance,
        min: config.pool.min,
        wait: config.pool.wait_timeout,
        idle: config.pool.idle_timeout,
        lifetime: config.pool.max_lifetime,
    }
}
