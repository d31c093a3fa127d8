//! Properties of parsing and answering.

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use sdp::{Codec, Origin, Sdp, agree, answer};

/// A line that may stand in a description: letters, values and attributes that we read are likely.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-ln-zA-Z]=[ -~é]{0,20}",
        "c=IN IP(4|6) (0\\.0\\.0\\.0|10\\.0\\.0\\.[1-9]|::1|host)(/[0-9])?",
        "a=(sendrecv|sendonly|recvonly|inactive|rtcp-mux|ice-ufrag:x|group:BUNDLE 0)",
        "a=(rtcp|ptime|fmtp|rtpmap|candidate)(:[0-9]{1,6})?( [a-zA-Z0-9/;= ]{0,12})?",
        "m=(audio|video) [0-9]{1,4}(/2)? (RTP/AVP|RTP/SAVP|TCP/MSRP)( [0-9]{1,3}){1,4}",
    ]
}

fn description() -> impl Strategy<Value = String> {
    (proptest::collection::vec(line(), 0..30), any::<bool>()).prop_map(|(lines, crlf)| {
        let end = if crlf { "\r\n" } else { "\n" };
        let mut text = format!("v=0{end}");
        for line in lines {
            text += &line;
            text += end;
        }
        text
    })
}

const OURS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const ORIGIN: Origin = Origin {
    session_id: 1,
    version: 1,
    address: OURS,
};

proptest! {
    #[test]
    fn parse_and_encode_agree(text in description()) {
        let sdp = Sdp::parse(&text).unwrap();
        let mut out = String::new();
        sdp.encode(&mut out);
        prop_assert_eq!(out.replace("\r\n", "\n"), text.replace("\r\n", "\n"));
        let again = Sdp::parse(&out).unwrap();
        prop_assert_eq!(again, sdp);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(v=0\n)?([acmot]=)?\\PC{0,200}") {
        if let Ok(sdp) = Sdp::parse(&text) {
            for media in sdp.media() {
                let _ = (media.transport(), media.direction(), media.ptime());
                let _ = media.rtpmaps().count();
            }
        }
    }

    #[test]
    fn an_answer_has_the_offer_s_streams(text in description()) {
        let offer = Sdp::parse(&text).unwrap();
        let Some(agreed) = agree(&offer, &Codec::ALL) else { return Ok(()) };
        let local = sdp::Local { origin: ORIGIN, rtp: SocketAddr::new(OURS, 20_000) };
        let mut out = String::new();
        answer(&offer, &agreed, &local, &mut out);
        let answer = Sdp::parse(&out).unwrap();
        prop_assert_eq!(answer.media_count(), offer.media_count());
        for (index, (ours, theirs)) in answer.media().zip(offer.media()).enumerate() {
            prop_assert_eq!(ours.kind().to_lowercase(), theirs.kind().to_lowercase());
            prop_assert_eq!(ours.port() != 0, index == agreed.stream);
        }
        let ours = answer.media_at(agreed.stream).unwrap();
        let map = ours.rtpmap(agreed.payload_type).unwrap();
        prop_assert_eq!(map.codec(), Some(agreed.codec));
    }
}
