//! Which payload type of one side becomes which of the other.

use codec::{Codec, Parameters};

use crate::encoder::packet_time;
use crate::remote::MAX_PAYLOADS;
use crate::{Payload, PayloadKind};

/// What becomes of each payload type that one side may send.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Routes {
    routes: Vec<Route>,
    /// What is encoded for the other side, if anything needs to be.
    pub(crate) target: Option<Target>,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Route {
    /// In what comes.
    number: u8,
    /// The RTP clock of what comes, in hertz; 0 if that is not known.
    pub(crate) clock: u32,
    pub(crate) action: Action,
    /// What it is, if it has to be decoded.
    decoded: Option<(Codec, Parameters)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// The payload is passed on under this number.
    Pass(u8),
    /// An event is passed on under this number, counted by a clock of so many hertz.
    Event(u8, u32),
    /// The payload is decoded and encoded anew.
    Transcode,
    /// The key that an event tells of is heard as sound.
    Key,
}

/// How we encode for a side.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Target {
    pub(crate) number: u8,
    pub(crate) codec: Codec,
    pub(crate) parameters: Parameters,
    /// Packet length in milliseconds.
    pub(crate) ptime: u8,
}

impl Routes {
    /// The routes from a side that may send `from` to one that takes `to`, in packets of `ptime`
    /// milliseconds if that matters.
    pub(crate) fn between(from: &[Payload], to: &[Payload], ptime: Option<u8>) -> Self {
        let from = &from[..from.len().min(MAX_PAYLOADS)];
        let to = &to[..to.len().min(MAX_PAYLOADS)];
        let mut routes = Self::default();
        let clock = main_clock(from, to);
        for payload in from {
            let Some(action) = action(payload, to, clock).map(|a| repacked(a, payload, ptime))
            else {
                continue;
            };
            routes.routes.push(Route {
                number: payload.number,
                clock: clock_of(&payload.kind),
                action,
                decoded: match &payload.kind {
                    PayloadKind::Codec(codec, parameters) if action == Action::Transcode => {
                        Some((*codec, parameters.clone()))
                    }
                    _ => None,
                },
            });
        }
        let encodes = |route: &Route| matches!(route.action, Action::Transcode | Action::Key);
        if routes.routes.iter().any(encodes) {
            let main = routes.decoded().next().map(|(_, codec, _)| codec);
            let main = main.or_else(|| from.iter().find_map(codec_of));
            let rate = main.map_or(NARROW, Codec::sample_rate);
            routes.target = to.iter().find_map(|payload| Target::of(payload, rate));
            if let (Some(target), Some(ptime)) = (&mut routes.target, ptime) {
                target.ptime = packet_time(target.codec, ptime);
            }
        }
        routes
    }

    /// What becomes of a packet of this payload type; `None`: it was not agreed, or the other side
    /// takes nothing like it.
    pub(crate) fn find(&self, number: u8) -> Option<&Route> {
        self.routes.iter().find(|route| route.number == number)
    }

    /// The codecs to decode, with their payload types.
    pub(crate) fn decoded(&self) -> impl Iterator<Item = (u8, Codec, &Parameters)> {
        self.routes.iter().filter_map(|route| {
            let (codec, parameters) = route.decoded.as_ref()?;
            Some((route.number, *codec, parameters))
        })
    }
}

impl Target {
    /// `rate`: samples a second of what is encoded, for a codec that leaves the choice.
    fn of(payload: &Payload, rate: u32) -> Option<Self> {
        let PayloadKind::Codec(codec, parameters) = &payload.kind else {
            return None;
        };
        Some(Self {
            number: payload.number,
            codec: *codec,
            parameters: at_rate(*codec, parameters, rate),
            ptime: packet_time(*codec, payload.ptime),
        })
    }
}

/// Opus works at whatever rate the other side has, which spares resampling and is cheaper.
pub(crate) fn at_rate(codec: Codec, parameters: &Parameters, rate: u32) -> Parameters {
    let mut parameters = parameters.clone();
    if codec == Codec::Opus {
        parameters.rate = Some(rate);
    }
    parameters
}

fn action(payload: &Payload, to: &[Payload], clock: u32) -> Option<Action> {
    match &payload.kind {
        PayloadKind::Codec(codec, parameters) => match same_codec(*codec, parameters, to) {
            Some(number) => Some(Action::Pass(number)),
            None => has_codec(to).then_some(Action::Transcode),
        },
        PayloadKind::TelephoneEvent { .. } => {
            let events = to.iter().filter_map(|p| match p.kind {
                PayloadKind::TelephoneEvent { clock } => Some((p.number, clock)),
                _ => None,
            });
            // The best one counts by the clock of the stream that it goes with.
            let best = events.min_by_key(|event| event.1 != clock);
            let event = best.map(|(number, clock)| Action::Event(number, clock));
            event.or(has_codec(to).then_some(Action::Key))
        }
        kind => {
            let same = to.iter().find(|p| p.kind == *kind);
            same.map(|p| Action::Pass(p.number))
        }
    }
}

/// Instead of passing, a codec is encoded anew where its packets are to be of another length.
fn repacked(action: Action, payload: &Payload, ptime: Option<u8>) -> Action {
    let length = |codec: &Codec, ms| packet_time(*codec, ms);
    match (action, &payload.kind, ptime) {
        (Action::Pass(_), PayloadKind::Codec(codec, _), Some(ms))
            if length(codec, payload.ptime) != length(codec, ms) =>
        {
            Action::Transcode
        }
        _ => action,
    }
}

fn codec_of(payload: &Payload) -> Option<Codec> {
    match payload.kind {
        PayloadKind::Codec(codec, _) => Some(codec),
        _ => None,
    }
}

/// The payload type of the same codec in the same format.
fn same_codec(codec: Codec, parameters: &Parameters, to: &[Payload]) -> Option<u8> {
    let same = |p: &&Payload| match &p.kind {
        // RFC 4867 §3.6: the two formats of AMR cannot be told apart.
        PayloadKind::Codec(c, theirs) => {
            *c == codec && theirs.octet_aligned == parameters.octet_aligned
        }
        _ => false,
    };
    to.iter().find(same).map(|p| p.number)
}

fn has_codec(to: &[Payload]) -> bool {
    to.iter().any(|p| matches!(p.kind, PayloadKind::Codec(..)))
}

/// The RTP clock of what the other side will mostly get.
fn main_clock(from: &[Payload], to: &[Payload]) -> u32 {
    let ours = from.iter().find(|p| codec_of(p).is_some());
    match (ours.map(|p| &p.kind), to.iter().find_map(codec_of)) {
        (Some(PayloadKind::Codec(codec, parameters)), _)
            if same_codec(*codec, parameters, to).is_some() =>
        {
            codec.clock()
        }
        (_, Some(codec)) => codec.clock(),
        _ => 0,
    }
}

fn clock_of(kind: &PayloadKind) -> u32 {
    match kind {
        PayloadKind::Codec(codec, _) => codec.clock(),
        PayloadKind::TelephoneEvent { clock } => *clock,
        PayloadKind::ComfortNoise => 8000,
        PayloadKind::Other { .. } => 0,
    }
}

/// Samples a second where nobody says more.
const NARROW: u32 = 8000;
