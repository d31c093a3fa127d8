//! One party of a call: its dialog, what it can do, what it was told.

use std::time::{Duration, Instant};

use base::Token;
use media::{SessionId, Side};
use sdp::Trickled;
use sdp::bridge::Endpoint;
use sip::{
    ClientKey, Dialog, Flow, HeaderName, Message, Method, ServerKey, SessionExpires, StatusCode,
    Writer,
};

use super::pictures::Wishes;
use super::trickle;
use crate::context::{ALLOW, Abandoned, Context, HungUp, Owner, Pending, SDP};
use crate::trunk::{ANONYMOUS_ADDRESS, CallerId, Proof, TrunkLeg};
use crate::{Config, User, network};

/// The leg between us and one party.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(super) dialog: Dialog,
    pub(super) side: Side,
    /// Who is at the other end.
    pub(super) party: Party,
    /// User part of our Contact.
    user: Box<str>,
    /// The party takes UPDATE (RFC 3311).
    pub(super) takes_update: bool,
    /// The party takes INFO (RFC 6086).
    pub(super) takes_info: bool,
    /// The party has refused a key in INFO.
    pub(super) refuses_keys: bool,
    /// Keys that the party is being told of by INFO.
    pub(super) keys_under_way: u8,
    /// Candidates that have come after its description.
    pub(super) trickled: Trickled,
    /// What it has been asked for by INFO.
    pub(super) wishes: Wishes,
    /// The party knows session timers (RFC 4028).
    pub(super) knows_timer: bool,
    /// Encryption and payload types as they are agreed with the party.
    pub(super) end: Endpoint,
    /// The media session that the last description is of.
    session: Option<SessionId>,
    /// The one that it was led away from, and what was agreed there.
    left: Option<(SessionId, Box<Endpoint>)>,
    /// Session id and version of what we describe to the party.
    pub(super) origin: (u64, u64),
    /// The last description that we gave.
    pub(super) sent: String,
    /// The last description that the party gave.
    pub(super) heard: Box<str>,
    /// It holds again, but under a version that the party has not seen yet.
    taken_back: bool,
    pub(super) timer: Option<SessionTimer>,
    /// Our 2xx that the party has not acknowledged yet, and the CSeq of its INVITE.
    pub(super) unacknowledged: Option<(ServerKey, u32)>,
    /// The last 2xx of the party that we acknowledged, by CSeq, and the description that went with it.
    acknowledged: Option<(u32, Option<Box<str>>)>,
    /// CSeq of our last INVITE with a reliable provisional response, and the RSeq of that (RFC 3262 §4).
    progress: (u32, u32),
    /// Our own re-INVITE or UPDATE that keeps the session alive, until it is answered.
    pub(super) refresh: Option<Refresh>,
    /// The INVITE by which we called the party.
    pub(super) invite: Option<ClientKey>,
    /// CSeq of the party's first REFER.
    pub(super) referred: Option<u32>,
    /// Phones behind the same contact that answered too.
    pub(super) turned_away: HungUp,
    /// The party is behind a trunk.
    pub(super) trunk: Option<Box<TrunkLeg>>,
    /// How often it has refused what it was offered.
    pub(super) refusals: u8,
    /// It has hung up, and is kept for what it has said.
    pub(super) gone: bool,
}

/// Who is at the other end of a leg, as others are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Party {
    /// The user's name; for the record.
    pub(crate) name: Box<str>,
    /// The number that reaches the party.
    pub(crate) number: Box<str>,
    /// Shown beside the number; empty: none.
    pub(crate) display: Box<str>,
    /// Wants to stay unknown to the others (RFC 3323).
    pub(crate) private: bool,
}

impl Party {
    pub(crate) fn of_user(user: &User) -> Self {
        Self {
            name: user.name.as_str().into(),
            number: user.number.as_str().into(),
            display: user.display_name.replace(['"', '\\'], "").into(),
            private: false,
        }
    }

    /// Somebody out there with this number.
    pub(crate) fn of_number(number: &str) -> Self {
        Self {
            name: number.into(),
            number: number.into(),
            ..Self::default()
        }
    }

    /// A caller from a trunk.
    pub(crate) fn of_caller(caller: &CallerId) -> Self {
        let unknown = caller.number.is_empty();
        let name = if unknown { "anonymous" } else { &caller.number };
        Self {
            name: name.into(),
            number: name.into(),
            display: caller.display.as_str().into(),
            private: caller.private || unknown,
        }
    }

    /// The party as a trunk is told.
    pub(super) fn caller_id(&self) -> CallerId {
        CallerId {
            number: self.number.to_string(),
            display: self.display.to_string(),
            private: self.private,
        }
    }

    /// Whoever a request of ours is from: another of our calls speaks for a user.
    pub(crate) fn of_sender(config: &Config, request: &Message<'_>) -> Self {
        let Ok(from) = request.from() else {
            return Self::default();
        };
        let number = from.parse_uri().map(|uri| uri.user_name().into_owned());
        let number = number.unwrap_or_default();
        match config.user_at(&number) {
            Some(user) => Self::of_user(user),
            None => Self {
                name: number.as_str().into(),
                number: number.into(),
                display: from.display_name().into(),
                private: false,
            },
        }
    }

    /// The party as an address at `host`, in the form of From and To.
    pub(super) fn address(&self, host: &str) -> String {
        if self.private {
            ANONYMOUS_ADDRESS.to_owned()
        } else if self.display.is_empty() {
            self.uri(host)
        } else {
            format!("\"{}\" {}", self.display, self.uri(host))
        }
    }

    /// The address without a name.
    pub(super) fn uri(&self, host: &str) -> String {
        format!("<sip:{}@{host}>", sip::uri::escape_user(&self.number))
    }
}

/// When the session of a leg is refreshed or given up (RFC 4028 §10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionTimer {
    pub(super) interval: u32,
    /// We refresh; else the party does.
    pub(super) ours: bool,
    pub(super) due: Instant,
    /// Without a refresh until then the session is over.
    pub(super) expires: Instant,
}

/// A refresh on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refresh {
    pub(super) client: ClientKey,
    pub(super) method: Method<'static>,
    /// When it counts as unanswered, even if the party has said that it is at it.
    pub(super) until: Instant,
    /// Sent because no media came: without an answer the call is over.
    pub(super) probe: bool,
}

impl Leg {
    /// `described` is the id of the session description, the same for the life of the leg.
    pub(super) fn new(
        dialog: Dialog,
        side: Side,
        party: Party,
        user: &str,
        described: u64,
    ) -> Self {
        Self {
            dialog,
            side,
            party,
            user: user.into(),
            takes_info: false,
            refuses_keys: false,
            keys_under_way: 0,
            trickled: Trickled::default(),
            wishes: Wishes::default(),
            takes_update: false,
            knows_timer: false,
            end: Endpoint::default(),
            session: None,
            left: None,
            origin: (described, 0),
            sent: String::new(),
            heard: Box::default(),
            taken_back: false,
            timer: None,
            unacknowledged: None,
            acknowledged: None,
            progress: (0, 0),
            refresh: None,
            invite: None,
            referred: None,
            turned_away: HungUp::default(),
            trunk: None,
            refusals: 0,
            gone: false,
        }
    }

    /// What a trunk may want to have proved when the leg is gone.
    pub(super) fn proof(&self) -> Option<Box<Proof>> {
        self.trunk.as_ref()?.proof()
    }

    /// A trunk wants a proof of who we are. `false`: it can't be given.
    pub(super) fn learns(&mut self, response: &Message<'_>) -> bool {
        let asks = matches!(response.status(), Some(StatusCode(401 | 407)));
        asks && self.trunk.as_mut().is_some_and(|leg| leg.learn(response))
    }

    /// The party has let a request in: should it challenge a later one, that is news.
    pub(super) fn is_let_in(&mut self) {
        if let Some(trunk) = &mut self.trunk {
            trunk.answers.accepted();
        }
    }

    /// The party has hung up, and nothing more is asked of it.
    pub(super) fn is_gone(&mut self, ctx: &mut Context<'_>) {
        ctx.index.legs.remove(&self.tag());
        if let Some(refresh) = self.refresh.take() {
            self.abandon(ctx, refresh.client);
        }
        (self.gone, self.timer) = (true, None);
    }

    pub(super) fn tag(&self) -> Token {
        self.dialog.local_tag
    }

    /// Takes what a message of the party tells about it: what it can do, and the way it came.
    pub(super) fn learn(&mut self, message: &Message<'_>, flow: Flow) {
        if message.header(HeaderName::Allow).is_some() {
            self.takes_update = message.lists(HeaderName::Allow, "UPDATE");
            self.takes_info = message.lists(HeaderName::Allow, "INFO");
        }
        self.knows_timer |= message.lists(HeaderName::Supported, "timer");
        self.dialog.flow = network::next_hop(&self.dialog, flow, message);
    }

    /// Takes the description that a message of the party brings, if it brings one.
    pub(super) fn hear(&mut self, message: &Message<'_>) {
        if let Some(text) = message.body_of_type(SDP) {
            self.heard = text.into();
        }
    }

    /// Acknowledges a 2xx of the party (RFC 3261 §13.2.2.4).
    pub(super) fn acknowledge(&mut self, ctx: &mut Context<'_>, cseq: u32, sdp: Option<&str>) {
        ctx.acknowledge(&self.dialog, cseq, sdp);
        self.acknowledged = Some((cseq, sdp.map(Into::into)));
    }

    /// Sends the PRACK that a reliable provisional response to our INVITE asks for (RFC 3262 §4).
    /// `false`: it is a repetition or out of order, to be ignored.
    pub(super) fn acknowledge_provisional(
        &mut self,
        ctx: &mut Context<'_>,
        response: &Message<'_>,
    ) -> bool {
        if !response.lists(HeaderName::Require, "100rel") {
            return true;
        }
        let (Ok(Some(rseq)), Ok(cseq)) = (response.number(HeaderName::RSeq), response.cseq())
        else {
            return false;
        };
        let cseq = cseq.number;
        let (of, last) = self.progress;
        if of == cseq && rseq != last.wrapping_add(1) {
            return false;
        }
        self.progress = (cseq, rseq);
        let (cnonce, target) = (ctx.mint.token(), self.dialog.remote_target.clone());
        let trunk = self.trunk.as_deref_mut();
        let dialog = &mut self.dialog;
        ctx.request(dialog, Method::Prack, Owner::Nobody, |mut writer| {
            writer.header(HeaderName::RAck, format_args!("{rseq} {cseq} INVITE"));
            if let Some(trunk) = trunk {
                trunk.prove(&mut writer, Method::Prack, &target, b"", cnonce);
            }
            writer.finish();
        });
        true
    }

    /// Takes the dialog of a response, even if it comes from another phone behind the one that we
    /// called (RFC 3261 §12.1.2).
    pub(super) fn follow(&mut self, response: &Message<'_>) {
        if !self.dialog.establish(response) {
            self.progress = (0, 0);
            self.dialog.adopt(response);
        }
    }

    /// The party repeats its 2xx: it has not seen our ACK.
    pub(super) fn acknowledge_again(&self, ctx: &mut Context<'_>, cseq: u32) {
        if let Some((_, sdp)) = self.acknowledged.as_ref().filter(|(last, _)| *last == cseq) {
            ctx.acknowledge(&self.dialog, cseq, sdp.as_deref());
        }
    }

    /// The party has acknowledged our answer to its INVITE with this CSeq. `false`: that is not what
    /// we wait for.
    pub(super) fn take_acknowledgement(&mut self, ctx: &mut Context<'_>, cseq: u32) -> bool {
        let Some((server, _)) = self.unacknowledged.take_if(|(_, awaited)| *awaited == cseq) else {
            return false;
        };
        ctx.transactions.acknowledge(ctx.now, server);
        true
    }

    /// Nobody waits for the answer to this request any more. If it is an INVITE that is answered all the
    /// same, the answer is acknowledged.
    pub(super) fn abandon(&self, ctx: &mut Context<'_>, client: ClientKey) {
        self.disown(ctx, client);
        ctx.transactions.cancel(ctx.now, client, None, ctx.out);
    }

    /// The call is over: whatever still comes to the INVITE that began it is acknowledged, and whoever
    /// has not been hung up is.
    pub(super) fn disown_invite(&self, ctx: &mut Context<'_>) {
        if let Some(client) = self.invite {
            self.disown(ctx, client);
        }
    }

    fn disown(&self, ctx: &mut Context<'_>, client: ClientKey) {
        let mut hung_up = self.turned_away.clone();
        hung_up.add(&self.dialog.remote_tag);
        if let Some(owner) = ctx.transactions.client(client) {
            let (dialog, proof) = (self.dialog.clone(), self.proof());
            *owner = Owner::Abandoned(Box::new(Abandoned {
                dialog,
                hung_up,
                proof,
            }));
        }
    }

    /// Whether a re-INVITE of our own waits for the party's answer.
    pub(super) fn is_asking(&self) -> bool {
        self.refresh
            .is_some_and(|refresh| refresh.method == Method::Invite)
    }

    /// The party goes on: so it has seen our last answer, whether or not its ACK came through.
    pub(super) fn settle(&mut self, ctx: &mut Context<'_>) {
        if let Some((server, _)) = self.unacknowledged.take() {
            ctx.transactions.acknowledge(ctx.now, server);
        }
    }

    /// Our Contact towards the party.
    pub(super) fn contact(&self, ctx: &Context<'_>) -> String {
        let flow = &self.dialog.flow;
        network::contact(
            &self.user,
            ctx.config.network.signalling_address(flow),
            flow.protocol,
        )
    }

    /// The party has refused our last description, so that what was `agreed` before holds again: under a
    /// new version, because that of the refused one is used up (RFC 3264 §8).
    pub(super) fn take_back(&mut self, agreed: &str) {
        let origin = format!("o=- {} ", self.origin.0);
        let Some((head, (_, tail))) = agreed
            .split_once(&origin)
            .filter(|_| agreed != self.sent)
            .and_then(|(head, tail)| Some((head, tail.split_once(' ')?)))
        else {
            return;
        };
        self.taken_back = true;
        self.sent = format!("{head}{origin}{} {tail}", self.origin.1 + 1);
    }

    /// The next description is of this media session. True: the party is led there from another one, and shall agree
    /// on keys anew.
    pub(super) fn moves_to(&mut self, session: SessionId) -> bool {
        let before = self.session.replace(session);
        let Some(before) = before.filter(|before| *before != session) else {
            return false;
        };
        self.left = Some((before, Box::new(self.end.clone())));
        self.end.change_certificate();
        true
    }

    /// It has not followed, and is still in this session.
    pub(super) fn stays_in(&mut self, session: SessionId) {
        if let Some((_, end)) = self.left.take_if(|(left, _)| *left == session) {
            self.end = *end;
            self.session = Some(session);
        }
    }

    /// What is agreed with the party in a session.
    pub(super) fn end_in(&self, session: SessionId) -> &Endpoint {
        let left = self.left.as_ref().filter(|(left, _)| *left == session);
        left.map_or(&self.end, |(_, end)| end)
    }

    /// The description that holds, to be given again.
    fn again(&mut self) -> String {
        self.origin.1 += u64::from(std::mem::take(&mut self.taken_back));
        self.sent.clone()
    }

    /// A description made with the last version: it gets the next one if it differs from what the party
    /// has (RFC 3264 §8).
    pub(super) fn versioned(&mut self, made: String) -> String {
        let new_version = std::mem::take(&mut self.taken_back);
        if made == self.sent && !new_version {
            return made;
        }
        self.sent = if self.sent.is_empty() {
            made
        } else {
            let (id, version) = self.origin;
            self.origin.1 += 1;
            let [old, new] = [version, version + 1].map(|version| format!("o=- {id} {version} "));
            made.replacen(&old, &new, 1)
        };
        self.sent.shrink_to_fit();
        self.sent.clone()
    }

    /// Sends an INVITE or UPDATE in the dialog.
    pub(super) fn offer(
        &mut self,
        ctx: &mut Context<'_>,
        call: Token,
        method: Method<'static>,
        sdp: Option<&str>,
    ) -> ClientKey {
        let contact = self.contact(ctx);
        let timer = self.timer.map(|timer| (timer.interval, timer.ours));
        let min_se = ctx.config.calls.min_session_expires.as_secs();
        let (cnonce, target) = (ctx.mint.token(), self.dialog.remote_target.clone());
        let trunk = self.trunk.as_deref_mut();
        ctx.request(
            &mut self.dialog,
            method,
            Owner::Leg { call },
            |mut writer| {
                put_capabilities(&mut writer, &contact, sdp);
                if let Some(trunk) = trunk {
                    let body = sdp.unwrap_or("").as_bytes();
                    trunk.prove(&mut writer, method, &target, body, cnonce);
                }
                if let Some((interval, ours)) = timer {
                    let refresher = if ours { "uac" } else { "uas" };
                    writer.header(
                        HeaderName::SessionExpires,
                        format_args!("{interval};refresher={refresher}"),
                    );
                    writer.header(HeaderName::MinSe, min_se);
                }
                match sdp {
                    Some(sdp) => writer.body(SDP, sdp.as_bytes()),
                    None => writer.finish(),
                }
            },
        )
    }

    /// Accepts an INVITE or UPDATE of the party.
    pub(super) fn accept(
        &mut self,
        ctx: &mut Context<'_>,
        pending: &Pending,
        request: &Message<'_>,
        sdp: Option<&str>,
    ) {
        let timer = self.grant_timer(ctx, request);
        let contact = self.contact(ctx);
        if request.method() == Some(Method::Invite) {
            self.settle(ctx);
            let cseq = request.cseq().map_or(0, |cseq| cseq.number);
            self.unacknowledged = Some((pending.server, cseq));
            ctx.transactions.keep(pending.server, self.tag());
        }
        let (server, flow, tag) = (pending.server, &pending.flow, self.tag());
        ctx.respond(server, flow, request, 200, tag.as_str(), |mut writer| {
            writer.copy(request, HeaderName::RecordRoute);
            put_capabilities(&mut writer, &contact, sdp);
            put_timer(&mut writer, timer.as_deref());
            match sdp {
                Some(sdp) => writer.body(SDP, sdp.as_bytes()),
                None => writer.finish(),
            }
        });
    }

    /// Keeps the session alive: UPDATE without a description where the party takes it, else a
    /// re-INVITE with the description that it has.
    pub(super) fn keep_alive(&mut self, ctx: &mut Context<'_>, call: Token, probe: bool) {
        if self.refresh.is_some() {
            return;
        }
        let (method, sdp) = if self.takes_update {
            (Method::Update, None)
        } else {
            self.end.offer_again();
            (Method::Invite, Some(self.again()))
        };
        let client = self.offer(ctx, call, method, sdp.as_deref());
        self.refresh = Some(Refresh {
            client,
            method,
            until: ctx.now + sip::transaction::GIVE_UP,
            probe,
        });
    }

    /// Works out the session timer when the party asks for or refreshes the session, and returns the
    /// Session-Expires value for the 2xx (RFC 4028 §9).
    pub(super) fn grant_timer(
        &mut self,
        ctx: &Context<'_>,
        request: &Message<'_>,
    ) -> Option<String> {
        let ours = ctx.config.calls.session_expires.as_secs() as u32;
        let asked = request
            .header(HeaderName::SessionExpires)
            .and_then(|value| SessionExpires::parse(value).ok());
        self.knows_timer |= request.lists(HeaderName::Supported, "timer");
        if !self.knows_timer || (ours == 0 && asked.is_none()) {
            return None;
        }
        let least = request
            .number(HeaderName::MinSe)
            .ok()
            .flatten()
            .unwrap_or(0)
            .max(LEAST_INTERVAL);
        let wished = asked.map_or(ours, |asked| {
            if ours == 0 {
                asked.seconds
            } else {
                asked.seconds.min(ours)
            }
        });
        let interval = wished.max(least);
        let party_refreshes = asked
            .and_then(|asked| asked.refresher_is_uac)
            .unwrap_or(false);
        self.set_timer(ctx.now, interval, !party_refreshes);
        Some(format!(
            "{interval};refresher={}",
            if party_refreshes { "uac" } else { "uas" }
        ))
    }

    /// Takes the session timer from the party's 2xx to our request (RFC 4028 §7.2).
    pub(super) fn accept_timer(&mut self, now: Instant, response: &Message<'_>) {
        let granted = response
            .header(HeaderName::SessionExpires)
            .and_then(|value| SessionExpires::parse(value).ok());
        match granted {
            Some(granted) => self.set_timer(
                now,
                granted.seconds.max(LEAST_INTERVAL),
                granted.refresher_is_uac != Some(false),
            ),
            None => self.timer = None,
        }
    }

    fn set_timer(&mut self, now: Instant, interval: u32, ours: bool) {
        // RFC 4028 §10: we refresh at half time; without a refresh the end comes min(32 s, a third) early.
        let end = interval - (interval / 3).min(32);
        let wait = if ours { interval / 2 } else { end };
        let after = |seconds: u32| now + Duration::from_secs(u64::from(seconds));
        self.timer = Some(SessionTimer {
            interval,
            ours,
            due: after(wait),
            expires: after(end),
        });
    }
}

/// Contact, Allow and Supported of a message that sets up or changes a session, and has this description:
/// where we do ICE by it, further candidates may come later.
///
/// # Source
/// RFC 8840 §4.1, §10.3; RFC 6086 §4.2.2
pub(super) fn put_capabilities(writer: &mut Writer<'_>, contact: &str, sdp: Option<&str>) {
    writer
        .text(HeaderName::Contact, contact)
        .text(HeaderName::Allow, ALLOW);
    let mut lines = sdp.unwrap_or_default().lines();
    if lines.any(|line| line.starts_with("a=ice-options:") && line.ends_with("trickle")) {
        let supported = "100rel, timer, replaces, norefersub, trickle-ice";
        writer
            .text(HeaderName::Supported, supported)
            .other_header("Recv-Info", trickle::PACKAGE);
    } else {
        writer.text(HeaderName::Supported, "100rel, timer, replaces, norefersub");
    }
}

/// Session-Expires of a 2xx; the party must know that it is the one to refresh (RFC 4028 §9).
fn put_timer(writer: &mut Writer<'_>, timer: Option<&str>) {
    if let Some(timer) = timer {
        writer.header(HeaderName::SessionExpires, timer);
        if timer.ends_with("uac") {
            writer.header(HeaderName::Require, "timer");
        }
    }
}

/// No session interval is shorter, in seconds (RFC 4028 §4).
const LEAST_INTERVAL: u32 = 90;
