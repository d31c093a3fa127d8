//! The media session of a call, as signalling sees it.

use std::net::IpAddr;

use media::{Command, Remote, SessionId, Side, StreamPorts};
use sdp::Sdp;

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

    pub(super) fn port(&self, stream: usize, side: Side) -> Option<u16> {
        let port = self.ports.get(stream)?.rtp[self.end(side).index()];
        (port != 0).then_some(port)
    }

    /// Tells the worker where a party receives its streams. RTCP is multiplexed only where the party
    /// said so and `mux` says that the other side of the agreement did too.
    pub(super) fn connect(
        &self,
        ctx: &mut Context<'_>,
        side: Side,
        sdp: &Sdp<'_>,
        mux: impl Fn(usize) -> bool,
    ) {
        for (index, media) in sdp.media().enumerate().take(self.ports.len()) {
            let remote = media
                .transport()
                .filter(|_| media.is_rtp())
                .map(|transport| {
                    let mux = transport.mux && mux(index);
                    let rtcp = if mux { transport.rtp } else { transport.rtcp };
                    Box::new(Remote {
                        mux,
                        ..Remote::plain(transport.rtp, rtcp)
                    })
                });
            ctx.out.media.push(Command::Connect {
                session: self.id,
                stream: index as u8,
                side: self.end(side),
                remote,
            });
        }
    }

    /// What the media worker calls a side.
    fn end(&self, side: Side) -> Side {
        if self.served { Side::Caller } else { side }
    }

    /// Connects both parties after an offer of `from` was answered, or `from`'s counterpart alone if it
    /// is its offer that came as an answer.
    pub(super) fn relate(
        &self,
        ctx: &mut Context<'_>,
        from: Side,
        offer: Option<&Sdp<'_>>,
        answer: &Sdp<'_>,
    ) {
        match offer {
            Some(offer) => self.agree(ctx, from, offer, answer),
            None => self.connect(ctx, from.other(), answer, |_| false),
        }
    }

    /// Connects both parties after an offer of `from` was answered.
    pub(super) fn agree(
        &self,
        ctx: &mut Context<'_>,
        from: Side,
        offer: &Sdp<'_>,
        answer: &Sdp<'_>,
    ) {
        let answered = |index| {
            answer
                .media_at(index)
                .is_some_and(|media| media.port() != 0 && media.mux())
        };
        let refused = |index: usize| answer.media_at(index).is_none_or(|media| media.port() == 0);
        self.connect(ctx, from, offer, answered);
        self.connect(ctx, from.other(), answer, |index| {
            offer.media_at(index).is_some_and(|media| media.mux())
        });
        for index in (0..offer.media_count().min(self.ports.len())).filter(|index| refused(*index))
        {
            for side in [from, from.other()] {
                ctx.out.media.push(Command::Connect {
                    session: self.id,
                    stream: index as u8,
                    side,
                    remote: None,
                });
            }
        }
    }

    /// Gives the ports back.
    pub(super) fn close(self, ctx: &mut Context<'_>) {
        ctx.index.sessions.remove(&self.id);
        ctx.out.media.push(Command::Close { session: self.id });
    }
}
