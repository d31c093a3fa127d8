//! What a call or a registration may touch while it handles one input.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use base::{Clock, Mint, Token};
use engine::{Out, Server};
use media::{SessionId, Side};
use sdp::bridge::Fingerprint;
use sip::{
    ClientKey, Dialog, Flow, HeaderName, Message, Method, OwnedMessage, Protocol, ServerKey,
    StatusCode, TlsPeer, Transactions, Writer,
};
use store::{Bindings, Guesses, Lines, Mailboxes, Messages, Publications, Watchers};

use crate::call::digits::Press;
use crate::locate::{Locator, Search};
use crate::orbits::Orbits;
use crate::rooms::Rooms;
use crate::stir::Notary;
use crate::trunk::{Errand, Proof};
use crate::{CallRecord, Config, Event};

/// What all slots share.
#[derive(Clone)]
pub struct Services {
    /// Who is registered where.
    pub bindings: Arc<Bindings>,
    /// Who is on the phone.
    pub lines: Arc<Lines>,
    /// How many voice messages wait.
    pub mailboxes: Arc<Mailboxes>,
    /// What phones have published.
    pub publications: Arc<Publications>,
    /// Instant messages that wait.
    pub messages: Arc<Messages>,
    /// Which slots want to know of changes to users.
    pub watchers: Arc<Watchers>,
    /// Where calls are parked.
    pub orbits: Arc<Orbits>,
    /// Who is in which conference room.
    pub rooms: Arc<Rooms>,
    /// Who sends wrong passwords.
    pub guesses: Arc<Guesses>,
    /// How many calls there are in all slots.
    pub calls: Arc<AtomicUsize>,
    /// Whether bindings can be written to disk; while not, registrations are answered 503.
    pub registrations_open: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Whether call records can be taken; while not, new calls are answered 503.
    pub calls_open: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Our own address on the way to a peer that we have not heard of yet.
    pub way_out: WayOut,
    /// What the media workers' two certificates are known by; none: they have none, and keys by DTLS pass from
    /// end to end. Whoever asks waits while they are being made, in a server's first milliseconds.
    pub fingerprints: Arc<Promised<[Fingerprint; 2]>>,
}

/// Something that is made while others work already, or can't be made.
pub type Promised<T> = LazyLock<Option<T>, Box<dyn FnOnce() -> Option<T> + Send>>;

/// Tells our own address, never an unspecified one, on the way to a peer by a transport; none if we
/// don't speak that transport or nothing leads there. Answers at once.
pub type WayOut = Arc<dyn Fn(Protocol, SocketAddr) -> Option<SocketAddr> + Send + Sync>;

impl Services {
    /// The way to a peer that we speak to first.
    #[must_use]
    pub fn flow_to(&self, protocol: Protocol, remote: SocketAddr, tls: TlsPeer) -> Option<Flow> {
        let local = (self.way_out)(protocol, remote)?;
        Some(Flow {
            protocol,
            local,
            remote,
            connection: None,
            tls,
        })
    }
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services")
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}

/// The surroundings of one input.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) clock: Clock,
    pub(crate) config: &'a Config,
    pub(crate) services: &'a Services,
    pub(crate) mint: &'a mut Mint,
    pub(crate) transactions: &'a mut Transactions<Owner, Token>,
    pub(crate) index: &'a mut Index,
    pub(crate) locator: &'a mut Locator<Waiter>,
    pub(crate) notary: &'a mut Notary,
    pub(crate) out: &'a mut Out<Event>,
    /// For a message on its way into a transaction.
    pub(crate) scratch: &'a mut Vec<u8>,
}

/// Who finds what in a slot.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// The call of each leg, by our tag in the leg's dialog.
    pub(crate) legs: HashMap<Token, Token>,
    /// The call of each media session.
    pub(crate) sessions: HashMap<SessionId, Token>,
    /// Records that wait for the statistics of their media.
    pub(crate) closing: HashMap<SessionId, Box<CallRecord>>,
    /// Legs that are to be hung up as soon as they have acknowledged our answer.
    pub(crate) lingering: HashMap<Token, Box<Lingering>>,
}

impl Index {
    /// Whether a dialog in which our tag is `tag` is alive here.
    pub(crate) fn knows(&self, tag: &Token) -> bool {
        self.legs.contains_key(tag) || self.lingering.contains_key(tag)
    }
}

/// A leg whose call is over and that has not acknowledged our answer yet (RFC 3261 §15).
#[derive(Debug)]
pub(crate) struct Lingering {
    pub(crate) dialog: Dialog,
    /// Its INVITE, which we answered.
    pub(crate) server: ServerKey,
    pub(crate) reason: Option<&'static str>,
    /// It is behind a trunk that may want it.
    pub(crate) proof: Option<Box<Proof>>,
}

impl Lingering {
    pub(crate) fn hang_up(self: Box<Self>, ctx: &mut Context<'_>) {
        ctx.transactions.acknowledge(ctx.now, self.server);
        ctx.part(self.dialog, self.reason, self.proof);
    }
}

/// A dialog with a trunk that has been sent BYE, until the trunk takes that.
#[derive(Clone, Debug)]
pub(crate) struct Parting {
    dialog: Dialog,
    reason: Option<&'static str>,
    proof: Box<Proof>,
}

impl Parting {
    /// The trunk wants a proof that the BYE is ours.
    pub(crate) fn refused(mut self: Box<Self>, ctx: &mut Context<'_>, response: &Message<'_>) {
        let asks = matches!(response.status(), Some(StatusCode(401 | 407)));
        if asks && self.proof.learn(response) {
            ctx.part(self.dialog, self.reason, Some(self.proof));
        }
    }
}

/// Our end of a dialog that nobody waits for any more.
#[derive(Clone, Debug)]
pub(crate) struct Abandoned {
    pub(crate) dialog: Dialog,
    /// Who needs no BYE, or no other one.
    pub(crate) hung_up: HungUp,
    /// It is behind a trunk that may want it.
    pub(crate) proof: Option<Box<Proof>>,
}

/// Tags of phones that answered one INVITE, more than one of them if a proxy stands before them, and
/// that have been hung up.
#[derive(Clone, Debug, Default)]
pub(crate) struct HungUp(Vec<Box<str>>);

impl HungUp {
    /// Notes a phone. `false`: it is known already, or there are too many.
    pub(crate) fn add(&mut self, tag: &str) -> bool {
        let new = self.0.len() < MOST_HUNG_UP && !self.0.iter().any(|known| **known == *tag);
        if new {
            self.0.push(tag.into());
        }
        new
    }
}

/// Whose answer it is that comes to a request of ours.
#[derive(Clone, Debug)]
pub(crate) enum Owner {
    /// An INVITE to a phone of the callee.
    Fork { call: Token },
    /// A re-INVITE or UPDATE in the leg with this tag.
    Leg { call: Token },
    /// A request that a leg sent for the other one, such as INFO.
    Relay {
        call: Token,
        /// The party that it was sent to.
        to: Side,
        pending: Box<Pending>,
    },
    /// INFO that tells a party of a key.
    Key {
        call: Token,
        /// The party.
        to: Side,
        press: Press,
    },
    /// INFO that asks a party for a picture.
    Picture {
        call: Token,
        /// The party.
        to: Side,
    },
    /// A request that was forwarded; its server transaction.
    Proxy { server: ServerKey },
    /// A message on its way to a phone.
    Message { parcel: Token },
    /// NOTIFY in the subscription with this tag.
    Notify { subscription: Token },
    /// OPTIONS to a registered phone.
    Qualify {
        user: Arc<str>,
        contact: Box<str>,
        /// Which of the phone's flows.
        reg_id: u32,
        sent: Instant,
    },
    /// REGISTER or OPTIONS to a trunk.
    Trunk(Errand),
    /// An INVITE that nobody waits for any more: if it is answered all the same, the answer is
    /// acknowledged and the dialog hung up.
    Abandoned(Box<Abandoned>),
    /// BYE to a trunk.
    Parting(Box<Parting>),
    /// Nothing depends on the answer: BYE, PRACK.
    Nobody,
}

impl Owner {
    /// Whether it wants to know of provisional responses.
    pub(crate) const fn hears_provisional(&self) -> bool {
        matches!(
            self,
            Self::Fork { .. } | Self::Leg { .. } | Self::Proxy { .. }
        )
    }
}

/// Who waits until a server is found. What it is needed for is kept where the waiter is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// A call, for its next phones.
    Call(Token),
    /// A request that is to be forwarded.
    Proxy(ServerKey),
    /// This trunk, for the proxy with this place in its list.
    Trunk(Arc<str>, usize),
}

/// A request that is answered later.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) server: ServerKey,
    pub(crate) flow: Flow,
    request: OwnedMessage,
}

impl Pending {
    pub(crate) fn new(server: ServerKey, flow: Flow, bytes: &[u8]) -> Self {
        Self {
            server,
            flow,
            request: OwnedMessage::new(bytes),
        }
    }

    /// The request. It parsed when it came, so it parses now.
    pub(crate) fn message(&self) -> Option<&Message<'_>> {
        self.request.get()
    }
}

impl Context<'_> {
    /// Finds the ways to a server now, or lets `waiter` hear of them later.
    pub(crate) fn find(&mut self, server: &Server, waiter: Waiter) -> Search<Waiter> {
        let ask = &mut self.out.ask;
        self.locator.find(self.now, self.mint, ask, server, waiter)
    }

    /// What is shown of `name` to those who watch has changed: they are told.
    pub(crate) fn changed(&mut self, name: &str) {
        let wake = &mut self.out.wake;
        self.services.watchers.changed(name, |slot| wake.push(slot));
    }

    /// Answers a request without a body.
    pub(crate) fn refuse(
        &mut self,
        server: ServerKey,
        flow: &Flow,
        request: &Message<'_>,
        status: u16,
        tag: &str,
    ) {
        self.respond(server, flow, request, status, tag, |writer| writer.finish());
    }

    /// Answers a request; `finish` adds header fields and ends the message.
    pub(crate) fn respond(
        &mut self,
        server: ServerKey,
        flow: &Flow,
        request: &Message<'_>,
        status: u16,
        tag: &str,
        finish: impl FnOnce(Writer<'_>),
    ) {
        let status = StatusCode(status);
        self.scratch.clear();
        let mut writer = Writer::response_to(self.scratch, request, flow, status, tag);
        self.config.put_server(&mut writer);
        finish(writer);
        self.transactions
            .respond(self.now, server, status, self.scratch, self.out);
    }

    /// Answers a request that has waited, without a body.
    pub(crate) fn refuse_pending(&mut self, pending: &Pending, status: u16, tag: &str) {
        if let Some(request) = pending.message() {
            self.refuse(pending.server, &pending.flow, request, status, tag);
        }
    }

    /// Sends the next request in a dialog; `finish` adds header fields and ends the message.
    pub(crate) fn request(
        &mut self,
        dialog: &mut Dialog,
        method: Method<'_>,
        owner: Owner,
        finish: impl FnOnce(Writer<'_>),
    ) -> ClientKey {
        let branch = self.mint.token();
        let sent_by = self
            .config
            .network
            .signalling_address(&dialog.flow)
            .to_string();
        self.scratch.clear();
        let mut writer = dialog.request(self.scratch, method, &sent_by, branch);
        self.config.put_user_agent(&mut writer);
        finish(writer);
        let request = match self.config.network.may_connect(dialog) {
            true => Transactions::request_by_length,
            false => Transactions::request,
        };
        request(
            self.transactions,
            self.now,
            dialog.flow,
            method,
            branch,
            self.scratch,
            owner,
            self.out,
        )
    }

    /// Sends the ACK of a 2xx, with a description if one is due.
    pub(crate) fn acknowledge(&mut self, dialog: &Dialog, cseq: u32, sdp: Option<&str>) {
        let branch = self.mint.token();
        let sent_by = self
            .config
            .network
            .signalling_address(&dialog.flow)
            .to_string();
        self.out.send_with(dialog.flow, |bytes| {
            let writer = dialog.ack(bytes, cseq, &sent_by, branch);
            match sdp {
                Some(sdp) => writer.body(SDP, sdp.as_bytes()),
                None => writer.finish(),
            }
        });
    }

    /// Hangs up a dialog for good; with a `proof`, one with a trunk that may want it.
    pub(crate) fn part(
        &mut self,
        mut dialog: Dialog,
        reason: Option<&'static str>,
        proof: Option<Box<Proof>>,
    ) {
        let Some(mut proof) = proof else {
            return self.hang_up(&mut dialog, reason);
        };
        let (cnonce, target) = (self.mint.token(), dialog.remote_target.clone());
        let key = self.request(&mut dialog, Method::Bye, Owner::Nobody, |mut writer| {
            proof.put(&mut writer, Method::Bye, &target, cnonce);
            if let Some(reason) = reason {
                writer.header(HeaderName::Reason, reason);
            }
            writer.finish();
        });
        if let Some(owner) = self.transactions.client(key) {
            *owner = Owner::Parting(Box::new(Parting {
                dialog,
                reason,
                proof,
            }));
        }
    }

    /// Hangs up a dialog. `reason` is the value of a Reason header field (RFC 3326).
    pub(crate) fn hang_up(&mut self, dialog: &mut Dialog, reason: Option<&str>) {
        self.request(dialog, Method::Bye, Owner::Nobody, |mut writer| {
            if let Some(reason) = reason {
                writer.header(HeaderName::Reason, reason);
            }
            writer.finish();
        });
    }
}

impl Config {
    pub(crate) fn put_server(&self, writer: &mut Writer<'_>) {
        if !self.server.is_empty() {
            writer.text(HeaderName::Server, &self.server);
        }
    }

    pub(crate) fn put_user_agent(&self, writer: &mut Writer<'_>) {
        if !self.server.is_empty() {
            writer.text(HeaderName::UserAgent, &self.server);
        }
    }
}

/// Most phones behind one contact that are hung up.
const MOST_HUNG_UP: usize = 8;

/// Content type of a session description.
pub(crate) const SDP: &str = "application/sdp";

/// The methods that we understand, for Allow.
pub(crate) const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, PRACK, UPDATE, INFO, REFER, \
     SUBSCRIBE, NOTIFY, PUBLISH, MESSAGE";
