//! Which codecs a description may offer, and in which order.

use std::fmt::Write as _;

use crate::media::Media;
use crate::session::Sdp;

impl Sdp<'_> {
    /// The same description with no other codecs for sound than these, best first; they are named as
    /// in `a=rtpmap`, in any case. What is no codec stays behind them: telephone events and comfort
    /// noise. Other media pass as they are.
    ///
    /// None: a stream of sound would have no codec left.
    ///
    /// # Source
    /// RFC 3264 §5.1 (order of preference), RFC 8866 §5.14
    #[must_use]
    pub fn with_codecs(&self, allowed: &[Box<str>]) -> Option<String> {
        let mut text = String::with_capacity(512);
        for line in self.session_lines() {
            line.encode(&mut text);
        }
        for media in self.media() {
            if media.kind() != "audio" || !media.is_rtp() || media.port() == 0 {
                media.lines().iter().for_each(|line| line.encode(&mut text));
                continue;
            }
            encode_with(&media, &kept(&media, allowed)?, &mut text);
        }
        Some(text)
    }
}

/// The payload types that stay, in their new order. None: no codec is among them.
fn kept(media: &Media<'_, '_>, allowed: &[Box<str>]) -> Option<Vec<u8>> {
    let of = |name: &str| -> Vec<u8> {
        let same = media
            .rtpmaps()
            .filter(|map| map.name.eq_ignore_ascii_case(name));
        same.map(|map| map.payload_type).collect()
    };
    let mut kept: Vec<u8> = allowed.iter().flat_map(|name| of(name)).collect();
    let codecs = kept.len();
    for name in ["telephone-event", "CN"] {
        let types = of(name);
        let new = types.iter().filter(|kind| !kept.contains(kind)).copied();
        kept.extend(new.collect::<Vec<_>>());
    }
    (codecs > 0).then_some(kept)
}

fn encode_with(media: &Media<'_, '_>, kept: &[u8], text: &mut String) {
    let _ = write!(text, "m=audio {} {}", media.port(), media.proto());
    for kind in kept {
        let _ = write!(text, " {kind}");
    }
    text.push_str("\r\n");
    for line in &media.lines()[1..] {
        let of_dropped = line.attribute().is_some_and(|(name, value)| {
            let about_codec = matches!(name, "rtpmap" | "fmtp" | "rtcp-fb");
            let kind = value.split_ascii_whitespace().next();
            let kind = kind.and_then(|kind| kind.parse::<u8>().ok());
            about_codec && kind.is_some_and(|kind| !kept.contains(&kind))
        });
        if !of_dropped {
            line.encode(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=audio 4000 RTP/AVP 96 0 8 101\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=sendrecv\r\n\
        m=video 4002 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n";

    fn with(names: &[&str]) -> Option<String> {
        let names: Vec<Box<str>> = names.iter().map(|&name| name.into()).collect();
        Sdp::parse(OFFER).unwrap().with_codecs(&names)
    }

    #[test]
    fn rfc3264_5_1_only_what_is_allowed_is_offered_and_in_that_order() {
        let text = with(&["pcma", "PCMU", "G729"]).unwrap();
        assert!(text.contains("m=audio 4000 RTP/AVP 8 0 101\r\n"), "{text}");
        assert!(!text.contains("opus") && !text.contains("useinbandfec"));
        assert!(text.contains("a=fmtp:101 0-16\r\n") && text.contains("a=sendrecv\r\n"));
        assert!(text.contains("m=video 4002 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n"));
        let again = Sdp::parse(&text).unwrap().with_codecs(&["PCMA".into()]);
        assert!(again.unwrap().contains("m=audio 4000 RTP/AVP 8 101\r\n"));
    }

    #[test]
    fn without_a_codec_in_common_there_is_nothing_to_offer() {
        assert_eq!(with(&["G729"]), None);
    }
}
