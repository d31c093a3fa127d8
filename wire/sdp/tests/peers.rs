//! Descriptions as real phones write them, read.

use sdp::{Codec, Direction, Sdp, agree};

const BARESIP: &str = include_str!("data/baresip.sdp");
const LINPHONE: &str = include_str!("data/linphone.sdp");
const CHROMIUM: &str = include_str!("data/chromium.sdp");
const IMS: &str = include_str!("data/ims.sdp");

#[test]
fn every_peer_s_description_encodes_to_itself() {
    for text in [BARESIP, LINPHONE, CHROMIUM, IMS] {
        assert_eq!(Sdp::parse(text).unwrap().to_string(), text);
    }
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
fn chromium_s_placeholder_address_is_no_hold() {
    let sdp = Sdp::parse(CHROMIUM).unwrap();
    let audio = sdp.media_at(0).unwrap();
    assert_eq!(audio.direction(), Direction::SendRecv);
    assert_eq!(audio.transport(), None);
    assert!(audio.is_protected() && audio.is_rtp() && audio.mux());
}
