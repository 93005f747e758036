//! From a name to its command, by a hash table that is laid out while the program is compiled. Kind: pure.
//!
//! Names are compared without regard to case, as Redis does. A subcommand is found by its full name, `client|kill`,
//! which no client can send as a command's name: only a container's second word leads there.

use super::newer::NEWER;
use super::row::{Row, row};
use super::table::SERVER;
use super::{Command, CommandId, FirstKey, Group, row, rules};

/// All commands that we know.
pub(super) const COUNT: usize = SERVER.len() + NEWER.len();

/// At least twice as many as commands, so that a name is at its place or near it.
const PLACES: usize = (COUNT * 2).next_power_of_two();

/// No name is longer.
const LONGEST: usize = 32;

/// An empty place; no command has this number.
const EMPTY: u16 = u16::MAX;

/// What an unknown name leads to.
pub(super) static UNKNOWN: Command = command(
    CommandId::UNKNOWN.0,
    &row("unknown", -1, row::NONE, Group::Generic, (0, 0, 0), FirstKey::Nowhere),
    true,
);

/// The commands, numbered by their place.
pub(super) static COMMANDS: [Command; COUNT] = commands();

static INDEX: [u16; PLACES] = index();

/// The command of this name, or the subcommand of it.
#[inline]
pub(super) fn lookup(name: &[u8], subcommand: Option<&[u8]>) -> Option<&'static Command> {
    if name.len() + subcommand.map_or(0, <[u8]>::len) >= LONGEST {
        return None;
    }
    let mut hash = fold(0, name);
    if let Some(subcommand) = subcommand {
        hash = fold(fold(hash, b"|"), subcommand);
    }
    let mut place = place(hash);
    loop {
        let found = COMMANDS.get(usize::from(INDEX[place]))?;
        if is_called(found, name, subcommand) {
            return Some(found);
        }
        place = (place + 1) % PLACES;
    }
}

#[inline(always)]
fn is_called(command: &Command, name: &[u8], subcommand: Option<&[u8]>) -> bool {
    let known = command.name.as_bytes();
    match subcommand {
        None => known.eq_ignore_ascii_case(name) && !command.subcommand,
        Some(subcommand) => known.split_at_checked(name.len()).is_some_and(|(container, rest)| {
            container.eq_ignore_ascii_case(name)
                && rest
                    .split_first()
                    .is_some_and(|(bar, rest)| *bar == b'|' && rest.eq_ignore_ascii_case(subcommand))
        }),
    }
}

/// Takes the bytes in, letters of either case alike.
#[inline(always)]
const fn fold(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut at = 0;
    while at < bytes.len() {
        hash = hash.rotate_left(8) ^ (bytes[at] | 0x20) as u64;
        at += 1;
    }
    hash
}

#[inline(always)]
const fn place(hash: u64) -> usize {
    // Fibonacci hashing: the upper bits of the product depend on all bits of the hash.
    (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - PLACES.trailing_zeros())) as usize
}

const fn index() -> [u16; PLACES] {
    let mut index = [EMPTY; PLACES];
    let mut id = 0;
    while id < COUNT {
        let mut place = place(fold(0, row_at(id).name.as_bytes()));
        while index[place] != EMPTY {
            place = (place + 1) % PLACES;
        }
        index[place] = id as u16;
        id += 1;
    }
    index
}

const fn commands() -> [Command; COUNT] {
    let mut commands = [UNKNOWN_COMMAND; COUNT];
    let mut id = 0;
    while id < COUNT {
        let row = row_at(id);
        commands[id] = command(id as u16, &row, is_container(id));
        id += 1;
    }
    commands
}

const UNKNOWN_COMMAND: Command = UNKNOWN;

const fn row_at(id: usize) -> Row {
    if id < SERVER.len() { SERVER[id] } else { NEWER[id - SERVER.len()] }
}

/// Whether its subcommands follow it, as they do in the server's table, which is sorted.
const fn is_container(id: usize) -> bool {
    let container = row_at(id).name;
    let next = if id + 1 < COUNT { row_at(id + 1).name } else { "" };
    bar(next) < next.len() && bar(next) == container.len() && rules::starts_with(next, container)
}

const fn command(id: u16, row: &Row, container: bool) -> Command {
    let rule = rules::rule(row.name, row.flags, row.group, container);
    Command {
        id: CommandId(id),
        name: row.name,
        arity: row.arity,
        flags: row.flags,
        group: row.group,
        first_key: row.keys.0,
        last_key: row.keys.1,
        step: row.keys.2,
        container,
        subcommand: bar(row.name) < row.name.len(),
        class: rules::class(row.flags, row.group, rule),
        script: rules::script(row.name),
        bulky: rules::bulky(row.name),
        replayable: rules::replayable(row.name, row.flags),
        may_write: rules::may_write(row.name, row.flags),
        key: row.first_key,
        rule,
    }
}

/// Where the container's name ends; the name's length for one that is no subcommand.
const fn bar(name: &str) -> usize {
    let name = name.as_bytes();
    let mut at = 0;
    while at < name.len() && name[at] != b'|' {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_name_in_either_case() {
        for command in &COMMANDS {
            let upper = command.name.to_ascii_uppercase();
            let (name, subcommand) = match upper.split_once('|') {
                Some((name, subcommand)) => (name, Some(subcommand.as_bytes())),
                None => (upper.as_str(), None),
            };
            let found = lookup(name.as_bytes(), subcommand).unwrap();
            assert_eq!((found.id, found.name), (command.id, command.name));
        }
    }

    #[test]
    fn every_subcommand_has_its_container() {
        for (container, _) in COMMANDS.iter().filter_map(|command| command.name.split_once('|')) {
            assert!(lookup(container.as_bytes(), None).unwrap().container, "{container}");
        }
    }

    #[test]
    fn names_are_near_their_places() {
        let steps = |id: usize| {
            let at = INDEX.iter().position(|there| usize::from(*there) == id).unwrap();
            (at + PLACES - place(fold(0, COMMANDS[id].name.as_bytes()))) % PLACES
        };
        let all: usize = (0..COUNT).map(steps).sum();
        assert!(all < COUNT / 2, "{all} steps for {COUNT} names");
        assert!(steps(usize::from(lookup(b"get", None).unwrap().id.0)) == 0);
    }
}
