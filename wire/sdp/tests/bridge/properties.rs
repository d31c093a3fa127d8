//! Whatever is offered and answered: what we write is valid for what it answers.

use proptest::prelude::*;
use sdp::Sdp;
use sdp::bridge::{Add, Encryption, Events, Keying, Policy, Use, ice};

use crate::scene::{CODECS, Scene};

fn encryption() -> impl Strategy<Value = Encryption> {
    prop_oneof![
        Just(Encryption::Forbidden),
        Just(Encryption::Follow),
        Just(Encryption::Optional),
        Just(Encryption::Required),
    ]
}

fn wish() -> impl Strategy<Value = Use> {
    prop_oneof![Just(Use::Never), Just(Use::Follow), Just(Use::Always)]
}

fn policy() -> impl Strategy<Value = Policy> {
    let keying = prop_oneof![Just(Keying::Sdes), Just(Keying::Dtls), Just(Keying::Both)];
    let codecs = proptest::sample::subsequence(vec!["opus", "PCMA", "PCMU", "G729"], 0..3);
    let uses = (wish(), wish(), wish(), wish());
    let switches = (any::<bool>(), any::<bool>(), any::<bool>());
    let events = prop_oneof![
        Just(Events::Follow),
        Just(Events::Always),
        Just(Events::Never)
    ];
    (encryption(), keying, codecs, uses, switches, events).prop_map(
        |(
            encryption,
            keying,
            codecs,
            (feedback, mux, ice, bundle),
            (keep, convert, always),
            events,
        )| {
            Policy {
                encryption,
                keying,
                feedback,
                mux,
                ice,
                bundle,
                sources: keep,
                extensions: keep,
                codecs: codecs.into_iter().map(Into::into).collect(),
                transcode: if convert { CODECS } else { &[] },
                add: if always { Add::Always } else { Add::Needed },
                events,
                ..Policy::default()
            }
        },
    )
}

/// A section; its attributes are likely ones.
fn section() -> impl Strategy<Value = String> {
    let head = "m=(audio|audio|video|image) (0|9|4000) (RTP/AVP|RTP/AVPF|RTP/SAVP|RTP/SAVPF|\
                UDP/TLS/RTP/SAVPF|udptl)( (0|8|9|18|96|97|101|111)){1,5}";
    let line = prop_oneof![
        "a=rtpmap:(96|97|101|111) (opus/48000/2|PCMA/8000|AMR-WB/16000|telephone-event/8000|x/1)",
        "a=fmtp:(96|97|101) (octet-align=1|mode-set=0,1|0-15|crc=1)",
        "a=(sendrecv|sendonly|recvonly|inactive|rtcp-mux|rtcp-rsize|bundle-only|mid:[01])",
        "a=setup:(active|passive|actpass|x)",
        Just(format!("a=fingerprint:{}", crate::scene::PRINT)),
        "a=crypto:[1-3] (AES_CM_128_HMAC_SHA1_80|AEAD_AES_128_GCM) inline:[a-zA-Z0-9]{38,40}",
        Just("a=ice-ufrag:abcd".to_owned()),
        Just("a=ice-pwd:abcdefghijklmnopqrstuv".to_owned()),
        "a=(candidate:1 1 udp 1 host 4 typ host|rtcp:[0-9]{1,4}|rtcp-fb:(96|\\*) nack|ptime:[0-9]{1,3})",
        "[bci]=(IN IP4 0\\.0\\.0\\.0|IN IP4 10\\.0\\.0\\.7|AS:64)",
    ];
    (head, proptest::collection::vec(line, 0..12)).prop_map(|(head, lines)| {
        let mut text = format!("{head}\r\n");
        for line in lines {
            text += &format!("{line}\r\n");
        }
        text
    })
}

fn description() -> impl Strategy<Value = String> {
    let sections = proptest::collection::vec(section(), 1..4);
    (
        "(a=group:BUNDLE 0 1\r\n|c=IN IP4 10\\.0\\.0\\.9\r\n|a=ice-lite\r\n){0,2}",
        sections,
    )
        .prop_map(|(session, sections)| format!("v=0\r\n{session}{}", sections.concat()))
}

/// RFC 3264 §6: as many streams, the same media and transport, formats of the offer only.
fn check(offer: &str, answer: &str) -> Result<(), TestCaseError> {
    let (offer, answer) = (Sdp::parse(offer).unwrap(), Sdp::parse(answer).unwrap());
    prop_assert_eq!(offer.media_count(), answer.media_count());
    for (offered, answered) in offer.media().zip(answer.media()) {
        prop_assert_eq!(offered.kind(), answered.kind());
        prop_assert_eq!(offered.proto(), answered.proto());
        if answered.port() == 0 {
            continue;
        }
        let all: Vec<_> = offered.formats().collect();
        for format in answered.formats() {
            prop_assert!(all.contains(&format), "{format} not in {all:?}");
        }
        let (asked, said) = (offered.direction(), answered.direction());
        prop_assert!(!said.sends() || asked.receives());
        prop_assert!(!said.receives() || asked.sends());
        prop_assert!(!answered.mux() || offered.mux());
        if answered.is_rtp() && answered.attribute("crypto").is_some() {
            let keys = ["crypto", "fingerprint"];
            prop_assert!(keys.iter().any(|name| offered.attribute(name).is_some()));
        }
        if answered.attribute("ice-ufrag").is_some() {
            prop_assert!(offer.to_string().contains("ice-ufrag"));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_answer_is_valid_for_its_offer(
        policies in [policy(), policy()],
        texts in proptest::collection::vec((0..2_usize, description(), description()), 1..4),
        dtls in any::<bool>(),
    ) {
        let mut scene = Scene::new(policies);
        scene.dtls = dtls;
        scene.ice = dtls.then_some(ice::Mode::Full);
        for (from, offer, answer) in texts {
            let Ok(onward) = scene.offer(from, &offer) else { continue };
            let counts = [&offer, &onward].map(|text| Sdp::parse(text).unwrap().media_count());
            prop_assert_eq!(counts[0], counts[1]);
            for text in [&answer, &onward] {
                if let Ok(back) = scene.answer(from, text) {
                    check(&offer, &back)?;
                }
            }
        }
    }

    #[test]
    fn an_offered_list_has_no_number_twice(
        policies in [policy(), policy()],
        offer in description(),
    ) {
        let mut scene = Scene::new(policies);
        let Ok(onward) = scene.offer(0, &offer) else { return Ok(()) };
        let (before, after) = (Sdp::parse(&offer).unwrap(), Sdp::parse(&onward).unwrap());
        for (old, new) in before.media().zip(after.media()) {
            let own = |media: &sdp::Media<'_, '_>| {
                let mut formats: Vec<_> = media.formats().map(str::to_owned).collect();
                formats.sort_unstable();
                let all = formats.len();
                formats.dedup();
                all == formats.len()
            };
            prop_assert!(own(&new) || !own(&old), "{onward}");
        }
    }
}
