//! Transfer: REFER, blind and attended (RFC 3515, RFC 5589), and what the transferor is told.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use base::Token;
use media::Side;
use sip::{
    Dialog, Flow, HeaderName, Message, Method, NameAddr, Protocol, Replaces, StatusCode, TlsPeer,
    Uri,
};

use super::fork::Target;
use super::leg::{Leg, Party};
use super::{Alive, Call, Stage};
use crate::Cause;
use crate::context::{Context, Owner, Pending};

/// A party is being sent to somebody else.
#[derive(Debug)]
pub(super) struct Transfer {
    /// The party that wants it, and is told how it goes.
    pub(super) by: Side,
    /// It has asked not to be told (RFC 4488).
    silent: bool,
    /// CSeq of its REFER.
    id: u32,
    /// The last status that it was told.
    told: u16,
    /// It is not the other party but its own place in a room that somebody else is to have.
    pub(super) of_place: bool,
    /// How we reach it once it has hung up: its subscription is a usage of its own, and outlives the call
    /// (RFC 5057 §4, RFC 5589 §5).
    departed: Option<Box<Departed>>,
    /// Value of Referred-By (RFC 3892) for whoever is to take the party.
    pub(super) referred_by: Option<Box<str>>,
}

/// A transferor that has hung up.
#[derive(Debug)]
struct Departed {
    dialog: Dialog,
    event: String,
    contact: String,
}

/// Where a party is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Destination {
    number: String,
    /// Value of the Replaces header field: the other call of the transferor.
    replaces: Option<String>,
}

impl Call {
    /// A party wants the other one to be sent elsewhere.
    pub(super) fn refer(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        side: Side,
        pending: &Pending,
        request: &Message<'_>,
    ) -> Alive {
        let (server, flow) = (pending.server, &pending.flow);
        let destination = match Destination::of_request(request) {
            Ok(destination) => destination,
            Err(status) => {
                ctx.refuse(server, flow, request, status, "");
                return Some(self);
            }
        };
        if let Some(status) = self.transfer_objection() {
            ctx.refuse(server, flow, request, status, "");
            return Some(self);
        }
        let silent = request
            .other_header("Refer-Sub")
            .is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case("false"));
        let Some(leg) = self.side(side) else {
            return Some(self);
        };
        let contact = leg.contact(ctx);
        let referred_by = request.header(HeaderName::ReferredBy);
        let referred_by = referred_by.map_or_else(
            || {
                leg.party
                    .uri(&leg.dialog.flow.local.ip().to_string())
                    .into()
            },
            Box::from,
        );
        let referred_by = Some(referred_by);
        ctx.respond(server, flow, request, 202, "", |mut writer| {
            writer.text(HeaderName::Contact, &contact);
            if silent {
                writer.other_header("Refer-Sub", "false");
            }
            writer.finish();
        });
        let id = request.cseq().map_or(0, |cseq| cseq.number);
        self.transfer = Some(Transfer {
            by: side,
            silent,
            id,
            told: 0,
            of_place: self.is_seated(),
            departed: None,
            referred_by,
        });
        self.tell_transferor(ctx, StatusCode(100));
        if self.hands_over() {
            return self.hand_over(ctx, &destination);
        }
        self.send_elsewhere(ctx, side.other(), &destination)
    }

    /// An operator sends a party elsewhere.
    pub(crate) fn transfer(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        who: Side,
        number: &str,
    ) -> Alive {
        if self.stage == Stage::Serving && self.invite.is_none() {
            return self.lead_away(ctx, number);
        }
        if self.transfer_objection().is_some() {
            return Some(self);
        }
        self.transfer = Some(Transfer {
            by: who.other(),
            silent: true,
            id: 0,
            told: 0,
            of_place: false,
            departed: None,
            referred_by: None,
        });
        let destination = Destination {
            number: number.to_owned(),
            replaces: None,
        };
        self.send_elsewhere(ctx, who, &destination)
    }

    /// Sends a party elsewhere whom nobody but we talk to, such as one in a conference room.
    fn lead_away(mut self: Box<Self>, ctx: &mut Context<'_>, number: &str) -> Alive {
        if self.is_changing() || self.parked.is_some() {
            return Some(self);
        }
        self.leave_room(ctx);
        self.refusal = None;
        self.steps = ctx.config.dialplan.steps_for(number, None).into_iter();
        self.next_step(ctx)
    }

    /// Why nobody can be transferred now, as a status.
    fn transfer_objection(&self) -> Option<u16> {
        let both = self.legs.iter().all(Option::is_some);
        let talks = self.stage == Stage::Talking && both;
        let sits = self.stage == Stage::Serving && self.is_seated();
        if self.invite.is_some() || !talks && !sits {
            return Some(403);
        }
        // The party that leaves could still owe an answer, or be owed one.
        (self.transfer.is_some() || self.is_changing()).then_some(491)
    }

    pub(super) fn send_elsewhere(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        who: Side,
        destination: &Destination,
    ) -> Alive {
        self.subject = who;
        self.refusal = None;
        match &destination.replaces {
            Some(replaces) => {
                self.steps = Vec::new().into_iter();
                self.dial_dialog(ctx, &destination.number, replaces)
            }
            None => {
                // Whoever is outside sends a call no further than it could call itself.
                let trunk = self.transferor_trunk();
                let plan = &ctx.config.dialplan;
                let steps = plan.steps_for(&destination.number, trunk.as_deref());
                self.steps = steps.into_iter();
                self.next_step(ctx)
            }
        }
    }

    /// The trunk behind which the party is that sent a REFER; an operator has none.
    fn transferor_trunk(&self) -> Option<Arc<str>> {
        let transfer = self.transfer.as_ref()?;
        transfer.referred_by.as_ref()?;
        let leg = self.legs[transfer.by.index()].as_ref()?.trunk.as_ref()?;
        Some(Arc::clone(&leg.trunk.name))
    }

    /// Seeks the place of a party in another call of ours.
    pub(super) fn dial_dialog(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        number: &str,
        replaces: &str,
    ) -> Alive {
        let ours = Replaces::parse(replaces)
            .ok()
            .filter(|replaces| Token::parse(replaces.to_tag).is_some());
        let Some(ours) = ours else {
            return self.fail_step(ctx, StatusCode(481));
        };
        let streams = match self.offered_streams() {
            Ok(streams) => streams,
            Err(status) => return self.refuse(ctx, status, Cause::Refused),
        };
        let party = match ctx.config.user_at(number) {
            Some(user) => Party::of_user(user),
            None => Party::of_number(number),
        };
        let target = Target {
            party,
            uri: &format!("sip:{}@{}", sip::uri::escape_user(number), LOCAL),
            flow: INSIDE,
            path: &[],
            spares: Vec::new(),
            replaces: Some(ours.to_string().into()),
            outward: None,
        };
        self.add_fork(ctx, target, streams);
        self.stage = Stage::Allocating;
        Some(self)
    }

    /// Tells the transferor how far it is (RFC 3515 §2.4.4); one that has hung up, what came of it.
    pub(super) fn tell_transferor(&mut self, ctx: &mut Context<'_>, status: StatusCode) {
        let Some(transfer) = self.transfer.as_mut().filter(|transfer| !transfer.silent) else {
            return;
        };
        let leg = self.legs[transfer.by.index()].as_mut();
        if transfer.told == status.0 {
            return;
        }
        if let Some(departed) = &mut transfer.departed {
            if status.is_final() {
                let Departed {
                    dialog,
                    event,
                    contact,
                } = &mut **departed;
                notify(ctx, dialog, event, contact, status);
                transfer.told = status.0;
            }
        } else if let Some(leg) = leg {
            let (event, contact) = (leg.refer_event(transfer.id), leg.contact(ctx));
            notify(ctx, &mut leg.dialog, &event, &contact, status);
            transfer.told = status.0;
        }
    }

    /// Somebody has taken the party that was sent: the transferor is told, and is needed no more.
    pub(super) fn transferred(&mut self, ctx: &mut Context<'_>) {
        self.tell_transferor(ctx, StatusCode(200));
        self.transfer = None;
    }

    /// Nobody has taken the party: it stays with the transferor, if that is still there.
    pub(super) fn transfer_failed(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        status: StatusCode,
    ) -> Alive {
        let of_place = self.transfer.as_ref().is_some_and(|t| t.of_place);
        let kept = self.hands_over();
        self.tell_transferor(ctx, status);
        self.transfer = None;
        for session in std::mem::take(&mut self.sessions) {
            session.close(ctx);
        }
        if of_place {
            return self.keep_place(ctx, kept);
        }
        let alone = self.legs.iter().any(Option::is_none);
        self.subject = Side::Caller;
        self.stage = Stage::Talking;
        if alone {
            return self.end(ctx, Cause::Refused, None);
        }
        Some(self)
    }

    /// The transferor hangs up before somebody has taken the party, which does not stop the transfer.
    /// `false`: it is no transferor.
    pub(super) fn transferor_leaves(&mut self, ctx: &mut Context<'_>, side: Side) -> bool {
        if self
            .transfer
            .as_ref()
            .is_none_or(|transfer| transfer.by != side)
        {
            return false;
        }
        if self.leave_place_open(ctx) {
            return true;
        }
        if let Some(mut leg) = self.legs[side.index()].take() {
            if let Some(transfer) = self.transfer.as_mut().filter(|transfer| !transfer.silent) {
                transfer.departed = Some(Box::new(Departed {
                    event: leg.refer_event(transfer.id),
                    contact: leg.contact(ctx),
                    dialog: leg.dialog.clone(),
                }));
            }
            super::leave(ctx, leg, true, None);
        }
        true
    }
}

impl Leg {
    /// Value of Event of what the party is told of its REFER: the first one of a dialog needs no id (RFC
    /// 3515 §2.4.6).
    fn refer_event(&mut self, id: u32) -> String {
        let first = *self.referred.get_or_insert(id);
        if first == id {
            "refer".to_owned()
        } else {
            format!("refer;id={id}")
        }
    }
}

/// Sends the transferor a status.
fn notify(
    ctx: &mut Context<'_>,
    dialog: &mut Dialog,
    event: &str,
    contact: &str,
    status: StatusCode,
) {
    let state = if status.is_final() {
        "terminated;reason=noresource".to_owned()
    } else {
        // Several numbers may ring one after the other.
        let left = ctx.config.calls.ring_timeout.as_secs() * 3 + 60;
        format!("active;expires={left}")
    };
    let body = format!("SIP/2.0 {} {}\r\n", status.0, status.reason());
    ctx.request(dialog, Method::Notify, Owner::Nobody, |mut writer| {
        writer.text(HeaderName::Contact, contact);
        writer.text(HeaderName::Event, event);
        writer.text(HeaderName::SubscriptionState, &state);
        writer.body("message/sipfrag;version=2.0", body.as_bytes());
    });
}

impl Destination {
    /// Reads where a REFER points.
    ///
    /// # Errors
    /// The status with which the REFER is to be refused.
    fn of_request(request: &Message<'_>) -> Result<Self, u16> {
        let mut values = request.values(HeaderName::ReferTo);
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(400);
        };
        let address = NameAddr::parse(value).map_err(|_| 400u16)?;
        let uri = Uri::parse(address.uri).map_err(|_| 416u16)?;
        let method = uri.params.find("method").unwrap_or("INVITE");
        if !method.eq_ignore_ascii_case("INVITE") {
            return Err(501);
        }
        let number = super::plain_number(&uri).ok_or(404u16)?;
        let replaces = uri.header("Replaces").map(std::borrow::Cow::into_owned);
        Ok(Self { number, replaces })
    }
}

/// The way from one of our calls to another. The media between them takes it too.
const INSIDE: Flow = Flow {
    protocol: Protocol::Local,
    local: SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5060),
    remote: SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5060),
    connection: None,
    tls: TlsPeer::ANY,
};

const LOCAL: &str = "127.0.0.1";
