//! The server asks others for the address by which the outside sees it.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ice::stun::attribute::XOR_MAPPED_ADDRESS;
use ice::stun::{BINDING, Class, Message, Writer};
use interop::process::Process;
use interop::relay::{Kind, Relay};
use interop::{Lab, Server, peer};

/// RFC 8489 §6: coturn tells who asks where it comes from.
#[test]
fn rfc8489_6_coturn_tells_the_server_its_address() -> Result<()> {
    Lab::run_quietly("stun-coturn", |lab| {
        if !peer::ensure_all(&[peer::COTURN])? {
            return Ok(());
        }
        let port = lab.ports().port()?.to_string();
        let mut command = Command::new("turnserver");
        command.args([
            "-n",
            "-S",
            "--no-cli",
            "--no-tls",
            "--no-dtls",
            "--log-file=stdout",
        ]);
        command.args(["--listening-ip=127.0.0.1", "-p", &port]);
        command.arg(format!(
            "--pidfile={}",
            lab.path("turnserver.pid").display()
        ));
        let _coturn = Process::start(&mut command, &lab.path("turnserver.log"))?;
        let server = Server::start(lab, &[("media.stun", &format!("localhost:{port}"))])?;
        server.wait_for_log(&["the public address is known", "127.0.0.1"])?;
        server.stop()
    })
}

/// A server that says what it is told to, the last octet of an address.
fn tell(socket: &UdpSocket, octet: &AtomicU8, over: &AtomicBool) -> Result<()> {
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut datagram = [0; 1500];
    while !over.load(Ordering::Relaxed) {
        let Ok((len, from)) = socket.recv_from(&mut datagram) else {
            continue;
        };
        let request = Message::parse(&datagram[..len])?;
        ensure!(request.class() == Class::Request, "{request:?}");
        let told = SocketAddr::from(([198, 51, 100, octet.load(Ordering::Relaxed)], 4000));
        let mut answer = Vec::new();
        Writer::new(&mut answer, Class::Success, BINDING, request.transaction())
            .address(XOR_MAPPED_ADDRESS, told);
        // Who gets it late has asked again.
        let _ = socket.send_to(&answer, from);
    }
    Ok(())
}

/// A story beside a STUN server at an address, which tells the octet.
fn beside_stun(story: impl FnOnce(&str, &AtomicU8) -> Result<()>) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let place = socket.local_addr()?.to_string();
    let (octet, over) = (AtomicU8::new(9), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let telling = scope.spawn(|| tell(&socket, &octet, &over));
        let told = story(&place, &octet);
        over.store(true, Ordering::Relaxed);
        telling.join().ok().context("the STUN server broke")??;
        told
    })
}

/// RFC 8489 §6: an address that changes is noticed and told of; what the settings say goes before it.
#[test]
fn rfc8489_6_another_public_address_is_noticed() -> Result<()> {
    Lab::run_quietly("stun-change", |lab| {
        beside_stun(|place, octet| {
            let server = Server::start(lab, &[("media.stun", place)])?;
            server.wait_for_log(&["the public address is known", "198.51.100.9"])?;
            octet.store(10, Ordering::Relaxed);
            let asked = server.ctl(&["reload"])?;
            ensure!(asked.status.success(), "{asked:?}");
            server.wait_for_log(&["the public address has changed", "198.51.100.10"])?;
            server.stop()
        })
    })
}

/// RFC 8489 §6: a media relay asks as well.
#[test]
fn rfc8489_6_a_relay_learns_its_public_address() -> Result<()> {
    Lab::run_quietly("stun-relay", |lab| {
        beside_stun(|place, octet| {
            octet.store(11, Ordering::Relaxed);
            let relay = Relay::start_with(lab, Kind::Dialtone, &[("media.stun", place)])?;
            relay.wait_for_log(&["the public address is known", "198.51.100.11"])?;
            relay.stop()
        })
    })
}
