//! Hold: a party that is put on hold hears our music instead of whoever holds it.

use media::{Command, Format, PayloadKind, Side, Source, agreement};
use sdp::bridge::Endpoint;
use sdp::{Direction, Sdp};

use super::{Call, Session};
use crate::context::Context;

/// Who holds whom, by the last exchange of descriptions in the same session.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// Which side, by [`Side::index`], holds the other one.
    holds: [bool; 2],
    /// How each side is served with music, if it is, and on which stream.
    music: [Option<(u8, Format)>; 2],
}

/// What an offer and its answer come to about sound.
#[derive(Debug)]
pub(super) struct Agreement {
    /// Who made the offer.
    from: Side,
    stream: u8,
    offered: Direction,
    answered: Direction,
    /// How each side is sent to.
    formats: [Option<Format>; 2],
}

impl Agreement {
    /// Of the offer of `from`, which is at the first endpoint, and the answer of the other one. None:
    /// there is no sound.
    pub(super) fn of(
        from: Side,
        (asked, offer): (&Endpoint, &Sdp<'_>),
        (asker, answer): (&Endpoint, &Sdp<'_>),
    ) -> Option<Self> {
        let is_sound = |index: &usize| {
            let media = offer.media_at(*index);
            media.is_some_and(|media| media.kind() == "audio" && media.is_rtp() && media.port() > 0)
        };
        let index = (0..MAX_STREAMS).find(is_sound)?;
        let mut formats = [None; 2];
        formats[from.index()] = format(asked, offer, index);
        formats[from.other().index()] = format(asker, answer, index);
        Some(Self {
            from,
            stream: index as u8,
            offered: offer.media_at(index)?.direction(),
            answered: answer.media_at(index)?.direction(),
            formats,
        })
    }
}

/// How the party with this description is sent sound.
fn format(end: &Endpoint, heard: &Sdp<'_>, index: usize) -> Option<Format> {
    let plan = end.plan(index, heard)?;
    let remote = agreement::remote_described(&plan, index, heard)?;
    let mut known = remote.payloads.iter().chain(&remote.described);
    known.find_map(|payload| match payload.kind {
        PayloadKind::Codec(codec, _) => Some(Format {
            codec,
            payload_type: payload.number,
            ptime: if payload.ptime == 0 {
                20
            } else {
                payload.ptime
            },
        }),
        _ => None,
    })
}

impl Hold {
    /// Takes what was agreed on.
    ///
    /// # Source
    /// RFC 3264 §8.4: who puts a stream on hold offers `sendonly` or, if it was held itself,
    /// `inactive`. Who is offered `inactive` can't say whether it would hold too.
    fn agree(&mut self, agreement: &Agreement) {
        let holds = !agreement.offered.receives();
        self.holds[agreement.from.index()] = holds;
        let can_say = agreement.offered != Direction::Inactive;
        if can_say {
            // It was offered sound and does not take it.
            let refuses = agreement.offered.sends() && !agreement.answered.receives();
            self.holds[agreement.from.other().index()] = refuses;
        }
    }

    /// Whether a side waits for the other one, which holds it.
    fn is_held(&self, side: Side) -> bool {
        self.holds[side.other().index()] && !self.holds[side.index()]
    }
}

impl Call {
    /// Whoever has been put on hold by this agreement hears music, and whoever is let go hears the
    /// other party again.
    pub(super) fn agreed_on(&mut self, ctx: &mut Context<'_>, agreement: Option<&Agreement>) {
        let Some((agreement, session)) = agreement.zip(self.session.as_ref()) else {
            return;
        };
        self.hold.agree(agreement);
        for side in [Side::Caller, Side::Callee] {
            let waits = ctx.config.calls.music && self.hold.is_held(side);
            let format = agreement.formats[side.index()].filter(|_| waits);
            let wanted = format.map(|format| (agreement.stream, format));
            let before = std::mem::replace(&mut self.hold.music[side.index()], wanted);
            if before != wanted {
                serve(ctx, session, side, before, wanted);
            }
        }
    }

    /// Uses other ports from now on.
    pub(super) fn use_session(&mut self, ctx: &mut Context<'_>, session: Session) {
        self.hold = Hold::default();
        if let Some(old) = self.session.replace(session) {
            old.close(ctx);
        }
    }

    /// The offer to a party whom the other one puts on hold without a word: it may expect our music.
    pub(super) fn with_music(ctx: &Context<'_>, offer: &Sdp<'_>, text: String) -> String {
        let silent = (0..MAX_STREAMS)
            .filter_map(|index| offer.media_at(index))
            .any(|media| media.kind() == "audio" && media.direction() == Direction::Inactive);
        match ctx.config.calls.music && silent {
            true => promise(&text),
            false => text,
        }
    }
}

fn serve(
    ctx: &mut Context<'_>,
    session: &Session,
    side: Side,
    before: Option<(u8, Format)>,
    wanted: Option<(u8, Format)>,
) {
    let (session, side) = (session.id, session.end(side));
    if let Some((stream, _)) = before.filter(|_| wanted.is_none()) {
        ctx.out.media.push(Command::Unserve {
            session,
            stream,
            side,
        });
    }
    if let Some((stream, format)) = wanted {
        ctx.out.media.push(Command::Serve {
            session,
            stream,
            side,
            source: Source::Music,
            number: 0,
            format,
        });
    }
}

/// The description with `sendonly` for sound that was inactive.
fn promise(text: &str) -> String {
    let mut sound = true;
    let lines = text.split_inclusive('\n').map(|line| {
        if let Some(media) = line.strip_prefix("m=") {
            sound = media.starts_with("audio");
        }
        match line.trim_end() {
            "a=inactive" if sound => "a=sendonly\r\n",
            _ => line,
        }
    });
    lines.collect()
}

/// Sound is among the first streams of every description.
const MAX_STREAMS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn agreement(from: Side, offered: Direction, answered: Direction) -> Agreement {
        Agreement {
            from,
            stream: 0,
            offered,
            answered,
            formats: [None; 2],
        }
    }

    fn held(hold: &Hold) -> [bool; 2] {
        [Side::Caller, Side::Callee].map(|side| hold.is_held(side))
    }

    /// RFC 3264 §8.4
    #[test]
    fn rfc3264_8_4_whoever_is_held_waits_until_it_is_let_go() {
        use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
        use Side::{Callee, Caller};
        let mut hold = Hold::default();
        hold.agree(&agreement(Caller, SendOnly, RecvOnly));
        assert_eq!(held(&hold), [false, true]);
        // The one who is held holds too: nobody listens any more.
        hold.agree(&agreement(Callee, Inactive, Inactive));
        assert_eq!(held(&hold), [false, false]);
        // The first one comes back, and is held now.
        hold.agree(&agreement(Caller, RecvOnly, SendOnly));
        assert_eq!(held(&hold), [false, false]);
        hold.agree(&agreement(Caller, SendRecv, SendOnly));
        assert_eq!(held(&hold), [true, false]);
        hold.agree(&agreement(Callee, SendRecv, SendRecv));
        assert_eq!(held(&hold), [false, false]);
        hold.agree(&agreement(Callee, Inactive, Inactive));
        assert_eq!(held(&hold), [true, false]);
    }

    #[test]
    fn only_sound_is_promised() {
        let text =
            "v=0\r\nm=audio 4 RTP/AVP 0\r\na=inactive\r\nm=video 6 RTP/AVP 96\r\na=inactive\r\n";
        let promised =
            "v=0\r\nm=audio 4 RTP/AVP 0\r\na=sendonly\r\nm=video 6 RTP/AVP 96\r\na=inactive\r\n";
        assert_eq!(promise(text), promised);
    }
}
