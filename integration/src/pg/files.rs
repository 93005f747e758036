//! The configuration files of servers, repmgr and sshd, as text. Kind: pure.

use super::{Account, site::BIN};
use std::{fmt::Write, net::IpAddr};

/// Read by every node at the end of `postgresql.conf`; base backups carry it along.
pub const COMMON: &str = "\
unix_socket_directories = ''
shared_buffers = 128MB
wal_level = replica
hot_standby = on
max_wal_senders = 20
max_replication_slots = 20
wal_log_hints = on
wal_keep_size = 512MB
max_wal_size = 2GB
password_encryption = 'scram-sha-256'
shared_preload_libraries = 'repmgr'
wal_retrieve_retry_interval = 1s
wal_receiver_timeout = 5s
wal_sender_timeout = 5s
log_line_prefix = '%m [%p] %q%u@%d/%a '
timezone = 'UTC'
log_timezone = 'UTC'
";

/// What `postgresql.conf` ends with. Later files win; a missing one is no error.
pub const INCLUDES: &str = "
include_if_exists 'conf.common'
include_if_exists 'conf.node'
include_if_exists 'conf.sync'
";

/// Written for the first primary after its standbys were cloned: no base backup carries it, and `pg_rewind` removes
/// it, so a promoted standby never waits for anybody.
pub const SYNC: &str = "synchronous_standby_names = 'ANY 1 (*)'\n";

/// Passwords over TCP from the server's own network, loopback included.
pub const HBA: &str = "\
local all          all                trust
host  postgres     hacheck  samenet   trust
host  all          md5user  samenet   md5
host  all          all      samenet   scram-sha-256
host  replication  all      samenet   scram-sha-256
";

/// Roles and databases, besides repmgr's own schema. One statement each: CREATE DATABASE wants no transaction.
pub const ROLES: &[&str] = &[
    "create role repmgr superuser login replication password 'repmgrpw'",
    "create database repmgr owner repmgr",
    "alter role repmgr set search_path to repmgr, public",
    "create role pretix login password 'pretixpw'",
    "create database pretix owner pretix",
    "create role bench login password 'benchpw'",
    "create database bench owner bench",
    "create role hacheck login",
    "set password_encryption = 'md5'; create role md5user login password 'md5pw'",
];

/// What is a node's own: kept out of the way of clones and rewinds.
pub fn node(id: usize, ip: IpAddr, port: u16, max_connections: u32) -> String {
    format!(
        "listen_addresses = '{ip}'\nport = {port}\ncluster_name = 'n{id}'\nmax_connections = {max_connections}\n"
    )
}

/// libpq's password file.
pub fn pgpass(accounts: &[Account]) -> String {
    let known = accounts.iter().filter_map(|a| a.password.map(|password| (a.user, password)));
    known.fold(String::new(), |mut text, (user, password)| {
        writeln!(text, "*:*:*:{user}:{password}").expect("a String takes everything");
        text
    })
}

/// How patient repmgrd is (seconds and counts, as in `repmgr.conf`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timings {
    /// `monitor_interval_secs`.
    pub monitor_interval: u32,
    /// `reconnect_attempts`.
    pub reconnect_attempts: u32,
    /// `reconnect_interval`.
    pub reconnect_interval: u32,
}

impl Default for Timings {
    /// A promotion about 1.7 s after a crash; repmgr's own defaults (2, 6, 10) take 51 s.
    fn default() -> Self {
        Self { monitor_interval: 1, reconnect_attempts: 2, reconnect_interval: 1 }
    }
}

/// How repmgr reaches a node.
pub fn conninfo(ip: IpAddr, port: u16) -> String {
    format!("host={ip} port={port} user=repmgr dbname=repmgr connect_timeout=2")
}

/// What `repmgr standby clone` leaves in `postgresql.auto.conf`, for another address.
pub fn follow(id: usize, dir: &str, upstream: &str) -> String {
    format!(
        "primary_conninfo = '{upstream} application_name=n{id} passfile=''{dir}/pgpass'''\n\
         primary_slot_name = 'repmgr_slot_{id}'\nrecovery_target_timeline = 'latest'\n"
    )
}

/// A node's `repmgr.conf`. `dir` is the cluster's folder.
pub fn repmgr(dir: &str, id: usize, ip: IpAddr, port: u16, ssh_port: u16, timings: Timings) -> String {
    let conninfo = conninfo(ip, port);
    let ctl = format!("{BIN}/pg_ctl -D {dir}/n{id} -w");
    let Timings { monitor_interval, reconnect_attempts, reconnect_interval } = timings;
    format!(
        "node_id={id}
node_name='n{id}'
conninfo='{conninfo}'
data_directory='{dir}/n{id}'
pg_bindir='{BIN}'
use_replication_slots=yes
passfile='{dir}/pgpass'
failover=automatic
promote_command='{BIN}/repmgr standby promote -f {dir}/repmgr{id}.conf --log-to-file'
follow_command='{BIN}/repmgr standby follow -f {dir}/repmgr{id}.conf --log-to-file --upstream-node-id=%n'
service_start_command='{ctl} -l {dir}/n{id}.log start'
service_stop_command='{ctl} -m fast stop'
service_restart_command='{ctl} -l {dir}/n{id}.log -m fast restart'
service_reload_command='{BIN}/pg_ctl -D {dir}/n{id} reload'
log_file='{dir}/repmgr{id}.log'
log_level=INFO
repmgrd_pid_file='{dir}/repmgrd{id}.pid'
monitoring_history=no
monitor_interval_secs={monitor_interval}
reconnect_attempts={reconnect_attempts}
reconnect_interval={reconnect_interval}
primary_notification_timeout=60
standby_reconnect_timeout=60
priority=100
location='default'
ssh_options='{}'
",
        ssh_options(dir, ssh_port)
    )
}

fn ssh_options(dir: &str, port: u16) -> String {
    format!(
        "-q -p {port} -i {dir}/ssh/id -o ConnectTimeout=3 -o BatchMode=yes -o StrictHostKeyChecking=no \
         -o UserKnownHostsFile=/dev/null"
    )
}

/// An sshd without root: one user, one key, no PAM.
pub fn sshd(dir: &str, ip: IpAddr, port: u16) -> String {
    format!(
        "ListenAddress {ip}
Port {port}
HostKey {dir}/ssh/host
AuthorizedKeysFile {dir}/ssh/id.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
SetEnv PGPASSFILE={dir}/pgpass PATH={BIN}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn the_password_file_leaves_out_who_has_none() {
        assert_eq!(pgpass(&[Account::HACHECK, Account::BENCH]), "*:*:*:bench:benchpw\n");
    }

    #[test]
    fn no_line_of_repmgr_conf_is_longer_than_repmgr_reads() {
        // repmgr's scanner takes long lines, but MAXLEN-sized fields (1024) bound a value.
        let text = repmgr(&format!("/{}", "x".repeat(150)), 1, IP, 5501, 2222, Timings::default());
        assert!(text.lines().all(|line| line.len() < 1000));
    }

    #[test]
    fn a_node_listens_where_repmgr_looks_for_it() {
        assert!(node(2, IP, 5502, 400).contains("listen_addresses = '127.0.0.1'\nport = 5502\n"));
        assert!(conninfo(IP, 5502).starts_with("host=127.0.0.1 port=5502 "));
    }
}
