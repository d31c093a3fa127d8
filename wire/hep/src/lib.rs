//! HEP version 3, also called EEP: copies of messages for a capture server such as Homer.
//!
//! A packet is the text `HEP3`, its length, and chunks: between whom the message went and when, what it
//! is, who has captured it, and the message itself.
//!
//! ```
//! use std::time::Duration;
//! let agent = hep::Agent { id: 2001, key: "secret".into(), node: "dialtone".into() };
//! let packet = hep::Packet {
//!     from: "192.0.2.7:5060".parse()?,
//!     to: "192.0.2.1:5060".parse()?,
//!     transport: hep::Transport::Udp,
//!     since_1970: Duration::from_secs(1_795_236_356),
//!     correlation: Some("07-0123456789abcdef"),
//!     payload: b"OPTIONS sip:192.0.2.1 SIP/2.0\r\n\r\n",
//! };
//! let mut octets = Vec::new();
//! packet.encode(&agent, &mut octets)?;
//! assert_eq!(octets[..4], *b"HEP3");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It encodes only: nobody sends us such packets.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Who captures; the same in all packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// The number by which the capture server knows this one.
    pub id: u32,
    /// What the capture server wants to see before it believes; empty: nothing.
    pub key: String,
    /// The name of this server; empty: none.
    pub node: String,
}

/// A SIP message and how it went.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Who sent it.
    pub from: SocketAddr,
    /// Who received it.
    pub to: SocketAddr,
    /// What carried it.
    pub transport: Transport,
    /// When, since 1970-01-01 00:00 UTC.
    pub since_1970: Duration,
    /// What joins it to other messages of the same call, such as those of its other leg.
    pub correlation: Option<&'a str>,
    /// The message.
    pub payload: &'a [u8],
}

/// What carries messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream, with or without TLS or WebSocket around the messages.
    Tcp,
}

/// The packet can't be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The length of a packet is written in two octets.
    #[error("a packet of {0} octets is too long; at most 65535 can be written")]
    TooLong(usize),
}

impl Packet<'_> {
    /// Appends the packet to `out`. The addresses are those of IPv4 if both can be written so.
    ///
    /// # Errors
    /// If it is too long; `out` stays as it was.
    ///
    /// # Source
    /// HEP/EEP encapsulation protocol, revision 33, §3 (packet), §4 (generic chunks)
    pub fn encode(&self, agent: &Agent, out: &mut Vec<u8>) -> Result<(), Error> {
        let start = out.len();
        out.extend(*b"HEP3\0\0");
        self.encode_way(out);
        let (seconds, micros) = (self.since_1970.as_secs(), self.since_1970.subsec_micros());
        chunk(out, TIME_SECONDS, &(seconds as u32).to_be_bytes());
        chunk(out, TIME_MICROSECONDS, &micros.to_be_bytes());
        chunk(out, PAYLOAD_KIND, &[SIP]);
        chunk(out, AGENT, &agent.id.to_be_bytes());
        for (kind, text) in [
            (KEY, Some(agent.key.as_str())),
            (NODE, Some(agent.node.as_str())),
            (CORRELATION, self.correlation),
        ] {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                chunk(out, kind, text.as_bytes());
            }
        }
        chunk(out, PAYLOAD, self.payload);
        let length = out.len() - start;
        let Ok(written) = u16::try_from(length) else {
            out.truncate(start);
            return Err(Error::TooLong(length));
        };
        out[start + 4..start + 6].copy_from_slice(&written.to_be_bytes());
        Ok(())
    }

    fn encode_way(&self, out: &mut Vec<u8>) {
        let protocol = match self.transport {
            Transport::Udp => 17,
            Transport::Tcp => 6,
        };
        let ends = (self.from.ip().to_canonical(), self.to.ip().to_canonical());
        if let (IpAddr::V4(from), IpAddr::V4(to)) = ends {
            chunk(out, FAMILY, &[INET]);
            chunk(out, PROTOCOL, &[protocol]);
            chunk(out, FROM_V4, &from.octets());
            chunk(out, TO_V4, &to.octets());
        } else {
            chunk(out, FAMILY, &[INET6]);
            chunk(out, PROTOCOL, &[protocol]);
            chunk(out, FROM_V6, &v6(ends.0));
            chunk(out, TO_V6, &v6(ends.1));
        }
        chunk(out, FROM_PORT, &self.from.port().to_be_bytes());
        chunk(out, TO_PORT, &self.to.port().to_be_bytes());
    }
}

fn v6(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// A chunk of the generic vendor, 0. One that is too long makes the packet so, which is refused.
fn chunk(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend(0_u16.to_be_bytes());
    out.extend(kind.to_be_bytes());
    out.extend(((value.len() + 6) as u16).to_be_bytes());
    out.extend(value);
}

const FAMILY: u16 = 1;
const PROTOCOL: u16 = 2;
const FROM_V4: u16 = 3;
const TO_V4: u16 = 4;
const FROM_V6: u16 = 5;
const TO_V6: u16 = 6;
const FROM_PORT: u16 = 7;
const TO_PORT: u16 = 8;
const TIME_SECONDS: u16 = 9;
const TIME_MICROSECONDS: u16 = 10;
const PAYLOAD_KIND: u16 = 11;
const AGENT: u16 = 12;
const KEY: u16 = 14;
const PAYLOAD: u16 = 15;
const CORRELATION: u16 = 17;
const NODE: u16 = 19;

/// Address families as Linux numbers them, which is what capture servers read.
const INET: u8 = 2;
const INET6: u8 = 10;

/// The payload is a SIP message.
const SIP: u8 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn agent() -> Agent {
        Agent {
            id: 2001,
            key: "secret".into(),
            node: "pbx1".into(),
        }
    }

    /// All chunks by kind.
    fn chunks(mut rest: &[u8]) -> Vec<(u16, Vec<u8>)> {
        let word = |octets: &[u8], at: usize| u16::from_be_bytes([octets[at], octets[at + 1]]);
        assert_eq!(
            (&rest[..4], word(rest, 4) as usize),
            (&b"HEP3"[..], rest.len())
        );
        rest = &rest[6..];
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            assert_eq!(word(rest, 0), 0, "the generic vendor");
            let (chunk, after) = rest.split_at(word(rest, 4) as usize);
            chunks.push((word(chunk, 2), chunk[6..].to_vec()));
            rest = after;
        }
        chunks
    }

    #[test]
    fn a_packet_over_ipv4_octet_by_octet() {
        let packet = Packet {
            from: "192.0.2.7:5070".parse().unwrap(),
            to: "192.0.2.1:5060".parse().unwrap(),
            transport: Transport::Udp,
            since_1970: Duration::new(0x6B01_0203, 123_456_000),
            correlation: Some("07-1"),
            payload: b"SIP",
        };
        let mut out = b"before".to_vec();
        packet.encode(&agent(), &mut out).unwrap();
        #[rustfmt::skip]
        let expected: &[&[u8]] = &[
            b"before", b"HEP3", &[0, 134],
            &[0, 0, 0, 1, 0, 7, 2],
            &[0, 0, 0, 2, 0, 7, 17],
            &[0, 0, 0, 3, 0, 10, 192, 0, 2, 7],
            &[0, 0, 0, 4, 0, 10, 192, 0, 2, 1],
            &[0, 0, 0, 7, 0, 8, 0x13, 0xCE],
            &[0, 0, 0, 8, 0, 8, 0x13, 0xC4],
            &[0, 0, 0, 9, 0, 10, 0x6B, 1, 2, 3],
            &[0, 0, 0, 10, 0, 10, 0, 1, 0xE2, 0x40],
            &[0, 0, 0, 11, 0, 7, 1],
            &[0, 0, 0, 12, 0, 10, 0, 0, 7, 0xD1],
            &[0, 0, 0, 14, 0, 12], b"secret",
            &[0, 0, 0, 19, 0, 10], b"pbx1",
            &[0, 0, 0, 17, 0, 10], b"07-1",
            &[0, 0, 0, 15, 0, 9], b"SIP",
        ];
        assert_eq!(out, expected.concat());
    }

    #[test]
    fn ipv6_and_what_is_not_there() {
        let packet = Packet {
            from: "[2001:db8::7]:5070".parse().unwrap(),
            to: "[::ffff:192.0.2.1]:5061".parse().unwrap(),
            transport: Transport::Tcp,
            since_1970: Duration::ZERO,
            correlation: None,
            payload: b"",
        };
        let nobody = Agent {
            id: 0,
            key: String::new(),
            node: String::new(),
        };
        let mut out = Vec::new();
        packet.encode(&nobody, &mut out).unwrap();
        let chunks = chunks(&out);
        let kinds: Vec<_> = chunks.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 15]);
        assert_eq!((&chunks[0].1, &chunks[1].1), (&vec![10], &vec![6]));
        assert_eq!(chunks[3].1[10..], [0xFF, 0xFF, 192, 0, 2, 1]);
    }

    #[test]
    fn what_does_not_fit_is_refused_whole() {
        let payload = vec![b'x'; 65_535];
        let packet = Packet {
            from: "192.0.2.7:1".parse().unwrap(),
            to: "192.0.2.1:2".parse().unwrap(),
            transport: Transport::Udp,
            since_1970: Duration::ZERO,
            correlation: None,
            payload: &payload,
        };
        let mut out = b"kept".to_vec();
        let error = packet.encode(&agent(), &mut out).unwrap_err();
        assert!(matches!(error, Error::TooLong(_)), "{error}");
        assert_eq!(out, b"kept");
    }

    proptest! {
        #[test]
        fn the_message_and_its_call_come_out_as_they_went_in(
            payload in proptest::collection::vec(any::<u8>(), 0..2000),
            call in "[a-z0-9-]{1,40}",
            from: SocketAddr,
            to: SocketAddr,
        ) {
            let packet = Packet {
                from,
                to,
                transport: Transport::Tcp,
                since_1970: Duration::from_secs(1),
                correlation: Some(&call),
                payload: &payload,
            };
            let mut out = Vec::new();
            packet.encode(&agent(), &mut out).unwrap();
            let chunks = chunks(&out);
            let value = |kind| chunks.iter().find(|(k, _)| *k == kind).map(|(_, value)| &value[..]);
            prop_assert_eq!(value(PAYLOAD), Some(&payload[..]));
            prop_assert_eq!(value(CORRELATION), Some(call.as_bytes()));
            prop_assert_eq!(value(TO_PORT), Some(&to.port().to_be_bytes()[..]));
        }
    }
}
