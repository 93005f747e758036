//! What the monitor asks a node, and how the answer is read. Kind: pure.
//!
//! All that the judge needs comes in one round trip, so that it belongs to one moment. Every name is qualified: the
//! monitor's session must not be led by a `search_path`.

use std::time::Duration;

use super::conninfo;
use super::observation::{Moment, Observation, Receiver, RepmgrKind, RepmgrRow, RepmgrView, Timeline};

/// The part of the question that every node can answer.
///
/// A primary's timeline is in the name of its current WAL file; `pg_control_checkpoint()` shows the former one until the
/// first checkpoint after a promotion has ended, and on a standby the one of the last restart point.
macro_rules! node_facts {
    () => {
        concat!(
            "SELECT r.r,",
            " pg_catalog.current_setting('transaction_read_only'),",
            " (SELECT c.system_identifier FROM pg_catalog.pg_control_system() c),",
            " CASE WHEN r.r THEN NULL ELSE pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) END,",
            " pg_catalog.pg_wal_lsn_diff(CASE WHEN r.r THEN pg_catalog.pg_last_wal_replay_lsn()",
            " ELSE pg_catalog.pg_current_wal_lsn() END, '0/0'),",
            " CASE WHEN r.r THEN pg_catalog.pg_is_wal_replay_paused() END,",
            " CASE WHEN r.r AND pg_catalog.pg_last_wal_receive_lsn() OPERATOR(pg_catalog.<>)",
            " pg_catalog.pg_last_wal_replay_lsn() THEN pg_catalog.date_part('epoch',",
            " pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.pg_last_xact_replay_timestamp()) END,",
            " (SELECT c.timeline_id FROM pg_catalog.pg_control_checkpoint() c),",
            " w.status, w.received_tli, pg_catalog.concat(w.sender_host, ':', w.sender_port),",
            " (SELECT pg_catalog.string_agg(p.application_name, E'\\n')",
            " FROM pg_catalog.pg_stat_replication p WHERE p.state OPERATOR(pg_catalog.=) 'streaming'),",
            " w.pid",
            " FROM (SELECT pg_catalog.pg_is_in_recovery() AS r) r",
            " LEFT JOIN pg_catalog.pg_stat_wal_receiver w ON true"
        )
    };
}
/// The small question: whether the node is still in recovery. One column, `t` or `f`.
pub const IN_RECOVERY: &str = "SELECT pg_catalog.pg_is_in_recovery()";

/// The whole question, for a node with repmgr's tables: one row for each of `repmgr.nodes`.
pub const WITH_REPMGR: &str = concat!(
    "SELECT s.*, repmgr.get_local_node_id(),",
    " (SELECT pg_catalog.max(v.term) FROM repmgr.voting_term v),",
    " n.node_id, n.node_name, n.type, n.active, n.conninfo FROM (",
    node_facts!(),
    ") s LEFT JOIN repmgr.nodes n ON true"
);

/// The whole question, for a node without them: one row.
pub const WITHOUT_REPMGR: &str = node_facts!();

/// How many columns describe the node; what follows is repmgr's.
const FACTS: usize = 13;

/// What an answer holds beside the observation.
#[derive(Debug, PartialEq)]
pub struct Answer {
    /// What was seen.
    pub observation: Observation,
    /// Whether columns were hidden from the monitor's user, for lack of `pg_monitor`.
    pub blinkered: bool,
}

/// An answer that can't be read, with the name of the column that is to blame.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the monitor query's column {0:?} can't be read")]
pub struct Unreadable(&'static str);

/// A row of the answer: a text or NULL for each column.
type Row = Vec<Option<String>>;

/// Reads the answer to the whole question, asked of the node at `address`.
pub fn read(rows: &[Row], address: &str, now: Moment) -> Result<Answer, Unreadable> {
    let row = rows.first().ok_or(Unreadable("row"))?;
    let in_recovery = boolean(row, 0, "in_recovery")?;
    let repmgr = (row.len() > FACTS).then(|| view(rows)).transpose()?;
    let node_id = repmgr.as_ref().and_then(|view| own_id(row, view, address));
    let receiver = receiver(row);
    let observation = Observation {
        at: now,
        system_identifier: number(row, 2, "system_identifier")?,
        in_recovery,
        read_only: !in_recovery && text(row, 1) == Some("on"),
        timeline: timeline(row, in_recovery),
        lsn: optional(row, 4).unwrap_or(0),
        receiver,
        replay_paused: text(row, 5) == Some("t"),
        lag: lag(row),
        followers: text(row, 11).map_or_else(Vec::new, |names| names.lines().map(str::to_owned).collect()),
        node_id,
        repmgr,
    };
    Ok(Answer { observation, blinkered: text(row, 12).is_some() && text(row, 8).is_none() })
}

/// Reads the answer to the small question.
pub fn read_in_recovery(rows: &[Row]) -> Result<bool, Unreadable> {
    boolean(rows.first().ok_or(Unreadable("row"))?, 0, "in_recovery")
}

/// The first eight digits of a WAL file's name are the timeline; in recovery the control file is a lower bound, and
/// the WAL receiver knows better.
fn timeline(row: &Row, in_recovery: bool) -> Option<Timeline> {
    if !in_recovery {
        return Timeline::from_str_radix(text(row, 3)?.get(..8)?, 16).ok();
    }
    optional::<Timeline>(row, 9).max(optional(row, 7))
}

fn receiver(row: &Row) -> Option<Receiver> {
    Some(Receiver {
        streaming: text(row, 8)? == "streaming",
        timeline: optional(row, 9)?,
        sender: text(row, 10).unwrap_or_default().to_owned(),
    })
}

fn lag(row: &Row) -> Duration {
    let seconds = text(row, 6).and_then(|seconds| seconds.parse().ok()).unwrap_or(0.0);
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn view(rows: &[Row]) -> Result<RepmgrView, Unreadable> {
    let voting_term = rows.first().and_then(|row| optional(row, FACTS + 1)).unwrap_or(0);
    let registered = rows.iter().filter(|row| text(row, FACTS + 2).is_some());
    Ok(RepmgrView { rows: registered.map(repmgr_row).collect::<Result<_, _>>()?, voting_term })
}

fn repmgr_row(row: &Row) -> Result<RepmgrRow, Unreadable> {
    let kind = match text(row, FACTS + 4) {
        Some("primary") => RepmgrKind::Primary,
        Some("standby") => RepmgrKind::Standby,
        Some("witness") => RepmgrKind::Witness,
        _ => return Err(Unreadable("repmgr.nodes.type")),
    };
    Ok(RepmgrRow {
        node_id: number(row, FACTS + 2, "repmgr.nodes.node_id")?,
        name: text(row, FACTS + 3).unwrap_or_default().to_owned(),
        kind,
        active: boolean(row, FACTS + 5, "repmgr.nodes.active")?,
        address: text(row, FACTS + 6).and_then(conninfo::address),
    })
}

/// The node's own number: what its repmgrd left in shared memory, or else the row with the address that we called.
fn own_id(row: &Row, view: &RepmgrView, address: &str) -> Option<i32> {
    let left = optional(row, FACTS).filter(|id: &i32| *id > 0);
    let called =
        || view.rows.iter().find(|row| row.address.as_deref() == Some(address)).map(|row| row.node_id);
    left.or_else(called)
}

fn text(row: &Row, column: usize) -> Option<&str> {
    row.get(column)?.as_deref()
}

fn optional<T: std::str::FromStr>(row: &Row, column: usize) -> Option<T> {
    text(row, column)?.parse().ok()
}

fn number<T: std::str::FromStr>(row: &Row, column: usize, name: &'static str) -> Result<T, Unreadable> {
    optional(row, column).ok_or(Unreadable(name))
}

fn boolean(row: &Row, column: usize, name: &'static str) -> Result<bool, Unreadable> {
    match text(row, column) {
        Some("t") => Ok(true),
        Some("f") => Ok(false),
        _ => Err(Unreadable(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Moment = Moment::from_secs(9);

    fn row(columns: &[&str]) -> Row {
        columns.iter().map(|text| (*text != "-").then(|| (*text).to_owned())).collect()
    }

    fn check(rows: &[&[&str]]) -> Answer {
        let rows: Vec<Row> = rows.iter().map(|columns| row(columns)).collect();
        read(&rows, "127.0.0.1:5502", AT).unwrap()
    }

    const PRIMARY: [&str; 13] = [
        "f",
        "off",
        "7300000000000000001",
        "000000020000000000000003",
        "50331648",
        "-",
        "-",
        "1",
        "-",
        "-",
        ":",
        "n1\nn3",
        "-",
    ];
    const STANDBY: [&str; 13] = [
        "t",
        "on",
        "7300000000000000001",
        "-",
        "50331648",
        "f",
        "1.5",
        "1",
        "streaming",
        "2",
        "h:1",
        "-",
        "77",
    ];

    #[test]
    fn a_primary_takes_its_timeline_from_the_wal_file_not_from_the_control_file() {
        let seen = check(&[&PRIMARY]).observation;
        assert_eq!((seen.timeline, seen.takes_writes()), (Some(2), true));
        assert_eq!(seen.followers, ["n1", "n3"]);
        assert_eq!((seen.at, seen.receiver, seen.repmgr), (AT, None, None));
    }

    #[test]
    fn a_standby_takes_its_timeline_from_the_wal_receiver() {
        let seen = check(&[&STANDBY]).observation;
        assert_eq!((seen.timeline, seen.takes_writes(), seen.read_only), (Some(2), false, false));
        assert_eq!(seen.receiver, Some(Receiver { streaming: true, timeline: 2, sender: "h:1".into() }));
        assert_eq!(seen.lag, Duration::from_millis(1500));
    }

    #[test]
    fn a_primary_that_refuses_writes_does_not_take_them() {
        let mut read_only = PRIMARY;
        read_only[1] = "on";
        assert!(!check(&[&read_only]).observation.takes_writes());
    }

    #[test]
    fn hidden_columns_are_noticed() {
        let mut hidden = STANDBY;
        (hidden[8], hidden[9], hidden[10]) = ("-", "-", ":");
        let answer = check(&[&hidden]);
        assert!(answer.blinkered && answer.observation.receiver.is_none());
        assert_eq!(answer.observation.timeline, Some(1));
        assert!(!check(&[&PRIMARY]).blinkered);
    }

    fn with_repmgr(local_id: &str) -> Observation {
        let mut first = PRIMARY.to_vec();
        let mut second = first.clone();
        first.extend([local_id, "4", "1", "node1", "primary", "f", "host=127.0.0.1 port=5501 password=x"]);
        second.extend([local_id, "4", "2", "node2", "primary", "t", "host=127.0.0.1 port=5502"]);
        check(&[&first, &second]).observation
    }

    #[test]
    fn the_rows_of_repmgr_are_read() {
        let seen = with_repmgr("2");
        let view = seen.repmgr.as_ref().unwrap();
        assert_eq!((view.voting_term, view.rows.len(), view.primary()), (4, 2, Some(2)));
        assert_eq!(view.rows[0].address.as_deref(), Some("127.0.0.1:5501"));
        assert!(seen.names_itself());
    }

    #[test]
    fn a_node_without_repmgrd_is_known_by_its_address() {
        assert_eq!(with_repmgr("-1").node_id, Some(2));
        assert_eq!(with_repmgr("-").node_id, Some(2));
    }

    #[test]
    fn an_empty_nodes_table_is_an_empty_view() {
        let mut columns = PRIMARY.to_vec();
        columns.extend(["-", "-", "-", "-", "-", "-", "-"]);
        assert_eq!(check(&[&columns]).observation.repmgr, Some(RepmgrView::default()));
    }

    #[test]
    fn nonsense_is_an_error() {
        assert_eq!(read(&[], "a:1", AT), Err(Unreadable("row")));
        assert_eq!(read(&[row(&["x"])], "a:1", AT), Err(Unreadable("in_recovery")));
        assert_eq!(read(&[row(&["t", "on", "-"])], "a:1", AT), Err(Unreadable("system_identifier")));
        assert_eq!(read_in_recovery(&[row(&["f"])]), Ok(false));
        assert!(read_in_recovery(&[]).is_err());
    }
}
