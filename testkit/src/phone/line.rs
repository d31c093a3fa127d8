//! What all calls of a phone share: identifiers, transactions, and the way to the server.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use base::Mint;
use sip::digest::Challenge;
use sip::{
    ClientKey, Dialog, Flow, HeaderName, Message, Method, ServerKey, StatusCode, Transactions,
    Transmit, Writer,
};

use super::Manner;

/// Whose answer comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    Register,
    Invite(u32),
    Change(u32),
    Bye(u32),
    Refer(u32),
    Subscribe(u32),
    Errand,
    Nobody,
}

/// What a phone waits for, in a call or, with call 0, beside calls.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Alarm {
    Ring,
    Reply,
    HangUp,
    GiveUp,
    Session,
    Retry,
    Consider,
    Abandon,
    Register,
    Watch,
}

/// A request that is answered later.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) server: ServerKey,
    flow: Flow,
    bytes: Vec<u8>,
}

impl Pending {
    pub(super) fn new(server: ServerKey, flow: Flow, request: &Message<'_>) -> Self {
        let bytes = request.bytes().to_vec();
        Self {
            server,
            flow,
            bytes,
        }
    }

    pub(super) fn message(&self) -> Message<'_> {
        Message::parse(&self.bytes).expect("it parsed when it came")
    }
}

/// Messages that leave.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) sent: Vec<(Flow, Vec<u8>)>,
    withholds: Vec<&'static str>,
}

impl Transmit for Outbox {
    fn transmit(&mut self, flow: Flow, message: &[u8]) {
        let withheld = |start: &&str| message.starts_with(start.as_bytes());
        if !self.withholds.iter().any(withheld) {
            self.sent.push((flow, message.to_vec()));
        }
    }
}

/// The line.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) user: String,
    pub(super) password: String,
    pub(super) manner: Manner,
    /// How the server is reached.
    pub(super) server: Flow,
    /// Host and port of our Contact and Via.
    sent_by: String,
    /// The name under which name servers know us.
    name: String,
    pub(super) mint: Mint,
    pub(super) transactions: Transactions<Owner, u32>,
    pub(super) out: Outbox,
    alarms: BinaryHeap<Reverse<(Instant, u32, Alarm)>>,
    challenge: Option<(String, u32)>,
    pub(super) complaints: Vec<String>,
}

impl Line {
    pub(super) fn new(
        user: &str,
        password: &str,
        manner: Manner,
        server: Flow,
        (sent_by, name): (String, String),
        mut mint: Mint,
    ) -> Self {
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
            server,
            sent_by,
            name,
            transactions: Transactions::new(&mut mint),
            mint,
            out: Outbox {
                sent: Vec::new(),
                withholds: manner.withholds.clone(),
            },
            manner,
            alarms: BinaryHeap::new(),
            challenge: None,
            complaints: Vec::new(),
        }
    }

    pub(super) fn domain(&self) -> String {
        match self.server.remote.ip() {
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        }
    }

    pub(super) fn contact_uri(&self) -> String {
        let transport = match self.server.protocol {
            sip::Protocol::Udp => String::new(),
            sip::Protocol::Ws | sip::Protocol::Wss => ";transport=ws".to_owned(),
            named => format!(";transport={named}"),
        };
        format!("<sip:{}@{}{transport}>", self.user, self.sent_by)
    }

    /// Value of Path, if our requests seem to come through a proxy with a name.
    pub(super) fn path(&self) -> Option<String> {
        let named = self.manner.named;
        named.then(|| format!("<sip:{};lr>", self.name))
    }

    pub(super) fn wake(&mut self, at: Instant, call: u32, alarm: Alarm) {
        self.alarms.push(Reverse((at, call, alarm)));
    }

    pub(super) fn wake_after(&mut self, now: Instant, wait: Duration, call: u32, alarm: Alarm) {
        self.wake(now + wait, call, alarm);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let alarm = self.alarms.peek().map(|Reverse((at, _, _))| *at);
        [self.transactions.deadline(), alarm]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn alarm(&mut self, now: Instant) -> Option<(u32, Alarm)> {
        let Reverse((at, _, _)) = self.alarms.peek()?;
        if *at > now {
            return None;
        }
        self.alarms
            .pop()
            .map(|Reverse((_, call, alarm))| (call, alarm))
    }

    /// Sends a request in a dialog.
    pub(super) fn request(
        &mut self,
        now: Instant,
        dialog: &mut Dialog,
        method: Method<'static>,
        owner: Owner,
        finish: impl FnOnce(Writer<'_>),
    ) -> ClientKey {
        let branch = self.mint.token();
        let mut bytes = Vec::new();
        let writer = dialog.request(&mut bytes, method, &self.sent_by, branch);
        finish(writer);
        self.transactions.request(
            now,
            dialog.flow,
            method,
            branch,
            &bytes,
            owner,
            &mut self.out,
        )
    }

    /// Sends the ACK of a 2xx and returns it.
    pub(super) fn ack(&mut self, dialog: &Dialog, cseq: u32, sdp: Option<&str>) -> Vec<u8> {
        let branch = self.mint.token();
        let mut bytes = Vec::new();
        let writer = dialog.ack(&mut bytes, cseq, &self.sent_by, branch);
        match sdp {
            Some(sdp) => writer.body(SDP, sdp.as_bytes()),
            None => writer.finish(),
        }
        self.out.transmit(dialog.flow, &bytes);
        bytes
    }

    pub(super) fn respond(
        &mut self,
        now: Instant,
        pending: &Pending,
        status: u16,
        tag: &str,
        finish: impl FnOnce(Writer<'_>),
    ) {
        let (_, bytes) = self.response(pending, status, tag, finish);
        let (server, status) = (pending.server, StatusCode(status));
        self.transactions
            .respond(now, server, status, &bytes, &mut self.out);
    }

    pub(super) fn respond_reliably(
        &mut self,
        now: Instant,
        pending: &Pending,
        status: u16,
        tag: &str,
        finish: impl FnOnce(Writer<'_>),
    ) {
        let (_, bytes) = self.response(pending, status, tag, finish);
        self.transactions
            .respond_reliably(now, pending.server, &bytes, &mut self.out);
    }

    /// A response and the way that it takes.
    pub(super) fn response(
        &self,
        pending: &Pending,
        status: u16,
        tag: &str,
        finish: impl FnOnce(Writer<'_>),
    ) -> (Flow, Vec<u8>) {
        let request = pending.message();
        let mut bytes = Vec::new();
        let mut writer =
            Writer::response_to(&mut bytes, &request, &pending.flow, StatusCode(status), tag);
        writer.copy(&request, HeaderName::RecordRoute);
        finish(writer);
        (sip::response_flow(&request, pending.flow), bytes)
    }

    /// Keeps the challenge of a 401. `false`: another answer would be the same.
    pub(super) fn challenged(&mut self, response: &Message<'_>) -> bool {
        let Some(value) = response.header(HeaderName::WwwAuthenticate) else {
            return false;
        };
        self.challenge = Some((value.to_owned(), 0));
        true
    }

    /// Value of Authorization for a request, if there is a challenge to answer.
    pub(super) fn authorization(&mut self, method: Method<'_>, uri: &str) -> Option<String> {
        let cnonce = self.mint.token();
        let (value, count) = self.challenge.as_mut()?;
        let challenge = Challenge::parse(value).ok()?;
        *count += 1;
        let answer = challenge.respond(
            &self.user,
            &self.password,
            method,
            uri,
            b"",
            *count,
            cnonce.as_str(),
        );
        Some(answer.to_string())
    }

    /// Forgets the last nonce unless the phone likes to try it again.
    pub(super) fn begin_authorization(&mut self) {
        if !self.manner.reuses_nonce {
            self.challenge = None;
        }
    }

    pub(super) fn supported(&self) -> &'static str {
        match (self.manner.reliable, self.manner.session.is_some()) {
            (true, true) => "100rel, timer",
            (true, false) => "100rel",
            (false, true) => "timer",
            (false, false) => "replaces",
        }
    }

    pub(super) fn allow(&self) -> &'static str {
        match (self.manner.reliable, self.manner.update) {
            (true, true) => "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, NOTIFY, PRACK, UPDATE",
            (true, false) => "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, NOTIFY, PRACK",
            (false, true) => "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, NOTIFY, UPDATE",
            (false, false) => "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, NOTIFY",
        }
    }

    pub(super) fn complain(&mut self, what: &str) {
        self.complaints.push(format!("{}: {what}", self.user));
    }
}

pub(super) const SDP: &str = "application/sdp";
