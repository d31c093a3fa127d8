//! rtpengine in userspace, and calls set up in it.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use ue::load::{Leg, rtp_socket};

use super::Peer;
use super::ng::{Client, Value};
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

/// Sets up `calls` relayed G.711 calls and returns their legs, two by two.
///
/// # Errors
/// If rtpengine refuses one.
pub fn set_up(server: &Server, calls: usize) -> Result<Vec<Leg>> {
    let mut client = Client::connect(server.address)?;
    let ip = server.address.ip();
    let mut legs = Vec::with_capacity(2 * calls);
    for number in 0..calls {
        let caller = rtp_socket(ip)?;
        let callee = rtp_socket(ip)?;
        let to_callee = command(&mut client, "offer", number, caller.local_addr()?)?;
        let to_caller = command(&mut client, "answer", number, callee.local_addr()?)?;
        legs.push(Leg {
            socket: caller,
            remote: to_caller,
        });
        legs.push(Leg {
            socket: callee,
            remote: to_callee,
        });
    }
    Ok(legs)
}

/// Offers or answers; returns where rtpengine takes RTP of the other side.
fn command(client: &mut Client, what: &str, call: usize, ours: SocketAddr) -> Result<SocketAddr> {
    let (ip, port) = (ours.ip(), ours.port());
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=sendrecv\r\n"
    );
    let answer = client.command(&Value::dictionary([
        ("command", Value::text(what)),
        ("call-id", Value::text(&format!("bench-{call}"))),
        ("from-tag", Value::text("caller")),
        ("to-tag", Value::text("callee")),
        ("sdp", Value::text(&sdp)),
        ("ICE", Value::text("remove")),
        ("replace", Value::List(vec![Value::text("origin")])),
    ]))?;
    let sdp = answer.find("sdp").context("an answer without SDP")?;
    rtp_address(sdp).with_context(|| format!("no RTP address in {sdp}"))
}

fn rtp_address(sdp: &str) -> Option<SocketAddr> {
    let after = |start: &str| sdp.lines().find_map(|line| line.strip_prefix(start));
    let ip: IpAddr = after("c=IN IP4 ")?.trim().parse().ok()?;
    let port = after("m=audio ")?.split(' ').next()?.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}
