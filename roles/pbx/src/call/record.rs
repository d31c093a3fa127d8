//! Recording of calls: by a step of the dial plan, or because an operator wants it.

use media::{Command, Container, Recording, SessionId};
use serde::Deserialize;
use store::calendar::Date;

use super::{Alive, Call};
use crate::context::Context;

/// How a call is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordStep {
    /// Compressed as Opus; else WAV.
    #[serde(default)]
    pub opus: bool,
    /// Both parties on one channel; else the caller left and the callee right.
    #[serde(default)]
    pub mono: bool,
    /// Whose voices, by [`media::Side::index`].
    pub sides: [bool; 2],
}

impl Default for RecordStep {
    /// Both parties as WAV, each on its channel.
    fn default() -> Self {
        Self {
            opus: false,
            mono: false,
            sides: [true; 2],
        }
    }
}

/// What an operator may ask about the recording of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordAction {
    /// Record, as WAV with each party on its channel, if that is not done already.
    Start,
    /// Leave out what is said from now on.
    Pause,
    /// Go on.
    Resume,
    /// Complete the file.
    Stop,
}

/// What is to be recorded of a call, and what is.
#[derive(Debug, Default)]
pub(super) struct Taping {
    wish: Option<RecordStep>,
    /// The media that are being recorded.
    running: Option<SessionId>,
}

impl Call {
    /// A step of the dial plan: from its answer on the call is recorded.
    pub(super) fn record_from_here(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        step: RecordStep,
    ) -> Alive {
        self.taping.wish = Some(step);
        self.tape(ctx);
        self.next_step(ctx)
    }

    /// An operator wants something.
    pub(crate) fn control_recording(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        action: RecordAction,
    ) -> Alive {
        match action {
            RecordAction::Start => {
                self.taping.wish.get_or_insert_default();
                if self.answered_at.is_some() {
                    self.tape(ctx);
                }
            }
            RecordAction::Pause => self.pause_taping(ctx, true),
            RecordAction::Resume => self.pause_taping(ctx, false),
            RecordAction::Stop => {
                self.taping.wish = None;
                if let Some(session) = self.taping.running.take() {
                    ctx.out.media.push(Command::Record {
                        session,
                        stream: SOUND,
                        recording: None,
                    });
                }
            }
        }
        Some(self)
    }

    fn pause_taping(&self, ctx: &mut Context<'_>, paused: bool) {
        if let Some(session) = self.taping.running {
            ctx.out.media.push(Command::PauseRecording {
                session,
                stream: SOUND,
                paused,
            });
        }
    }

    /// Begins to record the media of those who talk, if that is wanted and not done yet. Other media
    /// than before go to a file of their own.
    pub(super) fn tape(&mut self, ctx: &mut Context<'_>) {
        let Some((step, session)) = self.taping.wish.zip(self.session.as_ref()) else {
            return;
        };
        let files = self.record.recordings.len();
        if self.taping.running == Some(session.id) || files >= MAX_FILES {
            return;
        }
        self.taping.running = Some(session.id);
        let date = Date::from(self.record.started).to_string();
        let (day, call) = (date.get(..10).unwrap_or_default(), self.id.as_str());
        let extension = if step.opus { "opus" } else { "wav" };
        let name = match files {
            0 => format!("{day}/{call}.{extension}"),
            more => format!("{day}/{call}-{}.{extension}", more + 1),
        };
        ctx.out.media.push(Command::Record {
            session: session.id,
            stream: SOUND,
            recording: Some(Box::new(Recording {
                name: name.as_str().into(),
                container: match step.opus {
                    true => Container::OggOpus,
                    false => Container::Wav,
                },
                mono: step.mono,
                sides: step.sides,
            })),
        });
        self.record.recordings.push(name.into());
    }
}

/// The media line of sound: the first, wherever there is one.
const SOUND: u8 = 0;
/// Files of one call; what is said after as many transfers is not recorded.
const MAX_FILES: usize = 100;
