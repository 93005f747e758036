//! Pipes are few: descriptors are for clients. In a process of its own, as it uses up all there may be.

use proxy_core::relay::pipe::Pipe;

#[test]
fn pipes_do_not_use_up_the_descriptors() {
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let mut pipes: Vec<_> = std::iter::from_fn(|| Pipe::open().ok()).collect();
    assert!((1..=256).contains(&pipes.len()), "{}", pipes.len());
    assert_eq!(descriptors(), before + 2 * pipes.len());
    pipes.pop();
    assert!(Pipe::open().is_ok());
}
