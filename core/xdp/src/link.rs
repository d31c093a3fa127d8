//! Interfaces, and the way to an address: what the routing socket tells.
//!
//! # Source
//! RFC 3549 §2; rtnetlink(7)

use std::io;
use std::net::IpAddr;

use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// An interface of this machine.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// What a virtual one is: `veth`, `bridge`, …; empty for hardware.
    pub(crate) kind: String,
    pub(crate) mtu: u32,
    /// Its hardware address, if it is Ethernet.
    pub(crate) hardware: Option<[u8; 6]>,
    up: bool,
    /// It is a port of another one, such as a bridge.
    port: bool,
    loopback: bool,
}

impl Link {
    /// Whether media may come in by it: Ethernet, and not made of other interfaces, which have the packets first.
    pub(crate) fn is_leaf(&self) -> bool {
        let simple = matches!(&*self.kind, "" | "veth");
        self.up && !self.port && !self.loopback && self.hardware.is_some() && simple
    }
}

/// How a packet gets to an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hop {
    pub(crate) interface: u32,
    pub(crate) mtu: u32,
    /// Of the interface.
    pub(crate) ours: [u8; 6],
    /// Of the next machine.
    pub(crate) theirs: [u8; 6],
}

impl Hop {
    /// The addresses as they stand in a frame.
    pub(crate) fn hardware(&self) -> [u8; 12] {
        let mut both = [0; 12];
        both[..6].copy_from_slice(&self.theirs);
        both[6..].copy_from_slice(&self.ours);
        both
    }
}

/// All interfaces.
pub(crate) fn links() -> io::Result<Vec<Link>> {
    let mut links = Vec::new();
    ask(GETLINK, DUMP, &[0; 16], &mut |kind, body| {
        if kind == NEWLINK {
            links.extend(link(body));
        }
    })?;
    Ok(links)
}

/// The addresses of interfaces, but for those that are for the link alone.
pub(crate) fn addresses() -> io::Result<Vec<(u32, IpAddr)>> {
    let mut found = Vec::new();
    ask(GETADDR, DUMP, &[0; 8], &mut |kind, body| {
        // struct ifaddrmsg: the scope is its fourth octet, the interface its last four.
        if kind == NEWADDR
            && body.get(3).is_some_and(|scope| *scope < SCOPE_LINK)
            && let Some(interface) = body.get(4..8).and_then(number)
            && let Some(attributes) = body.get(8..)
            && let Some(ip) = find(attributes, IFA_LOCAL).or_else(|| find(attributes, IFA_ADDRESS))
            && let Some(ip) = address(ip)
        {
            found.push((interface, ip));
        }
    })?;
    Ok(found)
}

/// The way from `from`, an address of ours, to `to`; `None` if it is not known (yet), or leads nowhere.
pub(crate) fn hop(from: IpAddr, to: IpAddr) -> io::Result<Option<Hop>> {
    let Some((interface, gateway)) = route(from, to)? else {
        return Ok(None);
    };
    let Some(theirs) = neighbour(interface, gateway)? else {
        return Ok(None);
    };
    let mut body = [0; 16];
    body[4..8].copy_from_slice(&interface.to_ne_bytes());
    let mut found = None;
    ask(GETLINK, 0, &body, &mut |kind, body| {
        if kind == NEWLINK {
            found = link(body);
        }
    })?;
    Ok(found.and_then(|link| {
        Some(Hop {
            interface,
            mtu: link.mtu,
            ours: link.hardware?,
            theirs,
        })
    }))
}

/// The interface by which packets go to `to`, and the neighbour that takes them there.
fn route(from: IpAddr, to: IpAddr) -> io::Result<Option<(u32, IpAddr)>> {
    let (from, to) = (octets(from), octets(to));
    let bits = (to.len() * 8) as u8;
    let mut body = vec![family(&to), bits, bits, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    attribute(&mut body, RTA_DST, &to);
    attribute(&mut body, RTA_SRC, &from);
    let mut found = None;
    ask(GETROUTE, 0, &body, &mut |kind, body| {
        // One that is ours, or refused, is no way out.
        if kind == NEWROUTE && body.get(7) == Some(&RTN_UNICAST) {
            let attributes = body.get(12..).unwrap_or_default();
            let interface = find(attributes, RTA_OIF).and_then(number);
            let gateway = find(attributes, RTA_GATEWAY).unwrap_or(&to);
            let through = find(attributes, RTA_VIA).and_then(|via| via.get(2..));
            found = interface.zip(address(through.unwrap_or(gateway)));
        }
    })?;
    Ok(found)
}

/// The hardware address of a neighbour, if that is known.
fn neighbour(interface: u32, ip: IpAddr) -> io::Result<Option<[u8; 6]>> {
    let ip = octets(ip);
    let mut body = vec![family(&ip), 0, 0, 0];
    body.extend(interface.to_ne_bytes());
    body.extend([0; 4]);
    attribute(&mut body, NDA_DST, &ip);
    let mut found = None;
    let asked = ask(GETNEIGH, 0, &body, &mut |kind, body| {
        let state = body
            .get(8..10)
            .map_or(0, |s| u16::from_ne_bytes([s[0], s[1]]));
        if kind == NEWNEIGH && state & NUD_VALID != 0 {
            let attributes = body.get(12..).unwrap_or_default();
            found = find(attributes, NDA_LLADDR).and_then(|a| a.try_into().ok());
        }
    });
    match asked {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        asked => asked.map(|()| found),
    }
}

fn link(body: &[u8]) -> Option<Link> {
    let attributes = body.get(16..)?;
    let kind = u16::from_ne_bytes([body[2], body[3]]);
    let flags = number(&body[8..12])?;
    let text = |bytes: &[u8]| {
        let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    };
    let info = find(attributes, IFLA_LINKINFO).and_then(|info| find(info, IFLA_INFO_KIND));
    let hardware = find(attributes, IFLA_ADDRESS).and_then(|a| a.try_into().ok());
    Some(Link {
        index: number(&body[4..8])?,
        name: find(attributes, IFLA_IFNAME).map(text)?,
        kind: info.map(text).unwrap_or_default(),
        mtu: find(attributes, IFLA_MTU).and_then(number).unwrap_or(0),
        hardware: hardware.filter(|_| kind == ARPHRD_ETHER),
        up: flags & IFF_UP != 0,
        port: find(attributes, IFLA_MASTER).is_some(),
        loopback: flags & IFF_LOOPBACK != 0,
    })
}

/// Asks the kernel, and hands each answer to `take`: its type and what is behind its header.
fn ask(kind: u16, flags: u16, body: &[u8], take: &mut dyn FnMut(u16, &[u8])) -> io::Result<()> {
    let socket = net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // NETLINK_ROUTE, which is 0.
        None,
    )?;
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((REQUEST | flags).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    net::send(&socket, &message, SendFlags::empty())?;
    let mut buffer = vec![0; ANSWER];
    loop {
        // The kernel has answered, in part at least, before the question has returned.
        let (_, len) = net::recv(&socket, &mut buffer[..], RecvFlags::DONTWAIT)?;
        let mut rest = &buffer[..len.min(ANSWER)];
        while let Some((kind, body, behind)) = split(rest) {
            match kind {
                ERROR => return refusal(body),
                DONE => return Ok(()),
                _ => take(kind, body),
            }
            rest = behind;
        }
        if flags & DUMP == 0 {
            return Ok(());
        }
    }
}

/// The first message: its type, what is in it, and what is behind it.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = number(bytes.get(..4)?)? as usize;
    let body = bytes.get(HEADER..len)?;
    let kind = u16::from_ne_bytes([bytes[4], bytes[5]]);
    let behind = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, body, behind))
}

fn refusal(body: &[u8]) -> io::Result<()> {
    match body.get(..4).and_then(number).map(|code| code as i32) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend(((value.len() + 4) as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// The attribute of this type.
fn find(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let [l0, l1, k0, k1] = *attributes.first_chunk()?;
        let len = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = attributes.get(4..len)?;
        if u16::from_ne_bytes([k0, k1]) & TYPE_MASK == kind {
            return Some(value);
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(octets) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

fn family(octets: &[u8]) -> u8 {
    let family = match octets.len() {
        4 => AddressFamily::INET,
        _ => AddressFamily::INET6,
    };
    family.as_raw() as u8
}

/// Octets of a message's header.
const HEADER: usize = 16;
/// The kernel's answers are no longer than this.
const ANSWER: usize = 32 * 1024;
const REQUEST: u16 = 1;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const NEWLINK: u16 = 16;
const GETLINK: u16 = 18;
const NEWADDR: u16 = 20;
const GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const SCOPE_LINK: u8 = 253;
const NEWROUTE: u16 = 24;
const GETROUTE: u16 = 26;
const NEWNEIGH: u16 = 28;
const GETNEIGH: u16 = 30;
const TYPE_MASK: u16 = 0x3fff;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const ARPHRD_ETHER: u16 = 1;
const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_VIA: u16 = 18;
const RTN_UNICAST: u8 = 1;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
/// NUD_REACHABLE, STALE, DELAY, PROBE, PERMANENT.
const NUD_VALID: u16 = 0x02 | 0x04 | 0x08 | 0x10 | 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_an_interface_that_media_do_not_come_by() {
        let links = links().unwrap();
        let lo = links.iter().find(|link| link.name == "lo").unwrap();
        assert!(lo.loopback && !lo.is_leaf() && lo.mtu > 0);
    }

    #[test]
    fn what_is_ours_is_not_on_the_way_anywhere() {
        let local = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(hop(local, local).unwrap(), None);
    }

    #[test]
    fn damaged_answers_are_read_to_where_they_break() {
        assert_eq!(split(&[200, 0, 0, 0, 1, 0, 0, 0]), None);
        assert_eq!(find(&[3, 0, 1, 0, 9, 9], 1), None);
        assert_eq!(find(&[0; 64], 1), None);
        assert_eq!(link(&[0; 5]), None);
    }
}
