//! pg-router. Kind: wiring.

use std::process::ExitCode;

fn main() -> ExitCode {
    proxy_core::app::run::<pg_router::router::PgRouter>()
}
