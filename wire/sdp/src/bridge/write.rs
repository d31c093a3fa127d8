//! A description of one side as the other is to see it: one pass over its lines.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::dtls::{Fingerprint, Setup};
use super::endpoint::Ours;
use super::formats::{Choice, Chosen};
use super::ice::{Credentials, Mode};
use super::keys::Crypto;
use super::policy::Policy;
use crate::anchor;
use crate::media::{Direction, Media};
use crate::session::{Line, Sdp, attributes};

/// How one section is written.
pub(super) enum Section<'e> {
    /// Port 0.
    Refused,
    /// As it is, with the party's own address.
    Kept,
    /// As we have negotiated it.
    Edited(Box<Edit<'e>>),
}

/// What we have negotiated for one section.
pub(super) struct Edit<'e> {
    /// The kind of media, as the offer spells it.
    pub(super) kind: &'e str,
    pub(super) at: SocketAddr,
    /// RTCP comes to the same port in any case.
    pub(super) shared: bool,
    pub(super) proto: &'e str,
    /// The parties' own keys pass from end to end.
    pub(super) foreign: bool,
    pub(super) chosen: Chosen,
    pub(super) crypto: Vec<Crypto>,
    pub(super) dtls: Option<(&'e Fingerprint, Setup)>,
    pub(super) mux: bool,
    pub(super) ice: Option<&'e Credentials>,
    pub(super) mid: Option<Box<str>>,
    /// Its `a=rtcp-fb` lines stay, and what goes with them.
    pub(super) feedback: bool,
    /// The direction, if it is not that of the lines.
    pub(super) direction: Option<Direction>,
}

/// A description on its way to a side.
pub(super) struct Letter<'e, 's, 'a> {
    /// What the other side said.
    pub(super) source: &'s Sdp<'a>,
    /// The offer that is answered; none: this is an offer.
    pub(super) answered: Option<&'s Sdp<'a>>,
    pub(super) policy: &'e Policy,
    /// Sources are named as the other party names them.
    pub(super) sources: bool,
    pub(super) ours: &'e Ours<'e>,
    pub(super) sections: &'e [Section<'e>],
    /// Members of our BUNDLE group; empty: there is none.
    pub(super) bundle: &'e str,
    pub(super) ice: Option<Mode>,
}

impl Letter<'_, '_, '_> {
    /// Appends the description.
    pub(super) fn encode(&self, out: &mut String) {
        let origin = &self.ours.origin;
        let drops = |line: &Line<'_>| self.drops_of_session(line);
        anchor::encode_session(self.source, origin, drops, out);
        match self
            .ice
            .filter(|_| self.sections.iter().any(Section::has_ice))
        {
            Some(Mode::Lite) if self.policy.trickles => {
                out.push_str("a=ice-lite\r\na=ice-options:trickle\r\n");
            }
            Some(Mode::Lite) => out.push_str("a=ice-lite\r\n"),
            // RFC 8445 §10: we nominate as agents of this RFC do.
            Some(Mode::Full) if self.policy.trickles => {
                out.push_str("a=ice-options:ice2 trickle\r\n");
            }
            Some(Mode::Full) => out.push_str("a=ice-options:ice2\r\n"),
            None => {}
        }
        if !self.bundle.is_empty() {
            let _ = write!(out, "a=group:BUNDLE{}\r\n", self.bundle);
        }
        for (index, section) in self.sections.iter().enumerate() {
            let source = self.source.media_at(index);
            let answered = self.answered.and_then(|offer| offer.media_at(index));
            match (section, source) {
                (Section::Edited(edit), Some(media)) => {
                    self.encode_section(index, edit, &media, answered.as_ref(), out);
                }
                (Section::Kept, Some(media)) => anchor::encode_kept(self.source, &media, out),
                (_, source) => {
                    if let Some(media) = answered.or(source) {
                        anchor::encode_head(&media, 0, out);
                    }
                }
            }
        }
    }

    fn drops_of_session(&self, line: &Line<'_>) -> bool {
        line.attribute()
            .is_some_and(|(name, value)| match Class::of(name, value) {
                Class::Bound => true,
                Class::Keys => !self.sections.iter().any(Section::is_foreign),
                Class::Source => !self.sources,
                Class::Extension => !self.policy.extensions,
                _ => false,
            })
    }

    fn encode_section(
        &self,
        index: usize,
        edit: &Edit<'_>,
        media: &Media<'_, '_>,
        answered: Option<&Media<'_, '_>>,
        out: &mut String,
    ) {
        edit.encode_head(media, out);
        let mut lines = media.lines()[1..].iter().peekable();
        while let Some(title) = lines.next_if(|line| line.kind == b'i') {
            title.encode(out);
        }
        let own = media.lines().iter().any(|line| line.kind == b'c');
        let session = self.source.connection().map(|_| self.ours.origin.address);
        if own || session != Some(edit.at.ip()) {
            anchor::encode_connection(edit.at.ip(), out);
        }
        while let Some(line) = lines.next_if(|line| line.kind != b'a') {
            if line.kind != b'c' {
                line.encode(out);
            }
        }
        edit.encode_codecs(out);
        for line in lines {
            match line.attribute() {
                Some((name, value)) => {
                    self.encode_attribute(edit, answered, media, (line, name, value), out);
                }
                None if line.kind == b'c' => {}
                None => line.encode(out),
            }
        }
        self.encode_own(index, edit, out);
    }

    /// An attribute of the other side, if it is to stay.
    fn encode_attribute(
        &self,
        edit: &Edit<'_>,
        answered: Option<&Media<'_, '_>>,
        media: &Media<'_, '_>,
        (line, name, value): (&Line<'_>, &str, &str),
        out: &mut String,
    ) {
        let stays = match Class::of(name, value) {
            Class::Other => !(name == "ptime" && self.ptime(edit).is_some()),
            Class::Bound | Class::Mux => false,
            Class::Keys => edit.foreign,
            Class::Codec => edit.chosen == Chosen::AsIs,
            Class::Feedback => {
                let both = |o: &Media<'_, '_>| {
                    o.proto().ends_with("AVPF") || o.attribute("rtcp-fb").is_some()
                };
                if edit.feedback && answered.is_none_or(both) {
                    edit.encode_feedback(line, value, out);
                }
                false
            }
            Class::Rsize => {
                let both = answered.is_none_or(|o| o.attribute("rtcp-rsize").is_some());
                edit.feedback && both
            }
            Class::Rtcp if edit.mux || edit.shared => false,
            Class::Rtcp => return edit.encode_rtcp(media, value, out),
            Class::Source => self.sources,
            Class::Extension => {
                self.policy.extensions && answered.is_none_or(|o| has_extension(o, value))
            }
            Class::Mid => answered.is_none() && edit.mid.is_none(),
            Class::Direction => edit.direction.is_none(),
        };
        if stays {
            line.encode(out);
        }
    }

    /// What we say ourselves.
    fn encode_own(&self, index: usize, edit: &Edit<'_>, out: &mut String) {
        if let Some(mid) = &edit.mid {
            let _ = write!(out, "a=mid:{mid}\r\n");
        }
        if let Some(direction) = edit.direction {
            let _ = write!(out, "a={}\r\n", direction.as_str());
        }
        if edit.mux {
            out.push_str("a=rtcp-mux\r\n");
        }
        // Who is offered to multiplex may not.
        if edit.shared && !(edit.mux && self.answered.is_some()) {
            let _ = write!(out, "a=rtcp:{}\r\n", edit.at.port());
        }
        let lifetime = self.policy.lifetime;
        let keys = edit.crypto.iter();
        keys.for_each(|crypto| crypto.encode(lifetime, out));
        if let Some(ptime) = self.ptime(edit) {
            let _ = write!(out, "a=ptime:{ptime}\r\n");
        }
        if let Some((fingerprint, setup)) = edit.dtls {
            let setup = setup.as_str();
            let _ = write!(out, "a=fingerprint:{fingerprint}\r\na=setup:{setup}\r\n");
        }
        if let Some(credentials) = edit.ice {
            self.encode_ice(index, edit, credentials, out);
        }
    }

    /// The packet length that we ask of the party, if that is not the other side's to say.
    fn ptime(&self, edit: &Edit<'_>) -> Option<u8> {
        let is_sound = edit.kind.eq_ignore_ascii_case("audio");
        self.policy.ptime.filter(|_| is_sound && !edit.foreign)
    }

    fn encode_ice(&self, index: usize, edit: &Edit<'_>, ours: &Credentials, out: &mut String) {
        let Credentials { ufrag, pwd } = ours;
        let _ = write!(out, "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n");
        // Who is offered to multiplex may not, and has to find a way for RTCP then (RFC 5761 §5.1.3).
        let muxed = edit.mux && self.answered.is_some();
        let components = if muxed || edit.shared { 1 } else { 2 };
        let own = self.ours.candidates.iter().filter(|(of, _)| *of == index);
        let mut given = false;
        for (_, candidate) in own {
            given = true;
            let component = candidate.split_ascii_whitespace().nth(1);
            if components == 2 || component == Some("1") {
                let _ = write!(out, "a=candidate:{candidate}\r\n");
            }
        }
        for component in (1..=components).filter(|_| !given) {
            let (ip, port) = (edit.at.ip(), edit.at.port().saturating_add(component - 1));
            // RFC 8445 §5.1.2.1: a host candidate, the only one of its kind.
            let priority = (126 << 24) + (65_535 << 8) + (256 - u32::from(component));
            let _ = write!(
                out,
                "a=candidate:1 {component} UDP {priority} {ip} {port} typ host\r\n"
            );
        }
        out.push_str("a=end-of-candidates\r\n");
    }
}

impl Section<'_> {
    fn is_foreign(&self) -> bool {
        matches!(self, Self::Edited(edit) if edit.foreign)
    }

    fn has_ice(&self) -> bool {
        matches!(self, Self::Edited(edit) if edit.ice.is_some())
    }
}

impl Edit<'_> {
    fn encode_head(&self, media: &Media<'_, '_>, out: &mut String) {
        let (kind, port, proto) = (self.kind, self.at.port(), self.proto);
        let _ = write!(out, "m={kind} {port} {proto}");
        match &self.chosen {
            Chosen::AsIs => {
                let _ = write!(out, " {}", media.head().formats);
            }
            Chosen::These(choices) => {
                for choice in choices {
                    let _ = write!(out, " {}", choice.number);
                }
            }
        }
        out.push_str("\r\n");
    }

    fn encode_codecs(&self, out: &mut String) {
        let Chosen::These(choices) = &self.chosen else {
            return;
        };
        for choice in choices {
            let Choice {
                number,
                name,
                clock_rate,
                ..
            } = choice;
            let _ = write!(out, "a=rtpmap:{number} {name}/{clock_rate}");
            if choice.channels != 1 {
                let _ = write!(out, "/{}", choice.channels);
            }
            out.push_str("\r\n");
            if !choice.fmtp.is_empty() {
                let _ = write!(out, "a=fmtp:{number} {}\r\n", choice.fmtp);
            }
        }
    }

    /// Feedback about a payload type goes with it, under its new number.
    fn encode_feedback(&self, line: &Line<'_>, value: &str, out: &mut String) {
        let Chosen::These(choices) = &self.chosen else {
            return line.encode(out);
        };
        let Some((about, what)) = value.split_once(' ') else {
            return;
        };
        if about == "*" {
            return line.encode(out);
        }
        let number = about.parse().ok();
        let mut choices = choices.iter();
        if let Some(choice) = choices.find(|c| number.is_some() && c.source == number) {
            let _ = write!(out, "a=rtcp-fb:{} {what}\r\n", choice.number);
        }
    }

    /// RTCP on the RTP port itself stays so; else it is the next port.
    fn encode_rtcp(&self, media: &Media<'_, '_>, value: &str, out: &mut String) {
        anchor::encode_rtcp(media.port(), self.at.port(), value, out);
    }
}

/// Whether the section has the header extension that an `a=extmap` line is about.
fn has_extension(offer: &Media<'_, '_>, value: &str) -> bool {
    let uri = |value: &'_ str| value.split_ascii_whitespace().nth(1).map(str::to_owned);
    match uri(value) {
        Some(wanted) => {
            attributes(offer.lines(), "extmap").any(|value| uri(value).as_ref() == Some(&wanted))
        }
        // `extmap-allow-mixed` has no value.
        None => offer.inherited("extmap-allow-mixed").is_some(),
    }
}

/// What an attribute is about, as far as it matters to us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Other,
    /// Holds only while media goes to the party's own addresses.
    Bound,
    Keys,
    Mux,
    Rsize,
    Rtcp,
    Codec,
    Feedback,
    Extension,
    Source,
    Mid,
    Direction,
}

impl Class {
    fn of(name: &str, value: &str) -> Self {
        match name {
            "rtpmap" | "fmtp" => Self::Codec,
            "rtcp" => Self::Rtcp,
            "rtcp-mux" | "rtcp-mux-only" => Self::Mux,
            "rtcp-rsize" => Self::Rsize,
            "rtcp-fb" => Self::Feedback,
            "crypto" | "fingerprint" | "setup" | "tls-id" | "dtls-id" | "connection" => Self::Keys,
            "key-mgmt" | "acap" | "tcap" | "pcfg" | "acfg" | "csup" | "creq" => Self::Keys,
            "extmap" | "extmap-allow-mixed" => Self::Extension,
            "ssrc" | "ssrc-group" | "msid" | "msid-semantic" | "rid" | "simulcast" => Self::Source,
            "mid" => Self::Mid,
            "sendrecv" | "sendonly" | "recvonly" | "inactive" => Self::Direction,
            _ if anchor::is_bound(name, value) => Self::Bound,
            _ => Self::Other,
        }
    }
}
