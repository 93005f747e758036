//! `cargo stack suite`: the test suites of real client libraries, on Redis itself and through redis-router: what passes
//! directly must pass through the router; what is different by design is in a list, with its reason. And http-lb against
//! those who break the rules of HTTP. Kind: wiring.

mod comparison;
mod differences;
pub mod http;
mod kit;
mod outcomes;
mod plan;
mod stage;

use std::path::{Path, PathBuf};

use crate::bench::write_json;
use crate::error::{Error, Result};
use crate::progress::say;
use crate::router::{self, Profile};

use comparison::{Comparison, Report};
use kit::Kit;
use outcomes::Outcomes;
use plan::{Resp, SUITES, Suite};
use stage::Way;

/// Run the test suites of client libraries directly and through our router.
#[derive(Debug, clap::Parser)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// redis-py, django-redis and kombu
    Redis(Options),
    /// http-lb against smugglers, floods, slow clients and all of WebSocket, TLS and HTTP/2
    Http(http::Options),
}

/// What is asked for.
#[derive(Debug, Clone, clap::Args)]
struct Options {
    /// Only these suites
    #[arg(long, value_name = "SUITE,...", value_delimiter = ',')]
    only: Vec<String>,
    /// Only this version of the protocol
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u8).range(2..=3))]
    resp: Option<u8>,
    /// Only tests that match this expression of pytest's -k; the list of differences is then not held to be complete
    #[arg(short = 'k', value_name = "EXPRESSION")]
    keyword: Option<String>,
    /// Write what came out to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Take this router instead of building one
    #[arg(long, value_name = "FILE")]
    router: Option<PathBuf>,
}

/// How often a test that failed through the router alone is tried again before it is called a difference: the suites
/// have tests that fail now and then on a busy machine, whatever they talk to. Alone a test may also miss what another one
/// left behind, so those that needed it are told.
const ATTEMPTS: u32 = 2;

/// Runs the suites that were asked for.
pub fn run(args: &Args) -> Result<()> {
    match &args.what {
        What::Redis(options) => redis(options),
        What::Http(options) => http::run(options),
    }
}

fn redis(options: &Options) -> Result<()> {
    let suites = chosen(&options.only)?;
    let kit = Kit::ready()?;
    let router = match &options.router {
        Some(given) => given.clone(),
        None => router::build(router::REDIS, Profile::Fast)?,
    };
    let mut report = Report::default();
    for suite in suites {
        for resp in Resp::ALL.into_iter().filter(|resp| options.resp.is_none_or(|wish| wish == resp.number()))
        {
            report.cells.push(compare(&kit, suite, resp, options, &router)?);
        }
    }
    println!("{}", report.text());
    write_json(options.json.as_deref(), &report)?;
    if report.is_good() {
        Ok(())
    } else {
        Err(Error::new("the router is not what Redis is, as the list tells it"))
    }
}

fn chosen(only: &[String]) -> Result<Vec<&'static Suite>> {
    if let Some(name) = only.iter().find(|name| SUITES.iter().all(|suite| suite.name != name.as_str())) {
        let known: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
        return Err(Error::usage(format!("there is no suite {name}; there are: {}", known.join(", "))));
    }
    Ok(SUITES.iter().filter(|suite| only.is_empty() || only.iter().any(|name| name == suite.name)).collect())
}

/// One suite in one version of the protocol, both ways.
fn compare(
    kit: &Kit,
    suite: &'static Suite,
    resp: Resp,
    options: &Options,
    router: &Path,
) -> Result<Comparison> {
    let keyword = options.keyword.as_deref();
    let run = |way: Way<'_>, tests: Option<&[String]>| -> Result<Outcomes> {
        say(format_args!("{} {resp}: {way}", suite.name));
        let outcomes = stage::run(kit, suite, resp, &way, tests, keyword)?;
        say(format_args!("{} {resp}: {way}: {}", suite.name, outcomes.summary()));
        Ok(outcomes)
    };
    let direct = run(Way::Direct, None)?;
    let mut routed = run(Way::Router(router), None)?;
    let first = comparison::worse(suite.name, resp, &direct, &routed);
    for _ in 0..ATTEMPTS {
        let again = comparison::worse(suite.name, resp, &direct, &routed);
        if again.is_empty() {
            break;
        }
        routed.improve(run(Way::Router(router), Some(&again))?);
    }
    Ok(Comparison::of(suite, resp, &direct, &routed, keyword.is_none()).after_retries(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_chosen_by_its_name() {
        assert_eq!(chosen(&[]).unwrap().len(), SUITES.len());
        assert_eq!(chosen(&["kombu".into()]).unwrap()[0].name, "kombu");
        assert_eq!(chosen(&["memcached".into()]).unwrap_err().code(), 2);
    }
}
