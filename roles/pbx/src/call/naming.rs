//! Who comes into a conference room says its name first, if the room wants that.

use std::time::{Duration, Instant};

use media::Source;

use super::{Alive, Call, Stage};
use crate::context::Context;

/// How far somebody is with its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Naming {
    /// It is asked for it.
    Asked,
    /// It says it, until then or until it presses the hash key.
    Says { until: Instant },
}

impl Call {
    /// The party has a place in its room, and is heard there once it has said its name if that is wanted.
    pub(super) fn come_in(mut self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        let Some(meeting) = self.meeting.as_mut().filter(|m| m.rules().names) else {
            return self.serve_source(ctx, Source::Silence);
        };
        meeting.naming = Some(Naming::Asked);
        if let Some(place) = meeting.place() {
            place.note(|seat| seat.naming = true);
        }
        self.serve_source(ctx, Source::Prompt(ASK_NAME.into()))
    }

    /// Whether the party is being asked for its name, and so is not in its room yet.
    pub(super) fn is_asked_for_name(&self) -> bool {
        let naming = self.meeting.as_ref().and_then(|meeting| meeting.naming);
        naming == Some(Naming::Asked)
    }

    /// The party has been asked for its name, which it may say now.
    pub(super) fn may_say_name(mut self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        if let Some(meeting) = &mut self.meeting {
            let until = ctx.now + PATIENCE;
            meeting.naming = Some(Naming::Says { until });
        }
        self.serve_source(ctx, Source::Silence)
    }

    /// The party has said its name, or does not want to. `None`: it is not asked for one.
    pub(super) fn has_said_name(mut self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        let Some(naming) = self.forget_naming() else {
            return Some(self);
        };
        match naming {
            Naming::Asked => self.serve_source(ctx, Source::Silence),
            Naming::Says { .. } => self.reseated(ctx),
        }
    }

    /// Nobody waits for a name any more.
    pub(super) fn forget_naming(&mut self) -> Option<Naming> {
        let meeting = self.meeting.as_mut()?;
        let naming = meeting.naming.take()?;
        if let Some(place) = meeting.place() {
            place.note(|seat| seat.naming = false);
        }
        Some(naming)
    }

    /// When the party has had time enough for its name.
    pub(super) fn name_deadline(&self) -> Option<Instant> {
        match self.meeting.as_ref()?.naming? {
            Naming::Says { until } if self.stage == Stage::Serving => Some(until),
            _ => None,
        }
    }
}

const ASK_NAME: &str = "conference-name";
/// How long a name may take.
const PATIENCE: Duration = Duration::from_secs(5);
