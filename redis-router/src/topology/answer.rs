//! Reads what a Redis node answers to `ROLE` and `INFO`. Kind: pure.

use std::time::Duration;

use super::observation::{Moment, Observation, Role};
use super::reply::{Reply, info_field};

/// A replica acknowledges once a second (`replicationCron`); one that was silent for longer than this many seconds may be
/// behind a partition, and counts for nothing.
const SILENT: u64 = 3;

/// What `INFO replication` says of a node; none if it is no such text.
pub(crate) fn read(info: &str, run_id: &str, at: Moment) -> Option<Observation> {
    let field = |name| info_field(info, name);
    let number = |name| field(name).and_then(|text| text.parse::<u64>().ok());
    let role = match field("role")? {
        "master" => Role::Master { followers: followers(info) },
        "slave" | "replica" => Role::Replica {
            of: format!("{}:{}", field("master_host")?, field("master_port")?),
            linked: field("master_link_status") == Some("up"),
        },
        _ => return None,
    };
    let offset = match role {
        Role::Master { .. } => number("master_repl_offset"),
        Role::Replica { .. } => number("slave_repl_offset").or_else(|| number("master_repl_offset")),
    };
    let text = |name| field(name).unwrap_or_default().to_owned();
    Some(Observation {
        at,
        role,
        offset: offset.unwrap_or(0),
        replid: text("master_replid"),
        replid2: text("master_replid2"),
        run_id: run_id.to_owned(),
        lag: Duration::ZERO,
    })
}

/// Replicas that are online and were heard from lately: `slave0:ip=…,port=…,state=online,offset=…,lag=1`.
fn followers(info: &str) -> u32 {
    let entries = info.lines().filter(|line| line.starts_with("slave") && line.contains("state=online"));
    let near = entries.filter(|line| {
        let lag = line.split(',').find_map(|part| part.trim().strip_prefix("lag="));
        lag.is_none_or(|lag| lag.parse::<u64>().is_ok_and(|lag| lag <= SILENT))
    });
    u32::try_from(near.count()).unwrap_or(u32::MAX)
}

/// The same by the answer to `ROLE` alone, which is quicker to ask; what it does not tell stays as it was.
pub(super) fn read_role(reply: &Reply, before: &Observation, at: Moment) -> Option<Observation> {
    let list = reply.list()?;
    let offset = |index: usize| list.get(index).and_then(Reply::integer).and_then(|n| u64::try_from(n).ok());
    match list.first()?.text()? {
        "master" => {
            let online = list.get(2).and_then(Reply::list).unwrap_or_default().len();
            let role = Role::Master { followers: u32::try_from(online).unwrap_or(u32::MAX) };
            Some(Observation { at, role, offset: offset(1).unwrap_or(0), ..unlike(before, true) })
        }
        "slave" => {
            let of = format!("{}:{}", list.get(1)?.text()?, list.get(2)?.integer()?);
            let role = Role::Replica { of, linked: list.get(3)?.text() == Some("connected") };
            Some(Observation { at, role, offset: offset(4).unwrap_or(0), ..unlike(before, false) })
        }
        _ => None,
    }
}

/// A node that has changed its role has another history too, which only `INFO` tells.
fn unlike(before: &Observation, is_master: bool) -> Observation {
    let mut next = before.clone();
    if before.is_master() != is_master {
        (next.replid, next.replid2) = (String::new(), String::new());
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::reply::decode_reply;

    const MASTER: &str = "# Replication\r\nrole:master\r\nconnected_slaves:3\r\n\
        slave0:ip=10.0.0.2,port=6379,state=online,offset=98,lag=0\r\n\
        slave1:ip=10.0.0.3,port=6379,state=online,offset=40,lag=9\r\n\
        slave2:ip=10.0.0.4,port=6379,state=send_bulk,offset=0,lag=0\r\n\
        master_replid:aa\r\nmaster_replid2:bb\r\nmaster_repl_offset:98\r\n";

    const REPLICA: &str = "# Replication\r\nrole:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\n\
        master_link_status:up\r\nslave_read_repl_offset:50\r\nslave_repl_offset:42\r\nmaster_replid:aa\r\n\
        master_replid2:0\r\nmaster_repl_offset:42\r\n";

    #[test]
    fn a_master_counts_the_replicas_that_it_hears() {
        let seen = read(MASTER, "run", Moment::ZERO).unwrap();
        assert_eq!((seen.followers(), seen.offset, seen.is_master()), (1, 98, true));
        assert_eq!((&*seen.replid, &*seen.replid2, &*seen.run_id), ("aa", "bb", "run"));
    }

    #[test]
    fn a_replica_tells_its_master_and_its_link() {
        let seen = read(REPLICA, "", Moment::ZERO).unwrap();
        assert_eq!(seen.role, Role::Replica { of: "10.0.0.1:6379".into(), linked: true });
        assert_eq!(seen.offset, 42);
        let down = read(&REPLICA.replace("status:up", "status:down"), "", Moment::ZERO).unwrap();
        assert_eq!(down.role, Role::Replica { of: "10.0.0.1:6379".into(), linked: false });
    }

    #[test]
    fn what_is_no_replication_section_is_nothing() {
        for text in ["", "# Replication\r\nrole:sentinel\r\n", "role:slave\r\nmaster_host:x\r\n"] {
            assert_eq!(read(text, "", Moment::ZERO), None, "{text:?}");
        }
    }

    #[track_caller]
    fn check_role(bytes: &[u8], before: &str, expected: Option<(Role, u64, &str)>) {
        let reply = decode_reply(bytes).unwrap().unwrap().0;
        let before = read(before, "run", Moment::ZERO).unwrap();
        let seen = read_role(&reply, &before, Moment::ZERO);
        assert_eq!(seen.as_ref().map(|seen| (seen.role.clone(), seen.offset, &*seen.replid)), expected);
    }

    #[test]
    fn a_role_alone_is_enough_to_see_a_promotion() {
        let master = b"*3\r\n$6\r\nmaster\r\n:99\r\n*1\r\n*3\r\n$1\r\na\r\n$1\r\n1\r\n$2\r\n98\r\n";
        check_role(master, REPLICA, Some((Role::Master { followers: 1 }, 99, "")));
        check_role(master, MASTER, Some((Role::Master { followers: 1 }, 99, "aa")));
        let replica = b"*5\r\n$5\r\nslave\r\n$1\r\nh\r\n:6379\r\n$9\r\nconnected\r\n:7\r\n";
        let role = Role::Replica { of: "h:6379".into(), linked: true };
        check_role(replica, REPLICA, Some((role, 7, "aa")));
        check_role(b"*1\r\n$8\r\nsentinel\r\n", REPLICA, None);
        check_role(b"-NOPERM no\r\n", REPLICA, None);
    }
}
