//! Keys pressed, as tones in the sound.
//!
//! # Source
//! ITU-T Q.23 for the tones; Q.24 for what a receiver takes for a key; table A-1 has the limits of
//! administrations, which the constants here keep to.

use std::f32::consts::TAU;

use crate::tone::{Tone, ZERO_DBM0};

/// A key of a telephone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key(u8);

impl Key {
    /// The key of a character: a digit, `*`, `#`, or `A` to `D` in either case.
    #[must_use]
    pub fn from_char(key: char) -> Option<Self> {
        let at = KEYS.chars().position(|k| k == key.to_ascii_uppercase())?;
        u8::try_from(at).ok().map(Self)
    }

    /// The key of a telephone event.
    ///
    /// # Source
    /// RFC 4733 §3.2, table 3
    #[must_use]
    pub fn from_event(event: u8) -> Option<Self> {
        (event < 16).then_some(Self(event))
    }

    /// Its telephone event, 0 to 15.
    ///
    /// # Source
    /// RFC 4733 §3.2, table 3
    #[must_use]
    pub fn event(self) -> u8 {
        self.0
    }

    /// Its character.
    #[must_use]
    pub fn char(self) -> char {
        KEYS.as_bytes()[usize::from(self.0)].into()
    }

    /// The low and the high tone of the key, in hertz.
    fn tones(self) -> (f32, f32) {
        let at = GRID.chars().position(|k| k == self.char()).unwrap_or(0);
        (ROWS[at / 4], COLUMNS[at % 4])
    }
}

/// Presses keys one after the other.
#[derive(Clone, Debug)]
pub struct Dialer {
    keys: Vec<Key>,
    rate: u32,
    /// Samples of a key, and of the pause after it.
    on: usize,
    off: usize,
    /// The key that is pressed, and for how many samples it has been.
    at: usize,
    passed: usize,
    tones: [Tone; 2],
}

impl Dialer {
    /// Presses each of `keys` for `on` milliseconds, with a pause of `off` milliseconds after
    /// it. What is no key is passed over.
    #[must_use]
    pub fn new(keys: &str, on: u16, off: u16, rate: u32) -> Self {
        let samples = |ms: u16| usize::from(ms) * rate as usize / 1000;
        let mut dialer = Self {
            keys: keys.chars().filter_map(Key::from_char).collect(),
            rate,
            on: samples(on),
            off: samples(off),
            at: 0,
            passed: 0,
            tones: [Tone::new(0.0, rate); 2],
        };
        dialer.press();
        dialer
    }

    /// Fills `pcm` with the next samples and returns how many those are: fewer, and at last none,
    /// when all keys have been pressed.
    pub fn fill(&mut self, pcm: &mut [i16]) -> usize {
        let mut count = 0;
        for sample in pcm {
            if self.passed >= self.on + self.off {
                self.at += 1;
                self.press();
            }
            if self.at >= self.keys.len() {
                break;
            }
            *sample = match self.passed < self.on {
                true => self.tones.iter_mut().map(Tone::sample).sum::<f32>().round() as i16,
                false => 0,
            };
            self.passed += 1;
            count += 1;
        }
        count
    }

    fn press(&mut self) {
        self.passed = 0;
        if let Some(key) = self.keys.get(self.at) {
            let (low, high) = key.tones();
            // The line takes more from the high tone, so it is sent stronger.
            self.tones = [
                Tone::at(LOW_LEVEL, low, self.rate),
                Tone::at(LOW_LEVEL + 2.0, high, self.rate),
            ];
        }
    }
}

/// What a detector tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A key is pressed, and has been for some 40 ms.
    Pressed(Key),
    /// The key is no longer pressed; it was for so many milliseconds, to within 15.
    Released(Key, u32),
}

/// Listens for keys in the sound of one stream.
#[derive(Clone, Debug)]
pub struct Detector {
    rate: u32,
    /// For the rows, the columns, and twice the frequencies of the columns.
    filters: [Goertzel; 12],
    /// Samples of a step; each window is two of them, so that windows overlap by half.
    step: usize,
    /// Samples of this step so far.
    samples: usize,
    /// The sum of squares in this step and in the one before.
    energy: [f32; 2],
    /// What the last windows held, the last one first.
    last: [Option<Key>; HITS - 1],
    /// What is pressed, and for how many windows.
    pressed: Option<(Key, u32)>,
    /// Windows since it was heard last.
    missed: u32,
}

impl Detector {
    /// A detector of sound at `rate` samples a second, 8000 or more.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        let rate = rate.max(8000);
        let tones = ROWS.into_iter().chain(COLUMNS);
        let harmonics = COLUMNS.map(|f| 2.0 * f);
        let step = (rate as usize * STEP).div_ceil(8000);
        let mut filters = [Goertzel::default(); 12];
        for (filter, frequency) in filters.iter_mut().zip(tones.chain(harmonics)) {
            *filter = Goertzel::new(TAU * frequency / rate as f32, step);
        }
        Self {
            rate,
            filters,
            step,
            samples: 0,
            energy: [0.0; 2],
            last: [None; HITS - 1],
            pressed: None,
            missed: 0,
        }
    }

    /// Listens to `pcm` and tells what it hears.
    pub fn process(&mut self, pcm: &[i16], mut tell: impl FnMut(Event)) {
        let mut rest = pcm;
        while !rest.is_empty() {
            let count = rest.len().min(self.step - self.samples);
            let (now, later) = rest.split_at(count);
            self.listen(now);
            rest = later;
            if self.samples == self.step {
                let key = self.decide();
                if let Some(event) = self.follow(key) {
                    tell(event);
                }
            }
        }
    }

    /// Whether a key may have begun: it takes 20 ms to think so, and 40 ms to be certain.
    #[must_use]
    pub fn suspects(&self) -> bool {
        let [last, before, ..] = self.last;
        self.pressed.is_some() || last.is_some() && last == before
    }

    /// Ends the key that is pressed, as nothing more will be heard of it: it, and for how many milliseconds it
    /// was pressed, to within 15.
    pub fn release(&mut self) -> Option<(Key, u32)> {
        let (key, windows) = self.pressed.take()?;
        Some((key, self.duration(windows)))
    }

    /// How long so many windows are, in milliseconds; the first one is two steps long.
    fn duration(&self, windows: u32) -> u32 {
        let samples = u64::from(windows + 1) * self.step as u64;
        (samples * 1000 / u64::from(self.rate)) as u32
    }

    fn listen(&mut self, pcm: &[i16]) {
        for filter in &mut self.filters {
            filter.listen(pcm);
        }
        let square = |sample: &i16| f32::from(*sample).powi(2);
        self.energy[0] += pcm.iter().map(square).sum::<f32>();
        self.samples += pcm.len();
    }

    /// What the window held that ends here; begins the next step.
    fn decide(&mut self) -> Option<Key> {
        let window = 2 * self.step;
        let total = (self.energy[0] + self.energy[1]) * window as f32 / 2.0;
        self.energy = [0.0, self.energy[0]];
        self.samples = 0;
        let mut power = [0.0; 12];
        for (power, filter) in power.iter_mut().zip(&mut self.filters) {
            *power = filter.step();
        }

        let row = strongest(&power[..4])?;
        let column = strongest(&power[4..8])?;
        let (low, high) = (power[row], power[4 + column]);
        // A sine of amplitude a, over n samples, has the power (a·n/2)².
        let amplitude = f32::from(i16::MAX) * 10f32.powf((FAINTEST + ZERO_DBM0) / 20.0);
        let faintest = (amplitude * self.step as f32).powi(2);
        let heard = low > faintest
            && high > faintest
            && high < low * HIGH_TWIST
            && low < high * LOW_TWIST
            && low + high > total * PURITY
            && power[8 + column] < high * HARMONIC;
        let key = GRID.chars().nth(4 * row + column);
        key.filter(|_| heard).and_then(Key::from_char)
    }

    /// Four windows alike begin a key, and four without it end it: 40 ms of tone hold four windows
    /// wherever they fall, 20 ms touch three, and a gap of 10 ms spoils two.
    fn follow(&mut self, key: Option<Key>) -> Option<Event> {
        let before = self.last;
        self.last.rotate_right(1);
        self.last[0] = key;
        match self.pressed {
            Some((pressed, windows)) if key == Some(pressed) => {
                self.pressed = Some((pressed, windows + 1 + self.missed));
                self.missed = 0;
                None
            }
            Some((pressed, windows)) => {
                self.missed += 1;
                if (self.missed as usize) < MISSES {
                    return None;
                }
                self.pressed = None;
                Some(Event::Released(pressed, self.duration(windows)))
            }
            None => {
                let key = key.filter(|key| before == [Some(*key); HITS - 1])?;
                self.pressed = Some((key, HITS as u32));
                self.missed = 0;
                Some(Event::Pressed(key))
            }
        }
    }
}

/// The power at one frequency, by Goertzel's algorithm, in windows of two steps.
#[derive(Clone, Copy, Default, Debug)]
struct Goertzel {
    coefficient: f32,
    last: f32,
    before: f32,
    /// The frequency as a rotation: by a sample, and by a step.
    sample: (f32, f32),
    step: (f32, f32),
    /// What the step before came to.
    earlier: (f32, f32),
}

impl Goertzel {
    /// For `angle` radians a sample.
    fn new(angle: f32, step: usize) -> Self {
        let rotation = |angle: f32| (angle.cos(), angle.sin());
        Self {
            coefficient: 2.0 * angle.cos(),
            sample: rotation(angle),
            step: rotation(angle * step as f32),
            ..Self::default()
        }
    }

    fn listen(&mut self, pcm: &[i16]) {
        for sample in pcm {
            let next = f32::from(*sample) + self.coefficient * self.last - self.before;
            (self.before, self.last) = (self.last, next);
        }
    }

    /// The power of the window that ends here; begins the next step.
    fn step(&mut self) -> f32 {
        let (cos, sin) = self.sample;
        let now = (self.last - cos * self.before, sin * self.before);
        let (cos, sin) = self.step;
        let (re, im) = self.earlier;
        let both = (now.0 + re * cos - im * sin, now.1 + re * sin + im * cos);
        self.earlier = now;
        (self.last, self.before) = (0.0, 0.0);
        both.0 * both.0 + both.1 * both.1
    }
}

/// Which of four is the strongest, if it stands out.
fn strongest(power: &[f32]) -> Option<usize> {
    let (at, most) = power.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    let stands_out = |(n, other): (usize, &f32)| n == at || *other * OTHERS < *most;
    power.iter().enumerate().all(stands_out).then_some(at)
}

const KEYS: &str = "0123456789*#ABCD";
/// Row by row.
const GRID: &str = "123A456B789C*0#D";
const ROWS: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
const COLUMNS: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
/// Samples of half a window at 8 kHz: windows of 12.75 ms are as short as tells the rows apart.
const STEP: usize = 51;
/// Windows that begin a key, and that end it.
const HITS: usize = 4;
const MISSES: usize = 4;
/// dBm0 of the low tone that we make.
const LOW_LEVEL: f32 = -9.0;
/// dBm0 of each tone.
const FAINTEST: f32 = -35.0;
/// The high tone may be stronger by 9 dB, the low one by 6.
const HIGH_TWIST: f32 = 8.0;
const LOW_TWIST: f32 = 4.0;
/// Share of both tones in all that is heard. Speech has other components, and tones that are off by
/// 3.5 % do not fill their filters.
const PURITY: f32 = 0.6;
/// A voice has an overtone at twice the frequency; a key's is 10 dB down at least.
const HARMONIC: f32 = 0.1;
/// The other tones of a group are 8 dB down.
const OTHERS: f32 = 6.3;

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pcm: &[i16], rate: u32) -> Vec<Event> {
        let mut detector = Detector::new(rate);
        let mut events = Vec::new();
        for piece in pcm.chunks(rate as usize / 50) {
            detector.process(piece, |event| events.push(event));
        }
        events
    }

    fn pressed(pcm: &[i16], rate: u32) -> String {
        let key = |event: &Event| match event {
            Event::Pressed(key) => Some(key.char()),
            Event::Released(..) => None,
        };
        events(pcm, rate).iter().filter_map(key).collect()
    }

    fn dialed(keys: &str, on: u16, off: u16, rate: u32) -> Vec<i16> {
        let mut dialer = Dialer::new(keys, on, off, rate);
        let mut pcm = Vec::new();
        let mut piece = [0; 160];
        loop {
            match dialer.fill(&mut piece) {
                0 => return pcm,
                count => pcm.extend(&piece[..count]),
            }
        }
    }

    /// Two tones for 100 ms, silence for 100 ms.
    fn pair(low: (f32, f32), high: (f32, f32)) -> Vec<i16> {
        let mut tones = [low, high].map(|(f, level)| Tone::at(level, f, 8000));
        let mut sample = |n: usize| match n < 800 {
            true => tones.iter_mut().map(Tone::sample).sum::<f32>() as i16,
            false => 0,
        };
        (0..1600).map(&mut sample).collect()
    }

    /// White noise at about this level.
    fn noise(level: f32) -> impl FnMut() -> i16 {
        let peak = f32::from(i16::MAX) * 10f32.powf((level + ZERO_DBM0) / 20.0) * 1.22;
        let mut state = 1u32;
        move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 8) as f32 / 8_388_608.0 - 1.0).mul_add(peak, 0.0) as i16
        }
    }

    #[test]
    fn every_key_is_heard_at_every_rate() {
        for rate in [8000, 16_000, 48_000] {
            let pcm = dialed(KEYS, 60, 60, rate);
            assert_eq!(pcm.len(), 16 * 120 * rate as usize / 1000);
            assert_eq!(pressed(&pcm, rate), KEYS, "{rate}");
        }
        let released = events(&dialed("5", 200, 100, 8000), 8000);
        let [Event::Pressed(_), Event::Released(key, ms)] = released[..] else {
            panic!("{released:?}");
        };
        assert_eq!(key.char(), '5');
        assert!((185..=200).contains(&ms), "{ms}");
    }

    /// ITU-T Q.24 §2.4: 40 ms is a key wherever it falls, 20 ms is none.
    #[test]
    fn the_shortest_key_and_the_shortest_pause() {
        for shift in 0..102 {
            let mut pcm = vec![0; shift];
            pcm.extend(dialed("1591", 40, 40, 8000));
            assert_eq!(pressed(&pcm, 8000), "1591", "{shift}");
            let mut pcm = vec![0; shift];
            pcm.extend(dialed("159", 20, 60, 8000));
            assert_eq!(pressed(&pcm, 8000), "", "{shift}");
        }
    }

    /// ITU-T Q.24 §2.4: an interruption of 10 ms at most is none.
    #[test]
    fn a_short_gap_does_not_double_a_key() {
        for at in 400..502 {
            let mut pcm = dialed("7", 120, 60, 8000);
            pcm[at..at + 80].fill(0);
            assert_eq!(pressed(&pcm, 8000), "7", "{at}");
        }
    }

    /// ITU-T Q.24 §2.1, §2.2, §2.3.
    #[test]
    fn limits_of_frequency_and_level() {
        let heard = |low, high| pressed(&pair(low, high), 8000);
        for (key, row, column) in [('1', 697.0, 1209.0), ('D', 941.0, 1633.0)] {
            for shift in [0.985, 1.0, 1.015] {
                let (low, high) = (row * shift, column * shift);
                assert_eq!(
                    heard((low, -10.0), (high, -10.0)),
                    key.to_string(),
                    "{shift}"
                );
                assert_eq!(heard((low, -25.0), (high, -25.0)), key.to_string());
                assert_eq!(heard((low, 0.0), (high, -4.0)), key.to_string());
                assert_eq!(heard((low, -16.0), (high, -10.0)), key.to_string());
            }
            for shift in [0.965, 1.035] {
                assert_eq!(heard((row * shift, -10.0), (column * shift, -10.0)), "");
            }
            assert_eq!(heard((row, -40.0), (column, -40.0)), "");
            assert_eq!(heard((row, -10.0), (column, -20.0)), "");
            assert_eq!(heard((row, -22.0), (column, -10.0)), "");
            assert_eq!(heard((row, -10.0), (column, -90.0)), "");
        }
    }

    #[test]
    fn noise_hides_no_key_and_makes_none() {
        let mut noisy = noise(-27.0);
        let pcm: Vec<i16> = dialed(KEYS, 70, 70, 8000)
            .into_iter()
            .map(|s| s.saturating_add(noisy()))
            .collect();
        assert_eq!(pressed(&pcm, 8000), KEYS);
        for level in [-30.0, -10.0] {
            let mut noise = noise(level);
            let pcm: Vec<i16> = (0..60 * 8000).map(|_| noise()).collect();
            assert_eq!(pressed(&pcm, 8000), "");
        }
    }

    /// ITU-T Q.24 §2.5: speech is no key.
    #[test]
    fn speech_presses_no_key() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../core/media/prompts");
        let mut seconds = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|e| e != "opus") {
                continue;
            }
            let file = std::fs::read(&path).unwrap();
            let pcm = crate::ogg_opus::decode(&file, 8000).unwrap();
            seconds += pcm.len() / 8000;
            // Other voices: the same words higher and lower.
            for rate in [6000, 7000, 8000, 9000, 10_500] {
                let mut voice = Vec::new();
                crate::resample::Resampler::new(rate, 8000).process(&pcm, &mut voice);
                assert_eq!(pressed(&voice, 8000), "", "{} {rate}", path.display());
            }
        }
        assert!(seconds >= 10, "{seconds}");
    }

    #[test]
    fn keys_have_their_events() {
        for event in 0..16 {
            let key = Key::from_event(event).unwrap();
            assert_eq!(key.event(), event);
            assert_eq!(Key::from_char(key.char().to_ascii_lowercase()), Some(key));
        }
        assert_eq!(Key::from_event(16), None);
        assert_eq!(Key::from_char('E'), None);
        assert!(dialed("x", 40, 40, 8000).is_empty());
    }
}
