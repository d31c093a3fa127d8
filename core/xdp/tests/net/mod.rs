//! Networks to try the kernel's path in: a relay and its neighbours, each in a network namespace of its own, with
//! a pair of virtual interfaces between them.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unsafe_code, reason = "an ioctl that no crate has")]

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::net::{AddressFamily, SocketType};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use xdp::{Path, Unavailable};

/// A relay with interfaces `r0`, `r1`, …, and as many neighbours, each with an interface `n0`. The addresses of link
/// N are 10.77.N.1 and fd77:N::1 at the relay, and .2 to .4 at the neighbour.
pub(crate) struct Network {
    names: Vec<String>,
}

impl Network {
    /// A relay with so many neighbours; `None`, and a word about it, where the system allows no such thing.
    pub(crate) fn new(neighbours: usize) -> Option<Self> {
        match Path::detached() {
            Err(error @ (Unavailable::NotPermitted | Unavailable::Kernel(_))) => {
                eprintln!("skipped: {error}");
                return None;
            }
            path => drop(path.unwrap()),
        }
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("dt{}-{number}", std::process::id());
        let mut network = Self { names: Vec::new() };
        for name in (0..=neighbours).map(|n| format!("{prefix}-{n}")) {
            if let Err(error) = ip(&format!("netns add {name}")) {
                eprintln!("skipped: no network namespaces: {error}");
                return None;
            }
            network.names.push(name);
        }
        (0..neighbours).for_each(|link| network.connect(link));
        Some(network)
    }

    fn connect(&self, link: usize) {
        let [relay, neighbour] = [&self.names[0], &self.names[link + 1]];
        let run = |arguments: String| ip(&arguments).unwrap();
        run(format!(
            "link add r{link} netns {relay} type veth peer name n0 netns {neighbour}"
        ));
        for (name, interface, hosts) in [
            (relay, format!("r{link}"), 1..=1),
            (neighbour, "n0".to_owned(), 2..=4),
        ] {
            for host in hosts {
                run(format!(
                    "-n {name} addr add 10.77.{link}.{host}/24 dev {interface}"
                ));
                run(format!(
                    "-n {name} addr add fd77:{link}::{host}/64 dev {interface} nodad"
                ));
            }
            run(format!("-n {name} link set {interface} up"));
        }
    }

    /// Does something where the relay is; threads and sockets that are made there stay there.
    pub(crate) fn relay<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        within(&self.names[0], work)
    }

    /// Does something where a neighbour is.
    pub(crate) fn neighbour<T: Send>(&self, link: usize, work: impl FnOnce() -> T + Send) -> T {
        within(&self.names[link + 1], work)
    }

    /// The neighbours' checksums are made when they send, as if they were far away, and not left to an interface that
    /// leaves them out.
    pub(crate) fn make_checksums(&self) {
        for link in 1..self.names.len() {
            within(&self.names[link], || checksums_in_software("n0").unwrap());
        }
    }

    /// What `ip` shows of the relay's interfaces.
    pub(crate) fn links(&self) -> String {
        ip(&format!("-n {} -d link", self.names[0])).unwrap()
    }

    /// Datagrams that sockets of the relay have received.
    pub(crate) fn received(&self) -> u64 {
        self.relay(|| {
            let count = |file: &str, start: &str, column: usize| {
                let text =
                    std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
                let mut lines = text.lines().filter(|line| line.starts_with(start));
                let line = lines.next_back().unwrap();
                line.split_whitespace()
                    .nth(column)
                    .unwrap()
                    .parse::<u64>()
                    .unwrap()
            };
            count("snmp", "Udp:", 1) + count("snmp6", "Udp6InDatagrams", 1)
        })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

fn within<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> T {
    let space = File::open(format!("/run/netns/{name}")).unwrap();
    let work = || {
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        work()
    };
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

fn ip(arguments: &str) -> io::Result<String> {
    let output = Command::new("ip").args(arguments.split(' ')).output()?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let text = String::from_utf8_lossy(&output.stderr);
            Err(io::Error::other(format!("ip {arguments}: {text}")))
        }
    }
}

/// `ethtool -K INTERFACE tx off`
fn checksums_in_software(interface: &str) -> io::Result<()> {
    const SIOCETHTOOL: u64 = 0x8946;
    const STXCSUM: u32 = 0x17;
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    let mut value = [STXCSUM, 0];
    // SAFETY: the request is all zero but for a short name and a pointer to what the command reads and writes.
    let result = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
        libc::ioctl(
            std::os::fd::AsRawFd::as_raw_fd(&socket),
            SIOCETHTOOL as _,
            &mut request,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
