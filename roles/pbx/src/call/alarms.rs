//! What is wrong with the sound of a call, in words that help.

use std::fmt::Write as _;
use std::net::IpAddr;

use base::UnixTime;
use media::{Alarm, Codec, SessionId, Side, SideStats};
use sdp::{Direction, Sdp};

use super::leg::Leg;
use super::{Alive, Call, Stage};
use crate::Event;
use crate::context::Context;
use crate::network::is_public;

impl Call {
    /// The media workers have found something wrong on a side of a session.
    pub(crate) fn alarmed(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        (session, side): (SessionId, Side),
        stream: u8,
        alarm: Alarm,
    ) -> Alive {
        let answered =
            matches!(self.stage, Stage::Talking | Stage::Serving) && self.invite.is_none();
        let current = self.session.as_ref().filter(|it| it.id == session);
        let Some(side) = current.map(|session| session.party(side, self.subject)) else {
            return Some(self);
        };
        let stopped = matches!(alarm, Alarm::Stopped { .. });
        let leg = self.side(side).filter(|leg| leg.sends(stream, stopped));
        if let Some(leg) = leg.filter(|_| answered) {
            let ours = ctx.config.network.media_address(&leg.dialog.flow);
            let reason = reason(leg, ours, alarm);
            self.complain(ctx, side, reason);
        }
        Some(self)
    }

    /// How the call sounds so far.
    pub(crate) fn judged(
        self: Box<Self>,
        ctx: &mut Context<'_>,
        session: SessionId,
        mut stats: Box<[SideStats; 2]>,
    ) -> Alive {
        let current = self.session.as_ref().filter(|it| it.id == session);
        if let Some(session) = current {
            // Of a call that ends at us the workers know one side only.
            if session.party(Side::Caller, self.subject) == Side::Callee {
                stats.swap(0, 1);
            }
            let call = self.id;
            ctx.out.events.push(Event::CallSounds { call, stats });
        }
        Some(self)
    }

    /// Each complaint once, in the record and for those who watch. What comes beyond the first eight is
    /// left out: by then the call is known to be bad.
    fn complain(&mut self, ctx: &mut Context<'_>, side: Side, reason: String) {
        let alarms = &mut self.record.alarms;
        if alarms.len() < MOST_ALARMS && !alarms.iter().any(|known| **known == *reason) {
            let reason: std::sync::Arc<str> = reason.into();
            alarms.push(reason.clone());
            let (call, at): (_, UnixTime) = (self.id, ctx.clock.unix(ctx.now));
            ctx.out.events.push(Event::CallAlarm {
                call,
                side,
                reason,
                at,
            });
        }
    }
}

impl Leg {
    /// Whether the party is to send this stream. Who holds the other one may do so in silence, so if it only
    /// `stopped`, it is to receive too.
    fn sends(&self, stream: u8, stopped: bool) -> bool {
        let heard = Sdp::parse(&self.heard).ok();
        let direction = heard.and_then(|heard| Some(heard.media_at(stream.into())?.direction()));
        direction.is_none_or(|said| match said {
            Direction::SendRecv => true,
            Direction::SendOnly => !stopped,
            Direction::RecvOnly | Direction::Inactive => false,
        })
    }

    /// Where the party says that it receives sound.
    fn described_address(&self) -> Option<IpAddr> {
        let heard = Sdp::parse(&self.heard).ok()?;
        heard.media_at(0)?.address()
    }
}

/// What is wrong with the sound of a party that was told to send to `ours`, and what may help.
fn reason(leg: &Leg, ours: IpAddr, alarm: Alarm) -> String {
    let name = &leg.party.name;
    match alarm {
        Alarm::NoRtp { one_way, strangers } => {
            let said = leg.described_address();
            let place = Place {
                seen: leg.dialog.flow.remote.ip(),
                said,
                ours,
            };
            let mut text = place.no_rtp(strangers);
            if one_way {
                _ = write!(text, " ({name} hears the other party, but is not heard)");
            }
            text
        }
        Alarm::Silence => format!(
            "{name} has sent nothing but silence since the answer: is the microphone muted, or missing?"
        ),
        Alarm::NoWay => format!(
            "no way to {name} was found by ICE, and none from there to us: the media ports are to be open, and \
             where this server is behind a NAT, `media.advertise` is to name its public address"
        ),
        Alarm::NoConsent => format!(
            "{name} has not said for 30 seconds that it still wants its sound, so it is sent none (RFC 7675): its \
             network is gone, or its browser"
        ),
        Alarm::Stopped { seconds } => format!(
            "{name} has sent no RTP for {seconds} seconds although nobody is on hold: is its network gone, or does \
             it send nothing while it is quiet (turn silence suppression off)?"
        ),
        Alarm::WrongCodec { number } => format!(
            "{name} sends payload type {number}{}, which was not agreed, so that the other party can't play \
             it: compare the phone's codec list with `codecs`",
            meaning(leg, number)
        ),
        _ => format!("the sound of {name} is not right"),
    }
}

/// What a payload type means to the party, or to everybody: " (G729)"; nothing if nobody knows.
///
/// # Source
/// RFC 3551 §6
fn meaning(leg: &Leg, number: u8) -> String {
    let heard = Sdp::parse(&leg.heard).ok();
    let said = heard.and_then(|heard| {
        let map = heard.media_at(0)?.rtpmap(number)?;
        Some(map.name.to_owned())
    });
    let usual = || Codec::from_static_payload_type(number).map(|codec| codec.name().to_owned());
    let name = said.or_else(usual);
    name.map_or_else(String::new, |name| format!(" ({name})"))
}

/// The addresses that tell why nothing comes.
struct Place {
    /// Where the party's signalling comes from.
    seen: IpAddr,
    /// Where it says that it receives sound.
    said: Option<IpAddr>,
    /// Where we say that we do.
    ours: IpAddr,
}

impl Place {
    fn no_rtp(&self, strangers: u64) -> String {
        let Self { seen, said, ours } = *self;
        let mut text = format!("no RTP from {seen} since the answer: ");
        let hidden = said.filter(|said| !is_public(*said) && *said != seen);
        // Writing to a String can't fail.
        _ = if strangers > 0 {
            write!(
                text,
                "{strangers} packets came from elsewhere and were dropped: the phone sends sound from \
                 another address than it signals"
            )
        } else if is_public(seen) && !is_public(ours) {
            write!(
                text,
                "it was told {ours}, which is private: set `advertise` in [media] to the public address"
            )
        } else if let Some(said) = hidden {
            write!(
                text,
                "the phone's SDP says {said}, which is private: its router must let UDP out to {ours}, and \
                 the phone must send before it is sent to"
            )
        } else {
            write!(
                text,
                "does a firewall keep UDP away from {ours}, or is the port range not published?"
            )
        };
        text
    }
}

/// Complaints about one call.
const MOST_ALARMS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn place(seen: &str, said: &str, ours: &str) -> Place {
        Place {
            seen: seen.parse().unwrap(),
            said: said.parse().ok(),
            ours: ours.parse().unwrap(),
        }
    }

    #[test]
    fn the_likeliest_reason_is_named() {
        let text = place("198.51.100.7", "192.168.1.4", "203.0.113.1").no_rtp(0);
        assert!(text.starts_with(
            "no RTP from 198.51.100.7 since the answer: the phone's SDP says 192.168.1.4, which is private"
        ));
        let text = place("198.51.100.7", "192.168.1.4", "172.17.0.2").no_rtp(0);
        assert!(text.contains("it was told 172.17.0.2, which is private: set `advertise`"));
        let text = place("192.168.1.4", "192.168.1.4", "192.168.1.2").no_rtp(0);
        assert!(text.contains("does a firewall"));
        let text = place("192.168.1.4", "", "192.168.1.2").no_rtp(7);
        assert!(text.contains("7 packets came from elsewhere"));
    }
}
