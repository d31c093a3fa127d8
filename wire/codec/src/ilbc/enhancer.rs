//! Makes voiced excitation more regular: each block is mixed with what is a period or more before and
//! after it, as far as that changes it little.

use super::tables::QUARTERS;
use super::{Mode, dot, energy};

/// Samples of a block, and blocks that are remembered.
const BLOCK: usize = 80;
const BLOCKS: usize = 8;
const MEMORY: usize = BLOCK * BLOCKS;

/// The excitation of one stream.
#[derive(Clone, Debug)]
pub(super) struct Enhancer {
    mode: Mode,
    memory: [f32; MEMORY],
    /// The period in each block, in samples.
    periods: [f32; BLOCKS],
}

impl Enhancer {
    pub(super) const fn new(mode: Mode) -> Self {
        Self {
            mode,
            memory: [0.0; MEMORY],
            periods: [40.0; BLOCKS],
        }
    }

    /// Sub-blocks by which what comes out is late: it needs to know what follows.
    ///
    /// # Source
    /// RFC 3951 §4.6, §4.7
    pub(super) const fn delay(mode: Mode) -> usize {
        match mode {
            Mode::Ms20 => 1,
            Mode::Ms30 => 2,
        }
    }

    /// Takes the excitation of a frame and gives an enhanced one back in its place, which is
    /// [late](Self::delay).
    ///
    /// # Source
    /// RFC 3951 §4.6
    pub(super) fn enhance(&mut self, excitation: &mut [f32]) {
        let fresh = excitation.len();
        self.memory.copy_within(fresh.., 0);
        self.memory[MEMORY - fresh..].copy_from_slice(excitation);
        self.estimate(fresh / BLOCK);
        let from = MEMORY - fresh - 40 * Self::delay(self.mode);
        for (n, block) in excitation.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
            *block = self.enhanced(from + n * BLOCK);
        }
    }

    /// The periods of the newest `count` blocks, found at half the sampling rate.
    ///
    /// # Source
    /// RFC 3951 §4.6.1
    fn estimate(&mut self, count: usize) {
        self.periods.copy_within(count.., 0);
        let from = MEMORY - count * BLOCK - 2 * LONGEST;
        let mut halved = [0.0; MEMORY / 2];
        let halved = &mut halved[..(MEMORY - from) / 2];
        for (n, sample) in halved.iter_mut().enumerate() {
            *sample = self.low_pass(from + 2 * n);
        }
        let periods = &mut self.periods[BLOCKS - count..];
        for (n, period) in periods.iter_mut().enumerate() {
            *period = 2.0 * best_lag(halved, LONGEST + n * BLOCK / 2) as f32;
        }
    }

    /// What the memory is at `at` without its upper half band.
    fn low_pass(&self, at: usize) -> f32 {
        let around = &self.memory[at - 3..MEMORY.min(at + 4)];
        around.iter().zip(LOW_PASS).map(|(s, c)| s * c).sum()
    }

    /// The block of the memory that starts at `from`, enhanced.
    fn enhanced(&self, from: usize) -> [f32; BLOCK] {
        let mut block = [0.0; BLOCK];
        block.copy_from_slice(&self.memory[from..from + BLOCK]);
        let smooth = self.surroundings(from, &block);
        mixed(&block, &smooth)
    }

    /// The mean of what is one, two and three periods before and after a block.
    ///
    /// # Source
    /// RFC 3951 §4.6.2, §4.6.3
    fn surroundings(&self, from: usize, block: &[f32; BLOCK]) -> [f32; BLOCK] {
        let mut sum = [0.0; BLOCK];
        let mut add = |weight: f32, other: [f32; BLOCK]| {
            sum.iter_mut()
                .zip(other)
                .for_each(|(s, o)| *s += weight * o);
        };
        let middle = |n: usize| (n * BLOCK + BLOCK / 2) as f32;
        let mut at = from as f32;
        let mut near = nearest_block(middle, at + (BLOCK as f32 - 1.0) / 2.0);
        for weight in WEIGHTS {
            let period = self.periods[near];
            at -= period;
            near = nearest_block(middle, at + BLOCK as f32 / 2.0 - period);
            if at >= MARGIN {
                add(weight, self.synchronous(block, &mut at));
            }
        }
        let before = |n: usize| middle(n) - self.periods[n];
        let mut at = from as f32;
        for weight in WEIGHTS {
            at += self.periods[nearest_block(before, at + BLOCK as f32 / 2.0)];
            if at + BLOCK as f32 + MARGIN < MEMORY as f32 {
                add(weight, self.synchronous(block, &mut at));
            }
        }
        sum
    }

    /// What is most like `block` around `at`, to a quarter of a sample, and where it was found.
    ///
    /// # Source
    /// RFC 3951 §4.6.2
    fn synchronous(&self, block: &[f32; BLOCK], at: &mut f32) -> [f32; BLOCK] {
        let rounded = (*at - 0.5) as usize;
        let low = rounded.saturating_sub(2);
        let high = (rounded + 2).min(MEMORY - BLOCK - 1);
        let mut products = [0.0; 5];
        let products = &mut products[..(high + 1).saturating_sub(low).min(5)];
        for (n, product) in products.iter_mut().enumerate() {
            *product = dot(&self.memory[low + n..][..BLOCK], block);
        }
        let quarters = best_quarter(products);
        // One sample more than it is: so has it the reference implementation, which all others
        // sound like.
        *at = low as f32 + quarters as f32 / 4.0 + 1.0;
        let whole = quarters.div_ceil(4);
        let taps = &QUARTERS[4 * whole - quarters];
        std::array::from_fn(|n| self.interpolated(low + whole + n, taps))
    }

    fn interpolated(&self, at: usize, taps: &[f32; 7]) -> f32 {
        match at
            .checked_sub(3)
            .and_then(|from| self.memory.get(from..from + 7))
        {
            Some(around) => around.iter().zip(taps).map(|(s, t)| s * t).sum(),
            None => {
                let sample = |k: usize| (at + k).checked_sub(3).and_then(|i| self.memory.get(i));
                let known = (0..7).zip(taps).filter_map(|(k, t)| Some(sample(k)? * t));
                known.sum()
            }
        }
    }
}

/// The lag, up to 59, at which the 40 samples from `from` are most like those before.
fn best_lag(halved: &[f32], from: usize) -> usize {
    let block = &halved[from..from + BLOCK / 2];
    let likeness = |lag: usize| {
        let earlier = &halved[from - lag..][..BLOCK / 2];
        let product = dot(block, earlier);
        if product > 0.0 {
            product * product / energy(earlier)
        } else {
            0.0
        }
    };
    let mut best = (SHORTEST, likeness(SHORTEST));
    for lag in SHORTEST + 1..LONGEST {
        let found = likeness(lag);
        if found > best.1 {
            best = (lag, found);
        }
    }
    best.0
}

/// Where in quarters of a sample the curve through up to five points is highest.
fn best_quarter(products: &[f32]) -> usize {
    let value = |quarters: usize| -> f32 {
        let (at, taps) = (quarters / 4, &QUARTERS[quarters % 4]);
        // The inner five taps are enough for five points.
        let point = |k: usize| (at + 2).checked_sub(k).and_then(|i| products.get(i));
        let known = (0..5).filter_map(|k| Some(point(k)? * taps[k + 1]));
        known.sum()
    };
    let mut best = (0, f32::NEG_INFINITY);
    for quarters in 0..4 * products.len() {
        let found = value(quarters);
        if found > best.1 {
            best = (quarters, found);
        }
    }
    best.0
}

/// The block whose `place` is nearest.
fn nearest_block(place: impl Fn(usize) -> f32, wished: f32) -> usize {
    super::nearest((0..BLOCKS).map(place), wished)
}

/// As much of `smooth` as does not change `block` by more than a twentieth of its energy.
///
/// # Source
/// RFC 3951 §4.6.4, §4.6.5
fn mixed(block: &[f32; BLOCK], smooth: &[f32; BLOCK]) -> [f32; BLOCK] {
    let own = energy(block);
    let other = energy(smooth).max(1.0);
    let both = dot(block, smooth);
    let scale = (own / other).sqrt();
    let scaled = smooth.map(|s| scale * s);
    let changed = block.iter().zip(scaled).map(|(b, s)| (b - s) * (b - s));
    if changed.sum::<f32>() <= CHANGE * own {
        return scaled;
    }
    let own = own.max(1.0);
    let apart = (other * own - both * both) / (own * own);
    if apart <= 1e-4 {
        return *block;
    }
    let share = ((CHANGE - CHANGE * CHANGE / 4.0) / apart).sqrt();
    let rest = 1.0 - CHANGE / 2.0 - share * both / own;
    std::array::from_fn(|n| share * smooth[n] + rest * block[n])
}

/// The energy of a block that may change.
const CHANGE: f32 = 0.05;
/// What the neighbours at one, two and three periods weigh: a raised cosine.
const WEIGHTS: [f32; 3] = [0.853_553_4, 0.5, 0.146_446_6];
/// Samples at either end of the memory that are not looked at.
const MARGIN: f32 = 2.0;
/// The periods that are looked for, at half the sampling rate.
const SHORTEST: usize = 10;
const LONGEST: usize = 60;

/// # Source
/// RFC 3951 appendix A.8
const LOW_PASS: [f32; 7] = [
    -0.066_65, 0.125, 0.316_65, 0.414_063, 0.316_65, 0.125, -0.066_65,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A pulse every 64 samples, and noise.
    fn voice(noise: f32) -> impl FnMut(&mut [f32]) {
        let mut n = 0_usize;
        move |frame| {
            for sample in frame {
                let random = (n * n * 7919 % 1009) as f32 / 504.0 - 1.0;
                let pulse = if n.is_multiple_of(64) { 3000.0 } else { 0.0 };
                *sample = pulse + noise * random;
                n += 1;
            }
        }
    }

    /// RFC 3951 §4.6.1.
    #[test]
    fn rfc3951_4_6_1_the_period_is_found() {
        for mode in [Mode::Ms20, Mode::Ms30] {
            let mut enhancer = Enhancer::new(mode);
            let mut voice = voice(10.0);
            let mut frame = vec![0.0; mode.samples()];
            for _ in 0..6 {
                voice(&mut frame);
                enhancer.enhance(&mut frame);
            }
            assert_eq!(enhancer.periods[7], 64.0);
        }
    }

    /// RFC 3951 §4.6.2, §4.6.3.
    #[test]
    fn rfc3951_4_6_3_what_repeats_surrounds_itself() {
        let wave = |n: usize| 1000.0 * (n as f32 * std::f32::consts::TAU / 50.0).sin();
        let enhancer = Enhancer {
            memory: std::array::from_fn(wave),
            periods: [50.0; BLOCKS],
            ..Enhancer::new(Mode::Ms20)
        };
        let block = std::array::from_fn(|n| wave(240 + n));
        let smooth = enhancer.surroundings(240, &block);
        for (a, b) in block.iter().zip(smooth) {
            // The weights of both sides are 3 together; places are known to a quarter of a sample.
            assert!((3.0 * a - b).abs() < 250.0, "{a} {b}");
        }
    }

    /// RFC 3951 §4.6.5.
    #[test]
    fn rfc3951_4_6_5_a_mixture_changes_a_twentieth() {
        let block = std::array::from_fn(|n| if n % 2 == 0 { 100.0 } else { -100.0 });
        let other = [70.0; BLOCK];
        let mixture = mixed(&block, &other);
        let changes = block.iter().zip(mixture).map(|(a, b)| (a - b) * (a - b));
        let change = changes.sum::<f32>() / energy(&block);
        assert!((change - CHANGE).abs() < 1e-3, "{change}");
        let louder = block.map(|s: f32| 2.0 * s);
        assert_eq!(
            mixed(&block, &louder),
            block,
            "nothing but the loudness differs"
        );
    }

    /// RFC 3951 §4.6.4.
    #[test]
    fn rfc3951_4_6_4_the_change_is_limited() {
        for mode in [Mode::Ms20, Mode::Ms30] {
            let mut enhancer = Enhancer::new(mode);
            let mut voice = voice(1000.0);
            let mut frame = vec![0.0; mode.samples()];
            for round in 0..6 {
                voice(&mut frame);
                enhancer.enhance(&mut frame);
                let fresh = frame.len();
                let late = MEMORY - fresh - 40 * Enhancer::delay(mode);
                let plain = &enhancer.memory[late..][..fresh];
                let changes = frame.iter().zip(plain).map(|(a, b)| (a - b) * (a - b));
                let change: f32 = changes.sum();
                assert!(change <= 0.051 * energy(plain), "{round}: {change}");
                assert!(
                    round < 4 || change > 0.01 * energy(plain),
                    "{round}: {change}"
                );
            }
        }
    }
}
