//! What is asked for parties of a running call: that they hear a file, press a key, fall silent.

use std::sync::Arc;

use media::{Command, Container, Format, Key, PayloadKind, Recording, SessionId, Side, Source};
use ng::{Reply, Request};
use sdp::Sdp;

use crate::call::Call;
use crate::dialog::{Dialog, Party};

/// What a party is played.
#[derive(Clone, Debug)]
pub(crate) struct Playing {
    source: Source,
    /// How often it is begun again.
    left: u32,
    /// What its end is told with.
    number: u32,
}

impl Call {
    /// Does what the request wants with the parties that it names.
    pub(crate) fn serve(&mut self, request: &Request, commands: &mut Vec<Command>) -> Reply {
        let whole = matches!(
            request.command,
            ng::Command::BlockMedia
                | ng::Command::UnblockMedia
                | ng::Command::BlockDtmf
                | ng::Command::UnblockDtmf
                | ng::Command::SilenceMedia
                | ng::Command::UnsilenceMedia
        );
        let file = request.recording_file.as_deref().unwrap_or_default();
        if file.starts_with('/') || file.split('/').any(|part| part == "..") {
            return Reply::error("recording-file is to be in the folder of recordings");
        }
        if let Some(commanded) = self.taped(request) {
            commands.extend(commanded);
            return Reply::ok();
        }
        let parties = self.chosen(request, whole);
        if parties.is_empty() {
            return Reply::error("No such participant in the call");
        }
        for (place, side) in parties {
            if let Err(reason) = self.dialogs[place].serve(side, request, commands) {
                return Reply::error(reason);
            }
        }
        Reply::ok()
    }

    /// What starts, stops or pauses the recording of all dialogs; none: the request is about something
    /// else.
    fn taped(&mut self, request: &Request) -> Option<Vec<Command>> {
        let pause = request.options.pause || request.command == ng::Command::PauseRecording;
        let start = match request.command {
            ng::Command::StartRecording => true,
            ng::Command::StopRecording | ng::Command::PauseRecording => false,
            _ => return None,
        };
        let live = self.dialogs.iter_mut().filter(|dialog| dialog.is_live());
        let commands = live.filter_map(|dialog| match (start, pause) {
            (true, _) if dialog.recorded => Some(dialog.pause(false)),
            (true, _) => dialog.record(request),
            (false, _) if !dialog.recorded => None,
            (false, true) => Some(dialog.pause(true)),
            (false, false) => Some(dialog.stop_recording()),
        });
        Some(commands.collect())
    }

    /// A side has heard a file to its end.
    pub(crate) fn finished(
        &mut self,
        session: SessionId,
        (side, number): (Side, u32),
        out: &mut Vec<Command>,
    ) {
        if let Some(dialog) = self.dialog(session) {
            dialog.finished(side.index(), number, out);
        }
    }

    /// The parties that a request names: by label, address or tag; `whole`: a tag counts only if the
    /// request says so, and without any the whole call is meant.
    fn chosen(&self, request: &Request, whole: bool) -> Vec<(usize, usize)> {
        let options = &request.options;
        let by_tag = !whole || options.directional;
        let tag = request.from_tag.as_deref().filter(|_| by_tag);
        let named = options.label.is_some() || request.address.is_some() || tag.is_some();
        let all = options.all || whole && !named;
        let fits = |party: &Party| match (&options.label, request.address) {
            _ if all => true,
            (Some(label), _) => party.label.as_ref() == Some(label),
            (None, Some(address)) => party.said_address() == Some(address),
            (None, None) => tag.is_some() && party.tag.as_deref() == tag,
        };
        let live = self.dialogs.iter().enumerate().filter(|(_, d)| d.is_live());
        let sides = live.flat_map(|(place, dialog)| {
            let of = dialog.parties.iter().enumerate();
            of.filter(|(_, party)| fits(party))
                .map(move |(side, _)| (place, side))
        });
        sides.collect()
    }
}

impl Dialog {
    fn serve(
        &mut self,
        side: usize,
        request: &Request,
        commands: &mut Vec<Command>,
    ) -> Result<(), &'static str> {
        match request.command {
            ng::Command::PlayMedia => {
                let source = source(request).ok_or("No media file to play")?;
                let left = request.repeat_times.unwrap_or(1).clamp(1, MOST_TIMES) - 1;
                commands.push(self.hears(side, source.clone())?);
                let number = self.played;
                self.playing[side] = Some(Playing {
                    source,
                    left,
                    number,
                });
            }
            ng::Command::StopMedia => {
                self.playing[side] = None;
                commands.push(self.unserve(side)?);
            }
            // What a party says is what the other one hears.
            ng::Command::BlockMedia | ng::Command::SilenceMedia => {
                commands.push(self.hears(1 - side, Source::Silence)?);
            }
            ng::Command::UnblockMedia | ng::Command::UnsilenceMedia => {
                commands.push(self.unserve(1 - side)?);
            }
            ng::Command::BlockDtmf => {
                let how = request.options.digits.as_deref().unwrap_or("drop");
                if !matches!(how, "drop" | "off") {
                    return Err("Digits can be dropped, but nothing can be put in their place");
                }
                commands.push(self.block_digits(side, how == "drop")?);
            }
            ng::Command::UnblockDtmf => commands.push(self.block_digits(side, false)?),
            ng::Command::PlayDtmf => commands.push(self.dials(1 - side, request)?),
            _ => return Err("Not supported here"),
        }
        Ok(())
    }

    /// Has its first stream of sound recorded, caller left, callee right.
    pub(crate) fn record(&mut self, request: &Request) -> Option<Command> {
        let (stream, _) = self.parties[0].sound()?;
        self.recorded = true;
        self.recordings += 1;
        let own = || format!("{:014x}-{}.wav", self.session.number(), self.recordings);
        let named = request.recording_file.as_deref().map(str::to_owned);
        let name = named.unwrap_or_else(own);
        let opus = name.ends_with(".opus") || name.ends_with(".ogg");
        Some(Command::Record {
            session: self.session,
            stream,
            recording: Some(Box::new(Recording {
                name: name.into(),
                container: if opus {
                    Container::OggOpus
                } else {
                    Container::Wav
                },
                mono: false,
                sides: [true; 2],
            })),
        })
    }

    fn stop_recording(&mut self) -> Command {
        self.recorded = false;
        Command::Record {
            session: self.session,
            stream: self.stream_of_sound(),
            recording: None,
        }
    }

    fn pause(&self, paused: bool) -> Command {
        Command::PauseRecording {
            session: self.session,
            stream: self.stream_of_sound(),
            paused,
        }
    }

    fn stream_of_sound(&self) -> u8 {
        self.parties[0].sound().map_or(0, |(stream, _)| stream)
    }

    fn finished(&mut self, side: usize, number: u32, commands: &mut Vec<Command>) {
        // The end of what was played before may have been on its way when the next began.
        let Some(playing) = self.playing[side].take_if(|playing| playing.number == number) else {
            return;
        };
        let command = match playing.left.checked_sub(1) {
            None => self.unserve(side),
            Some(left) => {
                let again = self.hears(side, playing.source.clone());
                let number = self.played;
                self.playing[side] = Some(Playing {
                    left,
                    number,
                    ..playing
                });
                again
            }
        };
        commands.extend(command);
    }

    fn hears(&mut self, side: usize, source: Source) -> Result<Command, &'static str> {
        let (stream, format) = self.parties[side].sound().ok_or(NO_SOUND)?;
        self.played = self.played.wrapping_add(1);
        Ok(Command::Serve {
            session: self.session,
            stream,
            side: SIDES[side],
            source,
            number: self.played,
            format,
        })
    }

    fn block_digits(&self, side: usize, blocked: bool) -> Result<Command, &'static str> {
        let (stream, _) = self.parties[side].sound().ok_or(NO_SOUND)?;
        Ok(Command::BlockDigits {
            session: self.session,
            stream,
            side: SIDES[side],
            blocked,
        })
    }

    fn unserve(&self, side: usize) -> Result<Command, &'static str> {
        let (stream, _) = self.parties[side].sound().ok_or(NO_SOUND)?;
        Ok(Command::Unserve {
            session: self.session,
            stream,
            side: SIDES[side],
        })
    }

    fn dials(&self, side: usize, request: &Request) -> Result<Command, &'static str> {
        let digit = request
            .digit
            .and_then(Key::from_char)
            .ok_or("No such digit")?;
        let (stream, _) = self.parties[side].sound().ok_or(NO_SOUND)?;
        let duration = request.duration.unwrap_or(250).clamp(100, 5000);
        Ok(Command::Digits {
            session: self.session,
            stream,
            side: SIDES[side],
            digits: Arc::from([digit]),
            duration_ms: duration as u16,
            pause_ms: 100,
        })
    }
}

impl Party {
    /// The party's first stream of sound, and how we can send to it.
    fn sound(&self) -> Option<(u8, Format)> {
        let heard = Sdp::parse(&self.heard).ok()?;
        let mut media = heard.media();
        let index = media.position(|m| m.kind().eq_ignore_ascii_case("audio") && m.port() != 0)?;
        let remote = self.remote(index, &heard)?;
        let payloads = remote.payloads.iter().chain(&remote.described);
        let format = payloads.filter_map(|payload| match payload.kind {
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
        });
        Some((index as u8, format.into_iter().next()?))
    }

    /// The address in its description.
    fn said_address(&self) -> Option<std::net::IpAddr> {
        let heard = Sdp::parse(&self.heard).ok()?;
        heard.media().find_map(|media| media.address())
    }
}

/// What a request wants played.
fn source(request: &Request) -> Option<Source> {
    match (&request.file, &request.blob) {
        (Some(file), _) => Some(Source::Sound(Arc::from(&**file))),
        (None, Some(blob)) => Some(Source::File(Arc::from(&**blob))),
        (None, None) => None,
    }
}

const SIDES: [Side; 2] = [Side::Caller, Side::Callee];

const NO_SOUND: &str = "The participant has no sound that we could send";

/// Most times that a file is played; further ones are left out.
const MOST_TIMES: u32 = 1000;
