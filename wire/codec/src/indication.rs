//! The tones by which a network tells the caller how things stand, as they are in many countries.
//!
//! ```
//! use codec::indication::{Cadence, Player, Signal};
//!
//! let busy = Cadence::of("gb", Signal::Busy).unwrap();
//! let mut pcm = [0; 160];
//! Player::new(&busy, 8000).fill(&mut pcm);
//!
//! // In the same words for a tone of one's own: two frequencies for 0.4 s, then 0.2 s of silence.
//! assert!("400+450/400,0/200".parse::<Cadence>().is_ok());
//! ```
//!
//! # Source
//! ITU-T E.180 Supplement 2 for the countries; E.182 for what each tone means; E.180 §5 for the
//! special information tone, which is the same everywhere.

mod countries;

use std::str::FromStr;

use crate::Error;
use crate::tone::Tone;

pub use countries::countries;

/// What a tone says.
///
/// # Source
/// ITU-T E.182 §3
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Signal {
    /// Dial now.
    Dial,
    /// The phone rings.
    Ringback,
    /// The called party is busy.
    Busy,
    /// The network has no way, or the number cannot be reached.
    Congestion,
    /// Somebody else calls.
    CallWaiting,
    /// An announcement says what is wrong.
    SpecialInformation,
}

/// Tones and pauses that follow each other and begin anew after the last.
#[derive(Clone, PartialEq, Debug)]
pub struct Cadence(Vec<Segment>);

#[derive(Clone, Copy, PartialEq, Debug)]
struct Segment {
    mix: Mix,
    /// 0: without end.
    ms: u32,
}

/// Frequencies in hertz; 0 is silence.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Mix {
    Sum([f32; 4]),
    /// The first, its strength following the second.
    Modulated(f32, f32),
}

impl Cadence {
    /// The tone of a country, named by its code of two letters in either case. `None`: we do not
    /// know the country.
    #[must_use]
    pub fn of(country: &str, signal: Signal) -> Option<Self> {
        let plan = countries::plan(country)?;
        let text = match signal {
            Signal::Dial => plan.dial,
            Signal::Ringback => plan.ringback,
            Signal::Busy => plan.busy,
            Signal::Congestion => plan.congestion,
            Signal::CallWaiting => plan.waiting,
            Signal::SpecialInformation => SPECIAL_INFORMATION,
        };
        text.parse().ok()
    }

    /// Milliseconds until it begins anew; `None`: it is steady.
    #[must_use]
    pub fn period(&self) -> Option<u32> {
        let steady = self.0.iter().any(|segment| segment.ms == 0);
        (!steady).then(|| self.0.iter().map(|segment| segment.ms).sum())
    }
}

/// Reads segments separated by commas, each of them frequencies in hertz, joined by `+` if they
/// sound at once or by `*` if the second modulates the first, with `/` and milliseconds; without
/// these the tone is steady. 0 Hz is a pause.
impl FromStr for Cadence {
    type Err = Error;

    /// # Errors
    /// There are more than 16 segments, more than four frequencies in one, a frequency above 4 kHz,
    /// a segment of more than a minute, a steady segment that is not the only one, or other words.
    fn from_str(text: &str) -> Result<Self, Error> {
        let segments: Vec<&str> = text.split(',').collect();
        if segments.len() > MAX_SEGMENTS {
            return Err(Error::Parameters);
        }
        let steady = segments.len() == 1;
        let segments = segments.iter().map(|text| segment(text.trim(), steady));
        segments.collect::<Result<_, _>>().map(Self)
    }
}

fn segment(text: &str, steady: bool) -> Result<Segment, Error> {
    let (mix, ms) = match text.split_once('/') {
        Some((mix, ms)) => (mix, ms.parse().map_err(|_| Error::Parameters)?),
        None if steady => (text, 0),
        None => return Err(Error::Parameters),
    };
    if text.contains('/') && !(1..=MAX_MS).contains(&ms) {
        return Err(Error::Parameters);
    }
    let mix = match mix.split_once('*') {
        Some((tone, by)) => Mix::Modulated(frequency(tone)?, frequency(by)?),
        None => sum(mix)?,
    };
    Ok(Segment { mix, ms })
}

fn sum(text: &str) -> Result<Mix, Error> {
    let mut frequencies = [0.0; 4];
    for (n, text) in text.split('+').enumerate() {
        *frequencies.get_mut(n).ok_or(Error::Parameters)? = frequency(text)?;
    }
    Ok(Mix::Sum(frequencies))
}

fn frequency(text: &str) -> Result<f32, Error> {
    match text.trim().parse::<u16>() {
        Ok(hertz @ ..4000) => Ok(hertz.into()),
        _ => Err(Error::Parameters),
    }
}

/// Plays a cadence for ever.
#[derive(Clone, Debug)]
pub struct Player {
    segments: Vec<Segment>,
    rate: u32,
    /// The segment that sounds, and the samples left of it.
    at: usize,
    left: u64,
    tones: [Tone; 4],
    modulator: Option<Tone>,
}

impl Player {
    /// Plays at `rate` samples a second, each frequency at −13 dBm0, or −10 if it is alone.
    ///
    /// # Source
    /// ITU-T E.180 §4
    #[must_use]
    pub fn new(cadence: &Cadence, rate: u32) -> Self {
        let mut player = Self {
            segments: cadence.0.clone(),
            rate,
            at: 0,
            left: 0,
            tones: [Tone::new(0.0, rate); 4],
            modulator: None,
        };
        player.begin(0);
        player
    }

    /// Fills `pcm` with the next samples.
    pub fn fill(&mut self, pcm: &mut [i16]) {
        for sample in pcm {
            if self.left == 0 {
                self.begin((self.at + 1) % self.segments.len());
            }
            self.left -= 1;
            let sum: f32 = self.tones.iter_mut().map(Tone::sample).sum();
            let strength = match &mut self.modulator {
                // A sine of 0 dBm0 is 0.7 of full scale; half of it is taken away at most.
                Some(by) => 0.6 + by.sample() / f32::from(i16::MAX) * 0.57,
                None => 1.0,
            };
            *sample = (sum * strength).round() as i16;
        }
    }

    fn begin(&mut self, at: usize) {
        let segment = self.segments[at];
        self.at = at;
        self.left = match segment.ms {
            0 => u64::MAX,
            ms => (u64::from(ms) * u64::from(self.rate) / 1000).max(1),
        };
        let (frequencies, by) = match segment.mix {
            Mix::Sum(frequencies) => (frequencies, None),
            Mix::Modulated(tone, by) => ([tone, 0.0, 0.0, 0.0], Some(by)),
        };
        let several = frequencies.iter().filter(|f| **f > 0.0).count() > 1;
        let level = if several { -13.0 } else { -10.0 };
        self.tones = frequencies.map(|f| Tone::at(level, f, self.rate));
        self.modulator = by.map(|f| Tone::new(f, self.rate));
    }
}

const SPECIAL_INFORMATION: &str = "950/330,1400/330,1800/330,0/1000";
const MAX_SEGMENTS: usize = 16;
const MAX_MS: u32 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::{ZERO_DBM0, level};

    const SIGNALS: [Signal; 6] = [
        Signal::Dial,
        Signal::Ringback,
        Signal::Busy,
        Signal::Congestion,
        Signal::CallWaiting,
        Signal::SpecialInformation,
    ];

    fn played(cadence: &Cadence, rate: u32, ms: u32) -> Vec<i16> {
        let mut pcm = vec![0; (rate / 1000 * ms) as usize];
        let mut player = Player::new(cadence, rate);
        pcm.chunks_mut(160).for_each(|piece| player.fill(piece));
        pcm
    }

    #[test]
    fn every_country_has_every_tone() {
        assert!(countries().count() >= 20);
        for country in countries() {
            for signal in SIGNALS {
                let cadence = Cadence::of(country, signal).unwrap();
                let pcm = played(&cadence, 8000, 1000);
                let peak = pcm.iter().map(|s| s.unsigned_abs()).max().unwrap();
                assert!(
                    (3000..16_000).contains(&peak),
                    "{country} {signal:?}: {peak}"
                );
            }
            let different = |a, b| Cadence::of(country, a) != Cadence::of(country, b);
            assert!(different(Signal::Dial, Signal::Busy), "{country}");
            assert!(different(Signal::Ringback, Signal::Busy), "{country}");
        }
        assert_eq!(Cadence::of("xx", Signal::Busy), None);
        assert!(Cadence::of("DE", Signal::Busy) == Cadence::of("de", Signal::Busy));
    }

    #[test]
    fn a_cadence_has_its_times_and_levels() {
        for rate in [8000, 16_000, 48_000] {
            let ringback = Cadence::of("us", Signal::Ringback).unwrap();
            assert_eq!(ringback.period(), Some(6000));
            let pcm = played(&ringback, rate, 8100);
            let second = rate as usize;
            for at in [0, 1, 6, 7] {
                for frequency in [440.0, 480.0] {
                    let heard = level(&pcm[at * second..][..second], frequency, rate);
                    assert!((heard - ZERO_DBM0 + 13.0).abs() < 0.1, "{at}: {heard}");
                }
            }
            assert!(pcm[2 * second..6 * second].iter().all(|s| *s == 0));
        }
        let dial = Cadence::of("de", Signal::Dial).unwrap();
        assert_eq!(dial.period(), None);
        let heard = level(&played(&dial, 8000, 2000), 425.0, 8000);
        assert!((heard - ZERO_DBM0 + 10.0).abs() < 0.1, "{heard}");
    }

    /// ITU-T E.180 §5.
    #[test]
    fn the_special_information_tone_rises() {
        let cadence = Cadence::of("fr", Signal::SpecialInformation).unwrap();
        let pcm = played(&cadence, 8000, 990);
        for (n, frequency) in [950.0, 1400.0, 1800.0].into_iter().enumerate() {
            let part = &pcm[n * 2640..][..2640];
            assert!(level(part, frequency, 8000) > -14.0);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let long = ["425/100"; 17].join(",");
        for text in [
            "",
            "x",
            "425/0",
            "425/60001",
            "425/100,425",
            "425/-1",
            "4000",
            "1+2+3+4+5",
            "425/1/2",
            "425,",
            "400*",
            &long,
        ] {
            assert!(text.parse::<Cadence>().is_err(), "{text}");
        }
        assert!(["425/100"; 16].join(",").parse::<Cadence>().is_ok());
        assert!(" 400*25/400 , 0/200".parse::<Cadence>().is_ok());
    }
}
