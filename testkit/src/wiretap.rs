//! Everything that went over the network, for reports and for exact traces.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sip::{Message, StartLine};

use crate::network::{Fortune, Packet};

/// One message that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Since the beginning of the world.
    pub at: Duration,
    /// By the server, or by a phone.
    pub by_server: bool,
    /// The phone's address.
    pub phone: SocketAddr,
    /// The octets.
    pub bytes: Rc<[u8]>,
    fortune: Fortune,
}

impl Sent {
    /// The message. What phones and server send always has a start line.
    #[must_use]
    pub fn message(&self) -> Option<Message<'_>> {
        Message::parse(&self.bytes).ok()
    }

    /// The start line in short: `INVITE` or `180`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.message().as_ref().map(Message::start) {
            Some(StartLine::Request { method, .. }) => method.to_string(),
            Some(StartLine::Response { status, .. }) => status.to_string(),
            None => "not SIP".to_owned(),
        }
    }
}

/// A record of all messages.
#[derive(Debug)]
pub struct Wiretap {
    start: Instant,
    sent: Vec<Sent>,
    notes: Vec<(Duration, usize, String)>,
}

impl Wiretap {
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            sent: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn sent(
        &mut self,
        now: Instant,
        by_server: bool,
        packet: &Packet,
        fortune: Fortune,
    ) {
        self.sent.push(Sent {
            at: now - self.start,
            by_server,
            phone: if by_server { packet.to } else { packet.from },
            bytes: Rc::clone(&packet.bytes),
            fortune,
        });
    }

    pub(crate) fn note(&mut self, now: Instant, text: String) {
        self.notes.push((now - self.start, self.sent.len(), text));
    }

    /// All messages in the order of sending.
    #[must_use]
    pub fn all(&self) -> &[Sent] {
        &self.sent
    }

    /// What happened beside messages, in words.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.notes.iter().map(|(_, _, text)| text.as_str())
    }

    /// All messages but OPTIONS and what answers them, in short: `10.0.0.1 > INVITE 1`, with the Reason
    /// of those that give one.
    #[must_use]
    pub fn short(&self) -> Vec<String> {
        let parsed = self.sent.iter().filter_map(|sent| {
            let message = sent.message()?;
            let cseq = message.cseq().ok()?;
            if cseq.method == sip::Method::Options {
                return None;
            }
            let arrow = if sent.by_server { '<' } else { '>' };
            let what = match message.status() {
                Some(status) => format!("{status} {} {}", cseq.method, cseq.number),
                None => format!("{} {}", cseq.method, cseq.number),
            };
            let reason = message.header(sip::HeaderName::Reason);
            let reason = reason.map(|reason| format!(" ({reason})"));
            let peer = sent.phone.ip();
            Some(format!(
                "{peer} {arrow} {what}{}",
                reason.unwrap_or_default()
            ))
        });
        parsed.collect()
    }

    /// The trace: a line for each message, or all of its text.
    #[must_use]
    pub fn text(&self, full: bool) -> String {
        let mut out = String::new();
        let mut notes = self.notes.iter().peekable();
        for (index, sent) in self.sent.iter().enumerate() {
            while let Some((at, _, text)) = notes.next_if(|(_, before, _)| *before <= index) {
                let _ = writeln!(out, "{:9.3}  -- {text}", at.as_secs_f64());
            }
            line(&mut out, sent, full);
        }
        for (at, _, text) in notes {
            let _ = writeln!(out, "{:9.3}  -- {text}", at.as_secs_f64());
        }
        out
    }
}

fn line(out: &mut String, sent: &Sent, full: bool) {
    let arrow = if sent.by_server { "<-" } else { "->" };
    let fortune = match sent.fortune {
        Fortune::Once => "",
        Fortune::Twice => "  (twice)",
        Fortune::Lost => "  (lost)",
    };
    let (at, phone) = (sent.at.as_secs_f64(), sent.phone.to_string());
    let Some(message) = sent.message() else {
        let _ = writeln!(out, "{at:9.3}  {phone:22} {arrow} not SIP");
        return;
    };
    let first = match message.start() {
        StartLine::Request { method, uri } => format!("{method} {uri}"),
        StartLine::Response { status, reason } => format!("{status} {reason}"),
    };
    let cseq = message.header(sip::HeaderName::CSeq).unwrap_or("");
    let body = if message.body().is_empty() {
        ""
    } else {
        " +body"
    };
    let call = message.call_id();
    let _ = writeln!(
        out,
        "{at:9.3}  {phone:22} {arrow} {first:40} [{cseq}] {call}{body}{fortune}"
    );
    if full {
        for text in String::from_utf8_lossy(&sent.bytes).lines() {
            let _ = writeln!(out, "               {text}");
        }
    }
}
