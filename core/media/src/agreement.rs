//! What an offer and its answer came to, as the media workers take it.
//!
//! Every role that negotiates with [`sdp::bridge`] tells the workers of the outcome by
//! [`remote()`]; what it may offer beyond the other party's codecs is [`TRANSCODABLE`].

use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;

use codec::{Codec, Parameters};
use ice::candidate::Kind;
use ice::{Candidate, Credentials};
use sdp::bridge::ice::Mode;
use sdp::bridge::{self, Plan, Suite, Transcodable};
use sdp::{Anchor, Media, RtpMap, Sdp};
use srtp::{MasterKey, Profile};

use crate::dtls::{Fingerprint, Setup};
use crate::{
    Bundled, Ice, IcePeer, MAX_PAYLOADS, OwnCertificate, Payload, PayloadKind, Remote, Security,
    Side, StreamPorts,
};

/// Every codec that was compiled in, the better ones first.
pub static TRANSCODABLE: LazyLock<Vec<Transcodable>> = LazyLock::new(|| {
    let all = Codec::all().map(|codec| Transcodable {
        name: codec.name(),
        clock_rate: codec.clock(),
        channels: codec.channels(),
        payload_type: codec.static_payload_type(),
        fmtp: parameters(codec),
    });
    all.collect()
});

/// What we offer and take for SRTP, best first. The rare key length is left out: every line makes an
/// offer 90 octets longer.
pub const SUITES: [Suite; 5] = [
    Suite::AeadAes256Gcm,
    Suite::AeadAes128Gcm,
    Suite::Aes256CmSha1_80,
    Suite::Aes128CmSha1_80,
    Suite::Aes128CmSha1_32,
];

/// What was agreed with a side about one stream. None: its keys can't be used.
#[must_use]
pub fn remote(plan: &Plan<'_>) -> Option<Remote> {
    let own = plan.payloads.iter().map(|p| payload(p, p.number));
    // A party may send under a number of its own for what we call otherwise.
    let odd = plan.payloads.iter().filter(|p| p.received != p.number);
    // What goes over another stream's transport has nothing of its own.
    let carried = plan.bundled.is_some();
    Some(Remote {
        mux: plan.mux,
        security: match carried {
            true => Security::Plain,
            false => security(plan)?,
        },
        ice: ice(plan).filter(|_| !carried),
        payloads: own.chain(odd.map(|p| payload(p, p.received))).collect(),
        levels: plan.levels,
        ..Remote::plain(plan.rtp, plan.rtcp)
    })
}

/// As [`remote()`], with what stream `index` of `heard`, the party's last description, says about
/// payload types that pass untouched.
#[must_use]
pub fn remote_described(plan: &Plan<'_>, index: usize, heard: &Sdp<'_>) -> Option<Remote> {
    let mut remote = remote(plan)?;
    // What the parties protect by themselves tells us nothing.
    let readable = remote.payloads.is_empty() && *plan.security != bridge::Security::EndToEnd;
    let media = heard.media_at(index);
    remote.metrics = media.is_some_and(|media| asks_for_metrics(&media));
    if let Some(media) = media.filter(|_| readable) {
        remote.described = described(&media);
    }
    let media = heard.media_at(index);
    remote.bundled = media
        .zip(plan.bundled)
        .map(|(media, stream)| bundled(&media, stream));
    Some(remote)
}

/// What the packets of a stream are known by that goes over the transport of `stream`.
///
/// # Source
/// RFC 9143 §9.2, §15.1
fn bundled(media: &Media<'_, '_>, stream: usize) -> Box<Bundled> {
    let numbers = media
        .formats()
        .filter_map(|format| format.parse::<u8>().ok());
    let numbers = numbers.filter(|number| *number < 128);
    let named = media.attributes("extmap").find_map(|value| {
        let (number, name) = value.split_once(' ')?;
        // A direction may stand behind the number.
        let number = number.split('/').next()?.parse().ok()?;
        (name.split(' ').next()? == MID).then_some(number)
    });
    Box::new(Bundled {
        stream: stream as u8,
        mid: media.attribute("mid").unwrap_or_default().into(),
        extension: named,
        payload_types: numbers.fold(0, |bits, number| bits | 1 << number),
    })
}

/// The header extension that names a packet's stream.
const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";

/// Whether a party asks for reports of how it sounds.
///
/// # Source
/// RFC 3611 §5.1
fn asks_for_metrics(media: &Media<'_, '_>) -> bool {
    let wishes = media.inherited("rtcp-xr").unwrap_or_default();
    let mut formats = wishes.split_ascii_whitespace();
    formats.any(|format| format.eq_ignore_ascii_case("voip-metrics"))
}

/// Where a party on `side` is to send a stream, at our `address`. None: the stream has no ports.
#[must_use]
pub fn anchor(ports: Option<&StreamPorts>, side: Side, address: IpAddr) -> Anchor {
    let side = side.index();
    match ports.map(|ports| (ports.rtp[side], ports.rtcp[side])) {
        None | Some((0, _)) => Anchor::Refuse,
        Some((rtp, rtcp)) if rtp == rtcp => Anchor::Shared(SocketAddr::new(address, rtp)),
        Some((rtp, _)) => Anchor::At(SocketAddr::new(address, rtp)),
    }
}

/// The fingerprint of our certificate, for descriptions.
#[must_use]
pub fn fingerprint(ours: &Fingerprint) -> Option<bridge::Fingerprint> {
    bridge::Fingerprint::parse(&ours.to_string())
}

/// What we say of a codec in our own offers.
fn parameters(codec: Codec) -> &'static str {
    match codec {
        Codec::Opus => "useinbandfec=1",
        Codec::G729 => "annexb=no",
        Codec::G7231 => "annexa=no",
        Codec::AmrNb | Codec::AmrWb => "octet-align=1",
        // The party's own mode is agreed then, because the longer one of both is.
        Codec::Ilbc => "mode=20",
        _ => "",
    }
}

fn payload(agreed: &bridge::Payload, number: u8) -> Payload {
    let map = RtpMap {
        payload_type: number,
        name: &agreed.name,
        clock_rate: agreed.clock_rate,
        channels: agreed.channels,
    };
    let kind = kind(&map, &agreed.fmtp);
    Payload {
        number,
        ptime: packet_time(&kind, agreed.ptime),
        kind,
    }
}

/// The payload types of a section of sound.
fn described(media: &Media<'_, '_>) -> Vec<Payload> {
    let ptime = media.ptime().and_then(|ptime| ptime.try_into().ok());
    let payload = |map: RtpMap<'_>| {
        let kind = kind(&map, media.fmtp(map.payload_type).unwrap_or_default());
        Payload {
            number: map.payload_type,
            ptime: packet_time(&kind, ptime.unwrap_or(0)),
            kind,
        }
    };
    let sound = media.kind().eq_ignore_ascii_case("audio");
    let maps = media.rtpmaps().filter(|_| sound);
    maps.take(MAX_PAYLOADS).map(payload).collect()
}

/// The packet length that a party wishes, in milliseconds. That of iLBC says how long its frames are,
/// and the party has said which it takes: 20 and 40 are frames of 20 ms, 30 and 60 are frames of 30.
///
/// # Source
/// RFC 3952 §5
fn packet_time(kind: &PayloadKind, wished: u8) -> u8 {
    let PayloadKind::Codec(Codec::Ilbc, parameters) = kind else {
        return wished;
    };
    match (parameters.short_frames, wished) {
        (true, 40..) => 40,
        (true, _) => 20,
        (false, 60..) => 60,
        (false, _) => 30,
    }
}

fn kind(map: &RtpMap<'_>, fmtp: &str) -> PayloadKind {
    let clock = map.clock_rate;
    match Codec::from_rtpmap(map.name, clock, map.channels) {
        Some(codec) => PayloadKind::Codec(codec, Parameters::from_fmtp(codec, fmtp)),
        None if map.is_telephone_event() => PayloadKind::TelephoneEvent { clock },
        None if map.name.eq_ignore_ascii_case("CN") && clock == 8000 => PayloadKind::ComfortNoise,
        None => PayloadKind::Other {
            name: format!("{}/{clock}", map.name.to_ascii_lowercase()).into(),
        },
    }
}

fn security(plan: &Plan<'_>) -> Option<Security> {
    Some(match plan.security {
        // Keys that we have no part in pass with the packets.
        bridge::Security::Plain | bridge::Security::EndToEnd => Security::Plain,
        bridge::Security::Sdes(sdes) => {
            let profile = profile(sdes.suite);
            let key = |key: &bridge::Key| MasterKey::parse(profile, key.as_bytes()).ok();
            Security::Sdes {
                profile,
                local: key(&sdes.local)?,
                remote: key(&sdes.remote)?,
            }
        }
        bridge::Security::Dtls { fingerprint, setup } => Security::Dtls {
            fingerprint: Fingerprint::parse(&fingerprint.to_string())?,
            setup: match setup {
                bridge::Setup::Active => Setup::Active,
                _ => Setup::Passive,
            },
            certificate: match plan.second {
                false => OwnCertificate::First,
                true => OwnCertificate::Second,
            },
        },
    })
}

const fn profile(suite: Suite) -> Profile {
    match suite {
        Suite::AeadAes256Gcm => Profile::AeadAes256Gcm,
        Suite::AeadAes128Gcm => Profile::AeadAes128Gcm,
        Suite::Aes256CmSha1_80 => Profile::Aes256CmSha1_80,
        Suite::Aes192CmSha1_80 => Profile::Aes192CmSha1_80,
        Suite::Aes128CmSha1_80 => Profile::Aes128CmSha1_80,
        Suite::Aes256CmSha1_32 => Profile::Aes256CmSha1_32,
        Suite::Aes192CmSha1_32 => Profile::Aes192CmSha1_32,
        Suite::Aes128CmSha1_32 => Profile::Aes128CmSha1_32,
    }
}

/// How ways are checked. Between two that are lite nobody does: descriptions say where they are.
///
/// # Source
/// RFC 8445 §6.1.1, RFC 8839 §4.2.5
fn ice(plan: &Plan<'_>) -> Option<Ice> {
    let ice = plan.ice.as_ref()?;
    let local = Credentials::parse(&ice.local.ufrag, &ice.local.pwd).ok()?;
    match ice.mode {
        Mode::Lite => (!ice.remote_lite).then(|| Ice::lite(local)),
        Mode::Full => {
            let credentials = Credentials::parse(&ice.remote.ufrag, &ice.remote.pwd).ok()?;
            let lines = ice.candidates.iter();
            let peer = IcePeer {
                credentials,
                lite: ice.remote_lite,
                controlling: ice.controlling || ice.remote_lite,
                candidates: lines
                    .filter_map(|line| Candidate::parse(line).ok())
                    .collect(),
            };
            Some(Ice {
                local,
                peer: Some(Box::new(peer)),
            })
        }
    }
}

/// Our candidates for streams towards a party on `side`, as values of `a=candidate` with the stream's
/// index: our port at `host`, and at the `public` address of the NAT or host in front of us if that is
/// another one.
///
/// # Source
/// RFC 8445 §5.1.1.1, §5.1.1.2: the public address is what a server there would tell.
#[must_use]
pub fn candidates(
    ports: &[StreamPorts],
    side: Side,
    host: IpAddr,
    public: IpAddr,
) -> Vec<(usize, Box<str>)> {
    let side = side.index();
    let mut lines = Vec::new();
    for (index, ports) in ports.iter().enumerate() {
        let (rtp, rtcp) = (ports.rtp[side], ports.rtcp[side]);
        let second = Some((2, rtcp)).filter(|_| rtp != rtcp);
        for (component, port) in [(1, rtp)].into_iter().chain(second) {
            if port == 0 {
                continue;
            }
            let base = SocketAddr::new(host, port);
            let outside = SocketAddr::new(public, port);
            let reflexive = Candidate::new(Kind::ServerReflexive, outside, base, u16::MAX);
            let reflexive = (public != host).then_some(reflexive);
            for candidate in [Some(Candidate::host(base, u16::MAX)), reflexive] {
                let line = candidate.map(|c| c.for_component(component).to_string());
                lines.extend(line.map(|line| (index, line.into())));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(name: &str, clock_rate: u32, number: u8, received: u8) -> bridge::Payload {
        bridge::Payload {
            number,
            received,
            name: name.into(),
            clock_rate,
            channels: 1,
            fmtp: "".into(),
            ptime: 20,
        }
    }

    fn plan<'a>(security: &'a bridge::Security, payloads: &'a [bridge::Payload]) -> Plan<'a> {
        let at = "192.0.2.1:4000".parse().unwrap();
        Plan {
            rtp: at,
            rtcp: at,
            mux: true,
            security,
            ice: None,
            payloads,
            direction: sdp::Direction::SendRecv,
            bundled: None,
            levels: sdp::Levels::default(),
            second: false,
        }
    }

    #[test]
    fn a_party_that_numbers_a_codec_its_own_way_is_understood_by_both_numbers() {
        let payloads = [
            agreed("PCMU", 8000, 0, 0),
            agreed("Telephone-Event", 8000, 101, 96),
        ];
        let remote = remote(&plan(&bridge::Security::Plain, &payloads)).unwrap();
        let numbers: Vec<_> = remote.payloads.iter().map(|p| p.number).collect();
        assert_eq!(numbers, [0, 101, 96]);
        let event = PayloadKind::TelephoneEvent { clock: 8000 };
        assert!(remote.payloads[1..].iter().all(|p| p.kind == event));
        assert!(remote.mux && remote.ice.is_none());
    }

    #[test]
    fn payload_types_that_pass_untouched_are_understood_unless_they_are_hidden() {
        let text = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
                    m=audio 4000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n\
                    a=ptime:30\r\nm=video 4002 RTP/AVP 99\r\na=rtpmap:99 VP8/90000\r\n";
        let heard = Sdp::parse(text).unwrap();
        let open = plan(&bridge::Security::Plain, &[]);
        let described = remote_described(&open, 0, &heard).unwrap().described;
        let [law, events] = &described[..] else {
            panic!("{described:?}")
        };
        assert!(matches!(law.kind, PayloadKind::Codec(Codec::Pcma, _)));
        assert_eq!((law.number, law.ptime, events.number), (8, 30, 101));
        let hidden = plan(&bridge::Security::EndToEnd, &[]);
        for (plan, index) in [(&hidden, 0), (&open, 1), (&open, 2)] {
            let remote = remote_described(plan, index, &heard).unwrap();
            assert!(remote.described.is_empty());
        }
    }

    /// RFC 3952 §5.
    #[test]
    fn rfc3952_5_packets_of_ilbc_are_as_long_as_the_mode_says() {
        let cases = [
            ("mode=20", [20, 20, 40]),
            ("mode=30", [30, 30, 60]),
            ("", [30, 30, 60]),
        ];
        for (fmtp, expected) in cases {
            let lengths = [20, 30, 60].map(|ptime| {
                let mut agreed = agreed("iLBC", 8000, 97, 97);
                (agreed.fmtp, agreed.ptime) = (fmtp.into(), ptime);
                payload(&agreed, 97).ptime
            });
            assert_eq!(lengths, expected, "{fmtp}");
            assert!(lengths.iter().all(|ms| Codec::Ilbc.ptime(*ms) == *ms));
        }
    }

    #[test]
    fn rfc5763_5_the_part_in_the_handshake_is_ours() {
        let value = format!("sha-256 {}", vec!["AB"; 32].join(":"));
        let fingerprint = bridge::Fingerprint::parse(&value).unwrap();
        let setup = bridge::Setup::Active;
        let security = bridge::Security::Dtls { fingerprint, setup };
        let remote = remote(&plan(&security, &[])).unwrap();
        let Security::Dtls {
            fingerprint, setup, ..
        } = remote.security
        else {
            panic!("{:?}", remote.security);
        };
        assert_eq!(setup, Setup::Active);
        assert_eq!(fingerprint.to_string(), value);
        let ours = super::fingerprint(&fingerprint).unwrap();
        assert_eq!(ours.to_string(), value);
    }

    #[test]
    fn rfc8445_5_1_1_behind_a_nat_there_are_two_candidates_for_each_port() {
        let ports = StreamPorts {
            rtp: [4000, 0],
            rtcp: [4001, 0],
        };
        let (host, public) = ("10.0.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let lines = candidates(&[ports], Side::Caller, host, public);
        let parsed: Vec<_> = lines
            .iter()
            .map(|(_, line)| Candidate::parse(line).unwrap())
            .collect();
        let told: Vec<_> = parsed
            .iter()
            .map(|c| (c.component, c.socket_address().unwrap().to_string()))
            .collect();
        let told: Vec<_> = told.iter().map(|(n, at)| (*n, &**at)).collect();
        assert_eq!(
            told,
            [
                (1, "10.0.0.1:4000"),
                (1, "192.0.2.1:4000"),
                (2, "10.0.0.1:4001"),
                (2, "192.0.2.1:4001"),
            ]
        );
        assert_eq!(parsed[1].related, parsed[0].socket_address());
        assert_eq!(candidates(&[ports], Side::Caller, host, host).len(), 2);
        assert!(candidates(&[ports], Side::Callee, host, public).is_empty());
    }

    #[test]
    fn rfc8445_6_1_1_a_lite_party_is_where_its_description_says() {
        let credentials = |n: usize| bridge::ice::Credentials {
            ufrag: "u".repeat(n).into(),
            pwd: "p".repeat(24).into(),
        };
        let mut plan = plan(&bridge::Security::Plain, &[]);
        plan.ice = Some(bridge::Ice {
            mode: Mode::Lite,
            controlling: false,
            local: credentials(8),
            remote: credentials(4),
            remote_lite: false,
            candidates: vec![
                "1 1 udp 9 192.0.2.9 4000 typ host".into(),
                "this is none".into(),
            ],
            complete: true,
        });
        let ours = remote(&plan).unwrap().ice.unwrap();
        assert_eq!((ours.local.ufrag(), ours.peer), ("uuuuuuuu", None));
        plan.ice.as_mut().unwrap().remote_lite = true;
        assert_eq!(remote(&plan).unwrap().ice, None);
        // Where we are full, we look for it there, and it has to follow.
        plan.ice.as_mut().unwrap().mode = Mode::Full;
        let peer = remote(&plan).unwrap().ice.unwrap().peer.unwrap();
        assert!(peer.lite && peer.controlling);
        assert_eq!(
            (peer.credentials.ufrag(), peer.candidates.len()),
            ("uuuu", 1)
        );
    }

    /// RFC 3611 §5.1: asked for in a stream, or for all of them.
    #[test]
    fn rfc3611_5_1_reports_of_the_sound_are_asked_for_in_descriptions() {
        let asks = |session: &str, stream: &str| {
            let text = format!(
                "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
                 {session}m=audio 4000 RTP/AVP 0\r\n{stream}"
            );
            let sdp = Sdp::parse(&text).unwrap();
            asks_for_metrics(&sdp.media_at(0).unwrap())
        };
        let line = "a=rtcp-xr:rcvr-rtt=all:10 VoIP-metrics\r\n";
        assert!(asks("", line) && asks(line, ""));
        assert!(!asks("", "") && !asks("", "a=rtcp-xr:pkt-loss-rle\r\n"));
    }
}
