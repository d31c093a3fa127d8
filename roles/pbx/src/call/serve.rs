//! Calls that end at us: echo, tones, prompts.

use std::sync::Arc;

use media::{Codec, Command, Format, Side, Source};
use sdp::{Agreed, Direction, Sdp};
use sip::{Message, StatusCode};

use super::change::Asker;
use super::steps::{offer_of, streams_of};
use super::{Alive, Call, Leg, Session, Stage};
use crate::context::{Context, SDP};
use crate::{Cause, Step};

impl Call {
    /// Prepares to answer the call ourselves; if it is answered already, only the sound changes.
    pub(super) fn serve(mut self: Box<Self>, ctx: &mut Context<'_>, step: &Step) -> Alive {
        match source_of(step) {
            Some(source) => {
                self.leave_room(ctx);
                self.serve_source(ctx, source)
            }
            None => self.next_step(ctx),
        }
    }

    pub(super) fn serve_source(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        source: Source,
    ) -> Alive {
        self.source = Some(source);
        let early = self.early_until.is_some();
        if self.stage == Stage::Serving && (self.invite.is_none() || early) {
            return self.change_source(ctx);
        }
        let streams = match self.offered_streams() {
            Ok(streams) => streams,
            Err(status) => return self.refuse(ctx, status, Cause::Refused),
        };
        let Some(party) = self.side(self.subject) else {
            return Some(self);
        };
        let from = party.dialog.flow.local.ip();
        let session = Session::serve(ctx, self.id, from, streams);
        self.sessions.push(session);
        self.stage = Stage::Allocating;
        Some(self)
    }

    /// The ports are there: answers the call.
    pub(super) fn start_serving(mut self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        if let Some(session) = self.sessions.pop() {
            self.use_session(ctx, session);
        }
        let Some(invite) = self.invite.clone() else {
            return self.serve_answered(ctx);
        };
        let Some(request) = invite.message() else {
            return Some(self);
        };
        let sdp = match offer_of(request) {
            Ok(Some(offer)) => match self.serve_offer(ctx, &offer) {
                Some(sdp) => sdp,
                None => return self.refuse(ctx, StatusCode(488), Cause::Refused),
            },
            _ => self.own_offer(ctx),
        };
        self.stage = Stage::Serving;
        if self.unanswered && !request.body().is_empty() {
            self.early_until = Some(ctx.now + ctx.config.calls.ring_timeout);
            self.send_progress(ctx, 183, Some(&sdp));
            return Some(self);
        }
        self.answered(ctx, None);
        self.accept_caller(ctx, &sdp);
        Some(self)
    }

    /// Serves a party that has been answered before: whoever talked to it is not needed any more.
    fn serve_answered(mut self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        self.stage = Stage::Serving;
        self.format = None;
        let sought = self.sought();
        self.transferred(ctx);
        if let Some(parted) = self.legs[sought.index()].take() {
            super::leave(ctx, parted, false, None);
        }
        self.ask(ctx, sought, Asker::Served)
    }

    /// The party has answered our offer.
    pub(super) fn serve_joined(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        answer: &Sdp<'_>,
    ) -> Alive {
        match self.heard_served(answer) {
            Some(agreed) => {
                self.connect_served(ctx, answer, agreed);
                self.resume_change(ctx)
            }
            None => self.end(ctx, Cause::Refused, None),
        }
    }

    /// What the party's answer to our own offer comes to.
    fn heard_served(&mut self, answer: &Sdp<'_>) -> Option<Agreed> {
        let party = self.side(self.subject)?;
        party.end.hear_answer(answer).ok()?;
        party.end.agree(answer, &CODECS)
    }

    /// Our answer to an offer, with the stream connected; none if there is no codec in common.
    pub(super) fn serve_offer(&mut self, ctx: &mut Context<'_>, offer: &Sdp<'_>) -> Option<String> {
        let party = self.legs[self.subject.index()].as_mut()?;
        party.hear_offer(ctx, offer).ok()?;
        let agreed = party.end.agree(offer, &CODECS)?;
        let pictures = self.pictures(ctx, offer);
        let party = self.legs[self.subject.index()].as_mut()?;
        let session = self.session.as_ref()?;
        let both = (&agreed, pictures.as_ref());
        let sdp = party.serve_with(ctx, session, offer, both).ok()?;
        self.connect_served(ctx, offer, agreed);
        self.agreed_on_pictures(ctx, pictures.as_ref());
        Some(sdp)
    }

    /// Our offer to a caller who made none.
    pub(super) fn own_offer(&mut self, ctx: &mut Context<'_>) -> String {
        let room = self.meeting.is_some();
        let party = self.legs[self.subject.index()].as_mut();
        let Some((party, session)) = party.zip(self.session.as_ref()) else {
            return String::new();
        };
        let offer = party.invite_alone(ctx, session, &CODECS, room);
        offer.unwrap_or_default()
    }

    /// The caller's answer to our offer.
    pub(super) fn serve_answer(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        ack: &Message<'_>,
    ) -> Alive {
        let answer = ack.body_of_type(SDP).and_then(|text| Sdp::parse(text).ok());
        let agreed = answer.and_then(|answer| Some((self.heard_served(&answer)?, answer)));
        match agreed {
            Some((agreed, answer)) => {
                self.connect_served(ctx, &answer, agreed);
                Some(self)
            }
            None => self.end(ctx, Cause::Refused, None),
        }
    }

    /// What was heard before the answer has been heard for long enough.
    pub(super) fn early_is_over(mut self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        self.early_until = Some(ctx.now + ctx.config.calls.ring_timeout);
        self.next_step(ctx)
    }

    /// The sound of this number is over. What was played before it may have been at its end just when
    /// it began; that says nothing about it.
    pub(crate) fn finished(self: Box<Self>, ctx: &mut Context<'_>, number: u32) -> Alive {
        if number != self.played {
            return Some(self);
        }
        if self.stage == Stage::Serving && self.is_asked_for_name() {
            return self.may_say_name(ctx);
        }
        // Who is at the door of a room has time.
        if self.stage == Stage::Serving && !self.confers() {
            self.next_step(ctx)
        } else {
            Some(self)
        }
    }

    fn change_source(mut self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        match self.format {
            Some((stream, format)) => self.play(ctx, stream, format),
            None => return self.end(ctx, Cause::Completed, None),
        }
        Some(self)
    }

    fn connect_served(&mut self, ctx: &mut Context<'_>, party: &Sdp<'_>, agreed: Agreed) {
        let leg = self.legs[self.subject.index()].as_ref();
        let Some((session, leg)) = self.session.as_ref().zip(leg) else {
            return;
        };
        debug_assert!(agreed.stream < usize::from(streams_of(party)));
        session.connect(ctx, self.subject, leg, party);
        self.tape(ctx);
        let format = Format {
            codec: codec(agreed.codec),
            payload_type: agreed.payload_type,
            ptime: agreed.ptime,
        };
        let stream = agreed.stream as u8;
        let held = agreed.direction != Direction::SendRecv;
        if self.hold_in_room(held) || self.format != Some((stream, format)) {
            self.format = Some((stream, format));
            self.play(ctx, stream, format);
        }
    }

    fn play(&mut self, ctx: &mut Context<'_>, stream: u8, format: Format) {
        self.played = self.played.wrapping_add(1);
        if self.play_room(ctx, stream, format) {
            return;
        }
        if let (Some(session), Some(source)) = (self.session.as_ref(), &self.source) {
            ctx.out.media.push(Command::Serve {
                session: session.id,
                stream,
                side: Side::Caller,
                source: source.clone(),
                number: self.played,
                format,
            });
        }
    }
}

impl Leg {
    /// Whether we have a codec that the party offers.
    pub(super) fn can_be_served(&self, offer: &Sdp<'_>) -> bool {
        self.end.agree(offer, &CODECS).is_some()
    }
}

fn source_of(step: &Step) -> Option<Source> {
    match step {
        Step::Echo => Some(Source::Echo),
        Step::Tone(hertz) => Some(Source::Tone(*hertz)),
        Step::Cadence(cadence) => Some(Source::Cadence(Arc::clone(cadence))),
        Step::Play(name) if media::prompt(name).is_some() => {
            Some(Source::Prompt(name.as_str().into()))
        }
        Step::Play(name) => Some(Source::Sound(name.as_str().into())),
        // The others are about other parties.
        _ => None,
    }
}

const fn codec(codec: sdp::Codec) -> Codec {
    match codec {
        sdp::Codec::Pcmu => Codec::Pcmu,
        sdp::Codec::Pcma => Codec::Pcma,
        sdp::Codec::G722 => Codec::G722,
        sdp::Codec::Opus => Codec::Opus,
    }
}

/// What we can serve, for our own offer in order of preference.
const CODECS: [sdp::Codec; 4] = [
    sdp::Codec::Opus,
    sdp::Codec::G722,
    sdp::Codec::Pcma,
    sdp::Codec::Pcmu,
];
