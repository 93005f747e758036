//! How a line looks. Kind: pure.
//!
//! Whatever a client sends, a line stays one line, and a quote ends no text: control bytes, quotes, backslashes and what
//! is beyond ASCII are written as `\xHH`, as NGINX does; in JSON as JSON does.

use std::io::Write;

use crate::config::Format;
use crate::wire::date;

use super::entry::Entry;

const HEX: &[u8; 16] = b"0123456789ABCDEF";
const MILLION: u64 = 1_000_000;

/// Writes the line of an entry. Without `query`, what stands between a `?` and the version is left out.
pub(super) fn write(out: &mut Vec<u8>, entry: &Entry<'_>, format: Format, query: bool) {
    let cut: Vec<u8>;
    let mut entry = *entry;
    if !query && let Some(mark) = memchr::memchr(b'?', entry.line) {
        let version = memchr::memrchr(b' ', entry.line).filter(|at| *at > mark).unwrap_or(entry.line.len());
        cut = [&entry.line[..mark], &entry.line[version..]].concat();
        entry.line = &cut;
    }
    if !query && let Some(mark) = memchr::memchr(b'?', entry.referer) {
        entry.referer = &entry.referer[..mark];
    }
    match format {
        Format::Combined => combined(out, &entry),
        Format::Json => json(out, &entry),
        Format::Privacy => privacy(out, &entry),
    }
    out.push(b'\n');
}

/// `$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"`
fn combined(out: &mut Vec<u8>, entry: &Entry<'_>) {
    put(out, format_args!("{} - - ", entry.client));
    put_time(out, entry);
    put_request(out, entry);
    for text in [entry.referer, entry.agent] {
        out.push(b' ');
        put_quoted(out, text);
    }
}

/// `[$time_local] $host "$request" $status $body_bytes_sent`: Pretix' own, without an address.
fn privacy(out: &mut Vec<u8>, entry: &Entry<'_>) {
    put_time(out, entry);
    put_plain(out, entry.host);
    out.push(b' ');
    put_request(out, entry);
}

fn put_request(out: &mut Vec<u8>, entry: &Entry<'_>) {
    put_quoted(out, entry.line);
    put(out, format_args!(" {} {}", entry.status, entry.sent));
}

/// `[06/Nov/1994:08:49:37 +0000] `, in UTC as all our times are.
fn put_time(out: &mut Vec<u8>, entry: &Entry<'_>) {
    let text = date::format(entry.at / MILLION);
    out.push(b'[');
    for (part, end) in
        [(&text[5..7], b'/'), (&text[8..11], b'/'), (&text[12..16], b':'), (&text[17..25], b' ')]
    {
        out.extend_from_slice(part);
        out.push(end);
    }
    out.extend_from_slice(b"+0000] ");
}

fn put_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    put_plain(out, text);
    out.push(b'"');
}

/// Escaped; a hyphen where there is nothing.
fn put_plain(out: &mut Vec<u8>, text: &[u8]) {
    if text.is_empty() {
        out.push(b'-');
    }
    for byte in text {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => {
                out.extend_from_slice(&[
                    b'\\',
                    b'x',
                    HEX[usize::from(byte >> 4)],
                    HEX[usize::from(byte & 15)],
                ]);
            }
            plain => out.push(*plain),
        }
    }
}

fn json(out: &mut Vec<u8>, entry: &Entry<'_>) {
    put(out, format_args!("{{\"time\":\"{}\"", Iso(entry.at)));
    let texts: [(&str, &[u8]); 6] = [
        ("host", entry.host),
        ("request", entry.line),
        ("upstream", entry.upstream),
        ("request_id", entry.id),
        ("referer", entry.referer),
        ("user_agent", entry.agent),
    ];
    put(out, format_args!(",\"client\":\"{}\",\"https\":{}", entry.client, entry.https));
    put(
        out,
        format_args!(",\"status\":{},\"sent\":{},\"received\":{}", entry.status, entry.sent, entry.received),
    );
    put(out, format_args!(",\"class\":{},\"outcome\":\"{}\"", Json(entry.class.as_bytes()), entry.outcome));
    for (name, micros) in [
        ("seconds", entry.times.total),
        ("queue_seconds", entry.times.queued),
        ("upstream_seconds", entry.times.upstream),
    ] {
        put(out, format_args!(",\"{name}\":{}.{:06}", micros / MILLION, micros % MILLION));
    }
    for (name, text) in texts.iter().filter(|(_, text)| !text.is_empty()) {
        put(out, format_args!(",\"{name}\":{}", Json(text)));
    }
    out.push(b'}');
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes all that is written");
}

/// A text as JSON has it; what is no UTF-8 becomes U+FFFD.
struct Json<'a>(&'a [u8]);

impl std::fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = String::from_utf8_lossy(self.0);
        f.write_str(&serde_json::to_string(&text).unwrap_or_else(|_| "null".to_owned()))
    }
}

/// Microseconds since 1970 as RFC 3339 writes them.
struct Iso(u64);

impl std::fmt::Display for Iso {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let text = date::format(self.0 / MILLION);
        let month = MONTHS.chunks_exact(3).position(|month| *month == text[8..11]).unwrap_or(0) + 1;
        let part = |from: usize, to: usize| std::str::from_utf8(&text[from..to]).unwrap_or_default();
        let millis = self.0 % MILLION / 1000;
        write!(f, "{}-{month:02}-{}T{}.{millis:03}Z", part(12, 16), part(5, 7), part(17, 25))
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::usual;
    use super::*;

    #[track_caller]
    fn check(entry: &Entry<'_>, format: Format, query: bool, expected: &str) {
        let mut out = Vec::new();
        write(&mut out, entry, format, query);
        assert_eq!(String::from_utf8(out).unwrap(), format!("{expected}\n"));
    }

    #[test]
    fn combined_is_that_of_apache() {
        check(
            &usual(),
            Format::Combined,
            true,
            r#"192.0.2.1 - - [06/Nov/1994:08:49:37 +0000] "GET /demo/?q=secret HTTP/1.1" 200 1234 "https://example.org/?q=hidden" "Mozilla/5.0 \x22x\x22""#,
        );
    }

    #[test]
    fn privacy_tells_no_address() {
        check(
            &usual(),
            Format::Privacy,
            true,
            r#"[06/Nov/1994:08:49:37 +0000] shop.example.org "GET /demo/?q=secret HTTP/1.1" 200 1234"#,
        );
    }

    #[test]
    fn queries_can_be_left_out() {
        let line = r#"[06/Nov/1994:08:49:37 +0000] shop.example.org "GET /demo/ HTTP/1.1" 200 1234"#;
        check(&usual(), Format::Privacy, false, line);
        let mut out = Vec::new();
        for format in [Format::Combined, Format::Json] {
            write(&mut out, &usual(), format, false);
        }
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains("secret") && !text.contains("hidden"), "{text}");
    }

    #[test]
    fn json_is_json() {
        let mut out = Vec::new();
        let odd = Entry { agent: b"\xff\"\n\\", referer: b"", ..usual() };
        write(&mut out, &odd, Format::Json, true);
        let object: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(object["time"], "1994-11-06T08:49:37.123Z");
        assert_eq!(object["user_agent"], "\u{fffd}\"\n\\");
        assert_eq!(object["queue_seconds"], 0.0015);
        assert_eq!(object["class"], "session");
        assert_eq!(object.get("referer"), None);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
    }

    #[test]
    fn a_line_stays_one_line() {
        let evil = Entry {
            line: b"GET /\r\n1.2.3.4 - \x1b[2J\" 200",
            host: b"",
            agent: b"",
            referer: b"",
            ..usual()
        };
        let line = r#"[06/Nov/1994:08:49:37 +0000] - "GET /\x0D\x0A1.2.3.4 - \x1B[2J\x22 200" 200 1234"#;
        check(&evil, Format::Privacy, true, line);
    }
}
