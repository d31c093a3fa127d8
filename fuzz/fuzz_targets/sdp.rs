//! Session descriptions: reading, anchoring twice, answering.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sdp::{Anchor, Codec, Local, Origin, Rewrite, Sdp, agree, answer, rewrite};

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
    anchor(&sdp);
    take(&sdp);
});

const ORIGIN: Origin = Origin {
    session_id: 1,
    version: 1,
    address: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
};

fn anchor(sdp: &Sdp<'_>) {
    let anchors: Vec<_> = (0..sdp.media_count())
        .map(|index| match index % 4 {
            3 => Anchor::Refuse,
            _ => Anchor::At(([192, 0, 2, 1], 20_000).into()),
        })
        .collect();
    let with = Rewrite {
        origin: ORIGIN,
        media: &anchors,
    };
    let (mut once, mut twice) = (String::new(), String::new());
    rewrite(sdp, &with, &mut once);
    let anchored = Sdp::parse(&once).expect("what we write parses");
    assert_eq!(anchored.media_count(), sdp.media_count());
    rewrite(&anchored, &with, &mut twice);
    assert_eq!(once, twice);
    for (new, old) in anchored.media().zip(sdp.media()) {
        assert!(new.formats().eq(old.formats()));
        if let Some(transport) = new.transport() {
            assert_eq!(transport.rtp.ip(), ORIGIN.address);
            assert_eq!(transport.rtcp.ip(), ORIGIN.address);
            assert_eq!(new.direction(), old.direction());
        }
    }
}

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
