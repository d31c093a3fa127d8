//! The media session of a call, as signalling sees it.

use std::net::IpAddr;

use media::{Command, Remote, SessionId, Side, StreamPorts};
use sdp::Sdp;
use sdp::bridge::{Endpoint, Plan};

use crate::context::Context;
use crate::sound;

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

    pub(super) fn port(&self, stream: usize, side: Side) -> Option<u16> {
        let port = self.ports.get(stream)?.rtp[self.end(side).index()];
        (port != 0).then_some(port)
    }

    /// Tells the worker what was agreed with a party, of which `heard` is the last description. What
    /// is the same as before changes nothing.
    pub(super) fn connect(
        &self,
        ctx: &mut Context<'_>,
        side: Side,
        end: &Endpoint,
        heard: &Sdp<'_>,
    ) {
        let rtp = |index| heard.media_at(index).is_some_and(|media| media.is_rtp());
        for index in 0..self.ports.len() {
            let plan = end.plan(index, heard).filter(|_| rtp(index));
            ctx.out.media.push(Command::Connect {
                session: self.id,
                stream: index as u8,
                side: self.end(side),
                remote: plan.and_then(|plan| remote(&plan)).map(Box::new),
            });
        }
    }

    /// What the media worker calls a side.
    fn end(&self, side: Side) -> Side {
        if self.served { Side::Caller } else { side }
    }

    /// Gives the ports back.
    pub(super) fn close(self, ctx: &mut Context<'_>) {
        ctx.index.sessions.remove(&self.id);
        ctx.out.media.push(Command::Close { session: self.id });
    }
}

fn remote(plan: &Plan<'_>) -> Option<Remote> {
    let mut payloads = Vec::with_capacity(plan.payloads.len());
    for payload in plan.payloads {
        payloads.push(sound::payload(payload));
    }
    // A party may send under a number of its own for what we call otherwise.
    for odd in plan.payloads.iter().filter(|p| p.received != p.number) {
        let number = odd.received;
        payloads.push(media::Payload {
            number,
            ..sound::payload(odd)
        });
    }
    Some(Remote {
        mux: plan.mux,
        security: sound::security(plan.security)?,
        payloads,
        ..Remote::plain(plan.rtp, plan.rtcp)
    })
}
