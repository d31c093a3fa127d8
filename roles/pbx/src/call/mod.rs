//! A call: from the caller's INVITE to the record of its end.
//!
//! A [`Call`] is moved out of its slot's table for each input and put back unless the input ended it;
//! whatever ends a call consumes it in [`Call::end`], so there is one end and one record.
//!
//! - `steps`: the dial plan's steps, one after the other, until one of them settles the call.
//! - `fork`: phones ring, one answers, the others are told; `progress`: what the caller is told meanwhile.
//! - `divert`: forwarding, do not disturb, phones that redirect.
//! - `hunt`: calls that leave by trunks, one way after the other.
//! - `serve`: calls that end at us: echo, tones, prompts.
//! - `negotiate`: what each party is told of the other's media.
//! - `hold`: music for whoever waits; `record`: the call as a file.
//! - `change`: hold, codec changes after the answer; `refresh`: session refreshes.
//! - `transfer`: REFER: a party is sent to somebody else.
//! - `replace`: an INVITE that takes the place of a party, or picks up what rings.
//! - `conference`: a party in a conference room, or at its door; `watch`: what it sees there; `handover`: it
//!   gives its place to somebody else; `minutes`: what observers of a room are told;
//!   `naming`: the name by which it is announced.
//! - `park`: calls that wait in an orbit until somebody fetches them.
//! - `alarms`: what is wrong with the sound.
//! - `digits`: keys that are pressed; `pictures`: such that stand alone, wanted of a party.
//! - `trickle`: candidates that come later.
//! - `requests`: everything else a leg may send.
//! - `lamps`: what others see of the call.
//! - `vouch`: whether somebody vouches for the number of a caller from a trunk.
//! - `timers`: ringing, session intervals, the longest duration.
//! - [`leg`] and `session`: one party, and its media.

mod alarms;
mod change;
mod conference;
pub(crate) mod digits;
mod divert;
mod fork;
mod handover;
mod hold;
mod hunt;
mod lamps;
pub(crate) mod leg;
mod minutes;
mod naming;
mod negotiate;
mod park;
mod pictures;
mod progress;
pub(crate) mod record;
mod refresh;
mod replace;
pub(crate) mod requests;
mod serve;
mod session;
mod steps;
mod timers;
mod transfer;
mod trickle;
mod vouch;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use base::Token;
use media::{Format, Side, Source};
use sip::{Dialog, Flow, HeaderName, Message, StatusCode};

use crate::context::{Context, Lingering, Pending};
use crate::trunk::{CallerId, TrunkLeg};
use crate::{CallRecord, Cause, Event, Step, User};
use change::{Exchange, LateAck, Waiting};
use conference::Meeting;
use divert::Diversion;
use fork::Fork;
use hunt::Hunt;
use leg::Leg;
pub(crate) use leg::Party;
use park::Parking;
use progress::News;
pub(crate) use replace::Entrant;
use session::Session;
pub(crate) use steps::reachable;
use transfer::Transfer;

/// One call.
#[derive(Debug)]
pub(crate) struct Call {
    /// Also our tag towards the caller.
    id: Token,
    /// The two parties, by [`Side::index`].
    legs: [Option<Leg>; 2],
    /// The party for whom the dial plan is walked: the caller, or whoever is being transferred.
    subject: Side,
    /// The caller's INVITE until it has its final answer.
    invite: Option<Pending>,
    stage: Stage,
    /// Whose phones are tried.
    seeking: Option<Arc<User>>,
    /// Numbers that the call has left behind, oldest first.
    diversions: Vec<Diversion>,
    /// Phones are asked to answer by themselves.
    intercom: bool,
    /// What the dial plan still has in store.
    steps: std::vec::IntoIter<Step>,
    /// The number that is dialled while a server is looked for.
    locating: Option<Box<str>>,
    /// What vouches for the caller's number, while its certificate is fetched.
    claim: Option<Box<stir::Claim>>,
    forks: Vec<Fork>,
    /// Ways through trunks that are left.
    hunt: Option<Hunt>,
    /// While phones ring, one for each local address that they are reached from.
    sessions: Vec<Session>,
    /// The media of those who talk, or of whom we serve.
    session: Option<Session>,
    transfer: Option<Transfer>,
    parked: Option<Parking>,
    meeting: Option<Meeting>,
    exchange: Option<Exchange>,
    waiting: Option<Waiting>,
    late_ack: Option<LateAck>,
    provisional: Provisional,
    hold: hold::Hold,
    taping: record::Taping,
    /// What a served caller hears, and on which stream in which format.
    source: Option<Source>,
    /// How often something was played to it.
    played: u32,
    format: Option<(u8, Format)>,
    /// What is served is heard before the call is answered, and until when.
    unanswered: bool,
    early_until: Option<Instant>,
    /// Status of the best refusal so far.
    refusal: Option<StatusCode>,
    /// Requests such as INFO that wait for the other leg's answer.
    relayed: u8,
    record: Box<CallRecord>,
    /// What lamps show of it.
    shown: lamps::Shown,
    answered_at: Option<Instant>,
    ends_at: Option<Instant>,
    _admission: Admission,
    /// The earliest entry for this call in the slot's queue.
    pub(crate) armed: Option<Instant>,
}

/// How far a call has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// A step of the dial plan waits for media ports.
    Allocating,
    /// Phones ring until then.
    Ringing { until: Instant },
    /// We are the callee.
    Serving,
    /// Two parties talk.
    Talking,
}

/// What the caller has been told before the answer.
#[derive(Debug, Default)]
struct Provisional {
    /// Status of the last one, and whether it had a description.
    last: Option<(u16, bool)>,
    /// RSeq of the last reliable one.
    rseq: u32,
    /// What happened since the last one went out, if that still waits for its PRACK.
    next: Option<News>,
    /// It waits for its PRACK, and the answer with it if it had a description (RFC 3262 §3).
    unacknowledged: bool,
    /// Our answer, held back until then.
    held: Option<String>,
}

/// An INVITE that may become a call.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// The dialog with the caller.
    pub(crate) dialog: Dialog,
    /// What was dialled.
    pub(crate) number: String,
    pub(crate) admission: Admission,
}

/// Who begins a call.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) party: Party,
    /// The call comes from a trunk.
    pub(crate) trunk: Option<TrunkLeg>,
}

impl Caller {
    /// A user of ours.
    pub(crate) fn of_user(user: &User, request: &Message<'_>) -> Self {
        let private = CallerId::of_user(user, request).private;
        Self {
            party: Party {
                private,
                ..Party::of_user(user)
            },
            trunk: None,
        }
    }
}

/// A call's place among those that there may be at once; given back however the call goes.
#[derive(Debug)]
pub(crate) struct Admission(Arc<AtomicUsize>);

impl Admission {
    pub(crate) fn new(calls: &Arc<AtomicUsize>) -> Self {
        calls.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(calls))
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Index of the caller's leg.
const CALLER: usize = Side::Caller.index();

/// What a call leaves behind after an input.
pub(crate) type Alive = Option<Box<Call>>;

impl Call {
    /// Begins the call of a caller who has been let in.
    pub(crate) fn start(
        ctx: &mut Context<'_>,
        request: &Message<'_>,
        pending: Pending,
        admitted: Admitted,
        caller: Caller,
    ) -> Alive {
        let Admitted {
            dialog,
            number,
            admission,
        } = admitted;
        let id = dialog.local_tag;
        let started = ctx.clock.unix(ctx.now);
        let record = CallRecord::begin(id, request, &caller, &number, started);
        let described = u64::from(ctx.mint.number());
        let mut leg = Leg::new(dialog, Side::Caller, caller.party, &number, described);
        leg.trunk = caller.trunk.map(Box::new);
        leg.learn(request, pending.flow);
        leg.hear(request);
        let steps = &ctx.config.dialplan;
        let steps = steps.steps_for(&number, record.trunk_in.as_deref());
        ctx.out
            .events
            .push(record.started(pending.flow.remote, false));
        ctx.index.legs.insert(id, id);
        ctx.out.events.push(Event::CallLeg {
            call: id,
            call_id: Arc::clone(&record.call_id),
        });
        ctx.transactions.keep(pending.server, id);
        ctx.refuse(pending.server, &pending.flow, request, 100, "");
        let call = Self::new(leg, pending, steps.into_iter(), record, admission);
        Box::new(call).verify_caller(ctx)
    }

    fn new(
        leg: Leg,
        pending: Pending,
        steps: std::vec::IntoIter<Step>,
        record: CallRecord,
        admission: Admission,
    ) -> Self {
        Self {
            id: record.call,
            legs: [Some(leg), None],
            subject: Side::Caller,
            invite: Some(pending),
            stage: Stage::Allocating,
            seeking: None,
            diversions: Vec::new(),
            intercom: false,
            steps,
            locating: None,
            claim: None,
            forks: Vec::new(),
            hunt: None,
            sessions: Vec::new(),
            session: None,
            transfer: None,
            parked: None,
            meeting: None,
            exchange: None,
            waiting: None,
            late_ack: None,
            provisional: Provisional::default(),
            source: None,
            played: 0,
            format: None,
            unanswered: false,
            early_until: None,
            hold: hold::Hold::default(),
            taping: record::Taping::default(),
            refusal: None,
            relayed: 0,
            record: Box::new(record),
            shown: lamps::Shown::default(),
            answered_at: None,
            ends_at: None,
            _admission: admission,
            armed: None,
        }
    }

    pub(crate) fn id(&self) -> Token {
        self.id
    }

    /// The leg whose dialog has this tag of ours.
    fn leg(&mut self, tag: Token) -> Option<&mut Leg> {
        let mut legs = self.legs.iter_mut().flatten();
        legs.find(|leg| leg.tag() == tag)
    }

    fn side(&mut self, side: Side) -> Option<&mut Leg> {
        self.legs[side.index()].as_mut()
    }

    /// The side of whom the dial plan finds for the subject.
    fn sought(&self) -> Side {
        self.subject.other()
    }

    /// The call has been answered by `by`, or by us.
    fn answered(&mut self, ctx: &mut Context<'_>, by: Option<&str>) {
        let at = ctx.clock.unix(ctx.now);
        self.record.answered = Some(at);
        self.record.answered_by = by.map(Into::into);
        self.answered_at = Some(ctx.now);
        let longest = ctx.config.calls.max_duration;
        self.ends_at = (!longest.is_zero()).then(|| ctx.now + longest);
        ctx.out
            .events
            .push(Event::CallAnswered { call: self.id, at });
    }

    /// An operator ends the call.
    pub(crate) fn hang_up(self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        self.end(ctx, Cause::Operator, None)
    }

    /// Refuses the caller's INVITE and ends the call.
    fn refuse(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        status: StatusCode,
        cause: Cause,
    ) -> Alive {
        if self.transfer.is_some() {
            return self.transfer_failed(ctx, status);
        }
        self.refusal = Some(status);
        self.end(ctx, cause, None)
    }

    /// Ends the call: answers what is open, hangs up every leg but that of `hung_up`, gives the media
    /// back, and leaves the record.
    fn end(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        cause: Cause,
        hung_up: Option<Side>,
    ) -> Alive {
        self.hide(ctx);
        self.tell_left(ctx);
        self.record.cause = cause;
        let accepted = self.invite.is_none();
        if let Some(invite) = self.invite.take() {
            let status = match cause {
                Cause::Cancelled | Cause::CallerHungUp => StatusCode(487),
                Cause::Operator => StatusCode(480),
                _ => self.refusal.unwrap_or(StatusCode(480)),
            };
            self.record.status = status;
            ctx.refuse_pending(&invite, status.0, self.id.as_str());
        }
        self.close_exchange(ctx);
        let reason = cause.reason();
        self.abandon_forks(ctx, reason);
        ctx.index.legs.remove(&self.id);
        let legs = std::mem::take(&mut self.legs);
        for leg in legs.into_iter().flatten() {
            let waits_for_answer = leg.side == Side::Caller && !accepted;
            let gone = waits_for_answer || hung_up == Some(leg.side);
            leave(ctx, leg, gone, reason);
        }
        self.record.ended = ctx.clock.unix(ctx.now);
        self.record.duration_ms = self.answered_at.map_or(0, |at| {
            ctx.now.saturating_duration_since(at).as_millis() as u64
        });
        self.sessions.extend(self.session.take());
        close(ctx, self.sessions, self.record);
        None
    }

    /// Takes the caller's offer again; the INVITE was parsed when it came.
    fn with_invite<T>(&self, look: impl FnOnce(&Message<'_>, Flow) -> T) -> Option<T> {
        let pending = self.invite.as_ref()?;
        pending.message().map(|message| look(message, pending.flow))
    }
}

impl Cause {
    /// Value of the Reason header field of our BYE or CANCEL (RFC 3326).
    pub(crate) const fn reason(self) -> Option<&'static str> {
        match self {
            Self::NoAnswer => Some("Q.850;cause=19;text=\"No answer\""),
            Self::MediaTimeout => Some("Q.850;cause=127;text=\"No media\""),
            Self::MediaInsecure => Some("Q.850;cause=127;text=\"No keys for media\""),
            Self::SessionTimeout => Some("SIP;cause=408;text=\"Session expired\""),
            Self::MaxDuration => Some("Q.850;cause=102;text=\"Longest duration reached\""),
            Self::NoAck => Some("SIP;cause=408;text=\"No ACK\""),
            Self::Cancelled => Some("SIP;cause=487;text=\"Request Terminated\""),
            _ => None,
        }
    }
}

/// Parts with a leg: whatever of ours it has not answered is given up, and it is hung up unless it is
/// `gone` already.
fn leave(ctx: &mut Context<'_>, leg: Leg, gone: bool, reason: Option<&'static str>) {
    ctx.index.legs.remove(&leg.tag());
    if let Some(refresh) = leg.refresh {
        leg.abandon(ctx, refresh.client);
    }
    leg.disown_invite(ctx);
    if !gone && !leg.gone {
        release(ctx, leg, reason);
    }
}

/// Hangs up a leg, or has it hung up once it has acknowledged our answer (RFC 3261 §15).
fn release(ctx: &mut Context<'_>, leg: Leg, reason: Option<&'static str>) {
    match leg.unacknowledged {
        Some((server, _)) => {
            let lingering = Lingering {
                proof: leg.proof(),
                dialog: leg.dialog,
                server,
                reason,
            };
            ctx.index
                .lingering
                .insert(lingering.dialog.local_tag, Box::new(lingering));
        }
        None => {
            let proof = leg.proof();
            ctx.part(leg.dialog, reason, proof);
        }
    }
}

/// Gives all media back; the record goes out with the statistics of the last session.
fn close(ctx: &mut Context<'_>, mut sessions: Vec<Session>, record: Box<CallRecord>) {
    let last = sessions.pop();
    for session in sessions {
        session.close(ctx);
    }
    match last {
        Some(session) => {
            ctx.index.closing.insert(session.id, record);
            session.close(ctx);
        }
        None => ctx.out.events.push(Event::CallEnded(record)),
    }
}

/// The number that a request asks for: the user part of its Request-URI.
pub(crate) fn dialled_number(request: &Message<'_>) -> Option<String> {
    plain_number(&sip::Uri::parse(request.request_uri()).ok()?)
}

/// The number in a URI, if it is one that can be dialled.
pub(crate) fn plain_number(uri: &sip::Uri<'_>) -> Option<String> {
    let user = uri.user_name();
    // RFC 3966 §5.1.1: visual separators of a global number don't count.
    let number = if uri.scheme == sip::Scheme::Tel || user.starts_with('+') {
        user.chars()
            .filter(|c| !matches!(c, '-' | '.' | '(' | ')'))
            .collect()
    } else {
        user.into_owned()
    };
    let plain = number
        .chars()
        .all(|c| !c.is_control() && !matches!(c, '<' | '>' | '"' | '@' | ';'));
    (!number.is_empty() && number.len() <= 64 && plain).then_some(number)
}

/// Extensions that a request demands and that we don't have (RFC 3261 §8.2.2.3).
pub(crate) fn unsupported(request: &Message<'_>) -> Option<String> {
    let unknown: Vec<_> = request
        .values(HeaderName::Require)
        .filter(|token| {
            !["100rel", "timer", "replaces", "norefersub"]
                .iter()
                .any(|known| token.eq_ignore_ascii_case(known))
        })
        .collect();
    (!unknown.is_empty()).then(|| unknown.join(", "))
}
