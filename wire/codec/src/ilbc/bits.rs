//! Which bit of a frame is what. The most significant bits of every value come first, so that the
//! start of a frame is what is worth protecting.

use super::Mode;

/// The values of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Frame {
    /// Which vectors describe the spectrum: three for each description.
    pub(super) spectra: [[u8; 3]; 2],
    /// The first of the two sub-blocks with the start state, counted from 1.
    pub(super) start: u8,
    /// 1: the start state is at the start of the two sub-blocks; 0: at their end.
    pub(super) state_first: u8,
    /// Loudness of the start state.
    pub(super) scale: u8,
    /// Its samples.
    pub(super) state: [u8; 58],
    /// What else is in the two sub-blocks.
    pub(super) rest: Shape,
    /// The other sub-blocks in the order of coding.
    pub(super) blocks: [Shape; 4],
}

/// A part as the sum of three vectors of a codebook, each with its gain.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Shape {
    pub(super) vectors: [u8; 3],
    pub(super) gains: [u8; 3],
}

impl Frame {
    pub(super) const EMPTY: Self = Self {
        spectra: [[0; 3]; 2],
        start: 1,
        state_first: 0,
        scale: 0,
        state: [0; 58],
        rest: Shape {
            vectors: [0; 3],
            gains: [0; 3],
        },
        blocks: [Shape {
            vectors: [0; 3],
            gains: [0; 3],
        }; 4],
    };

    /// The frame in `bytes`, which are as many as the mode says. `None`: it says that it was lost,
    /// or makes no sense.
    ///
    /// # Source
    /// RFC 3951 §3.8
    pub(super) fn parse(mode: Mode, bytes: &[u8]) -> Option<Self> {
        let empty = bytes.last()? & 1;
        let mut frame = Self {
            start: 0,
            ..Self::EMPTY
        };
        let mut position = 0;
        for class in 0..3 {
            frame.each(mode, |value, classes| {
                for bit in bits_of(classes, class) {
                    let byte = bytes.get(position / 8).copied().unwrap_or(0);
                    *value |= (byte >> (7 - position % 8) & 1) << bit;
                    position += 1;
                }
            });
        }
        let inside = (1..mode.sub_blocks()).contains(&usize::from(frame.start));
        (empty == 0 && inside).then_some(frame)
    }

    /// Writes it into `bytes`, which are as many as the mode says.
    ///
    /// # Source
    /// RFC 3951 §3.8
    pub(super) fn encode(mut self, mode: Mode, bytes: &mut [u8]) {
        bytes.fill(0);
        let mut position = 0;
        for class in 0..3 {
            self.each(mode, |value, classes| {
                for bit in bits_of(classes, class) {
                    if let Some(byte) = bytes.get_mut(position / 8) {
                        *byte |= (*value >> bit & 1) << (7 - position % 8);
                    }
                    position += 1;
                }
            });
        }
    }

    /// Every value in the order of the table, with how many bits of it are in each class.
    fn each(&mut self, mode: Mode, mut see: impl FnMut(&mut u8, [u8; 3])) {
        let layout = match mode {
            Mode::Ms20 => &LAYOUT_20,
            Mode::Ms30 => &LAYOUT_30,
        };
        for spectrum in &mut self.spectra[..mode.spectra()] {
            see(&mut spectrum[0], [6, 0, 0]);
            see(&mut spectrum[1], [7, 0, 0]);
            see(&mut spectrum[2], [7, 0, 0]);
        }
        see(&mut self.start, layout.start);
        see(&mut self.state_first, [1, 0, 0]);
        see(&mut self.scale, [6, 0, 0]);
        for sample in &mut self.state[..mode.state()] {
            see(sample, [0, 1, 2]);
        }
        let blocks = &mut self.blocks[..mode.coded_blocks()];
        let mut all = |values: &mut [u8; 3], rows: &[[u8; 3]; 3]| {
            let pairs = values.iter_mut().zip(rows);
            pairs.for_each(|(value, classes)| see(value, *classes));
        };
        all(&mut self.rest.vectors, &layout.rest.0);
        all(&mut self.rest.gains, &layout.rest.1);
        for (shape, rows) in blocks.iter_mut().zip(layout.blocks) {
            all(&mut shape.vectors, &rows.0);
        }
        for (shape, rows) in blocks.iter_mut().zip(layout.blocks) {
            all(&mut shape.gains, &rows.1);
        }
    }
}

/// Which bits of a value are in `class`, the most significant one first.
fn bits_of(classes: [u8; 3], class: usize) -> impl Iterator<Item = u8> {
    let below: u8 = classes[class + 1..].iter().sum();
    (below..below + classes[class]).rev()
}

/// Bits in each of the three classes.
struct Layout {
    start: [u8; 3],
    rest: Rows,
    blocks: &'static [Rows],
}

/// Of three vectors and their gains.
type Rows = ([[u8; 3]; 3], [[u8; 3]; 3]);

// Source: RFC 3951 §3.8, table 3.2.
const LAYOUT_20: Layout = Layout {
    start: [2, 0, 0],
    rest: (
        [[6, 0, 1], [0, 0, 7], [0, 0, 7]],
        [[2, 0, 3], [1, 1, 2], [0, 0, 3]],
    ),
    blocks: &[
        (
            [[7, 0, 1], [0, 0, 7], [0, 0, 7]],
            [[1, 2, 2], [1, 1, 2], [0, 0, 3]],
        ),
        (
            [[0, 0, 8], [0, 0, 8], [0, 0, 8]],
            [[1, 1, 3], [0, 2, 2], [0, 0, 3]],
        ),
    ],
};
const LAYOUT_30: Layout = Layout {
    start: [3, 0, 0],
    rest: (
        [[4, 2, 1], [0, 0, 7], [0, 0, 7]],
        [[1, 1, 3], [1, 1, 2], [0, 0, 3]],
    ),
    blocks: &[
        (
            [[6, 1, 1], [0, 0, 7], [0, 0, 7]],
            [[1, 2, 2], [1, 2, 1], [0, 0, 3]],
        ),
        (
            [[0, 7, 1], [0, 0, 8], [0, 0, 8]],
            [[0, 2, 3], [0, 2, 2], [0, 0, 3]],
        ),
        (
            [[0, 7, 1], [0, 0, 8], [0, 0, 8]],
            [[0, 1, 4], [0, 1, 3], [0, 0, 3]],
        ),
        (
            [[0, 7, 1], [0, 0, 8], [0, 0, 8]],
            [[0, 1, 4], [0, 1, 3], [0, 0, 3]],
        ),
    ],
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 3951 §3.8.
    #[test]
    fn rfc3951_3_8_classes_fill_whole_bytes() {
        for (mode, sums) in [(Mode::Ms20, [48, 64, 191]), (Mode::Ms30, [64, 96, 239])] {
            let mut counted = [0; 3];
            Frame::EMPTY.clone().each(mode, |_, classes| {
                let pairs = counted.iter_mut().zip(classes);
                pairs.for_each(|(sum, bits)| *sum += u32::from(bits));
            });
            assert_eq!(counted, sums);
        }
    }

    /// RFC 3951 §3.8.
    #[test]
    fn rfc3951_3_8_the_last_bit_says_that_a_frame_was_lost() {
        let mut bytes = [0; 38];
        Frame::EMPTY.encode(Mode::Ms20, &mut bytes);
        assert!(Frame::parse(Mode::Ms20, &bytes).is_some());
        bytes[37] |= 1;
        assert_eq!(Frame::parse(Mode::Ms20, &bytes), None);
        assert_eq!(Frame::parse(Mode::Ms30, &[0; 50]), None, "starts nowhere");
    }

    proptest! {
        #[test]
        fn what_is_parsed_is_encoded_alike(bytes in prop::collection::vec(any::<u8>(), 50)) {
            for mode in [Mode::Ms20, Mode::Ms30] {
                let bytes = &bytes[..mode.bytes()];
                if let Some(frame) = Frame::parse(mode, bytes) {
                    let mut again = [0; 50];
                    frame.encode(mode, &mut again[..mode.bytes()]);
                    prop_assert_eq!(&again[..mode.bytes()], bytes);
                }
            }
        }
    }
}
