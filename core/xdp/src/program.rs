//! The program: what the kernel does with each packet that comes in, before anything else sees it.
//!
//! A packet of a flow that stands in the table is counted, gets its new addresses, ports, payload type, class of
//! service and checksums, and leaves. Every other packet goes on to the system as if we were not there, and so to
//! the workers: what is no plain RTP, what is not agreed, what is late or out of order, what is cut into fragments
//! or carries options. So whatever is not simple is decided in one place, and that is not here.
//!
//! Read it from [`program`] on; the text of it is the same for IPv4 and IPv6 but for three functions.

use std::mem::offset_of;

use crate::asm::Reg::{self, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};
use crate::asm::{Asm, If, Instruction, Label, Op, Size};
use crate::entry::{Entry, IPV4_HEADER, IPV6_HEADER, Key, NOT_OURS, UDP};

/// Where a field of the entry is.
macro_rules! field {
    ($name:ident) => {
        offset_of!(Entry, $name) as i16
    };
}

/// The program; `table` is the descriptor of the map from [`Key`] to [`Entry`].
///
/// R6 is the context, R7 points to the header of UDP, R9 to the entry once it is found. R8 is the length of the
/// datagram, later the new payload type.
pub(crate) fn program(table: i32) -> Vec<Instruction> {
    let mut asm = Asm::default();
    let pass = asm.label();
    asm.mov(R6, R1);
    for version in [Version::V4, Version::V6] {
        let other = asm.label();
        recognise(&mut asm, version, other, pass);
        find(&mut asm, table, pass);
        examine(&mut asm, version, pass);
        count(&mut asm);
        rewrite_datagram(&mut asm, version);
        match version {
            Version::V4 => rewrite_ipv4(&mut asm),
            Version::V6 => rewrite_ipv6(&mut asm),
        }
        send(&mut asm, version);
        asm.bind(other);
    }
    asm.bind(pass);
    asm.mov(R0, XDP_PASS);
    asm.exit();
    asm.finish()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V4,
    V6,
}

impl Version {
    /// Octets of a header without options.
    const fn header(self) -> i16 {
        match self {
            Self::V4 => IPV4_HEADER as i16,
            Self::V6 => IPV6_HEADER as i16,
        }
    }

    /// As it stands in a frame.
    fn ethertype(self) -> i32 {
        match self {
            Self::V4 => in_memory([0x08, 0x00]),
            Self::V6 => in_memory([0x86, 0xdd]),
        }
    }
}

/// Is it a whole datagram of UDP in a packet of this version, long enough for RTP? If so its key is made.
fn recognise(asm: &mut Asm, version: Version, other: Label, pass: Label) {
    asm.load(Size::W, R2, R6, CONTEXT_DATA);
    asm.load(Size::W, R3, R6, CONTEXT_DATA_END);
    asm.mov(R7, R2);
    asm.alu(Op::Add, R7, i32::from(ETHERNET + version.header()));
    asm.mov(R4, R7);
    asm.alu(Op::Add, R4, UDP_HEADER + RTP_HEADER);
    asm.jump_if(If::Gt, R4, R3, other);
    asm.load(Size::H, R5, R2, ETHERTYPE);
    asm.jump_if(If::Ne, R5, version.ethertype(), other);
    asm.load(Size::H, R5, R7, UDP_LENGTH);
    asm.swap_network(Size::H, R5);
    asm.alu(Op::And, R5, 0xffff);
    match version {
        Version::V4 => recognise_ipv4(asm, pass),
        Version::V6 => recognise_ipv6(asm, pass),
    }
    asm.jump_if(If::Lt, R5, UDP_HEADER + RTP_HEADER, pass);
    asm.mov(R0, R7);
    asm.alu(Op::Add, R0, R5);
    asm.jump_if(If::Gt, R0, R3, pass);
    // Version 2, no padding, no extension, no contributing sources: a header of twelve octets.
    asm.load(Size::B, R4, R7, RTP);
    asm.jump_if(If::Ne, R4, 0x80, pass);
    asm.load(Size::W, R4, R7, UDP_PORTS);
    asm.store(Size::W, R10, KEY + offset_of!(Key, ports) as i16, R4);
    asm.mov(R8, R5);
}

/// R5 is the length of the datagram.
///
/// # Source
/// RFC 791 §3.1
fn recognise_ipv4(asm: &mut Asm, pass: Label) {
    let at = |offset: i16| ETHERNET + offset;
    asm.load(Size::B, R4, R2, at(0));
    asm.jump_if(If::Ne, R4, 0x45, pass);
    // Neither a fragment nor more to come; whether it may be cut does not matter.
    asm.load(Size::H, R4, R2, at(6));
    asm.alu(Op::And, R4, in_memory([0xbf, 0xff]));
    asm.jump_if(If::Ne, R4, 0, pass);
    asm.load(Size::B, R4, R2, at(8));
    asm.jump_if(If::Lt, R4, 2, pass);
    asm.load(Size::B, R4, R2, at(9));
    asm.jump_if(If::Ne, R4, i32::from(UDP), pass);
    asm.load(Size::H, R4, R2, at(2));
    asm.swap_network(Size::H, R4);
    asm.alu(Op::Sub, R4, IPV4_HEADER as i32);
    asm.jump_if(If::Ne, R4, R5, pass);
    for (field, from) in [
        (offset_of!(Key, source), at(12)),
        (offset_of!(Key, destination), at(16)),
    ] {
        let field = KEY + field as i16;
        asm.store(Size::D, R10, field, 0);
        asm.store(
            Size::W,
            R10,
            field + 8,
            i32::from_ne_bytes([0, 0, 0xff, 0xff]),
        );
        copy(asm, 4, (R10, field + 12), (R2, from));
    }
}

/// R5 is the length of the datagram.
///
/// # Source
/// RFC 8200 §3
fn recognise_ipv6(asm: &mut Asm, pass: Label) {
    let at = |offset: i16| ETHERNET + offset;
    asm.load(Size::B, R4, R2, at(0));
    asm.alu(Op::And, R4, 0xf0);
    asm.jump_if(If::Ne, R4, 0x60, pass);
    asm.load(Size::B, R4, R2, at(6));
    asm.jump_if(If::Ne, R4, i32::from(UDP), pass);
    asm.load(Size::B, R4, R2, at(7));
    asm.jump_if(If::Lt, R4, 2, pass);
    asm.load(Size::H, R4, R2, at(4));
    asm.swap_network(Size::H, R4);
    asm.jump_if(If::Ne, R4, R5, pass);
    copy(
        asm,
        16,
        (R10, KEY + offset_of!(Key, source) as i16),
        (R2, at(8)),
    );
    copy(
        asm,
        16,
        (R10, KEY + offset_of!(Key, destination) as i16),
        (R2, at(24)),
    );
}

/// Looks the key up.
fn find(asm: &mut Asm, table: i32, pass: Label) {
    asm.load_map(R1, table);
    asm.mov(R2, R10);
    asm.alu(Op::Add, R2, i32::from(KEY));
    asm.call(MAP_LOOKUP);
    asm.jump_if(If::Eq, R0, 0, pass);
    asm.mov(R9, R0);
}

/// Is it the next packet of the stream, of a payload type that was agreed? R1 is then how far it is ahead, R2 the
/// sequence number before, R5 the new payload type.
fn examine(asm: &mut Asm, version: Version, pass: Label) {
    asm.load(Size::W, R1, R9, field!(longest));
    asm.jump_if(If::Gt, R8, R1, pass);
    asm.load(Size::W, R1, R7, RTP + 8);
    asm.load(Size::W, R2, R9, field!(ssrc));
    asm.jump_if(If::Ne, R1, R2, pass);
    examine_checksum(asm, version, pass);
    asm.load(Size::B, R1, R7, RTP + 1);
    asm.alu(Op::And, R1, 0x7f);
    asm.mov(R2, R9);
    asm.alu(Op::Add, R2, R1);
    asm.load(Size::B, R5, R2, field!(payload_types));
    asm.jump_if(If::Eq, R5, i32::from(NOT_OURS), pass);
    asm.load(Size::H, R1, R7, RTP + 2);
    asm.swap_network(Size::H, R1);
    asm.load(Size::D, R2, R9, field!(highest));
    asm.alu(Op::Sub, R1, R2);
    asm.alu(Op::And, R1, 0xffff);
    asm.jump_if(If::Eq, R1, 0, pass);
    asm.jump_if(If::Ge, R1, MAX_DROPOUT, pass);
}

/// A packet of this very machine may carry a checksum that is not made yet, which shows by its being the sum of the
/// pseudo header alone. Who makes it later, if anybody, does not know of our changes.
fn examine_checksum(asm: &mut Asm, version: Version, pass: Label) {
    let none = asm.label();
    asm.load(Size::H, R3, R7, UDP_CHECKSUM);
    match version {
        Version::V4 => asm.jump_if(If::Eq, R3, 0, none),
        // RFC 8200 §8.1
        Version::V6 => asm.jump_if(If::Eq, R3, 0, pass),
    }
    asm.load(Size::W, R4, R9, field!(pseudo));
    asm.load(Size::H, R1, R7, UDP_LENGTH);
    asm.alu(Op::Add, R4, R1);
    fold(asm);
    asm.jump_if(If::Eq, R4, R3, pass);
    asm.bind(none);
}

/// Counts the packet. The packets of a flow come to one processor, as the interface deals them out by address; if
/// that changes, two of them may meet and a number ahead of another's be lost, which counts as a loss of one packet
/// at most.
fn count(asm: &mut Asm) {
    asm.alu(Op::Add, R2, R1);
    asm.store(Size::D, R9, field!(highest), R2);
    asm.mov(R1, 1);
    asm.add_atomic(R9, field!(packets), R1);
    asm.alu(Op::Sub, R8, UDP_HEADER);
    asm.add_atomic(R9, field!(octets), R8);
    asm.mov(R8, R5);
    asm.call(KTIME_GET_NS);
    asm.load(Size::D, R2, R9, field!(at));
    asm.store(Size::D, R9, field!(at), R0);
    asm.load(Size::W, R4, R7, RTP + 4);
    asm.swap_network(Size::W, R4);
    asm.store(Size::W, R9, field!(timestamp), R4);
    count_jitter(asm);
}

/// R0 is the time in nanoseconds, R2 that of the packet before or 0, R4 the RTP timestamp.
///
/// # Source
/// RFC 3550 §6.4.1, appendix A.8
fn count_jitter(asm: &mut Asm) {
    let (done, forward) = (asm.label(), asm.label());
    asm.load(Size::W, R3, R9, field!(ticks));
    asm.jump_if(If::Eq, R3, 0, done);
    // In two steps, so that the low half of the ticks is right whatever the time; a division costs more than all of
    // this. What overflows is above that half.
    asm.alu(Op::Rsh, R0, 8);
    asm.alu(Op::Mul, R0, R3);
    asm.alu(Op::Rsh, R0, 24);
    asm.alu(Op::Sub, R0, R4);
    asm.load(Size::W, R3, R9, field!(transit));
    asm.store(Size::W, R9, field!(transit), R0);
    asm.jump_if(If::Eq, R2, 0, done);
    asm.alu(Op::Sub, R0, R3);
    low_half(asm);
    asm.mov(R1, R0);
    asm.alu(Op::Rsh, R1, 31);
    asm.jump_if(If::Eq, R1, 0, forward);
    asm.mov(R1, 0);
    asm.alu(Op::Sub, R1, R0);
    asm.mov(R0, R1);
    low_half(asm);
    asm.bind(forward);
    // A clock that was set anew is no jitter.
    asm.jump_if(If::Ge, R0, 1 << 20, done);
    asm.load(Size::W, R3, R9, field!(jitter));
    asm.mov(R1, R3);
    asm.alu(Op::Add, R1, 8);
    asm.alu(Op::Rsh, R1, 4);
    asm.alu(Op::Add, R3, R0);
    asm.alu(Op::Sub, R3, R1);
    asm.store(Size::W, R9, field!(jitter), R3);
    asm.load(Size::W, R1, R9, field!(worst_jitter));
    asm.jump_if(If::Ge, R1, R3, done);
    asm.store(Size::W, R9, field!(worst_jitter), R3);
    asm.bind(done);
}

/// Keeps the low 32 bits of R0.
fn low_half(asm: &mut Asm) {
    asm.alu(Op::Lsh, R0, 32);
    asm.alu(Op::Rsh, R0, 32);
}

/// The payload type, the ports and the checksum. A checksum that was wrong stays wrong.
///
/// # Source
/// RFC 1624 §3
fn rewrite_datagram(asm: &mut Asm, version: Version) {
    let unchecked = asm.label();
    asm.load(Size::H, R1, R7, RTP);
    asm.load(Size::B, R2, R7, RTP + 1);
    asm.alu(Op::And, R2, 0x80);
    asm.alu(Op::Or, R2, R8);
    asm.store(Size::B, R7, RTP + 1, R2);
    asm.load(Size::H, R2, R7, RTP);
    copy(asm, 4, (R7, UDP_PORTS), (R9, field!(ports)));
    asm.load(Size::H, R4, R7, UDP_CHECKSUM);
    if version == Version::V4 {
        asm.jump_if(If::Eq, R4, 0, unchecked);
    }
    asm.alu(Op::Xor, R4, 0xffff);
    replace(asm);
    asm.load(Size::W, R1, R9, field!(datagram_delta));
    asm.alu(Op::Add, R4, R1);
    finish_checksum(asm);
    let made = asm.label();
    asm.jump_if(If::Ne, R4, 0, made);
    asm.mov(R4, 0xffff);
    asm.bind(made);
    asm.store(Size::H, R7, UDP_CHECKSUM, R4);
    asm.bind(unchecked);
}

/// The class of service, the time to live, the checksum and the addresses.
///
/// # Source
/// RFC 791 §3.1, RFC 1624 §3
fn rewrite_ipv4(asm: &mut Asm) {
    let at = |offset: i16| offset - Version::V4.header();
    asm.load(Size::H, R4, R7, at(10));
    asm.alu(Op::Xor, R4, 0xffff);
    asm.load(Size::H, R1, R7, at(0));
    asm.load(Size::W, R2, R9, field!(class));
    asm.store(Size::B, R7, at(1), R2);
    asm.load(Size::H, R2, R7, at(0));
    replace(asm);
    asm.load(Size::H, R1, R7, at(8));
    asm.load(Size::B, R2, R7, at(8));
    asm.alu(Op::Sub, R2, 1);
    asm.store(Size::B, R7, at(8), R2);
    asm.load(Size::H, R2, R7, at(8));
    replace(asm);
    asm.load(Size::W, R1, R9, field!(header_delta));
    asm.alu(Op::Add, R4, R1);
    finish_checksum(asm);
    asm.store(Size::H, R7, at(10), R4);
    copy(asm, 4, (R7, at(12)), (R9, field!(source) + 12));
    copy(asm, 4, (R7, at(16)), (R9, field!(destination) + 12));
}

/// The traffic class, the hop limit and the addresses.
///
/// # Source
/// RFC 8200 §3
fn rewrite_ipv6(asm: &mut Asm) {
    let at = |offset: i16| offset - Version::V6.header();
    asm.load(Size::H, R1, R7, at(0));
    asm.swap_network(Size::H, R1);
    asm.alu(Op::And, R1, 0x000f);
    asm.alu(Op::Or, R1, 0x6000);
    asm.load(Size::W, R2, R9, field!(class));
    asm.alu(Op::Lsh, R2, 4);
    asm.alu(Op::Or, R1, R2);
    asm.swap_network(Size::H, R1);
    asm.store(Size::H, R7, at(0), R1);
    asm.load(Size::B, R1, R7, at(7));
    asm.alu(Op::Sub, R1, 1);
    asm.store(Size::B, R7, at(7), R1);
    copy(asm, 16, (R7, at(8)), (R9, field!(source)));
    copy(asm, 16, (R7, at(24)), (R9, field!(destination)));
}

/// Out by the interface that leads to the next hop.
fn send(asm: &mut Asm, version: Version) {
    let other = asm.label();
    let frame = -ETHERNET - version.header();
    copy(asm, 12, (R7, frame), (R9, field!(hardware)));
    asm.load(Size::W, R1, R9, field!(interface));
    asm.load(Size::W, R2, R6, CONTEXT_INTERFACE);
    asm.jump_if(If::Ne, R1, R2, other);
    asm.mov(R0, XDP_TX);
    asm.exit();
    asm.bind(other);
    asm.mov(R2, 0);
    asm.call(REDIRECT);
    asm.exit();
}

/// In the sum R4, the word R1 becomes R2.
fn replace(asm: &mut Asm) {
    asm.alu(Op::Xor, R1, 0xffff);
    asm.alu(Op::Add, R4, R1);
    asm.alu(Op::Add, R4, R2);
}

/// Makes a checksum of the sum R4.
fn finish_checksum(asm: &mut Asm) {
    fold(asm);
    fold(asm);
    asm.alu(Op::Xor, R4, 0xffff);
}

/// Adds what of R4 is above sixteen bits to what is below; R1 is lost.
fn fold(asm: &mut Asm) {
    asm.mov(R1, R4);
    asm.alu(Op::Rsh, R1, 16);
    asm.alu(Op::And, R4, 0xffff);
    asm.alu(Op::Add, R4, R1);
}

/// Copies whole words; R4 is lost.
fn copy(asm: &mut Asm, octets: i16, to: (Reg, i16), from: (Reg, i16)) {
    for offset in (0..octets).step_by(4) {
        asm.load(Size::W, R4, from.0, from.1 + offset);
        asm.store(Size::W, to.0, to.1 + offset, R4);
    }
}

/// Two octets of a packet as a number of this machine reads them.
fn in_memory(octets: [u8; 2]) -> i32 {
    i32::from(u16::from_ne_bytes(octets))
}

// struct xdp_md
const CONTEXT_DATA: i16 = 0;
const CONTEXT_DATA_END: i16 = 4;
const CONTEXT_INTERFACE: i16 = 12;
// enum xdp_action
pub(crate) const XDP_PASS: i32 = 2;
pub(crate) const XDP_TX: i32 = 3;
// enum bpf_func_id
const MAP_LOOKUP: i32 = 1;
const KTIME_GET_NS: i32 = 5;
const REDIRECT: i32 = 23;

const ETHERNET: i16 = 14;
const ETHERTYPE: i16 = 12;
/// Octets of the headers.
const UDP_HEADER: i32 = 8;
const RTP_HEADER: i32 = 12;
// From the header of UDP on.
const UDP_PORTS: i16 = 0;
const UDP_LENGTH: i16 = 4;
const UDP_CHECKSUM: i16 = 6;
const RTP: i16 = 8;
/// Where the key is made, on the stack.
const KEY: i16 = -40;
/// As in `rtp::Sequence`: a step forward of this size is no loss.
///
/// # Source
/// RFC 3550 appendix A.1
const MAX_DROPOUT: i32 = 3000;
