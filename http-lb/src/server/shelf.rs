//! Idle connections of one worker, by replica; the one that was used last is taken first, so that the others grow old
//! and go. Kind: driver.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use proxy_core::link::Link;
use proxy_core::upstream::Endpoint;
use tokio::time::Instant;

/// How idle connections are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// How long: shorter than the server keeps them, or a request meets its close on the way.
    pub timeout: Duration,
    /// How many to one replica, on one worker.
    pub most: usize,
}

/// The idle connections of one worker.
#[derive(Default)]
pub struct Shelves(RefCell<Vec<Shelf>>);

struct Shelf {
    endpoint: Arc<Endpoint>,
    /// The newest last.
    idle: Vec<Idle>,
}

struct Idle {
    link: Link,
    until: Instant,
}

impl Shelves {
    /// The freshest connection to this replica that is still good.
    pub fn take(&self, endpoint: &Arc<Endpoint>, now: Instant, scratch: &mut [u8]) -> Option<Link> {
        let mut shelves = self.0.borrow_mut();
        let shelf = shelves.iter_mut().find(|shelf| Arc::ptr_eq(&shelf.endpoint, endpoint))?;
        while let Some(mut idle) = shelf.idle.pop() {
            if idle.until > now && !idle.link.has_stirred(scratch) {
                return Some(idle.link);
            }
        }
        None
    }

    /// Keeps a connection that owes nothing. One that has said more than it was asked is closed: false.
    pub fn put(&self, endpoint: &Arc<Endpoint>, link: Link, now: Instant, keeping: &Keeping) -> bool {
        if !link.inbox.is_empty() || !link.outbox.is_empty() {
            return false;
        }
        let mut shelves = self.0.borrow_mut();
        let known = shelves.iter().position(|shelf| Arc::ptr_eq(&shelf.endpoint, endpoint));
        let place = known.unwrap_or_else(|| {
            shelves.push(Shelf { endpoint: endpoint.clone(), idle: Vec::new() });
            shelves.len() - 1
        });
        let idle = &mut shelves[place].idle;
        if idle.len() < keeping.most {
            idle.push(Idle { link, until: now + keeping.timeout });
        }
        true
    }

    /// Closes what is too old or was closed by its server, and forgets replicas that nobody else knows any more.
    pub fn sweep(&self, now: Instant, scratch: &mut [u8]) {
        let mut shelves = self.0.borrow_mut();
        for shelf in shelves.iter_mut() {
            shelf.idle.retain_mut(|idle| idle.until > now && !idle.link.has_stirred(scratch));
        }
        shelves.retain(|shelf| !shelf.idle.is_empty() || Arc::strong_count(&shelf.endpoint) > 1);
    }

    /// How many connections are idle.
    pub fn len(&self) -> usize {
        self.0.borrow().iter().map(|shelf| shelf.idle.len()).sum()
    }

    /// True when none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use proxy_core::net::Stream;
    use proxy_core::upstream::Rules;
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    use super::*;

    const KEEPING: Keeping = Keeping { timeout: Duration::from_secs(1), most: 2 };

    fn endpoint() -> Arc<Endpoint> {
        let addr = "127.0.0.1:1".parse().unwrap();
        Arc::new(Endpoint::new(addr, 1, Arc::new(Rules::default()), std::time::Instant::now()))
    }

    fn link() -> (Link, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        (Link::new(near.into(), &[]), far)
    }

    /// Waits until the event loop has heard of what the other side did.
    async fn noticed(link: &Link) {
        let Stream::Unix(unix) = link.stream() else { panic!("made of a pair") };
        unix.readable().await.unwrap();
    }

    #[tokio::test]
    async fn who_was_used_last_is_taken_first() {
        let stranger = endpoint();
        let (shelves, endpoint, mut scratch, now) = (Shelves::default(), endpoint(), [0; 64], Instant::now());
        let (first, mut to_first) = link();
        let (second, _to_second) = link();
        assert!(
            shelves.put(&endpoint, first, now, &KEEPING) && shelves.put(&endpoint, second, now, &KEEPING)
        );
        assert!(shelves.take(&stranger, now, &mut scratch).is_none(), "another replica's");
        drop(shelves.take(&endpoint, now, &mut scratch));
        let mut taken = shelves.take(&endpoint, now, &mut scratch).unwrap();
        to_first.write_all(b"x").await.unwrap();
        noticed(&taken).await;
        assert!(taken.has_stirred(&mut scratch));
        assert!(shelves.take(&endpoint, now, &mut scratch).is_none());
    }

    #[tokio::test]
    async fn old_closed_and_talking_ones_are_not_taken() {
        let (shelves, endpoint, mut scratch, now) = (Shelves::default(), endpoint(), [0; 64], Instant::now());
        let (old, _far) = link();
        shelves.put(&endpoint, old, now, &KEEPING);
        assert!(shelves.take(&endpoint, now + KEEPING.timeout, &mut scratch).is_none());
        let (closed, far) = link();
        drop(far);
        noticed(&closed).await;
        shelves.put(&endpoint, closed, now, &KEEPING);
        assert!(shelves.take(&endpoint, now, &mut scratch).is_none());
        let (mut talking, _far) = link();
        talking.inbox.keep(b"HTTP/1.1 408");
        assert!(!shelves.put(&endpoint, talking, now, &KEEPING));
        assert!(shelves.is_empty());
    }

    #[tokio::test]
    async fn a_sweep_leaves_the_good_ones() {
        let (shelves, endpoint, mut scratch, now) = (Shelves::default(), endpoint(), [0; 64], Instant::now());
        let (old, _far) = link();
        let (good, _far) = link();
        shelves.put(&endpoint, old, now, &Keeping { timeout: Duration::ZERO, ..KEEPING });
        shelves.put(&endpoint, good, now, &KEEPING);
        let (beyond, _far) = link();
        shelves.put(&endpoint, beyond, now, &KEEPING);
        assert_eq!(shelves.len(), 2, "more than that are not kept");
        shelves.sweep(now, &mut scratch);
        assert_eq!(shelves.len(), 1);
    }
}
