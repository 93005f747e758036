//! testssl.sh against http-lb's encrypted listener: versions, ciphers, forward secrecy and the named vulnerabilities, as
//! Debian packages it. Not whose order of ciphers holds: all of ours are good, and phones without AES in hardware know
//! best that they want ChaCha20 (Mozilla's server side TLS says the same). Kind: driver.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::report::Part;
use super::stage::{Stage, Wishes};
use crate::debian;
use crate::error::{Context, Error, Result};
use crate::process::Spec;
use crate::progress::say;

/// It asks for each cipher by a connection of its own, in Bash.
const PATIENCE: Duration = Duration::from_secs(900);

/// BREACH is about compressed pages that hold a secret: Pretix' CSRF tokens are masked, as Django's are.
const BESIDES: [&str; 1] = ["BREACH"];

/// What it says of one thing that it looked at.
#[derive(Debug, Deserialize)]
struct Finding {
    id: String,
    severity: String,
    finding: String,
}

/// See the module.
pub(super) fn run(binary: &Path, _quick: bool) -> Result<Part> {
    debian::ensure(&["testssl.sh", "bsdmainutils", "dnsutils"])?;
    let mut part = Part::named("testssl");
    let stage = Stage::start(binary, &Wishes::default())?;
    let report = stage.dir().join("testssl.json");
    say("testssl: protocols, ciphers, forward secrecy, vulnerabilities");
    let authority = stage.dir().join("ca.crt");
    let spec = Spec::new("testssl")
        .args(["--quiet", "--color", "0", "--warnings", "off", "--add-ca", &authority.to_string_lossy()])
        .args(["--protocols", "--std", "--fs", "--vulnerable"])
        .args(["--jsonfile", &report.to_string_lossy(), &stage.tls.to_string()])
        .env("TERM", "dumb");
    // It exits with the number of its findings.
    let said = spec.output(PATIENCE).err().map(|e| e.to_string()).unwrap_or_default();
    let text = fs::read_to_string(&report).context(report.display())?;
    let findings: Vec<Finding> =
        serde_json::from_str(&text).map_err(|e| Error::new(format!("testssl's report: {e}\n{said}")))?;
    judge(&mut part, &findings);
    Ok(part.done())
}

fn judge(part: &mut Part, findings: &[Finding]) {
    for Finding { id, severity, finding } in findings {
        part.count("findings");
        let known = BESIDES.contains(&id.as_str());
        match severity.as_str() {
            "OK" | "INFO" | "DEBUG" => {}
            "LOW" | "WARN" => part.note(format!("{severity} {id}: {finding}")),
            _ if known => part.note(format!("{severity} {id}: {finding}")),
            _ => part.wrong(format!("{severity} {id}: {finding}")),
        }
        part.count(&severity.to_lowercase());
    }
    let scanned = findings.iter().any(|finding| finding.id == "TLS1_3") && findings.len() > 30;
    if !scanned {
        part.wrong(format!("only {} findings: it did not come to its end", findings.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(id: &str, severity: &str, wrong: usize) {
        let mut part = Part::named("testssl");
        let finding = |id: &str, severity: &str| Finding {
            id: id.into(),
            severity: severity.into(),
            finding: String::new(),
        };
        let mut all: Vec<_> = (0..40).map(|_| finding("TLS1_3", "OK")).collect();
        all.push(finding(id, severity));
        judge(&mut part, &all);
        assert_eq!(part.wrong.len(), wrong, "{id} {severity}");
    }

    #[test]
    fn medium_and_above_are_wrong_besides_breach() {
        check("TLS1", "OK", 0);
        check("LUCKY13", "LOW", 0);
        check("cipherlist_AVERAGE", "MEDIUM", 1);
        check("ROBOT", "CRITICAL", 1);
        check("BREACH", "MEDIUM", 0);
    }
}
