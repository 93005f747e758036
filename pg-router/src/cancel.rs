//! Cancel requests: a client names a session by the key that we gave it, we name its server connection to the server.
//! Kind: driver.
//!
//! The process number tells the worker and the session's place there; the secret is 32 random bits, as protocol 3.0
//! has no room for more. A request reaches only the statement of the session it names: its server connection is not
//! given to another client before the server has taken the request.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use proxy_core::error::Error;
use subtle::ConstantTimeEq;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::connect::Dial;
use crate::session::{CancelTarget, Handle};
use crate::wire::frontend;

/// Bits of the process number that hold the session's place; the rest tells the worker.
const PLACE_BITS: u32 = 20;

/// How long handing a cancel request to a server may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The key that a client cancels with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CancelKey {
    /// Called process number in the protocol.
    pub pid: i32,
    /// The secret.
    pub secret: [u8; 4],
}

impl CancelKey {
    /// A fresh key for the session at `place` of `worker`.
    pub fn new(worker: usize, place: usize, secret: [u8; 4]) -> Self {
        let place = (place as u32 + 1) & ((1 << PLACE_BITS) - 1); // pgjdbc takes process number 0 for none
        let pid = ((worker as u32) << PLACE_BITS) | place;
        Self { pid: (pid & 0x7fff_ffff) as i32, secret }
    }

    /// The worker that has given out the key with this process number.
    pub fn worker(pid: i32) -> usize {
        (pid as u32 >> PLACE_BITS) as usize
    }
}

/// The sessions of one worker that may be cancelled.
#[derive(Default)]
pub struct Directory(RefCell<HashMap<i32, Listed>>);

struct Listed {
    secret: [u8; 4],
    handle: Rc<Handle>,
    waker: Option<Waker>,
}

impl Directory {
    /// Lists a session until the guard is dropped.
    pub fn list(self: &Rc<Self>, key: CancelKey, handle: Rc<Handle>) -> Listing {
        let listed = Listed { secret: key.secret, handle, waker: None };
        self.0.borrow_mut().insert(key.pid, listed);
        Listing { directory: self.clone(), pid: key.pid }
    }

    /// The server connection to cancel; if the session only waits for one, it is told to give up.
    pub fn find(&self, pid: i32, secret: &[u8]) -> Option<Rc<CancelTarget>> {
        let sessions = self.0.borrow();
        let listed = sessions.get(&pid).filter(|listed| bool::from(listed.secret.ct_eq(secret)))?;
        let target = listed.handle.target.borrow().clone();
        if target.is_none() {
            listed.handle.cancelled.set(true);
            listed.waker.iter().for_each(Waker::wake_by_ref);
        }
        target
    }
}

/// A session's line in the directory.
pub struct Listing {
    directory: Rc<Directory>,
    pid: i32,
}

impl Listing {
    /// Says how the session is woken.
    pub fn woken_by(&self, waker: Waker) {
        if let Some(listed) = self.directory.0.borrow_mut().get_mut(&self.pid) {
            listed.waker = Some(waker);
        }
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        self.directory.0.borrow_mut().remove(&self.pid);
    }
}

/// Hands a cancel request to the server, and waits until it has closed the connection: only then has it acted.
///
/// # Errors
/// The server could not be reached in time.
pub fn deliver(dial: Arc<Dial>, target: Rc<CancelTarget>) -> impl Future<Output = Result<(), Error>> {
    let under_way = UnderWay::begin(target.clone()); // now, not when the task first runs: the session may end before
    async move {
        let sent = tokio::time::timeout(PATIENCE, send(dial, target)).await;
        if sent.is_err() {
            std::mem::forget(under_way); // it may still arrive: that connection is never given to another client
        }
        sent.unwrap_or(Ok(()))
    }
}

async fn send(dial: Arc<Dial>, target: Rc<CancelTarget>) -> Result<(), Error> {
    let mut stream = dial.open(target.endpoint.addr()).await?;
    let mut request = Vec::new();
    frontend::put_cancel(&mut request, target.pid, &target.secret);
    stream.write_all(&request).await.map_err(|error| Error::io(proxy_core::error::Side::Upstream, error))?;
    let _ = stream.read(&mut [0; 1]).await; // closed, or reset: both mean done
    Ok(())
}

struct UnderWay(Rc<CancelTarget>);

impl UnderWay {
    fn begin(target: Rc<CancelTarget>) -> Self {
        target.under_way.set(target.under_way.get() + 1);
        Self(target)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leads_back_to_its_worker() {
        for (worker, place) in [(0, 0), (3, 77), (63, 1 << 19)] {
            let key = CancelKey::new(worker, place, [1; 4]);
            assert_eq!(CancelKey::worker(key.pid), worker);
        }
    }

    #[test]
    fn only_the_whole_secret_opens() {
        let directory = Rc::new(Directory::default());
        let key = CancelKey::new(0, 5, *b"abcd");
        let handle = Rc::new(Handle::default());
        let listing = directory.list(key, handle.clone());
        directory.find(key.pid, b"abcx");
        directory.find(key.pid, b"abc");
        assert!(!handle.cancelled.get());
        directory.find(key.pid, b"abcd");
        assert!(handle.cancelled.get());
        drop(listing);
        assert!(directory.0.borrow().is_empty());
    }
}
