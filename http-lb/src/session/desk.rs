//! What the sessions of one worker share. Kind: driver.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use proxy_core::worker::Floor;
use rustix::time::{ClockId, clock_gettime};

use super::house::House;
use crate::access_log::Book;
use crate::metrics::{Metrics, Tally};
use crate::server::{Shelves, pingora};
use crate::wire::date;
use crate::wire::{RequestHead, ResponseHead};

/// Heads, and sheets, kept for the next requests of a worker: as many as are usually being answered at the same time.
const KEPT: usize = 64;

/// Bytes of usual fields, with what we add to them, and how many a sheet may have grown to that is used again.
const SHEET: usize = 1024;
const SHEET_KEPT: usize = 8 * 1024;

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
    pub(super) heads: Rack<Box<RequestHead>>,
    /// Heads of answers.
    pub(super) answers: Rack<Box<ResponseHead>>,
    /// Where the fields are written that a request or an answer goes on with.
    sheets: Rack<Vec<u8>>,
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

/// Heads and sheets that are empty and have kept their room, so that few requests need to make one.
#[derive(Default)]
pub(super) struct Rack<T>(RefCell<Vec<T>>);

impl<T: Default> Rack<T> {
    /// An empty one.
    pub(super) fn lend(&self) -> T {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes back one that was cleared.
    pub(super) fn take_back(&self, one: T) {
        let mut kept = self.0.borrow_mut();
        if kept.len() < KEPT {
            kept.push(one);
        }
    }
}

/// Seconds since 1970 by the clock that the kernel sets at each of its ticks: some milliseconds late, and read in a
/// fraction of the time (clock_gettime(2), CLOCK_REALTIME_COARSE).
pub(super) fn ticked_seconds() -> u64 {
    u64::try_from(clock_gettime(ClockId::RealtimeCoarse).tv_sec).unwrap_or_default()
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

    /// An empty sheet.
    pub(super) fn lend_sheet(&self) -> Vec<u8> {
        let mut sheet = self.sheets.lend();
        sheet.reserve(SHEET);
        sheet
    }

    /// Takes back a sheet, unless it has grown much.
    pub(super) fn keep_sheet(&self, mut sheet: Vec<u8>) {
        if sheet.capacity() <= SHEET_KEPT {
            sheet.clear();
            self.sheets.take_back(sheet);
        }
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
            sheets: Rack::default(),
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
        let now = ticked_seconds();
        let (then, text) = self.today.get();
        if then == now {
            return text;
        }
        let text = date::format(now);
        self.today.set((now, text));
        text
    }
}
