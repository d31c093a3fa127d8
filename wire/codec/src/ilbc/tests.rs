//! Whole streams, beside what the reference implementation of RFC 3951, appendix A, made of the same
//! sound: its payloads and the sound that it decodes from them.

use proptest::prelude::*;

use super::filter::HighPass;
use super::*;
use crate::Error;

/// A mode, and the reference implementation's payloads and sound of [`voice`] in it.
struct Vector {
    mode: Mode,
    payloads: &'static [u8],
    sound: &'static [u8],
}

const VECTORS: [Vector; 2] = [
    Vector {
        mode: Mode::Ms20,
        payloads: include_bytes!("vectors/20.ilbc"),
        sound: include_bytes!("vectors/20.pcm"),
    },
    Vector {
        mode: Mode::Ms30,
        payloads: include_bytes!("vectors/30.ilbc"),
        sound: include_bytes!("vectors/30.pcm"),
    },
];

/// Two thirds of a second: both lengths of frames fit.
const SAMPLES: usize = 5280;

/// Something like speech, alike everywhere: pulses of changing pitch, a hiss and a pause through
/// three formants.
fn voice() -> Vec<i16> {
    let formants = [(1.7906, -0.9391), (0.73013, -0.91006), (-0.71875, -0.88191)];
    let mut states = [[0.0_f64; 2]; 3];
    let (mut seed, mut wait) = (1_u32, 0);
    let sample = |n: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = f64::from(seed >> 16) / 65_536.0 - 0.5;
        let mut x = 20.0 * noise;
        match n % 2720 {
            0..1600 if wait == 0 => {
                x += 1500.0;
                wait = 55 + n / 400 % 5 * 7;
            }
            1600..2240 => x += 400.0 * noise,
            _ => {}
        }
        wait = wait.saturating_sub(1);
        for (state, (first, second)) in states.iter_mut().zip(formants) {
            x += first * state[0] + second * state[1];
            *state = [x, state[0]];
        }
        x as i16
    };
    (0..SAMPLES).map(sample).collect()
}

fn encode(mode: Mode, sound: &[i16]) -> Vec<u8> {
    let mut encoder = Encoder::new(mode);
    let mut payloads = vec![0; sound.len() / mode.samples() * mode.bytes()];
    let len = encoder.encode(sound, &mut payloads).unwrap();
    assert_eq!(len, payloads.len());
    payloads
}

/// Without the frames of which `lost` says so.
fn decode(mode: Mode, payloads: &[u8], lost: impl Fn(usize) -> bool) -> Vec<i16> {
    let mut decoder = Decoder::new(mode);
    let mut sound = Vec::new();
    for (n, payload) in payloads.chunks_exact(mode.bytes()).enumerate() {
        let mut pcm = vec![0; mode.samples()];
        let samples = match lost(n) {
            true => decoder.conceal(&mut pcm),
            false => decoder.decode(payload, &mut pcm).unwrap(),
        };
        assert_eq!(samples, pcm.len());
        sound.extend(pcm);
    }
    sound
}

/// How far `wished` is above its difference from `heard`, in decibels.
fn ratio(wished: &[i16], heard: &[i16]) -> f64 {
    let power = |samples: &mut dyn Iterator<Item = f64>| -> f64 { samples.map(|s| s * s).sum() };
    let difference = |(a, b): (&i16, &i16)| f64::from(*a) - f64::from(*b);
    let noise = power(&mut wished.iter().zip(heard).map(difference));
    10.0 * (power(&mut wished.iter().map(|s| f64::from(*s))) / noise.max(1.0)).log10()
}

/// What a perfect codec with this one's filters and delay makes of `sound`.
fn perfect(mode: Mode, sound: &[i16]) -> Vec<i16> {
    let mut samples: Vec<f32> = sound.iter().map(|s| f32::from(*s)).collect();
    HighPass::input().filter(&mut samples);
    HighPass::output().filter(&mut samples);
    let delay = SUB_BLOCK * enhancer::Enhancer::delay(mode);
    let late = std::iter::repeat_n(0.0, delay).chain(samples);
    late.take(sound.len()).map(|s| s as i16).collect()
}

fn samples(bytes: &[u8]) -> Vec<i16> {
    let (pairs, _) = bytes.as_chunks::<2>();
    pairs.iter().map(|pair| i16::from_le_bytes(*pair)).collect()
}

/// RFC 3951 §4.
#[test]
fn rfc3951_4_the_reference_encoder_is_decoded_as_by_the_reference_decoder() {
    for Vector {
        mode,
        payloads,
        sound,
    } in VECTORS
    {
        let expected = samples(sound);
        let heard = decode(mode, payloads, |_| false);
        let exact = heard
            .iter()
            .zip(&expected)
            .filter(|(a, b)| a.abs_diff(**b) < 2);
        assert!(exact.count() > expected.len() * 9 / 10, "{mode:?}");
        let ratio = ratio(&expected, &heard);
        assert!(ratio > 60.0, "{mode:?}: {ratio}");
    }
}

/// RFC 3951 §3: what it sends for the start of a frame is the same, and the sound is as good.
#[test]
fn rfc3951_3_encodes_as_well_as_the_reference_encoder() {
    let voice = voice();
    for Vector { mode, payloads, .. } in VECTORS {
        let ours = encode(mode, &voice);
        assert_eq!(ours.len(), payloads.len());
        let frames = |payloads: &[u8]| -> Vec<bits::Frame> {
            let frames = payloads.chunks_exact(mode.bytes());
            frames
                .map(|f| bits::Frame::parse(mode, f).unwrap())
                .collect()
        };
        let key = |f: &bits::Frame| (f.spectra, f.start, f.state_first, f.scale, f.state);
        let pairs = frames(&ours).into_iter().zip(frames(payloads));
        let alike = pairs.filter(|(a, b)| key(a) == key(b)).count();
        assert!(
            alike * 4 > ours.len() / mode.bytes() * 3,
            "{mode:?}: {alike}"
        );
        let perfect = perfect(mode, &voice);
        let quality = |payloads: &[u8]| ratio(&perfect, &decode(mode, payloads, |_| false));
        let (ours, theirs) = (quality(&ours), quality(payloads));
        assert!(
            ours > 9.0 && ours > theirs - 0.3,
            "{mode:?}: {ours}, {theirs}"
        );
    }
}

/// RFC 3951 §4.5.
#[test]
fn rfc3951_4_5_a_tenth_of_the_frames_is_lost() {
    let voice = voice();
    for mode in [Mode::Ms20, Mode::Ms30] {
        let payloads = encode(mode, &voice);
        let whole = decode(mode, &payloads, |_| false);
        let lossy = decode(mode, &payloads, |n| n % 10 == 4);
        let power = |s: &[i16]| -> f64 { s.iter().map(|s| f64::from(*s).powi(2)).sum() };
        let change = 10.0 * (power(&lossy) / power(&whole)).log10();
        assert!(change.abs() < 1.0, "{mode:?}: {change} dB");
        let mut silent = whole.clone();
        let lost = silent.chunks_mut(mode.samples()).skip(4).step_by(10);
        lost.for_each(|frame| frame.fill(0));
        let (made_up, silent) = (ratio(&whole, &lossy), ratio(&whole, &silent));
        assert!(
            made_up > 8.0 && made_up > silent + 0.5,
            "{mode:?}: {made_up}, {silent}"
        );
    }
}

#[test]
fn a_long_loss_fades_into_silence() {
    for mode in [Mode::Ms20, Mode::Ms30] {
        let payloads = encode(mode, &voice());
        let heard = decode(mode, &payloads, |n| n >= 10);
        let last = &heard[heard.len() - mode.samples()..];
        assert!(last.iter().all(|s| s.abs() < 20), "{last:?}");
    }
}

#[test]
fn the_other_length_of_frames_is_understood() {
    let voice = voice();
    let mut decoder = Decoder::new(Mode::Ms20);
    let mut pcm = [0; 480];
    let long = encode(Mode::Ms30, &voice[..480]);
    assert_eq!(decoder.decode(&long, &mut pcm), Ok(480));
    let short = encode(Mode::Ms20, &voice[..320]);
    assert_eq!(decoder.decode(&short, &mut pcm), Ok(320));
    let mut encoder = Encoder::new(Mode::Ms30);
    let mut payload = [0; 100];
    assert_eq!(encoder.encode(&voice[..160], &mut payload), Ok(38));
    assert_eq!(encoder.encode(&voice[..480], &mut payload), Ok(100));
    let mut encoder = Encoder::new(Mode::Ms20);
    assert_eq!(encoder.encode(&voice[..240], &mut payload), Ok(50));
    assert_eq!(encoder.encode(&voice[..320], &mut payload), Ok(76));
}

#[test]
fn pieces_are_refused() {
    let mut encoder = Encoder::new(Mode::Ms20);
    let mut payload = [0; 50];
    for pcm in [&[0; 0][..], &[0; 100], &[0; 161], &[0; 320]] {
        assert_eq!(encoder.encode(pcm, &mut payload), Err(Error::Parameters));
    }
    let mut decoder = Decoder::new(Mode::Ms20);
    for bytes in [&[0; 0][..], &[0; 37], &[0; 39]] {
        assert_eq!(decoder.decode(bytes, &mut [0; 480]), Err(Error::Damaged));
    }
    assert_eq!(
        decoder.decode(&[0; 38], &mut [0; 159]),
        Err(Error::Parameters)
    );
    assert_eq!(decoder.conceal(&mut [0; 159]), 0);
}

#[test]
fn silence_stays_silence() {
    for mode in [Mode::Ms20, Mode::Ms30] {
        let payloads = encode(mode, &[0; SAMPLES]);
        let heard = decode(mode, &payloads, |_| false);
        assert!(
            heard.iter().all(|s| s.abs() < 8),
            "{:?}",
            heard.iter().max()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn anything_can_be_encoded(
        sound in prop::collection::vec(prop_oneof![any::<i16>(), Just(0), Just(i16::MAX)], 960),
    ) {
        for mode in [Mode::Ms20, Mode::Ms30] {
            decode(mode, &encode(mode, &sound), |_| false);
        }
    }

    /// Frames that nobody encodes may make a filter run away, but not for good.
    #[test]
    fn after_any_frames_speech_is_heard_again(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 50), 1..8),
        lost in any::<u8>(),
    ) {
        for Vector { mode, payloads, sound } in VECTORS {
            let mut decoder = Decoder::new(mode);
            let mut pcm = vec![0; mode.samples()];
            for (n, frame) in frames.iter().enumerate() {
                match lost >> n & 1 {
                    0 => decoder.decode(&frame[..mode.bytes()], &mut pcm).unwrap(),
                    _ => decoder.conceal(&mut pcm),
                };
            }
            let mut heard = Vec::new();
            for payload in payloads.chunks_exact(mode.bytes()) {
                decoder.decode(payload, &mut pcm).unwrap();
                heard.extend_from_slice(&pcm);
            }
            let half = SAMPLES / 2;
            let ratio = ratio(&samples(sound)[half..], &heard[half..]);
            prop_assert!(ratio > 20.0, "{mode:?}: {ratio}");
        }
    }
}
