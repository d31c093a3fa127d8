//! Messages and events in, replies and commands for media out.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use base::{Clock, Deadlines, Mint, Slot};
use media::{Command, Event, SessionId, SideStats};
use ng::{Form, Frame, Reply, Request, Value};
use sdp::Sdp;
use sdp::bridge::Fingerprint;

use crate::call::{Call, MOST_DIALOGS};
use crate::config::{Config, Interface};
use crate::cookies::{Cookies, Key, Known};
use crate::dialog::{Desk, Dialog, Waiting, is_marked};
use crate::report::{Report, add};
use crate::tally::Tallies;

/// The relay: all calls of a proxy, or of several.
#[derive(Debug)]
pub struct Relay {
    mint: Mint,
    clock: Clock,
    config: Config,
    fingerprint: Option<Fingerprint>,
    started: Instant,
    /// Names us in descriptions.
    instance: String,
    cookies: Cookies,
    calls: HashMap<Arc<str>, Call>,
    sessions: HashMap<SessionId, Arc<str>>,
    deadlines: Deadlines<SessionId>,
    tallies: Tallies,
    figures: Figures,
}

/// Who has asked: the reply goes back the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// The socket or connection, numbered by whoever runs the machine.
    pub way: u64,
    /// The client's address.
    pub remote: SocketAddr,
}

/// What happens to the machine.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram, or a message cut out of a stream.
    Message {
        /// Who sent it.
        from: Client,
        /// Cookie and dictionary.
        message: &'a [u8],
    },
    /// A media worker's word.
    Media(Event),
    /// From now on the media of new calls are had here; others stay where they are.
    Interfaces(Vec<Interface>),
    /// The deadline has come.
    Timer,
}

/// What the machine wants done, in order.
#[derive(Debug, Default)]
pub struct Out {
    /// Replies.
    pub send: Vec<(Client, Vec<u8>)>,
    /// Commands for the media workers.
    pub media: Vec<Command>,
}

/// Who waits for a reply.
#[derive(Debug)]
pub(crate) struct Asker {
    client: Client,
    key: Key,
    form: Form,
}

/// An offer whose dialog is known.
struct Begun {
    session: SessionId,
    /// Who makes it.
    side: usize,
    /// Asks for ports that are missing.
    command: Option<Command>,
    /// The part of it that the other party is to see, if that is not all.
    seen: Option<Box<str>>,
}

impl Begun {
    fn new(dialog: &mut Dialog, side: usize, request: &Request, offer: &Sdp<'_>) -> Self {
        let seen = dialog.seen_of_offer(side, &request.options, offer);
        let streams = match seen.as_deref().map(Sdp::parse) {
            Some(Ok(seen)) => seen.media_count(),
            _ => offer.media_count(),
        };
        Self {
            session: dialog.session,
            side,
            command: dialog.allocate(streams),
            seen: seen.map(Into::into),
        }
    }
}

/// What has been since the start.
#[derive(Debug, Default)]
struct Figures {
    calls: u64,
    rejected: u64,
    timeouts: u64,
    unanswered: u64,
    deleted: u64,
    relayed: SideStats,
}

impl Relay {
    /// A relay without calls. `fingerprint` is that of the workers' certificate; without it nobody is
    /// offered a handshake.
    #[must_use]
    pub fn new(
        mut mint: Mint,
        clock: Clock,
        now: Instant,
        config: Config,
        fingerprint: Option<Fingerprint>,
    ) -> Self {
        let instance = format!("{:016x}", mint.number64());
        Self {
            mint,
            clock,
            config,
            fingerprint,
            started: now,
            instance,
            cookies: Cookies::default(),
            calls: HashMap::new(),
            sessions: HashMap::new(),
            deadlines: Deadlines::new(),
            tallies: Tallies::default(),
            figures: Figures::default(),
        }
    }

    /// Takes one input at `now` and writes all that follows from it to `out`.
    pub fn handle(&mut self, now: Instant, input: Input<'_>, out: &mut Out) {
        match input {
            Input::Message { from, message } => self.message(now, from, message, out),
            Input::Media(event) => self.media(event, out),
            Input::Interfaces(interfaces) => self.config.interfaces = interfaces,
            Input::Timer => self.expire(now, out),
        }
    }

    /// When the machine wants [`Input::Timer`] next.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// How many calls there are.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// How many calls there have been.
    #[must_use]
    pub fn calls_total(&self) -> u64 {
        self.figures.calls
    }

    fn message(&mut self, now: Instant, client: Client, message: &[u8], out: &mut Out) {
        let Ok(frame) = Frame::parse(message) else {
            // Without a cookie nobody could tell what the reply is to.
            return;
        };
        let ip = client.remote.ip();
        let key = match self.cookies.take(now, ip, frame.cookie, frame.body) {
            Known::Answered(reply) => return out.send.push((client, reply.to_vec())),
            Known::Pending => return,
            Known::New(key) => key,
        };
        let form = frame.form;
        let asker = Asker { client, key, form };
        let read = frame.dictionary();
        match read.and_then(|dictionary| Request::read(&dictionary)) {
            Ok(request) => self.request(now, asker, request, out),
            Err(error) => self.reply(&asker, &Reply::error(&error.to_string()), out),
        }
    }

    fn reply(&mut self, asker: &Asker, reply: &Reply, out: &mut Out) {
        let message = asker.form.message(asker.key.cookie(), reply);
        self.cookies.answer(&asker.key, &message);
        out.send.push((asker.client, message));
    }

    fn request(&mut self, now: Instant, asker: Asker, request: Request, out: &mut Out) {
        let reply = match request.command {
            ng::Command::Ping => Reply::pong(),
            ng::Command::Offer => return self.offer(now, asker, request, out),
            ng::Command::Answer => self.answer(now, &request, out),
            ng::Command::Delete => return self.delete(now, asker, &request, out),
            ng::Command::Query => return self.query(asker, &request, out),
            ng::Command::List => self.list(request.limit.unwrap_or(32)),
            ng::Command::Statistics => self.statistics(now),
            ng::Command::StartRecording
            | ng::Command::StopRecording
            | ng::Command::PauseRecording
            | ng::Command::PlayMedia
            | ng::Command::StopMedia
            | ng::Command::PlayDtmf
            | ng::Command::BlockMedia
            | ng::Command::UnblockMedia
            | ng::Command::BlockDtmf
            | ng::Command::UnblockDtmf
            | ng::Command::SilenceMedia
            | ng::Command::UnsilenceMedia => self.serve(&request, out),
            ng::Command::StartForwarding | ng::Command::StopForwarding => {
                Reply::error(NO_FORWARDING)
            }
            other => Reply::error(&format!("{} is not supported here", other.name())),
        };
        self.reply(&asker, &reply, out);
    }

    fn offer(&mut self, now: Instant, asker: Asker, mut request: Request, out: &mut Out) {
        match self.begin_offer(now, &request) {
            Err(reply) => self.reply(&asker, &reply, out),
            Ok(Begun {
                session,
                side,
                command,
                seen,
            }) => {
                request.sdp = seen.or(request.sdp);
                let waiting = Box::new(Waiting {
                    asker,
                    side,
                    request,
                });
                let dialog = self.dialog(session);
                let before = dialog.and_then(|dialog| dialog.waiting.replace(waiting));
                if let Some(before) = before {
                    let reply = Reply::error("Overtaken by another offer");
                    self.reply(&before.asker, &reply, out);
                }
                match command {
                    Some(command) => out.media.push(command),
                    None => self.resume(session, out),
                }
            }
        }
    }

    /// Finds or makes the dialog of an offer, and says what asks for ports that are missing.
    fn begin_offer(&mut self, now: Instant, request: &Request) -> Result<Begun, Reply> {
        let text = request.sdp.as_deref().ok_or(missing("SDP body"))?;
        let id = request.call_id.as_deref().ok_or(missing("call-id"))?;
        request.from_tag.as_ref().ok_or(missing("from-tag"))?;
        let offer = Sdp::parse(text).map_err(|_| Reply::error(NO_SDP))?;
        if request.options.loop_protect && is_marked(&offer, &self.instance) {
            return Err(Reply::ok().with("sdp", text));
        }
        let unix = self.clock.unix(now).0;
        if !self.calls.contains_key(id) {
            self.admit(request)?;
            let id: Arc<str> = id.into();
            self.calls.insert(Arc::clone(&id), Call::new(id, unix));
            self.figures.calls += 1;
        }
        let call = self.calls.get_mut(id).ok_or(missing("call"))?;
        call.last_signal = unix;
        if let Some((dialog, side)) = call.offered(request) {
            dialog.since = now;
            if request.to_tag.is_none() {
                dialog.seek_again(&mut self.mint, unix);
            }
            self.deadlines
                .arm(now + self.config.offer_timeout, dialog.session);
            return Ok(Begun::new(dialog, side, request, &offer));
        }
        if call.dialogs.len() >= MOST_DIALOGS {
            return Err(Reply::error("Too many branches"));
        }
        let session = SessionId::new(Slot::of_key(id.as_bytes()), self.mint.number64());
        let mint = &mut self.mint;
        let dialog = Dialog::new(session, request, &offer, &self.config, mint, (now, unix));
        let mut dialog = dialog.ok_or(Reply::error("No address for media"))?;
        let begun = Begun::new(&mut dialog, 0, request, &offer);
        self.sessions.insert(session, Arc::clone(&call.id));
        call.dialogs.push(dialog);
        self.deadlines.arm(now + self.config.offer_timeout, session);
        Ok(begun)
    }

    /// Whether there may be one call more.
    fn admit(&mut self, request: &Request) -> Result<(), Reply> {
        if self.calls.len() < self.config.max_calls {
            return Ok(());
        }
        self.figures.rejected += 1;
        let text = "Parallel session limit reached";
        Err(match request.options.load_limit {
            true => Reply::load_limit(text),
            false => Reply::error(text),
        })
    }

    /// The ports that an offer has waited for are there.
    fn resume(&mut self, session: SessionId, out: &mut Out) {
        let Some(id) = self.sessions.get(&session) else {
            return;
        };
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let Some(waiting) = call.dialog(session).and_then(|d| d.waiting.take()) else {
            return;
        };
        let Waiting {
            asker,
            side,
            request,
        } = *waiting;
        let text = request.sdp.as_deref().unwrap_or_default();
        let (Some(dialog), Ok(offer)) = (call.dialog(session), Sdp::parse(text)) else {
            return;
        };
        let mut desk = Desk {
            mint: &mut self.mint,
            fingerprint: self.fingerprint.as_ref(),
            instance: &self.instance,
        };
        let made = dialog.offer(side, &request, &offer, &mut desk);
        let vain = made.is_err() && !dialog.answered;
        let reply = match made {
            Ok(sdp) => Reply::ok().with("sdp", sdp),
            Err(refusal) => Reply::error(&refusal.to_string()),
        };
        self.reply(&asker, &reply, out);
        if vain {
            self.close(session, out);
        }
    }

    fn answer(&mut self, now: Instant, request: &Request, out: &mut Out) -> Reply {
        let unix = self.clock.unix(now).0;
        let Some(text) = request.sdp.as_deref() else {
            return missing("SDP body");
        };
        if request.to_tag.is_none() {
            return missing("to-tag");
        }
        let Ok(answer) = Sdp::parse(text) else {
            return Reply::error(NO_SDP);
        };
        if request.options.loop_protect && is_marked(&answer, &self.instance) {
            return Reply::ok().with("sdp", text);
        }
        let Some(call) = request
            .call_id
            .as_ref()
            .and_then(|id| self.calls.get_mut(&**id))
        else {
            return Reply::error(UNKNOWN);
        };
        call.last_signal = unix;
        let Some(dialog) = call.answered(request).filter(|d| d.waiting.is_none()) else {
            return Reply::error("No offer that this could answer");
        };
        let mut desk = Desk {
            mint: &mut self.mint,
            fingerprint: self.fingerprint.as_ref(),
            instance: &self.instance,
        };
        let seen = dialog.seen_of_answer(&answer).map(|text| Request {
            sdp: Some(text.into()),
            ..request.clone()
        });
        let request = seen.as_ref().unwrap_or(request);
        let text = request.sdp.as_deref().unwrap_or_default();
        let Ok(answer) = Sdp::parse(text) else {
            return Reply::error(NO_SDP);
        };
        match dialog.answer(request, &answer, &mut desk, &mut out.media) {
            Ok(sdp) => Reply::ok().with("sdp", sdp),
            Err(refusal) => Reply::error(&refusal.to_string()),
        }
    }

    fn serve(&mut self, request: &Request, out: &mut Out) -> Reply {
        let id = request.call_id.as_deref().unwrap_or_default();
        match self.calls.get_mut(id).filter(|call| call.is_live()) {
            Some(call) => call.serve(request, &mut out.media),
            None => Reply::error(UNKNOWN),
        }
    }

    fn delete(&mut self, now: Instant, asker: Asker, request: &Request, out: &mut Out) {
        let options = &request.options;
        let id = request.call_id.as_deref().unwrap_or_default();
        let call = self.calls.get(id);
        let doomed = call.map(|call| call.doomed(request)).unwrap_or_default();
        let Some(call) = call.filter(|_| !doomed.is_empty()) else {
            let text = "Call-ID not found or tags didn't match";
            let reply = match options.fatal {
                true => Reply::error(text),
                false => Reply::ok().with("warning", text),
            };
            return self.reply(&asker, &reply, out);
        };
        let dialogs = call.dialogs.iter().filter(|d| doomed.contains(&d.session));
        let report = Report::new(call, dialogs);
        if options.fast || !self.tallies.has_room() {
            self.reply(&asker, &Reply::ok(), out);
        } else {
            self.tallies.begin(asker, report, &doomed);
        }
        self.figures.deleted += 1;
        let delay = options
            .delete_delay
            .map(|s| std::time::Duration::from_secs(s.into()));
        let delay = delay.unwrap_or(self.config.delete_delay);
        for session in doomed {
            if delay.is_zero() {
                self.close(session, out);
                continue;
            }
            out.media.push(Command::Count { session });
            self.deadlines.arm(now + delay, session);
            if let Some(dialog) = self.dialog(session) {
                dialog.ends = Some(now + delay);
            }
        }
    }

    fn query(&mut self, asker: Asker, request: &Request, out: &mut Out) {
        let id = request.call_id.as_deref().unwrap_or_default();
        let Some(call) = self.calls.get(id).filter(|call| call.is_live()) else {
            return self.reply(&asker, &Reply::error(UNKNOWN), out);
        };
        if !self.tallies.has_room() {
            return self.reply(&asker, &Reply::error("Too many queries"), out);
        }
        let live = || call.dialogs.iter().filter(|dialog| dialog.is_live());
        let sessions: Vec<_> = live().map(|dialog| dialog.session).collect();
        let count = sessions.iter().map(|&session| Command::Count { session });
        out.media.extend(count);
        self.tallies
            .begin(asker, Report::new(call, live()), &sessions);
    }

    fn list(&self, limit: usize) -> Reply {
        let live = self.calls.values().filter(|call| call.is_live());
        let ids = live.take(limit).map(|call| Value::from(&*call.id));
        Reply::ok().with("calls", Value::List(ids.collect()))
    }

    fn statistics(&self, now: Instant) -> Reply {
        let figures = &self.figures;
        let live = self.calls.values().filter(|call| call.is_live()).count() as u64;
        let current = Value::from([
            ("sessionsown", live.into()),
            ("sessionsforeign", 0_u64.into()),
            ("sessionstotal", live.into()),
        ]);
        let uptime = now.saturating_duration_since(self.started).as_secs();
        let total = Value::from([
            ("uptime", uptime.to_string().into()),
            (
                "managedsessions",
                (figures.calls - live.min(figures.calls)).into(),
            ),
            ("rejectedsessions", figures.rejected.into()),
            ("timeoutsessions", figures.timeouts.into()),
            ("offertimeoutsessions", figures.unanswered.into()),
            ("regularterminatedsessions", figures.deleted.into()),
            ("relayedpackets", figures.relayed.packets.into()),
            ("relayedbytes", figures.relayed.octets.into()),
        ]);
        let statistics = [("currentstatistics", current), ("totalstatistics", total)];
        Reply::ok().with("statistics", Value::from(statistics))
    }

    fn media(&mut self, event: Event, out: &mut Out) {
        match event {
            Event::Allocated { session, streams } => {
                if let Some(dialog) = self.dialog(session) {
                    dialog.ports = streams;
                    self.resume(session, out);
                } else {
                    // It was deleted while it waited.
                    out.media.push(Command::Close { session });
                }
            }
            Event::Refused { session, .. } => self.refused(session, out),
            Event::Finished {
                session,
                side,
                number,
                ..
            } => {
                let id = self.sessions.get(&session);
                if let Some(call) = id.and_then(|id| self.calls.get_mut(id)) {
                    call.finished(session, (side, number), &mut out.media);
                }
            }
            Event::Silent { session } => self.silent(session, out),
            Event::Counted { session, stats } => self.counted(session, &stats, false, out),
            Event::Closed { session, stats } => {
                stats
                    .iter()
                    .for_each(|side| add(&mut self.figures.relayed, side));
                self.counted(session, &stats, true, out);
            }
            // A call without keys has no media, and ends by that.
            _ => {}
        }
    }

    fn counted(&mut self, session: SessionId, stats: &[SideStats; 2], last: bool, out: &mut Out) {
        for (asker, report) in self.tallies.count(session, stats, last) {
            self.reply(&asker, &report.reply(), out);
        }
    }

    fn refused(&mut self, session: SessionId, out: &mut Out) {
        let Some(dialog) = self.dialog(session) else {
            return;
        };
        let fresh = dialog.ports.is_empty();
        if let Some(waiting) = dialog.waiting.take() {
            let reply = Reply::error("Ran out of ports");
            self.reply(&waiting.asker, &reply, out);
        }
        if fresh {
            self.close(session, out);
        }
    }

    /// Media have ceased: a call that is not on hold is over.
    fn silent(&mut self, session: SessionId, out: &mut Out) {
        let held = self.dialog(session).is_some_and(|dialog| dialog.is_held());
        if !held {
            self.figures.timeouts += 1;
            self.close(session, out);
        }
    }

    fn expire(&mut self, now: Instant, out: &mut Out) {
        while let Some(session) = self.deadlines.pop_due(now) {
            let timeout = self.config.offer_timeout;
            let Some(dialog) = self.dialog(session) else {
                continue;
            };
            let unanswered = !dialog.answered && dialog.since + timeout <= now;
            if dialog.ends.is_some_and(|ends| ends <= now) {
                self.close(session, out);
            } else if unanswered {
                self.figures.unanswered += 1;
                self.close(session, out);
            }
        }
    }

    /// Ends a dialog, and with its last one the call.
    fn close(&mut self, session: SessionId, out: &mut Out) {
        out.media.push(Command::Close { session });
        let Some(id) = self.sessions.remove(&session) else {
            return;
        };
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let dialog = call.remove(session);
        if call.dialogs.is_empty() {
            self.calls.remove(&id);
        }
        if let Some(waiting) = dialog.and_then(|dialog| dialog.waiting) {
            self.reply(&waiting.asker, &Reply::error("Call was deleted"), out);
        }
    }

    fn dialog(&mut self, session: SessionId) -> Option<&mut Dialog> {
        let id = self.sessions.get(&session)?;
        self.calls.get_mut(id)?.dialog(session)
    }
}

fn missing(what: &str) -> Reply {
    Reply::error(&format!("No {what} in message"))
}

const NO_FORWARDING: &str =
    "Copies of the sound go to no other program here: use start recording, which writes a file";

const NO_SDP: &str = "Failed to parse SDP";

const UNKNOWN: &str = "Unknown call-id";
