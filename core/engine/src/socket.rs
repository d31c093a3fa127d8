//! Sockets to listen on.
#![allow(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use sip::Protocol;
use socket2::{Domain, Socket, Type};

use crate::config::Listen;

/// Fails if another process listens on one of the addresses already.
///
/// The threads share each port among themselves (`SO_REUSEPORT`), and the kernel would let them share
/// it with any other process of the same user as well; so each port is bound alone first.
pub(crate) fn check_free(listen: &[Listen]) -> io::Result<()> {
    let mut seen = Vec::new();
    for &address in listen {
        if seen.contains(&address) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{address} is listed twice: remove one"),
            ));
        }
        seen.push(address);
        open(address, false).map_err(|error| explain(address, &error))?;
    }
    Ok(())
}

/// One thread's socket for an address; the port is shared with the other threads.
pub(crate) fn open_shared(listen: Listen) -> io::Result<Socket> {
    open(listen, true).map_err(|error| explain(listen, &error))
}

fn open(listen: Listen, shared: bool) -> io::Result<Socket> {
    let kind = match listen.protocol {
        Protocol::Udp => Type::DGRAM,
        _ => Type::STREAM,
    };
    let socket = Socket::new(
        Domain::for_address(listen.address),
        kind.nonblocking(),
        None,
    )?;
    if listen.address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if listen.protocol != Protocol::Udp {
        // A restart must not wait for the old connections to leave TIME-WAIT.
        socket.set_reuse_address(true)?;
    }
    socket.set_reuse_port(shared)?;
    socket.bind(&listen.address.into())?;
    match listen.protocol {
        Protocol::Udp => prepare_datagrams(&socket, listen.address)?,
        _ => socket.listen(BACKLOG)?,
    }
    Ok(socket)
}

fn prepare_datagrams(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    enlarge(socket, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF);
    enlarge(socket, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF);
    let told = i32::from(address.ip().is_unspecified());
    if address.is_ipv4() {
        set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, told)?;
        set(socket, libc::IPPROTO_IP, libc::IP_RECVERR, 1)
    } else {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, told)?;
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)
    }
}

/// Asks for a large buffer: first beyond the system's limit, which a privileged process may.
fn enlarge(socket: &Socket, force: i32, plain: i32) {
    if set(socket, libc::SOL_SOCKET, force, BUFFER).is_err() {
        // A smaller buffer only means that fewer messages survive a burst.
        let _ = set(socket, libc::SOL_SOCKET, plain, BUFFER);
    }
}

fn set(socket: &Socket, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of a live integer.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Lets the process open as many descriptors as the system permits it at all; tells how many that
/// are. For the start of a program, so that the limits of the configuration are those that count.
///
/// # Errors
/// If the system refuses; then the old limit stays.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is that of a live structure of this type.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above; it is only read.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

fn explain(listen: Listen, error: &io::Error) -> io::Error {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program has this port: stop it (`ss -lnptu` names it) or choose another port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address (`ip address` lists them): choose another"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need the capability CAP_NET_BIND_SERVICE: grant it or choose another port"
        }
        _ if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
            "this machine has no IPv6: listen on an IPv4 address"
        }
        _ => "choose another address or port",
    };
    io::Error::new(
        error.kind(),
        format!("cannot listen on {listen}: {error}; {remedy}"),
    )
}

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Octets of datagrams that may wait in the kernel, each way.
const BUFFER: i32 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(protocol: Protocol, address: SocketAddr) -> Listen {
        Listen { protocol, address }
    }

    #[test]
    fn a_taken_port_is_refused_although_it_could_be_shared() {
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            let any = listen(protocol, "127.0.0.1:0".parse().unwrap());
            let taken = open_shared(any).unwrap();
            let address = taken.local_addr().unwrap().as_socket().unwrap();
            let error = check_free(&[listen(protocol, address)]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            let text = error.to_string();
            assert!(text.contains(&format!("{protocol}:{address}")), "{text}");
            assert!(text.contains("another program has this port"), "{text}");
            drop(taken);
            check_free(&[listen(protocol, address)]).unwrap();
        }
    }

    #[test]
    fn addresses_that_are_not_ours_or_stand_twice_are_refused() {
        let foreign = listen(Protocol::Udp, "192.0.2.1:5060".parse().unwrap());
        let error = check_free(&[foreign]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        let twice = listen(Protocol::Udp, "127.0.0.1:0".parse().unwrap());
        assert!(check_free(&[twice, twice]).is_err());
    }
}
