//! Our addresses in place of the party's: what must stay, stays; what must go, goes.

use std::net::SocketAddr;

use proptest::prelude::*;
use sdp::bridge::Policy;
use sdp::{Anchor, Direction, Sdp};

use crate::scene::{Scene, values};

const BARESIP: &str = include_str!("../data/baresip.sdp");
const LINPHONE: &str = include_str!("../data/linphone.sdp");
const IMS: &str = include_str!("../data/ims.sdp");

/// What the other party is offered, both being dealt with alike.
fn offered(text: &str, anchors: Option<&[Anchor]>) -> String {
    let mut scene = Scene::new([Policy::default(), Policy::default()]);
    scene.anchors = anchors.map(<[Anchor]>::to_vec);
    scene.offer(0, text).expect("an offer")
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
fn rfc8866_5_2_baresip_changes_addresses_only() {
    let out = offered(BARESIP, None);
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
            "o=- 77 0 IN IP4 192.0.2.1",
            "c=IN IP4 192.0.2.1",
            "m=audio 30000 RTP/AVP 96 9 8 0 101",
            "a=rtcp:30001",
        ]
    );
    let order = |text: &str| -> Vec<_> { text.lines().map(|line| line.as_bytes()[0]).collect() };
    assert_eq!(order(&out), order(BARESIP));
}

#[test]
fn no_address_of_the_party_s_is_left() {
    let out = offered(LINPHONE, None);
    assert!(!out.contains("10.0.0.7"), "{out}");
    assert!(values(&out, "candidate").is_empty() && values(&out, "group").is_empty());
    assert!(values(&out, "ice-ufrag").is_empty() && !out.contains("a=bundle-only"));
}

#[test]
fn ims_keeps_preconditions_and_a_stream_that_we_do_not_carry() {
    let v6: SocketAddr = "[2001:db8:1::5]:30000".parse().unwrap();
    let out = offered(IMS, Some(&[Anchor::At(v6), Anchor::Keep]));
    // The session's address is ours in IPv4, the stream's in IPv6: it needs a line of its own,
    // between title and bandwidth.
    assert!(
        out.contains("i=voice\r\nc=IN IP6 2001:db8:1::5\r\nb=AS:41\r\n"),
        "{out}"
    );
    assert!(out.contains("a=curr:qos local none\r\na=curr:qos remote none\r\n"));
    assert!(out.contains("m=message 2855 TCP/MSRP *\r\nc=IN IP6 2001:db8:5555::bbb\r\na=path:"));
    let refused = offered(IMS, Some(&[Anchor::At(v6)]));
    assert!(refused.contains("m=message 0 TCP/MSRP *\r\n"), "{refused}");
}

#[test]
fn a_kept_stream_keeps_the_address_it_had_from_the_session() {
    let text = "v=0\ns=x\nc=IN IP4 10.0.0.1\nt=0 0\nm=message 9 TCP/MSRP *\ni=chat\na=x\n";
    let out = offered(text, Some(&[Anchor::Keep]));
    assert!(out.ends_with("m=message 9 TCP/MSRP *\r\ni=chat\r\nc=IN IP4 10.0.0.1\r\na=x\r\n"));
}

#[test]
fn a_refused_stream_stays_refused() {
    let text = "v=0\no=- 1 1 IN IP4 10.0.0.1\ns=-\nc=IN IP4 10.0.0.1\nt=0 0\n\
                m=audio 0 RTP/AVP 0\nm=video 5000 RTP/AVP 96\n";
    let out = offered(text, None);
    assert!(out.contains("m=audio 0 RTP/AVP 0\r\nm=video 30002 RTP/AVP 96\r\n"));
    let out = offered(text, Some(&[]));
    assert!(out.contains("m=audio 0 RTP/AVP 0\r\nm=video 0 RTP/AVP 96\r\n"));
}

#[test]
fn rfc3264_8_4_hold_by_address_becomes_hold_by_attribute() {
    let text = "v=0\no=- 1 1 IN IP4 10.0.0.1\ns=-\nc=IN IP4 0.0.0.0\nt=0 0\n\
                m=audio 5000 RTP/AVP 0\na=sendrecv\na=ptime:20\n";
    let out = offered(text, None);
    let sdp = Sdp::parse(&out).unwrap();
    assert_eq!(sdp.media_at(0).unwrap().direction(), Direction::SendOnly);
    assert!(
        !out.contains("sendrecv") && out.contains("a=ptime:20\r\n"),
        "{out}"
    );
}

#[test]
fn missing_lines_are_supplied_in_their_places() {
    let out = offered("v=0\na=x\nm=audio 5000/2 RTP/AVP 0\na=y\n", None);
    assert_eq!(
        out,
        "v=0\r\no=- 77 0 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\na=x\r\n\
         m=audio 30000 RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\na=y\r\n"
    );
}

#[test]
fn rfc3605_2_1_rtcp_of_a_shared_port_is_told_to_whom_it_may_concern() {
    let at: SocketAddr = "192.0.2.1:10000".parse().unwrap();
    let out = offered(BARESIP, Some(&[Anchor::Shared(at)]));
    assert!(
        out.contains("m=audio 10000 RTP/AVP 96 9 8 0 101\r\n"),
        "{out}"
    );
    assert_eq!(values(&out, "rtcp"), ["10000"]);

    let mut scene = Scene::new([Policy::default(), Policy::default()]);
    scene.anchors = Some(vec![Anchor::Shared(at)]);
    let muxed = BARESIP.replace("a=rtcp:16015", "a=rtcp:16015\r\na=rtcp-mux");
    let offer = scene.offer(0, &muxed).expect("an offer");
    assert_eq!(values(&offer, "rtcp"), ["10000"]);
    for (answer, expected) in [(muxed.as_str(), &[][..]), (BARESIP, &["10000"])] {
        // In its turn the answerer asks, who has or has not the one port for both.
        scene.offer(1, answer).expect("an offer");
        let answer = scene.answer(1, answer).expect("an answer");
        assert_eq!(values(&answer, "rtcp"), expected, "{answer}");
    }
}

/// A line that may stand in a description: values and attributes that we read are likely.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-ln-zA-Z]=[ -~é]{0,20}",
        "c=IN IP(4|6) (0\\.0\\.0\\.0|10\\.0\\.0\\.[1-9]|::1|host)(/[0-9])?",
        "a=(sendrecv|sendonly|recvonly|inactive|rtcp-mux|ice-ufrag:x|group:BUNDLE 0)",
        "a=(rtcp|ptime|fmtp|rtpmap|candidate)(:[0-9]{1,6})?( [a-zA-Z0-9/;= ]{0,12})?",
        "m=(audio|video) [0-9]{1,4}(/2)? (RTP/AVP|TCP/MSRP)( [0-9]{1,3}){1,4}",
    ]
}

proptest! {
    #[test]
    fn an_offer_of_ours_leads_to_us_and_keeps_its_codecs(
        lines in proptest::collection::vec(line(), 0..30),
    ) {
        let text = format!("v=0\r\n{}\r\n", lines.join("\r\n"));
        let Ok(sdp) = Sdp::parse(&text) else { return Ok(()) };
        let mut scene = Scene::new([Policy::default(), Policy::default()]);
        let Ok(out) = scene.offer(0, &text) else { return Ok(()) };
        let ours = Sdp::parse(&out).unwrap();
        prop_assert_eq!(ours.media_count(), sdp.media_count());
        for (index, (new, old)) in ours.media().zip(sdp.media()).enumerate() {
            prop_assert_eq!(new.kind(), old.kind());
            prop_assert!(new.formats().eq(old.formats()));
            prop_assert!(new.rtpmaps().eq(old.rtpmaps()));
            if old.port() == 0 {
                prop_assert_eq!(new.port(), 0);
            } else if index < 32 {
                let us = SocketAddr::from(([192, 0, 2, 1], 30_000 + 2 * index as u16));
                prop_assert_eq!(new.direction(), old.direction());
                let transport = new.transport().unwrap();
                prop_assert_eq!(transport.rtp, us);
                prop_assert_eq!(transport.rtcp.ip(), us.ip());
            }
        }
    }
}
