//! The stream that we send to a side under an SSRC of our own.

use base::{Mint, Token};
use rtp::telephone_event::Report;
use rtp::{Arrival, HEADER_LEN, Header};

use crate::report::Reporter;

/// Numbers of the next packet, and RTCP about the stream. They go on without a break when what is
/// sent changes.
#[derive(Debug)]
pub(crate) struct Own {
    ssrc: u32,
    sequence: u16,
    /// Of the next sample to send.
    pub(crate) timestamp: u32,
    /// The next packet begins a talk spurt.
    pub(crate) marker: bool,
    /// So it does because nothing was sent for silence before it.
    rested: bool,
    /// When the next packet is due if the stream is not interrupted, in milliseconds.
    due: u64,
    run: Option<Run>,
    /// The stream that is passed on as it is, if one is.
    mirrored: Option<Mirrored>,
    pub(crate) reporter: Reporter,
}

/// Packets passed on one after the other: their sequence numbers keep their distances, so that the
/// receiver sees the same losses and can put the same order right.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: u16,
    offset: u16,
    /// The timestamp of the last packet, and how far it lay behind the one before: the length of a
    /// packet, as far as can be told from outside.
    timestamp: u32,
    step: u32,
}

/// A stream whose payload is passed on as it is, and what its timestamps are off ours.
#[derive(Clone, Copy, Debug)]
struct Mirrored {
    ssrc: u32,
    offset: u32,
}

impl Own {
    /// `random` starts SSRC, sequence numbers and timestamps.
    pub(crate) fn new(random: [u32; 3], cname: Token, now: u64) -> Self {
        let [ssrc, sequence, timestamp] = random;
        Self {
            ssrc,
            sequence: sequence as u16,
            timestamp,
            marker: true,
            rested: false,
            due: now,
            run: None,
            mirrored: None,
            reporter: Reporter::new(ssrc, cname, COMMON_CLOCK, now),
        }
    }

    /// A new stream.
    pub(crate) fn minted(mint: &mut Mint, now: u64) -> Self {
        let random = [mint.number(), mint.number(), mint.number()];
        Self::new(random, mint.token(), now)
    }

    /// Under which name packets are sent.
    pub(crate) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Ticks of the RTP clock in a millisecond.
    pub(crate) fn clock(&self) -> u32 {
        self.reporter.clock
    }

    /// Moves the timestamp over the time in which nothing was sent; what follows comes from another
    /// source than what was before. From now on the clock has `clock` ticks in a millisecond.
    ///
    /// # Source
    /// RFC 7160 §4.1: what a change of the clock does to receivers; it keeps the SSRC.
    pub(crate) fn resume(&mut self, clock: u32, now: u64) {
        self.timestamp = self.timestamp_at(now);
        if clock > 0 {
            self.reporter.clock = clock;
        }
        self.run = None;
        self.mirrored = None;
        self.marker = true;
    }

    /// The timestamp of a sample taken at `now`, but not before what was sent.
    pub(crate) fn timestamp_at(&self, now: u64) -> u32 {
        let silence = now.saturating_sub(self.due) as u32;
        self.timestamp
            .wrapping_add(silence.wrapping_mul(self.clock()))
    }

    /// Turns a `received` packet, in place, into one of this stream with the same payload; false if
    /// it comes from before what was sent last. Its clock has `clock` ticks in a millisecond; 0: as
    /// before.
    pub(crate) fn mirror(
        &mut self,
        packet: &mut [u8],
        received: &Header,
        arrival: Arrival,
        clock: u32,
        now: u64,
    ) -> bool {
        let offset = match self.mirrored {
            Some(mirrored) if mirrored.ssrc == received.ssrc && arrival != Arrival::Restart => {
                mirrored.offset
            }
            _ => {
                self.resume(clock, now);
                let ssrc = received.ssrc;
                let offset = self.timestamp.wrapping_sub(received.timestamp);
                self.mirrored = Some(Mirrored { ssrc, offset });
                offset
            }
        };
        let Some(sequence) = self.follow(received.sequence) else {
            return false;
        };
        let timestamp = received.timestamp.wrapping_add(offset);
        self.pass(packet, sequence, timestamp, now);
        true
    }

    /// Begins a run of packets passed on, if there is none, and returns the sequence number for the
    /// packet that came with `sequence`; `None` if it is from before the run.
    pub(crate) fn follow(&mut self, sequence: u16) -> Option<u16> {
        let run = *self.run.get_or_insert(Run {
            first: sequence,
            offset: self.sequence.wrapping_sub(sequence),
            timestamp: self.timestamp,
            step: COMMON_STEP_MS * self.clock(),
        });
        let ahead = sequence.wrapping_sub(run.first);
        // The first of a long run falls ever farther behind.
        if (1 << 14..1 << 15).contains(&ahead) {
            self.run = Some(Run {
                first: sequence.wrapping_sub(1 << 13),
                ..run
            });
        }
        (ahead < 1 << 15).then(|| sequence.wrapping_add(run.offset))
    }

    /// Restamps the passed `packet` for the numbers that it has been given.
    pub(crate) fn pass(&mut self, packet: &mut [u8], sequence: u16, timestamp: u32, now: u64) {
        let header = Header {
            sequence,
            timestamp,
            ssrc: self.ssrc,
            ..Header::default()
        };
        header.restamp(packet);
        if let Some(second) = packet.get_mut(1)
            && std::mem::take(&mut self.marker)
        {
            *second |= MARKER;
        }
        // A late one moves nothing.
        let ahead = sequence.wrapping_sub(self.sequence);
        if ahead < 1 << 15 {
            self.sequence = sequence.wrapping_add(1);
            self.timestamp = timestamp;
            let step = self.step(timestamp, u32::from(ahead) + 1);
            self.advance(step, now);
        }
        let payload = packet.len().saturating_sub(HEADER_LEN);
        self.reporter.sent(payload, timestamp, now);
    }

    /// How long the passed packet with this timestamp lasts, in ticks; it is so many `packets` behind
    /// the one before.
    fn step(&mut self, timestamp: u32, packets: u32) -> u32 {
        let most = MAX_STEP_MS * self.clock();
        let Some(run) = &mut self.run else { return 0 };
        let step = timestamp.wrapping_sub(run.timestamp) / packets;
        run.timestamp = timestamp;
        if (1..=most).contains(&step) {
            run.step = step;
        }
        run.step
    }

    /// Writes the header of a packet of our own making, whose payload of `len` bytes stands behind
    /// it in `packet` and lasts `ticks`.
    pub(crate) fn make(
        &mut self,
        packet: &mut [u8],
        payload_type: u8,
        len: usize,
        ticks: u32,
        now: u64,
    ) {
        self.run = None;
        self.mirrored = None;
        let header = Header {
            payload_type,
            marker: std::mem::take(&mut self.marker) | std::mem::take(&mut self.rested),
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        header.encode(packet);
        self.reporter.sent(len, self.timestamp, now);
        self.sequence = self.sequence.wrapping_add(1);
        self.advance(ticks, now);
    }

    /// Writes the header of a report of an event, whose payload of `len` bytes stands behind it in
    /// `packet`.
    ///
    /// # Source
    /// RFC 4733 §2.3, §2.5.1.2: the timestamp stays that of its beginning.
    pub(crate) fn tell(
        &mut self,
        packet: &mut [u8],
        payload_type: u8,
        len: usize,
        report: &Report,
        now: u64,
    ) {
        let moment = self.timestamp_at(now);
        self.timestamp = report.timestamp;
        self.marker = report.marker;
        self.make(packet, payload_type, len, 0, now);
        self.timestamp = moment;
    }

    /// The numbers that the stream has come to.
    pub(crate) fn last(&self) -> (u16, u32) {
        (self.sequence.wrapping_sub(1), self.timestamp)
    }

    /// Writes the header of a packet whose numbers are kept elsewhere; its payload stands in `packet`.
    pub(crate) fn put(&mut self, packet: &mut [u8], header: &Header, now: u64) {
        let header = Header {
            ssrc: self.ssrc,
            ..*header
        };
        header.encode(packet);
        self.sequence = header.sequence.wrapping_add(1);
        self.timestamp = header.timestamp;
        self.due = now;
        let payload = packet.len().saturating_sub(HEADER_LEN);
        self.reporter.sent(payload, header.timestamp, now);
    }

    /// Sends nothing for `ticks`: the party hears silence, which it need not be sent. What comes next begins a
    /// talk spurt.
    ///
    /// # Source
    /// RFC 3551 §4.1; RFC 7587 §3.1.3
    pub(crate) fn rest(&mut self, ticks: u32, now: u64) {
        self.advance(ticks, now);
        self.rested = true;
    }

    /// Goes on as if a packet of `ticks` had been sent.
    pub(crate) fn advance(&mut self, ticks: u32, now: u64) {
        self.timestamp = self.timestamp.wrapping_add(ticks);
        self.due = now + u64::from(ticks / self.clock().max(1));
    }
}

const MARKER: u8 = 0x80;
/// The length of a packet until a second one tells, and the longest believed.
const COMMON_STEP_MS: u32 = 20;
const MAX_STEP_MS: u32 = 120;
/// Ticks a millisecond until the first packet tells.
const COMMON_CLOCK: u32 = 8;
