//! The media session of a call, as signalling sees it.

use std::net::IpAddr;

use media::{Command, Remote, SessionId, Side, StreamPorts, agreement};
use sdp::bridge::Security;
use sdp::{Anchor, Sdp};

use super::leg::Leg;
use super::pictures::Asking;
use crate::context::Context;

/// Ports for the streams of one call towards one pair of local addresses.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    local: [Option<IpAddr>; 2],
    /// The side whose address the session was made for.
    towards: Side,
    /// We are the other party; the media worker knows the one that there is as the caller.
    served: bool,
    /// How many streams were asked for.
    pub(super) wanted: u8,
    ports: Vec<StreamPorts>,
}

impl Session {
    /// Asks for ports between `side`, which reaches us at `towards`, and the other side, which reaches us
    /// at `from`.
    pub(super) fn allocate(
        ctx: &mut Context<'_>,
        call: base::Token,
        side: Side,
        from: IpAddr,
        towards: IpAddr,
        streams: u8,
    ) -> Self {
        let mut local = [Some(from); 2];
        local[side.index()] = Some(towards);
        Self {
            towards: side,
            served: false,
            ..Self::request(ctx, call, local, streams)
        }
    }

    /// Asks for ports for one party alone, which reaches us at `from` and is served by us.
    pub(super) fn serve(
        ctx: &mut Context<'_>,
        call: base::Token,
        from: IpAddr,
        streams: u8,
    ) -> Self {
        Self::request(ctx, call, [Some(from), None], streams)
    }

    fn request(
        ctx: &mut Context<'_>,
        call: base::Token,
        local: [Option<IpAddr>; 2],
        streams: u8,
    ) -> Self {
        // At random, so that a slot that is built anew after a fault meets none of its old sessions.
        let id = SessionId::new(ctx.mint.slot(), ctx.mint.number64());
        ctx.index.sessions.insert(id, call);
        ctx.out.media.push(Command::Allocate {
            session: id,
            local,
            streams,
        });
        Self {
            id,
            local,
            towards: Side::Callee,
            served: true,
            wanted: streams,
            ports: Vec::new(),
        }
    }

    /// Asks for ports of further streams.
    pub(super) fn grow(&mut self, ctx: &mut Context<'_>, streams: u8) {
        self.wanted = streams;
        ctx.out.media.push(Command::Allocate {
            session: self.id,
            local: self.local,
            streams,
        });
    }

    /// Takes the ports that were asked for.
    pub(super) fn allocated(&mut self, ports: Vec<StreamPorts>) {
        self.ports = ports;
    }

    /// There are no further ports: what the session had it keeps.
    pub(super) fn stay(&mut self) {
        self.wanted = self.ports.len() as u8;
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ports.len() >= usize::from(self.wanted)
    }

    pub(super) fn is_towards(&self, address: IpAddr) -> bool {
        self.local[self.towards.index()] == Some(address)
    }

    /// Where a party sends a stream, at our `address`.
    pub(super) fn anchor(&self, address: IpAddr, stream: usize, side: Side) -> Anchor {
        agreement::anchor(self.ports.get(stream), self.end(side), address)
    }

    /// Ways by which a party may reach each stream: our own address, and our `public` one.
    pub(super) fn candidates(&self, public: IpAddr, side: Side) -> Vec<(usize, Box<str>)> {
        let side = self.end(side);
        let host = self.local[side.index()].unwrap_or(public);
        agreement::candidates(&self.ports, side, host, public)
    }

    /// Tells the worker what was agreed with a party, of which `heard` is the last description. What
    /// is the same as before changes nothing.
    pub(super) fn connect(&self, ctx: &mut Context<'_>, side: Side, leg: &Leg, heard: &Sdp<'_>) {
        // Who is there by way of a proxy or trunk may have his media elsewhere: then it is only a guess
        // that comes to nothing.
        let host = Some(leg.dialog.flow.remote.ip());
        let with_more = leg.trickled.added_to(heard);
        let with_more = with_more.as_deref().and_then(|text| Sdp::parse(text).ok());
        let heard = with_more.as_ref().unwrap_or(heard);
        let rtp = |index| heard.media_at(index).is_some_and(|media| media.is_rtp());
        for index in 0..self.ports.len() {
            let plan = leg
                .end_in(self.id)
                .plan(index, heard)
                .filter(|_| rtp(index));
            let asking = heard.media_at(index).and_then(|media| Asking::of(&media));
            let by_info = asking == Some(Asking::Info) && leg.hears_wishes();
            ctx.out.media.push(Command::Connect {
                session: self.id,
                stream: index as u8,
                side: self.end(side),
                remote: plan
                    .as_ref()
                    .and_then(|plan| agreement::remote_described(plan, index, heard))
                    .map(|remote| {
                        leg.with_keys(
                            ctx,
                            Remote {
                                host,
                                asked_aside: by_info,
                                ..remote
                            },
                        )
                    })
                    .map(Box::new),
            });
            let readable = plan.is_some_and(|plan| *plan.security != Security::EndToEnd);
            let full_intra = match asking {
                Some(Asking::Feedback { full_intra }) => full_intra,
                Some(Asking::Info) if by_info => false,
                _ => continue,
            };
            if readable && !self.served {
                ctx.out.media.push(Command::Keyframe {
                    session: self.id,
                    stream: index as u8,
                    side: self.end(side),
                    full_intra,
                });
            }
        }
    }

    /// What the media worker calls a side.
    pub(super) fn end(&self, side: Side) -> Side {
        if self.served { Side::Caller } else { side }
    }

    /// The party that the media worker knows as `side`; `served` is the one that there is if we are the
    /// other one.
    pub(super) fn party(&self, side: Side, served: Side) -> Side {
        if self.served { served } else { side }
    }

    /// Gives the ports back.
    pub(super) fn close(self, ctx: &mut Context<'_>) {
        ctx.index.sessions.remove(&self.id);
        ctx.out.media.push(Command::Close { session: self.id });
    }
}
