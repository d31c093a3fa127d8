//! Streams of pictures in answers of ours: those that a conference room passes on.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::media::{Direction, Media};
use crate::session::Sdp;

/// How pictures are encoded that we can pass on to others than their sender's peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PictureCodec {
    /// RFC 7741.
    Vp8,
    /// RFC 6184, with `packetization-mode=1` and a baseline profile, which everybody who has it can
    /// show.
    H264,
}

impl PictureCodec {
    /// All, in the order in which they are preferred.
    pub const ALL: [Self; 2] = [Self::Vp8, Self::H264];

    /// Its name in `a=rtpmap`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vp8 => "VP8",
            Self::H264 => "H264",
        }
    }

    /// Whether it is this codec that a party means by these parameters.
    ///
    /// # Source
    /// RFC 6184 §8.2.2: the mode is part of what is agreed; profiles begin with 42 (baseline).
    fn suits(self, fmtp: &str) -> bool {
        let has = |wanted: &str| {
            let mut parts = fmtp.split(';').map(str::trim);
            parts.any(|part| part.to_ascii_lowercase().starts_with(wanted))
        };
        match self {
            Self::Vp8 => true,
            Self::H264 => has("packetization-mode=1") && has("profile-level-id=42"),
        }
    }
}

/// A stream of pictures that both sides can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pictures {
    /// The media section, from 0.
    pub stream: usize,
    /// The codec.
    pub codec: PictureCodec,
    /// The codec's payload type.
    pub payload_type: u8,
    /// What the party says about it.
    fmtp: Box<str>,
    /// Our direction: the mirror of the party's.
    pub direction: Direction,
    /// The party repeats packets that are said to be missing (RFC 4585 §4.2).
    pub repeats: bool,
    /// It understands Picture Loss Indication.
    pub loss: bool,
    /// It understands Full Intra Request (RFC 5104 §7.1).
    pub intra: bool,
    mux: bool,
}

impl Pictures {
    /// Finds the first open stream of pictures for which `usable` holds and that has one of `codecs`,
    /// which come in our order of preference.
    ///
    /// # Source
    /// RFC 3264 §6.1
    #[must_use]
    pub fn agree(
        party: &Sdp<'_>,
        codecs: &[PictureCodec],
        usable: impl Fn(usize) -> bool,
    ) -> Option<Self> {
        let streams = party.media().enumerate().filter(|(stream, media)| {
            media.kind().eq_ignore_ascii_case("video") && media.is_rtp() && usable(*stream)
        });
        let mut agreed = streams.filter_map(|(stream, media)| {
            let mut wanted = codecs.iter();
            wanted.find_map(|codec| Self::of(stream, &media, *codec))
        });
        agreed.next()
    }

    fn of(stream: usize, media: &Media<'_, '_>, codec: PictureCodec) -> Option<Self> {
        let mut maps = media.rtpmaps();
        let map = maps.find(|map| {
            let fmtp = media.fmtp(map.payload_type).unwrap_or_default();
            map.name.eq_ignore_ascii_case(codec.name()) && codec.suits(fmtp)
        })?;
        let number = map.payload_type;
        let wishes = |wanted: &str| {
            let mut lines = media.lines().iter().filter_map(|line| line.attribute());
            lines.any(|(name, value)| {
                let (of, what) = value.split_once(' ').unwrap_or_default();
                let ours = of == "*" || of.parse() == Ok(number);
                name == "rtcp-fb" && ours && what.trim() == wanted
            })
        };
        Some(Self {
            stream,
            codec,
            payload_type: number,
            fmtp: media.fmtp(number).unwrap_or_default().into(),
            direction: media.direction().mirrored(),
            repeats: wishes("nack"),
            loss: wishes("nack pli"),
            intra: wishes("ccm fir"),
            mux: media.mux(),
        })
    }

    /// Appends our section.
    ///
    /// # Source
    /// RFC 3264 §6.1, RFC 4585 §4.2
    pub(crate) fn encode(&self, media: &Media<'_, '_>, rtp: SocketAddr, out: &mut String) {
        let (number, name) = (self.payload_type, self.codec.name());
        let _ = write!(out, "m=video {} {} {number}\r\n", rtp.port(), media.proto());
        let _ = write!(out, "a=rtpmap:{number} {name}/90000\r\n");
        if !self.fmtp.is_empty() {
            let _ = write!(out, "a=fmtp:{number} {}\r\n", self.fmtp);
        }
        let feedback = [
            (self.repeats, "nack"),
            (self.loss, "nack pli"),
            (self.intra, "ccm fir"),
        ];
        for (_, what) in feedback.iter().filter(|(has, _)| *has) {
            let _ = write!(out, "a=rtcp-fb:{number} {what}\r\n");
        }
        if self.mux {
            out.push_str("a=rtcp-mux\r\n");
        }
        let _ = write!(out, "a={}\r\n", self.direction.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\nc=IN IP4 192.0.2.7\nt=0 0\nm=audio 4000 RTP/AVP 0\n\
        m=video 4002 RTP/AVPF 98 96 97\na=rtpmap:96 VP8/90000\na=rtpmap:97 H264/90000\n\
        a=rtpmap:98 H264/90000\na=fmtp:98 profile-level-id=42e01f;packetization-mode=1\n\
        a=rtcp-fb:96 nack\na=rtcp-fb:* nack pli\na=rtcp-fb:98 ccm fir\na=rtcp-mux\na=recvonly\n";

    fn agree(codecs: &[PictureCodec]) -> Option<Pictures> {
        Pictures::agree(&Sdp::parse(OFFER).unwrap(), codecs, |_| true)
    }

    /// RFC 3264 §6.1, RFC 4585 §4.2.
    #[test]
    fn rfc3264_6_1_our_first_codec_is_taken_with_what_the_party_can_do() {
        let offer = Sdp::parse(OFFER).unwrap();
        let vp8 = agree(&PictureCodec::ALL).unwrap();
        let mut text = String::new();
        let rtp = "192.0.2.1:5000".parse().unwrap();
        vp8.encode(&offer.media_at(1).unwrap(), rtp, &mut text);
        assert_eq!(
            text,
            "m=video 5000 RTP/AVPF 96\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\n\
             a=rtcp-fb:96 nack pli\r\na=rtcp-mux\r\na=sendonly\r\n"
        );
    }

    /// RFC 6184 §8.2.2.
    #[test]
    fn rfc6184_8_2_2_only_a_profile_that_all_can_show_is_taken() {
        let h264 = agree(&[PictureCodec::H264]).unwrap();
        assert_eq!((h264.payload_type, h264.stream), (98, 1));
        assert!(h264.intra && h264.loss && !h264.repeats);
        assert_eq!(agree(&[]), None);
        let offer = Sdp::parse(OFFER).unwrap();
        assert_eq!(
            Pictures::agree(&offer, &PictureCodec::ALL, |at| at != 1),
            None
        );
    }
}
