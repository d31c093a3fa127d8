//! Comfort noise: silence is described by its level and its colour instead of being sent, and made
//! anew on the other side. For the codecs that have nothing of their own for it.
//!
//! # Source
//! RFC 3389; ITU-T G.711 Appendix II for how the description is used

/// The colour and level of a silence.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Description {
    /// Level, −`level` dBov: below the strongest square wave. 0 to 127.
    pub level: u8,
    /// Reflection coefficients of the filter that colours white noise, −1 to 1.
    reflections: [f32; ORDER],
}

impl Description {
    /// White noise of this level.
    #[must_use]
    pub fn white(level: u8) -> Self {
        let reflections = [0.0; ORDER];
        let level = level.min(127);
        Self { level, reflections }
    }

    /// Reads a payload of type `CN`. More coefficients than ten are passed over, none is white
    /// noise; `None`: the payload is empty.
    ///
    /// # Source
    /// RFC 3389 §3
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (level, coefficients) = payload.split_first()?;
        let mut description = Self::white(level & 0x7f);
        let pairs = description.reflections.iter_mut().zip(coefficients);
        for (reflection, code) in pairs {
            *reflection = (f32::from((*code).min(254)) - 127.0) * STEP;
        }
        Some(description)
    }

    /// Writes the payload into the start of `out`, as many coefficients as it has space for, and
    /// returns how many bytes that is.
    ///
    /// # Source
    /// RFC 3389 §3
    pub fn encode(&self, out: &mut [u8]) -> usize {
        let code = |k: &f32| (k / STEP + 127.0).round().clamp(0.0, 254.0) as u8;
        let bytes = std::iter::once(self.level).chain(self.reflections.iter().map(code));
        let mut count = 0;
        for (place, byte) in out.iter_mut().zip(bytes) {
            *place = byte;
            count += 1;
        }
        count
    }

    /// Describes what is heard in `pcm`: 20 ms or more.
    #[must_use]
    pub fn of(pcm: &[i16]) -> Self {
        let mut correlation = [0.0f64; ORDER + 1];
        for (lag, sum) in correlation.iter_mut().enumerate() {
            let pairs = pcm.iter().zip(pcm.iter().skip(lag));
            *sum = pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        }
        let power = correlation[0] / pcm.len().max(1) as f64;
        // A floor under the correlation keeps the filter from ringing at single tones.
        correlation[0] = correlation[0] * 1.001 + 1.0;
        let mut description = Self::white(level(power));
        description.reflections = reflections(&correlation);
        description
    }
}

/// Makes noise as it was described, of 8 or any other number of thousand samples a second: the
/// colour is relative to the rate.
#[derive(Clone, Debug)]
pub struct Generator {
    wanted: Description,
    /// Follows what is wanted, so that an update is not heard as a step.
    reflections: [f32; ORDER],
    rms: f32,
    /// Of the lattice filter.
    memory: [f32; ORDER + 1],
    random: u32,
}

impl Generator {
    /// Noise of this description from the first sample on.
    #[must_use]
    pub fn new(description: Description) -> Self {
        Self {
            wanted: description,
            reflections: description.reflections,
            rms: rms(description.level),
            memory: [0.0; ORDER + 1],
            random: 1,
        }
    }

    /// From now on the noise goes over to this description.
    pub fn update(&mut self, description: Description) {
        self.wanted = description;
    }

    /// Fills `pcm` with the next samples.
    pub fn fill(&mut self, pcm: &mut [i16]) {
        for piece in pcm.chunks_mut(80) {
            self.approach();
            // What the filter adds in power, taken from the noise that goes in.
            let kept: f32 = self.reflections.iter().map(|k| 1.0 - k * k).product();
            let strength = self.rms * kept.max(0.0).sqrt();
            for sample in piece {
                let noise = self.white() * strength;
                *sample = self.colour(noise).round() as i16;
            }
        }
    }

    fn approach(&mut self) {
        let wanted = rms(self.wanted.level);
        self.rms += (wanted - self.rms) / 4.0;
        for (now, wanted) in self.reflections.iter_mut().zip(self.wanted.reflections) {
            *now += (wanted - *now) / 4.0;
        }
    }

    /// Uniform noise with a power of 1.
    fn white(&mut self) -> f32 {
        self.random = self
            .random
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        ((self.random >> 8) as f32 / 8_388_608.0 - 1.0) * 3f32.sqrt()
    }

    /// One sample through the lattice of all poles.
    fn colour(&mut self, noise: f32) -> f32 {
        let mut forward = noise;
        for n in (0..ORDER).rev() {
            forward -= self.reflections[n] * self.memory[n];
            self.memory[n + 1] = self.memory[n] + self.reflections[n] * forward;
        }
        self.memory[0] = forward;
        forward
    }
}

/// Tells speech from silence, so that silence need not be sent.
#[derive(Clone, Debug)]
pub struct Transmitter {
    /// Power of the background.
    floor: f32,
    /// Frames for which silence is still taken for speech.
    hangover: u32,
    /// What the peer was told, and how many frames ago.
    told: Option<(Description, u32)>,
}

/// What is to be done with a frame.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Decision {
    /// Encode and send it.
    Speech,
    /// Send this description in its place.
    Describe(Description),
    /// Send nothing.
    Nothing,
}

impl Transmitter {
    /// A new stream.
    #[must_use]
    pub fn new() -> Self {
        Self {
            floor: f32::MAX,
            hangover: HANGOVER,
            told: None,
        }
    }

    /// Decides about the next frame, of 20 ms.
    pub fn decide(&mut self, pcm: &[i16]) -> Decision {
        if self.is_speech(pcm) {
            self.told = None;
            return Decision::Speech;
        }
        let now = Description::of(pcm);
        match &mut self.told {
            Some((told, age)) if told.level.abs_diff(now.level) < 3 && *age < REMIND => {
                *age += 1;
                Decision::Nothing
            }
            told => {
                *told = Some((now, 0));
                Decision::Describe(now)
            }
        }
    }

    fn is_speech(&mut self, pcm: &[i16]) -> bool {
        let sum: f32 = pcm.iter().map(|s| f32::from(*s).powi(2)).sum();
        let power = sum / pcm.len().max(1) as f32;
        // The floor falls at once and rises by 2 dB a second: it finds the gaps between words.
        self.floor = (self.floor * 1.01).min(power.max(1.0));
        if power > (self.floor * ABOVE_FLOOR).max(FAINTEST) {
            self.hangover = HANGOVER;
        } else {
            self.hangover = self.hangover.saturating_sub(1);
        }
        self.hangover > 0
    }
}

impl Default for Transmitter {
    fn default() -> Self {
        Self::new()
    }
}

/// The level of a mean square.
fn level(power: f64) -> u8 {
    let decibels = 10.0 * (power.max(1e-3) / (32_768.0 * 32_768.0)).log10();
    (-decibels).round().clamp(0.0, 127.0) as u8
}

fn rms(level: u8) -> f32 {
    32_768.0 * 10f32.powf(-f32::from(level) / 20.0)
}

/// The reflection coefficients of a correlation, by Levinson's and Durbin's recursion.
fn reflections(correlation: &[f64; ORDER + 1]) -> [f32; ORDER] {
    let mut reflections = [0.0; ORDER];
    let mut filter = [0.0f64; ORDER + 1];
    let mut error = correlation[0];
    for n in 1..=ORDER {
        let inner = (1..n).map(|j| filter[j] * correlation[n - j]);
        let k = -(correlation[n] + inner.sum::<f64>()) / error;
        let before = filter;
        for j in 1..n {
            filter[j] = before[j] + k * before[n - j];
        }
        filter[n] = k;
        error *= 1.0 - k * k;
        reflections[n - 1] = k.clamp(-0.99, 0.99) as f32;
    }
    reflections
}

/// Coefficients that we use and send.
const ORDER: usize = 10;
/// RFC 3389 §3.2: a step of the quantiser.
const STEP: f32 = 258.0 / 32_768.0;
/// Frames, 200 ms, that follow speech.
const HANGOVER: u32 = 10;
/// Frames, 1 s, after which an unchanged silence is described again.
const REMIND: u32 = 50;
/// Speech is 9 dB above the background.
const ABOVE_FLOOR: f32 = 8.0;
/// The power below which nothing is speech: −60 dBov.
const FAINTEST: f32 = 1074.0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tone::Tone;

    fn made(description: Description) -> Vec<i16> {
        let mut pcm = vec![0; 80_000];
        Generator::new(description).fill(&mut pcm);
        pcm
    }

    /// RFC 3389 §3.
    #[test]
    fn rfc3389_3_payload() {
        let payload = [70, 127, 0, 254, 100];
        let description = Description::parse(&payload).unwrap();
        assert_eq!(description.level, 70);
        let mut out = [0xff; 20];
        assert_eq!(description.encode(&mut out), 11);
        assert_eq!(out[..5], payload);
        assert_eq!(out[5..11], [127; 6]);
        assert_eq!(description.encode(&mut out[..1]), 1);
        assert_eq!(Description::parse(&[]), None);
        assert_eq!(Description::parse(&[60]), Some(Description::white(60)));
    }

    /// RFC 3389 §3.1.
    #[test]
    fn rfc3389_3_1_the_level_is_kept() {
        for level in [30, 50, 70] {
            let heard = Description::of(&made(Description::white(level)));
            assert!(heard.level.abs_diff(level) <= 1, "{}", heard.level);
        }
        assert_eq!(Description::of(&[0; 160]).level, 120);
        assert_eq!(Description::of(&[i16::MIN; 160]).level, 0);
    }

    #[test]
    fn the_colour_is_kept() {
        // Low noise: each sample resembles the one before.
        let mut coloured = Description::white(40);
        coloured.reflections = [-0.8, 0.3, 0.0, 0.1, 0.0, 0.0, -0.1, 0.0, 0.0, 0.0];
        let mut payload = [0; 11];
        coloured.encode(&mut payload);
        let sent = Description::parse(&payload).unwrap();
        let heard = Description::of(&made(sent));
        assert!(heard.level.abs_diff(40) <= 1, "{}", heard.level);
        for (a, b) in heard.reflections.iter().zip(coloured.reflections) {
            assert!((a - b).abs() < 0.05, "{heard:?}");
        }
    }

    #[test]
    fn an_update_is_no_step() {
        let mut generator = Generator::new(Description::white(60));
        let mut pcm = [0; 80];
        let mut loudness = |generator: &mut Generator| {
            generator.fill(&mut pcm);
            Description::of(&pcm).level
        };
        let before = loudness(&mut generator);
        generator.update(Description::white(40));
        let steps: Vec<u8> = (0..20).map(|_| loudness(&mut generator)).collect();
        assert!(steps[0] < before && steps[0] > 45, "{steps:?}");
        assert!(steps[19].abs_diff(40) <= 2, "{steps:?}");
    }

    #[test]
    fn silence_is_described_once_and_speech_is_sent() {
        let mut noise = Generator::new(Description::white(65));
        let mut tone = Tone::at(-20.0, 300.0, 8000);
        let mut transmitter = Transmitter::new();
        let mut count = [0; 3];
        for n in 0..500 {
            let mut pcm = [0; 160];
            noise.fill(&mut pcm);
            // Words of 200 ms in the third second.
            let word = (100..150).contains(&n) && n % 20 < 10;
            if word {
                tone.fill(&mut pcm);
            }
            let decision = transmitter.decide(&pcm);
            assert!(!word || decision == Decision::Speech, "{n}");
            count[match decision {
                Decision::Speech => 0,
                Decision::Describe(_) => 1,
                Decision::Nothing => 2,
            }] += 1;
        }
        assert!(
            count[0] < 90 && count[1] < 40 && count[2] > 380,
            "{count:?}"
        );
    }

    proptest! {
        #[test]
        fn any_description_stays_in_bounds(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 1..8),
        ) {
            let mut generator = Generator::new(Description::white(50));
            let mut pcm = [0; 800];
            for payload in payloads {
                let description = Description::parse(&payload).unwrap();
                generator.update(description);
                generator.fill(&mut pcm);
                prop_assert!(generator.memory.iter().all(|m| m.is_finite()));
                let mut out = [0; 11];
                description.encode(&mut out);
                prop_assert_eq!(Description::parse(&out), Some(description));
            }
        }
    }
}
