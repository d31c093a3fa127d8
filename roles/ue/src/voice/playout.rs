//! What is heard, in order and at its pace.

use codec::{Codec, Decoder};
use media::playout::{self, MOST_PACKET_MS};
use rtp::Packet;
use rtp::jitter_buffer::{Config, JitterBuffer, Playout as Next};

/// Packets between the network and whoever listens to them as time goes on.
#[derive(Debug)]
pub(super) struct Playout {
    buffer: JitterBuffer,
    codec: Codec,
    rate: u32,
    /// Decoded and not heard yet: at most the packet that is being heard, stretched.
    left: Vec<i16>,
}

impl Playout {
    pub(super) fn new(codec: Codec, rate: u32) -> Self {
        let config = Config {
            clock: codec.clock(),
            octets: match codec {
                Codec::L16 { rate, channels } => rate as usize * 2 * usize::from(channels) / 3,
                _ => 8192,
            },
            ..Config::default()
        };
        Self {
            buffer: JitterBuffer::new(&config),
            codec,
            rate,
            left: Vec::new(),
        }
    }

    /// A packet has come after so many milliseconds.
    pub(super) fn insert(&mut self, packet: &Packet<'_>, now_ms: u64) {
        let header = packet.header();
        self.buffer.insert(&header, packet.payload(), now_ms);
    }

    /// Appends the next 20 ms to `pcm`.
    pub(super) fn hear(&mut self, decoder: &mut Decoder, now_ms: u64, pcm: &mut Vec<i16>) {
        let turn = (self.rate / 50) as usize;
        while self.left.len() < turn {
            self.take(decoder, now_ms, turn);
        }
        pcm.extend(self.left.drain(..turn));
    }

    /// Decodes the next packet, or makes up for it.
    fn take(&mut self, decoder: &mut Decoder, now_ms: u64, turn: usize) {
        let (rate, clock) = (self.rate, self.codec.clock());
        let samples = |ticks: u32| {
            let samples = u64::from(ticks) * u64::from(rate) / u64::from(clock.max(1));
            (samples as usize).clamp(1, rate as usize / 1000 * MOST_PACKET_MS)
        };
        let step = self.buffer.packet_ticks();
        match self.buffer.take(now_ms) {
            Next::Packet { payload, pace, .. } => {
                if playout::append(decoder, payload, pace, samples(step), &mut self.left) {
                    self.buffer.pause();
                }
            }
            Next::Lost { ticks, next } => {
                playout::make_up(Some(decoder), next, samples(ticks), &mut self.left);
            }
            Next::Silence => self.left.resize(turn, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use codec::tone::{self, Tone};
    use codec::{Encoder, Parameters};
    use rtp::{HEADER_LEN, Header};

    use super::*;

    /// A second of a tone, of which every packet comes behind the one after it and one in ten never.
    #[test]
    fn what_comes_in_disorder_is_heard_in_order() {
        let parameters = Parameters::default();
        let mut encoder = Encoder::new(Codec::Pcma, &parameters).unwrap();
        let mut decoder = Decoder::new(Codec::Pcma, &parameters).unwrap();
        let (mut tone, mut playout) = (Tone::new(500.0, 8000), Playout::new(Codec::Pcma, 8000));
        let packets: Vec<_> = (0..60u32)
            .map(|n| {
                let mut pcm = [0; 160];
                tone.fill(&mut pcm);
                let mut packet = [0; HEADER_LEN + 160];
                let header = Header {
                    payload_type: 8,
                    sequence: n as u16,
                    timestamp: n * 160,
                    ssrc: 3,
                    ..Header::default()
                };
                header.encode(&mut packet);
                encoder.encode(&pcm, &mut packet[HEADER_LEN..]).unwrap();
                packet
            })
            .collect();
        let mut heard = Vec::new();
        for n in 0..60 {
            let (now, came) = (1000 + n as u64 * 20, n ^ 1);
            if came % 10 != 9 {
                let packet = Packet::parse(&packets[came]).unwrap();
                playout.insert(&packet, now);
            }
            playout.hear(&mut decoder, now, &mut heard);
        }
        assert_eq!(heard.len(), 60 * 160);
        let level = tone::level(&heard[2400..6400], 500.0, 8000) - tone::ZERO_DBM0;
        assert!(level.abs() < 2.0, "{level}");
    }

    #[test]
    fn nothing_is_silence() {
        let mut decoder = Decoder::new(Codec::Pcmu, &Parameters::default()).unwrap();
        let mut heard = Vec::new();
        Playout::new(Codec::Pcmu, 8000).hear(&mut decoder, 5, &mut heard);
        assert_eq!(heard, [0; 160]);
    }
}
