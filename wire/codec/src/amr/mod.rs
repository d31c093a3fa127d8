//! AMR (narrowband) and AMR-WB: frames of 20 ms at rates that may change from frame to frame.
//! [`payload`] packs them for RTP.
//!
//! # Source
//! 3GPP TS 26.071, TS 26.171; RFC 4867

#[cfg(feature = "amr")]
mod codec;
pub mod payload;

#[cfg(feature = "amr")]
pub use codec::{Decoder, Encoder};

/// Narrowband or wideband.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Band {
    /// AMR: 8 kHz, eight modes from 4.75 to 12.2 kbit/s.
    Narrow,
    /// AMR-WB: 16 kHz, nine modes from 6.6 to 23.85 kbit/s.
    Wide,
}

impl Band {
    /// Bits of a frame of this type, without header; `None`: there is no such type.
    ///
    /// # Source
    /// RFC 4867 §3.6, TS 26.101 table 1a, TS 26.201 table 1a
    #[must_use]
    pub const fn bits(self, frame_type: u8) -> Option<usize> {
        Some(match (self, frame_type) {
            (Self::Narrow, 0..=8) => NARROW_BITS[frame_type as usize],
            (Self::Wide, 0..=9) => WIDE_BITS[frame_type as usize],
            (Self::Wide, LOST) | (_, NO_DATA) => 0,
            _ => return None,
        })
    }

    /// The frame type that describes silence; those below are modes of speech.
    #[must_use]
    pub const fn silence(self) -> u8 {
        match self {
            Self::Narrow => 8,
            Self::Wide => 9,
        }
    }

    /// Samples of a frame.
    #[must_use]
    pub const fn samples(self) -> usize {
        match self {
            Self::Narrow => 160,
            Self::Wide => 320,
        }
    }
}

/// The frame type of a frame of AMR-WB that was lost on the way to the sender.
pub const LOST: u8 = 14;
/// The frame type of a frame that holds nothing.
pub const NO_DATA: u8 = 15;

const NARROW_BITS: [usize; 9] = [95, 103, 118, 134, 148, 159, 204, 244, 39];
const WIDE_BITS: [usize; 10] = [132, 177, 253, 285, 317, 365, 397, 461, 477, 40];
