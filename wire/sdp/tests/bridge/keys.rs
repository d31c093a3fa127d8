//! Encryption on one side, on both, on none.

use sdp::bridge::{Encryption, Keying, Policy, Refusal, Security, Setup, Suite};

use crate::scene::{Scene, has, values};

const PLAIN: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n\
    m=audio 4000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n";
const SDES: &str = include_str!("../data/baresip-sdes.sdp");
const CHROMIUM: &str = include_str!("../data/chromium.sdp");
const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

fn policy(encryption: Encryption, keying: Keying) -> Policy {
    Policy {
        encryption,
        keying,
        suites: vec![Suite::AeadAes256Gcm, Suite::Aes128CmSha1_80],
        ..Policy::default()
    }
}

fn follow() -> Policy {
    policy(Encryption::Follow, Keying::Both)
}

/// A plain answer with some further lines.
fn answered(proto: &str, rest: &str) -> String {
    PLAIN.replace("RTP/AVP", proto) + rest
}

fn local(scene: &Scene, side: usize) -> Vec<u8> {
    scene
        .plan(side, 0, |plan| match plan.security {
            Security::Sdes(sdes) => sdes.local.as_bytes().to_vec(),
            other => panic!("{other:?}"),
        })
        .unwrap()
}

#[test]
fn rfc4568_7_1_2_the_offerer_s_first_usable_suite_is_taken_under_its_tag() {
    let mut scene = Scene::new([follow(), policy(Encryption::Forbidden, Keying::Both)]);
    let offer = scene.offer(0, SDES).unwrap();
    assert!(has(&offer, "m=audio 30000 RTP/AVP 96 8 0 101"), "{offer}");
    assert!(values(&offer, "crypto").is_empty());
    let answer = scene.answer(0, PLAIN).unwrap();
    assert!(has(&answer, "m=audio 20000 RTP/SAVP 8 101"), "{answer}");
    let crypto = values(&answer, "crypto");
    assert_eq!(crypto.len(), 1);
    assert!(crypto[0].starts_with("1 AES_CM_128_HMAC_SHA1_80 inline:"));
    assert!(!crypto[0].contains("6BRVv0nqGvJ2EvGCdcu7i5qxZkK6kzeyq0TJyM8G"));
    assert!(scene.plan(0, 0, |plan| plan.security.is_keyed()).unwrap());
    assert_eq!(
        scene.plan(1, 0, |plan| plan.security.clone()),
        Some(Security::Plain)
    );
}

#[test]
fn rfc4568_7_1_3_a_required_side_is_offered_every_suite_in_order() {
    let mut scene = Scene::new([follow(), policy(Encryption::Required, Keying::Sdes)]);
    let offer = scene.offer(0, PLAIN).unwrap();
    assert!(has(&offer, "m=audio 30000 RTP/SAVP 8 101"), "{offer}");
    let crypto = values(&offer, "crypto");
    assert!(crypto[0].starts_with("1 AEAD_AES_256_GCM inline:"));
    assert!(crypto[1].starts_with("2 AES_CM_128_HMAC_SHA1_80 inline:"));
    let with = format!("a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n");
    let answer = scene.answer(0, &answered("RTP/SAVP", &with)).unwrap();
    assert!(has(&answer, "m=audio 20000 RTP/AVP 8 101"), "{answer}");
    assert!(values(&answer, "crypto").is_empty());
    let suite = scene.plan(1, 0, |plan| match plan.security {
        Security::Sdes(sdes) => sdes.suite,
        other => panic!("{other:?}"),
    });
    assert_eq!(suite, Some(Suite::Aes128CmSha1_80));
}

#[test]
fn an_answer_without_the_required_keys_is_refused() {
    let mut scene = Scene::new([follow(), policy(Encryption::Required, Keying::Sdes)]);
    scene.offer(0, PLAIN).unwrap();
    assert_eq!(scene.answer(0, PLAIN), Err(Refusal::Unprotected));
    let unknown = answered("RTP/SAVP", "a=crypto:9 F8_128_HMAC_SHA1_80 inline:x\r\n");
    assert_eq!(scene.answer(0, &unknown), Err(Refusal::Keys));
}

#[test]
fn an_optional_side_may_leave_the_keys_aside() {
    let mut scene = Scene::new([follow(), policy(Encryption::Optional, Keying::Sdes)]);
    let offer = scene.offer(0, PLAIN).unwrap();
    assert!(has(&offer, "m=audio 30000 RTP/AVP 8 101"), "{offer}");
    assert_eq!(values(&offer, "crypto").len(), 2);
    scene.answer(0, PLAIN).unwrap();
    assert_eq!(
        scene.plan(1, 0, |plan| plan.security.clone()),
        Some(Security::Plain)
    );
    // What was agreed stays in later offers.
    let again = scene.offer(0, PLAIN).unwrap();
    assert!(values(&again, "crypto").is_empty());
}

#[test]
fn keys_beside_a_plain_stream_are_taken() {
    let offer = answered(
        "RTP/AVP",
        &format!("a=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^31\r\n"),
    );
    let mut scene = Scene::new([policy(Encryption::Optional, Keying::Sdes), follow()]);
    let onward = scene.offer(0, &offer).unwrap();
    assert_eq!(
        values(&onward, "crypto").len(),
        2,
        "the other side may have it too"
    );
    let answer = scene.answer(0, PLAIN).unwrap();
    assert!(has(&answer, "m=audio 20000 RTP/AVP 8 101"));
    assert!(values(&answer, "crypto")[0].starts_with("4 AES_CM_128_HMAC_SHA1_80"));
}

#[test]
fn what_a_side_must_not_have_is_refused() {
    let mut scene = Scene::new([policy(Encryption::Forbidden, Keying::Both), follow()]);
    assert_eq!(scene.offer(0, SDES), Err(Refusal::Protected));
    let mut scene = Scene::new([policy(Encryption::Required, Keying::Both), follow()]);
    assert_eq!(scene.offer(0, PLAIN), Err(Refusal::Unprotected));
    let bare = PLAIN.replace("RTP/AVP", "RTP/SAVP");
    assert_eq!(scene.offer(0, &bare), Err(Refusal::Keys));
}

#[test]
fn rfc4568_7_1_4_our_key_stays_through_a_re_offer_and_theirs_may_change() {
    let mut scene = Scene::new([follow(), follow()]);
    scene.offer(0, SDES).unwrap();
    scene.answer(0, PLAIN).unwrap();
    let before = local(&scene, 0);
    let rekeyed = SDES.replace("6BRVv0nqGvJ2EvGCdcu7i5qxZkK6kzeyq0TJyM8G", KEY);
    scene.offer(0, &rekeyed).unwrap();
    scene.answer(0, PLAIN).unwrap();
    assert_eq!(local(&scene, 0), before);
    let theirs = scene.plan(0, 0, |plan| match plan.security {
        Security::Sdes(sdes) => sdes.remote.as_bytes()[0],
        other => panic!("{other:?}"),
    });
    assert_eq!(theirs, Some(0x59));
    // The other way round: our re-offer has the key in force, alone.
    let offer = scene.offer(1, PLAIN).unwrap();
    assert!(has(&offer, "m=audio 20000 RTP/SAVP 8 101"), "{offer}");
    assert_eq!(values(&offer, "crypto").len(), 1);
    let answer = answered(
        "RTP/SAVP",
        &format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n"),
    );
    scene.answer(1, &answer).unwrap();
    assert_eq!(local(&scene, 0), before);
}

#[test]
fn a_refused_re_offer_leaves_what_was_agreed() {
    let mut scene = Scene::new([follow(), follow()]);
    scene.offer(0, SDES).unwrap();
    scene.answer(0, PLAIN).unwrap();
    let before = local(&scene, 0);
    let other = SDES.replace("a=crypto:1 AES_CM_128_HMAC_SHA1_80", "a=crypto:1 X");
    scene.offer(0, &other).unwrap();
    assert_eq!(local(&scene, 0), before, "not before it is answered");
}

#[test]
fn an_offer_that_is_made_again_has_the_same_keys() {
    let mut scene = Scene::new([follow(), policy(Encryption::Required, Keying::Sdes)]);
    let once = scene.offer(0, PLAIN).unwrap();
    let twice = scene.offer(0, PLAIN).unwrap();
    assert_eq!(values(&once, "crypto"), values(&twice, "crypto"));
}

#[test]
fn rfc5763_5_a_browser_s_handshake_ends_with_us() {
    let mut scene = Scene::new([follow(), policy(Encryption::Forbidden, Keying::Both)]);
    scene.ice = Some(sdp::bridge::ice::Mode::Lite);
    scene.policies[0].ice = sdp::bridge::Use::Follow;
    let offer = scene.offer(0, CHROMIUM).unwrap();
    assert!(values(&offer, "fingerprint").is_empty() && values(&offer, "setup").is_empty());
    assert!(values(&offer, "ice-ufrag").is_empty() && values(&offer, "candidate").is_empty());
    let answer = scene.answer(0, PLAIN).unwrap();
    assert!(
        has(&answer, "m=audio 20000 UDP/TLS/RTP/SAVPF 8 126"),
        "{answer}"
    );
    // It begins as soon as it has our answer.
    assert!(has(&answer, "a=setup:passive"), "{answer}");
    assert_eq!(values(&answer, "fingerprint"), [crate::scene::PRINT]);
    assert!(has(&answer, "a=mid:0") && has(&answer, "a=rtcp-mux"));
    let setup = scene.plan(0, 0, |plan| match plan.security {
        Security::Dtls { setup, .. } => *setup,
        other => panic!("{other:?}"),
    });
    assert_eq!(setup, Some(Setup::Passive));
}

#[test]
fn rfc5763_5_a_browser_is_offered_either_role() {
    let mut browser = policy(Encryption::Required, Keying::Dtls);
    browser.feedback = sdp::bridge::Use::Always;
    let mut scene = Scene::new([follow(), browser]);
    let offer = scene.offer(0, PLAIN).unwrap();
    assert!(
        has(&offer, "m=audio 30000 UDP/TLS/RTP/SAVPF 8 101"),
        "{offer}"
    );
    assert!(has(&offer, "a=setup:actpass"));
    let print = crate::scene::PRINT;
    let with = format!("a=setup:passive\r\na=fingerprint:{print}\r\n");
    scene
        .answer(0, &answered("UDP/TLS/RTP/SAVPF", &with))
        .unwrap();
    let setup = scene.plan(1, 0, |plan| match plan.security {
        Security::Dtls { setup, .. } => *setup,
        other => panic!("{other:?}"),
    });
    assert_eq!(setup, Some(Setup::Active));
    // RFC 8842 §5.3: the association lasts, so the browser's own offer leaves us our part.
    let offer = format!("a=setup:actpass\r\na=fingerprint:{print}\r\na=tls-id:abc\r\n");
    scene
        .offer(1, &answered("UDP/TLS/RTP/SAVPF", &offer))
        .unwrap();
    let answer = scene.answer(1, PLAIN).unwrap();
    assert!(has(&answer, "a=setup:active"), "{answer}");
}

#[test]
fn keys_that_we_cannot_take_part_in_pass_from_end_to_end() {
    let mut scene = Scene::new([follow(), follow()]);
    scene.dtls = false;
    let reachable = CHROMIUM.replace("c=IN IP4 0.0.0.0", "c=IN IP4 10.0.0.8");
    let offer = scene.offer(0, &reachable).unwrap();
    assert!(
        offer.contains("m=audio 30000 UDP/TLS/RTP/SAVPF 111 63 "),
        "{offer}"
    );
    assert_eq!(values(&offer, "setup"), ["actpass"]);
    assert!(values(&offer, "fingerprint")[0].starts_with("sha-256 6B:8B"));
    let with = "a=setup:active\r\na=fingerprint:sha-256 00\r\n";
    let answer = scene
        .answer(0, &answered("UDP/TLS/RTP/SAVPF", with))
        .unwrap();
    assert_eq!(values(&answer, "fingerprint"), ["sha-256 00"]);
    assert_eq!(
        scene.plan(0, 0, |p| p.security.clone()),
        Some(Security::EndToEnd)
    );
    assert_eq!(
        scene.plan(1, 0, |p| p.security.clone()),
        Some(Security::EndToEnd)
    );
    let mut scene = Scene::new([follow(), policy(Encryption::Forbidden, Keying::Both)]);
    scene.dtls = false;
    assert_eq!(scene.offer(0, CHROMIUM), Err(Refusal::Protected));
}

#[test]
fn each_phone_that_rings_has_its_own_keys_and_the_caller_one() {
    let mut scene = Scene::new([follow(), follow()]);
    let first = scene.offer(0, SDES).unwrap();
    let caller = scene.ends[0].clone();
    scene.ends[1] = Default::default();
    let second = scene.offer(0, SDES).unwrap();
    assert_ne!(values(&first, "crypto"), values(&second, "crypto"));
    let with = |offer: &str| {
        let tag = values(offer, "crypto")[1]
            .split(' ')
            .next()
            .unwrap()
            .to_owned();
        answered(
            "RTP/AVP",
            &format!("a=crypto:{tag} AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n"),
        )
    };
    let early = scene.answer(0, &with(&second)).unwrap();
    let later = scene.answer(0, &with(&second)).unwrap();
    assert_eq!(values(&early, "crypto"), values(&later, "crypto"));
    drop(caller);
}
