//! Pipes are few: descriptors are for clients. In a process of its own, as it uses up all there may be.

use proxy_core::relay::pipe::Pipe;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn pipes_do_not_use_up_the_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(640), ..limit }).unwrap();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let mut pipes: Vec<_> = std::iter::from_fn(|| Pipe::open().ok()).collect();
    assert_eq!(pipes.len(), 20, "one for 32 descriptors");
    assert_eq!(descriptors(), before + 2 * pipes.len());
    pipes.pop();
    assert!(Pipe::open().is_ok());
}
