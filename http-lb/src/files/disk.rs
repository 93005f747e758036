//! Opening files beneath a root, and nowhere else. Kind: driver.
//!
//! There is no path to be checked and then opened: the kernel resolves each one beneath the root's descriptor
//! (`openat2(2)`, `RESOLVE_BENEATH`), so that neither `..` nor a link that is put there in between leads out.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::stamp::Stamp;

/// How often a lookup that raced with a rename is tried again (`EAGAIN`).
const RACES: usize = 8;

/// A folder that files are opened beneath.
#[derive(Debug)]
pub(super) struct Root {
    folder: OwnedFd,
    symlinks: bool,
}

/// A regular file, open for reading.
#[derive(Debug)]
pub(super) struct Opened {
    /// Where its bytes are.
    pub(super) file: File,
    /// What it is recognised by.
    pub(super) stamp: Stamp,
}

/// Why there is no file.
#[derive(Debug)]
pub(super) enum Refusal {
    /// There is none, or it is none of those that are served.
    Missing,
    /// It is a folder.
    Folder,
    /// The kernel can't, at the moment.
    Failed(io::Error),
}

impl Root {
    /// The folder at this path. Links on the way to it are the operator's own and are followed.
    pub(super) fn open(path: &Path, symlinks: bool) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = Self { folder: fs::openat(CWD, path, flags, Mode::empty())?, symlinks };
        // Before Linux 5.6, or under a filter of old, there is no openat2: better told now than at each request.
        let told = |error: Errno| io::Error::new(io::ErrorKind::Unsupported, format!("openat2: {error}"));
        root.resolve(b".", flags).map_err(told)?;
        Ok(root)
    }

    /// Whether this is still the folder at that path: a link may have been put over to another one.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let at = fs::stat(path).map(|state| (state.st_dev, state.st_ino));
        at == fs::fstat(&self.folder).map(|state| (state.st_dev, state.st_ino))
    }

    /// Opens a regular file beneath the root. `path` is relative and plain, as [`is_plain`] says.
    pub(super) fn file(&self, path: &[u8]) -> Result<Opened, Refusal> {
        if !is_plain(path) {
            return Err(Refusal::Missing);
        }
        // NONBLOCK: opening a pipe must not wait for its writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = self.resolve(path, flags).map_err(refusal)?;
        let state = fs::fstat(&file).map_err(refusal)?;
        match FileType::from_raw_mode(state.st_mode) {
            FileType::RegularFile => Ok(Opened { file: File::from(file), stamp: stamp(&state) }),
            FileType::Directory => Err(Refusal::Folder),
            _ => Err(Refusal::Missing),
        }
    }

    fn resolve(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let mut how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        if !self.symlinks {
            how |= ResolveFlags::NO_SYMLINKS;
        }
        for _ in 1..RACES {
            match fs::openat2(&self.folder, path, flags, Mode::empty(), how) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
        fs::openat2(&self.folder, path, flags, Mode::empty(), how)
    }
}

/// The stamp of a file.
fn stamp(state: &fs::Stat) -> Stamp {
    let [size, modified] = [state.st_size, state.st_mtime].map(|number| u64::try_from(number).unwrap_or(0));
    #[allow(clippy::useless_conversion, reason = "the type differs between architectures")]
    let nanoseconds = u64::try_from(state.st_mtime_nsec).unwrap_or(0);
    Stamp { size, inode: state.st_ino, modified, nanoseconds }
}

/// Whether the path consists of names alone: none is empty, none begins with a dot (which rules out `..` as well), no NUL.
pub(super) fn is_plain(path: &[u8]) -> bool {
    let plain = |name: &[u8]| !matches!(name.first(), None | Some(b'.')) && memchr::memchr(0, name).is_none();
    path.split(|byte| *byte == b'/').all(plain)
}

fn refusal(error: Errno) -> Refusal {
    match error {
        // XDEV: the path leads out of the root. LOOP: there is a link on the way, and links are not followed. NXIO: a socket.
        Errno::NOENT
        | Errno::NOTDIR
        | Errno::XDEV
        | Errno::LOOP
        | Errno::NAMETOOLONG
        | Errno::NXIO
        | Errno::ACCESS => Refusal::Missing,
        Errno::INVAL => Refusal::Missing,
        other => Refusal::Failed(other.into()),
    }
}
