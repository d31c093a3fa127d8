//! Whom a leg listens to: learning the real source of a stream without being hijacked.
//!
//! A phone behind a NAT sends from another address than its SDP says, so the address to answer to
//! has to be learnt from packets; but whoever can send a packet must not be able to take a call
//! over. The rules:
//!
//! 1. Nothing is accepted until signalling has told an address. A change of that address starts
//!    over.
//! 2. A packet from the signalled address locks the stream to it at once, even if it was locked
//!    to another source: an attacker who could send from there would need no trick.
//! 3. Another source locks after a probation of [`PROBATION`] packets with one SSRC and
//!    consecutive sequence numbers. Until then its packets are dropped. Sources on the signalled
//!    host (another port) and strangers are on probation separately, so that a stranger cannot
//!    push the likely one out.
//! 4. Once locked, others are rejected. Only when the source has been silent for [`SILENCE_MS`]
//!    may a new one take its place, and only by going on with the stream: the same SSRC, and
//!    sequence number and timestamp as far ahead as the silence explains. That is a NAT that has
//!    forgotten its binding; an attacker who has not seen the stream cannot guess it.
//! 5. Signalling may say otherwise ([`Latching`]): that nobody but the signalled source counts, that ours do
//!    not follow, or that any source may take over.
//! 6. A packet that only the peer can have made, because it was authenticated and is not a repeated
//!    one, or that comes from where the peer has nominated by ICE, locks the stream to where it came from.

use std::net::SocketAddr;

use rtp::Header;

use crate::Latching;

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It is the stream's.
    Accept,
    /// It is the stream's, and the source is a new one.
    Moved,
    /// It may be the stream's; dropped until the source has proven itself.
    Probation,
    /// It is a stranger's.
    Reject,
}

/// What each packet needs comes first.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Latch {
    source: Option<Source>,
    latching: Latching,
    signalled: Option<SocketAddr>,
    /// On probation: a source on the signalled host, and one elsewhere.
    candidates: [Option<Candidate>; 2],
}

impl Latch {
    /// Takes the address that signalling tells, and what it says about others.
    pub(crate) fn signal(&mut self, address: Option<SocketAddr>, latching: Latching) {
        self.latching = latching;
        if self.signalled != address {
            *self = Self {
                latching,
                signalled: address,
                ..Self::default()
            };
        }
    }

    /// Judges a packet that came from `from`; `proven`: only the peer can have made it. `now` is in
    /// milliseconds.
    pub(crate) fn judge(
        &mut self,
        from: SocketAddr,
        header: &Header,
        proven: bool,
        now: u64,
    ) -> Verdict {
        match &mut self.source {
            Some(source) if from == source.address => {
                source.last = Last::of(header, now);
                Verdict::Accept
            }
            _ if proven && self.signalled.is_some() => self.lock(from, header, now),
            _ => self.judge_new(from, header, now),
        }
    }

    /// Whether a packet without sequence number, RTCP, may come from here: from the locked source,
    /// or from the signalled address.
    pub(crate) fn knows(&self, from: SocketAddr) -> bool {
        self.source.is_some_and(|s| s.address == from) || self.signalled == Some(from)
    }

    /// Where the stream comes from, once that is known.
    pub(crate) fn source(&self) -> Option<SocketAddr> {
        self.source.map(|source| source.address)
    }

    /// Where to send to.
    pub(crate) fn target(&self) -> Option<SocketAddr> {
        let learnt = self.source().filter(|_| !self.is_fixed());
        learnt.or(self.signalled)
    }

    /// Whether ours go where signalling says, whatever comes.
    pub(crate) fn is_fixed(&self) -> bool {
        self.latching.is_fixed()
    }

    /// The source, if nothing but its silence can take the lock from it: it is the signalled one,
    /// or the signalled one has had `settled` milliseconds to appear.
    pub(crate) fn settled(&self, now: u64, settled: u64) -> Option<SocketAddr> {
        // Where others may come, or ours go elsewhere, nothing is certain.
        let source = self.source.filter(|_| self.latching == Latching::Learn)?;
        let patient = now.saturating_sub(source.since) >= settled;
        (patient || self.signalled == Some(source.address)).then_some(source.address)
    }

    /// Whether the source may be replaced by one that continues its stream.
    pub(crate) fn is_silent(&self, now: u64) -> bool {
        self.source
            .is_some_and(|source| now.saturating_sub(source.last.at) >= SILENCE_MS)
    }

    /// Packets of the source have passed without being judged, the last one with these numbers.
    pub(crate) fn passed(&mut self, sequence: u16, timestamp: u32, at: u64) {
        if let Some(source) = self.source.as_mut().filter(|source| source.last.at <= at) {
            source.last = Last {
                at,
                sequence,
                timestamp,
                ..source.last
            };
        }
    }

    fn judge_new(&mut self, from: SocketAddr, header: &Header, now: u64) -> Verdict {
        let Some(signalled) = self.signalled else {
            return Verdict::Reject;
        };
        if from == signalled {
            return self.lock(from, header, now);
        }
        if self.latching == Latching::Signalled {
            return Verdict::Reject;
        }
        if let Some(source) = &self.source {
            if source.last.is_continued_by(header, now) {
                return self.lock(from, header, now);
            }
            if self.latching != Latching::Handover {
                return Verdict::Reject;
            }
        }
        let place = &mut self.candidates[usize::from(from.ip() != signalled.ip())];
        if probe(place, from, header, now) {
            return self.lock(from, header, now);
        }
        Verdict::Probation
    }

    fn lock(&mut self, address: SocketAddr, header: &Header, now: u64) -> Verdict {
        self.source = Some(Source {
            address,
            since: now,
            last: Last::of(header, now),
        });
        self.candidates = [None; 2];
        Verdict::Moved
    }
}

#[derive(Clone, Copy, Debug)]
struct Source {
    address: SocketAddr,
    since: u64,
    last: Last,
}

/// The last packet of a source.
#[derive(Clone, Copy, Debug)]
struct Last {
    at: u64,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
}

impl Last {
    fn of(header: &Header, now: u64) -> Self {
        Self {
            at: now,
            ssrc: header.ssrc,
            sequence: header.sequence,
            timestamp: header.timestamp,
        }
    }

    /// Rule 4.
    fn is_continued_by(&self, header: &Header, now: u64) -> bool {
        let silence = now.saturating_sub(self.at);
        if silence < SILENCE_MS || header.ssrc != self.ssrc {
            return false;
        }
        let packets = u64::from(header.sequence.wrapping_sub(self.sequence));
        let ticks = u64::from(header.timestamp.wrapping_sub(self.timestamp));
        // One packet a millisecond is video at its fastest, and no RTP clock beats 90 kHz by
        // much; the slack covers what was under way or queued.
        (1..=silence + 100).contains(&packets) && ticks <= (silence + SLACK_MS) * MAX_CLOCK_KHZ
    }
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    address: SocketAddr,
    ssrc: u32,
    sequence: u16,
    seen: u8,
    at: u64,
}

/// Counts a packet for the candidate in `place`; true once it has proven itself.
fn probe(place: &mut Option<Candidate>, from: SocketAddr, header: &Header, now: u64) -> bool {
    match place {
        Some(c) if c.address == from => {
            let next = c.ssrc == header.ssrc && header.sequence == c.sequence.wrapping_add(1);
            c.seen = if next { c.seen + 1 } else { 1 };
            (c.ssrc, c.sequence, c.at) = (header.ssrc, header.sequence, now);
            c.seen >= PROBATION
        }
        // Another one waits until the candidate has missed its turn.
        Some(c) if now.saturating_sub(c.at) < CANDIDATE_MS => false,
        _ => {
            *place = Some(Candidate {
                address: from,
                ssrc: header.ssrc,
                sequence: header.sequence,
                seen: 1,
                at: now,
            });
            false
        }
    }
}

/// Consecutive packets that a source other than the signalled one has to send.
pub(crate) const PROBATION: u8 = 4;
/// Silence after which a source that continues the stream may take over.
pub(crate) const SILENCE_MS: u64 = 1000;
/// Silence after which a candidate loses its place: three packets of the longest usual kind.
const CANDIDATE_MS: u64 = 180;
const SLACK_MS: u64 = 1000;
const MAX_CLOCK_KHZ: u64 = 96;

#[cfg(test)]
mod tests {
    use super::*;

    const PHONE: &str = "192.0.2.1:4000";
    const NAT: &str = "192.0.2.1:61000";
    const REBOUND: &str = "192.0.2.1:61002";
    const STRANGER: &str = "198.51.100.9:4000";

    struct Feed {
        latch: Latch,
        now: u64,
    }

    impl Feed {
        fn new() -> Self {
            let mut latch = Latch::default();
            latch.signal(Some(PHONE.parse().unwrap()), Latching::Learn);
            Self { latch, now: 0 }
        }

        fn packet(&mut self, from: &str, ssrc: u32, n: u32) -> Verdict {
            let header = Header {
                sequence: (65_530 + n) as u16,
                timestamp: n.wrapping_mul(160),
                ssrc,
                ..Header::default()
            };
            self.latch
                .judge(from.parse().unwrap(), &header, false, self.now)
        }

        /// A lock gained by probation, at packet number 3.
        fn behind_nat() -> Self {
            let mut feed = Self::new();
            (0..3).for_each(|n| assert_eq!(feed.packet(NAT, 7, n), Verdict::Probation));
            assert_eq!(feed.packet(NAT, 7, 3), Verdict::Moved);
            feed
        }
    }

    #[test]
    fn nothing_is_accepted_before_signalling() {
        let mut feed = Feed::new();
        feed.latch.signal(None, Latching::Learn);
        assert_eq!(feed.packet(PHONE, 7, 0), Verdict::Reject);
        assert_eq!(feed.latch.target(), None);
    }

    #[test]
    fn the_signalled_source_locks_at_once() {
        let mut feed = Feed::new();
        assert_eq!(feed.packet(PHONE, 7, 0), Verdict::Moved);
        assert_eq!(feed.packet(PHONE, 7, 1), Verdict::Accept);
        for n in 0..20 {
            assert_eq!(feed.packet(STRANGER, 8, n), Verdict::Reject);
            assert_eq!(feed.packet(NAT, 8, n), Verdict::Reject);
        }
        assert_eq!(feed.latch.target(), Some(PHONE.parse().unwrap()));
    }

    #[test]
    fn another_source_locks_after_probation() {
        let feed = Feed::behind_nat();
        assert_eq!(feed.latch.target(), Some(NAT.parse().unwrap()));
    }

    fn latched(latching: Latching) -> Feed {
        let mut feed = Feed::new();
        feed.latch.signal(Some(PHONE.parse().unwrap()), latching);
        feed
    }

    #[test]
    fn who_sends_from_elsewhere_is_heard_and_still_answered_where_he_said() {
        let mut feed = latched(Latching::Asymmetric);
        (0..3).for_each(|n| assert_eq!(feed.packet(NAT, 7, n), Verdict::Probation));
        assert_eq!(feed.packet(NAT, 7, 3), Verdict::Moved);
        assert_eq!(feed.packet(NAT, 7, 4), Verdict::Accept);
        assert_eq!(feed.packet(STRANGER, 8, 0), Verdict::Reject);
        assert_eq!(feed.latch.target(), Some(PHONE.parse().unwrap()));
        assert_eq!(feed.latch.settled(99_999, 1), None);
    }

    #[test]
    fn nobody_but_the_signalled_source_counts_where_that_is_said() {
        let mut feed = latched(Latching::Signalled);
        (0..9).for_each(|n| assert_eq!(feed.packet(NAT, 7, n), Verdict::Reject));
        assert_eq!(feed.packet(PHONE, 7, 9), Verdict::Moved);
    }

    #[test]
    fn a_new_source_takes_over_at_any_time_where_that_is_said() {
        let mut feed = latched(Latching::Handover);
        assert_eq!(feed.packet(PHONE, 7, 0), Verdict::Moved);
        (0..3).for_each(|n| assert_eq!(feed.packet(STRANGER, 8, n), Verdict::Probation));
        assert_eq!(feed.packet(STRANGER, 8, 3), Verdict::Moved);
        assert_eq!(feed.latch.target(), Some(STRANGER.parse().unwrap()));
        assert_eq!(feed.latch.settled(99_999, 1), None);
    }

    #[test]
    fn probation_wants_one_ssrc_and_consecutive_numbers() {
        let mut feed = Feed::new();
        for n in 0..40 {
            assert_eq!(feed.packet(NAT, 7, n * 2), Verdict::Probation);
            assert_eq!(feed.packet(STRANGER, n, n), Verdict::Probation);
        }
    }

    #[test]
    fn a_stranger_cannot_disturb_the_likely_source() {
        let mut feed = Feed::new();
        for n in 0..3 {
            assert_eq!(feed.packet(NAT, 7, n), Verdict::Probation);
            assert_eq!(feed.packet(STRANGER, 9, n * 5), Verdict::Probation);
        }
        assert_eq!(feed.packet(NAT, 7, 3), Verdict::Moved);
        assert_eq!(feed.packet(STRANGER, 9, 30), Verdict::Reject);
    }

    #[test]
    fn the_signalled_source_beats_a_learnt_one() {
        let mut feed = Feed::new();
        (0..4).for_each(|n| _ = feed.packet(STRANGER, 9, n));
        assert_eq!(feed.latch.source(), Some(STRANGER.parse().unwrap()));
        assert_eq!(feed.latch.settled(feed.now, 3000), None);
        assert_eq!(feed.packet(PHONE, 7, 0), Verdict::Moved);
        assert_eq!(feed.packet(STRANGER, 9, 4), Verdict::Reject);
    }

    #[test]
    fn a_rebound_source_continues_after_silence_only() {
        let mut feed = Feed::behind_nat();
        feed.now = SILENCE_MS - 1;
        assert_eq!(feed.packet(REBOUND, 7, 4), Verdict::Reject);
        feed.now = SILENCE_MS;
        assert_eq!(feed.packet(REBOUND, 8, 4), Verdict::Reject, "other SSRC");
        assert_eq!(feed.packet(REBOUND, 7, 3), Verdict::Reject, "repeated");
        assert_eq!(feed.packet(REBOUND, 7, 5000), Verdict::Reject, "too far");
        assert_eq!(feed.packet(REBOUND, 7, 50), Verdict::Moved);
        assert_eq!(feed.packet(NAT, 7, 51), Verdict::Reject);
    }

    #[test]
    fn the_timestamp_has_to_fit_the_silence() {
        let mut feed = Feed::behind_nat();
        feed.now = SILENCE_MS;
        let mut header = Header {
            sequence: 65_534,
            timestamp: 1 << 30,
            ssrc: 7,
            ..Header::default()
        };
        let rebound = REBOUND.parse().unwrap();
        assert_eq!(
            feed.latch.judge(rebound, &header, false, feed.now),
            Verdict::Reject
        );
        header.timestamp = 8000;
        assert_eq!(
            feed.latch.judge(rebound, &header, false, feed.now),
            Verdict::Moved
        );
    }

    #[test]
    fn a_changed_signalled_address_starts_over_and_the_same_does_not() {
        let mut feed = Feed::behind_nat();
        feed.latch
            .signal(Some(PHONE.parse().unwrap()), Latching::Learn);
        assert_eq!(feed.packet(NAT, 7, 4), Verdict::Accept);
        feed.latch
            .signal(Some(STRANGER.parse().unwrap()), Latching::Learn);
        assert_eq!(feed.packet(NAT, 7, 5), Verdict::Probation);
        assert_eq!(feed.packet(STRANGER, 1, 0), Verdict::Moved);
    }
}
