//! http-lb. Kind: wiring.

use std::process::ExitCode;

/// The C library's is slow at more than a KiB, of which each stream of HTTP/2 needs some: a thirtieth of a request's CPU.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    proxy_core::app::run::<http_lb::balancer::Balancer>()
}
