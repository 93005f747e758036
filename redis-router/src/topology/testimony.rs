//! Reads what a Sentinel answers. Kind: pure.

use proxy_core::net::Addr;

use super::discovery::address;
use super::observation::{Epoch, Loss};
use super::reply::Reply;

/// The `failover-state`s in which `GET-MASTER-ADDR-BY-NAME` names the promoted replica and `SENTINEL MASTER` still the
/// old master (`sentinelGetCurrentMasterAddress`).
const PROMOTED: [&str; 2] = ["reconf_slaves", "update_config"];

/// What a Sentinel says, in its own words for addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) master: Addr,
    pub(super) epoch: Epoch,
    pub(super) failover: Option<String>,
    pub(super) flags: String,
    pub(super) quorum: u32,
    pub(super) others: u32,
}

/// Why an answer is no statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// The two answers are from before and after a switch: ask again at once.
    Torn,
    /// The Sentinel does not know the master, or it lacks what we must know.
    Unusable(String),
}

/// Joins the answers to `SENTINEL GET-MASTER-ADDR-BY-NAME` and to `SENTINEL MASTER`.
pub(super) fn read(address_reply: &Reply, master_reply: &Reply) -> Result<Statement, Unread> {
    let master = named(address_reply)?;
    if let Some(error) = master_reply.error() {
        return Err(Unread::Unusable(format!("SENTINEL MASTER: {error}")));
    }
    let field = |name| master_reply.field(name);
    let number = |name| field(name).and_then(|text| text.parse().ok());
    let flags = field("flags").unwrap_or_default();
    let failing_over = flags.split(',').any(|flag| flag == "failover_in_progress");
    let failover = failing_over.then(|| field("failover-state").unwrap_or("unknown").to_owned());
    let configured = field("ip").zip(field("port")).and_then(|(host, port)| address(host, port));
    let promoted = failover.as_deref().is_some_and(|state| PROMOTED.contains(&state));
    if (configured.as_ref() == Some(&master)) == promoted {
        return Err(Unread::Torn);
    }
    let lacking = || Unread::Unusable("SENTINEL MASTER: no config-epoch".to_owned());
    let epoch = field("config-epoch").and_then(|text| text.parse().ok()).ok_or_else(lacking)?;
    let (quorum, others) = (number("quorum").unwrap_or(0), number("num-other-sentinels").unwrap_or(0));
    Ok(Statement { master, epoch, failover, flags: flags.to_owned(), quorum, others })
}

fn named(reply: &Reply) -> Result<Addr, Unread> {
    if let Some(error) = reply.error() {
        return Err(Unread::Unusable(format!("SENTINEL GET-MASTER-ADDR-BY-NAME: {error}")));
    }
    if reply.is_null() {
        return Err(Unread::Unusable("it monitors no master of this name".to_owned()));
    }
    let list = reply.list().unwrap_or_default();
    let pair = list.first().and_then(Reply::text).zip(list.get(1).and_then(Reply::text));
    let addr = pair.and_then(|(host, port)| address(host, port));
    addr.ok_or_else(|| Unread::Unusable("it names no address".to_owned()))
}

impl Unread {
    /// What it means for the judge.
    pub(super) fn loss(&self) -> Loss {
        Loss::Unusable
    }

    /// The cause in words.
    pub(super) fn words(&self) -> &str {
        match self {
            Self::Torn => "its two answers contradict each other",
            Self::Unusable(words) => words,
        }
    }
}

/// Another Sentinel that one knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) addr: Addr,
    pub(super) run_id: String,
}

/// The addresses in the answer to `SENTINEL REPLICAS`.
pub(super) fn replicas(reply: &Reply) -> Vec<Addr> {
    let entries = reply.list().unwrap_or_default();
    entries.iter().filter_map(entry_address).collect()
}

/// The others in the answer to `SENTINEL SENTINELS`.
pub(super) fn peers(reply: &Reply) -> Vec<Peer> {
    let peer = |entry: &Reply| {
        let run_id = entry.field("runid").unwrap_or_default().to_owned();
        Some(Peer { addr: entry_address(entry)?, run_id })
    };
    reply.list().unwrap_or_default().iter().filter_map(peer).collect()
}

fn entry_address(entry: &Reply) -> Option<Addr> {
    address(entry.field("ip")?, entry.field("port")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::reply::{decode_reply, put_command};

    /// A list of strings as a reply; a request looks the same on the wire.
    fn list(words: &[&str]) -> Reply {
        let mut bytes = Vec::new();
        put_command(&mut bytes, words);
        decode_reply(&bytes).unwrap().unwrap().0
    }

    fn master(port: &str, epoch: &str, state: Option<&str>) -> Reply {
        let flags = if state.is_some() { "master,failover_in_progress" } else { "master" };
        let mut words =
            vec!["name", "m", "ip", "10.0.0.1", "port", port, "flags", flags, "config-epoch", epoch];
        words.extend(state.iter().flat_map(|state| ["failover-state", state]));
        words.extend(["num-other-sentinels", "2", "quorum", "2"]);
        list(&words)
    }

    #[track_caller]
    fn check(named: &str, master: &Reply, expected: Result<(&str, Epoch), Unread>) {
        let read = read(&list(&["10.0.0.1", named]), master);
        let expected = expected.map(|(addr, epoch)| (addr.parse().unwrap(), epoch));
        assert_eq!(read.map(|statement| (statement.master, statement.epoch)), expected);
    }

    #[test]
    fn the_address_is_of_the_one_answer_and_the_epoch_of_the_other() {
        check("1", &master("1", "4", None), Ok(("10.0.0.1:1", 4)));
        check("1", &master("1", "4", Some("wait_promotion")), Ok(("10.0.0.1:1", 4)));
    }

    #[test]
    fn the_leader_names_the_promoted_one_while_its_own_entry_lags() {
        check("2", &master("1", "5", Some("reconf_slaves")), Ok(("10.0.0.1:2", 5)));
        check("2", &master("1", "5", Some("update_config")), Ok(("10.0.0.1:2", 5)));
    }

    #[test]
    fn answers_from_before_and_after_a_switch_are_torn() {
        check("1", &master("2", "5", None), Err(Unread::Torn));
        check("1", &master("1", "5", Some("reconf_slaves")), Err(Unread::Torn));
        check("2", &master("1", "4", Some("wait_promotion")), Err(Unread::Torn));
    }

    #[track_caller]
    fn refuse(named: &[u8], words: &str) {
        let named = decode_reply(named).unwrap().unwrap().0;
        let unread = read(&named, &master("1", "4", None)).unwrap_err();
        assert!(unread.words().contains(words), "{unread:?}");
    }

    #[test]
    fn what_is_no_statement_says_why() {
        refuse(b"*-1\r\n", "monitors no master");
        refuse(b"-NOAUTH Authentication required.\r\n", "NOAUTH");
        refuse(b"*1\r\n$1\r\na\r\n", "names no address");
        let no_epoch = list(&["ip", "10.0.0.1", "port", "1", "flags", "master"]);
        let unread = read(&list(&["10.0.0.1", "1"]), &no_epoch).unwrap_err();
        assert!(unread.words().contains("config-epoch"));
    }

    #[test]
    fn replicas_and_sentinels_are_listed_and_nonsense_is_left_out() {
        let mut bytes = b"*3\r\n".to_vec();
        put_command(&mut bytes, &["ip", "10.0.0.2", "port", "6379", "runid", "aa"]);
        put_command(&mut bytes, &["ip", "bad host", "port", "6379"]);
        put_command(&mut bytes, &["ip", "::3", "port", "6379", "runid", "bb"]);
        let reply = decode_reply(&bytes).unwrap().unwrap().0;
        let texts = |addrs: Vec<Addr>| addrs.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts(replicas(&reply)), ["10.0.0.2:6379", "[::3]:6379"]);
        let run_ids: Vec<_> = peers(&reply).into_iter().map(|peer| peer.run_id).collect();
        assert_eq!(run_ids, ["aa", "bb"]);
    }
}
