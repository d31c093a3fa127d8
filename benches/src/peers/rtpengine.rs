//! rtpengine in userspace.

use anyhow::Result;

use super::Peer;
use crate::server::{Folder, Probe, Server, free_address};

/// The program.
pub const RTPENGINE: Peer = Peer {
    name: "rtpengine",
    packages: &["rtpengine-daemon"],
};

/// Starts it without its kernel module: userspace beside userspace.
///
/// # Errors
/// If it does not come up.
pub fn start() -> Result<Server> {
    let folder = Folder::new("rtpengine")?;
    let address = free_address()?;
    let mut command = RTPENGINE.command();
    command
        .args(["--config-file=none", "--foreground", "--table=-1"])
        .args(["--num-threads=2", "--log-stderr", "--log-level=4"])
        .args(["--port-min=10000", "--port-max=19999"])
        .args(["--timeout=600", "--delete-delay=0"])
        .arg(format!("--interface={}", address.ip()))
        .arg(format!("--listen-ng={address}"));
    Server::start("rtpengine", &command, folder, address, Probe::Ng)
}
