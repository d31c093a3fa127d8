//! Encoder and decoder of one stream, packets in and out.

use codec_core::codecs::amr::AmrCodec;
use codec_core::types::{AmrParameters, CodecConfig, CodedFrame, FrameKind, VariableRateCodec};

use super::payload::{Frame, Layout, MAX_FRAMES};
use super::{Band, LOST, NO_DATA};
use crate::contain::Contained;
use crate::{Error, Parameters};

/// Encodes one stream.
#[derive(Debug)]
pub struct Encoder {
    layout: Layout,
    codec: Contained<AmrCodec>,
    /// The mode that we ask our peer for.
    request: Option<u8>,
}

impl Encoder {
    /// A new stream, starting in the best mode that the peer allows. With
    /// [`dtx`](Parameters::dtx) silence is described instead of coded.
    ///
    /// # Errors
    /// The peer allows no mode, or wants CRCs or interleaving, or the library has failed.
    pub fn new(band: Band, parameters: &Parameters) -> Result<Self, Error> {
        Ok(Self {
            layout: layout(band, parameters)?,
            codec: codec(band, parameters)?,
            request: None,
        })
    }

    /// Changes to the mode that the peer asks for, as soon as the agreement allows. A mode outside
    /// of the agreement is passed over.
    ///
    /// # Errors
    /// The library has failed.
    ///
    /// # Source
    /// RFC 4867 §4.3.1
    pub fn change_mode(&mut self, mode: u8) -> Result<(), Error> {
        self.codec.run(|c| drop(c.apply_mode_request(Some(mode))))
    }

    /// From now on asks the peer for this mode in each packet.
    pub fn request_mode(&mut self, mode: Option<u8>) {
        self.request = mode;
    }

    /// Encodes whole frames, up to six, into the start of `out` and returns how many bytes that
    /// is; 0: nothing is to be sent in this silence.
    ///
    /// # Errors
    /// `pcm` is not whole frames, `out` is too small, or the library has failed.
    pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Result<usize, Error> {
        let band = self.layout.band;
        let sounds = pcm.chunks_exact(band.samples());
        if !sounds.remainder().is_empty() || !(1..=MAX_FRAMES).contains(&sounds.len()) {
            return Err(Error::Parameters);
        }
        let count = sounds.len();
        let mut frames = [Frame::new(band, NO_DATA, &[])?; MAX_FRAMES];
        for (frame, sound) in frames.iter_mut().zip(sounds) {
            let coded = self.codec.run(|c| c.encode_frame(sound))?;
            let coded = coded.map_err(|_| Error::Failed)?;
            let frame_type = match coded.kind {
                FrameKind::Speech => coded.mode,
                FrameKind::ComfortNoise => band.silence(),
                FrameKind::NoData | FrameKind::Lost => NO_DATA,
            };
            *frame = Frame::new(band, frame_type, &coded.data).map_err(|_| Error::Failed)?;
        }
        let frames = &frames[..count];
        if frames.iter().all(|f| f.frame_type == NO_DATA) {
            return Ok(0);
        }
        self.layout.encode(self.request, frames, out)
    }
}

/// Decodes one stream.
#[derive(Debug)]
pub struct Decoder {
    layout: Layout,
    codec: Contained<AmrCodec>,
    /// Of the last frame of speech: what is lost is taken for the same.
    mode: u8,
    request: Option<u8>,
}

impl Decoder {
    /// A new stream.
    ///
    /// # Errors
    /// The parameters want CRCs or interleaving, or the library has failed.
    pub fn new(band: Band, parameters: &Parameters) -> Result<Self, Error> {
        Ok(Self {
            layout: layout(band, parameters)?,
            codec: codec(band, &Parameters::default())?,
            mode: 0,
            request: None,
        })
    }

    /// The mode that the last packet asked us to send.
    #[must_use]
    pub fn mode_request(&self) -> Option<u8> {
        self.request
    }

    /// Decodes a packet into the start of `pcm` and returns how many samples that is.
    ///
    /// # Errors
    /// The packet is damaged, `pcm` is too short, or the library has failed.
    pub fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Result<usize, Error> {
        let payload = self.layout.parse(payload)?;
        let size = self.layout.band.samples();
        if pcm.len() < payload.frames().count() * size {
            return Err(Error::Parameters);
        }
        self.request = payload.request;
        let mut samples = 0;
        for (frame, sound) in payload.frames().zip(pcm.chunks_exact_mut(size)) {
            if frame.frame_type < self.layout.band.silence() {
                self.mode = frame.frame_type;
            }
            self.frame(&self.coded(frame), sound)?;
            samples += size;
        }
        Ok(samples)
    }

    /// Makes up as many frames as `pcm` has space for and returns how many samples that is.
    ///
    /// # Errors
    /// The library has failed.
    pub fn conceal(&mut self, pcm: &mut [i16]) -> Result<usize, Error> {
        let mut samples = 0;
        for sound in pcm.chunks_exact_mut(self.layout.band.samples()) {
            let lost = CodedFrame {
                mode: self.mode,
                ..CodedFrame::lost()
            };
            self.frame(&lost, sound)?;
            samples += sound.len();
        }
        Ok(samples)
    }

    fn coded(&self, frame: &Frame) -> CodedFrame {
        let bits = frame.bits().to_vec();
        let coded = match frame.frame_type {
            NO_DATA => CodedFrame::no_data(),
            LOST => CodedFrame::lost(),
            mode if mode < self.layout.band.silence() => CodedFrame::speech(mode, bits),
            _ => CodedFrame::comfort_noise(bits),
        };
        let mode = match coded.kind {
            FrameKind::Speech => coded.mode,
            _ => self.mode,
        };
        CodedFrame {
            mode,
            quality_ok: frame.good,
            ..coded
        }
    }

    fn frame(&mut self, coded: &CodedFrame, sound: &mut [i16]) -> Result<(), Error> {
        let decoded = self.codec.run(|c| c.decode_frame(coded))?;
        let decoded = decoded.map_err(|_| Error::Damaged)?;
        match decoded.len() == sound.len() {
            true => sound.copy_from_slice(&decoded),
            false => return Err(Error::Failed),
        }
        Ok(())
    }
}

fn layout(band: Band, parameters: &Parameters) -> Result<Layout, Error> {
    if parameters.unsupported {
        return Err(Error::Parameters);
    }
    Ok(Layout {
        band,
        octet_aligned: parameters.octet_aligned,
    })
}

fn codec(band: Band, parameters: &Parameters) -> Result<Contained<AmrCodec>, Error> {
    let mut config = match band {
        Band::Narrow => CodecConfig::amr_nb(),
        Band::Wide => CodecConfig::amr_wb(),
    };
    let modes = (1 << band.silence()) - 1;
    if parameters.modes & modes == 0 {
        return Err(Error::Parameters);
    }
    config.parameters.amr = AmrParameters {
        mode_set: parameters.modes & modes,
        mode_change_period: if parameters.every_other { 2 } else { 1 },
        mode_change_neighbor: parameters.neighbours,
        dtx: parameters.dtx,
        ..AmrParameters::default()
    };
    Contained::new(|| AmrCodec::new(&config).map_err(|_| Error::Parameters))
}
