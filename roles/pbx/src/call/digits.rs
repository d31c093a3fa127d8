//! Keys that a party presses, and how the other one is told of them.

use base::Token;
use media::{Command, Key, Keys, PayloadKind, Remote, SessionId, Side};
use sdp::Sdp;
use sdp::bridge::Security;
use sip::{HeaderName, Message, Method, StatusCode};

use super::leg::Leg;
use super::session::Session;
use super::{Alive, Call, Stage, pictures, trickle};
use crate::config::Dtmf;
use crate::context::{Context, Owner, Pending};

impl Call {
    /// A party has pressed a key, heard in the RTP of a session's side.
    pub(crate) fn digit_heard(
        self: Box<Self>,
        ctx: &mut Context<'_>,
        (session, side): (SessionId, Side),
        digit: Key,
        duration_ms: u32,
    ) -> Alive {
        let current = self.session.as_ref().filter(|it| it.id == session);
        match current.map(|session| session.party(side, self.subject)) {
            Some(side) => self.digit(ctx, side, digit, duration_ms),
            None => Some(self),
        }
    }

    /// The party at `side` has pressed a key. Between two parties the media
    /// workers pass it on, unless the other one is told by INFO.
    pub(crate) fn digit(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        side: Side,
        digit: Key,
        duration_ms: u32,
    ) -> Alive {
        if self.confers() {
            return self.room_key(ctx, digit);
        }
        if self.stage == Stage::Talking
            && let Some(leg) = self.side(side.other())
            && leg.dtmf(ctx) == Dtmf::Info
            && leg.sound(ctx).is_none_or(|sound| !sound.events)
        {
            let press = Press {
                key: digit,
                duration_ms: u16::try_from(duration_ms).unwrap_or(u16::MAX),
            };
            let call = self.id;
            if let Some(leg) = self.side(side.other()) {
                leg.tell_key(ctx, call, press);
            }
        }
        Some(self)
    }

    /// The party at `to` has answered INFO with a key, or not: then `response` is none. What it does not understand
    /// is pressed in its RTP, and so are all keys that follow.
    ///
    /// # Source
    /// RFC 3261 §8.1.3.5, §21.4.6, §21.4.13, §21.5.2; §22.2
    pub(crate) fn key_answered(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        to: Side,
        press: Press,
        response: Option<&Message<'_>>,
    ) -> Alive {
        let call = self.id;
        let Some(leg) = self.legs[to.index()].as_mut() else {
            return Some(self);
        };
        leg.keys_under_way = leg.keys_under_way.saturating_sub(1);
        let Some(response) = response else {
            return Some(self);
        };
        match response.status() {
            Some(status) if status.0 < 300 => leg.is_let_in(),
            Some(StatusCode(401 | 407)) if leg.learns(response) => leg.tell_key(ctx, call, press),
            Some(StatusCode(405 | 415 | 469 | 501)) => {
                leg.refuses_keys = true;
                if let (Some(session), Ok(heard)) = (&self.session, Sdp::parse(&leg.heard.clone()))
                {
                    session.connect(ctx, to, leg, &heard);
                    if let Some(stream) = leg.hears_keys(ctx) {
                        session.press(ctx, to, stream, press);
                    }
                }
            }
            // It can't just now, or the call is over.
            _ => {}
        }
        Some(self)
    }

    /// Takes INFO: a key in it is pressed where the other party hears it; anything else is passed on.
    pub(super) fn info(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        from: Side,
        pending: Pending,
        request: &Message<'_>,
    ) -> Alive {
        if trickle::brings_candidates(request) {
            return self.trickled(ctx, from, pending, request);
        }
        if pictures::wanted_in(request) {
            return self.wants_picture(ctx, from, pending, request);
        }
        let Some(press) = Press::parse(request) else {
            return self.relay(ctx, from, pending, request);
        };
        if self.stage == Stage::Serving {
            ctx.refuse(pending.server, &pending.flow, request, 200, "");
            return self.digit(ctx, from, press.key, press.duration_ms.into());
        }
        let to = from.other();
        let place = self.side(to).and_then(|leg| leg.hears_keys(ctx));
        let call = self.id;
        match (place, &self.session, &mut self.legs[to.index()]) {
            (Some(stream), Some(session), _) => session.press(ctx, to, stream, press),
            (_, Some(_), Some(leg)) if leg.is_told_by_info(ctx) => leg.tell_key(ctx, call, press),
            _ => return self.relay(ctx, from, pending, request),
        }
        ctx.refuse(pending.server, &pending.flow, request, 200, "");
        Some(self)
    }
}

/// The stream of sound of a party.
struct Sound {
    stream: u8,
    /// It has telephone events.
    events: bool,
    /// We can add something to it.
    open: bool,
}

impl Leg {
    /// How the party is to be told of keys.
    fn configured(&self, ctx: &Context<'_>) -> Dtmf {
        if let Some(leg) = &self.trunk {
            return leg.trunk.dtmf;
        }
        let user = ctx.config.users.get(&*self.party.name);
        user.map_or(Dtmf::Auto, |user| user.dtmf)
    }

    /// How the party is told of keys.
    fn dtmf(&self, ctx: &Context<'_>) -> Dtmf {
        match self.configured(ctx) {
            Dtmf::Info if self.refuses_keys => Dtmf::Inband,
            dtmf => dtmf,
        }
    }

    /// Whether INFO is a way to tell the party of keys.
    fn is_told_by_info(&self, ctx: &Context<'_>) -> bool {
        !self.refuses_keys && (self.takes_info || self.dtmf(ctx) == Dtmf::Info)
    }

    /// Adds to what was agreed with the party about a stream how keys go to and fro.
    pub(super) fn with_keys(&self, ctx: &Context<'_>, mut remote: Remote) -> Remote {
        let dtmf = self.dtmf(ctx);
        let is_event = |kind: &PayloadKind| matches!(kind, PayloadKind::TelephoneEvent { .. });
        if !dtmf.has_events() {
            remote.described.retain(|payload| !is_event(&payload.kind));
        }
        let mut known = remote.payloads.iter().chain(&remote.described);
        let events = known.any(|payload| is_event(&payload.kind));
        remote.keys = Keys {
            tones: !events && dtmf != Dtmf::Rfc4733,
            told: !events && dtmf == Dtmf::Info,
        };
        remote
    }

    fn sound(&self, ctx: &Context<'_>) -> Option<Sound> {
        let heard = Sdp::parse(&self.heard).ok()?;
        let mut media = heard.media().enumerate();
        let taken = |media: &sdp::Media<'_, '_>| media.kind() == "audio" && media.port() != 0;
        let (index, media) = media.find(|(_, media)| media.is_rtp() && taken(media))?;
        let plan = self.end.plan(index, &heard)?;
        Some(Sound {
            stream: index.try_into().ok()?,
            events: self.dtmf(ctx).has_events()
                && media.rtpmaps().any(|map| map.is_telephone_event()),
            open: *plan.security != Security::EndToEnd,
        })
    }

    /// The stream in which the party is to hear a key that the other one has sent by INFO. None: it
    /// gets the INFO.
    fn hears_keys(&self, ctx: &Context<'_>) -> Option<u8> {
        let sound = self.sound(ctx).filter(|sound| sound.open)?;
        let hears = match self.dtmf(ctx) {
            Dtmf::Info => false,
            Dtmf::Rfc4733 | Dtmf::Inband => true,
            Dtmf::Auto => sound.events || !self.takes_info || self.refuses_keys,
        };
        hears.then_some(sound.stream)
    }

    /// Tells the party of a key by INFO. When too many have not been answered yet, the key is dropped.
    fn tell_key(&mut self, ctx: &mut Context<'_>, call: Token, press: Press) {
        if self.keys_under_way >= MOST_KEYS {
            return;
        }
        self.keys_under_way += 1;
        let Press { key, duration_ms } = press;
        let body = format!("Signal={}\r\nDuration={duration_ms}\r\n", key.char());
        let (cnonce, target) = (ctx.mint.token(), self.dialog.remote_target.clone());
        let to = self.side;
        let trunk = self.trunk.as_deref_mut();
        let owner = Owner::Key { call, to, press };
        ctx.request(&mut self.dialog, Method::Info, owner, |mut writer| {
            if let Some(trunk) = trunk {
                trunk.prove(&mut writer, Method::Info, &target, body.as_bytes(), cnonce);
            }
            writer.body(DTMF_RELAY, body.as_bytes());
        });
    }
}

impl Session {
    /// Presses a key towards a side.
    fn press(&self, ctx: &mut Context<'_>, side: Side, stream: u8, press: Press) {
        ctx.out.media.push(Command::Digits {
            session: self.id,
            stream,
            side: self.end(side),
            digits: [press.key].into(),
            duration_ms: press.duration_ms,
            pause_ms: PAUSE_MS,
        });
    }
}

/// A key in INFO.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Press {
    key: Key,
    duration_ms: u16,
}

impl Press {
    /// Reads what phones send that know no better: `application/dtmf-relay` has lines of names and
    /// values, `application/dtmf` the key alone. None: it is something else.
    fn parse(request: &Message<'_>) -> Option<Self> {
        if request.other_header("Info-Package").is_some() {
            return None;
        }
        let content_type = request.header(HeaderName::ContentType)?;
        let content_type = content_type.split(';').next()?.trim();
        let body = std::str::from_utf8(request.body()).ok()?;
        if content_type.eq_ignore_ascii_case(DTMF_RELAY) {
            Self::parse_relay(body)
        } else if content_type.eq_ignore_ascii_case("application/dtmf") {
            // Some say it in both forms under this name.
            Self::parse_relay(body).or_else(|| {
                Some(Self {
                    key: key(body.trim())?,
                    duration_ms: DURATION_MS,
                })
            })
        } else {
            None
        }
    }

    fn parse_relay(body: &str) -> Option<Self> {
        let value = |name: &str| {
            let fields = body.lines().filter_map(|line| line.split_once('='));
            let mut fields = fields.map(|(name, value)| (name.trim(), value.trim()));
            fields.find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value))
        };
        let duration = value("Duration").and_then(|value| value.parse().ok());
        Some(Self {
            key: key(value("Signal")?)?,
            duration_ms: duration.unwrap_or(DURATION_MS),
        })
    }
}

/// A key by its character, or by the number of its event.
///
/// # Source
/// RFC 4733 §3.2
fn key(text: &str) -> Option<Key> {
    let mut chars = text.chars();
    match (chars.next()?, chars.next()) {
        (char, None) => Key::from_char(char),
        _ => text.parse().ok().and_then(Key::from_event),
    }
}

const DTMF_RELAY: &str = "application/dtmf-relay";
/// For how long a key is pressed if nobody says.
const DURATION_MS: u16 = 160;
/// Keys on their way to one party by INFO.
const MOST_KEYS: u8 = 32;
/// Between two keys.
const PAUSE_MS: u16 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn press(content_type: &str, body: &str) -> Option<(char, u16)> {
        let request = format!(
            "INFO sip:a@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
             From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>;tag=2\r\nCall-ID: 1\r\n\
             CSeq: 1 INFO\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let request = Message::parse(request.as_bytes()).unwrap();
        Press::parse(&request).map(|press| (press.key.char(), press.duration_ms))
    }

    #[test]
    fn keys_are_found_in_the_forms_that_phones_use() {
        let relay = "application/dtmf-relay";
        assert_eq!(
            press(relay, "Signal=5\r\nDuration=240\r\n"),
            Some(('5', 240))
        );
        assert_eq!(press(relay, "Signal= * \nDuration= 99"), Some(('*', 99)));
        assert_eq!(press(relay, "signal=11\r\n"), Some(('#', 160)));
        assert_eq!(press(relay, "Signal=d\r\nDuration=x"), Some(('D', 160)));
        assert_eq!(press("Application/DTMF; x=y", "7\r\n"), Some(('7', 160)));
        assert_eq!(press("application/dtmf", "10"), Some(('*', 160)));
        assert_eq!(press("application/dtmf", "Signal=1"), Some(('1', 160)));
        for body in ["", "Signal=16", "Signal=hook", "Signal", "5"] {
            assert_eq!(press(relay, body), None, "{body}");
        }
        assert_eq!(press("application/media_control+xml", "5"), None);
        assert_eq!(press("application/dtmf", "\u{0}"), None);
    }
}
