//! Which clients `CLIENT LIST` and `CLIENT KILL` are about. Kind: pure.

use super::{Outcome, integer, is, lossy, syntax};
use crate::session::registry::{Doing, Guest};

/// Conditions, all of which must hold.
#[derive(Debug, Default)]
pub(super) struct Filter {
    ids: Option<Vec<u64>>,
    addr: Option<String>,
    laddr: Option<String>,
    kind: Option<&'static str>,
    user: Option<Vec<u8>>,
    /// At least so many seconds old.
    max_age: Option<u64>,
    /// Not the one who asks.
    pub(super) skips_me: bool,
}

impl Filter {
    pub(super) fn by_addr(addr: &str) -> Self {
        Self { addr: Some(addr.into()), ..Self::default() }
    }

    pub(super) fn takes(&self, guest: &Guest, now: u64) -> bool {
        let age = now.saturating_sub(guest.since) / 1_000;
        fits(&self.ids, |ids| ids.contains(&guest.id))
            && fits(&self.addr, |addr| *addr == guest.addr.to_string())
            && fits(&self.laddr, |laddr| *laddr == guest.laddr.to_string())
            && fits(&self.kind, |kind| *kind == kind_of_guest(guest))
            && fits(&self.user, |user| *user == guest.card().user.as_deref().unwrap_or(b"default"))
            && fits(&self.max_age, |least| age >= *least)
    }
}

fn fits<T>(condition: &Option<T>, holds: impl FnOnce(&T) -> bool) -> bool {
    condition.as_ref().is_none_or(holds)
}

/// A monitor is a normal client to `CLIENT LIST TYPE` (src/networking.c, `getClientType`).
fn kind_of_guest(guest: &Guest) -> &'static str {
    if guest.doing() == Doing::Subscribed { "pubsub" } else { "normal" }
}

/// The type of this name (src/networking.c, `getClientTypeByName`); only two of the four come to a router.
fn kind_of(arg: &[u8]) -> Outcome<&'static str> {
    const NAMES: [(&str, &str); 5] = [
        ("normal", "normal"),
        ("slave", "replica"),
        ("replica", "replica"),
        ("pubsub", "pubsub"),
        ("master", "master"),
    ];
    let found = NAMES.into_iter().find(|(name, _)| is(arg, name)).map(|(_, kind)| kind);
    found.ok_or_else(|| format!("ERR Unknown client type '{}'", lossy(arg)))
}

/// The options of `CLIENT LIST` (src/networking.c, `clientCommand`).
pub(super) fn parse_list(options: &[&[u8]]) -> Outcome<Filter> {
    match options {
        [] => Ok(Filter::default()),
        [option, kind] if is(option, "type") => {
            Ok(Filter { kind: Some(kind_of(kind)?), ..Filter::default() })
        }
        [option, ids @ ..] if is(option, "id") && !ids.is_empty() => {
            let ids: Option<Vec<_>> = ids.iter().map(|id| integer(id)).collect();
            let ids = ids.ok_or("ERR Invalid client ID")?;
            // Below zero is nobody.
            let ids = ids.into_iter().filter_map(|id| u64::try_from(id).ok()).collect();
            Ok(Filter { ids: Some(ids), ..Filter::default() })
        }
        _ => syntax(),
    }
}

/// The options of `CLIENT KILL`, in its newer form.
pub(super) fn parse_kill(options: &[&[u8]]) -> Outcome<Filter> {
    let mut filter = Filter { skips_me: true, ..Filter::default() };
    for pair in options.chunks(2) {
        let [option, value] = pair else { return syntax() };
        match () {
            () if is(option, "id") => filter.ids = Some(vec![id(value)?]),
            () if is(option, "type") => filter.kind = Some(kind_of(value)?),
            () if is(option, "addr") => filter.addr = Some(lossy(value)),
            () if is(option, "laddr") => filter.laddr = Some(lossy(value)),
            () if is(option, "user") => filter.user = Some(value.to_vec()),
            () if is(option, "maxage") => filter.max_age = Some(age(value)?),
            () if is(option, "skipme") && is(value, "yes") => filter.skips_me = true,
            () if is(option, "skipme") && is(value, "no") => filter.skips_me = false,
            () => return syntax(),
        }
    }
    Ok(filter)
}

fn id(value: &[u8]) -> Outcome<u64> {
    let id = integer(value).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
    id.ok_or_else(|| "ERR client-id should be greater than 0".into())
}

fn age(value: &[u8]) -> Outcome<u64> {
    let age = integer(value).ok_or("ERR maxage is not an integer or out of range")?;
    let age = u64::try_from(age).ok().filter(|age| *age > 0);
    age.ok_or_else(|| "ERR maxage should be greater than 0".into())
}
