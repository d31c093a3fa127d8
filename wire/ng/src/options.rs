//! How descriptions are to be changed.
//!
//! The same thing may be said by a key of its own (`"ICE": "force"`), by an entry of `flags`
//! (`ICE=force`, `rtcp-mux-demux`, `codec-strip-PCMA`), or in the string `rtpp_flags`. What we have
//! never heard of is passed over: proxies send their users' words as they are.

use std::net::IpAddr;

use crate::attributes::{self, AttributeEdits};
use crate::flags::{self, Entry, after, entries};
use crate::value::{Dictionary, Value};

/// Everything that a request may say beside its subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The profile of the outgoing description; none: that of the incoming one.
    pub transport: Option<Transport>,
    /// An answer in another profile than was offered passes as it is.
    pub accepts_transport: bool,
    /// Whether ICE is done with the receiver; none: if the sender does it.
    pub ice: Option<Ice>,
    /// Whether we only answer checks; none: as before, which is at first that we send checks too.
    pub ice_lite: Option<IceLite>,
    /// The sender's ICE is not answered.
    pub rejects_ice: bool,
    /// Keys by handshake.
    pub dtls: Option<Dtls>,
    /// Our part in the handshake that the sender of an offer wants; in an answer
    /// [`dtls`](Self::dtls) says the same.
    pub dtls_reverse: Option<Dtls>,
    /// Keys in the description.
    pub sdes: Sdes,
    /// A plain offer gets keys beside it.
    pub osrtp: bool,
    /// RTCP on the RTP port.
    pub rtcp_mux: RtcpMux,
    /// Codecs.
    pub codecs: Codecs,
    /// Names of our addresses towards the sender and the receiver.
    pub direction: [Option<Box<str>>; 2],
    /// The family of our address towards the receiver.
    pub family: Option<Family>,
    /// Where the sender's media are, whatever its description says.
    pub media_address: Option<IpAddr>,
    /// Where the SIP message came from.
    pub received_from: Option<IpAddr>,
    /// That is also where the media are.
    pub sip_source: bool,
    /// The sender's media come from elsewhere than they go to: nothing is learnt.
    pub asymmetric: bool,
    /// Packets from elsewhere are dropped once the source is known.
    pub strict_source: bool,
    /// A new source is followed at any time.
    pub media_handover: bool,
    /// What the client calls the sender, or by which it picks a party.
    pub label: Option<Box<str>>,
    /// What the client is going to call the party.
    pub set_label: Option<Box<str>>,
    /// Type of service of packets, in the IP header's octet; none: that of all.
    pub tos: Option<u8>,
    /// It stays as it is.
    pub keeps_tos: bool,
    /// How digits are blocked: `drop`, or one of the ways to put something in their place.
    pub digits: Option<Box<str>>,
    /// What of a description is to be kept or replaced.
    pub replace: Replace,
    /// Whether the call is recorded.
    pub record: Option<bool>,
    /// A description that has been here already is not to be changed again.
    pub loop_protect: bool,
    /// Packet length towards the receiver, in milliseconds.
    pub ptime: Option<u8>,
    /// Packet length towards the sender.
    pub ptime_reverse: Option<u8>,
    /// Our own `a=mid`.
    pub generate_mid: bool,
    /// What is done to the attributes of our description at last.
    pub attributes: AttributeEdits,
    /// Kinds of media whose sections the receiver does not see.
    pub media_remove: Vec<Box<str>>,
    /// The request is about the party that `from-tag` names, not the whole call.
    pub directional: bool,
    /// The request is about all parties.
    pub all: bool,
    /// What cannot be deleted is an error.
    pub fatal: bool,
    /// Statistics are not wanted.
    pub fast: bool,
    /// A pause, not the end, of a recording.
    pub pause: bool,
    /// Seconds until a deleted call is gone.
    pub delete_delay: Option<u32>,
    /// The client knows the answer "load limit".
    pub load_limit: bool,
}

/// A transport of descriptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Transport {
    /// `RTP/SAVP`, `RTP/SAVPF` or with a handshake.
    pub secure: bool,
    /// `UDP/TLS/…`
    pub dtls: bool,
    /// `…/AVPF`, `…/SAVPF`
    pub feedback: bool,
}

impl Transport {
    /// Reads `RTP/AVP` and its like.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let dtls = text.len() > 8 && text.as_bytes()[..8].eq_ignore_ascii_case(b"UDP/TLS/");
        let profile = if dtls { &text[8..] } else { text };
        let (secure, feedback) = match profile {
            "RTP/AVP" => (false, false),
            "RTP/AVPF" => (false, true),
            "RTP/SAVP" => (true, false),
            "RTP/SAVPF" => (true, true),
            _ => return None,
        };
        Some(Self {
            secure: secure || dtls,
            dtls,
            feedback,
        })
    }
}

/// Whether ICE is done with the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ice {
    /// No.
    Remove,
    /// Yes.
    Force,
    /// If the sender does it.
    Default,
}

/// Towards whom we only answer checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IceLite {
    /// The receiver of the offer.
    Forward,
    /// Its sender.
    Backward,
    /// Both.
    Both,
    /// Nobody.
    Off,
}

impl IceLite {
    fn parse(word: &str) -> Option<Self> {
        Some(match &*word.to_ascii_lowercase() {
            "forward" | "offer" => Self::Forward,
            "backward" | "backwards" | "reverse" => Self::Backward,
            "both" => Self::Both,
            "off" | "no" | "disable" => Self::Off,
            _ => return None,
        })
    }

    /// Whether we are lite towards the sender, and towards the receiver; none: as before.
    #[must_use]
    pub const fn sides(self) -> [Option<bool>; 2] {
        match self {
            Self::Forward => [None, Some(true)],
            Self::Backward => [Some(true), None],
            Self::Both => [Some(true), Some(true)],
            Self::Off => [Some(false), Some(false)],
        }
    }
}

/// Keys by handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtls {
    /// Never.
    Off,
    /// We wait for the handshake.
    Passive,
    /// We begin it.
    Active,
}

impl Dtls {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "off" | "no" | "disable" => Self::Off,
            "passive" => Self::Passive,
            "active" => Self::Active,
            _ => return None,
        })
    }
}

/// Keys in the description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sdes {
    /// Never.
    pub off: bool,
    /// These suites, and no others; empty: any.
    pub only: Vec<Box<str>>,
    /// Not these suites.
    pub without: Vec<Box<str>>,
    /// These suites first.
    pub order: Vec<Box<str>>,
    /// Of the sender's keys, one with these suites is taken if there is any.
    pub prefer: Vec<Box<str>>,
    /// Only suites that the sender has offered.
    pub no_new: bool,
    /// Keys say how long they last.
    pub lifetime: bool,
}

/// What of a description is replaced beyond the addresses of media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Replace {
    /// The session's name stays what it was for the party.
    pub session_name: bool,
    /// The version grows even if nothing has changed.
    pub version: bool,
}

/// RTCP on the RTP port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RtcpMux {
    /// Offered, whatever the sender does.
    pub offer: bool,
    /// Offered, and taken for granted.
    pub require: bool,
    /// Accepted of the sender, not offered.
    pub demux: bool,
    /// Accepted, and offered if the sender offers it.
    pub accept: bool,
    /// Not accepted of the sender.
    pub reject: bool,
}

/// What happens to codecs. Names are those of `a=rtpmap`, perhaps with parameters: `opus/48000/2`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Codecs {
    /// Not offered, and not used with the sender.
    pub strip: Vec<Box<str>>,
    /// Of those that were offered these stay, in this order.
    pub offer: Vec<Box<str>>,
    /// These stay, even if all are stripped or masked.
    pub except: Vec<Box<str>>,
    /// These are added, and converted.
    pub transcode: Vec<Box<str>>,
    /// Not offered, but used with the sender, and converted.
    pub mask: Vec<Box<str>>,
    /// Used with the sender and converted if the receiver does not take them.
    pub accept: Vec<Box<str>>,
    /// Not used with the sender.
    pub ignore: Vec<Box<str>>,
    /// How the sender's codecs are encoded: bit rates, as [`CodecSpec`](crate::CodecSpec) has them.
    pub set: Vec<Box<str>>,
}

impl Codecs {
    /// Whether anything is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn list(&mut self, name: &str) -> Option<&mut Vec<Box<str>>> {
        Some(match &*name.to_ascii_lowercase() {
            "strip" => &mut self.strip,
            "offer" => &mut self.offer,
            "except" => &mut self.except,
            "transcode" => &mut self.transcode,
            "mask" | "consume" => &mut self.mask,
            "accept" => &mut self.accept,
            "ignore" => &mut self.ignore,
            "set" => &mut self.set,
            _ => return None,
        })
    }
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Options {
    /// Reads all keys of a dictionary.
    #[must_use]
    pub fn read(dictionary: &Dictionary) -> Self {
        let mut options = Self::default();
        for (key, value) in dictionary {
            if let Ok(key) = std::str::from_utf8(key) {
                options.take(key, value);
            }
        }
        options
    }

    /// Takes what a key says.
    fn take(&mut self, key: &str, value: &Value) {
        let key = key.to_ascii_lowercase().replace([' ', '_'], "-");
        match &*key {
            "flags" => value.texts().for_each(|flag| self.flag(flag)),
            "replace" => value.texts().for_each(|part| self.replace(part)),
            "rtpp-flags" => self.string(value),
            "transport-protocol" => self.transport(value.text().unwrap_or("")),
            "sdes" => value.texts().for_each(|word| self.sdes(word)),
            "osrtp" => self.osrtp |= value.texts().any(|word| word.starts_with("offer")),
            "rtcp-mux" => value.texts().for_each(|word| self.rtcp_mux(word)),
            "codec" => self.codec_lists(value),
            "sdp-attr" => self.attributes.take(value),
            "sdp-media-remove" => {
                let kinds = value.texts().map(Into::into);
                self.media_remove.extend(kinds);
            }
            "direction" => value.texts().for_each(|name| self.interface(name)),
            "from-interface" => self.direction[0] = text(value),
            "to-interface" => self.direction[1] = text(value),
            "supports" => self.load_limit |= value.texts().any(|word| word == "load limit"),
            "received-from" => {
                let mut addresses = value.texts().filter_map(|word| word.parse().ok());
                self.received_from = addresses.next().or(self.received_from);
            }
            "label" | "from-label" => self.label = text(value),
            "set-label" => self.set_label = text(value),
            "tos" => {
                self.keeps_tos = value.number().is_some_and(|tos| tos < 0);
                self.tos = value.number().and_then(|tos| u8::try_from(tos).ok());
            }
            "ptime" => self.ptime = packet_length(value),
            "ptime-reverse" => self.ptime_reverse = packet_length(value),
            "dtmf-security" => self.digits = text(value),
            "delete-delay" => {
                self.delete_delay = value.number().and_then(|s| u32::try_from(s).ok());
            }
            "record-call" => self.record = yes(value),
            "pause" => self.pause |= yes(value) == Some(true),
            "all" => self.all |= value.text() != Some("none"),
            key => self.take_address(key, value),
        }
    }

    fn take_address(&mut self, key: &str, value: &Value) {
        let word = value.texts().next().unwrap_or("").trim();
        match key {
            "ice" => value.texts().for_each(|word| self.ice(word)),
            "ice-lite" => self.ice_lite = IceLite::parse(word).or(self.ice_lite),
            "dtls" => self.dtls = Dtls::parse(word).or(self.dtls),
            "dtls-reverse" => self.dtls_reverse = Dtls::parse(word).or(self.dtls_reverse),
            "address-family" => self.family = family(word),
            "media-address" => self.media_address = word.parse().ok(),
            _ => {}
        }
    }

    /// Takes a word of `flags`.
    fn flag(&mut self, flag: &str) {
        if let Some(edit) = after("sdp-attr", flag) {
            return self.attributes.take_flag(edit);
        }
        if let Some((key, value)) = flag.split_once('=') {
            return self.pair(key, value);
        }
        let word = flag.trim().to_ascii_lowercase().replace([' ', '_'], "-");
        match &*word {
            "sip-source-address" => self.sip_source = true,
            "trust-address" => self.sip_source = false,
            "asymmetric" => self.asymmetric = true,
            "symmetric" => self.asymmetric = false,
            "strict-source" => self.strict_source = true,
            "media-handover" => self.media_handover = true,
            "loop-protect" => self.loop_protect = true,
            "record-call" => self.record = Some(true),
            "reject-ice" => self.rejects_ice = true,
            "generate-mid" => self.generate_mid = true,
            "directional" => self.directional = true,
            "all" => self.all = true,
            "fatal" => self.fatal = true,
            "fast" => self.fast = true,
            "pause" => self.pause = true,
            "always-transcode" => self.codecs.accept.push("all".into()),
            "webrtc" => self.web_rtc(),
            "osrtp-offer" | "osrtp-offer-rfc" => self.osrtp = true,
            _ => self.prefixed(flag.trim()),
        }
    }

    /// A word that begins with the name of its list.
    fn prefixed(&mut self, flag: &str) {
        if let Some(word) = after("codec", flag) {
            if let Some((list, name)) = word.split_once('-')
                && let Some(list) = self.codecs.list(list)
            {
                list.push(name.into());
            }
        } else if let Some(word) = after("SDES", flag) {
            self.sdes(word);
        } else if let Some(part) = after("replace", flag) {
            self.replace(part);
        } else if let Some(word) = after("rtcp-mux", flag) {
            self.rtcp_mux(word);
        } else if Transport::parse(flag).is_some() {
            // Proxies hand on what they could not place.
            self.transport(flag);
        }
    }

    fn pair(&mut self, key: &str, value: &str) {
        match after("codec", key) {
            // The sign is part of the codec's own parameters.
            Some(list) if list.contains('/') => self.prefixed(&format!("codec-{list}={value}")),
            Some(list) => self.codec_list(list, &Value::from(value)),
            None => self.take(key, &Value::from(value)),
        }
    }

    /// Takes a string that the proxy has not parsed.
    fn string(&mut self, value: &Value) {
        for entry in value.texts().flat_map(entries) {
            match entry {
                Entry::Word(word) => self.flag(&word),
                Entry::Pair(key, _) if NOT_IN_STRINGS.iter().any(|k| flags::spelled(k, &key)) => {}
                Entry::Pair(key, value) if after("sdp-attr", &key).is_some() => {
                    // The sign is part of the attribute.
                    self.flag(&format!("{key}={}", value.text().unwrap_or_default()));
                }
                Entry::Pair(key, value) => match after("codec", &key) {
                    Some(list) if list.contains('/') => {
                        self.pair(&key, value.text().unwrap_or_default());
                    }
                    Some(list) => self.codec_list(list, &value),
                    None => self.take(&key, &value),
                },
            }
        }
    }

    fn transport(&mut self, word: &str) {
        match Transport::parse(word) {
            Some(transport) => self.transport = Some(transport),
            None => self.accepts_transport |= word == "accept",
        }
    }

    fn ice(&mut self, word: &str) {
        match word {
            "remove" => self.ice = Some(Ice::Remove),
            "force" | "force-relay" | "force_relay" | "optional" => self.ice = Some(Ice::Force),
            "default" => self.ice = Some(Ice::Default),
            _ => {}
        }
    }

    fn sdes(&mut self, word: &str) {
        if matches!(word, "off" | "no" | "disable") {
            self.sdes.off = true;
        } else if flags::spelled("nonew", word) {
            self.sdes.no_new = true;
        } else if flags::spelled("lifetime", word) {
            self.sdes.lifetime = true;
        } else if let Some(suites) = after("offerer-pref", word) {
            let suites = suites.split([';', ',']).filter(|suite| !suite.is_empty());
            self.sdes.prefer.extend(suites.map(Into::into));
        } else if let Some(suite) = after("only", word) {
            self.sdes.only.push(suite.into());
        } else if let Some(suite) = after("no", word) {
            self.sdes.without.push(suite.into());
        } else if let Some(suites) = after("order", word) {
            let suites = suites.split([';', ',']).filter(|suite| !suite.is_empty());
            self.sdes.order.extend(suites.map(Into::into));
        }
    }

    /// What is not here is replaced always: origin, its user name and version, addresses.
    fn replace(&mut self, part: &str) {
        let part = part.trim();
        self.replace.session_name |= flags::spelled("session-name", part);
        self.replace.version |= flags::spelled("force-increment-sdp-ver", part);
    }

    fn rtcp_mux(&mut self, word: &str) {
        let mux = &mut self.rtcp_mux;
        match word {
            "offer" => mux.offer = true,
            "require" => mux.require = true,
            "demux" => mux.demux = true,
            "accept" => mux.accept = true,
            "reject" => mux.reject = true,
            _ => {}
        }
    }

    fn codec_lists(&mut self, value: &Value) {
        if let Value::Dictionary(lists) = value {
            for (name, value) in lists {
                if let Ok(name) = std::str::from_utf8(name) {
                    self.codec_list(name, value);
                }
            }
        }
    }

    fn codec_list(&mut self, name: &str, value: &Value) {
        if let Some(list) = self.codecs.list(name) {
            list.extend(value.texts().map(Into::into));
        }
    }

    fn interface(&mut self, name: &str) {
        if let Some(place) = self.direction.iter_mut().find(|place| place.is_none()) {
            *place = Some(name.into());
        }
    }

    /// Whether the receiver does not see sections of this kind.
    #[must_use]
    pub fn removes(&self, kind: &str) -> bool {
        attributes::names(&self.media_remove, kind)
    }

    /// What browsers need.
    fn web_rtc(&mut self) {
        self.transport = Transport::parse("UDP/TLS/RTP/SAVPF");
        self.ice = Some(Ice::Force);
        self.rtcp_mux.offer = true;
        self.rtcp_mux.require = true;
        self.sdes.off = true;
        self.generate_mid = true;
    }
}

/// Milliseconds from 1 to 120; others are no packet length.
fn packet_length(value: &Value) -> Option<u8> {
    let length = value.number().and_then(|ms| u8::try_from(ms).ok());
    length.filter(|ms| (1..=120).contains(ms))
}

/// The proxy says these by keys; in a string they are directions to the proxy.
const NOT_IN_STRINGS: [&str; 5] = ["via-branch", "call-id", "from-tag", "to-tag", "sdp"];

fn text(value: &Value) -> Option<Box<str>> {
    value.text().map(Into::into)
}

fn yes(value: &Value) -> Option<bool> {
    match value.text()? {
        "yes" | "on" => Some(true),
        "no" | "off" => Some(false),
        _ => None,
    }
}

fn family(word: &str) -> Option<Family> {
    match word {
        "IP4" | "IPv4" | "4" => Some(Family::V4),
        "IP6" | "IPv6" | "6" => Some(Family::V6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(entries: &[(&str, Value)]) -> Options {
        let entries = entries.iter();
        Options::read(
            &entries
                .map(|(k, v)| (k.as_bytes().to_vec(), v.clone()))
                .collect(),
        )
    }

    fn list(words: &[&str]) -> Value {
        Value::List(words.iter().map(|word| Value::from(*word)).collect())
    }

    /// As Kamailio 5 sends them.
    #[test]
    fn keys_of_their_own() {
        let codec = Value::from([("strip", list(&["G729"])), ("transcode", list(&["opus"]))]);
        let options = read(&[
            ("supports", list(&["load limit"])),
            ("ICE", "force".into()),
            ("DTLS", "passive".into()),
            ("SDES", list(&["only-AES_CM_128_HMAC_SHA1_80", "pad"])),
            ("rtcp-mux", list(&["offer", "require"])),
            ("transport-protocol", "UDP/TLS/RTP/SAVPF".into()),
            ("direction", list(&["priv", "pub"])),
            ("codec", codec),
            ("media-address", "192.0.2.9".into()),
            ("address-family", "IP6".into()),
            ("received-from", list(&["IP4", "192.0.2.1"])),
            ("TOS", 184_i64.into()),
            ("delete delay", 5_i64.into()),
            (
                "flags",
                list(&["SIP-source-address", "loop-protect", "unheard-of"]),
            ),
        ]);
        assert!(options.load_limit && options.sip_source && options.loop_protect);
        assert_eq!(options.ice, Some(Ice::Force));
        assert_eq!(options.dtls, Some(Dtls::Passive));
        assert_eq!(options.sdes.only, ["AES_CM_128_HMAC_SHA1_80".into()]);
        assert!(options.rtcp_mux.offer && options.rtcp_mux.require);
        let transport = options.transport.unwrap();
        assert!(transport.secure && transport.dtls && transport.feedback);
        assert_eq!(options.direction, ["priv", "pub"].map(|n| Some(n.into())));
        assert_eq!(options.codecs.strip, ["G729".into()]);
        assert_eq!(options.codecs.transcode, ["opus".into()]);
        assert_eq!(options.media_address, "192.0.2.9".parse().ok());
        assert_eq!(options.received_from, "192.0.2.1".parse().ok());
        assert_eq!(options.family, Some(Family::V6));
        assert_eq!((options.tos, options.delete_delay), (Some(184), Some(5)));
    }

    #[test]
    fn entries_of_flags_say_the_same() {
        let options = read(&[(
            "flags",
            list(&[
                "ICE=remove",
                "rtcp-mux-demux",
                "codec-mask-all",
                "codec-transcode-PCMU/8000",
                "codec-transcode-iLBC/8000/1///mode=30",
                "codec-set-opus/48000/2/16000",
                "codec-set-AMR/8000/1/7400",
                "codec-accept-G722",
                "SDES-off",
                "DTLS=off",
                "RTP/AVP",
                "record-call",
                "delete-delay=7",
                "direction=a",
                "direction=b",
                "OSRTP-offer",
                "ö=ü",
            ]),
        )]);
        assert_eq!(options.ice, Some(Ice::Remove));
        assert!(options.rtcp_mux.demux && options.sdes.off && options.osrtp);
        assert_eq!(options.codecs.mask, ["all".into()]);
        let transcode = ["PCMU/8000", "iLBC/8000/1///mode=30"].map(Into::into);
        assert_eq!(options.codecs.transcode, transcode);
        let set = ["opus/48000/2/16000", "AMR/8000/1/7400"].map(Into::into);
        assert_eq!(options.codecs.set, set);
        assert_eq!(options.codecs.accept, ["G722".into()]);
        assert_eq!(options.dtls, Some(Dtls::Off));
        assert_eq!(options.transport, Some(Transport::default()));
        assert_eq!(options.record, Some(true));
        assert_eq!(options.delete_delay, Some(7));
        assert_eq!(options.direction, ["a", "b"].map(|n| Some(n.into())));
    }

    /// As Kamailio 6 sends them.
    #[test]
    fn a_string_says_the_same() {
        let text = "trust-address via-branch=auto transport-protocol=RTP/SAVP direction=[a b] \
                    codec=[strip=[G729 opus] offer=[PCMA]] codec-transcode=[G722] WebRTC-not \
                    rtcp-mux=[accept] label=x codec-set-opus/48000/2/9000 \
                    codec-transcode-iLBC/8000/1///mode=20 codec-offer-GSM";
        let options = read(&[("rtpp_flags", text.into())]);
        assert_eq!(options.transport, Transport::parse("RTP/SAVP"));
        assert_eq!(options.codecs.strip, ["G729".into(), "opus".into()]);
        assert_eq!(options.codecs.offer, ["PCMA".into(), "GSM".into()]);
        let transcode = ["G722", "iLBC/8000/1///mode=20"].map(Into::into);
        assert_eq!(options.codecs.transcode, transcode);
        assert_eq!(options.codecs.set, ["opus/48000/2/9000".into()]);
        assert!(options.rtcp_mux.accept);
        assert_eq!(options.label.as_deref(), Some("x"));
        let options = read(&[("rtpp_flags", "WebRTC".into())]);
        assert!(options.transport.unwrap().dtls && options.sdes.off && options.generate_mid);
    }
}
