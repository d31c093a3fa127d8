//! Which codec: its name in SDP, its clocks and its frames.

use std::fmt;

/// A codec that sound can be encoded with and decoded from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Codec {
    /// G.711 µ-law, 8 kHz.
    Pcmu,
    /// G.711 A-law, 8 kHz.
    Pcma,
    /// G.722 at 64 kbit/s: 16 kHz sound, 8 kHz RTP clock (RFC 3551 §4.5.2).
    G722,
    /// Opus, 48 kHz RTP clock (RFC 7587).
    Opus,
    /// GSM full rate, 8 kHz (RFC 3551 §4.5.8).
    Gsm,
    /// G.723.1, 8 kHz (RFC 3551 §4.5.3).
    G7231,
    /// iLBC, 8 kHz, in frames of 20 or 30 ms (RFC 3952).
    Ilbc,
    /// G.729 with Annex A, 8 kHz (RFC 3551 §4.5.6). Only with the feature `g729`.
    G729,
    /// AMR, 8 kHz (RFC 4867). Only with the feature `amr`.
    AmrNb,
    /// AMR-WB, 16 kHz (RFC 4867). Only with the feature `amr`.
    AmrWb,
    /// Samples of 16 bits, as they are (RFC 3551 §4.5.11).
    L16 {
        /// Samples a second in each channel: 8000, 16,000 or 48,000.
        rate: u32,
        /// 1 or 2. Two channels are heard as their mean and sent alike.
        channels: u8,
    },
}

impl Codec {
    /// The codec of an `a=rtpmap` line: encoding name in any case, clock rate, and channels, 1 if
    /// the line has none. `None` for what we cannot code.
    ///
    /// # Source
    /// RFC 3551 §6, RFC 7587 §7, RFC 8866 §6.6
    #[must_use]
    pub fn from_rtpmap(name: &str, clock: u32, channels: u8) -> Option<Self> {
        if name.eq_ignore_ascii_case("L16") {
            let known = matches!(clock, 8000 | 16_000 | 48_000) && matches!(channels, 1 | 2);
            let rate = clock;
            return known.then_some(Self::L16 { rate, channels });
        }
        let meant = |codec: &Self| {
            name.eq_ignore_ascii_case(codec.name())
                && clock == codec.clock()
                && channels == codec.channels()
        };
        Self::all().find(meant)
    }

    /// The codec of a payload type that needs no `a=rtpmap` line.
    ///
    /// # Source
    /// RFC 3551 §6, tables 4 and 5
    #[must_use]
    pub fn from_static_payload_type(number: u8) -> Option<Self> {
        Self::all().find(|codec| codec.static_payload_type() == Some(number))
    }

    /// Every codec that was compiled in, without the variants of L16.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMED.into_iter().filter(|codec| codec.is_available())
    }

    /// Whether the codec was compiled in.
    #[must_use]
    pub const fn is_available(self) -> bool {
        let (g729, amr) = (cfg!(feature = "g729"), cfg!(feature = "amr"));
        match self {
            Self::G729 => g729,
            Self::AmrNb | Self::AmrWb => amr,
            _ => true,
        }
    }

    /// The encoding name as it is registered.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::Opus => "opus",
            Self::Gsm => "GSM",
            Self::G7231 => "G723",
            Self::Ilbc => "iLBC",
            Self::G729 => "G729",
            Self::AmrNb => "AMR",
            Self::AmrWb => "AMR-WB",
            Self::L16 { .. } => "L16",
        }
    }

    /// Ticks of the RTP clock in a second.
    #[must_use]
    pub const fn clock(self) -> u32 {
        match self {
            Self::AmrWb => 16_000,
            Self::Opus => 48_000,
            Self::L16 { rate, .. } => rate,
            _ => 8000,
        }
    }

    /// Samples a second of the sound that goes in and comes out, unless
    /// [`Parameters::rate`](crate::Parameters::rate) says another.
    #[must_use]
    pub const fn sample_rate(self) -> u32 {
        match self {
            Self::G722 | Self::AmrWb => 16_000,
            Self::Opus => 48_000,
            Self::L16 { rate, .. } => rate,
            _ => 8000,
        }
    }

    /// Channels as `a=rtpmap` counts them: Opus always says 2 (RFC 7587 §7). The sound that goes
    /// in and comes out is mono whatever this is.
    #[must_use]
    pub const fn channels(self) -> u8 {
        match self {
            Self::Opus => 2,
            Self::L16 { channels, .. } => channels,
            _ => 1,
        }
    }

    /// Milliseconds of one frame: what is encoded at once is a multiple. 1 where any time will do.
    /// Opus also has frames of 40 and 60 ms, but not of every multiple. iLBC has frames of 20 or of
    /// 30 ms: 10 and 50 are no multiples of either.
    #[must_use]
    pub const fn frame_ms(self) -> u8 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 | Self::L16 { .. } => 1,
            Self::G729 | Self::Opus | Self::Ilbc => 10,
            Self::Gsm | Self::AmrNb | Self::AmrWb => 20,
            Self::G7231 => 30,
        }
    }

    /// The packet length, in milliseconds, that comes nearest to `wished` from below and that the
    /// codec can make: 10, or one frame, at least, and 60 at most.
    #[must_use]
    pub const fn ptime(self, wished: u8) -> u8 {
        let frame = self.frame_ms();
        let wished = if wished > 60 { 60 } else { wished };
        match (self, wished / frame * frame) {
            (Self::Opus, 30) | (Self::Ilbc, 0..=10) => 20,
            (_, 0) if frame > 1 => frame,
            (Self::Opus | Self::Ilbc, 50) => 40,
            (_, most) if most < 10 => 10,
            (_, most) => most,
        }
    }

    /// The payload type that RFC 3551 gives it for good.
    ///
    /// # Source
    /// RFC 3551 §6, tables 4 and 5
    #[must_use]
    pub const fn static_payload_type(self) -> Option<u8> {
        match self {
            Self::Pcmu => Some(0),
            Self::Pcma => Some(8),
            Self::G722 => Some(9),
            Self::Gsm => Some(3),
            Self::G7231 => Some(4),
            Self::G729 => Some(18),
            Self::Opus | Self::Ilbc | Self::L16 { .. } | Self::AmrNb | Self::AmrWb => None,
        }
    }
}

/// As in `a=rtpmap`: `opus/48000/2`, `PCMU/8000`.
impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name(), self.clock())?;
        match self.channels() {
            1 => Ok(()),
            channels => write!(f, "/{channels}"),
        }
    }
}

/// The better ones first.
const NAMED: [Codec; 10] = [
    Codec::Opus,
    Codec::AmrWb,
    Codec::G722,
    Codec::Pcma,
    Codec::Pcmu,
    Codec::AmrNb,
    Codec::G729,
    Codec::Ilbc,
    Codec::Gsm,
    Codec::G7231,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8866 §6.6.
    #[test]
    fn what_a_line_of_rtpmap_says_comes_back() {
        let l16 = [(8000, 1), (16_000, 2), (48_000, 1)];
        let l16 = l16.map(|(rate, channels)| Codec::L16 { rate, channels });
        for codec in Codec::all().chain(l16) {
            let line = codec.to_string().to_lowercase();
            let mut parts = line.split('/');
            let name = parts.next().unwrap();
            let clock = parts.next().unwrap().parse().unwrap();
            let channels = parts.next().map_or(1, |c| c.parse().unwrap());
            assert_eq!(Codec::from_rtpmap(name, clock, channels), Some(codec));
        }
    }

    #[test]
    fn another_clock_or_channel_count_is_another_codec() {
        assert_eq!(Codec::from_rtpmap("PCMU", 16_000, 1), None);
        assert_eq!(Codec::from_rtpmap("opus", 48_000, 1), None);
        assert_eq!(Codec::from_rtpmap("G722", 16_000, 1), None);
        assert_eq!(Codec::from_rtpmap("L16", 11_025, 1), None);
        assert_eq!(Codec::from_rtpmap("L16", 8000, 3), None);
        assert_eq!(Codec::from_rtpmap("VP8", 90_000, 1), None);
    }

    #[test]
    fn packets_are_whole_frames() {
        let ptimes = |codec: Codec| [0, 10, 20, 30, 50, 60, 200].map(|ms| codec.ptime(ms));
        assert_eq!(ptimes(Codec::Pcmu), [10, 10, 20, 30, 50, 60, 60]);
        assert_eq!(ptimes(Codec::Opus), [10, 10, 20, 20, 40, 60, 60]);
        assert_eq!(ptimes(Codec::Gsm), [20, 20, 20, 20, 40, 60, 60]);
        assert_eq!(ptimes(Codec::G7231), [30, 30, 30, 30, 30, 60, 60]);
        assert_eq!(ptimes(Codec::Ilbc), [20, 20, 20, 30, 40, 60, 60]);
    }

    /// RFC 3551 §6.
    #[test]
    fn rfc3551_6_static_payload_types() {
        assert_eq!(Codec::from_static_payload_type(0), Some(Codec::Pcmu));
        assert_eq!(Codec::from_static_payload_type(8), Some(Codec::Pcma));
        assert_eq!(Codec::from_static_payload_type(9), Some(Codec::G722));
        assert_eq!(Codec::from_static_payload_type(13), None);
        assert_eq!(Codec::from_static_payload_type(96), None);
    }
}
