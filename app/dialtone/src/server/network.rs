//! Addresses of this machine, and the settings of what uses them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroUsize;

use engine::{Limits, Listen, Tls};
use nix::ifaddrs::getifaddrs;

use crate::settings::Server;

/// The engine's share of the settings. `[::]` is left out where there is no IPv6, so that the seeded
/// configuration works everywhere; an address that is named must be there.
pub(super) fn engine_config(server: &Server, tls: Tls) -> engine::Config {
    let wanted = server.sip.listen.iter().map(|listen| Listen {
        protocol: listen.protocol,
        address: listen.address,
    });
    let listen = usable(wanted.collect(), has_ipv6);
    let tcp = &server.sip.tcp;
    let rates = &server.sip.limits;
    engine::Config {
        listen,
        threads: server.sip.threads.and_then(NonZeroUsize::new),
        tls: Some(tls),
        limits: Limits {
            connections: tcp.max_connections,
            connections_per_peer: tcp.max_connections_per_peer,
            unfinished: tcp.message_timeout,
            idle: tcp.idle_timeout,
            strangers: rates.strangers,
            handshakes_per_peer: rates.handshakes_per_peer,
            handshakes: rates.handshakes,
            ..Limits::default()
        },
    }
}

/// The media workers' share of the settings.
pub(super) fn media_config(server: &Server) -> media::Config {
    let cpus = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    media::Config {
        ports: server.media.ports.clone(),
        shared: server.media.shared,
        workers: server
            .media
            .workers
            .unwrap_or_else(|| cpus().min(MOST_WORKERS)),
        timeout: server.media.timeout,
        kernel: server.media.kernel,
        interfaces: server.media.interfaces.clone(),
        addresses: media_addresses(server),
        sounds: Some(server.sound.folder.clone()),
        copies: Some(server.sound.copies.clone()),
        recordings: Some(server.sound.recordings.clone()),
        ..media::Config::default()
    }
}

/// Where media may come to: where signalling does, or the relay is told to have them. None: anywhere.
pub(super) fn media_addresses(server: &Server) -> Vec<IpAddr> {
    let signalling = server.sip.listen.iter().map(|listen| listen.address.ip());
    let relay = server.relay.interfaces.iter().map(|i| i.address);
    let all: Vec<_> = match server.relay.interfaces.is_empty() {
        true => signalling.collect(),
        false => relay.collect(),
    };
    match all.iter().any(IpAddr::is_unspecified) {
        true => Vec::new(),
        false => all,
    }
}

/// The addresses at which a socket is reached: its own, or all of the machine's that phones may use.
pub(super) fn reachable(listen: SocketAddr) -> Vec<SocketAddr> {
    if !listen.ip().is_unspecified() {
        return vec![listen];
    }
    let same_family = |ip: &IpAddr| ip.is_ipv4() == listen.is_ipv4();
    let mut addresses: Vec<_> = own_addresses().into_iter().filter(same_family).collect();
    if addresses.iter().any(|ip| !ip.is_loopback()) {
        addresses.retain(|ip| !ip.is_loopback());
    }
    let with_port = |ip| SocketAddr::new(ip, listen.port());
    addresses.into_iter().map(with_port).collect()
}

/// Our address on the way to a peer: that of a listener for the transport, or if that listens on all
/// addresses, the one that the routing table gives. A connection may be made without a listener; then
/// the peer is told the port where we hear it by another transport.
pub(super) fn way_out(
    listening: &[Listen],
    protocol: sip::Protocol,
    remote: SocketAddr,
) -> Option<SocketAddr> {
    let family = || {
        listening
            .iter()
            .filter(|listen| listen.address.is_ipv4() == remote.is_ipv4())
    };
    let other = || family().next().filter(|_| protocol.is_reliable());
    let mut same = family().filter(|listen| listen.protocol == protocol);
    let source = || source_towards(remote);
    // Of several addresses the one that packets to the peer would have anyway.
    let routed = family()
        .filter(|listen| listen.protocol == protocol)
        .find(|listen| Some(listen.address.ip()) == source());
    let listen = routed.or_else(|| same.next()).or_else(other)?;
    let ip = match listen.address.ip() {
        ip if ip.is_unspecified() => source()?,
        ip => ip,
    };
    Some(SocketAddr::new(ip, listen.address.port()))
}

/// The address from which packets to `remote` leave; no packet is sent.
fn source_towards(remote: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match remote {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(remote).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

pub(super) fn own_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else {
        return Vec::new();
    };
    let mut addresses = Vec::new();
    for address in interfaces.filter_map(|interface| interface.address) {
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::from(a.ip()));
        let v6 = address.as_sockaddr_in6().map(|a| IpAddr::from(a.ip()));
        let ip = v4.or(v6).filter(|ip| !is_link_local(ip));
        addresses.extend(ip.filter(|ip| !addresses.contains(ip)));
    }
    addresses
}

/// Such an address says nothing without the name of an interface.
fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// The addresses without `[::]` where there is no IPv6, unless nothing else is left.
fn usable(mut listen: Vec<Listen>, has_ipv6: impl FnOnce() -> bool) -> Vec<Listen> {
    let all_v6 = listen.iter().all(any_v6);
    if !all_v6 && listen.iter().any(any_v6) && !has_ipv6() {
        tracing::warn!("this machine has no IPv6; [::] is left out");
        listen.retain(|listen| !any_v6(listen));
    }
    listen
}

fn any_v6(listen: &Listen) -> bool {
    listen.address.ip() == Ipv6Addr::UNSPECIFIED
}

pub(super) fn has_ipv6() -> bool {
    match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => true,
        // Anything else is no question of the family, and is better reported by who needs the port.
        Err(error) => {
            let absent = error.kind() == io::ErrorKind::AddrNotAvailable
                || error.raw_os_error() == Some(EAFNOSUPPORT);
            !absent
        }
    }
}

/// More media workers than this gain nothing before the network card is the limit.
const MOST_WORKERS: usize = 8;

const EAFNOSUPPORT: i32 = 97;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_ipv6_only_the_unspecified_address_is_left_out() {
        let listen = |address: &str| Listen {
            protocol: sip::Protocol::Udp,
            address: address.parse().unwrap(),
        };
        let (v4, any, named) = (listen("0.0.0.0:1"), listen("[::]:1"), listen("[::1]:1"));
        assert_eq!(usable(vec![v4, any, named], || false), [v4, named]);
        assert_eq!(usable(vec![v4, any], || true), [v4, any]);
        // Then the error of the only address says more.
        assert_eq!(usable(vec![any], || false), [any]);
    }

    #[test]
    fn the_way_to_a_peer_begins_at_a_real_address_of_ours() {
        let listen = |protocol, address: &str| Listen {
            protocol,
            address: address.parse().unwrap(),
        };
        let (udp, tcp) = (sip::Protocol::Udp, sip::Protocol::Tcp);
        let peer = "127.0.0.9:5060".parse().unwrap();
        let any = [listen(udp, "0.0.0.0:5070")];
        assert_eq!(way_out(&any, udp, peer), "127.0.0.1:5070".parse().ok());
        assert_eq!(way_out(&any, tcp, peer), "127.0.0.1:5070".parse().ok());
        assert_eq!(way_out(&any, udp, "[::1]:5060".parse().unwrap()), None);
        let two = [listen(udp, "192.0.2.1:5060"), listen(udp, "127.0.0.1:5080")];
        assert_eq!(way_out(&two, udp, peer), "127.0.0.1:5080".parse().ok());
        let tcp_only = [listen(tcp, "127.0.0.1:5060")];
        assert_eq!(way_out(&tcp_only, udp, peer), None);
    }

    #[test]
    fn a_named_address_is_itself_and_the_unspecified_one_is_real() {
        let named: SocketAddr = "192.0.2.7:5060".parse().unwrap();
        assert_eq!(reachable(named), [named]);
        let all = reachable("0.0.0.0:5070".parse().unwrap());
        assert!(!all.is_empty());
        let real = |a: &SocketAddr| a.is_ipv4() && !a.ip().is_unspecified() && a.port() == 5070;
        assert!(all.iter().all(real), "{all:?}");
    }
}
