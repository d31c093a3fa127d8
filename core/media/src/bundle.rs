//! Streams of one side that share a transport: what comes is told apart, what goes is gathered.
//!
//! The *carrier* is the leg of the stream whose transport it is; the others are its *members*. A member
//! keeps everything that belongs to its stream, and has no keys, checks and addresses.
//!
//! # Source
//! RFC 9143 §9

use std::cell::RefCell;
use std::rc::Rc;

use rtp::rtcp::{Packet as Rtcp, Packets};
use rtp::{Header, Packet};

use crate::SessionId;
use crate::Side;
use crate::leg::Leg;
use crate::relay::Buffer;
use crate::remote::Bundled;
use crate::sessions::Sessions;

/// What a carrier knows of the streams that it carries besides its own.
#[derive(Debug, Default)]
pub(crate) struct Bundle {
    members: Vec<Member>,
    /// SSRCs that have come, and whose they are; the oldest makes room.
    heard: Vec<(u32, Option<usize>)>,
    next: usize,
}

/// A stream that is carried.
#[derive(Debug)]
struct Member {
    leg: usize,
    signs: Bundled,
    /// The SSRC that we sent last in it.
    sent: Option<u32>,
}

impl Bundle {
    /// Takes in a stream, or what has changed about it.
    fn enter(&mut self, leg: usize, signs: Bundled) {
        match self.members.iter_mut().find(|member| member.leg == leg) {
            Some(member) if member.signs == signs => return,
            Some(member) => member.signs = signs,
            None => self.members.push(Member {
                leg,
                signs,
                sent: None,
            }),
        }
        self.heard.clear();
    }

    fn leave(&mut self, leg: usize) {
        self.members.retain(|member| member.leg != leg);
        self.heard.clear();
    }

    /// Notes what is sent in a member's stream.
    fn send(&mut self, leg: usize, ssrc: Option<&[u8; 4]>) {
        let member = self.members.iter_mut().find(|member| member.leg == leg);
        if let Some((member, ssrc)) = member.zip(ssrc) {
            member.sent = Some(u32::from_be_bytes(*ssrc));
        }
    }

    /// The member that an RTP packet is for; `None`: the carrier.
    ///
    /// # Source
    /// RFC 9143 §9.2
    fn whose(&mut self, packet: &[u8], header: &Header) -> Option<usize> {
        let named = self.named(packet);
        if named.is_none()
            && let Some((_, leg)) = self.heard.iter().find(|(ssrc, _)| *ssrc == header.ssrc)
        {
            return *leg;
        }
        let leg = named.unwrap_or_else(|| {
            let bit = 1 << (header.payload_type & 0x7f);
            let mut members = self.members.iter();
            let member = members.find(|member| member.signs.payload_types & bit != 0);
            member.map(|member| member.leg)
        });
        self.learn(header.ssrc, leg);
        leg
    }

    /// Whose name the packet bears, if it bears one: a member's, or another, which is the carrier's.
    fn named(&self, packet: &[u8]) -> Option<Option<usize>> {
        let extension = Packet::parse(packet).ok()?.extension()?;
        let mut found = None;
        for member in &self.members {
            let mid = extension.element(member.signs.extension?)?;
            found = found.or((mid == member.signs.mid.as_bytes()).then_some(member.leg));
        }
        Some(found)
    }

    fn learn(&mut self, ssrc: u32, leg: Option<usize>) {
        if let Some(known) = self.heard.iter_mut().find(|(known, _)| *known == ssrc) {
            known.1 = leg;
        } else if self.heard.len() < MAX_SOURCES {
            self.heard.push((ssrc, leg));
        } else {
            self.heard[self.next] = (ssrc, leg);
            self.next = (self.next + 1) % MAX_SOURCES;
        }
    }

    /// The member that an RTCP datagram is about; `None`: the carrier.
    ///
    /// # Source
    /// RFC 9143 §9.2
    fn about(&self, datagram: &[u8]) -> Option<usize> {
        let sender = rtp::rtcp::sender(datagram).ok()?;
        let sends = |ssrc: u32| self.members.iter().find(|m| m.sent == Some(ssrc));
        for packet in Packets::new(datagram).map_while(Result::ok) {
            let member = match packet {
                Rtcp::SenderReport(_, mut blocks) | Rtcp::ReceiverReport { mut blocks, .. } => {
                    blocks.find_map(|block| sends(block.ssrc))
                }
                // Whose stream feedback is about; in a Full Intra Request that stands further behind.
                Rtcp::Other { bytes, .. } => [8, 12].into_iter().find_map(|at| {
                    let ssrc = bytes.get(at..)?.first_chunk()?;
                    sends(u32::from_be_bytes(*ssrc))
                }),
                _ => None,
            };
            if let Some(member) = member {
                return Some(member.leg);
            }
        }
        let mut heard = self.heard.iter();
        heard.find(|(ssrc, _)| *ssrc == sender)?.1
    }
}

/// A member's way to its carrier.
#[derive(Debug)]
pub(crate) struct Carried {
    carrier: usize,
    member: usize,
    queue: Rc<Queue>,
    /// What the SSRCs that we send differ by from those that came.
    alias: u32,
}

impl Carried {
    /// The source counts its packets anew: see
    /// [`Protection::source_restarted`](crate::protection::Protection::source_restarted).
    pub(crate) fn source_restarted(&mut self) {
        self.alias = self.alias.wrapping_add(crate::protection::GOLDEN);
    }

    /// Hands a packet to the carrier, to be protected and sent.
    pub(crate) fn send(&self, packet: &mut [u8], rtcp: bool) {
        crate::protection::alias(packet, if rtcp { 4 } else { 8 }, self.alias);
        self.queue.push(self, packet, rtcp);
    }
}

/// Packets of members on their way to their carriers, until the worker has handled a datagram or made
/// the packets that are due. What is too much is lost, as on a network.
#[derive(Debug)]
pub(crate) struct Queue(RefCell<Packed>);

#[derive(Debug, Default)]
struct Packed {
    bytes: Vec<u8>,
    letters: Vec<Letter>,
}

#[derive(Clone, Copy, Debug)]
struct Letter {
    carrier: usize,
    member: usize,
    len: usize,
    rtcp: bool,
}

impl Queue {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self(RefCell::default()))
    }

    fn push(&self, from: &Carried, packet: &[u8], rtcp: bool) {
        let mut packed = self.0.borrow_mut();
        if packed.letters.len() < MAX_LETTERS {
            packed.bytes.extend_from_slice(packet);
            packed.letters.push(Letter {
                carrier: from.carrier,
                member: from.member,
                len: packet.len(),
                rtcp,
            });
        }
    }
}

impl Sessions {
    /// Has a stream of a side carried by another one, or go its own way, as its party has agreed.
    pub(crate) fn bundle(&mut self, id: SessionId, side: Side, key: usize) {
        let remote = self.legs[key].remote.as_ref();
        let signs = remote.and_then(|remote| remote.bundled.as_deref().cloned());
        let carrier = signs
            .as_ref()
            .and_then(|signs| self.leg_at(id, (signs.stream, side)))
            .filter(|carrier| *carrier != key && self.legs[*carrier].carried.is_none());
        if self.legs[key].carried.as_ref().map(|c| c.carrier) != carrier {
            self.unbundle(key);
        }
        let Some((carrier, signs)) = carrier.zip(signs) else {
            return;
        };
        let leg = &mut self.legs[carrier];
        leg.bundle.get_or_insert_default().enter(key, signs);
        let queue = Rc::clone(&self.bundles);
        self.legs[key].carried.get_or_insert_with(|| {
            Box::new(Carried {
                carrier,
                member: key,
                queue,
                alias: 0,
            })
        });
    }

    /// Has a stream go its own way.
    pub(crate) fn unbundle(&mut self, key: usize) {
        if let Some(carried) = self.legs[key].carried.take()
            && let Some(carrier) = self.legs.get_mut(carried.carrier)
            && let Some(bundle) = &mut carrier.bundle
        {
            bundle.leave(key);
        }
    }

    /// The leg that an RTP packet is for which has come to `key`.
    pub(crate) fn member_of(&mut self, key: usize, packet: &[u8], header: &Header) -> usize {
        let bundle = self.legs[key].bundle.as_mut();
        let member = bundle.and_then(|bundle| bundle.whose(packet, header));
        self.carried_by(key, member)
    }

    /// The leg that an RTCP datagram is about which has come to `key`.
    pub(crate) fn member_about(&self, key: usize, datagram: &[u8]) -> usize {
        let bundle = self.legs[key].bundle.as_ref();
        let member = bundle.and_then(|bundle| bundle.about(datagram));
        self.carried_by(key, member)
    }

    /// The member, if it is one still: its place may have been given to another session.
    fn carried_by(&self, key: usize, member: Option<usize>) -> usize {
        let is_member = |leg: &Leg| leg.carried.as_ref().is_some_and(|c| c.carrier == key);
        let member = member.filter(|member| self.legs.get(*member).is_some_and(is_member));
        member.unwrap_or(key)
    }

    /// Sends what members have handed to their carriers.
    pub(crate) fn flush_bundles(&mut self, buffer: &mut Buffer) {
        let queue = Rc::clone(&self.bundles);
        let mut packed = queue.0.borrow_mut();
        if packed.letters.is_empty() {
            return;
        }
        let Packed { bytes, letters } = &mut *packed;
        let mut rest = &bytes[..];
        for letter in letters.drain(..) {
            let (packet, after) = rest.split_at(letter.len);
            rest = after;
            if let Some(leg) = self.legs.get_mut(letter.carrier)
                && let Some(bundle) = &mut leg.bundle
            {
                if !letter.rtcp {
                    bundle.send(letter.member, packet.get(8..).and_then(<[u8]>::first_chunk));
                }
                buffer[..letter.len].copy_from_slice(packet);
                leg.carry(buffer, letter.len, letter.rtcp);
            }
        }
        bytes.clear();
    }
}

/// Sources that are told apart by their SSRC alone; of more, each packet is looked at closely.
const MAX_SOURCES: usize = 16;

/// One datagram becomes few packets; the clock makes one for each stream that it serves.
const MAX_LETTERS: usize = 512;
