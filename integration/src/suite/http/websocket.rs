//! WebSocket (RFC 6455) by two libraries at both ends: what comes of each case directly must come of it through http-lb.
//! Kind: driver.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::report::Part;
use super::stage::{Stage, Wishes, script};
use crate::error::{Context, Error, Result};
use crate::process::Process;
use crate::progress::say;
use crate::python;

/// The libraries that serve, by the path at which http-lb has them.
const SERVERS: [&str; 2] = ["websockets", "wsproto"];

/// All cases of one server.
const CASES: Duration = Duration::from_secs(240);

/// Case by case, what came of it.
type Outcomes = BTreeMap<String, Value>;

/// See the module.
pub(super) fn run(binary: &Path, quick: bool) -> Result<Part> {
    let mut part = Part::named("websocket");
    let (_servers, ports) = servers()?;
    let stage = Stage::start(binary, &Wishes { workers: 1, extra: routes(&ports) })?;
    for name in SERVERS {
        let direct = SocketAddr::from(([127, 0, 0, 1], ports[name]));
        say(format_args!("websocket: {name}, directly and through http-lb"));
        let expected = outcomes(direct, name, quick)?;
        let found = outcomes(stage.router.addr(), name, quick)?;
        for (case, expected) in &expected {
            let same = found.get(case).filter(|found| *found == expected);
            let wrong = || format!("{}, directly {expected}", found.get(case).unwrap_or(&Value::Null));
            part.judge(&format!("{name}: {case}"), same.map(drop).ok_or_else(wrong));
            if expected.as_str().is_some_and(|text| text.contains("Error")) {
                part.wrong(format!("{name}: {case}: directly too: {expected}"));
            }
        }
    }
    Ok(part.done())
}

/// Both servers and where they listen.
fn servers() -> Result<(Process, BTreeMap<String, u16>)> {
    let (process, output) = Process::piped(&python::python()?.args([script("http_ws_server")]))?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let ports =
        serde_json::from_str(&line).map_err(|e| Error::new(format!("the servers said {line:?}: {e}")))?;
    Ok((process, ports))
}

fn routes(ports: &BTreeMap<String, u16>) -> String {
    let route = |name: &&str| {
        let port = ports.get(*name).copied().unwrap_or_default();
        format!(
            "[[clusters]]\nname = \"{name}\"\nupstreams = [\"127.0.0.1:{port}\"]\n\
             [[routes]]\npath = \"/{name}/\"\ncluster = \"{name}\"\n"
        )
    };
    SERVERS.iter().map(route).collect::<String>() + "[[routes]]\npath = \"/\"\ncluster = \"application\"\n"
}

fn outcomes(addr: SocketAddr, name: &str, quick: bool) -> Result<Outcomes> {
    let spec = python::python()?.args([script("http_ws_cases"), addr.to_string(), format!("/{name}")]);
    let spec = if quick { spec.args(["short"]) } else { spec };
    let text = spec.output(CASES).context(name)?;
    serde_json::from_str(text.trim()).map_err(|e| Error::new(format!("the cases said {text:?}: {e}")))
}
