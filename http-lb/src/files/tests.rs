//! A site over real folders: what is served, how, and what becomes of it when the folders change. Kind: driver.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use md5::Digest as _;
use proxy_core::metrics::Registry;
use rustix::fs::{CWD, Mode, mkfifoat};
use tempfile::TempDir;

use super::gauges::Gauges;
use super::keeper::{self, Watch};
use super::precompress;
use super::*;

mod answers;
mod changes;
mod memory;
mod mounts;
mod roots;
mod variants;

const NOW: u64 = 4_000_000_000;
const ASSETS: MountId = MountId(0);

const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// A folder, and a site that serves it at `/static/`.
struct Shop {
    folder: TempDir,
    site: Site,
    watch: Watch,
}

/// What came of a request: everything that a codec would send, but Date and Connection.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    status: u16,
    fields: String,
    length: Option<u64>,
    body: Vec<u8>,
}

impl Shop {
    /// With these files, on terms that `change` changes.
    fn new(files: &[(&str, &[u8])], change: impl FnOnce(&mut Terms)) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        for (path, content) in files {
            write(folder.path(), path, content);
        }
        let mut terms = Terms { mounts: vec![Mount::assets("/static/", folder.path())], ..Terms::default() };
        // The keeper's thread looks on its own then only when a test lets it.
        terms.poll = Duration::ZERO;
        terms.mounts[0].precompress.clear();
        change(&mut terms);
        let site = open(terms, None);
        Self { folder, site, watch: Watch::default() }
    }

    fn answer(&self, path: &str, wants: Wants<'_>) -> Answer {
        self.site.answer(ASSETS, &wants, path.as_bytes(), NOW)
    }

    fn find(&self, path: &str) -> Answer {
        self.answer(path, Wants::default())
    }

    #[track_caller]
    fn ask(&self, path: &str, wants: Wants<'_>) -> Sent {
        sent(self.answer(path, wants))
    }

    #[track_caller]
    fn get(&self, path: &str) -> Sent {
        self.ask(path, Wants::default())
    }

    /// Looks twice, as a change must come to rest; the second time at this moment.
    fn look(&mut self, now: Instant) {
        self.watch.look(self.site.mounts(), now);
        self.watch.look(self.site.mounts(), now);
    }

    fn write(&self, path: &str, content: &[u8]) {
        write(self.folder.path(), path, content);
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.folder.path().join(path)).expect("it can be removed");
    }

    /// Makes all variants that are to be made.
    fn compress(&self) {
        while keeper::compress_one(self.site.mounts()) {}
    }
}

impl Sent {
    #[track_caller]
    fn field(&self, name: &str) -> &str {
        self.maybe(name).unwrap_or_else(|| panic!("no {name} in {}", self.fields))
    }

    fn maybe(&self, name: &str) -> Option<&str> {
        self.fields.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

fn open(terms: Terms, before: Option<&Site>) -> Site {
    Site::open_now(terms, Gauges::new(&Registry::new("http-lb", "0")), before).expect("the folders are there")
}

fn write(folder: &Path, path: &str, content: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("folders can be made");
    fs::write(path, content).expect("files can be written");
}

/// `name.<hash>.ext`, as Django names it.
fn hashed(stem: &str, content: &[u8], extension: &str) -> String {
    let hash: String = md5::Md5::digest(content).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{stem}.{hash}.{extension}")
}

fn text(length: usize) -> Vec<u8> {
    b"Every ticket is sold once. ".iter().copied().cycle().take(length).collect()
}

fn ranged(range: &str) -> Wants<'_> {
    Wants { range: Some(range.as_bytes()), ..Wants::default() }
}

fn accepting(accept: &str) -> Wants<'_> {
    Wants { accept_encoding: Some(accept.as_bytes()), ..Wants::default() }
}

#[track_caller]
fn sent(answer: Answer) -> Sent {
    let text = |fields: Bytes| String::from_utf8(fields.to_vec()).expect("fields are text");
    let sent = match answer {
        Answer::Memory { status, fields, length, body } => {
            Sent { status, fields: text(fields), length, body: body.to_vec() }
        }
        Answer::Disk { status, fields, length, file, offset } => {
            Sent { status, fields: text(fields), length: Some(length), body: read(&file, offset, length) }
        }
        Answer::Parts { fields, length, parts } => {
            let pieces = parts.into_iter().map(|part| match part {
                Part::Memory(bytes) => bytes.to_vec(),
                Part::Disk { file, offset, length } => read(&file, offset, length),
            });
            Sent { status: 206, fields: text(fields), length: Some(length), body: pieces.flatten().collect() }
        }
        other => panic!("nothing is sent: {other:?}"),
    };
    for line in sent.fields.split_inclusive("\r\n") {
        assert!(line.ends_with("\r\n") && line.contains(": "), "a field: {line:?}");
    }
    sent
}

fn read(file: &File, offset: u64, length: u64) -> Vec<u8> {
    let mut piece = vec![0; usize::try_from(length).expect("tests are small")];
    file.read_exact_at(&mut piece, offset).expect("the file is as long as was said");
    piece
}
