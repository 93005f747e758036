//! Who gets a job. Kind: driver.

use tokio::task::LocalSet;

use super::*;

#[test]
fn a_burst_is_spread_although_no_worker_has_seated_anybody_yet() {
    let desk = || {
        let (jobs, receiver) = mpsc::channel(QUEUE);
        (Desk { jobs, load: Arc::default() }, receiver)
    };
    let ((one, first), (two, second)) = (desk(), desk());
    let workers = Workers { desks: vec![one, two], threads: Vec::new() };
    for job in 0..6 {
        assert_eq!(workers.dispatch(job), Ok(()));
    }
    assert_eq!((first.len(), second.len()), (3, 3));
}

/// Waits, on this thread, until the process drains.
fn why_it_drains(drain: &Drain) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(drain.watch().draining());
    drain.failure().map(str::to_owned)
}

#[test]
fn a_worker_that_panics_drains_the_process() {
    let registry = crate::metrics::Registry::new("toy", "0");
    let dir = tempfile::tempdir().unwrap();
    let state = crate::upstream::State::open(dir.path(), &registry).unwrap();
    let replicas = Arc::new(crate::upstream::Cluster::new("replicas", []));
    let publisher = crate::upstream::Publisher::new(state, replicas, &registry, std::time::Instant::now());
    let around = Surroundings { drain: Drain::new(), topology: publisher.subscribe() };
    let workers = Workers::start(1, &around, |_| |()| panic!("a bug in handling a job")).unwrap();
    assert_eq!(workers.dispatch(()), Ok(()));
    assert_eq!(why_it_drains(&around.drain).as_deref(), Some("worker-0 panicked"));
    workers.join();
}

#[tokio::test]
async fn who_lets_the_others_go_first_comes_behind_all_that_can_go_on() {
    let order = Rc::new(RefCell::new(String::new()));
    let sessions = LocalSet::new();
    for name in ["a", "b", "c"] {
        let order = order.clone();
        sessions.spawn_local(async move {
            order.borrow_mut().push_str(&format!("{name} reads, "));
            after_others().await;
            order.borrow_mut().push_str(&format!("{name} writes, "));
        });
    }
    sessions.await;
    assert_eq!(*order.borrow(), "a reads, b reads, c reads, a writes, b writes, c writes, ");
}
