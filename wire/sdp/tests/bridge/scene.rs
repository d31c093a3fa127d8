//! Two endpoints and what goes over the wire between them.

use std::net::SocketAddr;

use sdp::bridge::{
    Endpoint, Fingerprint, Ours, Policy, Random, Refusal, Said, Terms, Transcodable, ice,
};
use sdp::{Anchor, Origin, Sdp};

pub(crate) const PRINT: &str = "sha-256 AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:\
                         AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99";

/// Codecs that can be converted.
pub(crate) const CODECS: &[Transcodable] = &[
    codec("opus", 48_000, 2, None, "useinbandfec=1"),
    codec("G722", 8000, 1, Some(9), ""),
    codec("PCMA", 8000, 1, Some(8), ""),
    codec("PCMU", 8000, 1, Some(0), ""),
    codec("G729", 8000, 1, Some(18), "annexb=no"),
    codec("AMR-WB", 16_000, 1, None, "octet-align=1"),
];

const fn codec(
    name: &'static str,
    clock_rate: u32,
    channels: u8,
    payload_type: Option<u8>,
    fmtp: &'static str,
) -> Transcodable {
    Transcodable {
        name,
        clock_rate,
        channels,
        payload_type,
        fmtp,
    }
}

/// Every octet differs from the one before it, and every key from every other.
#[derive(Default)]
pub(crate) struct Counting(u32);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (self.0 >> 24) as u8;
        }
    }
}

/// The party on each side, by number, and our ends towards both.
pub(crate) struct Scene {
    pub(crate) ends: [Endpoint; 2],
    pub(crate) policies: [Policy; 2],
    pub(crate) ice: Option<ice::Mode>,
    pub(crate) dtls: bool,
    pub(crate) random: Counting,
    /// Where streams go instead of our usual addresses.
    pub(crate) anchors: Option<Vec<Anchor>>,
    /// What we say of ways to us, by stream.
    pub(crate) candidates: Vec<(usize, Box<str>)>,
    heard: [String; 2],
    version: u64,
}

impl Scene {
    pub(crate) fn new(policies: [Policy; 2]) -> Self {
        Self {
            ends: Default::default(),
            policies,
            ice: None,
            dtls: true,
            random: Counting::default(),
            anchors: None,
            candidates: Vec::new(),
            heard: Default::default(),
            version: 0,
        }
    }

    /// `from` offers; the offer that the other side gets.
    pub(crate) fn offer(&mut self, from: usize, text: &str) -> Result<String, Refusal> {
        let to = 1 - from;
        let print = Fingerprint::parse(PRINT).unwrap();
        let print = self.dtls.then_some(&print);
        let sdp = Sdp::parse(text).unwrap();
        let policies = self.policies.clone();
        let terms = |side: usize| Terms {
            policy: &policies[side],
            fingerprint: print,
            ice: self.ice,
        };
        self.ends[from].hear_offer(&sdp, &terms(from), &mut self.random)?;
        let mut out = String::new();
        let mut ends = self.ends.clone();
        let said = Said {
            sdp: &sdp,
            by: &self.ends[from],
            policy: &policies[from],
        };
        let (usual, origin) = ours(to, self.version);
        let anchors = self.anchors.clone().unwrap_or(usual);
        let ours = Ours {
            origin,
            media: &anchors,
            candidates: &self.candidates,
        };
        let heard = self.heard[to].clone();
        ends[to].offer(&said, &heard, &ours, &terms(to), &mut self.random, &mut out)?;
        self.ends = ends;
        self.version += 1;
        self.heard[from] = text.into();
        Sdp::parse(&out).expect("what we write can be read");
        Ok(out)
    }

    /// The other side answers; the answer that `to`, who offered, gets.
    pub(crate) fn answer(&mut self, to: usize, text: &str) -> Result<String, Refusal> {
        let from = 1 - to;
        let print = Fingerprint::parse(PRINT).unwrap();
        let offer = self.heard[to].clone();
        let (offer, answer) = (Sdp::parse(&offer).unwrap(), Sdp::parse(text).unwrap());
        self.ends[from].hear_answer(&answer)?;
        let policy = self.policies[to].clone();
        let terms = Terms {
            policy: &policy,
            fingerprint: self.dtls.then_some(&print),
            ice: self.ice,
        };
        let mut by = self.ends[from].clone();
        let (usual, origin) = ours(to, self.version);
        let anchors = self.anchors.clone().unwrap_or(usual);
        let ours = Ours {
            origin,
            media: &anchors,
            candidates: &self.candidates,
        };
        let mut out = String::new();
        self.ends[to].answer(&offer, &answer, &mut by, &ours, &terms, &mut out)?;
        self.ends[from] = by;
        self.heard[from] = text.into();
        Sdp::parse(&out).expect("what we write can be read");
        Ok(out)
    }

    /// Looks at what was agreed with a side about a stream.
    pub(crate) fn plan<T>(
        &self,
        side: usize,
        stream: usize,
        look: impl FnOnce(sdp::bridge::Plan<'_>) -> T,
    ) -> Option<T> {
        let heard = Sdp::parse(&self.heard[side]).unwrap();
        self.ends[side].plan(stream, &heard).map(look)
    }
}

/// Our addresses towards a side: 192.0.2.1, from port 20000 towards the first and 30000 the second.
fn ours(side: usize, version: u64) -> (Vec<Anchor>, Origin) {
    let base = if side == 0 { 20_000 } else { 30_000 };
    let at = |index: u16| Anchor::At(SocketAddr::from(([192, 0, 2, 1], base + 2 * index)));
    let origin = Origin {
        session_id: 77,
        version,
        address: [192, 0, 2, 1].into(),
    };
    ((0..32).map(at).collect(), origin)
}

/// Whether the text has this line.
pub(crate) fn has(text: &str, line: &str) -> bool {
    text.lines().any(|own| own == line)
}

/// The values of an attribute.
pub(crate) fn values<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let prefix = format!("a={name}:");
    let value = |line: &'a str| line.strip_prefix(prefix.as_str());
    text.lines().filter_map(value).collect()
}
