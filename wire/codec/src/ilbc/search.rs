//! Which vectors of the codebook, and how much of each, come nearest to a part of the excitation.

use super::bits::Shape;
use super::codebook::{self, Layout, MEMORY, Origin, REPEATING, Vector};
use super::excitation::Part;
use super::filter::synthesise;
use super::tables::{GAIN_FIRST, GAIN_SECOND, GAIN_THIRD};
use super::{Lpc, ORDER, SUB_BLOCK, dot, energy, nearest};

/// The vectors and gains for `target`, a part in the direction of coding with `memory` before it.
/// What counts is the error after the filter `weighting`.
///
/// # Source
/// RFC 3951 §3.6.2, §3.6.4
pub(super) fn search(memory: &[f32], target: &Vector, part: Part, weighting: &Lpc) -> Shape {
    let (memory, target) = weighted(memory, &target[..part.len], weighting);
    let book = Book::new(&memory[..part.memory()], part);
    let target = &target[..part.len];
    let mut left = [0.0; SUB_BLOCK];
    left[..part.len].copy_from_slice(target);
    let mut shape = Shape::default();
    let mut gain = 1.0;
    let mut coded = [0.0; SUB_BLOCK];
    for stage in 0..3 {
        let left = &mut left[..part.len];
        let found = book.best(left, stage);
        let (step, index) = match stage {
            0 => first_gain(found.gain),
            1 => later_gain(&GAIN_SECOND, found.gain, gain),
            _ => later_gain(&GAIN_THIRD, found.gain, gain),
        };
        gain = step;
        shape.gains[stage] = index as u8;
        shape.vectors[stage] = match codebook::is_narrow(part, stage) {
            true => codebook::narrowed(found.index) as u8,
            false => found.index as u8,
        };
        let vector = book.vector(found.index);
        for ((left, coded), v) in left.iter_mut().zip(&mut coded).zip(vector) {
            *left -= gain * v;
            *coded += gain * v;
        }
    }
    let energies = [energy(target), energy(&coded[..part.len])];
    shape.gains[0] = louder(shape.gains[0], energies);
    shape
}

/// Memory and target after the weighting filter, which starts empty.
///
/// # Source
/// RFC 3951 §3.6.2
fn weighted(memory: &[f32], target: &[f32], weighting: &Lpc) -> ([f32; MEMORY], Vector) {
    let (mut known, mut wished) = ([0.0; MEMORY], [0.0; SUB_BLOCK]);
    known[..memory.len()].copy_from_slice(memory);
    wished[..target.len()].copy_from_slice(target);
    let mut state = [0.0; ORDER];
    synthesise(weighting, &mut state, &mut known[..memory.len()]);
    synthesise(weighting, &mut state, &mut wished[..target.len()]);
    (known, wished)
}

fn first_gain(gain: f32) -> (f32, usize) {
    let index = nearest(GAIN_FIRST, gain.clamp(0.0, MAX_GAIN));
    (GAIN_FIRST[index], index)
}

fn later_gain(table: &[f32], gain: f32, before: f32) -> (f32, usize) {
    let scale = codebook::scale(before);
    let index = nearest(table.iter().map(|entry| scale * entry), gain);
    (scale * table[index], index)
}

/// The first gain that gives the part its energy back, if that is more than was found; about twice
/// as much at most. `energies` are those of the target and of what was coded.
///
/// # Source
/// RFC 3951 §3.7
fn louder(found: u8, energies: [f32; 2]) -> u8 {
    let [wished, coded] = energies;
    let original = GAIN_FIRST[usize::from(found)];
    let mut index = found;
    for (next, gain) in (0..).zip(GAIN_FIRST).skip(usize::from(found)) {
        let quiet = coded * gain * gain < wished * original * original;
        if quiet && GAIN_FIRST[usize::from(index)] < 2.0 * original {
            index = next;
        }
    }
    index
}

/// Every vector for a part, with what the search needs to know of it.
struct Book {
    part: Part,
    layout: Layout,
    sections: [Section; 2],
}

struct Section {
    memory: [f32; MEMORY],
    repeating: [Vector; REPEATING],
    /// 1 divided by each vector's energy; 0 for silence.
    inverse: [f32; 128],
}

#[derive(Clone, Copy, Default)]
struct Found {
    index: usize,
    gain: f32,
    measure: f32,
}

impl Book {
    fn new(memory: &[f32], part: Part) -> Self {
        let layout = Layout::of(part);
        let mut first = [0.0; MEMORY];
        first[..memory.len()].copy_from_slice(memory);
        let second = codebook::filtered(memory);
        let sections = [first, second].map(|memory| Section::new(memory, part, layout));
        Self {
            part,
            layout,
            sections,
        }
    }

    /// The vector that matches `target` best, and its gain. Where none matches, the first one with
    /// a gain of 0.
    ///
    /// # Source
    /// RFC 3951 §3.6.4.1
    fn best(&self, target: &[f32], stage: usize) -> Found {
        let narrow = codebook::is_narrow(self.part, stage);
        let plain = if narrow { NARROW } else { self.layout.plain() };
        let repeating = self.layout.plain()..self.layout.section();
        let mut best = Found::default();
        for (number, section) in self.sections.iter().enumerate() {
            for index in (0..plain).chain(repeating.clone()) {
                let vector = section.view(self.part, self.layout, index);
                let product = dot(target, vector);
                let gain = product * section.inverse[index];
                let measure = product * gain;
                let allowed = gain.abs() < MAX_GAIN && (stage > 0 || product > 0.0);
                if allowed && measure > best.measure {
                    let index = number * self.layout.section() + index;
                    best = Found {
                        index,
                        gain,
                        measure,
                    };
                }
            }
        }
        best
    }

    fn vector(&self, index: usize) -> &[f32] {
        let size = self.layout.section();
        self.sections[index / size].view(self.part, self.layout, index % size)
    }
}

impl Section {
    fn new(memory: [f32; MEMORY], part: Part, layout: Layout) -> Self {
        let known = &memory[..part.memory()];
        let mut repeating = [[0.0; SUB_BLOCK]; REPEATING];
        for (index, vector) in (layout.plain()..layout.section()).zip(&mut repeating) {
            *vector = codebook::vector(known, layout.origin(index));
        }
        let mut section = Self {
            memory,
            repeating,
            inverse: [0.0; 128],
        };
        for index in 0..layout.section() {
            let energy = energy(section.view(part, layout, index));
            let audible = energy > f32::MIN_POSITIVE;
            section.inverse[index] = if audible { 1.0 / energy } else { 0.0 };
        }
        section
    }

    fn view(&self, part: Part, layout: Layout, index: usize) -> &[f32] {
        match layout.origin(index) {
            Origin::Plain(lag) => &self.memory[part.memory() - lag..][..part.len],
            Origin::Repeating(lag) => &self.repeating[lag - REPEATING][..],
        }
    }
}

/// No vector is amplified more.
const MAX_GAIN: f32 = 1.3;
/// Plain vectors of a section that a narrow index reaches.
const NARROW: usize = 44;

#[cfg(test)]
mod tests {
    use super::super::bits::Frame;
    use super::super::{FLAT, Mode};
    use super::*;

    fn memory() -> [f32; MEMORY] {
        std::array::from_fn(|n| (n * n * 7919 % 1009) as f32 - 504.0)
    }

    fn parts() -> impl Iterator<Item = Part> {
        Part::all(Mode::Ms30, &Frame::EMPTY)
    }

    /// RFC 3951 §3.6.4.1.
    #[test]
    fn rfc3951_3_6_4_1_what_is_in_the_codebook_is_found() {
        for part in parts() {
            let memory = &memory()[..part.memory()];
            let layout = Layout::of(part);
            for index in [0, 9, layout.plain() - 1, layout.section() - 1] {
                let target = codebook::vector(memory, layout.origin(index));
                let shape = search(memory, &target, part, &FLAT);
                assert_eq!(usize::from(shape.vectors[0]), index, "{part:?}");
                let made = codebook::construct(memory, part, shape);
                let pairs = made[..part.len].iter().zip(&target);
                let error: f32 = pairs.map(|(a, b)| (a - b) * (a - b)).sum();
                assert!(error < 0.01 * energy(&target[..part.len]), "{error}");
            }
        }
    }

    /// RFC 3951 §3.6.2.
    #[test]
    fn rfc3951_3_6_2_what_goes_on_is_found_behind_the_weighting_filter() {
        let mut weighting = FLAT;
        (weighting[1], weighting[2]) = (-0.5, 0.1);
        let periodic = |n: usize| memory()[n % 60];
        let known: [f32; MEMORY] = std::array::from_fn(periodic);
        let target = std::array::from_fn(|n| periodic(MEMORY + n));
        for part in parts().skip(1) {
            let shape = search(&known, &target, part, &weighting);
            // 60 samples back.
            assert_eq!((shape.vectors[0], shape.gains[0]), (20, 26));
        }
    }

    /// RFC 3951 §3.7.
    #[test]
    fn rfc3951_3_7_energy_is_given_back() {
        assert_eq!(louder(10, [100.0, 100.0]), 10);
        assert_eq!(louder(10, [100.0, 200.0]), 10);
        let index = louder(10, [150.0, 100.0]);
        let change = GAIN_FIRST[usize::from(index)] / GAIN_FIRST[10];
        assert!((1.0..1.225).contains(&change), "{change}");
        let most = louder(10, [1e9, 1.0]);
        assert!((21..=22).contains(&most), "{most}");
    }

    #[test]
    fn silence_is_coded_as_silence() {
        for part in parts() {
            let shape = search(
                &[0.0; MEMORY][..part.memory()],
                &[0.0; SUB_BLOCK],
                part,
                &FLAT,
            );
            let made = codebook::construct(&[0.0; MEMORY][..part.memory()], part, shape);
            assert_eq!(made, [0.0; SUB_BLOCK]);
        }
    }
}
