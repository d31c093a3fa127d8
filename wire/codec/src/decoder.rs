//! Every decoder behind one face.

#[cfg(feature = "amr")]
use crate::amr;
use crate::conceal::Concealer;
#[cfg(feature = "g729")]
use crate::g729;
use crate::{Codec, Error, Parameters, g711, g722, g7231, gsm, ilbc, l16, opus};

/// Decodes one stream.
#[derive(Debug)]
pub struct Decoder {
    codec: Codec,
    rate: u32,
    parameters: Parameters,
    kind: Kind,
    /// Where the codec has no concealment of its own.
    concealer: Option<Box<Concealer>>,
}

#[derive(Debug)]
enum Kind {
    Law(&'static [i16; 256]),
    G722(Box<g722::Decoder>),
    Opus(opus::Decoder),
    L16(u8),
    Gsm(gsm::Decoder),
    G7231(g7231::Decoder),
    Ilbc(Box<ilbc::Decoder>),
    #[cfg(feature = "g729")]
    G729(g729::Decoder),
    #[cfg(feature = "amr")]
    Amr(Box<amr::Decoder>),
}

impl Decoder {
    /// A new stream. `parameters` are what we wish to receive.
    ///
    /// # Errors
    /// [`Error::Parameters`]: the codec cannot do what they say, or was not
    /// [compiled in](Codec::is_available).
    pub fn new(codec: Codec, parameters: &Parameters) -> Result<Self, Error> {
        let rate = match codec {
            Codec::Opus => parameters.rate.unwrap_or(codec.sample_rate()),
            _ => codec.sample_rate(),
        };
        let kind = Kind::new(codec, rate, parameters)?;
        let bare = matches!(kind, Kind::Law(_) | Kind::G722(_) | Kind::L16(_));
        Ok(Self {
            codec,
            rate,
            parameters: parameters.clone(),
            kind,
            concealer: bare.then(|| Box::new(Concealer::new(rate))),
        })
    }

    /// The codec.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Samples a second that come out.
    #[must_use]
    pub fn sample_rate(&self) -> u32 {
        self.rate
    }

    /// The most samples that this payload may hold, as far as its length tells: at most those of 120 ms.
    #[must_use]
    pub fn most_samples(&self, payload: &[u8]) -> usize {
        let most = self.rate as usize / 1000 * 120;
        match &self.kind {
            Kind::Law(_) => payload.len().min(most),
            _ => most,
        }
    }

    /// Decodes the payload of one packet into the start of `pcm` and returns how many samples that
    /// is. 120 ms are enough for every packet that we agree to.
    ///
    /// # Errors
    /// [`Error::Damaged`]: the payload makes no sense; conceal it as if it had been lost.
    /// [`Error::Parameters`]: `pcm` is too short.
    pub fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Result<usize, Error> {
        if payload.is_empty() {
            return Err(Error::Damaged);
        }
        let decoded = self.kind.decode(payload, pcm);
        if decoded == Err(Error::Failed) {
            self.restart();
            return Err(Error::Damaged);
        }
        if let (Some(concealer), Ok(samples)) = (&mut self.concealer, decoded) {
            concealer.heard(&mut pcm[..samples]);
        }
        decoded
    }

    /// Fills `pcm`, as long as the time that was lost, with what may have been said, and returns
    /// how many samples that is: fewer if the codec works in frames that do not fit.
    pub fn conceal(&mut self, pcm: &mut [i16]) -> usize {
        if let Some(concealer) = &mut self.concealer {
            concealer.conceal(pcm);
            return pcm.len();
        }
        let concealed = self.kind.conceal(pcm);
        self.or_silence(concealed, pcm)
    }

    /// Like [`conceal`](Self::conceal) for the time right before `next`, the payload of the packet
    /// after the lost one: where the codec repeats in each packet something of the one before,
    /// that is heard. `next` itself is to be decoded afterwards.
    pub fn recover(&mut self, next: &[u8], pcm: &mut [i16]) -> usize {
        let Kind::Opus(decoder) = &mut self.kind else {
            return self.conceal(pcm);
        };
        match decoder.recover(next, pcm) {
            Err(Error::Damaged) => self.conceal(pcm),
            recovered => self.or_silence(recovered, pcm),
        }
    }

    /// The mode of AMR that the last packet asked us to send
    /// ([`Encoder::change_mode`](crate::Encoder::change_mode)).
    ///
    /// # Source
    /// RFC 4867 §4.3.1
    #[must_use]
    pub fn mode_request(&self) -> Option<u8> {
        match &self.kind {
            #[cfg(feature = "amr")]
            Kind::Amr(decoder) => decoder.mode_request(),
            _ => None,
        }
    }

    fn or_silence(&mut self, made: Result<usize, Error>, pcm: &mut [i16]) -> usize {
        if made == Err(Error::Failed) {
            self.restart();
        }
        made.unwrap_or_else(|_| {
            pcm.fill(0);
            pcm.len()
        })
    }

    /// Goes on with a fresh codec after a panic of the old one. If there is none, the old one
    /// goes on failing.
    fn restart(&mut self) {
        if let Ok(kind) = Kind::new(self.codec, self.rate, &self.parameters) {
            self.kind = kind;
        }
    }
}

impl Kind {
    fn new(codec: Codec, rate: u32, parameters: &Parameters) -> Result<Self, Error> {
        Ok(match codec {
            Codec::Pcmu => Self::Law(&g711::MU),
            Codec::Pcma => Self::Law(&g711::A),
            Codec::G722 => Self::G722(Box::default()),
            Codec::Opus => Self::Opus(opus::Decoder::new(rate)?),
            Codec::L16 { channels, .. } => Self::L16(channels),
            Codec::Gsm => Self::Gsm(gsm::Decoder::new()?),
            Codec::G7231 => Self::G7231(g7231::Decoder::new()?),
            Codec::Ilbc => Self::Ilbc(Box::new(ilbc::Decoder::new(parameters.ilbc_mode()))),
            #[cfg(feature = "g729")]
            Codec::G729 => Self::G729(g729::Decoder::new()?),
            #[cfg(feature = "amr")]
            Codec::AmrNb => Self::amr(amr::Band::Narrow, parameters)?,
            #[cfg(feature = "amr")]
            Codec::AmrWb => Self::amr(amr::Band::Wide, parameters)?,
            #[cfg(not(all(feature = "g729", feature = "amr")))]
            _ => return Err(Error::Parameters),
        })
    }

    #[cfg(feature = "amr")]
    fn amr(band: amr::Band, parameters: &Parameters) -> Result<Self, Error> {
        let decoder = amr::Decoder::new(band, parameters)?;
        Ok(Self::Amr(Box::new(decoder)))
    }

    fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Result<usize, Error> {
        let space = pcm.len();
        let fits = |samples: usize| match samples <= space {
            true => Ok(()),
            false => Err(Error::Parameters),
        };
        match self {
            Self::Law(law) => {
                fits(payload.len())?;
                let pairs = pcm.iter_mut().zip(payload);
                pairs.for_each(|(sample, code)| *sample = law[usize::from(*code)]);
                Ok(payload.len())
            }
            Self::G722(decoder) => {
                fits(2 * payload.len())?;
                Ok(decoder.decode(payload, pcm))
            }
            Self::Opus(decoder) => decoder.decode(payload, pcm),
            Self::L16(channels) => {
                fits(payload.len() / 2 / usize::from(*channels))?;
                Ok(l16::decode(payload, *channels, pcm))
            }
            Self::Gsm(decoder) => decoder.decode(payload, pcm),
            Self::G7231(decoder) => decoder.decode(payload, pcm),
            Self::Ilbc(decoder) => decoder.decode(payload, pcm),
            #[cfg(feature = "g729")]
            Self::G729(decoder) => decoder.decode(payload, pcm),
            #[cfg(feature = "amr")]
            Self::Amr(decoder) => decoder.decode(payload, pcm),
        }
    }

    fn conceal(&mut self, pcm: &mut [i16]) -> Result<usize, Error> {
        match self {
            Self::Opus(decoder) => decoder.conceal(pcm),
            Self::Gsm(decoder) => decoder.conceal(pcm),
            Self::G7231(decoder) => decoder.conceal(pcm),
            Self::Ilbc(decoder) => Ok(decoder.conceal(pcm)),
            #[cfg(feature = "g729")]
            Self::G729(decoder) => decoder.conceal(pcm),
            #[cfg(feature = "amr")]
            Self::Amr(decoder) => decoder.conceal(pcm),
            // These have a concealer beside them.
            Self::Law(_) | Self::G722(_) | Self::L16(_) => Err(Error::Parameters),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Encoder;
    use crate::tone::{self, Tone};

    fn codecs() -> impl Iterator<Item = Codec> {
        let l16 = [(8000, 1), (16_000, 2), (48_000, 1)];
        Codec::all().chain(l16.map(|(rate, channels)| Codec::L16 { rate, channels }))
    }

    /// Twenty packets of a tone through `codec`.
    fn heard(codec: Codec, parameters: &Parameters) -> (u32, Vec<i16>) {
        let mut encoder = Encoder::new(codec, parameters).unwrap();
        let mut decoder = Decoder::new(codec, parameters).unwrap();
        let mut tone = Tone::new(1004.0, encoder.sample_rate());
        let mut sent = vec![0; encoder.sample_rate() as usize * 60 / 1000];
        let (mut payload, mut pcm, mut heard) = ([0; 20_000], [0; 5760], Vec::new());
        for _ in 0..20 {
            tone.fill(&mut sent);
            let len = encoder.encode(&sent, &mut payload).unwrap();
            let samples = decoder.decode(&payload[..len], &mut pcm).unwrap();
            assert_eq!(samples, sent.len(), "{codec}");
            heard.extend(&pcm[..samples]);
        }
        (decoder.sample_rate(), heard)
    }

    #[test]
    fn a_tone_passes_each_codec() {
        for codec in codecs() {
            let (rate, heard) = heard(codec, &Parameters::default());
            assert_eq!(rate, codec.sample_rate());
            let level = tone::level(&heard[rate as usize / 5..], 1004.0, rate);
            assert!((level - tone::ZERO_DBM0).abs() < 1.5, "{codec}: {level}");
        }
    }

    #[test]
    fn opus_works_at_the_rate_of_the_other_side() {
        for rate in [8000, 16_000, 24_000] {
            let parameters = Parameters {
                rate: Some(rate),
                ..Parameters::default()
            };
            let (heard_rate, heard) = heard(Codec::Opus, &parameters);
            assert_eq!(heard_rate, rate);
            let level = tone::level(&heard[rate as usize / 5..], 1004.0, rate);
            assert!((level - tone::ZERO_DBM0).abs() < 1.5, "{rate}: {level}");
        }
    }

    #[test]
    fn what_has_no_space_is_an_error() {
        for codec in codecs() {
            let mut encoder = Encoder::new(codec, &Parameters::default()).unwrap();
            let mut decoder = Decoder::new(codec, &Parameters::default()).unwrap();
            let pcm = vec![1000; codec.sample_rate() as usize * 60 / 1000];
            let mut payload = [0; 20_000];
            let len = encoder.encode(&pcm, &mut payload).unwrap();
            let short = &mut vec![0; pcm.len() - 1];
            let result = decoder.decode(&payload[..len], short);
            assert_eq!(result, Err(Error::Parameters), "{codec}");
            let result = encoder.encode(&pcm, &mut []);
            assert_eq!(result, Err(Error::Parameters), "{codec}");
            let result = decoder.decode(&[], &mut [0; 960]);
            assert_eq!(result, Err(Error::Damaged), "{codec}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_payload_decodes_or_fails(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..8),
        ) {
            for codec in codecs() {
                let mut decoder = Decoder::new(codec, &Parameters::default()).unwrap();
                let mut pcm = [0; 5760];
                for payload in &payloads {
                    let result = decoder.decode(payload, &mut pcm);
                    prop_assert!(!matches!(result, Ok(5761..) | Err(Error::Failed)));
                    let samples = decoder.recover(payload, &mut pcm[..960]);
                    prop_assert!(samples <= 960);
                    prop_assert!(decoder.conceal(&mut pcm[..160]) <= 160);
                }
            }
        }
    }
}
