//! Session descriptions: reading and answering.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sdp::{Codec, Local, Origin, Sdp, agree, answer};

fuzz_target!(|bytes: &[u8]| {
    let Ok(sdp) = Sdp::parse_bytes(bytes) else {
        return;
    };
    let mut text = String::new();
    sdp.encode(&mut text);
    assert_eq!(Sdp::parse(&text).as_ref(), Ok(&sdp));
    for media in sdp.media() {
        let _ = (media.transport(), media.direction(), media.connection());
        let _ = (media.ptime(), media.maxptime(), media.mux());
        let _ = media
            .rtpmaps()
            .filter_map(|map| media.fmtp(map.payload_type))
            .count();
    }
    take(&sdp);
});

const ORIGIN: Origin = Origin {
    session_id: 1,
    version: 1,
    address: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
};

fn take(offer: &Sdp<'_>) {
    let Some(agreed) = agree(offer, &Codec::ALL) else {
        return;
    };
    let local = Local {
        origin: ORIGIN,
        rtp: ([192, 0, 2, 1], 20_000).into(),
    };
    let mut text = String::new();
    answer(offer, &agreed, &local, &mut text);
    let ours = Sdp::parse(&text).expect("what we write parses");
    assert_eq!(ours.media_count(), offer.media_count());
    let again = agree(&ours, &Codec::ALL).expect("our own answer agrees");
    assert_eq!(
        (again.codec, again.payload_type),
        (agreed.codec, agreed.payload_type)
    );
}
