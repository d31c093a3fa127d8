//! What a query is answered.

use std::net::SocketAddr;

use media::{Security, SessionId, SideStats};
use ng::{Dictionary, Reply, Value};
use sdp::Sdp;

use crate::call::Call;
use crate::dialog::{Dialog, Party};

/// A call as it was when somebody asked about it, without its counters.
#[derive(Debug)]
pub(crate) struct Report {
    created: u64,
    last_signal: u64,
    dialogs: Vec<Seen>,
}

/// A dialog of it.
#[derive(Debug)]
struct Seen {
    session: SessionId,
    parties: [Face; 2],
    stats: [SideStats; 2],
}

/// A party of it.
#[derive(Debug)]
struct Face {
    tag: Box<str>,
    label: Option<Box<str>>,
    created: u64,
    medias: Vec<Value>,
}

impl Report {
    /// What is known of some dialogs of a call.
    pub(crate) fn new<'a>(call: &Call, dialogs: impl Iterator<Item = &'a Dialog>) -> Self {
        Self {
            created: call.created,
            last_signal: call.last_signal,
            dialogs: dialogs.map(Seen::new).collect(),
        }
    }

    /// Takes the counters of a dialog.
    pub(crate) fn count(&mut self, session: SessionId, stats: &[SideStats; 2]) {
        if let Some(seen) = self.dialogs.iter_mut().find(|seen| seen.session == session) {
            seen.stats = *stats;
        }
    }

    /// The whole answer.
    pub(crate) fn reply(&self) -> Reply {
        let mut tags = Dictionary::new();
        let mut totals = SideStats::default();
        for seen in &self.dialogs {
            for (side, face) in seen.parties.iter().enumerate() {
                add(&mut totals, &seen.stats[side]);
                let value = face.value(&seen.parties[1 - side].tag, &seen.stats[side]);
                tags.entry(face.tag.as_bytes().to_vec()).or_insert(value);
            }
        }
        let totals = [("RTP", counters(&totals)), ("RTCP", rtcp_counters(&totals))];
        Reply::ok()
            .with("created", self.created)
            .with("last signal", self.last_signal)
            .with("totals", Value::from(totals))
            .with("tags", Value::Dictionary(tags))
    }
}

impl Seen {
    fn new(dialog: &Dialog) -> Self {
        let face = |side: usize| Face::new(&dialog.parties[side], dialog, side);
        Self {
            session: dialog.session,
            parties: [face(0), face(1)],
            stats: Default::default(),
        }
    }
}

impl Face {
    fn new(party: &Party, dialog: &Dialog, side: usize) -> Self {
        let heard = Sdp::parse(&party.heard).ok();
        let ports = dialog.ports.iter().enumerate();
        let medias = ports.map(|(index, ports)| {
            let own = [ports.rtp[side], ports.rtcp[side]];
            media(party, heard.as_ref(), index, own)
        });
        Self {
            tag: party.tag.clone().unwrap_or_default(),
            label: party.label.clone(),
            created: party.created,
            medias: medias.collect(),
        }
    }

    fn value(&self, other: &str, stats: &SideStats) -> Value {
        let mut entries = Dictionary::new();
        let mut say = |key: &str, value: Value| entries.insert(key.into(), value);
        say("tag", Value::from(&*self.tag));
        say("created", self.created.into());
        say("in dialogue with", Value::from(other));
        say("stats", counters(stats));
        say("medias", Value::List(self.medias.clone()));
        if let Some(label) = &self.label {
            say("label", Value::from(&**label));
        }
        Value::Dictionary(entries)
    }
}

/// One stream of a party.
fn media(party: &Party, heard: Option<&Sdp<'_>>, index: usize, [rtp, rtcp]: [u16; 2]) -> Value {
    let mut entries = Dictionary::new();
    let mut say = |key: &str, value: Value| entries.insert(key.into(), value);
    say("index", (index as u64 + 1).into());
    let section = heard.and_then(|sdp| sdp.media_at(index));
    if let Some(section) = section {
        say("type", Value::from(section.kind()));
        say("protocol", Value::from(section.proto()));
    }
    let remote = heard.and_then(|sdp| party.remote(index, sdp));
    let mut flags = Vec::new();
    let muxed = remote.as_ref().is_some_and(|remote| remote.mux);
    let mut stream = local(party, rtp);
    let mut reports = local(party, if muxed { rtp } else { rtcp });
    stream.insert(b"flags".to_vec(), Value::List(vec!["RTP".into()]));
    let own = if muxed {
        &["RTP", "RTCP"][..]
    } else {
        &["RTCP"]
    };
    let own = own.iter().map(|flag| Value::from(*flag)).collect();
    reports.insert(b"flags".to_vec(), Value::List(own));
    if let Some(remote) = &remote {
        flags.push(Value::from("initialized"));
        stream.insert(b"endpoint".to_vec(), endpoint(remote.rtp));
        reports.insert(b"endpoint".to_vec(), endpoint(remote.rtcp));
        if remote.mux {
            flags.push("rtcp-mux".into());
        }
        if remote.ice.is_some() {
            flags.push("ICE".into());
        }
        match &remote.security {
            Security::Sdes { profile, .. } => {
                flags.push("SDES".into());
                stream.insert(b"crypto suite".to_vec(), format!("{profile:?}").into());
            }
            Security::Dtls { .. } => flags.push("DTLS-SRTP".into()),
            _ => {}
        }
    }
    say("flags", Value::List(flags));
    let streams = [stream, reports].map(Value::Dictionary);
    say("streams", Value::List(streams.into()));
    Value::Dictionary(entries)
}

/// Our port of one kind of packets; RTCP may have the one of RTP.
fn local(party: &Party, port: u16) -> Dictionary {
    let address = party.at.address.to_string();
    Dictionary::from([
        (b"local port".to_vec(), Value::from(port)),
        (b"local address".to_vec(), address.into()),
    ])
}

fn endpoint(at: SocketAddr) -> Value {
    let family = if at.is_ipv4() { "IPv4" } else { "IPv6" };
    Value::from([
        ("family", family.into()),
        ("address", at.ip().to_string().into()),
        ("port", at.port().into()),
    ])
}

fn counters(stats: &SideStats) -> Value {
    Value::from([
        ("packets", stats.packets.into()),
        ("bytes", stats.octets.into()),
        (
            "errors",
            (stats.forged + stats.replayed + stats.unexpected).into(),
        ),
    ])
}

fn rtcp_counters(stats: &SideStats) -> Value {
    Value::from([
        ("packets", stats.rtcp_packets.into()),
        ("bytes", stats.rtcp_octets.into()),
        ("errors", 0_u64.into()),
    ])
}

/// Adds what counts.
pub(crate) fn add(total: &mut SideStats, stats: &SideStats) {
    total.packets += stats.packets;
    total.octets += stats.octets;
    total.rtcp_packets += stats.rtcp_packets;
    total.rtcp_octets += stats.rtcp_octets;
    total.forged += stats.forged;
    total.replayed += stats.replayed;
    total.unexpected += stats.unexpected;
}
