//! The workers: one thread each, with a runtime of its own, on which sessions live from accept to close. Kind: driver.
//!
//! Promise: a session never leaves its worker, so that nothing on the data path is locked or woken across threads.
//! What a worker hears from outside (the phase of the process, a new topology) reaches its sessions as a [`Pulse`]:
//! two loads per turn while nothing has happened.

mod moderation;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

use rustix::thread::{nanosleep, set_current_timer_slack};
use slab::Slab;
use tokio::runtime::{LocalOptions, LocalRuntime};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};

use moderation::{Moderation, NAP};

use crate::drain::{Drain, Phase, Watch};
use crate::error::Result;
use crate::link::Scratch;
use crate::listener::{Accepted, Listener};
use crate::tasks;
use crate::upstream::topology::Topology;

/// Accepted connections that may wait for a busy worker; the acceptor refuses more.
const QUEUE: usize = 1024;

/// What all sessions of one worker share.
pub struct Floor {
    /// Which worker this is, from 0.
    pub id: usize,
    /// The buffer that the links of this worker read into.
    pub scratch: Scratch,
    /// The topology as this worker knows it.
    pub topology: watch::Receiver<Arc<Topology>>,
    drain: Watch,
    phase: Cell<Phase>,
    generation: Cell<u64>,
    seats: RefCell<Slab<Option<Waker>>>,
    load: Arc<AtomicUsize>,
}

/// News for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulse {
    /// Something outside has changed: look whether your lease is still what you think.
    Look,
    /// Leave now.
    Terminate,
}

impl Floor {
    /// A place for one session, counted until it is dropped.
    pub fn seat(self: &Rc<Self>) -> Seat {
        self.load.fetch_add(1, Ordering::Relaxed);
        let key = self.seats.borrow_mut().insert(None);
        Seat { floor: self.clone(), key, seen: Cell::new(self.generation.get()), waker: RefCell::new(None) }
    }

    /// The ear for the phase of the process.
    pub fn drain(&self) -> &Watch {
        &self.drain
    }

    /// Tells all sessions to look: something outside has changed.
    pub fn pulse_all(&self) {
        self.generation.set(self.generation.get() + 1);
        for waker in self.seats.borrow().iter().filter_map(|(_, waker)| waker.as_ref()) {
            waker.wake_by_ref();
        }
    }

    /// Passes the phase and the topology on to the sessions for as long as the worker lives.
    async fn listen(self: Rc<Self>) {
        let (mut drain, mut topology) = (self.drain.clone(), self.topology.clone());
        let mut published = true;
        loop {
            tokio::select! {
                phase = drain.changed() => self.phase.set(phase),
                // The watcher may go before the sessions do: they must still hear that they are to leave.
                changed = topology.changed(), if published => published = changed.is_ok(),
            }
            self.pulse_all();
        }
    }
}

thread_local! {
    /// Turns on this worker since it last waited for events.
    static TURNS: Cell<u32> = const { Cell::new(0) };
    static MODERATION: RefCell<Moderation> = const { RefCell::new(Moderation::new()) };
}

/// Counts a turn of something that moves bytes; sessions do it by asking for their [`Pulse`].
#[inline]
fn count_turn() {
    TURNS.set(TURNS.get().wrapping_add(1));
}

/// What a worker does when none of its tasks can go on.
/// No session can go on: what this blocks waits for the kernel anyway.
fn before_wait() {
    let turns = TURNS.replace(0);
    if MODERATION.with_borrow_mut(|moderation| moderation.naps(turns)) {
        // Woken early by a signal, it looks early.
        let _ = nanosleep(&NAP);
    }
}

/// Lets the sessions of this worker that can go on go first, once. Who has read something, and is about to write because of
/// it to a peer that many share (a replica), awaits this between the two: requests that came together then leave together,
/// and the peer is woken once for several. A lone session goes on at once, for the price of a poll. What was spawned just
/// now comes behind the others by itself.
pub async fn after_others() {
    let mut asked = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The kernel may end a sleep up to 50 us late unless told otherwise (prctl(2), PR_SET_TIMERSLACK).
fn sharpen_timers() {
    // Without it naps are longer, and all else is the same.
    let _ = set_current_timer_slack(NonZeroU64::new(1000));
}

/// A session's place on its worker: how it hears of what happens outside.
pub struct Seat {
    floor: Rc<Floor>,
    key: usize,
    seen: Cell<u64>,
    waker: RefCell<Option<Waker>>,
}

impl Seat {
    /// The news since the last call; the caller's task is woken by the next.
    #[inline]
    pub fn pulse(&self, cx: &mut Context<'_>) -> Option<Pulse> {
        count_turn();
        self.quiet_pulse(cx)
    }

    /// As [`pulse`](Self::pulse), for a session that gains nothing from it if others have their turn at the same time: its
    /// turns are no reason for a [nap](moderation).
    #[inline]
    pub fn quiet_pulse(&self, cx: &mut Context<'_>) -> Option<Pulse> {
        self.register(cx.waker());
        let now = self.floor.generation.get();
        if self.seen.replace(now) == now && self.floor.phase.get() != Phase::Terminating {
            return None;
        }
        Some(if self.floor.phase.get() == Phase::Terminating { Pulse::Terminate } else { Pulse::Look })
    }

    /// True when sessions are to leave at their next boundary.
    #[inline]
    pub fn is_draining(&self) -> bool {
        self.floor.phase.get() != Phase::Running
    }

    /// The worker's place number: with it a message from another thread finds this session.
    pub fn key(&self) -> usize {
        self.key
    }

    /// Wakes the session's task, if it has ever waited.
    pub fn waker(&self) -> Option<Waker> {
        self.waker.borrow().clone()
    }

    /// Awaits `work`, but no longer than the process lets us.
    pub async fn until_terminated<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| match self.pulse(cx) {
            Some(Pulse::Terminate) => Poll::Ready(None),
            _ => work.as_mut().poll(cx).map(Some),
        })
        .await
    }

    #[inline]
    fn register(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
            self.floor.seats.borrow_mut()[self.key] = Some(waker.clone());
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.floor.load.fetch_sub(1, Ordering::Relaxed);
        self.floor.seats.borrow_mut().remove(self.key);
    }
}

/// The running workers, as the rest of the process sees them.
pub struct Workers<J> {
    desks: Vec<Desk<J>>,
    threads: Vec<JoinHandle<()>>,
}

struct Desk<J> {
    jobs: mpsc::Sender<J>,
    load: Arc<AtomicUsize>,
}

impl<J> Desk<J> {
    fn load(&self) -> usize {
        let queued = self.jobs.max_capacity() - self.jobs.capacity();
        self.load.load(Ordering::Relaxed) + queued
    }
}

/// What a worker is built from; each gets a copy.
#[derive(Clone)]
pub struct Surroundings {
    /// The hand that drains the process: a worker that panics has lost its sessions, and takes no more.
    pub drain: Drain,
    /// The topology as the watcher publishes it.
    pub topology: watch::Receiver<Arc<Topology>>,
}

impl<J: Send + 'static> Workers<J> {
    /// Lets in whom `listener` accepts, as a job for the least loaded worker; whoever finds no room there is refused.
    /// Ends with the listener.
    ///
    /// # Errors
    /// As [`Listener::serve`].
    pub async fn receive(
        self: Arc<Self>,
        listener: Listener,
        drain: Watch,
        job: impl Fn(Accepted) -> J,
    ) -> Result<()> {
        let seat_or_refuse = move |accepted: Accepted| match self.least_loaded().try_reserve() {
            Ok(place) => place.send(job(accepted)),
            Err(_) => accepted.refuse(),
        };
        listener.serve(seat_or_refuse, drain).await
    }

    /// Starts `count` workers, as many as there are processors if it is 0. On each, `open` makes the function that is
    /// called with every job; jobs spawn their sessions by [`tasks::spawn_session`].
    ///
    /// # Errors
    /// The system refuses a thread or an event queue.
    pub fn start<F, H>(count: usize, surroundings: &Surroundings, open: F) -> io::Result<Self>
    where
        F: Fn(Rc<Floor>) -> H + Clone + Send + 'static,
        H: FnMut(J) + 'static,
    {
        let mut workers = Self { desks: Vec::new(), threads: Vec::new() };
        for id in 0..count_of(count) {
            let (sender, receiver) = mpsc::channel(QUEUE);
            let load = Arc::new(AtomicUsize::new(0));
            let (around, shared, open) = (surroundings.clone(), load.clone(), open.clone());
            let hand = surroundings.drain.clone();
            // A runtime that never leaves its thread is made there; here it is told what came of it.
            let (tell, told) = sync_channel(1);
            let body = move || {
                let (runtime, made) = match runtime() {
                    Ok(runtime) => (Some(runtime), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                let _ = tell.send(made); // it is listened for below
                let Some(runtime) = runtime else { return };
                let carry = move || {
                    sharpen_timers();
                    let floor = async move { work(Floor::open(id, around, shared), receiver, open).await };
                    runtime.block_on(floor);
                };
                // Nothing of it is used after a panic.
                if catch_unwind(AssertUnwindSafe(carry)).is_err() {
                    hand.fail(format!("worker-{id} panicked"));
                }
            };
            workers.threads.push(std::thread::Builder::new().name(format!("worker-{id}")).spawn(body)?);
            told.recv().map_err(io::Error::other)??;
            workers.desks.push(Desk { jobs: sender, load });
        }
        Ok(workers)
    }

    /// Hands `job` to the worker with the fewest sessions; jobs that wait for it count, or a burst would go to one.
    ///
    /// # Errors
    /// Its queue is full, or it is gone: the job comes back.
    pub fn dispatch(&self, job: J) -> std::result::Result<(), J> {
        send(self.least_loaded(), job)
    }

    fn least_loaded(&self) -> &mpsc::Sender<J> {
        let least = self.desks.iter().min_by_key(|desk| desk.load());
        &least.expect("there is always one worker").jobs
    }

    /// Hands `job` to the worker `id`.
    ///
    /// # Errors
    /// There is no such worker, its queue is full, or it is gone: the job comes back.
    pub fn tell(&self, id: usize, job: J) -> std::result::Result<(), J> {
        match self.desks.get(id) {
            Some(desk) => send(&desk.jobs, job),
            None => Err(job),
        }
    }

    /// Ends the workers once their sessions have left; call it when the process has drained.
    pub fn join(self) {
        drop(self.desks);
        for thread in self.threads {
            let _ = thread.join(); // its panic was logged where it happened
        }
    }
}

/// The runtime of a worker, for the thread that calls this. One that knows of no other thread (`LocalRuntime`) schedules
/// its sessions itself, where a `LocalSet` would be a scheduler within the scheduler.
fn runtime() -> io::Result<LocalRuntime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().on_thread_park(before_wait).build_local(LocalOptions::default())
}

/// How many workers are meant by a setting in which 0 stands for one per processor.
fn count_of(setting: usize) -> usize {
    let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if setting == 0 { processors() } else { setting }
}

fn send<J>(jobs: &mpsc::Sender<J>, job: J) -> std::result::Result<(), J> {
    jobs.try_send(job).map_err(|refused| match refused {
        TrySendError::Full(job) | TrySendError::Closed(job) => job,
    })
}

impl Floor {
    /// A floor that listens for as long as the current worker lives.
    pub fn open(id: usize, around: Surroundings, load: Arc<AtomicUsize>) -> Rc<Self> {
        let floor = Rc::new(Self {
            id,
            scratch: Scratch::default(),
            phase: Cell::new(around.drain.phase()),
            topology: around.topology,
            drain: around.drain.watch(),
            generation: Cell::new(0),
            seats: RefCell::default(),
            load,
        });
        tasks::spawn_session(floor.clone().listen());
        floor
    }
}

/// The body of a worker: takes jobs until nobody can send any more.
async fn work<J, F, H>(floor: Rc<Floor>, mut jobs: mpsc::Receiver<J>, open: F)
where
    F: Fn(Rc<Floor>) -> H,
    H: FnMut(J),
{
    let mut handle = open(floor);
    while let Some(job) = jobs.recv().await {
        handle(job);
    }
}

#[cfg(test)]
mod tests;
