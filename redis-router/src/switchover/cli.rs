//! `redis-router switchover MASTER`: asks a running router to switch over, and says what came of it. Kind: driver.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use super::LIMIT;

/// No answer of ours is longer.
const MAX_ANSWER: u64 = 64 * 1024;

/// Switches over to a replica, with nothing lost: writes are held, the replicas catch up, a Sentinel promotes one.
#[derive(Debug, Parser)]
#[command(name = "redis-router switchover", max_term_width = 100)]
struct Flags {
    /// The master, as the Sentinels call it
    master: String,
    /// The admin endpoint of the running router
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9121")]
    admin: String,
}

/// Runs the command; its words are those of the command line, the program's name included.
pub fn cli(words: impl IntoIterator<Item = String>) -> ExitCode {
    let flags = match Flags::try_parse_from(words) {
        Ok(flags) => flags,
        Err(error) => {
            let _ = error.print(); // to whom else
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match post(&flags.admin, &format!("/switchover?master={}", encoded(&flags.master))) {
        Ok((200, text)) => say(&mut io::stdout(), text.trim_end(), ExitCode::SUCCESS),
        Ok((_, text)) => say(&mut io::stderr(), text.trim_end(), ExitCode::FAILURE),
        Err(error) => say(&mut io::stderr(), &format!("{}: {error}", flags.admin), ExitCode::FAILURE),
    }
}

fn say(out: &mut impl Write, text: &str, code: ExitCode) -> ExitCode {
    let _ = writeln!(out, "{text}"); // a closed pipe changes nothing about what was done
    code
}

/// One request to the admin endpoint; the status and the text of its answer.
fn post(admin: &str, target: &str) -> io::Result<(u16, String)> {
    let authority = admin.strip_prefix("http://").unwrap_or(admin).trim_end_matches('/');
    let addr = authority.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(LIMIT + Duration::from_secs(5)))?;
    let request = format!(
        "POST {target} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
    read(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it does not speak HTTP"))
}

fn read(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// Percent-encoded, but for what needs none (RFC 3986 section 2.3).
fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes()
        .map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_encoded_as_a_query_wants_it() {
        assert_eq!(encoded("my-master_1.x"), "my-master_1.x");
        assert_eq!(encoded("a b&c=ü"), "a%20b%26c%3D%C3%BC");
    }

    #[test]
    fn an_answer_is_a_status_and_a_text() {
        let answer = "HTTP/1.1 409 Conflict\r\nContent-Length: 3\r\n\r\nno\n";
        assert_eq!(read(answer), Some((409, "no\n".to_owned())));
        assert_eq!(read("-ERR unknown command\r\n"), None);
    }
}
