//! What becomes of packets on their way from one side to the other where the two have agreed to
//! different payload types.
//!
//! Where both take the same codecs, only the payload type is rewritten: the stream stays the
//! sender's, and its RTCP passes. Where something has to be transcoded, each side gets a stream of
//! our own: our SSRC, sequence numbers and timestamps, and RTCP made here.

mod own;
mod routes;
mod transcode;

use codec::dtmf::Dialer;
use rtp::telephone_event::TelephoneEvent;
use rtp::{Arrival, Header};

pub(crate) use own::Own;
use routes::Action;
pub(crate) use routes::{Routes, at_rate};
use transcode::{Heard, Transcoder};

use crate::Payload;
use crate::relay::{Buffer, SIZE};

/// One direction of a stream.
#[derive(Debug)]
pub(crate) struct Converter {
    routes: Routes,
    transcoder: Option<Transcoder>,
    anchor: Option<Anchor>,
    /// The event that is being passed on: its timestamp in what comes and in what we send.
    event: Option<(u32, u32)>,
    pressed: Option<Pressed>,
}

/// The key that is heard as sound.
#[derive(Debug)]
struct Pressed {
    /// The timestamp of its event.
    timestamp: u32,
    /// Milliseconds sent so far.
    sent: u32,
    dialer: Dialer,
}

/// Where packets go to, and when.
pub(crate) struct Way<'a> {
    /// The stream that we send.
    pub(crate) own: &'a mut Own,
    pub(crate) scratch: &'a mut Scratch,
    /// Sends a packet: a buffer with room behind the packet, and the packet's length.
    pub(crate) send: &'a mut dyn FnMut(&mut Buffer, usize),
    /// In milliseconds.
    pub(crate) now: u64,
}

/// What a worker needs while it converts a packet, shared by all its streams.
#[derive(Debug)]
pub(crate) struct Scratch {
    out: Buffer,
    pcm: [i16; MAX_SAMPLES],
}

/// Two timestamps of one moment: in the stream that comes, and in the one that we send.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    ssrc: u32,
    /// Hertz of the stream that comes and of the one that we send.
    clocks: (u32, u32),
    theirs: u32,
    ours: u32,
}

/// The routes of both directions between the parties of a stream, the first one's first; `None` if
/// payloads are passed on untouched.
pub(crate) fn routes(
    (one, one_ptime): (&[Payload], Option<u8>),
    (other, other_ptime): (&[Payload], Option<u8>),
) -> Option<[Routes; 2]> {
    let converts = !one.is_empty() && !other.is_empty();
    converts.then(|| {
        [
            Routes::between(one, other, other_ptime),
            Routes::between(other, one, one_ptime),
        ]
    })
}

/// Whether the streams between two parties have to be our own.
pub(crate) fn is_transcoded(routes: &[Routes; 2]) -> bool {
    routes.iter().any(|routes| routes.target.is_some())
}

impl Converter {
    pub(crate) fn new(routes: Routes) -> Self {
        Self {
            transcoder: Transcoder::new(&routes),
            routes,
            anchor: None,
            event: None,
            pressed: None,
        }
    }

    /// Puts a converter with these routes in `place`. If one is there that has them, it is not
    /// disturbed.
    pub(crate) fn set(place: &mut Option<Box<Self>>, routes: Routes) {
        if place.as_ref().is_none_or(|it| it.routes != routes) {
            *place = Some(Box::new(Self::new(routes)));
        }
    }

    /// Ticks in a millisecond of the RTP clock of what comes with this payload type; `None` if it
    /// was not agreed.
    pub(crate) fn clock(&self, number: u8) -> Option<u32> {
        self.routes.find(number).map(|route| route.clock / 1000)
    }

    /// What the payload type becomes, if nothing else of its packets changes.
    pub(crate) fn passes(&self, number: u8) -> Option<u8> {
        match self.routes.find(number)?.action {
            Action::Pass(new) => Some(new),
            _ => None,
        }
    }

    /// Rewrites the payload type of `packet`, which stays its sender's; false if it is not to be
    /// passed on.
    pub(crate) fn renumber(&self, packet: &mut [u8], header: &Header) -> bool {
        let Some(route) = self.routes.find(header.payload_type) else {
            return false;
        };
        match route.action {
            Action::Pass(number) => set_payload_type(packet, number),
            Action::Event(number, clock) => {
                set_payload_type(packet, number);
                scale_event(packet, route.clock, clock);
            }
            Action::Transcode | Action::Key => return false,
        }
        true
    }

    /// Turns the packet of `len` bytes at the start of `buffer` into packets of our own stream.
    pub(crate) fn convert(
        &mut self,
        buffer: &mut Buffer,
        len: usize,
        header: &Header,
        arrival: Arrival,
        way: &mut Way<'_>,
    ) {
        let Some(route) = self.routes.find(header.payload_type) else {
            return;
        };
        let (clock, action) = (route.clock, route.action);
        match action {
            Action::Pass(number) => {
                let due = self.due(header, arrival, (clock, clock), way);
                self.pass(buffer, len, number, (header.sequence, due), way);
            }
            Action::Event(number, theirs) => {
                scale_event(&mut buffer[..len], clock, theirs);
                let due = self.event_due(header, arrival, (clock, theirs), way);
                self.pass(buffer, len, number, (header.sequence, due), way);
            }
            Action::Key => self.press(&buffer[..len], header, arrival, clock, way),
            // What is late has been concealed already.
            Action::Transcode if matches!(arrival, Arrival::Late | Arrival::Jump) => {}
            Action::Transcode => self.transcode(&buffer[..len], header, arrival, clock, way),
        }
    }

    /// The stream that we send has been about something else: what comes next begins anew.
    pub(crate) fn interrupt(&mut self) {
        (self.anchor, self.event, self.pressed) = (None, None, None);
        if let Some(transcoder) = &mut self.transcoder {
            transcoder.clear();
        }
    }

    /// Is told what share of the packets the receiver misses, in percent.
    pub(crate) fn expect_loss(&mut self, percent: u8) {
        if let Some(transcoder) = &mut self.transcoder {
            transcoder.expect_loss(percent);
        }
    }

    fn transcode(
        &mut self,
        datagram: &[u8],
        header: &Header,
        arrival: Arrival,
        clock: u32,
        way: &mut Way<'_>,
    ) {
        let (Some(target), Ok(packet)) = (&self.routes.target, rtp::Packet::parse(datagram)) else {
            return;
        };
        let clocks = (clock, target.codec.clock());
        let due = self.due(header, arrival, clocks, way);
        if let Some(transcoder) = &mut self.transcoder {
            let heard = Heard {
                number: header.payload_type,
                payload: packet.payload(),
                gap: matches!(arrival, Arrival::Gap(_)),
            };
            let at = transcoder.hear(&heard, due, way);
            if let Some(anchor) = &mut self.anchor {
                anchor.ours = at;
            }
        }
    }

    /// Lets the key that an event tells of be heard for as long as the event has lasted since it
    /// was last told of.
    ///
    /// # Source
    /// RFC 4733 §2.5.2.2, §2.6.1
    fn press(
        &mut self,
        datagram: &[u8],
        header: &Header,
        arrival: Arrival,
        clock: u32,
        way: &mut Way<'_>,
    ) {
        let Some((key, lasted)) = key(datagram, clock) else {
            return;
        };
        let (Some(target), Some(rate)) = (
            &self.routes.target,
            self.transcoder.as_ref().map(Transcoder::rate),
        ) else {
            return;
        };
        let clocks = (clock, target.codec.clock());
        let due = self.event_due(header, arrival, clocks, way);
        let pressed = match &mut self.pressed {
            Some(pressed) if pressed.timestamp == header.timestamp => pressed,
            pressed => pressed.insert(Pressed {
                timestamp: header.timestamp,
                sent: 0,
                dialer: Dialer::new(key.encode_utf8(&mut [0; 4]), u16::MAX, 0, rate),
            }),
        };
        let ms = lasted.saturating_sub(pressed.sent);
        let due = due.wrapping_add(pressed.sent * way.own.clock());
        pressed.sent += ms;
        if let (1.., Some(transcoder)) = (ms, &mut self.transcoder) {
            transcoder.insert(ms, due, way, |pcm| pressed.dialer.fill(pcm));
        }
    }

    /// Passes the packet on under the next sequence number and the timestamp of `numbers`; the
    /// first of `numbers` is its sequence number.
    fn pass(
        &mut self,
        buffer: &mut Buffer,
        len: usize,
        number: u8,
        (sequence, timestamp): (u16, u32),
        way: &mut Way<'_>,
    ) {
        if let Some(transcoder) = &mut self.transcoder {
            transcoder.flush(way);
        }
        if let Some(sequence) = way.own.follow(sequence) {
            let packet = &mut buffer[..len];
            set_payload_type(packet, number);
            way.own.pass(packet, sequence, timestamp, way.now);
            (way.send)(buffer, len);
        }
    }

    /// Where the packet belongs in the stream that we send.
    fn due(
        &mut self,
        header: &Header,
        arrival: Arrival,
        clocks: (u32, u32),
        way: &mut Way<'_>,
    ) -> u32 {
        match &mut self.anchor {
            Some(anchor)
                if anchor.ssrc == header.ssrc
                    && anchor.clocks == clocks
                    && arrival != Arrival::Restart =>
            {
                anchor.place(header.timestamp, arrival != Arrival::Late)
            }
            _ => {
                if let Some(transcoder) = &mut self.transcoder {
                    transcoder.flush(way);
                    transcoder.forget(header.payload_type);
                }
                way.own.resume(clocks.1 / 1000, way.now);
                let ours = way.own.timestamp;
                self.anchor = Some(Anchor {
                    ssrc: header.ssrc,
                    clocks,
                    theirs: header.timestamp,
                    ours,
                });
                ours
            }
        }
    }

    /// Where an event belongs, which keeps its first timestamp while it lasts and may be counted by
    /// another clock than the sound around it.
    ///
    /// # Source
    /// RFC 4733 §2.2.1
    fn event_due(
        &mut self,
        header: &Header,
        arrival: Arrival,
        clocks: (u32, u32),
        way: &mut Way<'_>,
    ) -> u32 {
        match (self.event, self.anchor) {
            (Some((theirs, ours)), _) if theirs == header.timestamp => return ours,
            (_, Some(anchor)) if anchor.ssrc == header.ssrc && anchor.clocks.0 != clocks.0 => {
                let ours = way.own.timestamp_at(way.now);
                self.event = Some((header.timestamp, ours));
                return ours;
            }
            _ => {}
        }
        let clocks = self.anchor.map_or(clocks, |anchor| anchor.clocks);
        let ours = self.due(header, arrival, clocks, way);
        self.event = Some((header.timestamp, ours));
        ours
    }
}

impl Anchor {
    /// Our timestamp for `theirs`; if that is the newest, time is reckoned from it from now on.
    fn place(&mut self, theirs: u32, newest: bool) -> u32 {
        let ticks = i64::from(theirs.wrapping_sub(self.theirs) as i32);
        let (from, to) = self.clocks;
        let ticks = ticks * i64::from(to) / i64::from(from.max(1));
        let ours = self.ours.wrapping_add(ticks as u32);
        if newest {
            (self.theirs, self.ours) = (theirs, ours);
        }
        ours
    }
}

impl Scratch {
    pub(crate) fn new() -> Box<Self> {
        Box::new(Self {
            out: [0; SIZE],
            pcm: [0; MAX_SAMPLES],
        })
    }
}

/// The key of an event and for how many milliseconds it has been pressed; one that is no longer
/// pressed, for long enough to be heard.
fn key(datagram: &[u8], clock: u32) -> Option<(char, u32)> {
    let packet = rtp::Packet::parse(datagram).ok()?;
    let event = TelephoneEvent::parse(packet.payload()).ok()?;
    let ms = u32::from(event.duration) * 1000 / clock.max(1000);
    let ms = if event.end {
        ms.max(SHORTEST_KEY_MS)
    } else {
        ms
    };
    Some((event.key()?, ms))
}

fn set_payload_type(packet: &mut [u8], number: u8) {
    if let Some(second) = packet.get_mut(1) {
        *second = *second & 0x80 | number & 0x7f;
    }
}

/// Counts the duration of an event by another clock. Longer ones than can be said are cut.
///
/// # Source
/// RFC 4733 §2.3
fn scale_event(packet: &mut [u8], from: u32, to: u32) {
    let Ok(view) = rtp::Packet::parse(packet) else {
        return;
    };
    let &[_, _, high, low, ..] = view.payload() else {
        return;
    };
    let start = packet.len() - view.payload().len();
    let scaled =
        u64::from(u16::from_be_bytes([high, low])) * u64::from(to) / u64::from(from.max(1));
    let scaled = u16::try_from(scaled).unwrap_or(u16::MAX);
    if from != to {
        packet[start + 2..start + 4].copy_from_slice(&scaled.to_be_bytes());
    }
}

/// 200 ms at 48 kHz; and 4095 bytes of G.722, the longest that one datagram holds of any codec but
/// those that say how long their packets are, are less.
const MAX_SAMPLES: usize = 9600;
/// # Source
/// ITU-T Q.24 table A-1: the shortest key that every receiver takes, with some slack
const SHORTEST_KEY_MS: u32 = 60;

#[cfg(test)]
mod tests {
    use base::{Mint, Slot};
    use codec::{Codec, Parameters};
    use proptest::prelude::*;
    use rtp::{HEADER_LEN, Sequence};

    use super::*;
    use crate::PayloadKind;
    use crate::relay::MAX_DATAGRAM;

    fn payload(number: u8, kind: PayloadKind) -> Payload {
        Payload {
            number,
            kind,
            ptime: 20,
        }
    }

    fn speech(number: u8, codec: Codec) -> Payload {
        payload(number, PayloadKind::Codec(codec, Parameters::default()))
    }

    fn events(number: u8, clock: u32) -> Payload {
        payload(number, PayloadKind::TelephoneEvent { clock })
    }

    fn own() -> Own {
        let token = Mint::new(Slot::new(0), [1; 32]).token();
        Own::new([7, 65_530, u32::MAX - 100], token, 0)
    }

    /// A packet: payload type, steps of sequence number and timestamp, payload, milliseconds since
    /// the one before.
    type Step = (u8, u16, u32, Vec<u8>, u64);

    fn step() -> impl Strategy<Value = Step> {
        (
            prop::sample::select(vec![0u8, 8, 9, 111, 101, 13, 55]),
            prop_oneof![8 => Just(1u16), 2 => 0u16..5, 1 => any::<u16>()],
            prop_oneof![6 => Just(160u32), 2 => Just(960u32), 1 => Just(0u32), 1 => any::<u32>()],
            prop_oneof![
                4 => prop::collection::vec(any::<u8>(), 0..200),
                1 => prop::collection::vec(any::<u8>(), 4000..MAX_DATAGRAM - HEADER_LEN),
            ],
            0u64..200,
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn whatever_comes_makes_a_bounded_number_of_whole_packets(
            steps in prop::collection::vec(step(), 1..40),
            target in prop::sample::select(vec![
                (Codec::Pcmu, 0), (Codec::G722, 96), (Codec::Opus, 97),
                (Codec::L16 { rate: 48_000, channels: 1 }, 98),
            ]),
            takes_events in any::<bool>(),
        ) {
            let from = [
                speech(0, Codec::Pcmu), speech(8, Codec::Pcma), speech(9, Codec::G722),
                speech(111, Codec::Opus), events(101, 8000), payload(13, PayloadKind::ComfortNoise),
            ];
            let mut to = vec![speech(target.1, target.0)];
            if takes_events {
                to.push(events(100, target.0.clock()));
            }
            let [there, _] = routes((&from, None), (&to, None)).unwrap();
            let mut converter = Converter::new(there);
            let (mut own, mut scratch) = (own(), Scratch::new());
            let mut header = Header { ssrc: 9, ..Header::default() };
            let (mut sequence, mut now) = (Sequence::new(0), 0);
            let mut buffer = [0; SIZE];
            for (number, ahead, ticks, payload, ms) in steps {
                header.payload_type = number;
                header.sequence = header.sequence.wrapping_add(ahead);
                header.timestamp = header.timestamp.wrapping_add(ticks);
                now += ms;
                let len = HEADER_LEN + payload.len();
                header.encode(&mut buffer);
                buffer[HEADER_LEN..len].copy_from_slice(&payload);
                let arrival = sequence.update(header.sequence);
                let mut sent = Vec::new();
                let mut way = Way {
                    own: &mut own,
                    scratch: &mut scratch,
                    send: &mut |buffer: &mut Buffer, len| sent.push(buffer[..len].to_vec()),
                    now,
                };
                converter.convert(&mut buffer, len, &header, arrival, &mut way);
                prop_assert!(sent.len() <= 16, "{}", sent.len());
                for packet in sent {
                    let heard = Header::parse(&packet).unwrap();
                    prop_assert_eq!(heard.ssrc, 7);
                    prop_assert!([target.1, 100].contains(&heard.payload_type));
                    prop_assert!(packet.len() <= MAX_DATAGRAM);
                }
            }
        }
    }

    #[test]
    fn the_best_way_for_each_payload_type_is_found() {
        let one = [
            speech(0, Codec::Pcmu),
            speech(111, Codec::Opus),
            events(101, 8000),
        ];
        let other = [
            speech(96, Codec::Opus),
            events(97, 8000),
            events(98, 48_000),
        ];
        let [there, back] = routes((&one, None), (&other, None)).unwrap();
        let action = |routes: &Routes, number| routes.find(number).map(|route| route.action);
        assert_eq!(action(&there, 0), Some(Action::Transcode));
        assert_eq!(action(&there, 111), Some(Action::Pass(96)));
        assert_eq!(action(&there, 101), Some(Action::Event(98, 48_000)));
        assert_eq!(action(&there, 96), None);
        assert_eq!(
            there.target.as_ref().map(|t| t.parameters.rate),
            Some(Some(8000))
        );
        assert_eq!(action(&back, 96), Some(Action::Pass(111)));
        assert!(back.target.is_none() && is_transcoded(&[there, back]));

        let [there, back] = routes((&other, None), (&other, None)).unwrap();
        assert!(!is_transcoded(&[there, back]));
        assert!(routes((&one, None), (&[], None)).is_none());
    }
}
