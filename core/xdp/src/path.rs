//! The path through the kernel: the table, the program, and the interfaces that it is attached to.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::entry::{Entry, Key};
use crate::link::{self, Link};
use crate::sys::{self, Outcome, Table};
use crate::{Flow, program};

/// Where packets pass by themselves. Dropping it, or the end of the process in whatever way, ends that: nothing of it
/// stays in the system.
#[derive(Debug)]
pub struct Path {
    table: Table<Key, Entry>,
    program: OwnedFd,
    links: Vec<Attached>,
    mode: Mode,
}

/// How the program is attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// In the driver, before the system has made anything of a packet.
    Native,
    /// Where the system would begin with a packet; any driver will do.
    Generic,
}

#[derive(Debug)]
struct Attached {
    interface: u32,
    name: String,
    /// Closing it detaches the program.
    _link: OwnedFd,
}

/// Why there is no path through the kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// The process lacks `CAP_BPF`, `CAP_PERFMON` and `CAP_NET_ADMIN`, or BPF is forbidden altogether.
    #[error("not permitted: CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN are needed")]
    NotPermitted,
    /// The kernel is too old, or made without BPF.
    #[error("the kernel is too old or made without it: {0}")]
    Kernel(io::Error),
    /// No interface is fit for it.
    #[error("no Ethernet interface that is up and has an address for media{0}")]
    NoInterface(String),
    /// The program cannot be attached: there may be another one.
    #[error("cannot attach to {interface}: {error}")]
    Attach {
        /// Its name.
        interface: String,
        /// What the system says.
        error: io::Error,
    },
}

impl Unavailable {
    fn kernel(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::NotPermitted,
            _ => Self::Kernel(error),
        }
    }
}

/// What has passed of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counters {
    /// Packets that have passed.
    pub packets: u64,
    /// Octets in them, from RTP's header on.
    pub octets: u64,
    /// The highest extended sequence number, counted on from [`Flow::highest`].
    pub highest: u64,
    /// RTP timestamp of the last packet.
    pub timestamp: u32,
    /// Sixteen times the interarrival jitter, and the highest that it was, in ticks of the RTP clock.
    pub jitter: [u32; 2],
    /// How long ago the last packet came; none: none has.
    pub idle: Option<Duration>,
}

impl Path {
    /// Attaches the program to the interfaces with these names. Without any name: to those Ethernet interfaces that own
    /// one of `addresses`, and without any to all that have one. Natively if each of them can do that, else
    /// generically.
    ///
    /// # Errors
    /// There is no path through the kernel, and why.
    pub fn open(interfaces: &[String], addresses: &[IpAddr]) -> Result<Self, Unavailable> {
        let links = chosen(interfaces, addresses)?;
        // A pair of virtual interfaces passes on what the program sends only if the other end has a program too,
        // which cannot be seen from here; what is sent is lost without a word.
        let blind = links.iter().any(|link| link.kind == "veth");
        match blind {
            true => Self::attach(&links, Mode::Generic),
            false => {
                Self::attach(&links, Mode::Native).or_else(|_| Self::attach(&links, Mode::Generic))
            }
        }
    }

    /// Attaches the program to the interfaces with these names, in this mode and no other.
    ///
    /// # Errors
    /// There is no path through the kernel, and why.
    pub fn open_in(mode: Mode, interfaces: &[String]) -> Result<Self, Unavailable> {
        Self::attach(&chosen(interfaces, &[])?, mode)
    }

    /// A path that no interface leads to: what the program does can be tried with [`run`](Self::run).
    ///
    /// # Errors
    /// The process may not load it, or the kernel is too old.
    pub fn detached() -> Result<Self, Unavailable> {
        let table = Table::new(FLOWS).map_err(Unavailable::kernel)?;
        let code = program::program(table.descriptor());
        let program = sys::load(&code, LICENCE).map_err(Unavailable::kernel)?;
        let nobody = Key {
            source: [0; 16],
            destination: [0; 16],
            ports: [0; 4],
        };
        // Linux 5.14 or later.
        match table.remove(&nobody) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Unavailable::Kernel(error))
            }
            _ => Ok(Self {
                table,
                program,
                links: Vec::new(),
                mode: Mode::Generic,
            }),
        }
    }

    fn attach(links: &[Link], mode: Mode) -> Result<Self, Unavailable> {
        let mut path = Self::detached()?;
        path.mode = mode;
        let flags = match mode {
            Mode::Native => sys::NATIVE,
            Mode::Generic => sys::GENERIC,
        };
        for link in links {
            let attached = sys::attach(&path.program, link.index, flags);
            let error = |error: io::Error| match error.raw_os_error() {
                Some(libc::EPERM) => Unavailable::NotPermitted,
                _ => Unavailable::Attach {
                    interface: link.name.clone(),
                    error,
                },
            };
            path.links.push(Attached {
                interface: link.index,
                name: link.name.clone(),
                _link: attached.map_err(error)?,
            });
        }
        Ok(path)
    }

    /// How the program is attached.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The names of the interfaces that it is attached to.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        self.links.iter().map(|link| &*link.name)
    }

    /// From now on the packets of a flow pass by themselves. Where they go is decided now: see
    /// [`is_current`](Self::is_current).
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound): the way to where the flow goes is not known, or leads out by none of our
    /// interfaces. Others: the flow is there already, or the table is full. Its packets take the long way, then.
    pub fn insert(&self, flow: &Flow) -> io::Result<()> {
        let entry = self.entry(flow)?;
        self.table
            .insert(&Key::new(flow.from, flow.arrives), &entry)
    }

    /// Puts a flow in the table that leaves by interface number `interface`, whatever that is: for a trial.
    ///
    /// # Errors
    /// The flow is there already, or the table is full.
    pub fn insert_by(
        &self,
        flow: &Flow,
        interface: u32,
        theirs: [u8; 6],
        ours: [u8; 6],
    ) -> io::Result<()> {
        let hop = link::Hop {
            interface,
            mtu: 1500,
            ours,
            theirs,
        };
        let key = Key::new(flow.from, flow.arrives);
        self.table.insert(&key, &Entry::new(flow, &hop))
    }

    /// Whether packets of a flow that is in the table still go where they should: routes change.
    #[must_use]
    pub fn is_current(&self, flow: &Flow) -> bool {
        let key = Key::new(flow.from, flow.arrives);
        let (Ok(wanted), Ok(there)) = (self.entry(flow), self.table.read(&key)) else {
            return false;
        };
        let way = |entry: &Entry| (entry.interface, entry.hardware, entry.longest);
        way(&wanted) == way(&there)
    }

    /// What has passed of a flow; none if it is not in the table.
    #[must_use]
    pub fn read(&self, flow: &Flow) -> Option<Counters> {
        let key = Key::new(flow.from, flow.arrives);
        self.table.read(&key).ok().map(counters)
    }

    /// Takes a flow out of the table: its packets take the long way again. What had passed; none if it was not there.
    pub fn remove(&self, flow: &Flow) -> Option<Counters> {
        let key = Key::new(flow.from, flow.arrives);
        self.table.remove(&key).ok().map(counters)
    }

    /// Runs the program `repeat` times with a frame, as if that came from the loopback interface, which has number 1.
    ///
    /// # Errors
    /// The system refuses.
    pub fn run(&self, frame: &[u8], repeat: u32) -> io::Result<Outcome> {
        sys::run(&self.program, frame, repeat)
    }

    fn entry(&self, flow: &Flow) -> io::Result<Entry> {
        let hop = link::hop(flow.leaves.ip(), flow.to.ip())?;
        let ours = |hop: &link::Hop| self.links.iter().any(|l| l.interface == hop.interface);
        let hop = hop.filter(ours).ok_or(io::ErrorKind::NotFound)?;
        Ok(Entry::new(flow, &hop))
    }
}

/// The interfaces with these names; without any, those that have one of these addresses; without any, those that have
/// one at all.
fn chosen(names: &[String], ips: &[IpAddr]) -> Result<Vec<Link>, Unavailable> {
    let mut links = link::links().map_err(Unavailable::kernel)?;
    links.retain(Link::is_leaf);
    let there = |name: &String| links.iter().any(|link| link.name == *name);
    if let Some(missing) = names.iter().find(|name| !there(name)) {
        return Err(Unavailable::NoInterface(format!(": {missing}")));
    }
    let mut owned = link::addresses().map_err(Unavailable::kernel)?;
    owned.retain(|(_, ip)| ips.is_empty() || ips.contains(ip));
    links.retain(|link| match names {
        [] => owned.iter().any(|(interface, _)| *interface == link.index),
        _ => names.contains(&link.name),
    });
    match links.is_empty() {
        true => Err(Unavailable::NoInterface(String::new())),
        false => Ok(links),
    }
}

fn counters(entry: Entry) -> Counters {
    let now = clock_gettime(ClockId::Monotonic);
    let now = Duration::new(now.tv_sec as u64, now.tv_nsec as u32);
    let at = Duration::from_nanos(entry.at);
    Counters {
        packets: entry.packets,
        octets: entry.octets,
        highest: entry.highest,
        timestamp: entry.timestamp,
        jitter: [entry.jitter, entry.worst_jitter],
        idle: (entry.at != 0).then(|| now.saturating_sub(at)),
    }
}

/// Flows at once; further ones take the long way.
const FLOWS: u32 = 65_536;
/// No helper that the program calls asks for more.
const LICENCE: &std::ffi::CStr = c"MIT OR Apache-2.0";
