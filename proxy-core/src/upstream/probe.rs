//! Asks every endpoint of a cluster how it is, on a jittered beat. Kind: driver.
//!
//! Each endpoint has a beat of its own, so a slow one delays nobody; a permit bounds how many are asked at once. A
//! suspicion (`Endpoint::suspect`) shortens the wait, and so does every failure: who is on the way down or up is
//! asked at the fast beat until the matter is settled. The whole prober is one future: dropping it drops every check.

use std::{fmt::Display, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until, timeout, timeout_at},
};

use super::{
    cluster::{Cluster, Endpoints},
    endpoint::Endpoint,
    health::Health,
};
use crate::{backoff::fraction, net::Addr};

/// One active check.
pub trait Probe {
    /// Why a check failed; for the log and `/status`.
    type Failure: Display;

    /// Asks the endpoint at `addr`. May be dropped at any time: when it takes too long, and when the prober ends.
    fn check(&self, addr: &Addr) -> impl Future<Output = Result<(), Self::Failure>> + Send;
}

/// When to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// From the end of a check to the next one of the same endpoint.
    pub interval: Duration,
    /// The same while it is suspected, falling or rising; also the least distance of two checks.
    pub fast_interval: Duration,
    /// At most this part of a wait is left out by chance, in percent, so that probers don't march in step.
    pub jitter_percent: u32,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How many endpoints are asked at once.
    pub parallel: usize,
}

impl Default for Beat {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            fast_interval: Duration::from_millis(50),
            jitter_percent: 20,
            timeout: Duration::from_secs(1),
            parallel: 32,
        }
    }
}

impl Beat {
    /// The wait after a check that left the endpoint in `health`.
    fn wait(&self, health: Health, random: u32) -> Duration {
        let span = match health {
            Health::Falling(_) | Health::Rising(_) => self.fast_interval,
            Health::Unknown | Health::Up | Health::Down => self.interval,
        };
        span - fraction(span * self.jitter_percent.min(100) / 100, random)
    }
}

/// Asks every endpoint of a cluster.
#[derive(Debug)]
pub struct Prober<P> {
    cluster: Arc<Cluster>,
    probe: P,
    beat: Beat,
    permits: Semaphore,
}

impl<P: Probe> Prober<P> {
    /// A prober that has asked nobody yet.
    pub fn new(cluster: Arc<Cluster>, probe: P, beat: Beat) -> Self {
        Self { cluster, probe, beat, permits: Semaphore::new(beat.parallel.max(1)) }
    }

    /// Asks until `end`, which is where the process gives up its upstreams, say `drain.terminating()`: those who
    /// drain still need to know who is up.
    pub async fn run(self, end: impl Future<Output = ()>) {
        tokio::select! {
            () = end => {}
            () = self.ask_all() => {}
        }
    }

    /// One future per member; each ends by itself once its endpoint has left the cluster.
    async fn ask_all(&self) {
        let mut changes = self.cluster.changes();
        let mut asked: Endpoints = Arc::new([]);
        let mut beats = FuturesUnordered::new();
        loop {
            let members = self.cluster.endpoints();
            let newcomers = members.iter().filter(|endpoint| !holds(&asked, endpoint));
            beats.extend(newcomers.map(|endpoint| self.ask_again_and_again(Arc::clone(endpoint))));
            asked = members;
            tokio::select! {
                changed = changes.changed() => changed.expect("the sender lives in `cluster`, which we hold"),
                Some(()) = beats.next() => {}
            }
        }
    }

    async fn ask_again_and_again(&self, endpoint: Arc<Endpoint>) {
        while self.cluster.contains(&endpoint) {
            let health = self.ask(&endpoint).await;
            self.pause(&endpoint, self.beat.wait(health, fastrand::u32(..))).await;
        }
    }

    async fn ask(&self, endpoint: &Endpoint) -> Health {
        let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
        let answer = timeout(self.beat.timeout, self.probe.check(endpoint.addr())).await;
        let now = Instant::now().into_std();
        match answer {
            Ok(result) => endpoint.observe(result, now),
            Err(_late) => {
                endpoint.observe(Err(format_args!("no answer within {:?}", self.beat.timeout)), now)
            }
        }
    }

    /// Waits for the next beat, or for a suspicion; but never less than the fast beat.
    async fn pause(&self, endpoint: &Endpoint, wait: Duration) {
        let start = Instant::now();
        let earliest = start + wait.min(self.beat.fast_interval);
        // Either way it is time to ask again.
        let _suspected_or_due = timeout_at(start + wait, endpoint.suspected()).await;
        sleep_until(earliest).await;
    }
}

fn holds(endpoints: &[Arc<Endpoint>], endpoint: &Arc<Endpoint>) -> bool {
    endpoints.iter().any(|member| Arc::ptr_eq(member, endpoint))
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        sync::{
            Mutex,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
    };

    use tokio::time::sleep;

    use super::*;
    use crate::upstream::{Rules, Thresholds};

    const MS: Duration = Duration::from_millis(1);
    const BEAT: Beat = Beat {
        interval: Duration::from_secs(1),
        fast_interval: Duration::from_millis(50),
        jitter_percent: 0,
        timeout: Duration::from_millis(500),
        parallel: 2,
    };

    /// Servers as the probe finds them.
    #[derive(Debug, Default)]
    struct Servers {
        sick: Mutex<HashSet<String>>,
        mute: Mutex<HashSet<String>>,
        asked: AtomicUsize,
        at_once: AtomicUsize,
        most_at_once: AtomicUsize,
    }

    impl Probe for Arc<Servers> {
        type Failure = &'static str;

        async fn check(&self, addr: &Addr) -> Result<(), &'static str> {
            let addr = addr.to_string();
            self.asked.fetch_add(1, Relaxed);
            let at_once = self.at_once.fetch_add(1, Relaxed) + 1;
            self.most_at_once.fetch_max(at_once, Relaxed);
            let mute = self.mute.lock().unwrap().contains(&addr);
            sleep(if mute { 3600 * 1000 * MS } else { 10 * MS }).await;
            self.at_once.fetch_sub(1, Relaxed);
            if self.sick.lock().unwrap().contains(&addr) { Err("sick") } else { Ok(()) }
        }
    }

    struct Scene {
        servers: Arc<Servers>,
        cluster: Arc<Cluster>,
    }

    impl Scene {
        fn new(ports: impl IntoIterator<Item = u16>) -> Self {
            let scene = Self { servers: Arc::default(), cluster: Arc::new(Cluster::new("test", [])) };
            scene.members(ports);
            scene
        }

        fn members(&self, ports: impl IntoIterator<Item = u16>) {
            let rules = Rules { thresholds: Thresholds { rise: 2, fall: 3 }, ..Rules::default() };
            let members = ports.into_iter().map(|port| (addr(port), 1));
            self.cluster.update(members, rules, Instant::now().into_std());
        }

        /// Probes while `story` is told.
        async fn probed(&self, story: impl Future<Output = ()>) {
            Prober::new(Arc::clone(&self.cluster), Arc::clone(&self.servers), BEAT).run(story).await;
        }

        fn health(&self, port: u16) -> Health {
            self.endpoint(port).health()
        }

        fn endpoint(&self, port: u16) -> Arc<Endpoint> {
            self.cluster.find(&addr(port)).unwrap()
        }

        fn sicken(&self, port: u16) {
            self.servers.sick.lock().unwrap().insert(addr(port).to_string());
        }

        fn heal(&self, port: u16) {
            self.servers.sick.lock().unwrap().remove(&addr(port).to_string());
        }

        fn asked(&self) -> usize {
            self.servers.asked.swap(0, Relaxed)
        }
    }

    fn addr(port: u16) -> Addr {
        format!("127.0.0.1:{port}").parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_check_decides_alone() {
        let scene = Scene::new([1, 2]);
        scene.sicken(2);
        assert_eq!(scene.health(1), Health::Unknown);
        scene.probed(sleep(20 * MS)).await;
        assert_eq!((scene.health(1), scene.health(2)), (Health::Up, Health::Down));
    }

    #[tokio::test(start_paused = true)]
    async fn falling_and_rising_are_settled_at_the_fast_beat() {
        let scene = Scene::new([1]);
        let story = async {
            sleep(20 * MS).await;
            scene.sicken(1);
            sleep(1005 * MS).await; // the next beat: the first failure
            assert_eq!(scene.health(1), Health::Falling(1));
            sleep(120 * MS).await; // two fast ones, 10 ms each
            assert_eq!(scene.health(1), Health::Down);
            scene.heal(1);
            sleep(1010 * MS).await;
            assert_eq!(scene.health(1), Health::Rising(1));
            sleep(60 * MS).await;
            assert_eq!(scene.health(1), Health::Up);
        };
        scene.probed(story).await;
    }

    #[tokio::test(start_paused = true)]
    async fn no_answer_in_time_is_a_failure() {
        let scene = Scene::new([1]);
        scene.servers.mute.lock().unwrap().insert(addr(1).to_string());
        scene.probed(sleep(510 * MS)).await;
        assert_eq!(scene.health(1), Health::Down);
        let failure = scene.endpoint(1).snapshot(Instant::now().into_std()).last_failure;
        assert_eq!(failure.as_deref(), Some("no answer within 500ms"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspicion_asks_at_once_and_a_storm_of_them_asks_no_faster_than_the_fast_beat() {
        let scene = Scene::new([1]);
        let story = async {
            sleep(500 * MS).await;
            assert_eq!(scene.asked(), 1);
            scene.endpoint(1).suspect();
            sleep(MS).await;
            assert_eq!(scene.asked(), 1, "at once");
            for _ in 0..600 {
                scene.endpoint(1).suspect();
                sleep(MS).await;
            }
            assert_eq!(scene.asked(), 10, "one per 50 ms of pause and 10 ms of answer");
        };
        scene.probed(story).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_traffic_lowered_a_probe_raises_again() {
        let scene = Scene::new([1]);
        let story = async {
            sleep(500 * MS).await;
            scene.endpoint(1).lower("connection refused", Instant::now().into_std());
            assert_eq!(scene.health(1), Health::Down);
            sleep(20 * MS).await;
            assert_eq!(scene.health(1), Health::Rising(1));
            sleep(60 * MS).await;
            assert_eq!(scene.health(1), Health::Up);
        };
        scene.probed(story).await;
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_allowed_are_asked_at_once() {
        let scene = Scene::new(1..=9);
        scene.probed(sleep(60 * MS)).await;
        assert_eq!(scene.servers.most_at_once.load(Relaxed), 2);
        assert_eq!(scene.cluster.eligible(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn newcomers_are_asked_and_leavers_are_not() {
        let scene = Scene::new([1]);
        let story = async {
            sleep(20 * MS).await;
            scene.members([2]);
            sleep(20 * MS).await;
            assert_eq!(scene.health(2), Health::Up);
            scene.members([]);
            sleep(2000 * MS).await; // the last beats run out
            scene.asked();
            sleep(5000 * MS).await;
            assert_eq!(scene.asked(), 0);
        };
        scene.probed(story).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_drops_what_is_asked() {
        let scene = Scene::new([1]);
        scene.probed(sleep(5 * MS)).await;
        assert_eq!(scene.asked(), 1);
        sleep(5000 * MS).await;
        assert_eq!((scene.asked(), scene.health(1)), (0, Health::Unknown));
    }

    #[test]
    fn chance_only_shortens_a_wait() {
        let beat = Beat { jitter_percent: 20, ..BEAT };
        assert_eq!(beat.wait(Health::Up, 0), 1000 * MS);
        assert_eq!(beat.wait(Health::Up, 1 << 31), 900 * MS);
        assert!(beat.wait(Health::Up, u32::MAX) >= 800 * MS);
        assert_eq!(beat.wait(Health::Rising(1), 0), 50 * MS);
    }
}
