//! Descriptions as real phones and browsers write them.

use sdp::bridge::{Add, Encryption, Keying, Policy, Security, Use, ice};
use sdp::{Direction, Sdp};

use crate::scene::{CODECS, Scene, has, values};

const BARESIP: &str = include_str!("../data/baresip.sdp");
const LINPHONE: &str = include_str!("../data/linphone.sdp");
const CHROMIUM: &str = include_str!("../data/chromium.sdp");
const FIREFOX: &str = include_str!("../data/firefox.sdp");
const SDES: &str = include_str!("../data/baresip-sdes.sdp");
const ASTERISK: &str = include_str!("../data/asterisk.sdp");
const FREESWITCH: &str = include_str!("../data/freeswitch.sdp");
const IMS: &str = include_str!("../data/ims.sdp");

/// As a deskphone behind us is treated.
fn phone() -> Policy {
    Policy {
        transcode: CODECS,
        feedback: Use::Never,
        sources: false,
        extensions: false,
        ..Policy::default()
    }
}

/// As a browser is treated.
fn browser() -> Policy {
    Policy {
        encryption: Encryption::Required,
        keying: Keying::Dtls,
        feedback: Use::Always,
        mux: Use::Always,
        ice: Use::Always,
        transcode: CODECS,
        ..Policy::default()
    }
}

fn scene(policies: [Policy; 2]) -> Scene {
    let mut scene = Scene::new(policies);
    scene.ice = Some(ice::Mode::Lite);
    scene
}

/// RFC 8445 §6.1.1: who offers chooses the way; §10.
#[test]
fn rfc8445_6_1_1_a_full_agent_says_nothing_of_lite_and_knows_who_chooses() {
    let mut scene = Scene::new([browser(), browser()]);
    scene.ice = Some(ice::Mode::Full);
    let offer = scene.offer(0, CHROMIUM).unwrap();
    scene
        .answer(0, &CHROMIUM.replace("actpass", "active"))
        .unwrap();
    for (side, chooses) in [(0, false), (1, true)] {
        let ice = scene.plan(side, 0, |plan| plan.ice.unwrap()).unwrap();
        assert_eq!((ice.mode, ice.controlling), (ice::Mode::Full, chooses));
    }
    assert!(
        !has(&offer, "a=ice-lite") && has(&offer, "a=ice-options:ice2"),
        "{offer}"
    );
    // The party begins anew, and is still told what it was told.
    scene.ice = Some(ice::Mode::Lite);
    let again = scene.offer(0, CHROMIUM).unwrap();
    assert!(has(&again, "a=ice-options:ice2"), "{again}");
}

/// RFC 8839 §5.1, RFC 8445 §5.1.1: candidates of our own choice instead of the stream's address.
#[test]
fn rfc8839_5_1_our_candidates_are_those_that_we_have_gathered() {
    let mut scene = scene([phone(), browser()]);
    let own = [
        "host 1 UDP 9 10.0.0.1 30000 typ host",
        "host 2 UDP 8 10.0.0.1 30001 typ host",
    ];
    scene.candidates = own.map(|line| (0, line.into())).to_vec();
    let offer = scene.offer(0, BARESIP).unwrap();
    assert_eq!(values(&offer, "candidate"), own);
    // Who answers that RTP and RTCP share a port has no second component.
    let mut scene = self::scene([browser(), phone()]);
    scene.offer(0, CHROMIUM).unwrap();
    scene.candidates = own.map(|line| (0, line.into())).to_vec();
    let answer = scene.answer(0, BARESIP).unwrap();
    assert_eq!(values(&answer, "candidate"), own[..1]);
}

#[test]
fn a_browser_calls_a_phone() {
    let mut scene = scene([browser(), phone()]);
    let offer = scene.offer(0, CHROMIUM).unwrap();
    for name in [
        "ssrc",
        "msid",
        "extmap",
        "rtcp-fb",
        "candidate",
        "ice-ufrag",
        "fingerprint",
    ] {
        assert!(values(&offer, name).is_empty(), "{name} in {offer}");
    }
    assert!(offer.contains("m=audio 30000 RTP/AVP"), "{offer}");
    let answer = scene.answer(0, BARESIP).unwrap();
    assert!(
        answer.contains("m=audio 20000 UDP/TLS/RTP/SAVPF 111 9 8 0 126\r\n"),
        "{answer}"
    );
    assert!(has(&answer, "a=ice-lite") && has(&answer, "a=end-of-candidates"));
    let host = "1 1 UDP 2130706431 192.0.2.1 20000 typ host";
    assert_eq!(values(&answer, "candidate"), [host]);
    let ice = scene.plan(0, 0, |plan| plan.ice.unwrap()).unwrap();
    assert_eq!((&*ice.remote.ufrag, ice.candidates.len()), ("LHMg", 1));
    assert!(!ice.complete, "it trickles");
    assert_eq!(values(&answer, "ice-ufrag"), [&*ice.local.ufrag]);
    assert!(scene.plan(1, 0, |plan| plan.ice.is_none()).unwrap());
}

#[test]
fn a_phone_calls_a_browser() {
    let mut scene = scene([phone(), browser()]);
    let offer = scene.offer(0, SDES).unwrap();
    assert!(
        offer.contains("m=audio 30000 UDP/TLS/RTP/SAVPF 96 8 0 101\r\n"),
        "{offer}"
    );
    assert!(values(&offer, "crypto").is_empty() && has(&offer, "a=rtcp-mux"));
    assert_eq!(values(&offer, "ice-ufrag").len(), 1);
    let answer = CHROMIUM.replace("actpass", "active").replace("111", "96");
    let answer = scene.answer(0, &answer).unwrap();
    assert!(
        answer.contains("m=audio 20000 RTP/SAVP 96 0 8 101\r\n"),
        "{answer}"
    );
    assert!(values(&answer, "candidate").is_empty() && values(&answer, "fingerprint").is_empty());
    assert!(
        scene
            .plan(1, 0, |plan| plan.ice.is_some() && plan.mux)
            .unwrap()
    );
}

#[test]
fn browsers_call_each_other_with_video() {
    let both = || Policy {
        bundle: Use::Follow,
        ..browser()
    };
    let mut scene = scene([both(), both()]);
    let offer = scene.offer(0, FIREFOX).unwrap();
    assert!(
        offer.contains("m=video 30002 UDP/TLS/RTP/SAVPF 120 126\r\n"),
        "{offer}"
    );
    assert_eq!(
        values(&offer, "rtcp-fb"),
        ["120 nack", "120 nack pli", "126 nack pli"]
    );
    assert!(has(&offer, "a=rtcp-rsize") && values(&offer, "extmap").len() == 2);
    let answer = FIREFOX
        .replace("actpass", "passive")
        .replace("UDP/TLS/RTP/SAVPF 120 126", "UDP/TLS/RTP/SAVPF 126");
    let answer = scene.answer(0, &answer).unwrap();
    assert_eq!(values(&answer, "group"), ["BUNDLE 0 1"]);
    assert!(
        answer.contains("m=video 20000 UDP/TLS/RTP/SAVPF 126\r\n"),
        "{answer}"
    );
    assert_eq!(scene.plan(0, 1, |plan| plan.bundled), Some(Some(0)));
    assert_eq!(
        scene.plan(1, 1, |plan| plan.bundled),
        Some(None),
        "not offered there"
    );
}

#[test]
fn rfc9143_7_2_a_side_that_wants_it_is_offered_one_port() {
    let bundling = Policy {
        bundle: Use::Always,
        ..browser()
    };
    let mut scene = scene([browser(), bundling]);
    let unbundled = FIREFOX.replace("a=group:BUNDLE 0 1\n", "");
    let offer = scene.offer(0, &unbundled).unwrap();
    let sdp = Sdp::parse(&offer).unwrap();
    let mids: Vec<_> = sdp
        .media()
        .filter_map(|media| media.attribute("mid"))
        .collect();
    assert_eq!(mids.len(), sdp.media_count(), "{offer}");
    assert_eq!(values(&offer, "group"), ["BUNDLE 0 1"]);
    let answer = FIREFOX.replace("actpass", "active");
    scene.answer(0, &answer).unwrap();
    assert_eq!(scene.plan(1, 1, |plan| plan.bundled), Some(Some(0)));
}

#[test]
fn an_ims_phone_calls_a_browser_and_keeps_its_own_lines() {
    let mut scene = scene([phone(), browser()]);
    let offer = scene.offer(0, IMS).unwrap();
    assert!(offer.contains("UDP/TLS/RTP/SAVPF 97 98 "), "{offer}");
    assert!(has(&offer, "a=des:qos mandatory local sendrecv") && has(&offer, "b=AS:41"));
    assert!(offer.contains("opus/48000/2") && offer.contains("m=message 30002 TCP/MSRP *"));
    let browsers = CHROMIUM.replace("actpass", "active");
    let opus = values(&offer, "rtpmap")
        .into_iter()
        .find(|v| v.contains("opus"))
        .unwrap();
    let number = opus.split(' ').next().unwrap();
    let browsers = browsers.replace("SAVPF 111 63 9 0 8 13 110 126", &format!("SAVPF {number}"));
    let browsers = browsers.replace("rtpmap:111", &format!("rtpmap:{number}"));
    let answer = scene.answer(0, &browsers).unwrap();
    assert!(answer.contains("m=audio 20000 RTP/AVP 97"), "{answer}");
    assert!(answer.contains("m=message 0 TCP/MSRP *"), "{answer}");
    assert!(scene.plan(0, 0, |plan| !plan.payloads.is_empty()).unwrap());
}

#[test]
fn plain_servers_change_nothing_but_addresses() {
    for text in [BARESIP, FREESWITCH] {
        let converting = || Policy {
            transcode: CODECS,
            ..Policy::default()
        };
        let mut scene = scene([converting(), converting()]);
        let offer = scene.offer(0, text).unwrap();
        let ours = |line: &&str| {
            let bound = ["o=", "c=", "m=", "a=rtcp:", "a=rtcp-mux"];
            !bound.iter().any(|kind| line.starts_with(kind))
        };
        let kept =
            |text: &str| -> Vec<String> { text.lines().filter(ours).map(str::to_owned).collect() };
        assert_eq!(kept(&offer), kept(text));
        let answer = scene.answer(0, text).unwrap();
        assert_eq!(kept(&answer), kept(text));
        assert!(scene.plan(0, 0, |plan| plan.payloads.is_empty()).unwrap());
    }
}

#[test]
fn every_pair_of_peers_comes_to_an_answer() {
    let peers = [
        BARESIP, LINPHONE, CHROMIUM, FIREFOX, SDES, ASTERISK, FREESWITCH, IMS,
    ];
    for offerer in peers {
        for answerer in peers {
            let mut scene = scene([phone(), phone()]);
            scene.policies[0].ice = Use::Follow;
            for policy in &mut scene.policies {
                policy.add = Add::Always;
            }
            let offer = scene.offer(0, offerer).unwrap();
            // The answerer has its own addresses and codecs, and the profile that it was offered.
            let proto = Sdp::parse(&offer)
                .unwrap()
                .media_at(0)
                .unwrap()
                .proto()
                .to_owned();
            let own = Sdp::parse(answerer)
                .unwrap()
                .media_at(0)
                .unwrap()
                .proto()
                .to_owned();
            let answer = answerer.replace(&format!(" {own} "), &format!(" {proto} "));
            let answer: String = answer
                .lines()
                .filter(|line| !line.starts_with("a=crypto") && !line.starts_with("a=fingerprint"))
                .map(|line| format!("{line}\r\n"))
                .collect();
            let answer = scene.answer(0, &answer).unwrap();
            let keyed = scene.plan(0, 0, |plan| plan.security.is_keyed()).unwrap();
            assert_eq!(keyed, offerer.contains("SAVP"), "{answer}");
        }
    }
}

#[test]
fn rfc3264_6_an_answer_spells_the_kind_of_media_as_its_offer_does() {
    let mut scene = scene([phone(), phone()]);
    scene.offer(0, BARESIP).unwrap();
    let answer = BARESIP.replace("m=audio", "m=Audio");
    let answer = scene.answer(0, &answer).unwrap();
    assert!(answer.contains("m=audio 20000 RTP/AVP"), "{answer}");
}

#[test]
fn rfc3264_8_4_hold_goes_through_with_every_kind_of_keys() {
    let mut scene = scene([browser(), phone()]);
    scene.offer(0, CHROMIUM).unwrap();
    scene.answer(0, BARESIP).unwrap();
    let held = BARESIP.replace("c=IN IP4 10.0.0.9", "c=IN IP4 0.0.0.0");
    let offer = scene.offer(1, &held).unwrap();
    let sdp = Sdp::parse(&offer).unwrap();
    let audio = sdp.media_at(0).unwrap();
    assert_eq!(audio.direction(), Direction::SendOnly, "{offer}");
    assert_eq!(audio.proto(), "UDP/TLS/RTP/SAVPF");
    assert!(has(&offer, "a=setup:actpass") && values(&offer, "ice-ufrag").len() == 1);
    let answer = CHROMIUM.replace("actpass", "active");
    let answer = scene.answer(1, &answer).unwrap();
    let sdp = Sdp::parse(&answer).unwrap();
    assert_eq!(
        sdp.media_at(0).unwrap().direction(),
        Direction::RecvOnly,
        "{answer}"
    );
}

#[test]
fn rfc8839_4_4_1_1_new_credentials_of_a_browser_call_for_new_ones_of_ours() {
    let mut scene = scene([browser(), phone()]);
    scene.offer(0, CHROMIUM).unwrap();
    let first = scene.answer(0, BARESIP).unwrap();
    scene.offer(0, CHROMIUM).unwrap();
    let same = scene.answer(0, BARESIP).unwrap();
    assert_eq!(values(&first, "ice-ufrag"), values(&same, "ice-ufrag"));
    let restart = CHROMIUM.replace("LHMg", "abcd").replace("jXTr", "abcd");
    scene.offer(0, &restart).unwrap();
    let other = scene.answer(0, BARESIP).unwrap();
    assert_ne!(values(&first, "ice-ufrag"), values(&other, "ice-ufrag"));
}

#[test]
fn rfc8839_4_4_1_1_1_a_browser_that_is_led_elsewhere_begins_afresh() {
    let mut scene = scene([browser(), phone()]);
    scene.offer(0, CHROMIUM).unwrap();
    let first = scene.answer(0, BARESIP).unwrap();
    assert_eq!(scene.plan(0, 0, |plan| plan.second), Some(false));
    scene.ends[0].restart_checks();
    scene.ends[0].change_certificate();
    assert!(scene.ends[0].shows_second());
    let offer = scene.offer(1, BARESIP).unwrap();
    assert_ne!(values(&first, "ice-ufrag"), values(&offer, "ice-ufrag"));
    assert!(has(&offer, "a=setup:actpass"), "{offer}");
    let answer = CHROMIUM.replace("actpass", "active");
    scene.answer(1, &answer).unwrap();
    assert_eq!(scene.plan(0, 0, |plan| plan.second), Some(true));
}

#[test]
fn fax_and_refused_lines_keep_their_place() {
    let fax = "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n\
        m=audio 0 RTP/AVP 0\r\nm=image 4002 udptl t38\r\na=T38FaxVersion:0\r\n\
        a=T38FaxUdpEC:t38UDPRedundancy\r\n";
    let mut scene = scene([phone(), phone()]);
    let offer = scene.offer(0, fax).unwrap();
    assert!(has(&offer, "m=audio 0 RTP/AVP 0") && has(&offer, "m=image 30002 udptl t38"));
    assert!(has(&offer, "a=T38FaxUdpEC:t38UDPRedundancy"));
    let answer = scene.answer(0, fax).unwrap();
    assert!(has(&answer, "m=audio 0 RTP/AVP 0") && has(&answer, "m=image 20002 udptl t38"));
    assert_eq!(
        scene.plan(0, 1, |p| p.security.clone()),
        Some(Security::EndToEnd)
    );
    assert!(scene.plan(0, 0, |_| ()).is_none());
}

/// A browser expects the sources that it is told of and no others; ours are not the phone's.
#[test]
fn rfc5576_4_1_what_a_phone_calls_its_sources_is_no_news_to_a_browser() {
    let named = |answer: &str| values(answer, "ssrc").len();
    let mut scene = scene([browser(), phone()]);
    scene.offer(0, CHROMIUM).unwrap();
    assert!(BARESIP.contains("a=ssrc:"));
    assert_eq!(named(&scene.answer(0, BARESIP).unwrap()), 0);
    let mut scene = self::scene([browser(), browser()]);
    scene.offer(0, CHROMIUM).unwrap();
    let browser = CHROMIUM.replace("actpass", "active");
    assert_eq!(named(&scene.answer(0, &browser).unwrap()), named(CHROMIUM));
    assert!(named(CHROMIUM) > 0);
}
