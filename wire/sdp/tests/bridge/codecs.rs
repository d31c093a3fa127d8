//! Codecs: what passes, what is converted, and which number it has.

use sdp::bridge::{Add, Events, Policy, Refusal};

use crate::scene::{CODECS, Scene, has, values};

fn converting(add: Add, codecs: &[&str]) -> Policy {
    Policy {
        transcode: CODECS,
        add,
        codecs: codecs.iter().map(|&name| name.into()).collect(),
        ..Policy::default()
    }
}

fn audio(formats: &str, rest: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n\
         m=audio 4000 RTP/AVP {formats}\r\n{rest}"
    )
}

fn table(scene: &Scene, side: usize) -> Vec<(u8, String)> {
    let named = |p: &sdp::bridge::Payload| (p.number, format!("{}/{}", p.name, p.clock_rate));
    scene
        .plan(side, 0, |plan| plan.payloads.iter().map(named).collect())
        .unwrap()
}

const PHONE: &str = "0 8 101";
const EVENT: &str = "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n";

#[test]
fn an_offer_that_everybody_can_take_stays_as_it_is() {
    let policy = || converting(Add::Needed, &[]);
    let mut scene = Scene::new([policy(), policy()]);
    let offer = scene.offer(0, &audio(PHONE, EVENT)).unwrap();
    assert!(
        offer.ends_with(&format!("m=audio 30000 RTP/AVP 0 8 101\r\n{EVENT}")),
        "{offer}"
    );
    let answer = scene.answer(0, &audio("8 101", EVENT)).unwrap();
    assert!(
        answer.ends_with(&format!("m=audio 20000 RTP/AVP 8 101\r\n{EVENT}")),
        "{answer}"
    );
    assert!(table(&scene, 0).is_empty() && table(&scene, 1).is_empty());
}

#[test]
fn what_we_can_convert_is_added_behind_with_free_numbers() {
    let policy = || converting(Add::Always, &[]);
    let mut scene = Scene::new([policy(), policy()]);
    let offer = scene.offer(
        0,
        &audio("96 101", &format!("a=rtpmap:96 PCMU/8000\r\n{EVENT}")),
    );
    let offer = offer.unwrap();
    // The events' clock is that of each codec: 8, 16 and 48 kHz.
    assert!(
        has(&offer, "m=audio 30000 RTP/AVP 96 97 9 8 18 98 101 99 100"),
        "{offer}"
    );
    assert!(has(&offer, "a=rtpmap:97 opus/48000/2") && has(&offer, "a=rtpmap:98 AMR-WB/16000"));
    assert!(has(&offer, "a=rtpmap:99 telephone-event/48000"), "{offer}");
    let answer = audio(
        "97 99",
        "a=rtpmap:97 opus/48000/2\r\na=rtpmap:99 telephone-event/48000\r\na=ptime:40\r\n",
    );
    let answer = scene.answer(0, &answer).unwrap();
    assert!(has(&answer, "m=audio 20000 RTP/AVP 96 101"), "{answer}");
    assert!(has(&answer, "a=rtpmap:96 PCMU/8000") && !answer.contains("opus"));
    let name = |number, name: &str| (number, name.to_owned());
    assert_eq!(
        table(&scene, 0),
        [name(96, "PCMU/8000"), name(101, "telephone-event/8000")]
    );
    assert_eq!(
        table(&scene, 1),
        [name(97, "opus/48000"), name(99, "telephone-event/48000")]
    );
    assert_eq!(scene.plan(1, 0, |plan| plan.payloads[0].ptime), Some(40));
}

#[test]
fn a_carrier_s_only_codec_is_converted_for_a_phone() {
    let policy = || converting(Add::Needed, &[]);
    let mut scene = Scene::new([policy(), policy()]);
    let offer = scene
        .offer(0, include_str!("../data/asterisk.sdp"))
        .unwrap();
    assert!(
        offer.contains("RTP/AVP 18 96 9 8 0 97 101 98 99\r\n"),
        "{offer}"
    );
    assert!(has(&offer, "a=fmtp:18 annexb=no"));
    let answer = scene.answer(0, &audio("8 101", EVENT)).unwrap();
    assert!(has(&answer, "m=audio 20000 RTP/AVP 18 101"), "{answer}");
    assert_eq!(table(&scene, 0)[0].0, 18);
    assert_eq!(table(&scene, 1)[0].0, 8);
}

#[test]
fn a_side_s_own_list_decides_order_and_choice() {
    let mut scene = Scene::new([
        Policy::default(),
        converting(Add::Needed, &["pcma", "opus"]),
    ]);
    let offer = scene
        .offer(0, include_str!("../data/freeswitch.sdp"))
        .unwrap();
    assert!(
        has(&offer, "m=audio 30000 RTP/AVP 8 102 103 101 13"),
        "{offer}"
    );
    let mut scene = Scene::new([
        converting(Add::Needed, &[]),
        converting(Add::Needed, &["G722"]),
    ]);
    let offer = scene.offer(0, &audio(PHONE, EVENT)).unwrap();
    assert!(has(&offer, "m=audio 30000 RTP/AVP 9 101"), "{offer}");
    let answer = scene.answer(0, &audio("9 101", EVENT)).unwrap();
    assert!(has(&answer, "m=audio 20000 RTP/AVP 0 101"), "{answer}");
}

#[test]
fn without_a_codec_in_common_there_is_no_offer_and_no_answer() {
    let only = |name: &str| Policy {
        codecs: vec![name.into()],
        ..Policy::default()
    };
    let mut scene = Scene::new([Policy::default(), only("G729")]);
    assert_eq!(scene.offer(0, &audio(PHONE, EVENT)), Err(Refusal::Codecs));
    let mut scene = Scene::new([Policy::default(), Policy::default()]);
    scene.offer(0, &audio("0", "")).unwrap();
    assert_eq!(scene.answer(0, &audio("8", "")), Err(Refusal::Codecs));
}

#[test]
fn rfc3264_8_3_2_a_number_keeps_its_codec() {
    let policy = || converting(Add::Always, &[]);
    let mut scene = Scene::new([policy(), policy()]);
    let opus = |n: u8| audio(&format!("{n} 8"), &format!("a=rtpmap:{n} opus/48000/2\r\n"));
    scene.offer(0, &opus(111)).unwrap();
    scene.answer(0, &opus(111)).unwrap();
    // The other party calls opus 96 now; this one goes on calling it 111.
    let offer = scene.offer(1, &opus(96)).unwrap();
    assert!(has(&offer, "a=rtpmap:111 opus/48000/2"), "{offer}");
    let answer = scene.answer(1, &opus(111)).unwrap();
    assert!(has(&answer, "m=audio 30000 RTP/AVP 96 8"), "{answer}");
    assert_eq!(table(&scene, 0)[0].0, 111);
    assert_eq!(table(&scene, 1)[0].0, 96);
}

#[test]
fn rfc4867_8_3_1_amr_with_another_packing_is_another_codec() {
    let policy = || converting(Add::Always, &[]);
    let amr = |fmtp: &str| audio("97", &format!("a=rtpmap:97 AMR-WB/16000/1\r\n{fmtp}"));
    let mut scene = Scene::new([policy(), policy()]);
    let offer = scene.offer(0, &amr("")).unwrap();
    assert!(has(&offer, "a=rtpmap:97 AMR-WB/16000"), "{offer}");
    assert!(has(&offer, "a=fmtp:97 octet-align=1") ^ has(&offer, "a=fmtp:98 octet-align=1"));
    let answer = audio(
        "98",
        "a=rtpmap:98 AMR-WB/16000\r\na=fmtp:98 octet-align=1\r\n",
    );
    let number = values(&offer, "fmtp")
        .into_iter()
        .find(|v| v.ends_with("octet-align=1"))
        .unwrap();
    let answer = answer.replace("98", number.split(' ').next().unwrap());
    let answer = scene.answer(0, &answer).unwrap();
    assert!(has(&answer, "m=audio 20000 RTP/AVP 97"), "{answer}");
    assert_eq!(
        table(&scene, 0).len(),
        1,
        "converted, though the names are the same"
    );
}

#[test]
fn an_answer_s_strange_numbers_are_told_to_the_worker() {
    let policy = || converting(Add::Always, &[]);
    let mut scene = Scene::new([policy(), policy()]);
    let opus = |n: u8| audio(&n.to_string(), &format!("a=rtpmap:{n} opus/48000/2\r\n"));
    scene.offer(0, &opus(111)).unwrap();
    let answer = scene.answer(0, &opus(120)).unwrap();
    assert!(has(&answer, "m=audio 20000 RTP/AVP 111"), "{answer}");
    let numbers =
        |plan: sdp::bridge::Plan<'_>| (plan.payloads[0].number, plan.payloads[0].received);
    assert_eq!(scene.plan(0, 0, numbers), Some((111, 111)));
    assert_eq!(scene.plan(1, 0, numbers), Some((120, 111)));
}

#[test]
fn rfc3551_6_who_has_one_law_of_g711_is_offered_the_other_behind_it() {
    let policy = || converting(Add::Needed, &[]);
    let mut scene = Scene::new([policy(), policy()]);
    let offer = scene.offer(0, &audio("0 101", EVENT)).unwrap();
    assert!(has(&offer, "m=audio 30000 RTP/AVP 0 8 101"), "{offer}");
    let answer = scene.answer(0, &audio("8 101", EVENT)).unwrap();
    assert!(has(&answer, "m=audio 20000 RTP/AVP 0 101"), "{answer}");
    assert_eq!(table(&scene, 0)[0].1, "PCMU/8000");
    assert_eq!(table(&scene, 1)[0].1, "PCMA/8000");
}

/// RFC 4733 §2.1: keys of who has events become tones for who has none.
#[test]
fn rfc4733_2_1_who_offers_events_gets_them_though_the_other_side_has_none() {
    let policy = |events| Policy {
        events,
        ..converting(Add::Needed, &[])
    };
    for events in [Events::Follow, Events::Always] {
        let mut scene = Scene::new([policy(events), policy(Events::Follow)]);
        scene.offer(0, &audio(PHONE, EVENT)).unwrap();
        let answer = scene.answer(0, &audio("8", "")).unwrap();
        assert!(has(&answer, "m=audio 20000 RTP/AVP 8 101"), "{answer}");
        assert_eq!(table(&scene, 0)[1].1, "telephone-event/8000");
        assert_eq!(table(&scene, 1), [(8, "PCMA/8000".to_owned())]);
    }
    // Of what we can't read, nothing is converted.
    let mut scene = Scene::new([policy(Events::Follow), policy(Events::Follow)]);
    let evs = |formats| audio(formats, &format!("a=rtpmap:97 EVS/16000\r\n{EVENT}"));
    scene.offer(0, &evs("97 101")).unwrap();
    let answer = scene.answer(0, &evs("97")).unwrap();
    assert!(has(&answer, "m=audio 20000 RTP/AVP 97"), "{answer}");
}

#[test]
fn rfc4733_2_1_events_are_offered_and_withheld_as_a_side_s_policy_says() {
    let policy = |events| Policy {
        events,
        ..converting(Add::Needed, &[])
    };
    let mut scene = Scene::new([policy(Events::Follow), policy(Events::Always)]);
    let offer = scene.offer(0, &audio("0 8", "")).unwrap();
    assert!(has(&offer, "a=rtpmap:96 telephone-event/8000"), "{offer}");
    let events = "a=rtpmap:96 telephone-event/8000\r\n";
    let answer = scene.answer(0, &audio("8 96", events)).unwrap();
    assert!(has(&answer, "m=audio 20000 RTP/AVP 8"), "{answer}");
    assert_eq!((table(&scene, 0).len(), table(&scene, 1).len()), (1, 2));

    for asked in [0, 1] {
        let mut policies = [Events::Follow, Events::Follow].map(policy);
        policies[1 - asked] = policy(Events::Never);
        let mut scene = Scene::new(policies);
        let offer = scene.offer(0, &audio(PHONE, EVENT)).unwrap();
        assert_eq!(offer.contains("telephone-event"), asked == 1, "{offer}");
        let answer = scene.answer(0, &audio(if asked == 1 { PHONE } else { "0 8" }, EVENT));
        let answer = answer.unwrap();
        assert_eq!(answer.contains("telephone-event"), asked == 0, "{answer}");
    }
}
