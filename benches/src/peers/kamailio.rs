//! Kamailio as registrar and as proxy.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{FIRST_CALLER, Peer};
use crate::server::{Folder, Probe, Server, free_address};

/// The program.
pub const KAMAILIO: Peer = Peer {
    name: "kamailio",
    packages: &["kamailio", "kamailio-tls-modules"],
};

/// What it is used as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Digest registrar.
    Registrar,
    /// The same, over TCP and TLS too.
    StreamRegistrar,
    /// Record-routing stateful proxy.
    Proxy,
    /// The same with its dialog module.
    Dialog,
    /// The proxy, and a registrar whose contacts it calls.
    Located,
}

/// Starts it with `users` users, and with the allocator that a tuned site takes; the package's own default checks every
/// allocation and is three times slower.
///
/// # Errors
/// If it does not come up.
pub fn start(role: Role, users: u32) -> Result<Server> {
    start_with(role, users, None)
}

/// [`start`], with certificate and key for TLS.
///
/// # Errors
/// If it does not come up.
pub fn start_with(role: Role, users: u32, identity: Option<&[PathBuf; 2]>) -> Result<Server> {
    let secure = free_address()?;
    let folder = Folder::new("kamailio")?;
    let address = free_address()?;
    let file = match role {
        Role::Registrar | Role::StreamRegistrar => "registrar.cfg",
        Role::Proxy | Role::Dialog | Role::Located => "proxy.cfg",
    };
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/kamailio");
    let mut command = KAMAILIO.command();
    command
        .args([
            "-DD", "-E", "-x", "tlsf", "-X", "tlsf", "-m", "2048", "-M", "16",
        ])
        .arg("-f")
        .arg(config.join(file))
        .arg("-Y")
        .arg(folder.path(""))
        .args(["-l", &format!("udp:{address}")])
        .args(["-A", &format!("FIRST={FIRST_CALLER}")])
        .args(["-A", &format!("USERS={users}")]);
    if role == Role::Dialog {
        command.args(["-A", "WITH_DIALOG"]);
    }
    if role == Role::Located {
        command.args(["-A", "WITH_LOCATION"]);
    }
    if role == Role::StreamRegistrar {
        command
            .args(["-l", &format!("tcp:{address}")])
            .args(["-A", "WITH_STREAMS"]);
    }
    let identity = identity.filter(|_| role == Role::StreamRegistrar);
    if let Some([certificate, key]) = identity {
        command
            .args(["-l", &format!("tls:{secure}")])
            .args(["-A", "WITH_TLS"])
            .args(["-A", &format!("CERTIFICATE=\"{}\"", certificate.display())])
            .args(["-A", &format!("KEY=\"{}\"", key.display())]);
    }
    let mut server = Server::start("Kamailio", &command, folder, address, Probe::Sip)?;
    server.secure = identity.map(|_| secure);
    Ok(server)
}
