//! Descriptions of two parties that offer and answer in turn, with us between them.
//!
//! The first two octets choose the policies; the texts follow, parted by octets of zero.
#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use sdp::bridge::{
    Add, Encryption, Endpoint, Fingerprint, Keying, Ours, Policy, Random, Said, Terms,
    Transcodable, Use, ice,
};
use sdp::{Anchor, Codec, Origin, Sdp};

fuzz_target!(|bytes: &[u8]| {
    let Some((&[first, second], texts)) = bytes.split_first_chunk() else {
        return;
    };
    let policies = [policy(first), policy(second)];
    let print = Fingerprint::parse(PRINT).expect("a fingerprint");
    let mut table = Table {
        ends: Default::default(),
        heard: Default::default(),
        terms: policies.each_ref().map(|policy| Terms {
            policy,
            fingerprint: (first & 64 != 0).then_some(&print),
            ice: (second & 64 != 0).then_some(ice::Mode::Full),
        }),
    };
    let texts = texts.split(|&octet| octet == 0).take(8);
    let texts: Vec<_> = texts
        .filter_map(|text| std::str::from_utf8(text).ok())
        .collect();
    for (turn, pair) in texts.chunks(2).enumerate() {
        table.exchange(turn % 2, pair[0], pair.get(1).copied());
    }
    for text in texts {
        table.serve(text);
    }
});

const PRINT: &str = "sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:\
                     00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF";

const CODECS: &[Transcodable] = &[
    Transcodable {
        name: "opus",
        clock_rate: 48_000,
        channels: 2,
        payload_type: None,
        fmtp: "",
    },
    Transcodable {
        name: "PCMA",
        clock_rate: 8000,
        channels: 1,
        payload_type: Some(8),
        fmtp: "",
    },
    Transcodable {
        name: "AMR",
        clock_rate: 8000,
        channels: 1,
        payload_type: None,
        fmtp: "",
    },
];

fn policy(choice: u8) -> Policy {
    let uses = [Use::Never, Use::Follow, Use::Always];
    let all = uses[usize::from(choice / 16 % 3)];
    let encryption = [
        Encryption::Forbidden,
        Encryption::Follow,
        Encryption::Optional,
        Encryption::Required,
    ];
    Policy {
        encryption: encryption[usize::from(choice % 4)],
        keying: [Keying::Sdes, Keying::Dtls, Keying::Both, Keying::Both]
            [usize::from(choice / 4 % 4)],
        feedback: all,
        mux: all,
        ice: all,
        bundle: all,
        sources: choice & 32 != 0,
        extensions: choice & 32 != 0,
        codecs: if choice & 128 == 0 {
            Vec::new()
        } else {
            vec!["opus".into(), "PCMU".into()]
        },
        transcode: if choice & 64 == 0 { &[] } else { CODECS },
        add: if choice & 32 == 0 {
            Add::Needed
        } else {
            Add::Always
        },
        ..Policy::default()
    }
}

/// Not random at all.
struct Fixed;

impl Random for Fixed {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

struct Table<'p> {
    ends: [Endpoint; 2],
    heard: [String; 2],
    terms: [Terms<'p>; 2],
}

impl Table<'_> {
    /// `from` offers, and the other side answers.
    fn exchange(&mut self, from: usize, offer: &str, answer: Option<&str>) {
        let Ok(sdp) = Sdp::parse(offer) else { return };
        let [mut asking, mut asked] = [from, 1 - from].map(|side| self.ends[side].clone());
        let terms = [self.terms[from], self.terms[1 - from]];
        if asking.hear_offer(&sdp, &terms[0], &mut Fixed).is_err() {
            return;
        }
        let anchors = anchors();
        let ours = ours(&anchors);
        let said = Said {
            sdp: &sdp,
            by: &asking,
            policy: terms[0].policy,
        };
        let mut onward = String::new();
        let heard = &self.heard[1 - from];
        if asked
            .offer(&said, heard, &ours, &terms[1], &mut Fixed, &mut onward)
            .is_err()
        {
            return;
        }
        let written = Sdp::parse(&onward).expect("our offer parses");
        assert_eq!(written.media_count(), sdp.media_count());
        let Some(Ok(answer)) = answer.map(Sdp::parse) else {
            return;
        };
        let mut back = String::new();
        if asked.hear_answer(&answer).is_err()
            || asking
                .answer(&sdp, &answer, &mut asked, &ours, &terms[0], &mut back)
                .is_err()
        {
            return;
        }
        check(&sdp, &Sdp::parse(&back).expect("our answer parses"));
        for index in 0..sdp.media_count() {
            let _ = (asking.plan(index, &sdp), asked.plan(index, &answer));
        }
        self.heard[from] = offer.into();
        self.heard[1 - from] = answer.to_string();
        self.ends[from] = asking;
        self.ends[1 - from] = asked;
    }

    /// We are the other party.
    fn serve(&self, text: &str) {
        let Ok(offer) = Sdp::parse(text) else { return };
        let mut end = Endpoint::default();
        let anchors = anchors();
        let ours = ours(&anchors);
        if end.hear_offer(&offer, &self.terms[0], &mut Fixed).is_err() {
            return;
        }
        let Some(agreed) = end.agree(&offer, &Codec::ALL) else {
            return;
        };
        let mut out = String::new();
        if end
            .serve(&offer, (&agreed, None), &ours, &self.terms[0], &mut out)
            .is_ok()
        {
            check(&offer, &Sdp::parse(&out).expect("our answer parses"));
        }
    }
}

/// RFC 3264 §6.
fn check(offer: &Sdp<'_>, answer: &Sdp<'_>) {
    assert_eq!(offer.media_count(), answer.media_count());
    for (offered, answered) in offer.media().zip(answer.media()) {
        assert_eq!(offered.kind(), answered.kind());
        assert_eq!(offered.proto(), answered.proto());
        if answered.port() != 0 {
            let formats: Vec<_> = offered.formats().collect();
            let number = |format: &str| format.parse::<u8>().ok();
            for format in answered.formats() {
                let same = |own: &&str| {
                    *own == format || number(own).is_some_and(|n| Some(n) == number(format))
                };
                assert!(formats.iter().any(same), "{format}");
            }
        }
    }
}

fn anchors() -> Vec<Anchor> {
    let at = |index: u16| Anchor::At(SocketAddr::from(([192, 0, 2, 1], 20_000 + 2 * index)));
    (0..32).map(at).collect()
}

fn ours(anchors: &[Anchor]) -> Ours<'_> {
    Ours {
        origin: Origin {
            session_id: 1,
            version: 1,
            address: [192, 0, 2, 1].into(),
        },
        media: anchors,
        candidates: &[],
    }
}
