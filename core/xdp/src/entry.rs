//! What the program looks up, and what it finds: two structures that it shares with us.
//!
//! Addresses, ports and SSRCs stand in them as in packets; everything else is in the order of this machine.

use std::mem::offset_of;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::Flow;
use crate::link::Hop;

/// Whose packet it is: where it came to, and from where. An IPv4 address is mapped into an IPv6 one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(crate) struct Key {
    pub(crate) source: [u8; 16],
    pub(crate) destination: [u8; 16],
    /// Of the source, then of the destination: as in the header of UDP.
    pub(crate) ports: [u8; 4],
}

impl Key {
    /// Of what comes `from` there `to` an address of ours.
    pub(crate) fn new(from: SocketAddr, to: SocketAddr) -> Self {
        Self {
            source: mapped(from.ip()),
            destination: mapped(to.ip()),
            ports: ports(from, to),
        }
    }
}

/// What becomes of the packets of a flow, and what has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(crate) struct Entry {
    /// The interface to leave by.
    pub(crate) interface: u32,
    /// Longer datagrams do not fit there: octets from the header of UDP on.
    pub(crate) longest: u32,
    /// Hardware addresses: of the next hop, then ours.
    pub(crate) hardware: [u8; 12],
    /// Where it leaves from and goes to.
    pub(crate) ports: [u8; 4],
    pub(crate) source: [u8; 16],
    pub(crate) destination: [u8; 16],
    /// The SSRC of the stream.
    pub(crate) ssrc: [u8; 4],
    /// The second octet of IPv4's header, the traffic class of IPv6's.
    pub(crate) class: u32,
    /// What the change of addresses adds to the checksum of IPv4's header.
    pub(crate) header_delta: u32,
    /// What the change of addresses and ports adds to the checksum of UDP.
    pub(crate) datagram_delta: u32,
    /// The sum of the pseudo header of what comes, but for the length.
    pub(crate) pseudo: u32,
    /// Ticks of the RTP clock in 2^32 nanoseconds; 0: not known.
    pub(crate) ticks: u32,
    /// Sixteen times the jitter, in ticks.
    pub(crate) jitter: u32,
    /// The highest that it has been.
    pub(crate) worst_jitter: u32,
    /// Transit time of the last packet, in ticks; nothing before the first one.
    pub(crate) transit: u32,
    /// The RTP timestamp of the last packet.
    pub(crate) timestamp: u32,
    /// The highest extended sequence number.
    pub(crate) highest: u64,
    pub(crate) packets: u64,
    /// From the header of RTP on.
    pub(crate) octets: u64,
    /// When the last packet came, in nanoseconds of the monotonic clock; 0: none has.
    pub(crate) at: u64,
    /// What each payload type becomes; [`NOT_OURS`]: its packets are left to the workers.
    pub(crate) payload_types: [u8; 128],
}

impl Entry {
    pub(crate) fn new(flow: &Flow, hop: &Hop) -> Self {
        let before = Key::new(flow.from, flow.arrives);
        let after = Key::new(flow.leaves, flow.to);
        let addresses = sum(&after.source)
            + sum(&after.destination)
            + inverse(&before.source)
            + inverse(&before.destination);
        let headers = match flow.to {
            SocketAddr::V4(_) => IPV4_HEADER,
            SocketAddr::V6(_) => IPV6_HEADER,
        };
        Self {
            interface: hop.interface,
            longest: hop.mtu.saturating_sub(headers),
            hardware: hop.hardware(),
            ports: after.ports,
            source: after.source,
            destination: after.destination,
            ssrc: flow.ssrc.to_be_bytes(),
            class: u32::from(flow.dscp) << 2,
            header_delta: fold(addresses),
            datagram_delta: fold(addresses + sum(&after.ports) + inverse(&before.ports)),
            pseudo: fold(
                // The prefix of a mapped address is no part of IPv4's pseudo header.
                sum(prefixless(&before.source, flow.from))
                    + sum(prefixless(&before.destination, flow.arrives))
                    + sum(&[0, UDP]),
            ),
            ticks: ticks(flow.clock),
            jitter: flow.jitter,
            worst_jitter: flow.jitter,
            transit: 0,
            timestamp: 0,
            highest: flow.highest,
            packets: 0,
            octets: 0,
            at: 0,
            payload_types: flow.payload_types.0,
        }
    }
}

/// The sixteen octets as which an address is looked up.
fn mapped(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => Ipv6Addr::octets(&ip),
    }
}

/// Ticks in 2^32 nanoseconds of a clock that has `clock` in a millisecond. Rounding makes it wrong by a hundred
/// thousandth, which is nothing between two packets.
fn ticks(clock: u32) -> u32 {
    let ticks = ((u64::from(clock) << 32) + 500_000) / 1_000_000;
    u32::try_from(ticks).unwrap_or(0)
}

fn prefixless(address: &[u8; 16], of: SocketAddr) -> &[u8] {
    match of {
        SocketAddr::V4(_) => &address[12..],
        SocketAddr::V6(_) => address,
    }
}

fn ports(one: SocketAddr, other: SocketAddr) -> [u8; 4] {
    let [[a, b], [c, d]] = [one, other].map(|address| address.port().to_be_bytes());
    [a, b, c, d]
}

/// The sum of the words of `bytes` as they stand in memory: the order of octets does not matter to a sum in one's
/// complement, as long as it is the same everywhere.
///
/// # Source
/// RFC 1071 §1, §2
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2).map(|pair| match *pair {
        [one, other] => u16::from_ne_bytes([one, other]),
        [last] => u16::from_ne_bytes([last, 0]),
        _ => 0,
    });
    words.map(u64::from).sum()
}

/// The sum of what is taken away.
fn inverse(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(2);
    words
        .map(|pair| u64::from(!u16::from_ne_bytes([pair[0], pair[1]])))
        .sum()
}

/// A sum in sixteen bits.
pub(crate) fn fold(mut sum: u64) -> u32 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u32
}

/// The payload type that no packet becomes.
pub(crate) const NOT_OURS: u8 = 0xff;
/// IPv4's header without options, and IPv6's without extensions, in octets.
pub(crate) const IPV4_HEADER: u32 = 20;
pub(crate) const IPV6_HEADER: u32 = 40;
pub(crate) const UDP: u8 = 17;

// The program reads whole words: nothing may be between the fields, nor behind them.
const _: () = assert!(size_of::<Key>() == 36);
const _: () = assert!(offset_of!(Entry, highest) == 96 && size_of::<Entry>() == 256);
