//! What the sessions of one worker share. Kind: driver.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use proxy_core::worker::Floor;

use super::house::House;
use crate::access_log::Book;
use crate::metrics::{Metrics, Tally};
use crate::server::{Shelves, pingora};
use crate::wire::date;
use crate::wire::{RequestHead, ResponseHead};

/// Heads kept for the next requests of a worker: as many as are usually being answered at the same time.
const HEADS: usize = 64;

/// What the sessions of one worker share.
pub struct Desk {
    /// The worker.
    pub floor: Rc<Floor>,
    /// Idle connections to replicas.
    pub shelves: Shelves,
    /// Connections to replicas that speak HTTP/2.
    pub(super) http2: Rc<pingora::Connections>,
    /// What the worker counts.
    pub tally: Rc<Tally>,
    /// The families that are counted at once, as they are rare.
    pub metrics: Metrics,
    /// The access log.
    pub book: Rc<Book>,
    houses: Arc<ArcSwap<House>>,
    present: RefCell<Rc<Present>>,
    /// Heads of requests.
    pub(super) heads: Rack<RequestHead>,
    /// Heads of answers.
    pub(super) answers: Rack<ResponseHead>,
    /// Where heads are written before they are sent.
    pub(super) draft: RefCell<Vec<u8>>,
    today: Cell<(u64, date::Text)>,
}

/// The house as a worker last saw it: requests count their use of it there, not on a line of the processor's cache that
/// all workers fight for.
pub struct Present(Arc<House>);

impl Deref for Present {
    type Target = House;

    fn deref(&self) -> &House {
        &self.0
    }
}

/// Heads that are empty and have kept their room, so that few requests need to make one.
#[derive(Default)]
pub(super) struct Rack<H>(RefCell<Vec<Box<H>>>);

impl<H: Default> Rack<H> {
    /// An empty head.
    pub(super) fn lend(&self) -> Box<H> {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes back a head that was cleared.
    pub(super) fn take_back(&self, head: Box<H>) {
        let mut heads = self.0.borrow_mut();
        if heads.len() < HEADS {
            heads.push(head);
        }
    }
}

impl Desk {
    /// Room for the head of a request.
    pub fn lend_head(&self) -> Box<RequestHead> {
        self.heads.lend()
    }

    /// Takes back the head of a request that was served.
    pub fn keep_head(&self, mut head: Box<RequestHead>) {
        head.clear();
        self.heads.take_back(head);
    }

    /// The desk of a worker.
    pub fn new(floor: Rc<Floor>, houses: Arc<ArcSwap<House>>, metrics: Metrics, book: Rc<Book>) -> Self {
        Self {
            floor,
            shelves: Shelves::default(),
            http2: Rc::default(),
            tally: Rc::new(metrics.tally(&houses.load().classes)),
            metrics,
            book,
            present: RefCell::new(Rc::new(Present(houses.load_full()))),
            houses,
            heads: Rack::default(),
            answers: Rack::default(),
            draft: RefCell::default(),
            today: Cell::new((0, date::format(0))),
        }
    }

    /// The configuration as of now, for one request from beginning to end.
    pub fn house(&self) -> Rc<Present> {
        let now = self.houses.load();
        let mut present = self.present.borrow_mut();
        if !Arc::ptr_eq(&now, &present.0) {
            *present = Rc::new(Present(Arc::clone(&now)));
        }
        present.clone()
    }

    /// The time since 1970.
    pub(super) fn since_epoch(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// Seconds since 1970.
    pub(super) fn seconds(&self) -> u64 {
        self.since_epoch().as_secs()
    }

    /// The value of Date.
    pub(super) fn date(&self) -> date::Text {
        let now = self.seconds();
        let (then, text) = self.today.get();
        if then == now {
            return text;
        }
        let text = date::format(now);
        self.today.set((now, text));
        text
    }
}
