//! `CLIENT`, as far as it is about clients of the router. Kind: pure.

use super::filter::{Filter, parse_kill, parse_list};
use super::line::{put_line, put_verbatim};
use super::{Effect, Outcome, arity, integer, is, lossy, ok, syntax};
use crate::command::Verb;
use crate::session::profile::Profile;
use crate::session::registry::{Doing, Registry, Summons};
use crate::wire::build::{put_bulk, put_integer, put_null};

pub(super) fn answer(
    verb: Verb,
    args: &[&[u8]],
    profile: &mut Profile,
    registry: &Registry,
    now: u64,
    out: &mut Vec<u8>,
) -> Outcome {
    match verb {
        Verb::ClientId => arity(args, 2, "client|id").map(|()| put_id(profile.id(), out)),
        Verb::ClientGetName => arity(args, 2, "client|getname").map(|()| put_name(profile, out)),
        Verb::ClientSetName => set_name(args, profile).map(|()| ok(out)),
        Verb::ClientSetInfo => set_info(args, profile).map(|()| ok(out)),
        Verb::ClientInfo => arity(args, 2, "client|info").map(|()| put_info(profile, now, out)),
        Verb::ClientList => list(args, profile, registry, now, out),
        Verb::ClientKill => kill(args, profile, registry, now, out),
        Verb::ClientUnblock => unblock(args, profile, registry, out),
        Verb::ClientReply => reply(args, out),
        _ => unknown(args),
    }
}

/// What Redis answers to a subcommand that it doesn't have.
fn unknown(args: &[&[u8]]) -> Outcome {
    let sub = args.get(1).map(|sub| lossy(&sub[..sub.len().min(128)])).unwrap_or_default();
    Err(format!("ERR unknown subcommand '{sub}'. Try CLIENT HELP."))
}

fn put_id(id: u64, out: &mut Vec<u8>) -> Effect {
    put_integer(out, i64::try_from(id).unwrap_or(i64::MAX));
    Effect::Answered
}

fn put_name(profile: &Profile, out: &mut Vec<u8>) -> Effect {
    match &*profile.card.name {
        b"" => put_null(out, profile.card.resp),
        name => put_bulk(out, name),
    }
    Effect::Answered
}

fn put_info(profile: &Profile, now: u64, out: &mut Vec<u8>) -> Effect {
    let mut line = Vec::new();
    put_line(&mut line, profile.guest(), Some(profile), now);
    put_verbatim(out, &line, profile.card.resp);
    Effect::Answered
}

fn set_name(args: &[&[u8]], profile: &mut Profile) -> Outcome<()> {
    arity(args, 3, "client|setname")?;
    check_name(args[2])?;
    profile.card.name = args[2].into();
    profile.show();
    Ok(())
}

/// A name must leave the lines of `CLIENT LIST` readable (src/networking.c, `validateClientAttr`).
pub(super) fn check_name(name: &[u8]) -> Outcome<()> {
    if name.iter().all(u8::is_ascii_graphic) {
        return Ok(());
    }
    Err("ERR Client names cannot contain spaces, newlines or special characters.".into())
}

fn set_info(args: &[&[u8]], profile: &mut Profile) -> Outcome<()> {
    arity(args, 4, "client|setinfo")?;
    let (option, value) = (args[2], args[3]);
    let slot = match () {
        () if is(option, "lib-name") => &mut profile.card.lib_name,
        () if is(option, "lib-ver") => &mut profile.card.lib_ver,
        () => return Err(format!("ERR Unrecognized option '{}'", lossy(option))),
    };
    if !value.iter().all(u8::is_ascii_graphic) {
        let option = lossy(option).to_ascii_lowercase();
        return Err(format!("ERR {option} cannot contain spaces, newlines or special characters."));
    }
    *slot = value.into();
    profile.show();
    Ok(())
}

/// Which replies a client wants is kept where its replies are told apart (`session/pinned.rs`); here is the form, and that
/// only `ON` is answered.
fn reply(args: &[&[u8]], out: &mut Vec<u8>) -> Outcome {
    arity(args, 3, "client|reply")?;
    match args[2] {
        mode if is(mode, "on") => Ok(ok(out)),
        mode if is(mode, "off") || is(mode, "skip") => Ok(Effect::Answered),
        _ => syntax(),
    }
}

fn list(args: &[&[u8]], profile: &Profile, registry: &Registry, now: u64, out: &mut Vec<u8>) -> Outcome {
    let filter = parse_list(&args[2..])?;
    let mut lines = Vec::new();
    for guest in registry.all(profile.guest().realm()) {
        if filter.takes(&guest, now) {
            let me = (guest.id == profile.id()).then_some(profile);
            put_line(&mut lines, &guest, me, now);
        }
    }
    put_verbatim(out, &lines, profile.card.resp);
    Ok(Effect::Answered)
}

/// Both forms: by address, answered with `+OK` or an error, and by filters, answered with how many.
fn kill(args: &[&[u8]], profile: &Profile, registry: &Registry, now: u64, out: &mut Vec<u8>) -> Outcome {
    arity(args, -3, "client|kill")?;
    let filter = match args {
        [_, _, addr] => Filter::by_addr(&lossy(addr)),
        _ => parse_kill(&args[2..])?,
    };
    let mut killed = 0;
    let mut suicide = false;
    for guest in registry.all(profile.guest().realm()) {
        let me = guest.id == profile.id();
        if !filter.takes(&guest, now) || (me && filter.skips_me) {
            continue;
        }
        killed += 1;
        suicide |= me;
        if !me {
            guest.summon(Summons::Kill);
        }
    }
    match args.len() {
        3 if killed == 0 => return Err("ERR No such client".into()),
        3 => drop(ok(out)),
        _ => put_integer(out, killed),
    }
    Ok(if suicide { Effect::Killed } else { Effect::Answered })
}

fn unblock(args: &[&[u8]], profile: &Profile, registry: &Registry, out: &mut Vec<u8>) -> Outcome {
    arity(args, -3, "client|unblock")?;
    let summons = match args {
        [_, _, _] => Summons::Timeout,
        [_, _, _, reason] if is(reason, "timeout") => Summons::Timeout,
        [_, _, _, reason] if is(reason, "error") => Summons::Error,
        [_, _, _, _] => return Err("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR".into()),
        _ => {
            let sub = lossy(args[1]);
            return Err(format!(
                "ERR unknown subcommand or wrong number of arguments for '{sub}'. Try CLIENT HELP."
            ));
        }
    };
    let id = integer(args[2]).ok_or("ERR value is not an integer or out of range")?;
    let guest = u64::try_from(id).ok().and_then(|id| registry.find(id, profile.guest().realm()));
    let blocked = guest.filter(|guest| guest.doing() == Doing::Blocked);
    if let Some(guest) = &blocked {
        guest.summon(summons);
    }
    put_integer(out, i64::from(blocked.is_some()));
    Ok(Effect::Answered)
}
