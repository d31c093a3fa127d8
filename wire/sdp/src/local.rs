//! Offers and answers of calls that end at us: echo, tones, prompts, the test phone.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::anchor::{Origin, encode_connection, encode_head};
use crate::levels::Levels;
use crate::media::{Direction, Media};
use crate::payload::{Codec, RtpMap};
use crate::pictures::Pictures;
use crate::session::{Sdp, value};

/// Our side of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// Our `o=` line.
    pub origin: Origin,
    /// Where we receive RTP; RTCP on the next port.
    pub rtp: SocketAddr,
}

/// What both sides can do, found in the other party's offer or answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The media section, from 0.
    pub stream: usize,
    /// The codec.
    pub codec: Codec,
    /// The codec's payload type.
    pub payload_type: u8,
    /// The payload type of telephone events (RFC 4733), if the party knows them.
    pub telephone_event: Option<TelephoneEvent>,
    /// Packet length in milliseconds: the wished one if it is 10, 20, 30, 40 or 60, else 20.
    pub ptime: u8,
    /// Our direction: the mirror of the party's.
    pub direction: Direction,
    /// The party can take RTCP on its RTP port; so can we.
    pub mux: bool,
    /// Header extensions that say how loud it is; none without an [`Endpoint`](crate::bridge::Endpoint).
    pub levels: Levels,
}

/// Telephone events as both sides can send them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// The payload type.
    pub payload_type: u8,
    /// The RTP clock's rate in hertz.
    pub clock_rate: u32,
}

/// Finds the first open, unprotected audio stream of an offer or answer and in it the first codec
/// that is in `supported`. The party's order of preference decides.
///
/// # Source
/// RFC 3264 §6.1
#[must_use]
pub fn agree(party: &Sdp<'_>, supported: &[Codec]) -> Option<Agreed> {
    let plain = |stream| {
        let media = party.media_at(stream);
        media.is_some_and(|media| matches!(media.proto(), "RTP/AVP" | "RTP/AVPF"))
    };
    agree_where(party, supported, plain).map(|agreed| Agreed {
        levels: Levels::default(),
        ..agreed
    })
}

/// As [`agree`], among the streams for which `usable` holds.
pub(crate) fn agree_where(
    party: &Sdp<'_>,
    supported: &[Codec],
    usable: impl Fn(usize) -> bool,
) -> Option<Agreed> {
    party
        .media()
        .enumerate()
        .filter(|(_, media)| media.kind().eq_ignore_ascii_case("audio") && media.port() != 0)
        .filter(|(stream, _)| usable(*stream))
        .find_map(|(stream, media)| agree_stream(stream, &media, supported))
}

fn agree_stream(stream: usize, media: &Media<'_, '_>, supported: &[Codec]) -> Option<Agreed> {
    let (codec, payload_type) = media.rtpmaps().find_map(|map| {
        let codec = map.codec().filter(|codec| supported.contains(codec))?;
        Some((codec, map.payload_type))
    })?;
    Some(Agreed {
        stream,
        codec,
        payload_type,
        telephone_event: telephone_event(media, codec),
        ptime: ptime(media),
        direction: media.direction().mirrored(),
        mux: media.mux(),
        levels: Levels::agree(media),
    })
}

/// Events on the codec's own clock are best; many phones offer them at 8 kHz beside Opus.
fn telephone_event(media: &Media<'_, '_>, codec: Codec) -> Option<TelephoneEvent> {
    let events = || media.rtpmaps().filter(RtpMap::is_telephone_event);
    let best = events()
        .find(|map| map.clock_rate == codec.clock_rate())
        .or_else(|| events().next())?;
    Some(TelephoneEvent {
        payload_type: best.payload_type,
        clock_rate: best.clock_rate,
    })
}

fn ptime(media: &Media<'_, '_>) -> u8 {
    match media.ptime() {
        Some(wished @ (10 | 20 | 30 | 40 | 60)) => wished as u8,
        _ => 20,
    }
}

/// Appends the answer to `offer`: the agreed stream is taken, all others are refused in place.
///
/// # Source
/// RFC 3264 §6
pub fn answer(offer: &Sdp<'_>, agreed: &Agreed, local: &Local, out: &mut String) {
    answer_with(offer, agreed, None, local, out);
}

/// As [`answer`], with a stream of pictures that is received at an address.
pub(crate) fn answer_with(
    offer: &Sdp<'_>,
    agreed: &Agreed,
    pictures: Option<(&Pictures, SocketAddr)>,
    local: &Local,
    out: &mut String,
) {
    let time = value(offer.session_lines(), b't').unwrap_or("0 0");
    encode_session(local, time, out);
    for (index, media) in offer.media().enumerate() {
        if index == agreed.stream {
            encode_stream(&media, agreed, local, out);
        } else if let Some((pictures, rtp)) = pictures.filter(|(p, _)| p.stream == index) {
            pictures.encode(&media, rtp, out);
        } else {
            encode_head(&media, 0, out);
        }
    }
}

fn encode_session(local: &Local, time: &str, out: &mut String) {
    out.push_str("v=0\r\n");
    local.origin.encode(out);
    out.push_str("s=-\r\n");
    encode_connection(local.rtp.ip(), out);
    let _ = write!(out, "t={time}\r\n");
}

fn encode_stream(media: &Media<'_, '_>, agreed: &Agreed, local: &Local, out: &mut String) {
    let _ = write!(out, "m=audio {} {}", local.rtp.port(), media.proto());
    let _ = write!(out, " {}", agreed.payload_type);
    if let Some(event) = agreed.telephone_event {
        let _ = write!(out, " {}", event.payload_type);
    }
    out.push_str("\r\n");
    encode_codec(agreed.codec, agreed.payload_type, out);
    if let Some(event) = agreed.telephone_event {
        encode_telephone_event(event, out);
    }
    let _ = write!(out, "a=ptime:{}\r\n", agreed.ptime);
    if agreed.mux {
        out.push_str("a=rtcp-mux\r\n");
    }
    agreed.levels.encode(out);
    let _ = write!(out, "a={}\r\n", agreed.direction.as_str());
}

/// Appends an offer of one audio stream with these codecs, in order of preference, and telephone
/// events. With no codec there is no stream.
pub fn offer(codecs: &[Codec], direction: Direction, local: &Local, out: &mut String) {
    encode_session(local, "0 0", out);
    if codecs.is_empty() {
        return;
    }
    let events = offered_events(codecs);
    let _ = write!(out, "m=audio {} RTP/AVP", local.rtp.port());
    for codec in codecs {
        let _ = write!(out, " {}", codec.payload_type());
    }
    for event in events.iter().flatten() {
        let _ = write!(out, " {}", event.payload_type);
    }
    out.push_str("\r\n");
    for &codec in codecs {
        encode_codec(codec, codec.payload_type(), out);
    }
    for &event in events.iter().flatten() {
        encode_telephone_event(event, out);
    }
    let _ = write!(out, "a=ptime:20\r\na={}\r\n", direction.as_str());
}

/// Telephone events for each clock among the codecs.
fn offered_events(codecs: &[Codec]) -> [Option<TelephoneEvent>; 2] {
    [(101, 8000), (102, 48_000)].map(|(payload_type, clock_rate)| {
        codecs
            .iter()
            .any(|codec| codec.clock_rate() == clock_rate)
            .then_some(TelephoneEvent {
                payload_type,
                clock_rate,
            })
    })
}

fn encode_codec(codec: Codec, payload_type: u8, out: &mut String) {
    let (name, clock_rate) = (codec.name(), codec.clock_rate());
    let _ = write!(out, "a=rtpmap:{payload_type} {name}/{clock_rate}");
    match codec.channels() {
        1 => {}
        channels => {
            let _ = write!(out, "/{channels}");
        }
    }
    out.push_str("\r\n");
}

/// Digits, star, pound and A–D.
fn encode_telephone_event(event: TelephoneEvent, out: &mut String) {
    let TelephoneEvent {
        payload_type,
        clock_rate,
    } = event;
    let _ = write!(
        out,
        "a=rtpmap:{payload_type} telephone-event/{clock_rate}\r\na=fmtp:{payload_type} 0-15\r\n"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: Local = Local {
        origin: Origin {
            session_id: 5,
            version: 1,
            address: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
        },
        rtp: SocketAddr::new(
            std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
            20_000,
        ),
    };

    fn answered(text: &str, supported: &[Codec]) -> Option<String> {
        let offer = Sdp::parse(text).unwrap();
        let agreed = agree(&offer, supported)?;
        let mut out = String::new();
        answer(&offer, &agreed, &LOCAL, &mut out);
        Some(out)
    }

    /// RFC 3264 §6.
    #[test]
    fn the_offerer_s_first_known_codec_is_taken_and_other_streams_refused() {
        let text = "v=0\nt=1 2\nm=video 4000 RTP/AVP 96\na=rtpmap:96 VP8/90000\n\
                    m=audio 4002 RTP/AVP 18 111 8 101 110\na=rtpmap:111 opus/48000/2\n\
                    a=rtpmap:101 telephone-event/8000\na=rtpmap:110 telephone-event/48000\n\
                    a=ptime:40\na=sendonly\na=rtcp-mux\nm=audio 4004 RTP/AVP 0\n";
        assert_eq!(
            answered(text, &Codec::ALL).unwrap(),
            "v=0\r\no=- 5 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=1 2\r\n\
             m=video 0 RTP/AVP 96\r\n\
             m=audio 20000 RTP/AVP 111 110\r\na=rtpmap:111 opus/48000/2\r\n\
             a=rtpmap:110 telephone-event/48000\r\na=fmtp:110 0-15\r\n\
             a=ptime:40\r\na=rtcp-mux\r\na=recvonly\r\n\
             m=audio 0 RTP/AVP 0\r\n"
        );
        assert!(
            answered(text, &[Codec::Pcma])
                .unwrap()
                .contains("m=audio 20000 RTP/AVP 8 101\r\n")
        );
    }

    #[test]
    fn without_a_common_codec_or_a_plain_stream_there_is_no_agreement() {
        let none = |text: &str| answered(text, &Codec::ALL).is_none();
        assert!(none("v=0\n"));
        assert!(none("v=0\nm=audio 4000 RTP/AVP 18\n"));
        assert!(none("v=0\nm=audio 0 RTP/AVP 0\n"));
        assert!(none("v=0\nm=audio 4000 RTP/SAVP 0\n"));
        assert!(none("v=0\nm=video 4000 RTP/AVP 0\n"));
        let text = "v=0\nm=audio 4000 RTP/AVP 0\n";
        assert!(answered(text, &[Codec::Opus]).is_none());
    }

    /// RFC 3264 §6.1.
    #[test]
    fn hold_is_mirrored_and_odd_packet_times_become_20() {
        let text = "v=0\nc=IN IP4 0.0.0.0\nm=audio 4000 RTP/AVP 0\na=ptime:25\n";
        let text = answered(text, &Codec::ALL).unwrap();
        assert!(text.ends_with("a=ptime:20\r\na=recvonly\r\n"));
    }

    #[test]
    fn an_offer_of_ours_is_one_that_we_agree_with() {
        let mut text = String::new();
        offer(&Codec::ALL, Direction::SendRecv, &LOCAL, &mut text);
        let parsed = Sdp::parse(&text).unwrap();
        for codec in Codec::ALL {
            let agreed = agree(&parsed, &[codec]).unwrap();
            assert_eq!(agreed.payload_type, codec.payload_type());
            let event = agreed.telephone_event.unwrap();
            assert_eq!(event.clock_rate, codec.clock_rate());
        }
        let mut text = String::new();
        offer(&[], Direction::SendRecv, &LOCAL, &mut text);
        assert_eq!(Sdp::parse(&text).unwrap().media_count(), 0);
    }
}
