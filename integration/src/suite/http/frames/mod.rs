//! HTTP/2 frame by frame against the running http-lb: what h2spec looks at, clause by clause of RFC 9113 and RFC 7541, with
//! scripts of our own, and the named floods. Kind: wiring.

mod attacks;
mod case;
mod connection;
mod expect;
mod flow;
mod frame;
mod messages;
mod peer;
mod streams;
mod verdict;

use std::net::SocketAddr;
use std::path::Path;

use case::Case;

use super::report::Part;
use super::stage::{Stage, Wishes};
use crate::error::Result;
use crate::progress::say;

/// All clauses.
fn cases() -> impl Iterator<Item = &'static Case> {
    [connection::CASES, streams::CASES, flow::CASES, messages::CASES].into_iter().flatten()
}

/// See the module.
pub(super) fn run(binary: &Path, quick: bool) -> Result<Part> {
    let mut part = Part::named("frames");
    let stage = Stage::start(binary, &Wishes { workers: 4, ..Wishes::default() })?;
    say(format_args!("frames: {} rules", cases().count()));
    rules(stage.router.addr(), &mut part);
    if !quick {
        attacks::all(&stage, &mut part)?;
    }
    Ok(part.done())
}

/// What the h2 crate does not tell us of, and why it does no harm.
const KNOWN: [(&str, &str); 1] = [(
    "pseudo-fields in trailers",
    "h2 drops them, so that nobody behind us sees them; the request is served",
)];

fn rules(addr: SocketAddr, part: &mut Part) {
    for case in cases() {
        let name = format!("{} {}", case.clause, case.what);
        let known = KNOWN.iter().find(|(what, _)| *what == case.what);
        match (case.play(addr), known) {
            (Err(wrong), _) if wrong.only_the_code => {
                part.count("cases");
                part.count("passed_but_for_the_code");
                part.note(format!("{name}: {}", wrong.why));
            }
            (Err(_), Some((_, why))) => {
                part.count("cases");
                part.count("known");
                part.note(format!("{name}: {why}"));
            }
            (verdict, _) => part.judge(&name, verdict.map_err(|wrong| wrong.why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_there_once() {
        let mut names: Vec<_> = cases().map(|case| (case.clause, case.what)).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!((names.len(), all > 130), (all, true), "{all}");
    }
}
