//! redis-router. Kind: wiring.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args();
    let program = words.next().unwrap_or_default();
    match words.next().as_deref() {
        Some("switchover") => redis_router::switchover::cli(std::iter::once(program).chain(words)),
        _ => proxy_core::app::run::<redis_router::router::RedisRouter>(),
    }
}
