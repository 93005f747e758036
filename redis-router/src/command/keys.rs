//! Where a command's keys stand. Kind: pure.

use super::{Command, FirstKey};
use crate::wire::Args;

/// The first key among the arguments, the command's name first; none if it has none, or if they are not what the
/// command takes.
pub fn first_key<'a>(command: &Command, mut args: Args<'a>) -> Option<&'a [u8]> {
    match command.key {
        FirstKey::Nowhere => None,
        FirstKey::At(at) => args.nth(at.into()),
        FirstKey::Counted(at) => {
            let count = args.nth(at.into())?;
            let positive = count.iter().all(u8::is_ascii_digit) && count.iter().any(|digit| *digit != b'0');
            args.next().filter(|_| positive)
        }
        FirstKey::After(word) => {
            args.find(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))?;
            args.next()
        }
    }
}
