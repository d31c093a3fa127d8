//! RTP in a capture: who got what, and what it sounds like.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::sound::{RATE, Recording};

/// One RTP packet (RFC 3550 §5.1).
#[derive(Clone, Debug)]
pub struct Packet {
    /// Port it was sent from.
    pub from: u16,
    /// Port it was sent to.
    pub to: u16,
    /// Payload type.
    pub kind: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Which stream.
    pub ssrc: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// All RTP packets of a capture file (classic pcap, Ethernet, IPv4), in order.
///
/// # Errors
/// When the file can't be read or is no such file.
pub fn read(path: &Path) -> Result<Vec<Packet>> {
    let file = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    parse(&file).with_context(|| format!("{} is not a capture", path.display()))
}

/// The sound of PCMU packets (RFC 3551 §4.5.14), in the order in which they came.
#[must_use]
pub fn pcmu<'a>(packets: impl IntoIterator<Item = &'a Packet>) -> Recording {
    let pcmu = packets.into_iter().filter(|packet| packet.kind == 0);
    let samples = pcmu.flat_map(|packet| packet.payload.iter().map(|&byte| expand(byte)));
    Recording::new(samples.collect(), RATE)
}

/// The largest share of packets missing in any stream of at least 50 packets.
///
/// # Errors
/// When there is no such stream.
pub fn worst_loss(packets: &[Packet]) -> Result<f64> {
    let mut streams: BTreeMap<_, BTreeSet<u16>> = BTreeMap::new();
    for packet in packets {
        let stream = streams
            .entry((packet.from, packet.to, packet.ssrc))
            .or_default();
        stream.insert(packet.sequence);
    }
    let losses = streams
        .values()
        .filter(|seen| seen.len() >= 50)
        .map(missing);
    losses
        .max_by(f64::total_cmp)
        .context("the capture has no RTP stream")
}

fn parse(file: &[u8]) -> Result<Vec<Packet>> {
    // Nanosecond or microsecond stamps: their length is the same.
    let magic = file.get(..4).context("empty")?;
    ensure!(
        [[0x4D, 0x3C, 0xB2, 0xA1], [0xD4, 0xC3, 0xB2, 0xA1]]
            .iter()
            .any(|known| magic == known)
    );
    let mut rest = file.get(24..).unwrap_or_default();
    let mut packets = Vec::new();
    // The last record may not be complete yet.
    while let Some(header) = rest.get(..16) {
        let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
        let Some(frame) = rest.get(16..16 + length) else {
            break;
        };
        packets.extend(packet(frame));
        rest = &rest[16 + length..];
    }
    Ok(packets)
}

/// The RTP packet in an Ethernet frame, if there is one.
fn packet(frame: &[u8]) -> Option<Packet> {
    const UDP: u8 = 17;
    let ip = frame.get(14..)?;
    if ip.first()? >> 4 != 4 || *ip.get(9)? != UDP {
        return None;
    }
    let udp = ip.get(usize::from(ip[0] & 15) * 4..)?;
    let rtp = udp.get(8..)?;
    let header = rtp.get(..12)?;
    let kind = header[1] & 0x7F;
    // Types 64 to 95 are RTCP's (RFC 5761 §4).
    if header[0] >> 6 != 2 || (64..96).contains(&kind) {
        return None;
    }
    Some(Packet {
        from: u16::from_be_bytes([udp[0], udp[1]]),
        to: u16::from_be_bytes([udp[2], udp[3]]),
        kind,
        sequence: u16::from_be_bytes([header[2], header[3]]),
        ssrc: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
        payload: rtp.get(12 + usize::from(header[0] & 15) * 4..)?.to_vec(),
    })
}

/// One µ-law byte (ITU-T G.711 table 2).
fn expand(byte: u8) -> i16 {
    let byte = !byte;
    let magnitude = ((i16::from(byte & 15) << 3) + 132) << ((byte >> 4) & 7);
    if byte & 0x80 == 0 {
        magnitude - 132
    } else {
        132 - magnitude
    }
}

/// The share of sequence numbers that is missing in one stream, wrapped or not.
fn missing(seen: &BTreeSet<u16>) -> f64 {
    // The widest hole on the circle of all numbers is where the stream ends and begins.
    let numbers: Vec<u32> = seen.iter().map(|&number| u32::from(number)).collect();
    let Some((&first, &last)) = numbers.first().zip(numbers.last()) else {
        return 0.0;
    };
    let inner = numbers.windows(2).map(|pair| pair[1] - pair[0]);
    let outer = first + (1 << 16) - last;
    let widest = inner.fold(outer, u32::max);
    let expected = (1 << 16) - widest + 1;
    1.0 - numbers.len() as f64 / f64::from(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_numbers_are_counted_over_the_wrap() {
        let all = |range: std::ops::Range<u32>| range.map(|n| n as u16).collect::<BTreeSet<_>>();
        assert!(missing(&all(100..300)).abs() < 1e-9);
        let mut wrapped = all(65_486..65_586);
        assert!(missing(&wrapped).abs() < 1e-9);
        wrapped.remove(&10);
        assert!((missing(&wrapped) - 0.01).abs() < 1e-9);
    }

    #[test]
    fn mu_law_expands_by_the_table() {
        assert_eq!((expand(0xFF), expand(0x7F)), (0, 0));
        assert_eq!((expand(0x80), expand(0x00)), (32124, -32124));
        assert_eq!(expand(0xEF), 132);
    }

    #[test]
    fn a_packet_is_found_in_a_frame_and_nothing_in_another() {
        let mut frame = vec![0; 14 + 20 + 8];
        frame[14] = 0x45;
        frame[14 + 9] = 17;
        frame[34..38].copy_from_slice(&[0x10, 0, 0x20, 0]);
        frame.extend_from_slice(&[0x80, 0x80, 0, 7, 0, 0, 0, 160, 0, 0, 0, 9, 0xFF, 0xFF]);
        let found = packet(&frame).unwrap();
        assert_eq!((found.from, found.to, found.kind), (0x1000, 0x2000, 0));
        assert_eq!((found.sequence, found.ssrc, found.payload.len()), (7, 9, 2));
        frame[43] = 200;
        assert!(packet(&frame).is_none(), "RTCP");
        assert!(packet(&frame[..40]).is_none(), "cut off");
    }
}
