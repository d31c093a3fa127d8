//! What a stream's packets carry, and what their arrival tells.

use std::time::Duration;

use super::form::{Form, Hears, Says};

/// Octets of a stamped packet: RTP header and 20 ms of G.711.
const PACKET: usize = HEADER + 160;

/// Octets of the longest packet that is sent or taken.
pub(super) const SPACE: usize = 1500;

const HEADER: usize = 12;

/// Says that a payload is ours.
const MAGIC: [u8; 4] = *b"dtRT";

/// A-law silence.
const SILENCE: u8 = 0xd5;

/// PCMA (RFC 3551 §6).
const PAYLOAD_TYPE: u8 = 8;

/// Sends numbered, dated packets, and judges those of its partner.
#[derive(Debug)]
pub(super) struct Stream {
    /// Its number; that of its partner differs in the lowest bit.
    number: u32,
    form: Form,
    packet: Box<[u8; SPACE]>,
    pub(super) sent: u32,
    pub(super) seen: Arrivals,
    pub(super) times: Times,
}

/// When the packets of a stream came that carries no stamps.
#[derive(Default, Debug)]
pub(super) struct Times {
    /// SSRC, sequence number and count of the latest packet.
    latest: Option<(u32, u16, u32)>,
    /// By how much each packet came after the moment that its count stands for, in µs, from an origin of no meaning.
    offsets: Vec<i64>,
}

/// What has arrived of a stream.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Arrivals {
    /// Different packets.
    pub(super) received: u64,
    /// Packets that came after one sent later.
    pub(super) reordered: u64,
    /// Packets that came again.
    pub(super) duplicated: u64,
    /// Packets that are not our partner's.
    pub(super) foreign: u64,
    /// The number behind the highest that has come.
    next: u32,
    /// Which of the 64 packets before `next` have come, the latest in the lowest bit.
    recent: u64,
}

impl Stream {
    pub(super) fn new(number: u32, form: Form) -> Self {
        let mut packet = Box::new([SILENCE; SPACE]);
        packet[0] = 0x80;
        packet[1] = match form.says {
            Says::Sound(payload_type, _) => payload_type,
            _ => PAYLOAD_TYPE,
        };
        packet[8..12].copy_from_slice(&(0x6c6f_0000 ^ number).to_be_bytes());
        Self {
            number,
            form,
            packet,
            sent: 0,
            seen: Arrivals::default(),
            times: Times::default(),
        }
    }

    /// The next packet, sent at `at` since the run began; none if this stream is silent.
    pub(super) fn next(&mut self, at: Duration) -> Option<&[u8]> {
        let number = self.sent;
        let packet = &mut self.packet[..];
        let (len, timestamp) = match &self.form.says {
            Says::Nothing => return None,
            Says::Stamps => {
                packet[HEADER..PACKET].fill(SILENCE);
                packet[12..16].copy_from_slice(&MAGIC);
                packet[16..20].copy_from_slice(&self.number.to_be_bytes());
                packet[20..24].copy_from_slice(&number.to_be_bytes());
                packet[24..32].copy_from_slice(&(at.as_nanos() as u64).to_be_bytes());
                (PACKET, number.wrapping_mul(160))
            }
            Says::Sound(_, sound) => {
                let (payload, timestamp) = sound.packet(number);
                packet[HEADER..HEADER + payload.len()].copy_from_slice(payload);
                (HEADER + payload.len(), timestamp)
            }
        };
        self.sent += 1;
        packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        let len = match &mut self.form.keys {
            Some(keys) => keys.protect(packet, len)?,
            None => len,
        };
        Some(&packet[..len])
    }

    /// Takes a packet that came at `at`; returns how long it took if it is a good one that tells.
    pub(super) fn receive(&mut self, packet: &mut [u8], at: Duration) -> Option<Duration> {
        let opened = match &mut self.form.keys {
            Some(keys) => keys.open(packet),
            None => Some(packet.len()),
        };
        let packet = opened.and_then(|len| packet.get(..len));
        match self.form.hears {
            Hears::Stamps => {
                let Some((number, sent)) = packet.and_then(|it| read(it, self.number ^ 1)) else {
                    self.seen.foreign += 1;
                    return None;
                };
                self.seen.count(number).then(|| at.saturating_sub(sent))
            }
            Hears::Any(payload_type) => {
                let (ssrc, sequence) = packet.and_then(|it| any(it, payload_type))?;
                let number = self.times.number(ssrc, sequence, self.seen.next);
                if self.seen.count(number) {
                    self.times.note(number, at);
                }
                None
            }
            Hears::Nothing => None,
        }
    }

    /// Whether something is to come that has not.
    pub(super) fn is_silent(&self) -> bool {
        self.form.hears != Hears::Nothing && self.seen.received == 0
    }

    /// How many packets there should have been, if the partner has sent `sent`.
    pub(super) fn expected(&self, sent: u32) -> u64 {
        match (self.form.hears, sent) {
            (Hears::Nothing, _) => 0,
            (Hears::Any(_), 0) => u64::from(self.seen.next.saturating_sub(FIRST)),
            _ => u64::from(sent),
        }
    }
}

impl Times {
    /// Counts on; a stream that begins anew goes on at `next`.
    fn number(&mut self, ssrc: u32, sequence: u16, next: u32) -> u32 {
        let number = match self.latest {
            None => FIRST,
            Some((known, latest, number)) if known == ssrc => {
                number.saturating_add_signed(i32::from(sequence.wrapping_sub(latest) as i16))
            }
            Some(_) => next,
        };
        self.latest = Some((ssrc, sequence, number));
        number
    }

    fn note(&mut self, number: u32, at: Duration) {
        let due = i64::from(number) * 20_000;
        self.offsets.push(at.as_micros() as i64 - due);
    }

    /// By how much each packet was late, compared with the one that kept its time best, in µs. What comes in the first
    /// second is left out: a stream may begin with what has waited.
    pub(super) fn lateness(&self) -> impl Iterator<Item = u64> {
        let settled = self.offsets.iter().skip(50);
        let best = settled.clone().min().copied().unwrap_or(0);
        settled.map(move |offset| (offset - best).unsigned_abs())
    }
}

impl Arrivals {
    /// Counts packet `number`; `false` if it has come before.
    fn count(&mut self, number: u32) -> bool {
        if number >= self.next {
            let ahead = number - self.next + 1;
            self.recent = self.recent.checked_shl(ahead).unwrap_or(0) | 1;
            self.next = number + 1;
            self.received += 1;
            return true;
        }
        let bit = 1u64.checked_shl(self.next - 1 - number).unwrap_or(0);
        // One that is too late to be remembered counts as late, not as repeated.
        if self.recent & bit != 0 {
            self.duplicated += 1;
            return false;
        }
        self.recent |= bit;
        self.reordered += 1;
        self.received += 1;
        true
    }
}

/// Number and time of sending, if the packet is one of `sender`'s.
fn read(packet: &[u8], sender: u32) -> Option<(u32, Duration)> {
    let word = |at: usize| Some(u32::from_be_bytes(packet.get(at..at + 4)?.try_into().ok()?));
    let is_ours = packet.len() == PACKET
        && packet[0] >> 6 == 2
        && packet[1] & 0x7f == PAYLOAD_TYPE
        && packet[12..16] == MAGIC
        && word(16)? == sender;
    let nanos = u64::from_be_bytes(packet.get(24..32)?.try_into().ok()?);
    is_ours.then_some((word(20)?, Duration::from_nanos(nanos)))
}

/// SSRC and sequence number of an RTP packet of this payload type.
fn any(packet: &[u8], payload_type: u8) -> Option<(u32, u16)> {
    let header: &[u8; HEADER] = packet.first_chunk()?;
    let is_it = header[0] >> 6 == 2 && header[1] & 0x7f == payload_type;
    let ssrc = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    is_it.then_some((ssrc, u16::from_be_bytes([header[2], header[3]])))
}

/// The count of the first packet of a stream without stamps, so that one before it has a number too.
const FIRST: u32 = 1000;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use codec::Codec;

    use super::super::form::Sound;
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn pair() -> (Stream, Stream) {
        (
            Stream::new(6, Form::default()),
            Stream::new(7, Form::default()),
        )
    }

    #[test]
    fn a_packet_tells_how_long_it_took() {
        let (mut a, mut b) = pair();
        let mut packet = a.next(10 * MS).unwrap().to_vec();
        assert_eq!(packet.len(), 172);
        assert_eq!(b.receive(&mut packet, 13 * MS), Some(3 * MS));
        assert_eq!(b.seen.received, 1);
    }

    #[test]
    fn loss_repetition_and_disorder_are_told_apart() {
        let (mut a, mut b) = pair();
        let packets: Vec<Vec<u8>> = (0..5).map(|_| a.next(MS).unwrap().to_vec()).collect();
        for index in [0, 2, 1, 2, 4] {
            b.receive(&mut packets[index].clone(), MS);
        }
        let seen = b.seen;
        assert_eq!((seen.received, seen.reordered, seen.duplicated), (4, 1, 1));
        assert_eq!(u64::from(a.sent) - seen.received, 1);
    }

    #[test]
    fn a_packet_of_another_call_is_foreign() {
        let (mut a, _) = pair();
        let mut stranger = Stream::new(9, Form::default());
        let mut packet = a.next(MS).unwrap().to_vec();
        assert_eq!(stranger.receive(&mut packet, MS), None);
        assert_eq!(stranger.receive(&mut b"short".to_owned(), MS), None);
        assert_eq!(stranger.seen.foreign, 2);
    }

    #[test]
    fn a_gap_of_more_than_the_memory_is_only_loss() {
        let mut seen = Arrivals::default();
        assert!(seen.count(0));
        assert!(seen.count(1000));
        assert!(seen.count(1));
        assert_eq!((seen.received, seen.reordered), (3, 1));
    }

    /// What is transcoded carries no stamps: its order is told by its sequence numbers.
    #[test]
    fn sound_is_counted_by_its_numbers() {
        let sound = Arc::new(Sound::sweep(Codec::Pcmu).unwrap());
        let form = |says, hears| Form {
            says,
            hears,
            keys: None,
        };
        let mut a = Stream::new(6, form(Says::Sound(0, sound), Hears::Nothing));
        let mut b = Stream::new(7, form(Says::Nothing, Hears::Any(0)));
        assert!(b.next(MS).is_none() && b.is_silent() && !a.is_silent());
        let packets: Vec<Vec<u8>> = (0..100).map(|_| a.next(MS).unwrap().to_vec()).collect();
        for (number, packet) in (0..).zip(&packets).filter(|(number, _)| *number != 7) {
            b.receive(&mut packet.clone(), number * 20 * MS + MS * (number % 3));
        }
        assert_eq!((b.seen.received, b.expected(a.sent)), (99, 100));
        assert_eq!((b.expected(0), b.seen.foreign), (100, 0));
        assert_eq!(b.times.lateness().max(), Some(2000));
    }
}
