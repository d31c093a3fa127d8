//! Messages as a capture file for Wireshark and its kin.
//!
//! Each message is one “exported PDU”: the message in clear with the addresses, ports and transport
//! between which it went. So a message from an encrypted connection looks like any other, and no
//! packet has to be invented around it.
//!
//! # Source
//! draft-ietf-opsawg-pcapng §4.1 (section header), §4.2 (interface description), §4.3 (enhanced
//! packet); LINKTYPE_WIRESHARK_UPPER_PDU is 252.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use api::TraceMessage;
use api::trace::Direction;

/// Writes a capture file, message by message.
#[derive(Debug)]
pub(super) struct Capture<W> {
    file: W,
    block: Vec<u8>,
}

impl<W: Write> Capture<W> {
    /// Begins a file.
    pub(super) fn new(mut file: W) -> io::Result<Self> {
        let mut block = Vec::new();
        section_header(&mut block);
        interface(&mut block);
        file.write_all(&block)?;
        Ok(Self { file, block })
    }

    /// Adds a message; whatever happens then, it is in the file.
    pub(super) fn put(&mut self, message: &TraceMessage) -> io::Result<()> {
        self.block.clear();
        packet(&mut self.block, message);
        self.file.write_all(&self.block)?;
        self.file.flush()
    }
}

fn section_header(out: &mut Vec<u8>) {
    block(out, 0x0A0D_0D0A, |out| {
        // Byte-order magic, version 1.0, and a section of unknown length.
        out.extend(0x1A2B_3C4D_u32.to_le_bytes());
        out.extend(1_u16.to_le_bytes());
        out.extend(0_u16.to_le_bytes());
        out.extend(u64::MAX.to_le_bytes());
        let program = concat!("dialtone ", env!("CARGO_PKG_VERSION"));
        option(out, USER_APPLICATION, program.as_bytes());
        option(out, END, &[]);
    });
}

fn interface(out: &mut Vec<u8>) {
    block(out, 1, |out| {
        out.extend(UPPER_PDU.to_le_bytes());
        out.extend(0_u16.to_le_bytes());
        // Packets of any length.
        out.extend(0_u32.to_le_bytes());
        option(out, NAME, b"dialtone");
        option(out, TIME_RESOLUTION, &[MICROSECONDS]);
        option(out, END, &[]);
    });
}

fn packet(out: &mut Vec<u8>, message: &TraceMessage) {
    let mut data = Vec::new();
    exported_pdu(&mut data, message);
    let length = data.len() as u32;
    block(out, 6, |out| {
        out.extend(0_u32.to_le_bytes());
        out.extend(((message.at >> 32) as u32).to_le_bytes());
        out.extend((message.at as u32).to_le_bytes());
        out.extend(length.to_le_bytes());
        out.extend(length.to_le_bytes());
        out.extend(&data);
        pad(out);
        let mut comment = message.transport.clone();
        if let Some(call) = &message.call {
            comment += &format!(", call {call}");
        }
        option(out, COMMENT, comment.as_bytes());
        let direction: u32 = match message.direction {
            Direction::Received => 1,
            Direction::Sent => 2,
        };
        option(out, FLAGS, &direction.to_le_bytes());
        option(out, END, &[]);
    });
}

/// The tags and the message, as Wireshark's `epan/exported_pdu.h` numbers them. Unlike the rest of
/// the file they are in network byte order.
fn exported_pdu(out: &mut Vec<u8>, message: &TraceMessage) {
    let (from, to) = match message.direction {
        Direction::Received => (message.remote, message.local),
        Direction::Sent => (message.local, message.remote),
    };
    tag(out, 12, b"sip");
    address(out, from, 20, 22);
    address(out, to, 21, 23);
    let port_type: u32 = if message.transport == "udp" { 3 } else { 2 };
    tag(out, 24, &port_type.to_be_bytes());
    tag(out, 25, &u32::from(from.port()).to_be_bytes());
    tag(out, 26, &u32::from(to.port()).to_be_bytes());
    tag(out, 0, &[]);
    out.extend(message.content.octets());
}

fn address(out: &mut Vec<u8>, address: SocketAddr, v4: u16, v6: u16) {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => tag(out, v4, &ip.octets()),
        IpAddr::V6(ip) => tag(out, v6, &ip.octets()),
    }
}

fn tag(out: &mut Vec<u8>, number: u16, value: &[u8]) {
    let padded = value.len().next_multiple_of(4);
    out.extend(number.to_be_bytes());
    out.extend((padded as u16).to_be_bytes());
    out.extend(value);
    out.resize(out.len() + padded - value.len(), 0);
}

/// A block with its length before and after; the file begins at a multiple of four octets, and so does
/// each block.
fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let length = (out.len() - start + 4) as u32;
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    out.extend(length.to_le_bytes());
}

fn option(out: &mut Vec<u8>, number: u16, value: &[u8]) {
    out.extend(number.to_le_bytes());
    out.extend((value.len() as u16).to_le_bytes());
    out.extend(value);
    pad(out);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

const UPPER_PDU: u16 = 252;

const END: u16 = 0;
const COMMENT: u16 = 1;
const NAME: u16 = 2;
const FLAGS: u16 = 2;
const USER_APPLICATION: u16 = 4;
const TIME_RESOLUTION: u16 = 9;

/// As a power of ten: 10⁻⁶ s.
const MICROSECONDS: u8 = 6;

#[cfg(test)]
mod tests {
    use api::trace::Content;

    use super::*;

    #[test]
    fn a_file_is_a_chain_of_blocks_with_the_message_in_the_last() {
        let mut file = Vec::new();
        let mut capture = Capture::new(&mut file).unwrap();
        let text = b"OPTIONS sip:a SIP/2.0\r\n\r\n!";
        let message = TraceMessage {
            at: 0x0006_60C1_0203_0405,
            direction: Direction::Received,
            transport: "wss".into(),
            local: "192.0.2.1:443".parse().unwrap(),
            remote: "192.0.2.7:50000".parse().unwrap(),
            call: Some("07-1".into()),
            content: Content::new(text),
        };
        capture.put(&message).unwrap();
        let mut blocks = Vec::new();
        let mut rest = &file[..];
        while !rest.is_empty() {
            let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
            let length = word(4) as usize;
            assert_eq!(word(length - 4) as usize, length);
            blocks.push((word(0), rest[8..length - 4].to_vec()));
            rest = &rest[length..];
        }
        let kinds: Vec<_> = blocks.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [0x0A0D_0D0A, 1, 6]);
        let packet = &blocks[2].1;
        assert_eq!(packet[4..12], [0xC1, 0x60, 6, 0, 5, 4, 3, 2]);
        let length = u32::from_le_bytes(packet[12..16].try_into().unwrap()) as usize;
        let data = &packet[20..20 + length];
        let tags = [
            &[0, 12, 0, 4, b's', b'i', b'p', 0][..],
            &[0, 20, 0, 4, 192, 0, 2, 7],
            &[0, 21, 0, 4, 192, 0, 2, 1],
            &[0, 24, 0, 4, 0, 0, 0, 2],
            &[0, 25, 0, 4, 0, 0, 0xC3, 0x50],
            &[0, 26, 0, 4, 0, 0, 1, 0xBB],
            &[0, 0, 0, 0],
            text,
        ];
        assert_eq!(data, tags.concat());
        let options = &packet[20 + length.next_multiple_of(4)..];
        assert_eq!(options[4..18], *b"wss, call 07-1");
        assert_eq!(options[20..28], [2, 0, 4, 0, 1, 0, 0, 0]);
    }
}
