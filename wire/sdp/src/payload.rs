//! Payload types and the codecs behind them.

use memchr::memchr2;

use crate::session::{Line, attributes};

/// The codec behind a payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpMap<'a> {
    /// The payload type, 0–127.
    pub payload_type: u8,
    /// The encoding's name; case does not matter.
    pub name: &'a str,
    /// The RTP clock's rate in hertz.
    pub clock_rate: u32,
    /// Channels of sound; 1 if not said.
    pub channels: u8,
}

impl<'a> RtpMap<'a> {
    fn parse(payload_type: u8, value: &'a str) -> Option<Self> {
        let mut fields = value.trim_ascii().split('/');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let clock_rate = fields.next()?.parse().ok()?;
        let channels = fields.next().and_then(|n| n.parse().ok()).unwrap_or(1);
        Some(Self {
            payload_type,
            name,
            clock_rate,
            channels,
        })
    }

    /// The codec, if calls that end at us can use it.
    #[must_use]
    pub fn codec(&self) -> Option<Codec> {
        Codec::ALL.into_iter().find(|codec| {
            self.name.eq_ignore_ascii_case(codec.name())
                && self.clock_rate == codec.clock_rate()
                && self.channels == codec.channels()
        })
    }

    /// Whether this is DTMF as telephone events (RFC 4733).
    #[must_use]
    pub fn is_telephone_event(&self) -> bool {
        self.name.eq_ignore_ascii_case("telephone-event")
    }
}

/// A codec that calls which end at us can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722 at 64 kbit/s; its RTP clock runs at 8 kHz though it samples at 16 (RFC 3551 §4.5.2).
    G722,
    /// Opus; always written as two channels (RFC 7587 §7).
    Opus,
}

impl Codec {
    /// All codecs.
    pub const ALL: [Self; 4] = [Self::Pcmu, Self::Pcma, Self::G722, Self::Opus];

    /// The encoding's name in `a=rtpmap`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::Opus => "opus",
        }
    }

    /// The RTP clock's rate in hertz.
    #[must_use]
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 8000,
            Self::Opus => 48_000,
        }
    }

    /// The channels in `a=rtpmap`.
    #[must_use]
    pub const fn channels(self) -> u8 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 1,
            Self::Opus => 2,
        }
    }

    /// The payload type that we offer: the static one, or 96 for Opus.
    #[must_use]
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
            Self::G722 => 9,
            Self::Opus => 96,
        }
    }
}

/// The codec of a payload type: by what its `a=rtpmap` says, else by RFC 3551.
pub(crate) fn rtpmap(payload_type: u8, written: Option<&str>) -> Option<RtpMap<'_>> {
    match written {
        Some(value) => RtpMap::parse(payload_type, value),
        None => static_rtpmap(payload_type),
    }
}

/// What the `a=rtpmap` lines say of payload types, in order.
pub(crate) fn written_rtpmaps<'a>(lines: &[Line<'a>]) -> Vec<(u8, &'a str)> {
    attributes(lines, "rtpmap")
        .filter_map(split_payload_type)
        .collect()
}

/// What follows the payload type in the first attribute `name` that starts with it.
pub(crate) fn of_payload_type<'a>(
    lines: &[Line<'a>],
    name: &'static str,
    payload_type: u8,
) -> Option<&'a str> {
    attributes(lines, name)
        .filter_map(split_payload_type)
        .find(|(found, _)| *found == payload_type)
        .map(|(_, rest)| rest)
}

fn split_payload_type(value: &str) -> Option<(u8, &str)> {
    let space = memchr2(b' ', b'\t', value.as_bytes())?;
    Some((value[..space].parse().ok()?, value[space..].trim_ascii()))
}

/// Payload types that need no `a=rtpmap` line.
///
/// # Source
/// RFC 3551 §6
fn static_rtpmap(payload_type: u8) -> Option<RtpMap<'static>> {
    let (name, clock_rate, channels) = match payload_type {
        0 => ("PCMU", 8000, 1),
        3 => ("GSM", 8000, 1),
        4 => ("G723", 8000, 1),
        5 => ("DVI4", 8000, 1),
        6 => ("DVI4", 16_000, 1),
        7 => ("LPC", 8000, 1),
        8 => ("PCMA", 8000, 1),
        9 => ("G722", 8000, 1),
        10 => ("L16", 44_100, 2),
        11 => ("L16", 44_100, 1),
        12 => ("QCELP", 8000, 1),
        13 => ("CN", 8000, 1),
        14 => ("MPA", 90_000, 1),
        15 => ("G728", 8000, 1),
        16 => ("DVI4", 11_025, 1),
        17 => ("DVI4", 22_050, 1),
        18 => ("G729", 8000, 1),
        25 => ("CelB", 90_000, 1),
        26 => ("JPEG", 90_000, 1),
        28 => ("nv", 90_000, 1),
        31 => ("H261", 90_000, 1),
        32 => ("MPV", 90_000, 1),
        33 => ("MP2T", 90_000, 1),
        34 => ("H263", 90_000, 1),
        _ => return None,
    };
    Some(RtpMap {
        payload_type,
        name,
        clock_rate,
        channels,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sdp;

    /// RFC 8866 §6.6, RFC 3551 §6.
    #[test]
    fn a_line_goes_before_the_static_type() {
        let text = "v=0\nm=audio 1 RTP/AVP 8 0 96 97 98 300\na=rtpmap:0 X-OWN/16000\n\
                    a=rtpmap:96 OPUS/48000/2\na=rtpmap:97 bad\na=fmtp:96 useinbandfec=1; x=y\n";
        let sdp = Sdp::parse(text).unwrap();
        let audio = sdp.media_at(0).unwrap();
        let maps: Vec<_> = audio.rtpmaps().collect();
        assert_eq!(maps.len(), 3);
        assert_eq!(maps[0].codec(), Some(Codec::Pcma));
        assert_eq!((maps[1].name, maps[1].clock_rate), ("X-OWN", 16_000));
        assert_eq!(maps[1].codec(), None);
        assert_eq!(maps[2].codec(), Some(Codec::Opus));
        assert_eq!(audio.fmtp(96), Some("useinbandfec=1; x=y"));
        assert_eq!(audio.fmtp(8), None);
        assert_eq!(audio.rtpmap(98), None);
    }

    /// RFC 7587 §7, RFC 4733.
    #[test]
    fn a_codec_is_known_by_its_own_offer() {
        for codec in Codec::ALL {
            let value = format!(
                "{}/{}/{}",
                codec.name(),
                codec.clock_rate(),
                codec.channels()
            );
            let map = RtpMap::parse(codec.payload_type(), &value).unwrap();
            assert_eq!(map.codec(), Some(codec));
        }
    }
}
