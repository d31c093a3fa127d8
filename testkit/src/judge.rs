//! Rules that every message of the server must keep, whatever the network does.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Instant;

use sdp::Sdp;
use sip::transaction::GIVE_UP;
use sip::{HeaderName, Message, Method, RAck, StatusCode};

use crate::media_plane::MediaPlane;

/// One end of a dialog: Call-ID and the server's tag.
type End = (String, String);
/// A dialog: Call-ID, the server's tag, the peer's tag, which is empty before there is one.
type Dialog = (String, String, String);
/// A transaction: branch and method.
type Branch = (String, String);

/// What the judge remembers of the wire, as the server saw it.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    /// Requests that the server sent, with their octets.
    requests: HashMap<Branch, Vec<u8>>,
    /// Requests that the server received.
    received: HashSet<Branch>,
    /// Final responses that the server sent.
    finals: HashMap<Branch, Vec<u8>>,
    /// Tag of the first response above 100 to each INVITE.
    tags: HashMap<String, String>,
    /// Last CSeq that the server used at its end of a dialog.
    cseqs: HashMap<Dialog, u32>,
    /// Dialogs that never came to be: the INVITE was refused.
    refused: HashSet<End>,
    /// INVITEs that are not answered, by the server's end: CSeq, where it went, branch.
    asking: HashMap<End, (u32, SocketAddr, String)>,
    asked: HashMap<End, String>,
    /// Branches of INVITEs that came inside a dialog.
    inside: HashSet<String>,
    /// 2xx to an INVITE of the server that it owes an ACK.
    owed: HashSet<(Dialog, u32)>,
    /// Descriptions in ACKs, which are repeated for each 2xx that is.
    acks: HashMap<(Dialog, u32), Vec<u8>>,
    /// Dialogs in which the server has sent or received BYE.
    left: HashSet<Dialog>,
    /// When the server can't be reached by an answer to its INVITE any more: timer B, or 64×T1 after
    /// CANCEL.
    patience: HashMap<String, (Instant, SocketAddr)>,
    /// INVITEs of the server that had a provisional, or a final response.
    progressing: HashSet<String>,
    answered: HashSet<String>,
    /// Last RSeq of each INVITE, whether it was acknowledged, and the octets.
    rseqs: HashMap<String, (u32, bool, Vec<u8>)>,
    /// The description in force at each end: version and text.
    descriptions: HashMap<End, (u64, String)>,
    /// Call-IDs of what the server forwards: what the parties say to each other is theirs to judge.
    forwarded: HashSet<String>,
    /// Somebody sends different requests under one branch.
    pub(crate) tampered: bool,
    pub(crate) faults: Vec<String>,
}

impl Judge {
    /// The server lost its memory: promises of the past are void.
    pub(crate) fn crashed(&mut self) {
        let faults = std::mem::take(&mut self.faults);
        *self = Self {
            faults,
            tampered: self.tampered,
            ..Self::default()
        };
    }

    /// The server was told that nobody is there: it waits no longer.
    pub(crate) fn unreachable(&mut self, now: Instant, peer: SocketAddr) {
        for (end, _) in self.patience.values_mut().filter(|(_, to)| *to == peer) {
            *end = now;
        }
        self.asking.retain(|_, (_, to, _)| *to != peer);
    }

    /// What the server still owes at the end of the world.
    pub(crate) fn conclude(&mut self) {
        // A 2xx with a changed tag seems to make a dialog that nobody is in.
        let tampered = self.tampered;
        let owed = std::mem::take(&mut self.owed);
        let owed = owed.into_iter().filter(|_| !tampered);
        for ((call, _, _), cseq) in owed {
            self.fault(format!(
                "2xx to INVITE {cseq} of call {call} was never acknowledged"
            ));
        }
    }

    /// The server has received a message.
    pub(crate) fn received(&mut self, now: Instant, message: &Message<'_>) {
        match message.status() {
            Some(status) => self.received_response(now, status, message),
            None => self.received_request(message),
        }
    }

    fn received_request(&mut self, request: &Message<'_>) {
        let branch = branch_of(request);
        let fresh = self.received.insert(branch.clone());
        match request.method() {
            Some(Method::Invite) if fresh => {
                if let Some(tag) = tag(request.to().ok()) {
                    self.inside.insert(branch.0.clone());
                    self.asked
                        .insert((request.call_id().to_owned(), tag), branch.0);
                }
            }
            Some(Method::Bye) => {
                let (call, theirs, ours) = dialog_of(request);
                self.left.insert((call, ours, theirs));
            }
            Some(Method::Prack) => {
                let rack = request.header(HeaderName::RAck).map(RAck::parse);
                if let Some(Ok(rack)) = rack {
                    for (rseq, acknowledged, _) in self.rseqs.values_mut() {
                        *acknowledged |= *rseq == rack.rseq;
                    }
                }
            }
            _ => {}
        }
    }

    fn received_response(&mut self, now: Instant, status: StatusCode, response: &Message<'_>) {
        let (branch, method) = branch_of(response);
        if method != "INVITE" || !self.requests.contains_key(&(branch.clone(), method)) {
            return;
        }
        if self
            .patience
            .get(&branch)
            .is_some_and(|(end, _)| *end <= now)
        {
            return;
        }
        if status.is_provisional() {
            if self.progressing.insert(branch.clone()) {
                self.patience.remove(&branch);
            }
            return;
        }
        let end = (
            response.call_id().to_owned(),
            tag(response.from().ok()).unwrap_or_default(),
        );
        let cseq = response.cseq().map_or(0, |cseq| cseq.number);
        self.asking
            .retain(|known, (asked, ..)| *known != end || *asked != cseq);
        self.answered.insert(branch);
        if status.is_success() {
            let dialog = dialog_of(response);
            if !self.acks.contains_key(&(dialog.clone(), cseq)) {
                self.owed.insert((dialog, cseq));
            }
        }
    }

    /// The server sends a message.
    pub(crate) fn sends(&mut self, now: Instant, to: SocketAddr, bytes: &[u8], media: &MediaPlane) {
        let message = match Message::parse(bytes) {
            Ok(message) => message,
            Err(error) => return self.fault(format!("unreadable: {error}\n{}", text(bytes))),
        };
        if let Err(error) = message.check() {
            self.fault(format!("malformed: {error}\n{}", text(bytes)));
        }
        if message.bytes().len() != bytes.len() {
            self.fault(format!("Content-Length is wrong\n{}", text(bytes)));
        }
        if self.is_forwarded(&message) {
            return;
        }
        let fresh = match message.status() {
            Some(status) => self.sends_response(status, &message),
            None => self.sends_request(now, to, &message),
        };
        if fresh {
            self.describes(&message, media);
        }
    }

    /// Whether a message belongs to a call that the server forwards: a request that has been somewhere
    /// before begins one.
    fn is_forwarded(&mut self, message: &Message<'_>) -> bool {
        let call_id = message.call_id();
        let passes = message.method().is_some() && message.values(HeaderName::Via).count() > 1;
        if passes {
            self.forwarded.insert(call_id.to_owned());
        }
        self.forwarded.contains(call_id)
    }

    /// `true`: it is no repetition.
    fn sends_request(&mut self, now: Instant, to: SocketAddr, request: &Message<'_>) -> bool {
        let branch = branch_of(request);
        if let Some(known) = self.requests.get(&branch) {
            // RFC 3261 §18.1.1: a long one may be repeated by another transport.
            let by_udp = |bytes: &[u8]| text(bytes).replacen("SIP/2.0/TCP", "SIP/2.0/UDP", 1);
            if by_udp(known) != by_udp(request.bytes()) {
                self.fault(format!(
                    "a repeated request has changed\n{}",
                    text(request.bytes())
                ));
            }
            return false;
        }
        let method = request.method().unwrap_or(Method::Other(""));
        let end = (
            request.call_id().to_owned(),
            tag(request.from().ok()).unwrap_or_default(),
        );
        let cseq = request.cseq().map_or(0, |cseq| cseq.number);
        match method {
            Method::Cancel => {
                self.patience.insert(branch.0.clone(), (now + GIVE_UP, to));
                self.cancels(&branch.0, request);
            }
            Method::Ack => {
                let dialog = dialog_of(request);
                self.owed.remove(&(dialog.clone(), cseq));
                let body = request.body().to_vec();
                if let Some(first) = self.acks.insert((dialog.clone(), cseq), body) {
                    // Nobody needs a description of a call that is over.
                    let over = request.body().is_empty() && self.left.contains(&dialog);
                    if first != request.body() && !over {
                        self.fault(format!("an ACK has changed\n{}", text(request.bytes())));
                    }
                    return false;
                }
            }
            _ => {
                if method == Method::Bye {
                    self.left.insert(dialog_of(request));
                }
                self.patience.insert(branch.0.clone(), (now + GIVE_UP, to));
                self.asks(now, method, end, (cseq, to, branch.0.clone()), request);
            }
        }
        self.requests.insert(branch, request.bytes().to_vec());
        true
    }

    fn cancels(&mut self, branch: &str, cancel: &Message<'_>) {
        let invite = (branch.to_owned(), "INVITE".to_owned());
        let bytes = self.requests.get(&invite);
        let same = bytes
            .and_then(|bytes| Message::parse(bytes).ok())
            .is_some_and(|invite| is_cancelled_by(&invite, cancel));
        if !same {
            self.fault(format!(
                "CANCEL without its INVITE\n{}",
                text(cancel.bytes())
            ));
        }
        if !self.progressing.contains(branch) {
            self.fault("CANCEL before a provisional response".to_owned());
        }
        if self.answered.contains(branch) {
            self.fault("CANCEL after the final response".to_owned());
        }
    }

    fn asks(
        &mut self,
        now: Instant,
        method: Method<'_>,
        end: End,
        (cseq, to, branch): (u32, SocketAddr, String),
        request: &Message<'_>,
    ) {
        let dialog = dialog_of(request);
        // Dialogs of one INVITE go on from its CSeq, each for itself or all together.
        let made = (dialog.0.clone(), dialog.1.clone(), String::new());
        let made = self.cseqs.get(&made).copied().unwrap_or(0);
        let sibling = self
            .cseqs
            .iter()
            .filter(|((call, tag, _), _)| (call, tag) == (&dialog.0, &dialog.1));
        let highest = sibling.map(|(_, cseq)| *cseq).max();
        let last = self.cseqs.insert(dialog, cseq);
        let right = match last {
            Some(last) => cseq == last + 1 || cseq > last && Some(cseq - 1) == highest,
            None => cseq > made,
        };
        if !right {
            self.fault(format!(
                "CSeq {cseq} follows {last:?}\n{}",
                text(request.bytes())
            ));
        }
        if self.refused.contains(&end) {
            self.fault(format!(
                "request in a dialog that was refused\n{}",
                text(request.bytes())
            ));
        }
        if method == Method::Invite {
            // One that nobody has answered in time is over (RFC 3261 §17.1.1.2, timer B).
            let patience = &self.patience;
            let is_over = |branch: &str| patience.get(branch).is_some_and(|(end, _)| *end <= now);
            self.asking.retain(|_, (.., branch)| !is_over(branch));
            if self.asking.contains_key(&end) || self.asked.contains_key(&end) {
                self.fault(format!(
                    "INVITE while another one is not answered\n{}",
                    text(request.bytes())
                ));
            }
            self.asking.insert(end, (cseq, to, branch));
        }
    }

    fn sends_response(&mut self, status: StatusCode, response: &Message<'_>) -> bool {
        let branch = branch_of(response);
        if !self.received.contains(&branch) {
            self.fault(format!("response to nothing\n{}", text(response.bytes())));
        }
        let to = tag(response.to().ok());
        if branch.1 == "INVITE" && status.0 > 100 {
            let Some(to) = to.clone() else {
                self.fault(format!("response without tag\n{}", text(response.bytes())));
                return true;
            };
            let first = self.tags.entry(branch.0.clone()).or_insert(to.clone());
            if *first != to && !self.tampered {
                self.fault(format!("the tag has changed\n{}", text(response.bytes())));
            }
        }
        if status.is_provisional() {
            return self.sends_provisional(&branch.0, response);
        }
        self.sends_final(branch, status, to, response)
    }

    fn sends_final(
        &mut self,
        branch: Branch,
        status: StatusCode,
        to: Option<String>,
        response: &Message<'_>,
    ) -> bool {
        if let Some(known) = self.finals.get(&branch) {
            // REGISTER, OPTIONS and CANCEL are answered afresh each time, and so is who is challenged.
            let stateless = ["REGISTER", "OPTIONS", "CANCEL"].contains(&branch.1.as_str())
                || status == StatusCode(401);
            if !stateless && !self.tampered && known != response.bytes() {
                self.fault(format!(
                    "a second final response\n{}\nafter\n{}",
                    text(response.bytes()),
                    text(known)
                ));
            }
            return false;
        }
        if branch.1 == "INVITE" {
            self.asked.retain(|_, asked| *asked != branch.0);
            let end = (response.call_id().to_owned(), to.unwrap_or_default());
            // A refused re-INVITE leaves the dialog as it is.
            if !status.is_success() && !self.inside.contains(&branch.0) {
                self.refused.insert(end);
            }
            if let Some((rseq, false, bytes)) = self.rseqs.get(&branch.0)
                && status.is_success()
                && has_body(bytes)
            {
                let rseq = *rseq;
                self.fault(format!("2xx before the PRACK of {rseq}"));
            }
        }
        self.finals.insert(branch, response.bytes().to_vec());
        true
    }

    fn sends_provisional(&mut self, branch: &str, response: &Message<'_>) -> bool {
        let Ok(Some(rseq)) = response.number(HeaderName::RSeq) else {
            return true;
        };
        if self
            .finals
            .contains_key(&(branch.to_owned(), "INVITE".to_owned()))
        {
            self.fault(format!(
                "provisional after final\n{}",
                text(response.bytes())
            ));
        }
        let bytes = response.bytes().to_vec();
        match self.rseqs.get(branch) {
            Some((last, _, known)) if *last == rseq => {
                if *known != bytes {
                    self.fault(format!("RSeq {rseq} again\n{}", text(response.bytes())));
                }
                return false;
            }
            Some((last, acknowledged, _)) if rseq != last + 1 || !acknowledged => {
                let last = *last;
                self.fault(format!("RSeq {rseq} follows {last}, perhaps without PRACK"));
            }
            _ => {}
        }
        self.rseqs.insert(branch.to_owned(), (rseq, false, bytes));
        true
    }

    /// Checks a description that the server gives for the first time.
    fn describes(&mut self, message: &Message<'_>, media: &MediaPlane) {
        let Some(body) = message.body_of_type("application/sdp") else {
            return;
        };
        let sdp = match Sdp::parse(body) {
            Ok(sdp) => sdp,
            Err(error) => return self.fault(format!("unreadable description: {error}\n{body}")),
        };
        let ours = match message.status() {
            Some(_) => tag(message.to().ok()),
            None => tag(message.from().ok()),
        };
        for line in sdp.media().filter(|line| line.port() != 0) {
            if !media.is_open(line.port()) {
                self.fault(format!(
                    "port {} is not ours\n{}",
                    line.port(),
                    text(message.bytes())
                ));
            }
        }
        let end = (message.call_id().to_owned(), ours.unwrap_or_default());
        let version = sdp
            .id_and_version()
            .and_then(|(_, version)| version.parse().ok());
        let Some(version) = version else {
            return self.fault(format!("description without a version\n{body}"));
        };
        let new = (version, body.to_owned());
        if let Some((last, known)) = self.descriptions.insert(end, new) {
            let right = if known == body { last } else { last + 1 };
            if version != right {
                self.fault(format!(
                    "version {version} of a description, {right} is due (RFC 3264 §8)\n{known}\n{body}"
                ));
            }
        }
    }

    fn fault(&mut self, what: String) {
        self.faults.push(what);
    }
}

/// RFC 3261 §9.1.
fn is_cancelled_by(invite: &Message<'_>, cancel: &Message<'_>) -> bool {
    use HeaderName as N;
    [N::From, N::To, N::CallId, N::Via]
        .into_iter()
        .all(|name| invite.header(name) == cancel.header(name))
        && invite.request_uri() == cancel.request_uri()
}

fn branch_of(message: &Message<'_>) -> Branch {
    let branch = message
        .top_via()
        .ok()
        .and_then(|via| via.branch())
        .unwrap_or("");
    let method = message.cseq().map_or("", |cseq| cseq.method.as_str());
    (branch.to_owned(), method.to_owned())
}

fn tag(address: Option<sip::NameAddr<'_>>) -> Option<String> {
    address.and_then(|address| address.tag().map(str::to_owned))
}

/// The dialog of a message, seen from the server as its user agent client.
fn dialog_of(message: &Message<'_>) -> Dialog {
    let (local, remote) = (tag(message.from().ok()), tag(message.to().ok()));
    let call = message.call_id().to_owned();
    (call, local.unwrap_or_default(), remote.unwrap_or_default())
}

fn has_body(bytes: &[u8]) -> bool {
    Message::parse(bytes).is_ok_and(|message| !message.body().is_empty())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
