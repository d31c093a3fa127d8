//! One side of a recording: packets in order, decoded, each in its place in time.

use std::collections::BTreeMap;

use codec::resample::Resampler;
use codec::{Decoder, Parameters};
use rtp::Header;

use super::tape::Slot;
use crate::{Payload, PayloadKind};

/// Sound of one side, from what has been written to the file on.
#[derive(Debug)]
pub(super) struct Track {
    /// Samples a second of the file.
    rate: u32,
    /// What payload types mean: of what the side says, and of what is played in its place.
    payloads: [Vec<Payload>; 2],
    /// Packets that may still be overtaken, by how far they are ahead of the first.
    waiting: BTreeMap<i64, Waiting>,
    newest: Option<(u32, u16, i64)>,
    ears: Vec<Ear>,
    anchor: Option<Anchor>,
    /// Sound that is not in the file yet, and where it begins, in samples.
    pcm: Vec<i16>,
    begin: i64,
}

#[derive(Debug)]
struct Waiting {
    at: u64,
    header: Header,
    played: bool,
    payload: Vec<u8>,
}

/// How a payload type is heard.
#[derive(Debug)]
struct Ear {
    number: u8,
    played: bool,
    clock: u32,
    decoder: Decoder,
    resampler: Option<Resampler>,
}

/// A place in the file and the timestamp that belongs there.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    ssrc: u32,
    timestamp: u32,
    position: i64,
    /// Where the last packet's sound ends.
    end: i64,
    sequence: u16,
}

impl Track {
    pub(super) fn new(rate: u32, payloads: [Vec<Payload>; 2]) -> Self {
        Self {
            rate,
            payloads,
            waiting: BTreeMap::new(),
            newest: None,
            ears: Vec::new(),
            anchor: None,
            pcm: Vec::new(),
            begin: 0,
        }
    }

    /// What the payload types mean from now on: those of what is `played`, or of what the side says.
    pub(super) fn agree(&mut self, played: bool, payloads: Vec<Payload>) {
        let known = &mut self.payloads[usize::from(played)];
        if *known != payloads {
            *known = payloads;
            self.ears.retain(|ear| ear.played != played);
        }
    }

    /// Takes a packet.
    pub(super) fn take(&mut self, slot: &Slot) {
        let header = slot.header;
        let place = match self.newest {
            Some((ssrc, sequence, place)) if ssrc == header.ssrc => {
                place + i64::from(header.sequence.wrapping_sub(sequence) as i16)
            }
            Some((_, _, place)) => place + 1,
            None => 0,
        };
        if self.newest.is_none_or(|(_, _, newest)| place > newest) {
            self.newest = Some((header.ssrc, header.sequence, place));
        }
        if self.waiting.len() < MAX_WAITING {
            let payload = slot.payload().to_vec();
            let at = slot.at;
            self.waiting.entry(place).or_insert(Waiting {
                at,
                header,
                played: slot.played,
                payload,
            });
        }
    }

    /// Decodes what came until `until`; `position` says where in the file a time is.
    pub(super) fn decode(&mut self, until: u64, position: impl Fn(u64) -> i64) {
        while let Some(first) = self.waiting.first_entry() {
            if first.get().at > until {
                break;
            }
            let packet = first.remove();
            self.hear(&packet, position(packet.at));
        }
    }

    /// A pause is over: time is reckoned anew.
    pub(super) fn resume(&mut self) {
        self.waiting.clear();
        self.anchor = None;
    }

    /// Takes the sound of the next `samples` out; silence where there is none.
    pub(super) fn cut(&mut self, samples: usize) -> Vec<i16> {
        let here = self.pcm.len().min(samples);
        let mut cut: Vec<i16> = self.pcm.drain(..here).collect();
        cut.resize(samples, 0);
        self.begin += samples as i64;
        cut
    }

    fn hear(&mut self, packet: &Waiting, arrived: i64) {
        let rate = i64::from(self.rate);
        let Some(ear) = self.ear((packet.header.payload_type, packet.played)) else {
            return;
        };
        let header = packet.header;
        let clock = i64::from(ear.clock.max(1));
        let placed = |anchor: Anchor| {
            let ticks = i64::from(header.timestamp.wrapping_sub(anchor.timestamp) as i32);
            anchor.position + ticks * rate / clock
        };
        // Whose clock has drifted, or who counts anew, is heard when it came.
        let near = |place: &i64| (place - arrived).abs() < rate * DRIFT_MS / 1000;
        let anchor = self.anchor.filter(|anchor| anchor.ssrc == header.ssrc);
        let place = anchor.map(placed).filter(near);
        let mut pcm = Vec::new();
        let position = match (anchor, place) {
            (Some(anchor), Some(place)) => {
                let gap = place - anchor.end;
                let lost = header.sequence.wrapping_sub(anchor.sequence) > 1;
                if lost && (1..=rate * CONCEALED_MS / 1000).contains(&gap) {
                    self.conceal((header.payload_type, packet.played), gap as usize, &mut pcm);
                    anchor.end
                } else if gap.abs() < rate * TOLERANCE_MS / 1000 {
                    anchor.end
                } else {
                    place
                }
            }
            _ => arrived,
        };
        self.sound(packet, &mut pcm);
        let end = position + pcm.len() as i64;
        self.anchor = Some(Anchor {
            ssrc: header.ssrc,
            timestamp: header.timestamp,
            position: place.unwrap_or(arrived),
            end,
            sequence: header.sequence,
        });
        self.place(position, &pcm);
    }

    /// Decodes a packet's sound.
    fn sound(&mut self, packet: &Waiting, pcm: &mut Vec<i16>) {
        let mut decoded = [0; MAX_SAMPLES];
        let Some(ear) = self.ear((packet.header.payload_type, packet.played)) else {
            return;
        };
        let samples = ear.decoder.decode(&packet.payload, &mut decoded);
        ear.append(&decoded[..samples.unwrap_or(0)], pcm);
    }

    /// Makes up what is missing, `samples` of the file.
    fn conceal(&mut self, number: (u8, bool), samples: usize, pcm: &mut Vec<i16>) {
        let rate = self.rate;
        let mut decoded = [0; MAX_SAMPLES];
        let Some(ear) = self.ear(number) else { return };
        let wanted = samples * ear.decoder.sample_rate() as usize / rate as usize;
        let made = ear.decoder.conceal(&mut decoded[..wanted.min(MAX_SAMPLES)]);
        ear.append(&decoded[..made], pcm);
        pcm.resize(samples, 0);
    }

    /// Lays sound where it belongs; what would stand before the start came too late.
    fn place(&mut self, position: i64, pcm: &[i16]) {
        let late = (self.begin - position).clamp(0, pcm.len() as i64) as usize;
        let at = (position - self.begin).max(0) as usize;
        // Nothing is so far ahead of its time.
        if at > MAX_AHEAD_SECONDS * self.rate as usize {
            return;
        }
        let pcm = &pcm[late..];
        if self.pcm.len() < at + pcm.len() {
            self.pcm.resize(at + pcm.len(), 0);
        }
        self.pcm[at..at + pcm.len()].copy_from_slice(pcm);
    }

    fn ear(&mut self, (number, played): (u8, bool)) -> Option<&mut Ear> {
        let known = |ear: &Ear| (ear.number, ear.played) == (number, played);
        if let Some(at) = self.ears.iter().position(known) {
            return self.ears.get_mut(at);
        }
        let payload = self.payloads[usize::from(played)]
            .iter()
            .find(|p| p.number == number)?;
        let PayloadKind::Codec(codec, parameters) = &payload.kind else {
            return None;
        };
        let mut parameters: Parameters = parameters.clone();
        if *codec == codec::Codec::Opus {
            parameters.rate = Some(self.rate);
        }
        let decoder = Decoder::new(*codec, &parameters).ok()?;
        let from = decoder.sample_rate();
        self.ears.push(Ear {
            number,
            played,
            clock: codec.clock(),
            resampler: (from != self.rate).then(|| Resampler::new(from, self.rate)),
            decoder,
        });
        self.ears.last_mut()
    }
}

impl Ear {
    /// Appends decoded sound at the rate of the file.
    fn append(&mut self, decoded: &[i16], pcm: &mut Vec<i16>) {
        match &mut self.resampler {
            Some(resampler) => resampler.process(decoded, pcm),
            None => pcm.extend_from_slice(decoded),
        }
    }
}

/// How far a packet's place may be off the time when it came.
const DRIFT_MS: i64 = 300;
/// How far it may be off the end of the one before and still follow it at once.
const TOLERANCE_MS: i64 = 5;
/// A longer gap is silence.
const CONCEALED_MS: i64 = 60;
/// More packets of one side at once are dropped.
const MAX_WAITING: usize = 500;
/// 120 ms at 48 kHz.
const MAX_SAMPLES: usize = 5760;
const MAX_AHEAD_SECONDS: usize = 5;
