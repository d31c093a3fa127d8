//! Pictures in a conference room: which stream of a party takes part.

use media::{Command, VideoCodec, VideoFormat};
use sdp::{PictureCodec, Pictures, Sdp};

use super::Call;
use crate::context::Context;

/// A stream of pictures that was agreed on with a party in a room, or at its door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Watching {
    stream: u8,
    format: VideoFormat,
}

impl Watching {
    fn of(pictures: &Pictures) -> Self {
        Self {
            stream: pictures.stream as u8,
            format: VideoFormat {
                codec: codec(pictures.codec),
                payload_type: pictures.payload_type,
                sends: pictures.direction.receives(),
                receives: pictures.direction.sends(),
                repeats: pictures.repeats,
                intra: pictures.intra && !pictures.loss,
            },
        }
    }
}

impl Call {
    /// The stream of pictures that we take of an offer: none, unless the party goes to a room. All who
    /// are there have the same codec, that of the first.
    pub(super) fn pictures(&self, ctx: &Context<'_>, offer: &Sdp<'_>) -> Option<Pictures> {
        let rules = self.meeting.as_ref()?.rules();
        if !rules.video {
            return None;
        }
        let spoken = ctx.services.rooms.pictures(&rules.room);
        let mut wanted = PictureCodec::ALL.to_vec();
        wanted.retain(|one| spoken.is_none_or(|spoken| spoken == codec(*one)));
        let party = self.legs[self.subject.index()].as_ref()?;
        party.end.agree_pictures(offer, &wanted)
    }

    /// Pictures were agreed on, or none.
    pub(super) fn agreed_on_pictures(&mut self, ctx: &mut Context<'_>, agreed: Option<&Pictures>) {
        let Some(meeting) = &mut self.meeting else {
            return;
        };
        let agreed = agreed.map(Watching::of);
        let before = std::mem::replace(&mut meeting.pictures, agreed);
        if before == agreed {
            return;
        }
        if let Some(before) = before.filter(|b| agreed.is_none_or(|now| now.stream != b.stream)) {
            self.look_away(ctx, before);
        }
        self.watch_room(ctx);
    }

    /// The stream in which the party sees a room.
    pub(super) fn watched(&self) -> Option<u8> {
        let pictures = self.meeting.as_ref()?.pictures?;
        Some(pictures.stream)
    }

    /// Shows the party the pictures of its room, and its pictures to the others.
    pub(super) fn watch_room(&self, ctx: &mut Context<'_>) {
        let Some((meeting, session)) = self.meeting.as_ref().zip(self.session.as_ref()) else {
            return;
        };
        let Some(place) = meeting.place() else {
            return;
        };
        let codec = meeting.pictures.map(|pictures| pictures.format.codec);
        if let Some(Watching { stream, format }) = meeting.pictures.filter(|_| place.watches(codec))
        {
            ctx.out.media.push(Command::Watch {
                session: session.id,
                stream,
                side: session.end(self.subject),
                room: place.id,
                format,
            });
        }
    }

    /// The party is in its room no more.
    pub(super) fn look_away(&self, ctx: &mut Context<'_>, pictures: Watching) {
        if let Some(session) = &self.session {
            ctx.out.media.push(Command::Leave {
                session: session.id,
                stream: pictures.stream,
                side: session.end(self.subject),
            });
        }
    }
}

const fn codec(codec: PictureCodec) -> VideoCodec {
    match codec {
        PictureCodec::Vp8 => VideoCodec::Vp8,
        PictureCodec::H264 => VideoCodec::H264,
    }
}
