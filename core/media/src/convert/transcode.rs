//! Decoding, resampling and encoding, a packet at a time.

use codec::resample::Resampler;
use codec::{Codec, Decoder, Encoder, Error, Parameters};
use rtp::HEADER_LEN;

use super::own::Own;
use super::routes::{Routes, Target, at_rate};
use super::{Scratch, Way};
use crate::relay::MAX_DATAGRAM;

/// Turns the sound of one side into what the other side takes. What does not fill a packet waits
/// for the next one to come; nothing else is held back.
#[derive(Debug)]
pub(crate) struct Transcoder {
    target: Target,
    encoder: Encoder,
    /// Samples in a packet.
    frame: usize,
    /// Samples that wait to be encoded.
    waiting: Vec<i16>,
    /// One for each payload type that we decode, made when it is first heard.
    ears: Vec<Ear>,
}

/// A packet to decode.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard<'a> {
    /// Its payload type.
    pub(crate) number: u8,
    pub(crate) payload: &'a [u8],
    /// Packets before it are missing.
    pub(crate) gap: bool,
}

#[derive(Debug)]
struct Ear {
    number: u8,
    codec: Codec,
    parameters: Parameters,
    hearing: Option<Hearing>,
}

#[derive(Debug)]
struct Hearing {
    decoder: Decoder,
    resampler: Option<Resampler>,
    /// Samples of the last packet.
    last: usize,
}

impl Transcoder {
    /// `None` if nothing is to be transcoded, or the codec fails.
    pub(crate) fn new(routes: &Routes) -> Option<Self> {
        let target = routes.target.clone()?;
        let encoder = Encoder::new(target.codec, &target.parameters).ok()?;
        let rate = encoder.sample_rate();
        let ear = |(number, codec, parameters): (u8, Codec, &Parameters)| Ear {
            number,
            codec,
            parameters: at_rate(codec, parameters, rate),
            hearing: None,
        };
        let mut ears: Vec<Ear> = routes.decoded().map(ear).collect();
        if let Some(first) = ears.first_mut() {
            // The one that will most likely be needed.
            first.hearing = Hearing::new(first.codec, &first.parameters, rate);
        }
        let frame = (rate / 1000) as usize * usize::from(target.ptime);
        Some(Self {
            waiting: Vec::with_capacity(2 * frame),
            frame,
            target,
            encoder,
            ears,
        })
    }

    /// Hears a packet and sends what comes of it. `due` is where its first sample belongs in the
    /// stream that we send; returned is where that is found to be, which differs if the source's
    /// time went back.
    pub(crate) fn hear(&mut self, heard: &Heard<'_>, due: u32, way: &mut Way<'_>) -> u32 {
        let tolerance = (TOLERANCE_MS * way.own.clock()) as i32;
        let ahead = due.wrapping_sub(self.end(way.own)) as i32;
        if ahead > tolerance && heard.gap {
            self.conceal(heard, ahead as u32, way);
        }
        let at = self.align(due, way);
        self.decode(heard, way.scratch);
        self.encode(way);
        at
    }

    /// Is told what share of the packets the receiver misses, in percent.
    pub(super) fn expect_loss(&mut self, percent: u8) {
        // An encoder that fails shows it when it encodes.
        let _ = self.encoder.expect_loss(percent);
    }

    /// Sends sound of our own making, at the encoder's rate, as [`hear`](Self::hear) does with a
    /// packet's. `make` fills the samples of `ms` milliseconds and says how many it has.
    pub(crate) fn insert(
        &mut self,
        ms: u32,
        due: u32,
        way: &mut Way<'_>,
        make: impl FnOnce(&mut [i16]) -> usize,
    ) {
        self.align(due, way);
        let samples = (ms.min(MAX_PACKET_MS) * self.rate() / 1000) as usize;
        let pcm = &mut way.scratch.pcm[..samples];
        let made = make(pcm);
        self.waiting.extend_from_slice(&pcm[..made.min(samples)]);
        self.encode(way);
    }

    /// Samples a second of what is encoded.
    pub(crate) fn rate(&self) -> u32 {
        self.encoder.sample_rate()
    }

    /// Makes what comes next start at `due`, behind a pause if need be. Returned is where it will
    /// start, which differs if that time has passed.
    fn align(&mut self, due: u32, way: &mut Way<'_>) -> u32 {
        let tolerance = (TOLERANCE_MS * way.own.clock()) as i32;
        let ahead = due.wrapping_sub(self.end(way.own)) as i32;
        if ahead.abs() > tolerance {
            self.flush(way);
            way.own.marker = true;
        }
        if ahead > tolerance {
            way.own.timestamp = due;
        }
        match ahead < -tolerance {
            true => way.own.timestamp,
            false => due,
        }
    }

    /// Sends what waits, filled up with silence; what follows is not its continuation.
    pub(crate) fn flush(&mut self, way: &mut Way<'_>) {
        if !self.waiting.is_empty() {
            self.waiting.resize(self.frame, 0);
            self.encode(way);
        }
    }

    /// Throws away what waits.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Fills a gap of `ticks` before the packet, or the first part of a long one.
    fn conceal(&mut self, heard: &Heard<'_>, ticks: u32, way: &mut Way<'_>) {
        let gap = ticks / way.own.clock().max(1);
        let mut left = gap.min(CONCEALED_MS);
        while left > 0 {
            let Some(hearing) = self.hearing(heard.number) else {
                return;
            };
            let per_ms = hearing.decoder.sample_rate() / 1000;
            let step = (left * per_ms) as usize;
            let step = step.min(hearing.last.max(per_ms as usize));
            let pcm = &mut way.scratch.pcm[..step];
            // What the packet tells about the one before is heard right before it.
            let is_last = gap <= CONCEALED_MS && step == (left * per_ms) as usize;
            let made = match is_last {
                true => hearing.decoder.recover(heard.payload, pcm),
                false => hearing.decoder.conceal(pcm),
            };
            left = left.saturating_sub((made as u32).div_ceil(per_ms.max(1)).max(1));
            self.take(heard.number, made, way.scratch);
            self.encode(way);
        }
    }

    /// Decodes the packet; what is damaged is concealed.
    fn decode(&mut self, heard: &Heard<'_>, scratch: &mut Scratch) {
        let Some(hearing) = self.hearing(heard.number) else {
            return;
        };
        let most = (hearing.decoder.sample_rate() / 1000 * MAX_PACKET_MS) as usize;
        let samples = match hearing.decoder.decode(heard.payload, &mut scratch.pcm) {
            Ok(samples) => samples.min(most),
            Err(Error::Failed) => {
                self.forget(heard.number);
                return;
            }
            Err(_) => {
                let step = hearing.last.min(most);
                hearing.decoder.conceal(&mut scratch.pcm[..step])
            }
        };
        hearing.last = samples;
        self.take(heard.number, samples, scratch);
    }

    /// Appends the first `samples` of `scratch.pcm` to what waits, at the encoder's rate.
    fn take(&mut self, number: u8, samples: usize, scratch: &Scratch) {
        let pcm = &scratch.pcm[..samples];
        let ear = self.ears.iter_mut().find(|ear| ear.number == number);
        match ear.and_then(|ear| ear.hearing.as_mut()?.resampler.as_mut()) {
            Some(resampler) => resampler.process(pcm, &mut self.waiting),
            None => self.waiting.extend_from_slice(pcm),
        }
    }

    /// Sends every whole packet that waits.
    fn encode(&mut self, way: &mut Way<'_>) {
        let ticks = u32::from(self.target.ptime) * way.own.clock();
        let out = &mut way.scratch.out;
        let mut done = 0;
        while let Some(pcm) = self.waiting.get(done..done + self.frame) {
            match self.encoder.encode(pcm, &mut out[HEADER_LEN..MAX_DATAGRAM]) {
                // Nothing is sent for silence.
                Ok(0) => {
                    way.own.advance(ticks, way.now);
                    way.own.marker = true;
                }
                Ok(len) => {
                    let number = self.target.number;
                    way.own.make(out, number, len, ticks, way.now);
                    (way.send)(out, HEADER_LEN + len);
                }
                Err(_) => way.own.advance(ticks, way.now),
            }
            done += self.frame;
        }
        self.waiting.drain(..done);
    }

    /// The timestamp of the first sample that is still to come.
    fn end(&self, own: &Own) -> u32 {
        let per_ms = (self.encoder.sample_rate() / 1000).max(1);
        let waiting = self.waiting.len() as u32 * own.clock() / per_ms;
        own.timestamp.wrapping_add(waiting)
    }

    fn hearing(&mut self, number: u8) -> Option<&mut Hearing> {
        let rate = self.encoder.sample_rate();
        let ear = self.ears.iter_mut().find(|ear| ear.number == number)?;
        if ear.hearing.is_none() {
            ear.hearing = Hearing::new(ear.codec, &ear.parameters, rate);
        }
        ear.hearing.as_mut()
    }

    /// Starts decoding afresh: the source is another one.
    pub(crate) fn forget(&mut self, number: u8) {
        if let Some(ear) = self.ears.iter_mut().find(|ear| ear.number == number) {
            ear.hearing = None;
        }
    }
}

impl Hearing {
    fn new(codec: Codec, parameters: &Parameters, rate: u32) -> Option<Self> {
        let decoder = Decoder::new(codec, parameters).ok()?;
        let ours = decoder.sample_rate();
        Some(Self {
            resampler: (ours != rate).then(|| Resampler::new(ours, rate)),
            last: (ours / 1000 * FIRST_MS) as usize,
            decoder,
        })
    }
}

/// How far the source's clock may be off without the stream being interrupted.
const TOLERANCE_MS: u32 = 5;
/// How much of a gap is filled; the rest is left to the receiver, as a pause.
const CONCEALED_MS: u32 = 60;
/// Longer packets are cut: they would make one packet cause the work of many.
///
/// # Source
/// RFC 3551 §4.2: receivers accept packets of up to 200 ms.
const MAX_PACKET_MS: u32 = 200;
/// The assumed length of a lost packet before any was heard.
const FIRST_MS: u32 = 20;
