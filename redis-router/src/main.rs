//! redis-router. Kind: wiring.

use std::process::ExitCode;

fn main() -> ExitCode {
    proxy_core::app::run::<redis_router::router::RedisRouter>()
}
