//! The sshd that `repmgr standby switchover` reaches the other node by: run as the servers' user, on the nodes' own
//! addresses, with one key made for this cluster. Kind: driver.

use super::{Node, files, site::Site};
use crate::{Context, Result, process::Process, wait::eventually};
use std::{net::TcpStream, time::Duration};

/// Makes the keys, unless they are there.
pub(super) fn keys(site: &Site) -> Result<()> {
    if site.path("ssh/id").exists() {
        return Ok(());
    }
    site.owner.make_dir(&site.path("ssh"))?;
    for key in ["ssh/id", "ssh/host"] {
        site.run("ssh-keygen", None, ["-q", "-t", "ed25519", "-N", "", "-f", &site.text(key)])?;
    }
    Ok(())
}

/// Starts sshd on the address of `node`.
pub(super) fn start(node: &Node, port: u16) -> Result<Process> {
    let (site, ip) = (node.site(), node.addr().ip());
    let conf = format!("ssh/config{}", node.id());
    site.write(&conf, &files::sshd(&site.folder(), ip, port))?;
    let spec = site.program("/usr/sbin/sshd", node.netns()).args(["-D", "-e", "-f", &site.text(conf)]);
    let process = Process::spawn(&spec.log(site.path("ssh/log")))?;
    answers(node, port)?;
    Ok(process)
}

fn answers(node: &Node, port: u16) -> Result<()> {
    eventually(Duration::from_secs(10), "sshd", || {
        TcpStream::connect((node.addr().ip(), port)).map(drop).map_err(|e| e.to_string())
    })
    .context(format!("n{}", node.id()))
}
