//! http-lb. Kind: wiring.

use std::process::ExitCode;

fn main() -> ExitCode {
    proxy_core::app::run::<http_lb::balancer::Balancer>()
}
