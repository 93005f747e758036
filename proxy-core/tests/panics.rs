//! Panics are counted wherever they happen; in a process of its own, for the hook is the process's. Kind: driver.

use proxy_core::metrics::Registry;
use proxy_core::{tasks, telemetry};
use tokio::task::LocalSet;

async fn buggy() {
    panic!("a bug")
}

#[tokio::test]
async fn the_panic_of_a_session_is_counted_and_hurts_only_itself() {
    let panics = Registry::new("probe", "0").counter("panics_total", "Panics");
    telemetry::on_panic(panics.clone());
    let sessions = LocalSet::new();
    let (bad, good) = (sessions.spawn_local(async { tasks::spawn_session(buggy()).await }), async { 7 });
    let (bad, good) = sessions.run_until(async { tokio::join!(bad, good) }).await;
    assert!(bad.is_ok_and(|session| session.is_ok()));
    assert_eq!((good, panics.get()), (7, 1));
}
