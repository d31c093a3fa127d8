//! Puts the packets of one source back into their order and their pace.
//!
//! ```
//! use rtp::Header;
//! use rtp::jitter_buffer::{Config, JitterBuffer, Playout};
//!
//! let mut buffer = JitterBuffer::new(&Config::default());
//! let header = Header { sequence: 7, timestamp: 160, ..Header::default() };
//! buffer.insert(&header, &[0xff; 160], 1000); // arrived at 1000 ms
//!
//! // Whenever there is too little sound left to play, usually each 20 ms:
//! match buffer.take(1040) {
//!     Playout::Packet { payload, .. } => assert_eq!(payload.len(), 160), // decode
//!     Playout::Lost { .. } => {}    // conceal
//!     Playout::Silence => {}        // play silence for the length of one turn
//! }
//! ```
//!
//! The delay follows the network: it is what all but two of a hundred packets kept lately, between
//! two bounds. Between talk spurts it changes for nothing. Inside one, [`Pace`] says whether sound
//! is to be shortened or lengthened; whoever does so takes the next packet earlier or later, which
//! is all that there is to do. So the clock of the source may drift against ours for hours.
//!
//! Memory is fixed when the buffer is made. Sixty-four packets and [`Config::octets`] of payload
//! find room; what comes on top pushes the oldest out.
//!
//! # Source
//! RFC 3550 §6.4.1 and §13 for what jitter and playout are; the statistics are those of RFC 3611
//! §4.7.

mod delays;
mod packets;

use crate::Header;
use delays::Delays;
use packets::{Packets, SLOTS, Slot};

/// What a [`JitterBuffer`] may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Ticks of the RTP clock in a second; at least 1000.
    pub clock: u32,
    /// The delay never falls below this, in milliseconds.
    pub min_ms: u16,
    /// The delay never rises above this, in milliseconds; at most 480.
    pub max_ms: u16,
    /// The delay that is believed before packets have told better, in milliseconds.
    pub initial_ms: u16,
    /// Octets of payload that are kept.
    pub octets: usize,
}

impl Default for Config {
    /// For narrow-band speech: 8 kHz, 0 to 300 ms, at first 20, half a second of G.711.
    fn default() -> Self {
        Self {
            clock: 8000,
            min_ms: 0,
            max_ms: 300,
            initial_ms: 20,
            octets: 4096,
        }
    }
}

/// Packets of one source between network and decoder.
#[derive(Clone, Debug)]
pub struct JitterBuffer {
    /// Ticks of the RTP clock in a millisecond.
    clock: u32,
    packets: Packets,
    delays: Delays,
    ssrc: Option<u32>,
    /// The packet to play next, once something has been played.
    next: u16,
    /// Which of the 64 packets before it came: the lowest bit stands for the last one.
    came: u64,
    /// The timestamp that belongs to it if the source did not pause.
    due: u32,
    state: State,
    /// Ticks of a packet.
    step: u32,
    /// The step that was seen last, which counts once it is seen again.
    seen: u32,
    newest: Option<(u16, u32)>,
    /// Sequence number that would follow, and transit, of a packet that fits nowhere.
    stray: Option<(u16, u32)>,
    counts: Counts,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nothing has been played of this source.
    Fresh,
    /// Packets follow each other. So many ticks have been made up since the last one because there
    /// was none.
    Running { concealed: u32 },
    /// The source pauses; the next packet begins a talk spurt.
    Paused,
}

/// What to play.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Playout<'a> {
    /// This packet.
    Packet {
        /// The payload type.
        payload_type: u8,
        /// The payload.
        payload: &'a [u8],
        /// How its sound is best played.
        pace: Pace,
    },
    /// Sound that did not come in time, to be concealed.
    Lost {
        /// How much, in ticks of the RTP clock.
        ticks: u32,
        /// The payload right after the loss, if it is here: some codecs repeat in it what was lost.
        next: Option<&'a [u8]>,
    },
    /// The source pauses, or has not begun, or its next spurt is not due yet.
    Silence,
}

/// How sound is played to bring the delay nearer to what it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// As it is.
    Steady,
    /// Shortened: more waits than has to. Leave something out where it is not heard.
    Faster,
    /// Lengthened: less waits than should. Repeat something where it is not heard.
    Slower,
}

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Insert {
    /// It waits to be played.
    Kept,
    /// It begins anew: another source, or one that jumped. What waited is gone.
    Restarted,
    /// It has been here before.
    Duplicate,
    /// Its time has passed.
    Late,
    /// It fits nowhere, or has no place: too long, or from a jump that the next packet has to
    /// confirm.
    Refused,
}

/// What has become of all packets.
///
/// # Source
/// RFC 3611 §4.7.1: packets lost in the network are counted elsewhere; these were discarded here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Packets played.
    pub played: u64,
    /// Packets that came too late to be played.
    pub late: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets dropped because too many waited.
    pub overflowed: u64,
    /// Ticks of sound that had to be concealed.
    pub concealed: u64,
}

impl JitterBuffer {
    /// An empty buffer. All memory that it will ever use is taken now.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let clock = (config.clock / 1000).max(1);
        Self {
            clock,
            packets: Packets::new(config.octets),
            delays: Delays::new(config),
            ssrc: None,
            next: 0,
            came: 0,
            due: 0,
            state: State::Fresh,
            step: COMMON_STEP_MS * clock,
            seen: 0,
            newest: None,
            stray: None,
            counts: Counts::default(),
        }
    }

    /// Takes a packet that arrived at `now`, in milliseconds of any clock that goes steadily.
    ///
    /// # Source
    /// RFC 3550 appendix A.1 for jumps: one packet is noise, two that follow each other are a
    /// restart.
    pub fn insert(&mut self, header: &Header, payload: &[u8], now: u64) -> Insert {
        let transit = self.ticks(now).wrapping_sub(header.timestamp);
        let mut outcome = Insert::Kept;
        if self.ssrc != Some(header.ssrc) {
            outcome = self.restart(header, transit, now);
        } else if self.is_jump(header, transit) {
            let next = header.sequence.wrapping_add(1);
            let confirmed = self.stray.replace((next, transit)).is_some_and(|stray| {
                stray.0 == header.sequence && distance(stray.1, transit) < self.resync()
            });
            if !confirmed {
                return Insert::Refused;
            }
            outcome = self.restart(header, transit, now);
        }
        let kept = self.keep(header, payload);
        if matches!(kept, Insert::Kept | Insert::Late) {
            self.stray = None;
            self.delays.note(transit, self.clock, now);
            self.measure(header);
        }
        match kept {
            Insert::Kept => outcome,
            refused => refused,
        }
    }

    /// Takes what is to be played at `now`, in the same milliseconds. A packet is gone with the next
    /// call.
    pub fn take(&mut self, now: u64) -> Playout<'_> {
        self.shed(now);
        let Some((ahead, slot)) = self.packets.first(self.next) else {
            return self.starve();
        };
        let early = slot.timestamp.wrapping_sub(self.due) as i32;
        match self.state {
            State::Running { concealed } if early <= concealed as i32 => {
                self.play(ahead, slot, now)
            }
            // The numbers go on, but time has passed: the source paused.
            State::Running { .. } if ahead == 0 => self.begin(ahead, slot, now),
            State::Running { concealed } => self.lose(early as u32, concealed, ahead, slot, now),
            State::Fresh | State::Paused => self.begin(ahead, slot, now),
        }
    }

    /// Says that the packet just taken described silence, so that what follows is a pause and no
    /// loss.
    ///
    /// # Source
    /// RFC 3389 §5, RFC 7587 §3.1.3
    pub fn pause(&mut self) {
        self.state = State::Paused;
    }

    /// The RTP clock has `clock` ticks in a second from the next packet on, because the source has
    /// changed its codec. What waits is gone.
    pub fn change_clock(&mut self, clock: u32) {
        self.clock = (clock / 1000).max(1);
        self.step = COMMON_STEP_MS * self.clock;
        self.seen = 0;
        // The next packet begins anew.
        self.ssrc = None;
    }

    /// The length of a packet, in ticks of the RTP clock, as far as timestamps tell.
    #[must_use]
    pub fn packet_ticks(&self) -> u32 {
        self.step
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// The delay that is aimed at, in milliseconds.
    ///
    /// # Source
    /// RFC 3611 §4.7.7, "JB nominal"
    #[must_use]
    pub fn nominal_delay_ms(&self) -> u16 {
        self.delays.target_ms()
    }

    /// The delay that would save the latest of the packets remembered, in milliseconds.
    ///
    /// # Source
    /// RFC 3611 §4.7.7, "JB maximum"
    #[must_use]
    pub fn maximum_delay_ms(&self) -> u16 {
        self.delays.worst_ms()
    }

    /// What has become of the packets.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn ticks(&self, now: u64) -> u32 {
        (now as u32).wrapping_mul(self.clock)
    }

    /// A change of transit that no network makes, in ticks.
    fn resync(&self) -> u32 {
        RESYNC_MS * self.clock
    }

    /// Whether a packet lies so far off that it is not of the same run.
    fn is_jump(&self, header: &Header, transit: u32) -> bool {
        let near = |newest: u16| {
            let ahead = header.sequence.wrapping_sub(newest);
            !(MAX_DROPOUT..=u16::MAX - MAX_MISORDER).contains(&ahead)
        };
        self.newest.is_some_and(|newest| !near(newest.0))
            || distance(self.delays.base(), transit) > self.resync()
    }

    fn restart(&mut self, header: &Header, transit: u32, now: u64) -> Insert {
        self.counts.overflowed += u64::from(self.packets.clear());
        self.ssrc = Some(header.ssrc);
        self.next = header.sequence;
        self.came = 0;
        self.due = header.timestamp;
        self.state = State::Fresh;
        self.newest = None;
        self.stray = None;
        self.delays.restart(transit, now);
        Insert::Restarted
    }

    fn keep(&mut self, header: &Header, payload: &[u8]) -> Insert {
        let mut ahead = header.sequence.wrapping_sub(self.next);
        if ahead >= 1 << 15 {
            // Before anything was played, the first to come need not be the first.
            let behind = self.next.wrapping_sub(header.sequence);
            if self.state != State::Fresh || !self.packets.reaches(self.next, behind) {
                return self.miss(behind);
            }
            self.next = header.sequence;
            self.due = header.timestamp;
            ahead = 0;
        }
        if let excess @ 1.. = (ahead + 1).saturating_sub(SLOTS as u16) {
            self.counts.overflowed += u64::from(self.pass(excess));
            ahead -= excess;
        }
        debug_assert!(usize::from(ahead) < SLOTS, "every place is for one packet");
        if self.packets.holds(header.sequence) {
            self.counts.duplicates += 1;
            return Insert::Duplicate;
        }
        let Some(pushed_out) = self.packets.put(header, payload) else {
            return Insert::Refused;
        };
        self.counts.overflowed += u64::from(pushed_out);
        Insert::Kept
    }

    /// Tells a packet whose time has passed from a copy of one that came in time.
    fn miss(&mut self, behind: u16) -> Insert {
        let bit = u32::from(behind - 1);
        if 1u64
            .checked_shl(bit)
            .is_some_and(|bit| self.came & bit != 0)
        {
            self.counts.duplicates += 1;
            return Insert::Duplicate;
        }
        self.counts.late += 1;
        Insert::Late
    }

    /// Goes on to the packet after the next `many`, and returns how many of those were here.
    fn pass(&mut self, many: u16) -> u32 {
        let mut here = 0;
        for _ in 0..many {
            let came = self.packets.forget(self.next);
            self.came = self.came << 1 | u64::from(came);
            self.next = self.next.wrapping_add(1);
            here += u32::from(came);
        }
        here
    }

    /// Learns the length of a packet from two that follow each other.
    fn measure(&mut self, header: &Header) {
        if let Some((sequence, timestamp)) = self.newest {
            let ahead = header.sequence.wrapping_sub(sequence);
            if ahead >= 1 << 15 {
                return;
            }
            let step = header.timestamp.wrapping_sub(timestamp);
            if ahead == 1 && (1..=MAX_STEP_MS * self.clock).contains(&step) {
                if step == self.seen || step < self.step {
                    self.step = step;
                }
                self.seen = step;
            }
        }
        self.newest = Some((header.sequence, header.timestamp));
    }

    /// Plays a packet that is due.
    fn play(&mut self, ahead: u16, slot: Slot, now: u64) -> Playout<'_> {
        let pace = self.delays.pace(
            self.ticks(now).wrapping_sub(slot.timestamp),
            self.clock,
            self.step,
        );
        self.state = State::Running { concealed: 0 };
        self.pass(ahead + 1);
        self.due = slot.timestamp.wrapping_add(self.step);
        self.counts.played += 1;
        Playout::Packet {
            payload_type: slot.payload_type,
            payload: self.packets.payload(&slot),
            pace,
        }
    }

    /// Plays the first packet of a talk spurt once it has waited for as long as it should.
    fn begin(&mut self, ahead: u16, slot: Slot, now: u64) -> Playout<'_> {
        let transit = self.ticks(now).wrapping_sub(slot.timestamp);
        if self.state != State::Fresh {
            self.state = State::Paused;
        }
        match self.delays.is_due(transit, self.clock) {
            true => self.play(ahead, slot, now),
            false => Playout::Silence,
        }
    }

    /// Conceals a packet that is missing before one that is here.
    fn lose(
        &mut self,
        early: u32,
        concealed: u32,
        ahead: u16,
        slot: Slot,
        now: u64,
    ) -> Playout<'_> {
        let missing = u32::from(ahead) * self.step;
        if early - concealed > missing.max(self.step) || early > MAX_CONCEALED_MS * self.clock {
            // More time than the missing packets carried: there was a pause, too.
            return self.begin(ahead, slot, now);
        }
        let ticks = (early - concealed).min(self.step);
        let gone = ticks + concealed;
        self.due = self.due.wrapping_add(gone);
        self.state = State::Running { concealed: 0 };
        self.counts.concealed += u64::from(ticks);
        // What has been made up by now is too late if it still comes.
        let passed = (gone.div_ceil(self.step) as u16).min(ahead);
        self.pass(passed);
        let adjacent = passed == ahead && self.due == slot.timestamp;
        Playout::Lost {
            ticks,
            next: adjacent.then(|| self.packets.payload(&slot)),
        }
    }

    /// There is nothing to play.
    fn starve(&mut self) -> Playout<'_> {
        let State::Running { concealed } = self.state else {
            return Playout::Silence;
        };
        if concealed >= MAX_CONCEALED_MS * self.clock {
            self.state = State::Paused;
            return Playout::Silence;
        }
        self.state = State::Running {
            concealed: concealed + self.step,
        };
        self.counts.concealed += u64::from(self.step);
        Playout::Lost {
            ticks: self.step,
            next: None,
        }
    }

    /// Drops what has waited longer than the longest delay, such as what a stall has piled up.
    fn shed(&mut self, now: u64) {
        while let Some((ahead, slot)) = self.packets.first(self.next) {
            let transit = self.ticks(now).wrapping_sub(slot.timestamp);
            let follows = self.next.wrapping_add(ahead + 1);
            // The newest is played however old it is.
            if !self.delays.is_excessive(transit, self.clock)
                || self.packets.first(follows).is_none()
            {
                return;
            }
            self.pass(ahead + 1);
            self.due = slot.timestamp.wrapping_add(self.step);
            self.counts.overflowed += 1;
        }
    }
}

/// How far two moments lie apart.
fn distance(one: u32, other: u32) -> u32 {
    (one.wrapping_sub(other) as i32).unsigned_abs()
}

/// The length of a packet until two tell.
const COMMON_STEP_MS: u32 = 20;
/// The longest packet believed.
const MAX_STEP_MS: u32 = 120;
/// Sound is made up for so long; then there is silence.
const MAX_CONCEALED_MS: u32 = 100;
/// A change of transit that is no delay but another clock.
const RESYNC_MS: u32 = 2000;
/// As in [`Sequence`](crate::Sequence).
const MAX_DROPOUT: u16 = 3000;
const MAX_MISORDER: u16 = 100;

#[cfg(test)]
mod tests;
