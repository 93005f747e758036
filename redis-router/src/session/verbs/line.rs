//! A client's line in `CLIENT LIST`. Kind: pure.

use std::io::Write;

use crate::session::profile::Profile;
use crate::session::registry::Guest;
use crate::wire::Resp;
use crate::wire::build::put_bulk;

/// Appends the line of one client; of the one who asks more is known. The fields and their order are those of Redis 7.2
/// (src/networking.c, `catClientInfoString`); what a router doesn't have is 0 or -1.
pub(super) fn put_line(out: &mut Vec<u8>, guest: &Guest, me: Option<&Profile>, now: u64) {
    let card = guest.card();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let age = now.saturating_sub(guest.since) / 1_000;
    let redirection = me.map_or(-1, |me| me.redirection);
    let resp = if card.resp == Resp::V3 { 3 } else { 2 };
    let command = if me.is_some() { "client" } else { guest.doing().command() };
    let user = card.user.as_deref().map_or_else(|| "default".into(), text);
    let flags = char::from(guest.doing() as u8);
    // A vector takes whatever is written to it.
    let _ = writeln!(
        out,
        "id={} addr={} laddr={} fd=-1 name={} age={age} idle=0 flags={flags} db={} sub=0 psub=0 ssub=0 multi=-1 \
         watch=0 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r \
         cmd={command} user={user} redir={redirection} resp={resp} lib-name={} lib-ver={}",
        guest.id,
        guest.addr,
        guest.laddr,
        text(&card.name),
        card.db,
        text(&card.lib_name),
        text(&card.lib_ver),
    );
}

/// A text, which is a type of its own in RESP3.
pub(super) fn put_verbatim(out: &mut Vec<u8>, text: &[u8], resp: Resp) {
    if resp == Resp::V2 {
        return put_bulk(out, text);
    }
    out.extend_from_slice(format!("={}\r\ntxt:", text.len() + 4).as_bytes());
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}
