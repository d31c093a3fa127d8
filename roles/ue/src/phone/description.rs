//! What a phone says of the sound that it sends and takes, and what it understands of the other side.
//!
//! It is written and read here line by line, and not by what the server negotiates with, so that the two
//! check each other.

use std::fmt::Write as _;
use std::net::SocketAddr;

use codec::{Codec, Parameters};
use media::dtls::{Fingerprint, Setup};
use media::{MasterKey, OwnCertificate, Profile, Security};
use sdp::{Direction, Media, Sdp};
use srtp::sdes::Crypto;

use super::Settings;

/// How a phone wants its sound protected: so, or not at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protection {
    /// Plain RTP.
    #[default]
    None,
    /// By a key in the description (RFC 4568), under this profile alone.
    Sdes(Profile),
    /// By a handshake (RFC 5763), with the certificate of this fingerprint.
    Dtls(Fingerprint),
}

/// What was agreed about the sound of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sound {
    /// Where the other side takes RTP.
    pub remote: SocketAddr,
    /// What both send.
    pub codec: Codec,
    /// Its payload type, in both directions.
    pub payload_type: u8,
    /// What the other side wishes of it.
    pub parameters: Parameters,
    /// The payload type of telephone events (RFC 4733), if both know them.
    pub events: Option<u8>,
    /// How packets are protected.
    pub security: Security,
    /// Which way they go, seen from here.
    pub direction: Direction,
}

/// Our own part of a description.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ours<'a> {
    pub(super) settings: &'a Settings,
    /// With which we protect, if keys are in descriptions.
    pub(super) key: Option<&'a MasterKey>,
    pub(super) rtp: SocketAddr,
    pub(super) version: u64,
}

impl Ours<'_> {
    /// An offer of every codec.
    ///
    /// # Source
    /// RFC 3264 §5
    pub(super) fn offer(&self, direction: Direction) -> String {
        let codecs = self.settings.codecs.iter().zip(DYNAMIC..);
        let numbered = codecs.map(|(&codec, dynamic)| {
            let number = codec.static_payload_type().unwrap_or(dynamic);
            (number, codec)
        });
        let proto = match self.settings.protection {
            Protection::None => "RTP/AVP",
            Protection::Sdes(_) => "RTP/SAVP",
            Protection::Dtls(_) => "UDP/TLS/RTP/SAVP",
        };
        let numbered: Vec<_> = numbered.collect();
        let events = self.offered_events();
        self.write(proto, &numbered, &events, (1, "actpass"), direction)
    }

    /// Telephone events at the clock of each codec: payload types and clocks.
    ///
    /// # Source
    /// RFC 4733 §2.5.1.1: an event has the clock of the sound that it stands for
    fn offered_events(&self) -> Vec<(u8, u32)> {
        let mut clocks = Vec::new();
        for codec in self.settings.codecs.iter().filter(|_| self.settings.keys) {
            if !clocks.contains(&codec.clock()) {
                clocks.push(codec.clock());
            }
        }
        let first = usize::from(DYNAMIC) + self.settings.codecs.len();
        let numbers = u8::try_from(first).unwrap_or(u8::MAX)..=HIGHEST;
        numbers.zip(clocks).collect()
    }

    /// The answer to an offer, and what is agreed with it. None: there is nothing in common.
    ///
    /// # Source
    /// RFC 3264 §6
    pub(super) fn answer(&self, offer: &Sdp<'_>, wish: Direction) -> Option<(String, Sound)> {
        let media = offer.media_at(0)?;
        let (mut sound, tag) = self.understand(&media)?;
        sound.direction = both(sound.direction, wish);
        let numbered = [(sound.payload_type, sound.codec)];
        let setup = match sound.security {
            Security::Dtls { setup, .. } => setup.name(),
            _ => "",
        };
        let events = sound.events.map(|number| (number, sound.codec.clock()));
        let mut text = self.write(
            media.proto(),
            &numbered,
            events.as_slice(),
            (tag, setup),
            sound.direction,
        );
        for refused in offer.media().skip(1) {
            let (kind, proto) = (refused.kind(), refused.proto());
            let format = refused.formats().next().unwrap_or("0");
            let _ = write!(text, "m={kind} 0 {proto} {format}\r\n");
        }
        Some((text, sound))
    }

    /// What is agreed by the answer to our offer. None: it makes no sense.
    pub(super) fn hear(&self, answer: &Sdp<'_>, wish: Direction) -> Option<Sound> {
        let (mut sound, _) = self.understand(&answer.media_at(0)?)?;
        sound.direction = both(sound.direction, wish);
        Some(sound)
    }

    /// What a description of the other side comes to, and the tag of its key.
    fn understand(&self, media: &Media<'_, '_>) -> Option<(Sound, u32)> {
        let map = media.rtpmaps().find_map(|map| {
            let codec = Codec::from_rtpmap(map.name, map.clock_rate, map.channels)?;
            let known = self.settings.codecs.contains(&codec);
            let fmtp = media.fmtp(map.payload_type).unwrap_or_default();
            // RFC 3952 §5: the longer frames of both count, and what we say comes in turns of 20 ms.
            let long = codec == Codec::Ilbc && !Parameters::from_fmtp(codec, fmtp).short_frames;
            (known && !long).then_some((map.payload_type, codec))
        });
        let (payload_type, codec) = map.filter(|_| media.port() != 0)?;
        let fmtp = media.fmtp(payload_type).unwrap_or_default();
        let (security, tag) = self.security(media)?;
        let events = media.rtpmaps().find(|map| {
            let fits = map.name.eq_ignore_ascii_case(EVENTS) && map.clock_rate == codec.clock();
            fits && self.settings.keys
        });
        let sound = Sound {
            remote: media.transport()?.rtp,
            codec,
            payload_type,
            parameters: Parameters::from_fmtp(codec, fmtp),
            events: events.map(|map| map.payload_type),
            security,
            direction: media.direction().mirrored(),
        };
        Some((sound, tag))
    }

    fn security(&self, media: &Media<'_, '_>) -> Option<(Security, u32)> {
        let proto = media.proto();
        match self.settings.protection {
            Protection::None => (proto == "RTP/AVP").then_some((Security::Plain, 0)),
            Protection::Sdes(profile) => {
                let local = self.key.filter(|_| proto == "RTP/SAVP")?.clone();
                let lines = media.lines().iter().filter_map(sdp::Line::attribute);
                let keys = lines.filter(|(name, _)| *name == "crypto");
                let mut keys = keys.filter_map(|(_, value)| Crypto::parse(value).ok());
                let key = keys.find(|crypto| crypto.profile == profile)?;
                let security = Security::Sdes {
                    profile,
                    local,
                    remote: key.key,
                };
                Some((security, key.tag))
            }
            Protection::Dtls(_) => {
                let print = media.inherited("fingerprint")?;
                let setup = Setup::towards(media.inherited("setup")?)?;
                let fingerprint = Fingerprint::parse(print)?;
                let fits = proto.starts_with("UDP/TLS/RTP/SAVP") && media.mux();
                let certificate = OwnCertificate::First;
                let security = Security::Dtls {
                    fingerprint,
                    setup,
                    certificate,
                };
                fits.then_some((security, 0))
            }
        }
    }

    fn write(
        &self,
        proto: &str,
        codecs: &[(u8, Codec)],
        events: &[(u8, u32)],
        (tag, setup): (u32, &str),
        direction: Direction,
    ) -> String {
        let (ip, port) = (self.rtp.ip(), self.rtp.port());
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let mut text = format!(
            "v=0\r\no=- {port} {} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
             m=audio {port} {proto}",
            self.version
        );
        // Writing to a String can't fail.
        let numbers = codecs.iter().map(|(number, _)| number);
        for number in numbers.chain(events.iter().map(|(number, _)| number)) {
            let _ = write!(text, " {number}");
        }
        text.push_str("\r\n");
        for (number, codec) in codecs {
            let (name, clock) = (codec.name(), codec.clock());
            let channels = if codec.channels() > 1 { "/2" } else { "" };
            let _ = write!(text, "a=rtpmap:{number} {name}/{clock}{channels}\r\n");
            // RFC 3952 §5: without it frames have 30 ms, and what we say comes in turns of 20.
            if *codec == Codec::Ilbc {
                let _ = write!(text, "a=fmtp:{number} mode=20\r\n");
            }
        }
        for (number, clock) in events {
            let _ = write!(
                text,
                "a=rtpmap:{number} {EVENTS}/{clock}\r\na=fmtp:{number} 0-15\r\n"
            );
        }
        match self.settings.protection {
            Protection::None => {}
            Protection::Sdes(profile) => {
                if let Some(key) = self.key.cloned() {
                    let crypto = Crypto { tag, profile, key };
                    let _ = write!(text, "a=crypto:{}\r\n", crypto.encode());
                }
            }
            Protection::Dtls(fingerprint) => {
                let _ = write!(
                    text,
                    "a=fingerprint:{fingerprint}\r\na=setup:{setup}\r\na=rtcp-mux\r\n"
                );
            }
        }
        let _ = write!(text, "a=ptime:20\r\na={}\r\n", direction.as_str());
        text
    }
}

/// What is left of media if one side allows `a` and the other `b`, both seen from here.
fn both(a: Direction, b: Direction) -> Direction {
    let sends = |direction| matches!(direction, Direction::SendRecv | Direction::SendOnly);
    let receives = |direction| matches!(direction, Direction::SendRecv | Direction::RecvOnly);
    match (sends(a) && sends(b), receives(a) && receives(b)) {
        (true, true) => Direction::SendRecv,
        (true, false) => Direction::SendOnly,
        (false, true) => Direction::RecvOnly,
        (false, false) => Direction::Inactive,
    }
}

/// The first payload type of a codec that has none of its own.
///
/// # Source
/// RFC 3551 §6
const DYNAMIC: u8 = 96;
/// The last one.
const HIGHEST: u8 = 127;
/// RFC 4733 §2.1
const EVENTS: &str = "telephone-event";

#[cfg(test)]
mod tests {
    use sip::{Flow, Protocol, TlsPeer};

    use super::*;

    fn settings(codecs: &[Codec]) -> Settings {
        let flow = Flow {
            protocol: Protocol::Udp,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "192.0.2.2:5060".parse().unwrap(),
            connection: None,
            tls: TlsPeer::ANY,
        };
        let mut settings = Settings::new("1", "pw", "example.com", flow);
        settings.codecs = codecs.to_vec();
        settings
    }

    /// RFC 3952 §5: frames of 20 ms are asked for, and who wants 30 is spoken to in another codec.
    #[test]
    fn rfc3952_5_frames_of_ilbc_are_as_long_as_our_turns() {
        let settings = settings(&[Codec::Ilbc, Codec::Pcma]);
        let ours = Ours {
            settings: &settings,
            key: None,
            rtp: settings.rtp,
            version: 1,
        };
        let offer = ours.offer(Direction::SendRecv);
        let wanted = "a=rtpmap:96 iLBC/8000\r\na=fmtp:96 mode=20\r\n";
        assert!(offer.contains(wanted), "{offer}");
        for (mode, codec) in [
            ("a=fmtp:97 mode=20\r\n", Codec::Ilbc),
            ("a=fmtp:97 mode=30\r\n", Codec::Pcma),
            ("", Codec::Pcma),
        ] {
            let theirs = format!(
                "v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n\
                 m=audio 4000 RTP/AVP 97 8\r\na=rtpmap:97 iLBC/8000\r\n{mode}"
            );
            let theirs = Sdp::parse(&theirs).unwrap();
            let (answer, sound) = ours.answer(&theirs, Direction::SendRecv).unwrap();
            assert_eq!(sound.codec, codec, "{mode}");
            let answered = answer.contains("a=fmtp:97 mode=20\r\n");
            assert_eq!(answered, codec == Codec::Ilbc, "{answer}");
        }
    }

    /// RFC 4733 §2.5.1.1: keys are offered at the clock of each codec, and taken at that of the one agreed.
    #[test]
    fn rfc4733_2_5_1_1_keys_have_the_clock_of_the_sound() {
        let mut settings = settings(&[Codec::Opus, Codec::G722, Codec::Pcma]);
        let text = |settings: &Settings| {
            let ours = Ours {
                settings,
                key: None,
                rtp: settings.rtp,
                version: 1,
            };
            ours.offer(Direction::SendRecv)
        };
        assert!(!text(&settings).contains(EVENTS));
        settings.keys = true;
        let offer = text(&settings);
        assert!(offer.contains("RTP/AVP 96 9 8 99 100\r\n"), "{offer}");
        for line in ["99 telephone-event/48000", "100 telephone-event/8000"] {
            assert!(offer.contains(&format!("a=rtpmap:{line}\r\n")), "{offer}");
        }
        let ours = Ours {
            settings: &settings,
            key: None,
            rtp: settings.rtp,
            version: 1,
        };
        for (answer, events) in [
            ("8 101\r\na=rtpmap:101 telephone-event/8000", Some(101)),
            ("8 101\r\na=rtpmap:101 telephone-event/48000", None),
            ("8", None),
        ] {
            let answer = format!(
                "v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n\
                 m=audio 4000 RTP/AVP {answer}\r\na=rtpmap:8 PCMA/8000\r\n"
            );
            let answer = Sdp::parse(&answer).unwrap();
            let sound = ours.hear(&answer, Direction::SendRecv).unwrap();
            assert_eq!((sound.codec, sound.events), (Codec::Pcma, events));
        }
    }
}
