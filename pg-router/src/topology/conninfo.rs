//! The address out of a libpq connection string; nothing else of it is ever used (rule R10). Kind: pure.

use proxy_core::net::Addr;

/// PostgreSQL's port, where a connection string names none.
const DEFAULT_PORT: &str = "5432";

/// The address that a `keyword = value` string names, in the router's own form; none if it names no host or several.
///
/// `hostaddr` comes before `host`, as in libpq. repmgr takes keyword strings only, no URIs.
/// <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING>
pub(super) fn address(conninfo: &str) -> Option<String> {
    let pairs = pairs(conninfo)?;
    let value =
        |key: &str| pairs.iter().rev().find(|(k, v)| k == key && !v.is_empty()).map(|(_, v)| v.as_str());
    let host = value("hostaddr").or_else(|| value("host"))?;
    let port = value("port").unwrap_or(DEFAULT_PORT);
    let text = if host.starts_with('/') {
        format!("unix:{host}/.s.PGSQL.{port}")
    } else if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    text.parse::<Addr>().ok().map(|addr| addr.to_string())
}

/// The keywords and values of a connection string; none if it is malformed.
fn pairs(conninfo: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = conninfo.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let (value, after) = value(after.trim_start())?;
        pairs.push((key.trim_end().to_owned(), value));
        rest = after.trim_start();
    }
    Some(pairs)
}

/// One value, which may stand in single quotes and escape with backslashes, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut chars = text.char_indices().skip(usize::from(quoted));
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => value.push(chars.next()?.1),
            '\'' if quoted => return Some((value, &text[at + 1..])),
            char if char.is_whitespace() && !quoted => return Some((value, &text[at..])),
            char => value.push(char),
        }
    }
    (!quoted).then_some((value, ""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn host_and_port_are_found() {
        let cases = [
            ("host=127.0.0.1 port=5501 user=repmgr dbname=repmgr connect_timeout=2", Some("127.0.0.1:5501")),
            ("host=db1", Some("db1:5432")),
            ("host = 'db 1\\'s' port=1", None),
            ("port='5502'   host='db2'", Some("db2:5502")),
            ("host=db1 hostaddr=10.0.0.1", Some("10.0.0.1:5432")),
            ("host=::1 port=5", Some("[::1]:5")),
            ("host=/run/pg port=5501", Some("unix:/run/pg/.s.PGSQL.5501")),
            ("host=a,b port=1,2", None),
            ("user=x", None),
            ("host=a port=x", None),
            ("host='a", None),
            ("host", None),
            ("", None),
        ];
        for (conninfo, expected) in cases {
            assert_eq!(address(conninfo).as_deref(), expected, "{conninfo}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ -~é]{0,60}") {
            address(&text);
        }
    }
}
