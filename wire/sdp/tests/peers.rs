//! Offers as real phones write them, anchored: what must stay, stays; what must go, goes.

use std::net::SocketAddr;

use sdp::{Anchor, Codec, Direction, Origin, Rewrite, Sdp, agree, rewrite};

const BARESIP: &str = include_str!("data/baresip.sdp");
const LINPHONE: &str = include_str!("data/linphone.sdp");
const CHROMIUM: &str = include_str!("data/chromium.sdp");
const IMS: &str = include_str!("data/ims.sdp");

fn at(port: u16) -> Anchor {
    Anchor::At(SocketAddr::from(([192, 0, 2, 1], port)))
}

fn anchored(text: &str, media: &[Anchor]) -> String {
    let origin = Origin {
        session_id: 77,
        version: 3,
        address: [192, 0, 2, 1].into(),
    };
    let mut out = String::new();
    let sdp = Sdp::parse(text).expect("a description");
    rewrite(&sdp, &Rewrite { origin, media }, &mut out);
    Sdp::parse(&out).expect("what we write can be read");
    out
}

/// Lines of `before` that are not in `after`, and the other way round.
fn difference<'a>(before: &'a str, after: &'a str) -> (Vec<&'a str>, Vec<&'a str>) {
    let missing = |a: &'a str, b: &str| {
        let b: Vec<_> = b.lines().collect();
        a.lines().filter(|line| !b.contains(line)).collect()
    };
    (missing(before, after), missing(after, before))
}

#[test]
fn every_peer_s_description_encodes_to_itself() {
    for text in [BARESIP, LINPHONE, CHROMIUM, IMS] {
        assert_eq!(Sdp::parse(text).unwrap().to_string(), text);
    }
}

/// RFC 8866 §5.2.
#[test]
fn baresip_changes_addresses_only() {
    let out = anchored(BARESIP, &[at(20_000)]);
    let (gone, new) = difference(BARESIP, &out);
    assert_eq!(
        gone,
        [
            "o=- 1803292763 1209014381 IN IP4 10.0.0.9",
            "c=IN IP4 10.0.0.9",
            "m=audio 16014 RTP/AVP 96 9 8 0 101",
            "a=rtcp:16015",
        ]
    );
    assert_eq!(
        new,
        [
            "o=- 77 3 IN IP4 192.0.2.1",
            "c=IN IP4 192.0.2.1",
            "m=audio 20000 RTP/AVP 96 9 8 0 101",
            "a=rtcp:20001",
        ]
    );
    let order = |text: &str| -> Vec<_> { text.lines().map(|line| line.as_bytes()[0]).collect() };
    assert_eq!(order(&out), order(BARESIP));
}

#[test]
fn baresip_s_choice_is_opus_unless_it_is_not_ours() {
    let sdp = Sdp::parse(BARESIP).unwrap();
    let agreed = agree(&sdp, &Codec::ALL).unwrap();
    assert_eq!((agreed.codec, agreed.payload_type), (Codec::Opus, 96));
    assert_eq!(agreed.telephone_event.unwrap().payload_type, 101);
    let agreed = agree(&sdp, &[Codec::Pcmu, Codec::Pcma]).unwrap();
    assert_eq!(agreed.codec, Codec::Pcma);
    let transport = sdp.media_at(0).unwrap().transport().unwrap();
    assert_eq!(transport.rtcp.port(), 16015);
    assert!(!transport.mux);
}

#[test]
fn linphone_keeps_keys_and_loses_ice_and_bundle() {
    let out = anchored(LINPHONE, &[at(20_000), at(20_002)]);
    let (gone, _) = difference(LINPHONE, &out);
    assert_eq!(
        gone,
        [
            "o=1002 3411 1725 IN IP4 10.0.0.7",
            "c=IN IP4 10.0.0.7",
            "a=ice-pwd:8d2ab19fc10d8e6b7a6d5b0f",
            "a=ice-ufrag:c0ffee11",
            "a=group:BUNDLE as vs",
            "m=audio 7078 RTP/SAVP 96 0 8 9 101",
            "a=rtcp:7079",
            "a=candidate:1 1 UDP 2130706303 10.0.0.7 7078 typ host",
            "a=candidate:1 2 UDP 2130706302 10.0.0.7 7079 typ host",
            "m=video 9078 RTP/SAVP 97",
            "a=bundle-only",
            "a=candidate:1 1 UDP 2130706303 10.0.0.7 9078 typ host",
        ]
    );
    assert!(!out.contains("10.0.0.7"));
    assert!(out.contains("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"));
    assert!(out.contains("m=video 20002 RTP/SAVP 97\r\n"));
}

#[test]
fn chromium_s_placeholder_address_is_no_hold() {
    let sdp = Sdp::parse(CHROMIUM).unwrap();
    let audio = sdp.media_at(0).unwrap();
    assert_eq!(audio.direction(), Direction::SendRecv);
    assert_eq!(audio.transport(), None);
    assert!(audio.is_protected() && audio.is_rtp() && audio.mux());
    let out = anchored(CHROMIUM, &[at(20_000)]);
    assert!(out.contains("m=audio 20000 UDP/TLS/RTP/SAVPF 111 63"));
    assert!(out.contains("c=IN IP4 192.0.2.1\r\na=rtcp:20000\r\na=fingerprint:sha-256 6B:"));
    assert!(!out.contains("ice-") && !out.contains("candidate") && !out.contains("192.168."));
    assert!(out.contains("a=setup:actpass\r\n") && out.contains("a=sendrecv\r\n"));
}

#[test]
fn ims_keeps_preconditions_and_a_stream_that_we_do_not_carry() {
    let v6: SocketAddr = "[2001:db8:1::5]:30000".parse().unwrap();
    let out = anchored(IMS, &[Anchor::At(v6), Anchor::Keep]);
    // The session's address is ours in IPv4, the stream's in IPv6: it needs a line of its own,
    // between title and bandwidth.
    assert!(out.contains(
        "m=audio 30000 RTP/AVP 97 98 100\r\ni=voice\r\nc=IN IP6 2001:db8:1::5\r\nb=AS:41\r\n"
    ));
    assert!(out.contains("a=curr:qos local none\r\na=curr:qos remote none\r\n"));
    assert!(out.contains("m=message 2855 TCP/MSRP *\r\nc=IN IP6 2001:db8:5555::bbb\r\na=path:"));
    let refused = anchored(IMS, &[Anchor::At(v6)]);
    assert!(refused.contains("m=message 0 TCP/MSRP *\r\nc=IN IP4 192.0.2.1\r\na=path:"));
}

#[test]
fn a_kept_stream_keeps_the_address_it_had_from_the_session() {
    let text = "v=0\ns=x\nc=IN IP4 10.0.0.1\nt=0 0\nm=message 9 TCP/MSRP *\ni=chat\na=x\n";
    let out = anchored(text, &[Anchor::Keep]);
    assert!(out.ends_with("m=message 9 TCP/MSRP *\r\ni=chat\r\nc=IN IP4 10.0.0.1\r\na=x\r\n"));
}

#[test]
fn a_refused_stream_stays_refused() {
    let text = "v=0\no=- 1 1 IN IP4 10.0.0.1\ns=-\nc=IN IP4 10.0.0.1\nt=0 0\n\
                m=audio 0 RTP/AVP 0\nm=video 5000 RTP/AVP 96\n";
    let out = anchored(text, &[at(20_000), at(20_002)]);
    assert!(out.ends_with("m=audio 0 RTP/AVP 0\r\nm=video 20002 RTP/AVP 96\r\n"));
    assert!(anchored(text, &[]).ends_with("m=audio 0 RTP/AVP 0\r\nm=video 0 RTP/AVP 96\r\n"));
}

/// RFC 3264 §8.4.
#[test]
fn hold_by_address_becomes_hold_by_attribute() {
    let text = "v=0\no=- 1 1 IN IP4 10.0.0.1\ns=-\nc=IN IP4 0.0.0.0\nt=0 0\n\
                m=audio 5000 RTP/AVP 0\na=sendrecv\na=ptime:20\n";
    let out = anchored(text, &[at(20_000)]);
    assert!(out.ends_with("m=audio 20000 RTP/AVP 0\r\na=ptime:20\r\na=sendonly\r\n"));
    let sdp = Sdp::parse(&out).unwrap();
    assert_eq!(sdp.media_at(0).unwrap().direction(), Direction::SendOnly);
}

#[test]
fn missing_lines_are_supplied_in_their_places() {
    let out = anchored("v=0\na=x\nm=audio 5000/2 RTP/AVP 0\na=y\n", &[at(20_000)]);
    assert_eq!(
        out,
        "v=0\r\no=- 77 3 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\na=x\r\n\
         m=audio 20000 RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\na=y\r\n"
    );
}
