//! What comes out of a jitter buffer becomes sound, in rooms as in phones.
//!
//! ```
//! use codec::{Codec, Decoder, Parameters};
//! use media::playout;
//! use rtp::jitter_buffer::Pace;
//!
//! let mut decoder = Decoder::new(Codec::Pcmu, &Parameters::default())?;
//! let mut pcm = Vec::new();
//! let pauses = playout::append(&mut decoder, &[0xff; 160], Pace::Steady, 160, &mut pcm);
//! playout::make_up(Some(&mut decoder), None, 160, &mut pcm);
//! assert_eq!((pcm.len(), pauses), (320, false));
//! # Ok::<(), codec::Error>(())
//! ```

use codec::{Codec, Decoder, stretch};
use rtp::jitter_buffer::Pace;

/// Appends what a packet says, at its pace; if that cannot be decoded, what may have been said in `expected` samples.
/// Returns whether the packet says that nothing follows for a while.
///
/// # Source
/// RFC 7587 §3.1.3
pub fn append(
    decoder: &mut Decoder,
    payload: &[u8],
    pace: Pace,
    expected: usize,
    pcm: &mut Vec<i16>,
) -> bool {
    let (start, rate) = (pcm.len(), decoder.sample_rate());
    pcm.resize(start + decoder.most_samples(payload), 0);
    match decoder.decode(payload, &mut pcm[start..]) {
        Ok(samples) => pcm.truncate(start + samples),
        Err(_) => {
            let most = rate as usize / 1000 * MOST_PACKET_MS;
            pcm.resize(start + expected.clamp(1, most), 0);
            let concealed = decoder.conceal(&mut pcm[start..]).max(1);
            pcm.truncate(start + concealed);
        }
    }
    match pace {
        Pace::Steady => {}
        Pace::Faster => _ = stretch::shorten(pcm, start, rate),
        Pace::Slower => _ = stretch::lengthen(pcm, start, rate),
    }
    decoder.codec() == Codec::Opus && payload.len() <= MOST_SILENT_OPUS
}

/// Appends so many samples, at least one, of what may have been said where nothing came in time; silence without a
/// decoder. `next` is the payload right after the loss: some codecs repeat in it what was lost.
pub fn make_up(
    decoder: Option<&mut Decoder>,
    next: Option<&[u8]>,
    samples: usize,
    pcm: &mut Vec<i16>,
) {
    let start = pcm.len();
    pcm.resize(start + samples.max(1), 0);
    let lost = &mut pcm[start..];
    match (decoder, next) {
        (Some(decoder), Some(next)) => _ = decoder.recover(next, lost),
        (Some(decoder), None) => _ = decoder.conceal(lost),
        (None, _) => {}
    }
}

/// The longest packet, in milliseconds.
pub const MOST_PACKET_MS: usize = 120;
/// Opus packets of this length say that nothing follows.
const MOST_SILENT_OPUS: usize = 2;

#[cfg(test)]
mod tests {
    use codec::Parameters;

    use super::*;

    fn decoder(codec: Codec) -> Decoder {
        Decoder::new(codec, &Parameters::default()).unwrap()
    }

    #[test]
    fn what_cannot_be_decoded_lasts_as_long_as_was_expected() {
        let mut pcm = vec![5; 3];
        let mut gsm = decoder(Codec::Gsm);
        assert!(!append(&mut gsm, &[1, 2, 3], Pace::Steady, 160, &mut pcm));
        assert_eq!((pcm.len(), &pcm[..3]), (163, &[5; 3][..]));
    }

    #[test]
    fn what_is_lost_is_never_nothing() {
        let mut pcm = Vec::new();
        make_up(None, Some(&[1]), 0, &mut pcm);
        make_up(Some(&mut decoder(Codec::Pcmu)), None, 160, &mut pcm);
        assert_eq!(pcm.len(), 161);
    }

    /// RFC 7587 §3.1.3: such packets are sent when there is nothing to send.
    #[test]
    fn rfc7587_3_1_3_a_short_packet_of_opus_says_that_nothing_follows() {
        let pauses = |codec, payload: &[u8]| {
            let mut pcm = Vec::new();
            append(&mut decoder(codec), payload, Pace::Steady, 160, &mut pcm)
        };
        assert!(pauses(Codec::Opus, &[0x08]));
        assert!(!pauses(Codec::Pcmu, &[0xff]));
    }
}
