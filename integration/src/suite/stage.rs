//! One run of one suite: a server of its own under one Sentinel, the router if it is asked for, and pytest.
//! Kind: driver.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Context, Error, Result};
use crate::process::{Process, Spec};
use crate::progress::say;
use crate::redis::{Cluster, ClusterOptions};
use crate::router::{RedisRouterOptions, Router};
use crate::wait::tail;

use super::kit::Kit;
use super::outcomes::Outcomes;
use super::plan::{Aim, Resp, Suite};

/// What the tests are told to talk to.
pub(super) enum Way<'a> {
    /// Redis itself.
    Direct,
    /// This binary in front of it.
    Router(&'a Path),
}

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "directly",
            Self::Router(_) => "through the router",
        })
    }
}

/// One test of any suite.
const TEST: &str = "--timeout=60";

/// A whole suite, on a busy machine.
const SUITE: Duration = Duration::from_secs(3600);

/// Between two lines about how far it is.
const NEWS: Duration = Duration::from_secs(15);

/// pytest's exit codes for a run that came to its end: all passed, some failed.
const RAN: [i32; 2] = [0, 1];

/// Runs `tests`, or the whole suite, on servers of its own.
pub(super) fn run(
    kit: &Kit,
    suite: &Suite,
    resp: Resp,
    way: &Way<'_>,
    tests: Option<&[String]>,
    keyword: Option<&str>,
) -> Result<Outcomes> {
    let servers = Servers::start(way)?;
    let scratch = kit.scratch()?;
    let home = home(kit, suite, &servers, scratch.path())?;
    let (told, log) = (scratch.path().join("outcomes"), scratch.path().join("log"));
    let plugins = concat!(env!("CARGO_MANIFEST_DIR"), "/clients");
    let options = ["-m", "pytest", "-p", "suite_outcomes", "-p", "no:cacheprovider", "-o", "addopts=", TEST];
    let mut spec = Spec::new(kit.python())
        .args([options.as_slice(), &["--rootdir=.", "-q", "-W", "ignore"]].concat())
        .args(what(suite, tests))
        .args(keyword.map(|keyword| format!("-k={keyword}")))
        .args(suite.options(servers.addr(), resp))
        .env("PYTHONPATH", plugins)
        .env("SUITE_OUTCOMES", told.to_string_lossy())
        .log(&log);
    for (key, value) in suite.environment(servers.addr(), resp) {
        spec = spec.env(key, value);
    }
    // pytest takes its settings, and many tests their data, from the folder that it is started in.
    let argv = std::mem::take(&mut spec.argv);
    spec.argv = ["env", "-C", &home].map(Into::into).into_iter().chain(argv).collect();
    let code = watch(&spec, &told)?;
    if !code.is_some_and(|code| RAN.contains(&code)) {
        return Err(Error::new(format!("pytest ended with {code:?}:\n{}", tail(&log))));
    }
    Ok(Outcomes::read(&fs::read_to_string(&told).context(told.display())?))
}

fn what(suite: &Suite, tests: Option<&[String]>) -> Vec<String> {
    match tests {
        Some(tests) => tests.to_vec(),
        None => suite.pytest.iter().map(ToString::to_string).collect(),
    }
}

/// Where the suite runs: where it was unpacked, or in a copy that names our address.
fn home(kit: &Kit, suite: &Suite, servers: &Servers, scratch: &Path) -> Result<String> {
    let sources = kit.sources(suite).to_string_lossy().into_owned();
    let Aim::Files(folder) = suite.aim else { return Ok(sources) };
    let copy = scratch.join("home").to_string_lossy().into_owned();
    Spec::new("cp").args(["-r", &sources, &copy]).output(Duration::from_secs(60))?;
    for file in fs::read_dir(Path::new(&copy).join(folder))? {
        let file = file?.path();
        if file.is_file() {
            let text = fs::read_to_string(&file).context(file.display())?;
            fs::write(&file, text.replace("127.0.0.1:6379", &servers.addr().to_string()))?;
        }
    }
    Ok(copy)
}

/// Waits for its end and tells how far it is.
fn watch(pytest: &Spec, told: &Path) -> Result<Option<i32>> {
    let mut process = Process::spawn(pytest)?;
    let start = Instant::now();
    while start.elapsed() < SUITE {
        if let Some(status) = process.wait(NEWS)? {
            return Ok(status.code());
        }
        let so_far = Outcomes::read(&fs::read_to_string(told).unwrap_or_default());
        say(format_args!("    {} of {}: {}", so_far.tests.len(), so_far.collected, so_far.summary()));
    }
    Err(Error::new(format!("pytest did not end within {} s", SUITE.as_secs())))
}

/// The field order is the order in which they go.
struct Servers {
    router: Option<Router>,
    cluster: Cluster,
}

impl Servers {
    fn start(way: &Way<'_>) -> Result<Self> {
        let cluster =
            Cluster::start(&ClusterOptions { nodes: 1, sentinels: 1, ..ClusterOptions::default() })?;
        // Clients of a Redis as it is installed send no password.
        cluster.node(1).call(&["ACL", "SETUSER", "default", "nopass"])?;
        let router = match way {
            Way::Direct => None,
            Way::Router(binary) => Some(Router::start(&cluster, &RedisRouterOptions::new(binary))?),
        };
        Ok(Self { router, cluster })
    }

    fn addr(&self) -> SocketAddr {
        self.router.as_ref().map_or_else(|| self.cluster.node(1).addr(), Router::addr)
    }
}
