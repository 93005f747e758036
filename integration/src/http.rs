//! Requests of ours, one per connection: of admin endpoints, of replicas, of a browser's driver. Kind: driver.

use crate::{Context, Error, Result};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(2);

/// The status and the body at `path`.
pub fn get(addr: SocketAddr, path: &str) -> Result<(u16, String)> {
    ask(addr, "GET", path, None, PATIENCE)
}

/// Any request, with a body of JSON if there is one; its answer may take so long.
pub fn ask(
    addr: SocketAddr,
    method: &str,
    path: &str,
    json: Option<&str>,
    patience: Duration,
) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE).context(addr)?;
    stream.set_read_timeout(Some(patience))?;
    let length = json.map_or(0, str::len);
    let body =
        json.map(|json| format!("Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{json}"));
    let body = body.unwrap_or_else(|| match method {
        "GET" | "DELETE" => "\r\n".into(),
        _ => "Content-Length: 0\r\n\r\n".into(),
    });
    // Nobody who is asked answers in chunks. chromedriver knows no HTTP/1.0, and keeps connections whatever it is told.
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n{body}")?;
    let mut answer = Vec::new();
    let mut piece = [0; 16 * 1024];
    while !whole(&answer) {
        match stream.read(&mut piece).context(addr)? {
            0 => break,
            read => answer.extend_from_slice(&piece[..read]),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    parse(&answer).ok_or_else(|| Error::new(format!("{addr}{path} answered {answer:?}")))
}

/// Is as much there as it says itself?
fn whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    length
        .and_then(|length| length.trim().parse::<usize>().ok())
        .is_some_and(|length| answer.len() >= end + 4 + length)
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some((status, body.into()))
}

/// The value of a Prometheus metric, summed over its label sets; 0 when it isn't there (yet).
pub fn metric(text: &str, name: &str) -> f64 {
    let samples = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        (rest.starts_with(['{', ' '])).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    });
    samples.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_status_and_a_body() {
        assert_eq!(parse("HTTP/1.0 200 OK\r\nA: b\r\n\r\nready\n"), Some((200, "ready\n".into())));
        assert_eq!(parse("garbage"), None);
    }

    #[test]
    fn an_answer_is_whole_when_it_is_as_long_as_it_says() {
        assert!(whole(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"));
        assert!(!whole(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na"));
        assert!(!whole(b"HTTP/1.0 200 OK\r\n\r\nwho knows"));
    }

    #[test]
    fn a_metric_is_summed_over_its_labels() {
        let text = "# TYPE held counter\nheld{role=\"a\"} 2\nheld{role=\"b\"} 3\nheld_total 7\n";
        assert_eq!(metric(text, "held"), 5.0);
        assert_eq!(metric(text, "held_total"), 7.0);
        assert_eq!(metric(text, "missing"), 0.0);
    }
}
