//! http-lb's corpus of request smuggling through a running http-lb to a real gunicorn: each connection is refused, or
//! its requests are seen there once, in their order and with their lengths. Kind: driver.

use std::cmp::Ordering;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::corpus::{Body, Case, Expected, cases};
use super::raw::{PATIENCE, Raw};
use super::report::Part;
use super::stage::{Seen, Stage, Wishes};
use crate::error::{Error, Result};
use crate::peers::Subject;
use crate::progress::say;
use crate::{debian, front};

/// What is asked between two cases, so that what a case left behind would be seen before it.
const SENTINEL: &str = "/sentinel";

/// NGINX keeps connections open that we close, and waits for what we know can't come.
const NGINX_PATIENCE: Duration = Duration::from_millis(250);

/// What a connection came to.
#[derive(Debug, Default)]
struct Heard {
    /// The statuses of its answers.
    statuses: Vec<u16>,
    /// The other side ended it by itself.
    closed: bool,
    /// What the application saw of it.
    seen: Vec<Seen>,
}

/// Runs the whole corpus; NGINX's ways are only told.
pub(super) fn run(binary: &Path, quick: bool) -> Result<Part> {
    let mut part = Part::named("smuggling");
    let stage = Stage::start(binary, &Wishes { workers: 1, ..Wishes::default() })?;
    let cases = cases();
    say(format_args!("smuggling: {} cases through http-lb", cases.len()));
    let (mut misunderstood, mut forwarded) = (0, Vec::with_capacity(cases.len()));
    for case in &cases {
        let heard = play(&stage, stage.router.addr(), case, PATIENCE)?;
        let now = stage.application.misunderstood();
        if now > misunderstood {
            // To be refused there is not to be taken for something else.
            part.note(format!("{}: forwarded, and refused by gunicorn", case.name));
            misunderstood = now;
        }
        let refused = heard.seen.is_empty() && heard.statuses.iter().all(|status| *status >= 400);
        part.count(if refused { "refused" } else { "forwarded" });
        part.judge(&case.name, judge(case, &heard));
        forwarded.push(heard.seen.len());
    }
    part.set("refused_by_gunicorn", misunderstood as f64);
    if !quick {
        nginx(&stage, &cases, &forwarded, &mut part)?;
    }
    Ok(part.done())
}

/// What NGINX passes on to the same gunicorn, beside the requests that we have `forwarded` of each case: for information.
fn nginx(stage: &Stage, cases: &[Case], forwarded: &[usize], part: &mut Part) -> Result<()> {
    debian::ensure(front::PACKAGES)?;
    say(format_args!("smuggling: {} cases through NGINX", cases.len()));
    let nginx = stage.nginx()?;
    let (mut otherwise, mut lenient, mut strict) = (0, Vec::new(), Vec::new());
    for (case, ours) in cases.iter().zip(forwarded) {
        let heard = play(stage, nginx.addr(), case, NGINX_PATIENCE)?;
        otherwise += usize::from(judge(case, &heard).is_err());
        match heard.seen.len().cmp(ours) {
            Ordering::Greater => lenient.push(case.name.as_str()),
            Ordering::Less => strict.push(case.name.as_str()),
            Ordering::Equal => {}
        }
    }
    part.set("nginx_otherwise", otherwise as f64);
    part.set("nginx_forwards_what_we_refuse", lenient.len() as f64);
    part.set("nginx_refuses_what_we_forward", strict.len() as f64);
    part.note(format!("NGINX alone forwards: {}", lenient.join(" ")));
    part.note(format!("http-lb alone forwards: {}", strict.join(" ")));
    Ok(())
}

/// Sends a case, reads all that comes of it, and asks the application.
fn play(stage: &Stage, addr: SocketAddr, case: &Case, patience: Duration) -> Result<Heard> {
    let mut heard = Heard::default();
    let mut raw = Raw::with_patience(addr, patience)?;
    raw.send(&case.raw);
    let mut bodiless = case.raw.starts_with(b"HEAD ");
    for expected in &case.expected {
        if matches!(expected, Expected::Partial(_)) {
            break;
        }
        // Whoever expects less is refused earlier, and is told so by the judge.
        match raw.answer_to(std::mem::take(&mut bodiless)) {
            Ok(Some(answer)) => heard.statuses.push(answer.status),
            Ok(None) => break,
            Err(_) => return told(stage, addr, heard),
        }
    }
    // What has been refused is closed without a word of ours; everything else ends when we do.
    let refused = !matches!(case.expected.last(), Some(Expected::Accept(_) | Expected::Partial(_)));
    if !refused {
        raw.half_close();
    }
    heard.closed = raw.rest().map(|rest| rest_of(&rest, &mut heard)).is_ok();
    told(stage, addr, heard)
}

/// Answers that nobody waited for.
fn rest_of(rest: &[u8], heard: &mut Heard) {
    let text = String::from_utf8_lossy(rest);
    let heads = text.split("HTTP/1.1 ").skip(1);
    heard.statuses.extend(heads.filter_map(|head| head.get(..3)?.parse::<u16>().ok()));
}

fn told(stage: &Stage, addr: SocketAddr, mut heard: Heard) -> Result<Heard> {
    let sentinel = Raw::connect(addr)?.get(SENTINEL)?;
    if sentinel.status != 200 {
        return Err(Error::new(format!("an ordinary request was answered with {}", sentinel.status)));
    }
    heard.seen = stage.application.seen()?;
    heard.seen.retain(|seen| seen.target != SENTINEL);
    Ok(heard)
}

/// Whether it came to what the corpus says.
fn judge(case: &Case, heard: &Heard) -> std::result::Result<(), String> {
    let (mut statuses, mut seen) = (heard.statuses.iter(), heard.seen.iter());
    for expected in &case.expected {
        match expected {
            Expected::Refuse(wish) | Expected::RefuseBody(wish) => match statuses.next() {
                Some(status) if status == wish => {}
                // A request that was refused for another reason than the corpus knows is refused all the same.
                Some(status) if *status >= 400 => {}
                other => return Err(format!("{other:?}, not {wish}; {heard:?}")),
            },
            Expected::Partial(_) => {}
            Expected::Accept(body) => {
                // Refused for other reasons: no such method, or the like. Then there is nothing to be seen.
                let status = statuses.next().ok_or_else(|| format!("no answer; {heard:?}"))?;
                match status {
                    500 | 502..=504 => return Err(format!("answered by an error of its own; {heard:?}")),
                    400.. => continue,
                    _ => {}
                }
                let request = seen.next().ok_or_else(|| format!("answered, but not seen; {heard:?}"))?;
                if request.length != length(*body) {
                    return Err(format!("{} bytes were seen, not {}", request.length, length(*body)));
                }
            }
        }
    }
    if let Some(more) = seen.next() {
        return Err(format!("seen, though nobody sent it: {more:?}"));
    }
    if !heard.closed {
        return Err(format!("the connection was not closed; {heard:?}"));
    }
    Ok(())
}

fn length(body: Body) -> u64 {
    match body {
        Body::None => 0,
        Body::Length(length) | Body::Chunked(length) => length,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expected: Expected, statuses: &[u16], seen: &[u64], closed: bool, good: bool) {
        let case = Case { name: String::new(), raw: Vec::new(), expected: vec![expected] };
        let request = |length: &u64| Seen {
            method: "GET".into(),
            target: "/".into(),
            length: *length,
            fields: std::collections::BTreeMap::new(),
        };
        let heard = Heard { statuses: statuses.to_vec(), closed, seen: seen.iter().map(request).collect() };
        assert_eq!(judge(&case, &heard).is_ok(), good, "{expected:?} {heard:?}");
    }

    #[test]
    fn what_is_refused_is_seen_by_nobody_and_closed() {
        check(Expected::Refuse(400), &[400], &[], true, true);
        check(Expected::Refuse(400), &[400], &[], false, false);
        check(Expected::Refuse(400), &[200], &[0], true, false);
        check(Expected::Refuse(400), &[400], &[0], true, false);
    }

    #[test]
    fn what_is_accepted_is_seen_once_with_its_length() {
        check(Expected::Accept(Body::Length(3)), &[200], &[3], true, true);
        check(Expected::Accept(Body::Length(3)), &[200], &[2], true, false);
        check(Expected::Accept(Body::Length(3)), &[200], &[3, 0], true, false);
        check(Expected::Accept(Body::Length(3)), &[200], &[], true, false);
        check(Expected::Accept(Body::None), &[405], &[], true, true);
        check(Expected::Accept(Body::None), &[502], &[], true, false);
    }

    #[test]
    fn what_is_not_all_there_is_seen_by_nobody() {
        check(Expected::Partial(Body::Length(4)), &[], &[], true, true);
        check(Expected::Partial(Body::Length(4)), &[408], &[], true, true);
        check(Expected::Partial(Body::Length(4)), &[], &[3], true, false);
    }
}
