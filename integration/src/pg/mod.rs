//! PostgreSQL 15 under repmgr 5.3, for real: clusters that start in seconds, and the verbs that hurt them.
//! Kind: wiring.

pub mod account;
pub mod cluster;
pub mod files;
pub mod node;
pub mod repmgr;
pub mod shared;
pub mod site;
mod ssh;
mod template;

pub use account::Account;
pub use cluster::{Cluster, ClusterOptions};
pub use files::Timings;
pub use node::Node;
pub use repmgr::Repmgrd;
pub use shared::{Shared, shared};

use crate::{Result, sweeper::Sweeper};
use std::path::Path;

/// Ends every server whose data folder is in `dir`, and removes `dir` if `remove` (unless it is wanted as evidence).
/// A pid file is believed only if that process really works in that folder. SIGQUIT is PostgreSQL's immediate
/// shutdown; SIGCONT lets a stopped one hear it.
fn broom(dir: &Path, remove: bool) -> Result<Sweeper> {
    let dir = dir.display();
    let remove = if remove { format!("[ -n \"$keep$STACK_KEEP\" ] || rm -rf '{dir}'") } else { ":".into() };
    Sweeper::arm(&format!(
        r#"alive() {{ [ "$(readlink "/proc/$pid/cwd")" = "$n" ]; }}
for n in '{dir}'/n*; do
    pid=$(head -n 1 "$n/postmaster.pid" 2>/dev/null) && alive && kill -QUIT "$pid" && kill -CONT "$pid"
done
for n in '{dir}'/n*; do
    pid=$(head -n 1 "$n/postmaster.pid" 2>/dev/null) || continue
    i=0; while alive && [ $i -lt 160 ]; do sleep 0.05; i=$((i + 1)); done
    ! alive || kill -KILL "$pid"
done
{remove}"#
    ))
}
