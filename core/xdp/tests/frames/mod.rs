//! Frames, written from scratch.

use std::net::{IpAddr, SocketAddr};

/// A packet of RTP in UDP in IP in Ethernet.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Source and destination.
    pub(crate) hardware: [[u8; 6]; 2],
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) class: u8,
    pub(crate) hops: u8,
    pub(crate) sums: Sums,
    /// The first octet of RTP.
    pub(crate) first: u8,
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    pub(crate) payload: Vec<u8>,
}

/// The checksum of UDP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sums {
    Right,
    None,
    /// Left to the interface: the sum of the pseudo header stands in its place.
    Partial,
}

impl Default for Frame {
    fn default() -> Self {
        let nobody = SocketAddr::from(([0; 4], 0));
        Self {
            hardware: [[2, 0, 0, 0, 0, 7], [2, 0, 0, 0, 0, 1]],
            from: nobody,
            to: nobody,
            class: 0,
            hops: 64,
            sums: Sums::Right,
            first: 0x80,
            marker: false,
            payload_type: 0,
            sequence: 0,
            timestamp: 8000,
            ssrc: 0,
            payload: (0..160).collect(),
        }
    }
}

impl Frame {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend(self.hardware[1]);
        frame.extend(self.hardware[0]);
        let datagram = self.datagram();
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                frame.extend([0x08, 0x00]);
                let length = (20 + datagram.len() as u16).to_be_bytes();
                let mut header = vec![0x45, self.class, length[0], length[1], 0x12, 0x34, 0, 0];
                header.extend([self.hops, 17, 0, 0]);
                header.extend(from.octets());
                header.extend(to.octets());
                let sum = !fold(sum(&header));
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                frame.extend(header);
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                frame.extend([
                    0x86,
                    0xdd,
                    0x60 | self.class >> 4,
                    self.class << 4 | 5,
                    0x43,
                    0x21,
                ]);
                frame.extend((datagram.len() as u16).to_be_bytes());
                frame.extend([17, self.hops]);
                frame.extend(from.octets());
                frame.extend(to.octets());
            }
            _ => panic!("of two families"),
        }
        frame.extend(datagram);
        frame
    }

    fn datagram(&self) -> Vec<u8> {
        let length = 8 + 12 + self.payload.len() as u16;
        let mut datagram = Vec::new();
        datagram.extend(self.from.port().to_be_bytes());
        datagram.extend(self.to.port().to_be_bytes());
        datagram.extend(length.to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend([self.first, u8::from(self.marker) << 7 | self.payload_type]);
        datagram.extend(self.sequence.to_be_bytes());
        datagram.extend(self.timestamp.to_be_bytes());
        datagram.extend(self.ssrc.to_be_bytes());
        datagram.extend(&self.payload);
        let pseudo =
            address_sum(self.from.ip()) + address_sum(self.to.ip()) + 17 + u64::from(length);
        let sum = match self.sums {
            Sums::None => 0,
            Sums::Partial => fold(pseudo),
            Sums::Right => match !fold(pseudo + sum(&datagram)) {
                0 => 0xffff,
                sum => sum,
            },
        };
        datagram[6..8].copy_from_slice(&sum.to_be_bytes());
        datagram
    }
}

fn address_sum(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(ip) => sum(&ip.octets()),
        IpAddr::V6(ip) => sum(&ip.octets()),
    }
}

/// RFC 1071.
fn sum(bytes: &[u8]) -> u64 {
    let word = |pair: &[u8]| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    bytes.chunks(2).map(word).sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
