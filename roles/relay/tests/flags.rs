//! What each word of a proxy does to descriptions and to the workers' part.

mod common;

use common::{World, list, sdp, world};
use media::{Latching, PayloadKind, Security, Side};
use ng::Value;

const A: &str = "192.0.2.10:4000";
const B: &str = "192.0.2.20:5000";

/// A call with these words in its offer and its answer.
fn call(offer: &[(&str, Value)], answer: &[(&str, Value)]) -> (World, String, String) {
    let mut world = world();
    let sent = world.offer("c1", "a", &sdp(A, "8 0 101"), offer);
    let back = world.answer("c1", ("a", "b"), &sdp(B, "8 0 101"), answer);
    let (sent, back) = (sent.sdp().to_owned(), back.sdp().to_owned());
    (world, sent, back)
}

fn flags(words: &[&str]) -> [(&'static str, Value); 1] {
    [("flags", list(words))]
}

#[test]
fn who_is_listened_to_is_as_its_own_message_says() {
    for (words, expected) in [
        (&[][..], Latching::Learn),
        (&["symmetric"], Latching::Learn),
        (&["strict source"], Latching::Learn),
        (&["media-handover"], Latching::Handover),
        (&["asymmetric"], Latching::Asymmetric),
        (&["asymmetric", "strict-source"], Latching::Signalled),
        (&["asymmetric", "symmetric"], Latching::Learn),
        (&["port-latching", "no-port-latching"], Latching::Learn),
    ] {
        let (world, ..) = call(&flags(words), &[]);
        let latching = |side| world.remote(side).unwrap().latching;
        assert_eq!(latching(Side::Caller), expected, "{words:?}");
        assert_eq!(latching(Side::Callee), Latching::Learn, "{words:?}");
        let (world, ..) = call(&[], &flags(words));
        assert_eq!(world.remote(Side::Callee).unwrap().latching, expected);
        assert_eq!(
            world.remote(Side::Caller).unwrap().latching,
            Latching::Learn
        );
    }
}

#[test]
fn rfc2474_3_packets_of_a_call_are_marked() {
    for (tos, expected) in [(Some(184), Some(184)), (Some(256), None), (None, None)] {
        let tos: Vec<_> = tos
            .map(|tos: i64| ("TOS", Value::from(tos)))
            .into_iter()
            .collect();
        let (world, ..) = call(&tos, &[]);
        for side in [Side::Caller, Side::Callee] {
            assert_eq!(world.remote(side).unwrap().tos, expected);
        }
    }
    let (mut world, ..) = call(&[("TOS", 184_i64.into())], &[]);
    let mut again = |tos: &[(&str, Value)]| {
        world.offer("c1", "a", &sdp(A, "8 0 101"), tos).sdp();
        world
            .answer("c1", ("a", "b"), &sdp(B, "8 0 101"), &[])
            .sdp();
        world.remote(Side::Callee).unwrap().tos
    };
    assert_eq!(again(&[("TOS", (-1_i64).into())]), Some(184), "as it was");
    assert_eq!(again(&[]), None, "as all are");
}

/// RFC 5763 §5: the offerer leaves the choice.
#[test]
fn rfc5763_5_who_begins_the_handshake_is_as_the_flag_says() {
    let print = vec!["CD"; 32].join(":");
    let offer = sdp(A, "0").replace("RTP/AVP", "UDP/TLS/RTP/SAVP")
        + &format!("a=setup:actpass\r\na=fingerprint:sha-256 {print}\r\n");
    for (reverse, dtls, written) in [
        (None, None, "a=setup:passive"),
        (Some("passive"), None, "a=setup:passive"),
        (Some("active"), None, "a=setup:active"),
        (None, Some("passive"), "a=setup:passive"),
        (None, Some("active"), "a=setup:active"),
        (Some("active"), Some("passive"), "a=setup:passive"),
    ] {
        let mut world = world();
        let plain = [("transport-protocol", Value::from("RTP/AVP"))];
        let reverse = reverse.map(|word| ("DTLS-reverse", word.into()));
        let options = [&plain[..], reverse.as_slice()].concat();
        world.offer("c1", "a", &offer, &options).sdp();
        let dtls = dtls.map(|word| ("DTLS", word.into()));
        let answer = world.answer("c1", ("a", "b"), &sdp(B, "0"), dtls.as_slice());
        assert!(answer.sdp().contains(written), "{}", answer.sdp());
        let caller = world.remote(Side::Caller).unwrap();
        assert!(matches!(caller.security, Security::Dtls { .. }));
    }
    // Then the keys are the parties' own affair, and no other profile can be made of them.
    for word in ["off", "no"] {
        let options = [
            ("transport-protocol", "RTP/AVP".into()),
            ("DTLS", word.into()),
        ];
        let answer = world().offer("c1", "a", &offer, &options);
        assert!(
            !answer.text("sdp").contains("fingerprint:sha-256 AB"),
            "{answer:?}"
        );
    }
}

#[test]
fn what_is_replaced_is_as_the_flags_say() {
    let all = [
        "origin",
        "session-connection",
        "SDP-version",
        "username",
        "zero-address",
    ];
    let (_, sent, _) = call(&[("replace", list(&all))], &[]);
    let (_, same, _) = call(&[], &[]);
    assert_eq!(sent, same, "that is so always");
    assert!(!sent.contains("192.0.2.10"), "{sent}");

    let named = |name: &str| sdp(A, "8").replace("s=-", &format!("s={name}"));
    for (kept, second) in [(false, "s=two\r\n"), (true, "s=one\r\n")] {
        let mut world = world();
        let words: &[_] = if kept { &["session name"] } else { &[] };
        let replace = [("replace", list(words))];
        let first = world.offer("c1", "a", &named("one"), &replace);
        assert!(first.sdp().contains("s=one\r\n"));
        world.answer("c1", ("a", "b"), &sdp(B, "8"), &[]);
        let again = [&replace[..], &[("to-tag", "b".into())]].concat();
        let next = world.offer("c1", "a", &named("two"), &again);
        assert!(next.sdp().contains(second), "{}", next.sdp());
    }

    let version = |text: &str| text.split_ascii_whitespace().nth(3).unwrap().to_owned();
    for (words, grows) in [(&[][..], false), (&["force-increment-sdp-ver"], true)] {
        let mut world = world();
        let replace = [("replace", list(words))];
        let offers =
            [(); 2].map(|()| version(world.offer("c1", "a", &sdp(A, "8"), &replace).sdp()));
        assert_eq!(offers[0] != offers[1], grows, "{offers:?}");
    }
    // And as a word of `flags`.
    let (mut world, sent, _) = call(&[], &[]);
    let flags = flags(&["replace-force-increment-sdp-ver"]);
    let flags = [&flags[..], &[("to-tag", "b".into())]].concat();
    let again = world.offer("c1", "a", &sdp(A, "8 0 101"), &flags);
    assert_ne!(version(again.sdp()), version(&sent));
}

#[test]
fn rfc4733_digits_are_blocked_and_let_through() {
    let (mut world, ..) = call(&[], &[]);
    let ask = |world: &mut World, command: &str, more: &[(&str, Value)]| {
        let before = world.commands.len();
        let call = [("call-id", Value::from("c1"))];
        let answer = world.ask(command, &[&call[..], more].concat());
        let told: Vec<_> = world.commands[before..]
            .iter()
            .map(|c| format!("{c:?}"))
            .collect();
        (answer.text("result").to_owned(), told)
    };
    let one = [("from-tag", "b".into()), ("flags", list(&["directional"]))];
    let (result, told) = ask(&mut world, "block DTMF", &one);
    assert_eq!((&*result, told.len()), ("ok", 1));
    assert!(told[0].starts_with("BlockDigits") && told[0].contains("side: Callee, blocked: true"));
    let (_, told) = ask(&mut world, "unblock DTMF", &one);
    assert!(told[0].contains("side: Callee, blocked: false"), "{told:?}");
    let (_, told) = ask(&mut world, "block DTMF", &[]);
    assert_eq!(told.len(), 2, "both parties: {told:?}");
    let tone = [("DTMF-security", "tone".into())];
    assert_eq!(ask(&mut world, "block DTMF", &tone).0, "error");
    let drop = [("DTMF-security", "drop".into())];
    assert_eq!(ask(&mut world, "block DTMF", &drop).0, "ok");
}

#[test]
fn what_can_not_be_done_is_said() {
    let (mut world, ..) = call(&[], &[]);
    for command in ["start forwarding", "stop forwarding"] {
        let answer = world.ask(command, &[("call-id", "c1".into())]);
        assert!(
            answer.text("error-reason").contains("start recording"),
            "{answer:?}"
        );
    }
}

/// The suites of an offer's keys, in order.
fn suites(text: &str) -> Vec<&str> {
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("a=crypto:"));
    lines.filter_map(|line| line.split(' ').nth(1)).collect()
}

#[test]
fn rfc4568_6_1_keys_are_offered_as_the_words_say() {
    let offer = |words: &[&str], from: &str| {
        let mut world = world();
        let options = [
            ("transport-protocol", "RTP/SAVP".into()),
            ("SDES", list(words)),
        ];
        world.offer("c1", "a", from, &options).sdp().to_owned()
    };
    let plain = sdp(A, "8");
    let first = "AES_CM_128_HMAC_SHA1_32";
    let all = offer(&[], &plain);
    assert!(suites(&all).len() > 3 && suites(&all)[0] != first);
    let ordered = offer(
        &["order:AES_CM_128_HMAC_SHA1_32;AES_CM_128_HMAC_SHA1_80;"],
        &plain,
    );
    assert_eq!(suites(&ordered)[..2], [first, "AES_CM_128_HMAC_SHA1_80"]);
    assert_eq!(suites(&ordered).len(), suites(&all).len());
    assert_eq!(
        suites(&offer(&["only-AES_CM_128_HMAC_SHA1_32"], &plain)),
        [first]
    );
    let without = offer(&["no-AES_CM_128_HMAC_SHA1_32"], &plain);
    assert!(!suites(&without).contains(&first) && suites(&without).len() + 1 == suites(&all).len());

    let keyed = plain.replace("RTP/AVP", "RTP/SAVP")
        + "a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n\
           a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
    assert_eq!(
        suites(&offer(&["nonew"], &keyed)),
        [first, "AES_CM_128_HMAC_SHA1_80"]
    );
    assert!(suites(&offer(&[], &keyed)).len() > 2);
    assert!(offer(&["lifetime"], &plain).contains("|2^31\r\n") && !all.contains('|'));

    // Which of the offerer's keys is taken.
    for (words, taken) in [
        (&[][..], first),
        (
            &["offerer_pref:AES_CM_128_HMAC_SHA1_80;"],
            "AES_CM_128_HMAC_SHA1_80",
        ),
    ] {
        let mut world = world();
        let options = [
            ("transport-protocol", "RTP/AVP".into()),
            ("SDES", list(words)),
        ];
        world.offer("c1", "a", &keyed, &options).sdp();
        let answer = world.answer("c1", ("a", "b"), &sdp(B, "8"), &[]);
        assert_eq!(suites(answer.sdp()), [taken]);
    }
}

#[test]
fn rfc4566_6_packets_are_as_long_as_the_flags_say() {
    let options = [("ptime", 40_i64.into()), ("ptime-reverse", 30_i64.into())];
    let (world, sent, back) = call(&options, &[]);
    assert!(sent.contains("a=ptime:40\r\n"), "{sent}");
    assert!(
        sent.contains("RTP/AVP 8 0 101\r\n"),
        "no codec is added: {sent}"
    );
    assert!(back.contains("a=ptime:30\r\n"), "{back}");
    for (side, ptime) in [(Side::Caller, 30), (Side::Callee, 40)] {
        let remote = world.remote(side).unwrap();
        assert_eq!(remote.ptime, Some(ptime));
        assert!(!remote.payloads.is_empty(), "they have to be understood");
    }
    let (world, sent, _) = call(&[("ptime", 0_i64.into())], &[]);
    assert!(!sent.contains("ptime"), "{sent}");
    assert_eq!(world.remote(Side::Callee).unwrap().ptime, None);
}

#[test]
fn a_query_tells_of_rtcp_too() {
    let (mut world, ..) = call(&[], &[]);
    let answer = world.ask("query", &[("call-id", "c1".into())]);
    let text = format!("{answer:?}");
    let tags = answer.0.get(&b"tags"[..]).unwrap();
    let Value::Dictionary(tags) = tags else {
        panic!("{text}");
    };
    let Value::Dictionary(tag) = &tags[&b"a"[..]] else {
        panic!("{text}");
    };
    let Value::List(medias) = &tag[&b"medias"[..]] else {
        panic!("{text}");
    };
    let Value::Dictionary(media) = &medias[0] else {
        panic!("{text}");
    };
    let Value::List(streams) = &media[&b"streams"[..]] else {
        panic!("{text}");
    };
    let port = |stream: &Value| match stream {
        Value::Dictionary(stream) => stream[&b"local port"[..]].number(),
        _ => None,
    };
    let ports: Vec<_> = streams.iter().filter_map(port).collect();
    assert_eq!(ports, [20_000, 20_001]);
}

/// RFC 3952 §5, RFC 7587 §6.1: what a flag says of a codec beside its name is said to the receiver, or holds for
/// what the sender is sent.
#[test]
fn codecs_are_added_and_encoded_as_their_flags_say() {
    let words = [
        "codec-mask-all",
        "codec-transcode-iLBC/8000/1///mode--30",
        "codec-set-opus/48000/2/12000",
    ];
    let offer = sdp(A, "111") + "a=rtpmap:111 opus/48000/2\r\n";
    let mut world = world();
    let sent = world.offer("c1", "a", &offer, &flags(&words));
    let sent = sent.sdp();
    assert!(!sent.contains("opus"), "{sent}");
    let mut lines = sent.lines();
    let number = lines.find_map(|line| line.strip_suffix(" iLBC/8000"));
    let number = number.unwrap().strip_prefix("a=rtpmap:").unwrap();
    assert!(sent.contains(&format!("a=fmtp:{number} mode=30\r\n")));
    let answer =
        sdp(B, number) + &format!("a=rtpmap:{number} iLBC/8000\r\na=fmtp:{number} mode=30\r\n");
    let back = world.answer("c1", ("a", "b"), &answer, &[]);
    assert!(back.sdp().contains("opus/48000/2"), "{}", back.sdp());
    let remote = world.remote(Side::Caller).unwrap();
    let PayloadKind::Codec(codec, parameters) = &remote.payloads[0].kind else {
        panic!("{remote:?}");
    };
    assert_eq!((codec.name(), parameters.bit_rate), ("opus", Some(12_000)));
}

/// As behind a translator whose address changes.
#[test]
fn rfc8489_1_new_calls_are_told_of_a_new_address() {
    let mut world = world();
    let first = world.offer("c1", "a", &sdp(A, "8"), &[]);
    assert!(first.sdp().contains("c=IN IP4 198.51.100.1\r\n"));
    let at = relay::Interface {
        name: "default".into(),
        address: "198.51.100.1".parse().unwrap(),
        advertised: "203.0.113.9".parse().unwrap(),
    };
    let input = relay::Input::Interfaces(vec![at]);
    world.relay.handle(world.now, input, &mut world.out);
    let second = world.offer("c2", "a", &sdp(A, "8"), &[]);
    assert!(second.sdp().contains("c=IN IP4 203.0.113.9\r\n"));
    let first = world.answer("c1", ("a", "b"), &sdp(B, "8"), &[]);
    assert!(first.sdp().contains("c=IN IP4 198.51.100.1\r\n"));
}
