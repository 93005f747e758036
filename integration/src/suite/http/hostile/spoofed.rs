//! Fields by which a client would be somebody else. Kind: driver.

use crate::error::Result;

use super::super::raw::Raw;
use super::super::report::Part;
use super::super::stage::{Seen, Stage};

/// What is sent; none of it may reach the application as it is.
const LIES: &str = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n\
Forwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nX_Forwarded_Proto: https\r\nProxy: http://evil.example\r\n\
Remote-User: admin\r\nX-Accel-Redirect: /secret\r\nSCRIPT_NAME: /evil\r\nConnection: keep-alive, X-Secret-Hop\r\nX-Secret-Hop: 1\r\n\
Keep-Alive: timeout=5\r\nTE: trailers\r\nUpgrade: h2c\r\nProxy-Connection: close\r\nProxy-Authorization: Basic eA==\r\n";

pub(super) fn all(stage: &Stage, part: &mut Part) -> Result<()> {
    stage.application.seen()?;
    let request = format!("GET /who HTTP/1.1\r\nHost: shop.example\r\n{LIES}Accept-Language: de\r\n\r\n");
    let mut raw = Raw::connect(stage.router.addr())?;
    raw.send(request.as_bytes());
    let answer = raw.answer();
    let seen = stage.application.seen()?;
    let verdict = match (answer, seen.first()) {
        (Ok(Some(_)), Some(seen)) => judge(seen),
        (other, _) => Err(format!("{other:?}")),
    };
    part.judge("fields that lie", verdict);
    Ok(())
}

fn judge(seen: &Seen) -> std::result::Result<(), String> {
    let field = |name: &str| seen.fields.get(name).map(String::as_str);
    let expected = [
        ("host", Some("shop.example")),
        ("accept-language", Some("de")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-forwarded-proto", Some("http")),
        ("proxy", None),
        ("remote-user", None),
        ("x-accel-redirect", None),
        ("script-name", None),
        ("x-secret-hop", None),
        ("keep-alive", None),
        ("te", None),
        ("upgrade", None),
        ("proxy-connection", None),
        ("proxy-authorization", None),
    ];
    let wrong = expected.iter().filter(|(name, value)| field(name) != *value);
    let mut wrong: Vec<String> = wrong.map(|(name, _)| format!("{name}: {:?}", field(name))).collect();
    let lies = seen.fields.iter().filter(|(_, value)| value.contains("6.6.6.6") || value.contains("evil"));
    wrong.extend(lies.map(|(name, value)| format!("{name}: {value}")));
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ")) }
}
