//! What a request wants of a description, as the bridge between two sides has it.

use media::agreement::{SUITES, TRANSCODABLE};
use media::{Payload, PayloadKind};
use ng::{CodecSpec, Codecs, Dtls, Ice, Options, Transport};
use sdp::Sdp;
use sdp::bridge::{Add, Encryption, Keying, Policy, Suite, Use};

/// How the party is dealt with that has made an offer with these options.
pub(crate) fn of_sender(options: &Options, offer: &Sdp<'_>) -> Policy {
    let mux = &options.rtcp_mux;
    Policy {
        keying: match options.dtls {
            Some(Dtls::Off) => Keying::Sdes,
            _ => Keying::Both,
        },
        begins: options.dtls_reverse == Some(Dtls::Active),
        suites: SUITES.to_vec(),
        prefers: listed(&options.sdes.prefer),
        repacks: is_repacked(options),
        ptime: options.ptime_reverse,
        mux: if mux.reject { Use::Never } else { Use::Follow },
        ice: if options.rejects_ice {
            Use::Never
        } else {
            Use::Follow
        },
        codecs: usable(&options.codecs, offer),
        fmtp: fmtps(&options.codecs),
        transcode: transcodable(options),
        ..Policy::default()
    }
}

/// How the party is dealt with that gets the offer.
pub(crate) fn of_receiver(options: &Options, offer: &Sdp<'_>) -> Policy {
    let said = options.transport.or_else(|| transport_of(offer));
    let transport = said.unwrap_or_default();
    let mux = &options.rtcp_mux;
    let follows = options.transport.is_none() && !transport.secure;
    Policy {
        encryption: match transport.secure {
            true => Encryption::Required,
            false if options.osrtp => Encryption::Optional,
            false if follows => Encryption::Follow,
            false => Encryption::Forbidden,
        },
        keying: keying(options, transport),
        suites: suites(options, offer),
        lifetime: options.sdes.lifetime,
        ptime: options.ptime,
        feedback: match options.transport {
            None => Use::Follow,
            Some(transport) if transport.feedback => Use::Always,
            Some(_) => Use::Never,
        },
        mux: match (mux.offer || mux.require, mux.demux) {
            (true, _) => Use::Always,
            (false, true) => Use::Never,
            (false, false) => Use::Follow,
        },
        ice: match options.ice {
            Some(Ice::Force) => Use::Always,
            Some(Ice::Remove) => Use::Never,
            Some(Ice::Default) | None => Use::Follow,
        },
        // What names the sources of browsers says nothing to a phone.
        sources: transport.feedback || options.transport.is_none(),
        extensions: transport.feedback || options.transport.is_none(),
        codecs: match offered(&options.codecs, offer) {
            // New packets alone add no codec.
            none if none.is_empty() && is_repacked(options) => names(offer),
            list => list,
        },
        transcode: transcodable(options),
        fmtp: fmtps(&options.codecs),
        add: match options.codecs.transcode.is_empty() {
            true => Add::Needed,
            false => Add::Always,
        },
        ..Policy::default()
    }
}

/// Whether we begin the handshake with who has made the offer, if an answer's options say so.
pub(crate) const fn begins(options: &Options) -> Option<bool> {
    match options.dtls {
        Some(Dtls::Active) => Some(true),
        Some(Dtls::Passive) => Some(false),
        Some(Dtls::Off) | None => None,
    }
}

/// Keys in the description, unless a handshake is named or nothing else is left.
fn keying(options: &Options, transport: Transport) -> Keying {
    let dtls = transport.dtls || options.sdes.off;
    match options.dtls {
        Some(Dtls::Off) => Keying::Sdes,
        _ if dtls => Keying::Dtls,
        _ if !transport.secure => Keying::Both,
        _ => Keying::Sdes,
    }
}

/// The transport of the first stream that has one.
fn transport_of(offer: &Sdp<'_>) -> Option<Transport> {
    let mut media = offer.media().filter(|media| media.port() != 0);
    let media = media.find(|media| media.is_rtp())?;
    let transport = Transport::parse(media.proto())?;
    let keys = media.attribute("crypto").is_some();
    let handshake = media.inherited("fingerprint").is_some();
    Some(Transport {
        dtls: transport.dtls || transport.secure && handshake && !keys,
        ..transport
    })
}

/// Suites of these names, in this order.
fn listed(names: &[Box<str>]) -> Vec<Suite> {
    names.iter().filter_map(|name| Suite::parse(name)).collect()
}

/// Suites that an offer has.
fn offered_suites(offer: &Sdp<'_>) -> Vec<Suite> {
    let lines = offer.media().flat_map(|media| {
        let lines = media.lines().iter().filter_map(sdp::Line::attribute);
        let keys = lines.filter(|(name, _)| *name == "crypto");
        let suites = keys.filter_map(|(_, value)| value.split_ascii_whitespace().nth(1));
        suites.filter_map(Suite::parse).collect::<Vec<_>>()
    });
    lines.collect()
}

fn suites(options: &Options, offer: &Sdp<'_>) -> Vec<Suite> {
    let sdes = &options.sdes;
    let named = |names: &[Box<str>], suite: Suite| {
        names
            .iter()
            .any(|name| name.eq_ignore_ascii_case(suite.name()))
    };
    let theirs = offered_suites(offer);
    let mut suites: Vec<_> = if sdes.no_new && !theirs.is_empty() {
        theirs
    } else if sdes.only.is_empty() {
        let kept = SUITES.into_iter().filter(|s| !named(&sdes.without, *s));
        kept.collect()
    } else {
        let only = Suite::ALL.into_iter().filter(|s| named(&sdes.only, *s));
        only.collect()
    };
    let place = |suite: &Suite| {
        let mut order = sdes.order.iter();
        order
            .position(|name| name.eq_ignore_ascii_case(suite.name()))
            .unwrap_or(usize::MAX)
    };
    suites.sort_by_key(place);
    match suites.is_empty() {
        // Nothing would be left to talk with.
        true => SUITES.to_vec(),
        false => suites,
    }
}

/// Codecs are converted only if the request is about that: else they pass, whatever they are.
fn transcodable(options: &Options) -> &'static [sdp::bridge::Transcodable] {
    let codecs = &options.codecs;
    let converts = is_repacked(options)
        || !codecs.transcode.is_empty()
        || !codecs.mask.is_empty()
        || !codecs.accept.is_empty();
    if converts { &TRANSCODABLE } else { &[] }
}

/// Whether packets are to be of another length than they come in.
const fn is_repacked(options: &Options) -> bool {
    options.ptime.is_some() || options.ptime_reverse.is_some()
}

/// What the receiver is offered, in order; empty: whatever the sender has.
fn offered(codecs: &Codecs, offer: &Sdp<'_>) -> Vec<Box<str>> {
    let changed = [
        &codecs.strip,
        &codecs.mask,
        &codecs.offer,
        &codecs.except,
        &codecs.transcode,
    ];
    if changed.iter().all(|list| list.is_empty()) {
        return Vec::new();
    }
    let theirs = sounds(offer);
    let gone = [&codecs.strip, &codecs.mask];
    let all = gone.iter().any(|list| names_it(list, "all"));
    let full = gone.iter().any(|list| names_it(list, "full"));
    let stays = |sound: &&Sound| {
        let kept = has(&codecs.except, sound) || has(&codecs.offer, sound);
        let restored = all && has(&codecs.transcode, sound);
        let named = gone.iter().any(|list| has(list, sound));
        kept || restored || !(all || full || named)
    };
    let mut list: Vec<Box<str>> = Vec::new();
    let mut push = |name: &str| {
        if !names_it(&list, name) {
            list.push(name.into());
        }
    };
    let first = codecs.offer.iter().map(|entry| CodecSpec::parse(entry));
    first
        .filter(|wanted| theirs.iter().any(|sound| sound.is(wanted)))
        .for_each(|wanted| push(wanted.name));
    theirs.iter().filter(stays).for_each(|it| push(&it.name));
    codecs
        .transcode
        .iter()
        .map(|entry| CodecSpec::parse(entry).name)
        .for_each(&mut push);
    // To strip everything is an error, which is answered by stripping nothing.
    list
}

/// What may be used with the sender; empty: whatever it has.
fn usable(codecs: &Codecs, offer: &Sdp<'_>) -> Vec<Box<str>> {
    let gone = |sound: &Sound| has(&codecs.strip, sound) || has(&codecs.ignore, sound);
    let theirs = sounds(offer);
    if !theirs.iter().any(gone) {
        return Vec::new();
    }
    let mut list: Vec<Box<str>> = Vec::new();
    for sound in theirs.iter().filter(|sound| !gone(sound)) {
        if !names_it(&list, &sound.name) {
            list.push(sound.name.clone());
        }
    }
    list
}

/// What is said of codecs that are added.
fn fmtps(codecs: &Codecs) -> Vec<(Box<str>, Box<str>)> {
    let added = codecs.transcode.iter().map(|entry| CodecSpec::parse(entry));
    let described = added.filter(|codec| !codec.fmtp.is_empty());
    described
        .map(|codec| (codec.name.into(), codec.fmtp))
        .collect()
}

/// The bit rates at which codecs are to be encoded, of those that are named with one.
pub(crate) fn bit_rates(options: &Options) -> Vec<(Box<str>, u32)> {
    let lists = [&options.codecs.set, &options.codecs.transcode];
    let all = lists.into_iter().flatten();
    let rates = all.filter_map(|entry| {
        let codec = CodecSpec::parse(entry);
        Some((codec.name.into(), codec.bit_rate?))
    });
    rates.collect()
}

/// Has a codec encoded at its bit rate, if that is named.
pub(crate) fn set_bit_rate(payload: &mut Payload, rates: &[(Box<str>, u32)]) {
    if let PayloadKind::Codec(codec, parameters) = &mut payload.kind
        && let Some((_, rate)) = rates
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(codec.name()))
    {
        parameters.limit_rate(*codec, *rate);
    }
}

/// A codec for sound in an offer.
struct Sound {
    name: Box<str>,
    /// Hertz, and channels.
    clock: (u32, u8),
}

impl Sound {
    fn is(&self, wanted: &CodecSpec<'_>) -> bool {
        wanted.is(&self.name, self.clock)
    }
}

/// Codecs for sound in an offer.
fn sounds(offer: &Sdp<'_>) -> Vec<Sound> {
    let media = offer.media();
    let sound = media.filter(|media| media.kind().eq_ignore_ascii_case("audio"));
    let maps = sound.flat_map(|media| media.rtpmaps().collect::<Vec<_>>());
    let aside = ["telephone-event", "CN", "red"];
    maps.filter(|map| !aside.iter().any(|name| name.eq_ignore_ascii_case(map.name)))
        .map(|map| Sound {
            name: map.name.into(),
            clock: (map.clock_rate, map.channels),
        })
        .collect()
}

/// Names of the codecs for sound in an offer, each once.
fn names(offer: &Sdp<'_>) -> Vec<Box<str>> {
    let mut names: Vec<Box<str>> = Vec::new();
    for sound in sounds(offer) {
        if !names_it(&names, &sound.name) {
            names.push(sound.name);
        }
    }
    names
}

/// Whether a list names a codec of an offer.
fn has(list: &[Box<str>], sound: &Sound) -> bool {
    list.iter().any(|entry| sound.is(&CodecSpec::parse(entry)))
}

/// Whether a list has this word.
fn names_it(list: &[Box<str>], word: &str) -> bool {
    list.iter().any(|entry| entry.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=audio 4000 RTP/AVP 8 0 9 18 101\r\na=rtpmap:101 telephone-event/8000\r\n";

    fn lists(lists: &[(&str, &[&str])]) -> Options {
        let list = |words: &[&str]| ng::Value::List(words.iter().map(|w| (*w).into()).collect());
        let codec = lists.iter().map(|(k, v)| (k.as_bytes().to_vec(), list(v)));
        let codec = ng::Value::Dictionary(codec.collect());
        Options::read(&[(b"codec".to_vec(), codec)].into())
    }

    fn receiver(given: &[(&str, &[&str])]) -> Vec<String> {
        let offer = Sdp::parse(OFFER).unwrap();
        let policy = of_receiver(&lists(given), &offer);
        policy.codecs.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn lists_of_codecs_come_to_one_list() {
        assert!(receiver(&[]).is_empty());
        assert_eq!(receiver(&[("strip", &["G722", "PCMA"])]), ["PCMU", "G729"]);
        assert_eq!(
            receiver(&[("offer", &["G729"])]),
            ["G729", "PCMA", "PCMU", "G722"]
        );
        assert_eq!(
            receiver(&[("strip", &["all"]), ("except", &["PCMU"])]),
            ["PCMU"]
        );
        assert_eq!(
            receiver(&[("mask", &["all"]), ("transcode", &["opus/48000/2"])]),
            ["opus"]
        );
        let restored = [("mask", &["all"][..]), ("transcode", &["PCMU", "opus"])];
        assert_eq!(receiver(&restored), ["PCMU", "opus"]);
        assert!(
            receiver(&[("strip", &["all"])]).is_empty(),
            "that would leave nothing"
        );
        let others = receiver(&[("strip", &["PCMA/8000", "PCMU/16000", "G722/8000/2"])]);
        assert_eq!(others, ["PCMU", "G722", "G729"]);
        let added = receiver(&[("transcode", &["opus"])]);
        assert_eq!(added, ["PCMA", "PCMU", "G722", "G729", "opus"]);
    }

    #[test]
    fn parameters_of_codecs_are_passed_on() {
        let offer = Sdp::parse(OFFER).unwrap();
        let options = lists(&[
            (
                "transcode",
                &["iLBC/8000/1///mode=30", "opus/48000/2/16000"],
            ),
            ("set", &["AMR/8000/1/7400"]),
        ]);
        let policy = of_receiver(&options, &offer);
        assert_eq!(policy.fmtp, [("iLBC".into(), "mode=30".into())]);
        let rates = bit_rates(&options);
        let names: Vec<_> = rates.iter().map(|(name, rate)| (&**name, *rate)).collect();
        assert_eq!(names, [("AMR", 7400), ("opus", 16_000)]);
        let mut payload = Payload {
            number: 111,
            kind: PayloadKind::Codec(media::Codec::Opus, media::Parameters::default()),
            ptime: 20,
        };
        set_bit_rate(&mut payload, &rates);
        let PayloadKind::Codec(_, parameters) = payload.kind else {
            panic!("{payload:?}");
        };
        assert_eq!(parameters.bit_rate, Some(16_000));
    }

    #[test]
    fn codecs_are_converted_only_on_demand() {
        let offer = Sdp::parse(OFFER).unwrap();
        let plain = of_receiver(&lists(&[("strip", &["PCMA"])]), &offer);
        assert!(plain.transcode.is_empty());
        let options = lists(&[("transcode", &["opus"]), ("strip", &["PCMA"])]);
        let converts = of_sender(&options, &offer);
        assert!(!converts.transcode.is_empty());
        assert!(!converts.codecs.iter().any(|name| &**name == "PCMA"));
        assert_eq!(of_receiver(&options, &offer).add, Add::Always);
    }

    #[test]
    fn a_profile_says_which_keys() {
        let offer = Sdp::parse(OFFER).unwrap();
        let policy = |profile: &str| {
            let entry = (b"transport-protocol".to_vec(), profile.into());
            of_receiver(&Options::read(&[entry].into()), &offer)
        };
        let browser = policy("UDP/TLS/RTP/SAVPF");
        assert_eq!(browser.encryption, Encryption::Required);
        assert_eq!(
            (browser.keying, browser.feedback),
            (Keying::Dtls, Use::Always)
        );
        assert_eq!(policy("RTP/SAVP").keying, Keying::Sdes);
        assert_eq!(policy("RTP/AVP").encryption, Encryption::Forbidden);
        assert_eq!(policy("").encryption, Encryption::Follow);
    }
}
