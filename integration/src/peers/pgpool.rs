//! Pgpool-II: one child process per client. Kind: driver.

use std::net::SocketAddr;

use super::{Home, Program, strings, subject};
use crate::Result;
use crate::pg::{Account, Cluster};
use crate::process::free_port;

/// A running Pgpool-II.
pub struct Pgpool(Program);

subject!(Pgpool);

impl Pgpool {
    /// Stripped to a relay, which nobody deploys: as many children as clients in front of the primary alone, and no
    /// load balancing.
    pub fn relay(primary: SocketAddr, children: usize) -> Result<Self> {
        let settings = format!(
            "num_init_children = {children}
max_pool = 1
load_balance_mode = off
health_check_period = 0
failover_on_backend_error = off
{}",
            backend(0, primary)
        );
        Self::start(&settings)
    }

    /// In front of all nodes, in the configuration that goes with somebody else promoting: no failover command, nodes
    /// checked each second, a returned node attached again, reads balanced (its default).
    pub fn following(cluster: &Cluster, children: usize) -> Result<Self> {
        let backends: String = cluster.nodes().iter().map(|n| backend(n.id() - 1, n.addr())).collect();
        let settings = format!(
            "num_init_children = {children}
max_pool = 4
load_balance_mode = on
disable_load_balance_on_write = 'transaction'
health_check_period = 1
health_check_timeout = 2
health_check_max_retries = 1
health_check_retry_delay = 1
failover_command = ''
follow_primary_command = ''
failover_on_backend_error = on
failover_on_backend_shutdown = on
search_primary_node_timeout = 0
auto_failback = on
auto_failback_interval = 5
{backends}"
        );
        Self::start(&settings)
    }

    fn start(settings: &str) -> Result<Self> {
        let (home, port) = (Home::new("pgpool")?, free_port());
        let config = home.file("pgpool.conf", &format!("{}{settings}", common(&home, port)))?;
        let hba =
            home.file("pool_hba.conf", "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")?;
        home.file("pool_passwd", &format!("{}{}", plain_text(Account::BENCH), plain_text(Account::REPMGR)))?;
        let argv = strings(["/usr/sbin/pgpool", "-n", "-D", "-f", &config, "-a", &hba]);
        Program::start("pgpool", port, home, argv).map(Self)
    }
}

fn plain_text(who: Account) -> String {
    format!("{}:TEXT{}\n", who.user, who.password.unwrap_or_default())
}

fn backend(number: usize, addr: SocketAddr) -> String {
    let (host, port) = (addr.ip(), addr.port());
    format!(
        "backend_hostname{number} = '{host}'
backend_port{number} = {port}
backend_weight{number} = 1
backend_flag{number} = 'ALLOW_TO_FAILOVER'
backend_application_name{number} = 'n{}'
",
        number + 1
    )
}

fn common(home: &Home, port: u16) -> String {
    let (dir, pcp) = (home.path().display(), free_port());
    let Account { user, password, database } = Account::REPMGR;
    let password = password.unwrap_or_default();
    format!(
        "backend_clustering_mode = 'streaming_replication'
listen_addresses = '127.0.0.1'
port = {port}
socket_dir = '{dir}'
pcp_listen_addresses = '127.0.0.1'
pcp_port = {pcp}
pcp_socket_dir = '{dir}'
work_dir = '{dir}'
logdir = '{dir}'
pid_file_name = '{dir}/pgpool.pid'
log_destination = 'stderr'
enable_pool_hba = on
pool_passwd = 'pool_passwd'
allow_clear_text_frontend_auth = off
connection_cache = on
child_life_time = 5min
connect_timeout = 2000
sr_check_period = 1
sr_check_user = '{user}'
sr_check_password = 'TEXT{password}'
sr_check_database = '{database}'
health_check_user = '{user}'
health_check_password = 'TEXT{password}'
health_check_database = '{database}'
delay_threshold = 0
use_watchdog = off
"
    )
}
