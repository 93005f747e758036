//! A GET of an admin endpoint: HTTP/1.0, so that the answer ends with the connection. Kind: driver.

use crate::{Context, Error, Result};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(2);

/// The status and the body at `path`.
pub fn get(addr: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE).context(addr)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {addr}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context(addr)?;
    parse(&answer).ok_or_else(|| Error::new(format!("{addr}{path} answered {answer:?}")))
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
    fn a_metric_is_summed_over_its_labels() {
        let text = "# TYPE held counter\nheld{role=\"a\"} 2\nheld{role=\"b\"} 3\nheld_total 7\n";
        assert_eq!(metric(text, "held"), 5.0);
        assert_eq!(metric(text, "held_total"), 7.0);
        assert_eq!(metric(text, "missing"), 0.0);
    }
}
