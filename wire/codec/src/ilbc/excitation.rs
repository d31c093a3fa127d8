//! In which order a frame's excitation is coded. The start state comes first; then each part next to
//! what is known already, from whose samples it is put together: what is left of the two sub-blocks
//! with the start state, then the later sub-blocks, then the earlier ones with time reversed.

use std::iter;
use std::ops::Range;

use super::bits::{Frame, Shape};
use super::codebook::{self, MEMORY};
use super::start_state::{self, first_block};
use super::{Lpc, MAX_SAMPLES, MAX_SUB_BLOCKS, Mode, SUB_BLOCK};

/// A part of the frame that is coded at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Part {
    pub(super) from: usize,
    pub(super) len: usize,
    /// It comes before what is known.
    pub(super) backwards: bool,
    /// Which of [`Frame::blocks`] it is; none of them: the rest beside the start state.
    pub(super) block: Option<usize>,
}

impl Part {
    /// The parts of a frame whose start state has its place, in the order of coding.
    ///
    /// # Source
    /// RFC 3951 §3.6, §4.3
    pub(super) fn all(mode: Mode, frame: &Frame) -> impl Iterator<Item = Self> + use<> {
        let first = first_block(frame);
        let part = |block, index, backwards| Self {
            from: index * SUB_BLOCK,
            len: SUB_BLOCK,
            backwards,
            block: Some(block),
        };
        let later = first + 2..mode.sub_blocks();
        let earlier = (0..first).rev();
        let order = later.map(|n| (n, false)).chain(earlier.map(|n| (n, true)));
        let blocks = order.enumerate();
        let blocks = blocks.map(move |(block, (index, backwards))| part(block, index, backwards));
        iter::once(Self::beside_state(mode, frame)).chain(blocks)
    }

    fn beside_state(mode: Mode, frame: &Frame) -> Self {
        let pair = first_block(frame) * SUB_BLOCK;
        let backwards = frame.state_first == 0;
        Self {
            from: if backwards { pair } else { pair + mode.state() },
            len: 2 * SUB_BLOCK - mode.state(),
            backwards,
            block: None,
        }
    }

    /// How many known samples it is made of.
    ///
    /// # Source
    /// RFC 3951 §3.6.1
    pub(super) const fn memory(self) -> usize {
        match self.block {
            None => 85,
            Some(_) => MEMORY,
        }
    }

    /// The sub-block that it is in.
    pub(super) const fn sub_block(self) -> usize {
        self.from / SUB_BLOCK
    }

    pub(super) fn shape(self, frame: &Frame) -> Shape {
        let block = self.block.and_then(|block| frame.blocks.get(block));
        *block.unwrap_or(&frame.rest)
    }

    pub(super) fn shape_mut(self, frame: &mut Frame) -> &mut Shape {
        match self.block {
            Some(block) if block < frame.blocks.len() => &mut frame.blocks[block],
            _ => &mut frame.rest,
        }
    }

    /// Its samples of `residual`, in the direction of coding.
    pub(super) fn target(self, residual: &[f32]) -> [f32; SUB_BLOCK] {
        let mut target = [0.0; SUB_BLOCK];
        target[..self.len].copy_from_slice(&residual[self.from..][..self.len]);
        if self.backwards {
            target[..self.len].reverse();
        }
        target
    }
}

/// The excitation of a frame as far as it is decoded.
#[derive(Clone, Debug)]
pub(super) struct Excitation {
    pub(super) samples: [f32; MAX_SAMPLES],
    known: Range<usize>,
}

impl Excitation {
    /// With the start state of `frame` alone.
    pub(super) fn of_state(mode: Mode, frame: &Frame, filters: &[Lpc; MAX_SUB_BLOCKS]) -> Self {
        let from = start_state::position(mode, frame);
        let known = from..from + mode.state();
        let mut samples = [0.0; MAX_SAMPLES];
        let filter = &filters[first_block(frame)];
        start_state::decode(mode, frame, filter, &mut samples[known.clone()]);
        Self { samples, known }
    }

    /// The whole excitation of a frame.
    ///
    /// # Source
    /// RFC 3951 §4.3
    pub(super) fn decode(mode: Mode, frame: &Frame, filters: &[Lpc; MAX_SUB_BLOCKS]) -> Self {
        let mut excitation = Self::of_state(mode, frame, filters);
        for part in Part::all(mode, frame) {
            let memory = excitation.memory(part);
            let shape = part.shape(frame);
            excitation.add(
                part,
                codebook::construct(&memory[..part.memory()], part, shape),
            );
        }
        excitation
    }

    /// The known samples next to `part`, the nearest one last; zeros where there are no more.
    ///
    /// # Source
    /// RFC 3951 §3.6.1
    pub(super) fn memory(&self, part: Part) -> [f32; MEMORY] {
        let length = part.memory();
        let mut memory = [0.0; MEMORY];
        let known = &self.samples[self.known.clone()];
        let count = known.len().min(length);
        let space = &mut memory[length - count..length];
        if part.backwards {
            space.copy_from_slice(&known[..count]);
            space.reverse();
        } else {
            space.copy_from_slice(&known[known.len() - count..]);
        }
        memory
    }

    /// Puts a decoded part, given in the direction of coding, where it belongs.
    pub(super) fn add(&mut self, part: Part, mut vector: [f32; SUB_BLOCK]) {
        let vector = &mut vector[..part.len];
        if part.backwards {
            vector.reverse();
        }
        let end = part.from + part.len;
        self.samples[part.from..end].copy_from_slice(vector);
        self.known = self.known.start.min(part.from)..self.known.end.max(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3951 §3.6: the example of figure 3.5.
    #[test]
    fn rfc3951_3_6_order_of_the_parts() {
        let frame = Frame {
            start: 2,
            ..Frame::EMPTY
        };
        let parts: Vec<_> = Part::all(Mode::Ms30, &frame)
            .map(|part| (part.from, part.len, part.backwards))
            .collect();
        let later = [120, 160, 200].map(|from| (from, 40, false));
        assert_eq!(parts[0], (40, 22, true));
        assert_eq!(parts[1..4], later);
        assert_eq!(parts[4..], [(0, 40, true)]);
    }

    /// RFC 3951 §3.6.1.
    #[test]
    fn rfc3951_3_6_1_memory_is_reversed_before_the_start_state() {
        let frame = Frame::EMPTY;
        let mut excitation = Excitation {
            samples: std::array::from_fn(|n| n as f32),
            known: 22..80,
        };
        let mut parts = Part::all(Mode::Ms30, &frame);
        let rest = parts.next().unwrap();
        let memory = excitation.memory(rest);
        assert_eq!(memory[..27], [0.0; 27]);
        assert_eq!(memory[82..85], [24.0, 23.0, 22.0]);
        excitation.add(rest, rest.target(&excitation.samples));
        assert_eq!(excitation.known, 0..80);
        let memory = excitation.memory(parts.next().unwrap());
        assert_eq!((memory[66], memory[67], memory[146]), (0.0, 0.0, 79.0));
        assert_eq!(memory[68], 1.0);
    }

    /// RFC 3951 §4.3.
    #[test]
    fn rfc3951_4_3_every_part_of_every_frame_is_decoded() {
        for (mode, starts) in [(Mode::Ms20, 1..=3), (Mode::Ms30, 1..=5)] {
            for (start, state_first) in starts.flat_map(|s| [(s, 0), (s, 1)]) {
                let frame = Frame {
                    start,
                    state_first,
                    ..Frame::EMPTY
                };
                let filters = [super::super::FLAT; 6];
                let excitation = Excitation::decode(mode, &frame, &filters);
                assert_eq!(excitation.known, 0..mode.samples());
                assert_eq!(Part::all(mode, &frame).count(), 1 + mode.coded_blocks());
            }
        }
    }
}
