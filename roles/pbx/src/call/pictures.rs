//! A picture that stands alone is wanted of a party, or by it, and RTCP has no words for that between us.
//!
//! # Source
//! RFC 5168

use std::time::{Duration, Instant};

use base::Token;
use media::{Command, SessionId, Side};
use sdp::bridge::Security;
use sdp::{Media, Sdp};
use sip::{HeaderName, Message, Method, StatusCode};

use super::leg::Leg;
use super::{Alive, Call, Stage};
use crate::context::{Context, Owner, Pending};

/// How a party that sends pictures is asked for one that stands alone, as whoever begins to look, or looks
/// again, needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asking {
    /// By RTCP: by a Full Intra Request if it knows no Picture Loss Indication.
    Feedback { full_intra: bool },
    /// By INFO, as its profile has no such feedback.
    Info,
}

impl Asking {
    /// How the party of this stream is asked. None: it sends no pictures.
    ///
    /// # Source
    /// RFC 4585 §4.2, RFC 5104 §7.1, RFC 5168 §3
    pub(super) fn of(media: &Media<'_, '_>) -> Option<Self> {
        let knows = |wanted: &str| {
            let mut lines = media.attributes("rtcp-fb");
            lines.any(|line| {
                let line = line.split_once(' ');
                line.is_some_and(|(_, feedback)| feedback.trim() == wanted)
            })
        };
        let sends = media.kind() == "video" && media.port() != 0 && media.direction().sends();
        sends.then(|| match knows("nack pli") {
            true => Self::Feedback { full_intra: false },
            false if knows("ccm fir") => Self::Feedback { full_intra: true },
            false => Self::Info,
        })
    }
}

/// What a party has been asked by INFO.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// When it was asked last, by INFO or otherwise because of one.
    asked: Option<Instant>,
    /// It has not answered yet.
    under_way: bool,
    /// It does not understand.
    refused: bool,
}

impl Call {
    /// A picture that stands alone is wanted of the party at a side of a session, and it takes no feedback.
    pub(crate) fn picture_wanted(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        (session, side): (SessionId, Side),
    ) -> Alive {
        let current = self.session.as_ref().filter(|it| it.id == session);
        let party = current.map(|session| session.party(side, self.subject));
        let call = self.id;
        if let Some(leg) = party.and_then(|side| self.side(side)) {
            leg.wish_for_picture(ctx, call);
        }
        Some(self)
    }

    /// A party that takes no feedback either wants a picture of the other one, or of the one whom it sees in a
    /// room.
    pub(super) fn wants_picture(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        from: Side,
        pending: Pending,
        request: &Message<'_>,
    ) -> Alive {
        if self.stage == Stage::Talking && !self.ask_for_pictures(ctx, from.other()) {
            return self.relay(ctx, from, pending, request);
        }
        if let Some((stream, session)) = self.watched().zip(self.session.as_ref()) {
            ctx.out.media.push(Command::Wish {
                session: session.id,
                stream,
                side: session.end(from),
            });
        }
        ctx.refuse(pending.server, &pending.flow, request, 200, "");
        Some(self)
    }

    /// Asks a party for a picture that stands alone in each of its streams. False: it sends none that we know
    /// how to ask for.
    fn ask_for_pictures(&mut self, ctx: &mut Context<'_>, to: Side) -> bool {
        let call = self.id;
        let (Some(session), Some(leg)) = (&self.session, &mut self.legs[to.index()]) else {
            return false;
        };
        let heard = leg.heard.clone();
        let Ok(heard) = Sdp::parse(&heard) else {
            return false;
        };
        let early = leg.wishes.are_early(ctx.now);
        let mut asked = false;
        for (index, media) in heard.media().enumerate() {
            let plan = leg.end.plan(index, &heard);
            let readable = plan.is_some_and(|plan| *plan.security != Security::EndToEnd);
            match Asking::of(&media) {
                Some(Asking::Feedback { full_intra }) if readable => {
                    if !early {
                        ctx.out.media.push(Command::Keyframe {
                            session: session.id,
                            stream: index as u8,
                            side: session.end(to),
                            full_intra,
                        });
                        leg.wishes.asked = Some(ctx.now);
                    }
                    asked = true;
                }
                Some(_) if leg.takes_info => {
                    leg.wish_for_picture(ctx, call);
                    asked = true;
                }
                _ => {}
            }
        }
        asked
    }

    /// The party at `to` has answered that it is to send a picture, or not: then `response` is none.
    pub(crate) fn picture_answered(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        to: Side,
        response: Option<&Message<'_>>,
    ) -> Alive {
        let call = self.id;
        let Some(leg) = self.side(to) else {
            return Some(self);
        };
        leg.wishes.under_way = false;
        match response.and_then(Message::status).zip(response) {
            Some((status, _)) if status.is_success() => leg.is_let_in(),
            Some((StatusCode(401 | 407), response)) if leg.learns(response) => {
                leg.tell_wish(ctx, call);
            }
            Some((StatusCode(405 | 415 | 469 | 501), _)) => leg.wishes.refused = true,
            // It can't just now, or the call is over.
            _ => {}
        }
        Some(self)
    }
}

impl Wishes {
    /// Whether the party has just been asked.
    fn are_early(&self, now: Instant) -> bool {
        let early = |at: Instant| now.saturating_duration_since(at) < INTERVAL;
        self.asked.is_some_and(early)
    }
}

impl Leg {
    /// Whether the party is to be asked by INFO.
    pub(super) fn hears_wishes(&self) -> bool {
        self.takes_info && !self.wishes.refused
    }

    /// Asks the party for a picture by INFO, unless it has just been asked: each costs as much as ten others.
    fn wish_for_picture(&mut self, ctx: &mut Context<'_>, call: Token) {
        if self.hears_wishes() && !self.wishes.under_way && !self.wishes.are_early(ctx.now) {
            self.wishes.asked = Some(ctx.now);
            self.tell_wish(ctx, call);
        }
    }

    fn tell_wish(&mut self, ctx: &mut Context<'_>, call: Token) {
        self.wishes.under_way = true;
        let (cnonce, target) = (ctx.mint.token(), self.dialog.remote_target.clone());
        let to = self.side;
        let trunk = self.trunk.as_deref_mut();
        let owner = Owner::Picture { call, to };
        ctx.request(&mut self.dialog, Method::Info, owner, |mut writer| {
            if let Some(trunk) = trunk {
                trunk.prove(&mut writer, Method::Info, &target, FAST_UPDATE, cnonce);
            }
            writer.body(MEDIA_CONTROL, FAST_UPDATE);
        });
    }
}

/// Whether INFO asks for a picture that stands alone.
///
/// # Source
/// RFC 5168 §5
pub(super) fn wanted_in(request: &Message<'_>) -> bool {
    let kind = request.header(HeaderName::ContentType);
    let kind = kind.and_then(|kind| kind.split(';').next());
    let ours = kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case(MEDIA_CONTROL));
    let body = std::str::from_utf8(request.body()).unwrap_or_default();
    // Whatever stands before the name is its namespace's.
    let name = |tag: &str| {
        let name = tag.split([' ', '\t', '\r', '\n', '/', '>']).next();
        name.is_some_and(|name| name.rsplit(':').next() == Some("picture_fast_update"))
    };
    ours && request.other_header("Info-Package").is_none() && body.split('<').skip(1).any(name)
}

const MEDIA_CONTROL: &str = "application/media_control+xml";
/// # Source
/// RFC 5168 §4, §5
const FAST_UPDATE: &[u8] =
    b"<?xml version=\"1.0\" encoding=\"utf-8\" ?>\r\n<media_control><vc_primitive>\
    <to_encoder><picture_fast_update/></to_encoder></vc_primitive></media_control>\r\n";
/// How often a party is asked at most.
const INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4585 §4.2, RFC 5104 §7.1, RFC 5168 §3
    #[test]
    fn rfc4585_4_2_who_sends_pictures_says_how_it_is_asked_for_one() {
        let feedback = |full_intra| Some(Asking::Feedback { full_intra });
        let cases = [
            (
                "a=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 ccm fir\r\n",
                feedback(false),
            ),
            (
                "a=rtcp-fb:* ccm fir\r\na=rtcp-fb:* nack\r\n",
                feedback(true),
            ),
            ("a=rtcp-fb:96 nack\r\n", Some(Asking::Info)),
            ("a=rtcp-fb:96 nack pli\r\na=recvonly\r\n", None),
            ("", Some(Asking::Info)),
        ];
        for (lines, expected) in cases {
            let text = format!(
                "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\n\
                 t=0 0\r\nm=video 4000 RTP/AVPF 96\r\na=rtpmap:96 VP8/90000\r\n{lines}"
            );
            let sdp = Sdp::parse(&text).unwrap();
            assert_eq!(Asking::of(&sdp.media_at(0).unwrap()), expected, "{lines}");
        }
    }

    fn asks(headers: &str, body: &str) -> bool {
        let request = format!(
            "INFO sip:a@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
             From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>;tag=2\r\nCall-ID: 1\r\n\
             CSeq: 1 INFO\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        wanted_in(&Message::parse(request.as_bytes()).unwrap())
    }

    #[test]
    fn rfc5168_5_a_request_for_a_picture_is_understood() {
        let control = "Content-Type: Application/media_control+xml;charset=utf-8\r\n";
        let ours = std::str::from_utf8(FAST_UPDATE).unwrap();
        assert!(asks(control, ours));
        assert!(asks(
            control,
            "<m:picture_fast_update></m:picture_fast_update>"
        ));
        assert!(asks(control, "<picture_fast_update\n/>"));
        assert!(!asks(
            control,
            "<general_error>picture_fast_update</general_error>"
        ));
        assert!(!asks(control, "<picture_fast_updates/>"));
        assert!(!asks(control, ""));
        assert!(!asks("Content-Type: text/xml\r\n", ours));
        let package = format!("{control}Info-Package: x\r\n");
        assert!(!asks(&package, ours));
    }
}
