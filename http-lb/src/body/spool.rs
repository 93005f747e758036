//! One body, kept until somebody takes it: read from the front while it still grows at its end, or read again and
//! again from any place. Kind: driver.
//!
//! ```text
//!   front ──▶ [chunk][chunk][chunk…]  then  file[read … written]  ◀── push
//! ```
//! Bytes are pushed into memory while the file is empty, and behind the file's bytes otherwise; a file that was read
//! to its end is begun anew. Files are written and read on the worker itself: that is a copy into or out of the page
//! cache, and what nginx does as well.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::budget::{Budget, Each, Share};

/// Bytes of a chunk; all but the last are full, so that a place is found by a division.
const CHUNK: usize = 32 * 1024;

/// Bytes read from the file at once.
const PIECE: u64 = 64 * 1024;

/// Why a body could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum Full {
    /// All bodies together take as much as they may.
    #[error("the budget for bodies is used up")]
    Budget,
    /// The file could not be written.
    #[error("a body's file: {0}")]
    File(#[from] io::Error),
}

/// One body.
pub struct Spool {
    budget: Arc<Budget>,
    each: Arc<Each>,
    chunks: VecDeque<Vec<u8>>,
    memory: Share,
    file: Option<Overflow>,
    /// Bytes pushed since the beginning.
    pushed: u64,
}

/// What did not fit into memory.
struct Overflow {
    file: File,
    disk: Share,
    read: u64,
    written: u64,
}

impl Overflow {
    fn open(budget: &Arc<Budget>, folder: &Path) -> io::Result<Self> {
        let file = tempfile::tempfile_in(folder)?;
        Ok(Self { file, disk: budget.disk(), read: 0, written: 0 })
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Full> {
        if !self.disk.grow(bytes.len() as u64) {
            return Err(Full::Budget);
        }
        self.file.write_all_at(bytes, self.written)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.read == self.written
    }

    fn take(&mut self) -> io::Result<Bytes> {
        let mut piece = vec![0; PIECE.min(self.written - self.read) as usize];
        self.file.read_exact_at(&mut piece, self.read)?;
        self.read += piece.len() as u64;
        if self.is_empty() {
            self.file.set_len(0)?;
            self.disk.shrink(self.disk.bytes());
            (self.read, self.written) = (0, 0);
        }
        Ok(piece.into())
    }
}

impl Spool {
    /// An empty body.
    pub fn new(budget: &Arc<Budget>) -> Self {
        let memory = budget.memory();
        let each = budget.each();
        Self { budget: budget.clone(), each, chunks: VecDeque::new(), memory, file: None, pushed: 0 }
    }

    /// Bytes pushed since the beginning.
    pub fn len(&self) -> u64 {
        self.pushed
    }

    /// True when nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.pushed == 0
    }

    /// True when all that was pushed is taken.
    pub fn is_drained(&self) -> bool {
        self.chunks.is_empty() && self.file.as_ref().is_none_or(Overflow::is_empty)
    }

    /// Keeps `bytes` behind what is there.
    ///
    /// # Errors
    /// There is no room, and the bytes are not kept.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let overflows = self.file.as_ref().is_some_and(|file| !file.is_empty());
        let fits = !overflows && self.memory.bytes() + bytes.len() as u64 <= self.each.in_memory;
        if fits && self.memory.grow(bytes.len() as u64) {
            self.remember(bytes);
        } else {
            self.overflow(bytes)?;
        }
        self.pushed += bytes.len() as u64;
        Ok(())
    }

    fn remember(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.chunks.back().is_none_or(|last| last.len() == CHUNK) {
                self.chunks.push_back(Vec::new());
            }
            let last = self.chunks.back_mut().expect("one was pushed where there was none");
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - last.len()));
            last.extend_from_slice(now);
            bytes = later;
        }
    }

    #[cold]
    fn overflow(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let folder = self.each.folder.clone().unwrap_or_else(std::env::temp_dir);
                none.insert(Overflow::open(&self.budget, &folder)?)
            }
        };
        file.push(bytes)
    }

    /// Takes the oldest bytes out; `None` when there are none.
    ///
    /// # Errors
    /// Those of the file.
    pub fn take(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(chunk) = self.chunks.pop_front() {
            self.memory.shrink(chunk.len() as u64);
            return Ok(Some(chunk.into()));
        }
        match &mut self.file {
            Some(file) if !file.is_empty() => file.take().map(Some),
            _ => Ok(None),
        }
    }

    /// The whole body, where it lies in one place. Only before anything is taken.
    pub fn whole(&self) -> Option<&[u8]> {
        match (self.chunks.len(), &self.file) {
            (0, None) => Some(&[]),
            (1, None) => self.chunks.front().map(Vec::as_slice),
            _ => None,
        }
    }

    /// Reads from the place `at`, at most as much as `into` holds; 0 at the end. Only before anything is taken.
    ///
    /// # Errors
    /// Those of the file.
    pub fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let in_memory = self.memory.bytes();
        if at < in_memory {
            let at = at as usize; // below the memory of one body
            let rest = &self.chunks[at / CHUNK][at % CHUNK..];
            let n = rest.len().min(into.len());
            into[..n].copy_from_slice(&rest[..n]);
            return Ok(n);
        }
        match &self.file {
            Some(overflow) => overflow.file.read_at(into, at - in_memory),
            None => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Limits;

    fn budget(memory: u64, disk: u64) -> Arc<Budget> {
        Budget::new(Limits { memory, disk })
    }

    fn pattern(n: usize) -> Vec<u8> {
        (0..n).map(|i| (i % 251) as u8).collect()
    }

    fn taken(spool: &mut Spool) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(piece) = spool.take().unwrap() {
            all.extend_from_slice(&piece);
        }
        all
    }

    fn read(spool: &Spool) -> Vec<u8> {
        let (mut all, mut buf) = (Vec::new(), [0; 10_000]);
        loop {
            match spool.read_at(all.len() as u64, &mut buf).unwrap() {
                0 => return all,
                n => all.extend_from_slice(&buf[..n]),
            }
        }
    }

    /// Pushes `size` bytes in pieces of `step`; they come out again, as often as one reads and once when one takes.
    #[track_caller]
    fn check(memory: u64, size: usize, step: usize) {
        let budget = budget(memory, 1 << 30);
        let (body, mut spool) = (pattern(size), Spool::new(&budget));
        body.chunks(step).for_each(|piece| spool.push(piece).unwrap());
        assert_eq!(spool.len(), size as u64);
        assert!(read(&spool) == body && read(&spool) == body);
        assert!(taken(&mut spool) == body && spool.is_drained());
        drop(spool);
        assert_eq!((budget.in_memory(), budget.on_disk()), (0, 0));
    }

    #[test]
    fn what_was_pushed_comes_out_wherever_it_was_kept() {
        check(1 << 30, 0, 1);
        check(1 << 30, 100, 7);
        check(1 << 30, CHUNK, CHUNK);
        check(1 << 30, 3 * CHUNK + 5, 1000);
        check(1 << 30, 1_000_000, 30_000);
        check(0, 200_000, 30_000);
        check(50_000, 200_000, 30_000);
    }

    #[test]
    fn a_small_body_lies_in_one_place() {
        let mut spool = Spool::new(&budget(1 << 20, 0));
        assert_eq!(spool.whole(), Some(&b""[..]));
        spool.push(b"a=1").unwrap();
        spool.push(b"&b=2").unwrap();
        assert_eq!(spool.whole(), Some(&b"a=1&b=2"[..]));
        spool.push(&pattern(CHUNK)).unwrap();
        assert_eq!(spool.whole(), None);
    }

    #[test]
    fn a_spool_that_grows_while_it_is_taken_keeps_the_order() {
        let budget = budget(4 * CHUNK as u64, 1 << 30);
        let (body, mut spool, mut out) = (pattern(40 * CHUNK), Spool::new(&budget), Vec::new());
        for (turn, piece) in body.chunks(CHUNK + 1).enumerate() {
            spool.push(piece).unwrap();
            if turn % 3 == 0 {
                out.extend_from_slice(&spool.take().unwrap().unwrap());
            }
        }
        out.extend(taken(&mut spool));
        assert!(out == body);
        spool.push(b"again in memory").unwrap();
        assert_eq!((budget.in_memory(), budget.on_disk()), (15, 0));
    }

    #[test]
    fn a_budget_that_is_used_up_is_told_and_nothing_is_kept() {
        let budget = budget(10, 10);
        let mut spool = Spool::new(&budget);
        spool.push(&[1; 10]).unwrap();
        spool.push(&[2; 10]).unwrap();
        assert!(matches!(spool.push(b"x"), Err(Full::Budget)));
        assert_eq!(spool.len(), 20);
    }
}
