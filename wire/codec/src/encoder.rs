//! Every encoder behind one face.

#[cfg(feature = "amr")]
use crate::amr;
#[cfg(feature = "g729")]
use crate::g729;
use crate::{Codec, Error, Parameters, g711, g722, g7231, gsm, ilbc, l16, opus};

/// Encodes one stream.
#[derive(Debug)]
pub struct Encoder {
    codec: Codec,
    rate: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Law(fn(i16) -> u8),
    G722(Box<g722::Encoder>),
    Opus(opus::Encoder),
    L16(u8),
    Gsm(gsm::Encoder),
    G7231(g7231::Encoder),
    Ilbc(Box<ilbc::Encoder>),
    #[cfg(feature = "g729")]
    G729(g729::Encoder),
    #[cfg(feature = "amr")]
    Amr(Box<amr::Encoder>),
}

impl Encoder {
    /// A new stream. `parameters` are what the peer wishes to receive.
    ///
    /// # Errors
    /// [`Error::Parameters`]: the codec cannot do what they say, or was not
    /// [compiled in](Codec::is_available).
    pub fn new(codec: Codec, parameters: &Parameters) -> Result<Self, Error> {
        let describe = parameters.silence && parameters.dtx;
        let kind = match codec {
            Codec::Pcmu => Kind::Law(g711::encode_mu),
            Codec::Pcma => Kind::Law(g711::encode_a),
            Codec::G722 => Kind::G722(Box::default()),
            Codec::Opus => Kind::Opus(opus_encoder(parameters)?),
            Codec::L16 { channels, .. } => Kind::L16(channels),
            Codec::Gsm => Kind::Gsm(gsm::Encoder::new()?),
            Codec::G7231 => {
                let encoder = g7231::Encoder::new(!parameters.low_rate, describe)?;
                Kind::G7231(encoder)
            }
            Codec::Ilbc => Kind::Ilbc(Box::new(ilbc::Encoder::new(parameters.ilbc_mode()))),
            #[cfg(feature = "g729")]
            Codec::G729 => Kind::G729(g729::Encoder::new(describe)?),
            #[cfg(feature = "amr")]
            Codec::AmrNb => Kind::amr(amr::Band::Narrow, parameters)?,
            #[cfg(feature = "amr")]
            Codec::AmrWb => Kind::amr(amr::Band::Wide, parameters)?,
            #[cfg(not(all(feature = "g729", feature = "amr")))]
            _ => return Err(Error::Parameters),
        };
        let rate = match &kind {
            Kind::Opus(encoder) => encoder.rate(),
            _ => codec.sample_rate(),
        };
        Ok(Self { codec, rate, kind })
    }

    /// The codec.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Samples a second that it wants.
    #[must_use]
    pub fn sample_rate(&self) -> u32 {
        self.rate
    }

    /// Encodes one packet's worth of `pcm` into the start of `out` and returns how many bytes that
    /// is; 0: nothing is to be sent for this time, because the peer agreed to hear no silence.
    ///
    /// `pcm` is whole frames of the codec: any number of samples of G.711 and L16, an even number
    /// of G.722, and 2.5, 5, 10, 20, 40 or 60 ms of Opus. [`Codec::ptime`] finds a length. Of iLBC,
    /// the frames are those that the peer wishes if `pcm` is whole ones, else those of the other
    /// length.
    ///
    /// # Errors
    /// [`Error::Parameters`]: `pcm` has another length, or `out` is too small.
    /// [`Error::Failed`]: the codec is of no more use.
    pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Result<usize, Error> {
        let whole = |encoded: usize, needed: usize| match encoded == needed {
            true => Ok(encoded),
            false => Err(Error::Parameters),
        };
        match &mut self.kind {
            Kind::Law(law) => {
                let pairs = out.iter_mut().zip(pcm);
                pairs.for_each(|(byte, sample)| *byte = law(*sample));
                whole(pcm.len().min(out.len()), pcm.len())
            }
            Kind::G722(encoder) => {
                let written = encoder.encode(pcm, out);
                whole(2 * written, pcm.len()).map(|_| written)
            }
            Kind::Opus(encoder) => encoder.encode(pcm, out),
            Kind::L16(channels) => {
                let needed = 2 * pcm.len() * usize::from(*channels);
                whole(l16::encode(pcm, *channels, out), needed)
            }
            Kind::Gsm(encoder) => encoder.encode(pcm, out),
            Kind::G7231(encoder) => encoder.encode(pcm, out),
            Kind::Ilbc(encoder) => encoder.encode(pcm, out),
            #[cfg(feature = "g729")]
            Kind::G729(encoder) => encoder.encode(pcm, out),
            #[cfg(feature = "amr")]
            Kind::Amr(encoder) => encoder.encode(pcm, out),
        }
    }

    /// Tells the encoder what share of its packets is lost, in percent, so that it adds
    /// redundancy where the codec has some and the peer agreed.
    ///
    /// # Errors
    /// [`Error::Failed`]: the codec is of no more use.
    pub fn expect_loss(&mut self, percent: u8) -> Result<(), Error> {
        match &mut self.kind {
            Kind::Opus(encoder) => encoder.expect_loss(percent),
            _ => Ok(()),
        }
    }

    /// Changes to the mode of AMR that the peer asks for, if it was agreed.
    ///
    /// # Errors
    /// [`Error::Failed`]: the codec is of no more use.
    ///
    /// # Source
    /// RFC 4867 §4.3.1
    pub fn change_mode(&mut self, mode: u8) -> Result<(), Error> {
        match &mut self.kind {
            #[cfg(feature = "amr")]
            Kind::Amr(encoder) => encoder.change_mode(mode),
            // No other codec has modes.
            _ => {
                let _ = mode;
                Ok(())
            }
        }
    }
}

#[cfg(feature = "amr")]
impl Kind {
    fn amr(band: amr::Band, parameters: &Parameters) -> Result<Self, Error> {
        let encoder = amr::Encoder::new(band, parameters)?;
        Ok(Self::Amr(Box::new(encoder)))
    }
}

fn opus_encoder(parameters: &Parameters) -> Result<opus::Encoder, Error> {
    let rate = parameters.rate.unwrap_or(Codec::Opus.sample_rate());
    // More than the peer plays, or than we hear, is not worth its bits.
    let wished = match rate.min(parameters.max_playback_rate) {
        0..=8000 => 16_000,
        8001..=16_000 => 24_000,
        _ => 32_000,
    };
    let bit_rate = parameters.bit_rate.map_or(wished, |most| most.min(wished));
    let mut encoder = opus::Encoder::new(rate, bit_rate)?;
    encoder.limit_bandwidth(parameters.max_playback_rate)?;
    encoder.use_fec(parameters.fec)?;
    encoder.use_dtx(parameters.dtx)?;
    encoder.use_constant_rate(parameters.constant)?;
    encoder.expect_loss(parameters.loss)?;
    Ok(encoder)
}
