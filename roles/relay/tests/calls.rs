//! What a proxy asks of a relay, and what becomes of its calls.

mod common;

use std::time::Duration;

use common::{list, read, sdp, with, world};
use media::{Command, Security, Side};
use ng::Value;

const A: &str = "192.0.2.10:4000";
const B: &str = "192.0.2.20:5000";

#[test]
fn a_call_gets_ports_of_ours_on_both_sides() {
    let mut world = world();
    let offer = world.offer(
        "c1",
        "a",
        &sdp(A, "8 0 101"),
        &[("replace", list(&["origin"]))],
    );
    let sent = offer.sdp();
    assert!(sent.contains("c=IN IP4 198.51.100.1\r\n"), "{sent}");
    assert!(sent.contains("m=audio 20002 RTP/AVP 8 0 101\r\n"), "{sent}");
    assert!(!sent.contains("192.0.2."), "{sent}");
    let answer = world.answer("c1", ("a", "b"), &sdp(B, "8 101"), &[]);
    assert!(
        answer.sdp().contains("m=audio 20000 RTP/AVP 8 101\r\n"),
        "{answer:?}"
    );
    let caller = world.remote(Side::Caller).unwrap();
    assert_eq!(caller.rtp.to_string(), A);
    assert!(caller.payloads.is_empty(), "payloads pass untouched");
    assert_eq!(world.remote(Side::Callee).unwrap().rtp.to_string(), B);

    let query = world.ask("query", &[("call-id", "c1".into())]);
    let Some(Value::Dictionary(tags)) = query.0.get(&b"tags"[..]) else {
        panic!("{query:?}");
    };
    assert_eq!(
        tags.keys().map(|k| &k[..]).collect::<Vec<_>>(),
        [b"a", b"b"]
    );
    let calls = world.ask("list", &[]);
    assert_eq!(calls.0[&b"calls"[..]], list(&["c1"]));

    let deleted = world.delete("c1", "a", &[("delete delay", 0_i64.into())]);
    let totals = Value::from([
        (
            "RTP",
            Value::from([
                ("bytes", 5160_i64.into()),
                ("errors", 0_i64.into()),
                ("packets", 30_i64.into()),
            ]),
        ),
        (
            "RTCP",
            Value::from([
                ("bytes", 0_i64.into()),
                ("errors", 0_i64.into()),
                ("packets", 0_i64.into()),
            ]),
        ),
    ]);
    assert_eq!(deleted.0[&b"totals"[..]], totals);
    assert!(world.sessions.is_empty());
    assert_eq!(world.relay.calls(), 0);
    let again = world.delete("c1", "a", &[]);
    assert_eq!(
        (again.text("result"), again.text("warning").is_empty()),
        ("ok", false)
    );
    let fatal = world.delete("c1", "a", &[("flags", list(&["fatal"]))]);
    assert_eq!(fatal.text("result"), "error");
}

#[test]
fn a_repeated_cookie_gets_the_same_octets_and_does_nothing() {
    let mut world = world();
    let entries = [
        ("call-id", "c1".into()),
        ("from-tag", "a".into()),
        ("sdp", sdp(A, "8").into()),
    ];
    let message = world.message("offer", &entries);
    world.stalled = true;
    assert!(
        world.send(&message).is_empty(),
        "the ports are not there yet"
    );
    assert!(world.send(&message).is_empty(), "it is being worked on");
    world.stalled = false;
    world.work();
    let first = world.replies();
    assert_eq!(first.len(), 1);
    let commands = world.commands.len();
    assert_eq!(world.send(&message), first);
    assert_eq!((world.commands.len(), world.relay.calls()), (commands, 1));
}

#[test]
fn what_is_asked_wrongly_is_an_error_that_says_so() {
    let mut world = world();
    let reason = |answer: &common::Answer| answer.text("error-reason").to_owned();
    let unknown = world.ask("frobnicate", &[]);
    assert_eq!(reason(&unknown), "Unrecognized command");
    let no_sdp = world.ask(
        "offer",
        &[("call-id", "c".into()), ("from-tag", "a".into())],
    );
    assert_eq!(reason(&no_sdp), "No SDP body in message");
    let broken = world.offer("c", "a", "abc", &[]);
    assert_eq!(reason(&broken), "Failed to parse SDP");
    let nobody = world.answer("c", ("a", "b"), &sdp(B, "8"), &[]);
    assert_eq!(reason(&nobody), "Unknown call-id");
    assert_eq!(
        reason(&world.ask("query", &[("call-id", "c".into())])),
        "Unknown call-id"
    );
    assert_eq!(world.relay.calls(), 0, "nothing is left");
    assert!(world.send(b"no cookie").is_empty());
    let reply = world.send(b"1_1 x");
    assert!(reply.is_empty(), "neither bencode nor JSON");
    assert_eq!(
        world.send(b"1_2 {\"command\":\"ping\"}"),
        [b"1_2 {\"result\":\"pong\"}"]
    );
}

#[test]
fn a_reinvite_of_either_party_keeps_the_ports() {
    let mut world = world();
    world.offer("c1", "a", &sdp(A, "8"), &[]);
    world.answer("c1", ("a", "b"), &sdp(B, "8"), &[]);
    // The callee moves.
    let to = [("to-tag", "a".into())];
    let moved = world.offer("c1", "b", &sdp("192.0.2.20:6000", "8"), &to);
    assert!(moved.sdp().contains("m=audio 20000 "), "{moved:?}");
    let answer = world.answer("c1", ("b", "a"), &sdp(A, "8"), &[]);
    assert!(answer.sdp().contains("m=audio 20002 "), "{answer:?}");
    assert_eq!(world.remote(Side::Callee).unwrap().rtp.port(), 6000);
    // The caller adds a stream.
    let two = sdp(A, "8") + "m=audio 4010 RTP/AVP 8\r\n";
    let offer = world.offer("c1", "a", &two, &[("to-tag", "b".into())]);
    assert!(offer.sdp().contains("m=audio 20006 "), "{offer:?}");
    assert!(
        offer.sdp().contains(" 2 IN IP4"),
        "a new version: {offer:?}"
    );
    assert_eq!(world.sessions.len(), 1);
}

#[test]
fn branches_have_media_of_their_own() {
    let mut world = world();
    let branch = |name: &str| [("via-branch", Value::from(name))];
    world.offer("c1", "a", &sdp(A, "8"), &branch("z1"));
    world.offer("c1", "a", &sdp(A, "8"), &branch("z2"));
    assert_eq!((world.sessions.len(), world.relay.calls()), (2, 1));
    let second = world.answer("c1", ("a", "b2"), &sdp(B, "8"), &branch("z2"));
    assert!(second.sdp().contains("m=audio 20004 "), "{second:?}");
    let now = ("delete-delay", Value::from(0_i64));
    world.delete("c1", "a", &[branch("z1")[0].clone(), now.clone()]);
    assert_eq!((world.sessions.len(), world.relay.calls()), (1, 1));
    // A BYE has a branch that nobody has seen.
    world.delete("c1", "b2", &[branch("z9")[0].clone(), now]);
    assert_eq!((world.sessions.len(), world.relay.calls()), (0, 0));
}

#[test]
fn without_branches_the_last_phone_to_answer_has_the_media() {
    let mut world = world();
    world.offer("c1", "a", &sdp(A, "8"), &[]);
    world.answer("c1", ("a", "b1"), &sdp("192.0.2.30:1000", "8"), &[]);
    world.answer("c1", ("a", "b2"), &sdp(B, "8"), &[]);
    assert_eq!(world.remote(Side::Callee).unwrap().rtp.to_string(), B);
    assert_eq!(world.sessions.len(), 1);
    // The proxy tries somebody else.
    world.offer("c1", "a", &sdp(A, "8"), &[]);
    world.answer("c1", ("a", "b3"), &sdp("192.0.2.40:1000", "8"), &[]);
    assert_eq!(world.remote(Side::Callee).unwrap().rtp.port(), 1000);
    assert_eq!(world.sessions.len(), 1);
}

#[test]
fn a_deleted_call_ends_after_its_delay() {
    let mut world = world();
    world.offer("c1", "a", &sdp(A, "8"), &[]);
    world.answer("c1", ("a", "b"), &sdp(B, "8"), &[]);
    let deleted = world.delete("c1", "b", &[("delete-delay", "5".into())]);
    assert!(deleted.0.contains_key(&b"totals"[..]));
    assert_eq!(world.sessions.len(), 1, "late packets still pass");
    let again = world.delete("c1", "b", &[]);
    assert!(!again.text("warning").is_empty());
    assert_eq!(
        world
            .ask("query", &[("call-id", "c1".into())])
            .text("result"),
        "error"
    );
    // The Call-ID may be used again meanwhile.
    world.offer("c1", "x", &sdp(A, "8"), &[]);
    world.pass(Duration::from_secs(5));
    assert_eq!((world.sessions.len(), world.relay.calls()), (1, 1));
    world.pass(Duration::from_secs(3600));
    assert_eq!(
        (world.sessions.len(), world.relay.calls()),
        (0, 0),
        "nobody answered"
    );
}

#[test]
fn silence_ends_a_call_unless_it_is_held() {
    let mut world = world();
    world.offer("c1", "a", &sdp(A, "8"), &[]);
    world.answer("c1", ("a", "b"), &sdp(B, "8"), &[]);
    let held = sdp(A, "8") + "a=inactive\r\n";
    world.offer("c1", "a", &held, &[("to-tag", "b".into())]);
    world.answer("c1", ("a", "b"), &(sdp(B, "8") + "a=inactive\r\n"), &[]);
    let session = world.sessions[0].0;
    world.event(media::Event::Silent { session });
    assert_eq!(world.relay.calls(), 1);
    world.offer("c1", "a", &sdp(A, "8"), &[("to-tag", "b".into())]);
    world.answer("c1", ("a", "b"), &sdp(B, "8"), &[]);
    world.event(media::Event::Silent { session });
    assert_eq!((world.sessions.len(), world.relay.calls()), (0, 0));
}

#[test]
fn who_is_full_says_so() {
    let mut world = with(|config| config.max_calls = 1);
    world.offer("c1", "a", &sdp(A, "8"), &[]);
    let refused = world.offer("c2", "a", &sdp(A, "8"), &[]);
    assert_eq!(refused.text("result"), "error");
    let limit = world.offer(
        "c2",
        "a",
        &sdp(A, "8"),
        &[("supports", list(&["load limit"]))],
    );
    assert_eq!(limit.text("result"), "load limit");
    world.delete("c1", "a", &[("delete-delay", 0_i64.into())]);
    world.full = true;
    let refused = world.offer("c3", "a", &sdp(A, "8"), &[]);
    assert_eq!(refused.text("error-reason"), "Ran out of ports");
    assert_eq!(world.relay.calls(), 0);
}

#[test]
fn a_call_that_is_deleted_while_it_waits_leaves_nothing() {
    let mut world = world();
    let entries = [
        ("call-id", "c1".into()),
        ("from-tag", "a".into()),
        ("sdp", sdp(A, "8").into()),
    ];
    let offer = world.message("offer", &entries);
    world.stalled = true;
    world.send(&offer);
    let entries = [
        ("call-id", "c1".into()),
        ("from-tag", "a".into()),
        ("delete-delay", 0_i64.into()),
    ];
    let delete = world.message("delete", &entries);
    let replies = world.send(&delete);
    assert_eq!(read(&replies[0]).text("error-reason"), "Call was deleted");
    world.stalled = false;
    world.work();
    assert_eq!(read(&world.replies()[0]).text("result"), "ok");
    assert_eq!((world.sessions.len(), world.relay.calls()), (0, 0));
}

#[test]
fn rfc4568_7_1_1_a_phone_that_wants_keys_gets_them() {
    let mut world = world();
    let options = [
        ("transport-protocol", "RTP/SAVP".into()),
        ("SDES", list(&["only-AES_CM_128_HMAC_SHA1_80"])),
    ];
    let offer = world.offer("c1", "a", &sdp(A, "8"), &options);
    assert!(offer.sdp().contains("RTP/SAVP 8\r\n"), "{offer:?}");
    assert_eq!(offer.sdp().matches("a=crypto:").count(), 1, "{offer:?}");
    let secret = sdp(B, "8").replace("AVP", "SAVP")
        + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
    let answer = world.answer(
        "c1",
        ("a", "b"),
        &secret,
        &[("transport-protocol", "RTP/AVP".into())],
    );
    assert!(answer.sdp().contains("RTP/AVP 8\r\n") && !answer.sdp().contains("crypto"));
    assert_eq!(
        world.remote(Side::Caller).unwrap().security,
        Security::Plain
    );
    let callee = world.remote(Side::Callee).unwrap();
    assert!(
        matches!(callee.security, Security::Sdes { .. }),
        "{callee:?}"
    );
}

#[test]
fn rfc8445_2_5_towards_whom_we_are_lite_is_as_the_flag_says() {
    let party = |ufrag: &str| {
        sdp(A, "0")
            + &format!(
                "a=ice-ufrag:{ufrag}\r\na=ice-pwd:0123456789abcdefghijkl\r\n\
                        a=candidate:1 1 udp 2113937151 192.0.2.10 4000 typ host\r\n"
            )
    };
    for (n, (flag, lite)) in [
        (None, [false, false]),
        (Some("forward"), [false, true]),
        (Some("backward"), [true, false]),
        (Some("both"), [true, true]),
        (Some("off"), [false, false]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut world = with(|config| {
            config.interfaces[0].advertised = "203.0.113.1".parse().unwrap();
        });
        let call = format!("c{n}");
        let flag = flag.map(|word| ("ICE-lite", word.into()));
        let offer = world.offer(&call, "a", &party("aaaa"), flag.as_slice());
        let answer = world.answer(&call, ("a", "b"), &party("bbbb"), &[]);
        let texts = [answer.sdp(), offer.sdp()];
        for (side, (text, lite)) in texts.iter().zip(lite).enumerate() {
            assert_eq!(text.contains("a=ice-lite"), lite, "{flag:?}: {text}");
            // A full agent names its own address too.
            let own = text.contains(" 198.51.100.1 20");
            assert_eq!(own, !lite, "{text}");
            assert!(text.contains(" 203.0.113.1 20"), "{text}");
            let side = [Side::Caller, Side::Callee][side];
            let ice = world.remote(side).unwrap().ice.unwrap();
            assert_eq!(
                ice.peer.map(|peer| peer.controlling),
                (!lite).then_some(side == Side::Callee)
            );
        }
        // What was said once holds.
        let again = world.offer(&call, "a", &party("aaaa"), &[]);
        assert_eq!(again.sdp().contains("a=ice-lite"), lite[1], "{flag:?}");
    }
}

#[test]
fn rfc5763_5_a_browser_and_a_phone_talk() {
    let mut world = world();
    let print = vec!["CD"; 32].join(":");
    let browser = format!(
        "v=0\r\no=- 7 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:111 opus/48000/2\r\n\
         a=rtcp-mux\r\na=mid:0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdefghijkl\r\n\
         a=setup:actpass\r\na=fingerprint:sha-256 {print}\r\n\
         a=candidate:1 1 udp 2113937151 192.0.2.10 4000 typ host\r\n"
    );
    let options = [
        ("transport-protocol", "RTP/AVP".into()),
        ("ICE", "remove".into()),
        ("rtcp-mux", list(&["demux"])),
    ];
    let offer = world.offer("c1", "a", &browser, &options);
    let sent = offer.sdp();
    assert!(sent.contains("m=audio 20002 RTP/AVP 111 0\r\n"), "{sent}");
    for gone in [
        "fingerprint",
        "ice-",
        "candidate",
        "rtcp-mux",
        "setup",
        "crypto",
    ] {
        assert!(!sent.contains(gone), "{gone}: {sent}");
    }
    let options = [
        ("transport-protocol", "UDP/TLS/RTP/SAVPF".into()),
        ("ICE", "force".into()),
    ];
    let answer = world.answer("c1", ("a", "b"), &sdp(B, "0"), &options);
    let sent = answer.sdp();
    for there in [
        "UDP/TLS/RTP/SAVPF 0\r\n",
        "a=fingerprint:sha-256 AB",
        "a=rtcp-mux",
        "a=candidate:",
        "a=ice-options:ice2",
    ] {
        assert!(sent.contains(there), "{there}: {sent}");
    }
    assert!(!sent.contains("a=ice-lite"), "{sent}");
    let caller = world.remote(Side::Caller).unwrap();
    let peer = caller.ice.as_ref().unwrap().peer.as_ref().unwrap();
    assert!(!peer.controlling && peer.candidates.len() == 1);
    assert!(matches!(caller.security, Security::Dtls { .. }) && caller.mux && caller.ice.is_some());
    assert_eq!(
        world.remote(Side::Callee).unwrap().security,
        Security::Plain
    );

    // And the other way: the phone calls the browser.
    let offer = world.offer("c2", "a", &sdp(A, "0"), &[("flags", list(&["WebRTC"]))]);
    let sent = offer.sdp();
    for there in [
        "UDP/TLS/RTP/SAVPF 0\r\n",
        "a=setup:actpass",
        "a=ice-ufrag:",
        "a=rtcp-mux",
    ] {
        assert!(sent.contains(there), "{there}: {sent}");
    }
    assert!(!sent.contains("crypto"), "{sent}");
}

#[test]
fn codecs_that_only_one_party_has_are_converted() {
    let mut world = world();
    let codec = Value::from([("transcode", list(&["PCMU"])), ("mask", list(&["PCMA"]))]);
    let offer = world.offer("c1", "a", &sdp(A, "8"), &[("codec", codec)]);
    assert!(offer.sdp().contains("RTP/AVP 0\r\n"), "{offer:?}");
    let answer = world.answer("c1", ("a", "b"), &sdp(B, "0"), &[]);
    assert!(answer.sdp().contains("RTP/AVP 8\r\n"), "{answer:?}");
    let numbers = |side| {
        let remote = world.remote(side).unwrap();
        remote.payloads.iter().map(|p| p.number).collect::<Vec<_>>()
    };
    assert_eq!(
        (numbers(Side::Caller), numbers(Side::Callee)),
        (vec![8], vec![0])
    );
}

#[test]
fn flags_say_where_a_party_is_and_where_we_are() {
    let mut world = with(|config| {
        let mut second = config.interfaces[0].clone();
        second.name = "priv".into();
        second.address = "10.0.0.1".parse().unwrap();
        second.advertised = "10.0.0.9".parse().unwrap();
        config.interfaces.push(second);
    });
    let options = [
        ("direction", list(&["priv", "default"])),
        (
            "flags",
            list(&["SIP-source-address", "loop-protect", "who-knows"]),
        ),
        ("received-from", list(&["IP4", "203.0.113.5"])),
    ];
    let offer = world.offer("c1", "a", &sdp(A, "8"), &options);
    assert!(offer.sdp().contains("c=IN IP4 198.51.100.1\r\n"));
    assert!(offer.sdp().contains("a=rtpengine:"));
    let looped = world.offer(
        "c9",
        "z",
        offer.sdp(),
        &[("flags", list(&["loop-protect"]))],
    );
    assert_eq!(looped.sdp(), offer.sdp());
    let media = [("media-address", "203.0.113.6".into())];
    let answer = world.answer("c1", ("a", "b"), &sdp(B, "8"), &media);
    assert!(answer.sdp().contains("c=IN IP4 10.0.0.9\r\n"), "{answer:?}");
    let bound = world.commands.iter().find_map(|command| match command {
        Command::Allocate { local, .. } => Some(*local),
        _ => None,
    });
    assert_eq!(bound.unwrap()[0], "10.0.0.1".parse().ok());
    assert_eq!(
        world.remote(Side::Caller).unwrap().rtp.to_string(),
        "203.0.113.5:4000"
    );
    assert_eq!(
        world.remote(Side::Callee).unwrap().rtp.to_string(),
        "203.0.113.6:5000"
    );
}

#[test]
fn parties_hear_files_and_keys_and_nothing() {
    let mut world = world();
    world.offer("c1", "a", &sdp(A, "8 101"), &[("label", "caller".into())]);
    world.answer("c1", ("a", "b"), &sdp(B, "8 101"), &[]);
    let call = ("call-id", Value::from("c1"));
    let session = world.sessions[0].0;
    let last = |world: &common::World| format!("{:?}", world.commands.last().unwrap());

    let play = [
        call.clone(),
        ("label", "caller".into()),
        ("file", "hello.wav".into()),
    ];
    let twice = [&play[..], &[("repeat-times", 2_i64.into())]].concat();
    assert_eq!(world.ask("play media", &twice).text("result"), "ok");
    assert!(last(&world).contains("side: Caller, source: Sound(\"hello.wav\")"));
    let finished = |number| media::Event::Finished {
        session,
        stream: 0,
        side: Side::Caller,
        number,
    };
    let commands = world.commands.len();
    world.event(finished(1));
    assert!(last(&world).contains("Sound") && world.commands.len() > commands);
    // What has ended once does not end what is played now.
    let commands = world.commands.len();
    world.event(finished(1));
    assert_eq!(world.commands.len(), commands);
    world.event(finished(2));
    assert!(last(&world).starts_with("Unserve"), "{}", last(&world));
    let commands = world.commands.len();
    world.event(finished(2));
    assert_eq!(world.commands.len(), commands);
    world.ask("play media", &play);
    world.ask("stop media", &play);
    assert!(last(&world).starts_with("Unserve"));

    let key = [
        call.clone(),
        ("from-tag", "a".into()),
        ("code", 5_i64.into()),
    ];
    assert_eq!(world.ask("play DTMF", &key).text("result"), "ok");
    assert!(last(&world).contains("side: Callee"), "{}", last(&world));

    let blocked = [
        call.clone(),
        ("from-tag", "b".into()),
        ("flags", list(&["directional"])),
    ];
    world.ask("block media", &blocked);
    assert!(
        last(&world).contains("side: Caller, source: Silence"),
        "{}",
        last(&world)
    );
    let commands = world.commands.len();
    world.ask("unblock media", &[call.clone(), ("from-tag", "b".into())]);
    assert_eq!(world.commands.len(), commands + 2, "the whole call");

    let nobody = [call.clone(), ("from-tag", "z".into()), ("file", "x".into())];
    assert_eq!(world.ask("play media", &nobody).text("result"), "error");
    assert_eq!(
        world.ask("start forwarding", &[call]).text("result"),
        "error"
    );
}

#[test]
fn a_call_is_recorded_on_demand() {
    let mut world = world();
    world.offer("c1", "a", &sdp(A, "8"), &[]);
    let flags = [("flags", list(&["record-call"]))];
    world.answer("c1", ("a", "b"), &sdp(B, "8"), &flags);
    let last = |world: &common::World| format!("{:?}", world.commands.last().unwrap());
    assert!(last(&world).starts_with("Record {"), "{}", last(&world));
    let call = [("call-id", Value::from("c1"))];
    for (command, done) in [
        ("pause recording", "paused: true"),
        ("start recording", "paused: false"),
        ("stop recording", "recording: None"),
    ] {
        assert_eq!(world.ask(command, &call).text("result"), "ok");
        assert!(last(&world).contains(done), "{}", last(&world));
    }
    let commands = world.commands.len();
    world.ask("stop recording", &call);
    assert_eq!(world.commands.len(), commands, "it was over");
    let file = [call[0].clone(), ("recording-file", "day/x.opus".into())];
    world.ask("start recording", &file);
    assert!(last(&world).contains("day/x.opus") && last(&world).contains("OggOpus"));
    let outside = [call[0].clone(), ("recording-file", "/etc/x".into())];
    assert_eq!(
        world.ask("start recording", &outside).text("result"),
        "error"
    );
}
