//! Listening sockets: bound, not yet served, so that a start that fails elsewhere has let nobody in. Kind: driver.

use std::{
    fs, io,
    net::SocketAddr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::net::SocketFlags;
use socket2::{Domain, SockAddr, Socket, Type};

use super::ListenerConfig;
use crate::net::{Addr, Peer};

/// A bound socket with the file that it made, if any.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) socket: OwnedFd,
    pub(super) addr: Addr,
    pub(super) file: Option<SocketFile>,
}

/// Binds and listens; nobody is accepted yet, but clients already queue in the backlog.
pub(super) fn bind(config: &ListenerConfig) -> io::Result<Bound> {
    match &config.listen {
        Addr::Tcp { .. } => bind_tcp(config),
        Addr::Unix(path) => bind_unix(config, path),
    }
}

fn bind_tcp(config: &ListenerConfig) -> io::Result<Bound> {
    let addr = config.listen.socket_addr().ok_or_else(no_ip)?;
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), None)?;
    // Without this a restart would wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    config.options.apply(&socket)?;
    socket.bind(&addr.into())?;
    socket.listen(config.backlog)?;
    let local = socket.local_addr()?.as_socket().unwrap_or(addr);
    Ok(Bound { socket: socket.into(), addr: local.into(), file: None })
}

/// A name may have several addresses, today these and tomorrow others: what is listened on is said, not looked up.
fn no_ip() -> io::Error {
    let text =
        "a listener needs an IP address, not a name; write 127.0.0.1, 0.0.0.0, [::1] or [::] as the host";
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

fn bind_unix(config: &ListenerConfig, path: &Path) -> io::Result<Bound> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::made(path)?;
    // Before listen(2) nobody can connect, so there is no moment with the wrong mode.
    if let Some(mode) = config.unix_mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    socket.listen(config.backlog)?;
    Ok(Bound { socket: socket.into(), addr: config.listen.clone(), file: Some(file) })
}

/// Removes the socket file that a killed process has left, and only that: not a file of another kind, and not a
/// socket behind which somebody answers.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => remove_if_dead(path),
        Ok(_) => Err(in_use("a file that is no socket is in the way; remove it or choose another path")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn remove_if_dead(path: &Path) -> io::Result<()> {
    // Non-blocking: a living server with a full backlog answers EAGAIN instead of making us wait.
    let caller = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match caller.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Err(in_use("another process listens there; stop it or choose another path")),
    }
}

fn in_use(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, text)
}

/// The file of a unix socket; dropping this removes it, unless somebody has put another in its place since.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn made(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // If this fails, the next start finds a stale file and removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Takes one connection from the backlog, non-blocking and closed on exec from its first moment on.
pub(super) fn accept(listener: &impl AsFd) -> io::Result<(OwnedFd, Peer)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (socket, from) = rustix::net::acceptfrom_with(listener, flags)?;
    let peer = from.and_then(|addr| SocketAddr::try_from(addr).ok()).map_or(Peer::Unix, Peer::from);
    Ok((socket, peer))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn config(path: &Path) -> ListenerConfig {
        ListenerConfig::new("test", Addr::Unix(path.to_owned()))
    }

    #[track_caller]
    fn check_refused(listen: Addr, reason: &str) {
        let error = bind(&ListenerConfig::new("test", listen)).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }

    #[test]
    fn the_file_of_a_dead_process_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a dead listener leaves its file");
        let bound = bind(&config(&path)).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(bound);
        assert!(!path.exists(), "ours doesn't");
    }

    #[test]
    fn a_living_process_keeps_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _alive = UnixListener::bind(&path).unwrap();
        check_refused(Addr::Unix(path), "another process listens there");
    }

    #[test]
    fn a_file_of_another_kind_is_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        fs::write(&path, "precious").unwrap();
        check_refused(Addr::Unix(path.clone()), "no socket");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_file_that_a_successor_has_made_is_left_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let bound = bind(&config(&path)).unwrap();
        // Renamed and not removed, so that the file system can't give the successor the same inode.
        fs::rename(&path, dir.path().join("old")).unwrap();
        let _successor = UnixListener::bind(&path).unwrap();
        drop(bound);
        assert!(path.exists());
    }

    #[test]
    fn the_mode_is_what_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _bound = bind(&ListenerConfig { unix_mode: Some(0o640), ..config(&path) }).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    }

    #[test]
    fn a_name_is_no_place_to_listen_on() {
        check_refused("localhost:0".parse().unwrap(), "needs an IP address");
    }
}
