//! Tasks: the only place that spawns, so that each has a name and no panic goes unseen. Kind: driver.
//!
//! - [`spawn_essential`]: the process can't serve without it. Its end or panic while running drains the
//!   process, which then exits with code 1; the orchestrator starts it again (fail-stop).
//! - [`spawn`]: a control task that may end.
//! - [`spawn_session`]: one downstream connection on this worker; its panic hurts only itself.
//!
//! Panics are counted, and logged with their place, by the hook that `telemetry` installs;
//! here they are caught and named.

use std::any::Any;
use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tokio::task::JoinHandle;

use crate::drain::{Drain, Phase};

/// What a task's future yields: nothing, or a result whose error is worth a word.
pub trait Outcome {
    /// What went wrong, if anything.
    fn fault(self) -> Option<String>;
}

impl Outcome for () {
    fn fault(self) -> Option<String> {
        None
    }
}

impl<E: Display> Outcome for Result<(), E> {
    fn fault(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

/// Spawns a task without which the process can't serve: if it ends while we run, or fails or panics at any
/// time, the process drains and exits with code 1.
#[allow(clippy::disallowed_methods, reason = "this is the module that may spawn")]
pub fn spawn_essential<F>(name: &'static str, future: F, drain: &Drain) -> JoinHandle<()>
where
    F: Future<Output: Outcome> + Send + 'static,
{
    let drain = drain.clone();
    tokio::spawn(async move {
        if let Some(fault) = watched(future, || drain.phase() == Phase::Running).await {
            tracing::error!(task = name, fault, "essential task is gone: draining");
            drain.fail(format!("{name}: {fault}"));
        }
    })
}

/// Spawns a control task that may end. Its error or panic is logged.
#[allow(clippy::disallowed_methods, reason = "this is the module that may spawn")]
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<()>
where
    F: Future<Output: Outcome> + Send + 'static,
{
    tokio::spawn(async move {
        if let Some(fault) = watched(future, || false).await {
            tracing::error!(task = name, fault, "task failed");
        }
    })
}

/// Spawns a session on this worker, which it never leaves. Its panic ends this session alone.
#[allow(clippy::disallowed_methods, reason = "this is the module that may spawn")]
pub fn spawn_session<F>(future: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + 'static,
{
    tokio::task::spawn_local(async move {
        if let Some(fault) = watched(future, || false).await {
            tracing::error!(fault, "session ended by a bug of ours");
        }
    })
}

/// Ends control tasks that would go on for ever, and waits until they have.
pub async fn end(tasks: impl IntoIterator<Item = JoinHandle<()>>) {
    for task in tasks {
        task.abort();
        let _ = task.await; // aborted, as was meant
    }
}

/// Runs `future` to its end; says what went wrong: its error, its panic, or, if `must_stay()`, that it ended.
async fn watched<F>(future: F, must_stay: impl FnOnce() -> bool) -> Option<String>
where
    F: Future<Output: Outcome>,
{
    // Nothing that the future held is looked at after a panic, so no broken invariant can be seen.
    match AssertUnwindSafe(future).catch_unwind().await {
        Ok(outcome) => outcome.fault().or_else(|| must_stay().then(|| "ended".to_owned())),
        Err(payload) => Some(format!("panicked: {}", text_of(payload.as_ref()))),
    }
}

/// The text that a panic was raised with.
pub(crate) fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::LocalSet;

    /// Runs one essential task and says why the process fails, if it does.
    async fn check<F: Future<Output: Outcome> + Send + 'static>(
        future: F,
        draining: bool,
        expected: Option<&str>,
    ) {
        let drain = Drain::new();
        if draining {
            drain.begin();
        }
        spawn_essential("acceptor", future, &drain).await.expect("a panic is caught inside");
        assert_eq!(drain.failure(), expected);
    }

    async fn oh(number: u32) {
        panic!("oh {number}")
    }

    #[tokio::test]
    async fn an_essential_task_must_not_end_while_we_run() {
        check(async {}, false, Some("acceptor: ended")).await;
    }

    #[tokio::test]
    async fn an_essential_task_may_end_when_we_drain() {
        check(async {}, true, None).await;
    }

    #[tokio::test]
    async fn an_essential_task_may_never_fail_nor_panic() {
        check(async { Err::<(), _>("bind lost") }, true, Some("acceptor: bind lost")).await;
        check(oh(2), true, Some("acceptor: panicked: oh 2")).await;
    }

    #[tokio::test]
    async fn a_panicking_session_hurts_only_itself() {
        LocalSet::new()
            .run_until(async {
                let bad = spawn_session(oh(3));
                let good = spawn_session(async { tokio::task::yield_now().await });
                assert!(bad.await.is_ok() && good.await.is_ok());
            })
            .await;
    }
}
