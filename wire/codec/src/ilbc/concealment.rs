//! What is heard instead of a lost frame: the last period of the excitation again and again, with
//! noise as far as the voice was none, ever softer.

use super::{FLAT, Lpc, SUB_BLOCK, dot, energy};

/// Samples of excitation that are remembered.
const MEMORY: usize = 240;
/// Of these, the newest are compared with earlier ones.
const COMPARED: usize = 120;

/// What is known for the case of a loss.
#[derive(Clone, Debug)]
pub(super) struct Concealment {
    memory: [f32; MEMORY],
    /// The filter of the last sub-block that arrived.
    filter: Lpc,
    /// How it goes on, while frames are lost.
    loss: Option<Loss>,
    /// Of the noise.
    seed: u32,
}

#[derive(Clone, Debug)]
struct Loss {
    /// Samples of a period.
    period: usize,
    /// What shares the period and the noise have.
    voiced: f32,
    noise: f32,
    /// Samples since the loss.
    age: usize,
}

impl Concealment {
    pub(super) const fn new() -> Self {
        Self {
            memory: [0.0; MEMORY],
            filter: FLAT,
            loss: None,
            seed: 1,
        }
    }

    /// Remembers the excitation of a frame that arrived and the filter of its end. After a loss
    /// its start is blended with what was made up.
    ///
    /// # Source
    /// RFC 3951 §4.5.1, §4.5.3
    pub(super) fn heard(&mut self, excitation: &mut [f32], filter: &Lpc) {
        if let Some(loss) = self.loss.take() {
            self.blend(&loss, excitation);
        }
        self.filter = *filter;
        self.remember(excitation);
    }

    /// Makes up the excitation of a lost frame, and says by what filter it is heard.
    ///
    /// # Source
    /// RFC 3951 §4.5.2
    pub(super) fn make_up(&mut self, excitation: &mut [f32]) -> Lpc {
        let mut loss = self.loss.take().unwrap_or_else(|| self.begin());
        let from = MEMORY - loss.period;
        let mut last = [0.0; MEMORY / 2];
        let last = &mut last[..loss.period];
        last.copy_from_slice(&self.memory[from..]);
        for n in 0..excitation.len() {
            // The memory goes on as if nothing faded, so that the period stays what it was.
            let plain = last[n % loss.period];
            let mixed = loss.voiced * plain + loss.noise * self.random();
            excitation[n] = loss.loudness() * mixed;
            loss.age += 1;
        }
        last.rotate_left(excitation.len() % loss.period);
        self.memory.copy_within(loss.period.., 0);
        self.memory[from..].copy_from_slice(last);
        self.loss = Some(loss);
        self.filter
    }

    /// What can be said of the voice before a loss.
    fn begin(&self) -> Loss {
        let newest = &self.memory[MEMORY - COMPARED..];
        let mut best = (SHORTEST, 0.0);
        for lag in SHORTEST..=MEMORY - COMPARED {
            let earlier = &self.memory[MEMORY - COMPARED - lag..][..COMPARED];
            let product = dot(newest, earlier);
            if product > 0.0 && product * product > best.1 * energy(earlier) {
                best = (lag, product * product / energy(earlier));
            }
        }
        let power = energy(newest);
        let likeness = (best.1 / power.max(1.0)).sqrt();
        let voiced = ((likeness - 0.3) / 0.5).clamp(0.0, 1.0);
        // Of even noise within ±1, the mean square is a third.
        let noise = (3.0 * power / COMPARED as f32).sqrt() * (1.0 - voiced * voiced).sqrt();
        Loss {
            period: best.0,
            voiced,
            noise,
            age: 0,
        }
    }

    /// Goes over from what would have been made up to what arrived. Of a quarter of a period to
    /// either side, the place is taken that is most like what arrived.
    fn blend(&self, loss: &Loss, excitation: &mut [f32]) {
        let count = SUB_BLOCK.min(excitation.len());
        let period = loss.period as isize;
        let last = &self.memory[MEMORY - loss.period..];
        let made_up = |shift: isize| -> [f32; SUB_BLOCK] {
            std::array::from_fn(|n| last[(n as isize + shift).rem_euclid(period) as usize])
        };
        let likeness = |shift: &isize| dot(&made_up(*shift)[..count], &excitation[..count]);
        let shifts = -period / 4..=period / 4;
        let best = shifts.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        let share = loss.voiced * loss.loudness();
        let made_up = made_up(best.unwrap_or(0)).map(|sample| share * sample);
        for (n, (sample, old)) in excitation.iter_mut().zip(made_up).enumerate() {
            let new = (n as f32 + 1.0) / (SUB_BLOCK as f32 + 1.0);
            *sample = new * *sample + (1.0 - new) * old;
        }
    }

    fn remember(&mut self, excitation: &[f32]) {
        let count = excitation.len().min(MEMORY);
        self.memory.copy_within(count.., 0);
        self.memory[MEMORY - count..].copy_from_slice(&excitation[excitation.len() - count..]);
    }

    /// Even noise within ±1.
    fn random(&mut self) -> f32 {
        self.seed = self
            .seed
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        (self.seed >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}

impl Loss {
    /// All for 20 ms, and nothing after 200.
    fn loudness(&self) -> f32 {
        let faded = self.age.saturating_sub(160) as f32 / 1440.0;
        (1.0 - faded).max(0.0)
    }
}

/// Samples of the shortest period.
const SHORTEST: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn pulses(from: usize) -> [f32; 160] {
        std::array::from_fn(|n| {
            if (n + from).is_multiple_of(50) {
                1000.0
            } else {
                1.0
            }
        })
    }

    /// RFC 3951 §4.5.1, §4.5.2.
    #[test]
    fn rfc3951_4_5_2_the_period_goes_on_and_fades() {
        let mut concealment = Concealment::new();
        for n in 0..3 {
            concealment.heard(&mut pulses(160 * n), &FLAT);
        }
        let mut made_up = [0.0; 160];
        concealment.make_up(&mut made_up);
        for (n, sample) in made_up.iter().enumerate() {
            assert!((sample - pulses(480)[n]).abs() < 20.0, "{n}: {sample}");
        }
        concealment.make_up(&mut made_up);
        let next = pulses(640).iter().position(|s| *s > 900.0).unwrap();
        assert!(
            (900.0..1000.0).contains(&made_up[next]),
            "{}",
            made_up[next]
        );
        (0..9).for_each(|_| _ = concealment.make_up(&mut made_up));
        assert_eq!(made_up, [0.0; 160]);
    }

    /// RFC 3951 §4.5.3.
    #[test]
    fn rfc3951_4_5_3_what_arrives_after_a_loss_is_blended() {
        let mut concealment = Concealment::new();
        concealment.heard(&mut pulses(0), &FLAT);
        concealment.heard(&mut pulses(160), &FLAT);
        concealment.make_up(&mut [0.0; 160]);
        let mut next = [0.0; 160];
        concealment.heard(&mut next, &FLAT);
        assert!(energy(&next[..40]) > 1e4, "the period goes on for a while");
        assert_eq!(next[40..], [0.0; 120]);
    }

    #[test]
    fn noise_stays_as_loud_as_it_was() {
        let mut concealment = Concealment::new();
        let mut noise: [f32; 240] = std::array::from_fn(|_| 1000.0 * concealment.random());
        concealment.heard(&mut noise, &FLAT);
        let mut made_up = [0.0; 160];
        concealment.make_up(&mut made_up);
        let change = energy(&made_up) / energy(&noise[..160]);
        assert!((0.5..2.0).contains(&change), "{change}");
    }
}
