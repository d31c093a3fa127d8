//! The text of requests.

use std::fmt;
use std::net::SocketAddr;

use sdp::Sdp;
use sip::{HeaderName, Message, Method, Writer};

use super::outbox::Way;
use super::{Accounts, Transport};

/// What all requests of a run have in common.
#[derive(Clone, Debug)]
pub(super) struct Script {
    /// Tells this run's messages from those of other runs.
    pub(super) run: u32,
    /// How its messages travel.
    pub(super) transport: Transport,
    /// Our addresses, at least one: with connections, one for each.
    pub(super) locals: Vec<SocketAddr>,
    /// The users' domain.
    pub(super) domain: String,
    /// Who asks.
    pub(super) callers: Accounts,
    /// Who is called.
    pub(super) callee: Callee,
    /// How long a registration shall last, in seconds.
    pub(super) expires: u32,
    /// Where we say that we take RTP.
    pub(super) rtp_port: u16,
}

/// Who is called.
#[derive(Clone, Debug)]
pub(super) enum Callee {
    /// Users of the domain.
    Users(Accounts),
    /// Whoever is at this address.
    Address(SocketAddr),
}

/// One request's place in the run; it stands in the branch, and all but the CSeq in the Call-ID.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Label {
    /// The run.
    pub(super) run: u32,
    /// The place in the window.
    pub(super) slot: u32,
    /// The operation, counted from 0.
    pub(super) serial: u32,
    /// CSeq of the request.
    pub(super) cseq: u32,
}

/// A request of the generator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    Options,
    Register,
    Invite,
    Bye,
}

/// What a dialog's later requests need (RFC 3261 §12.1.2).
#[derive(Clone, Default, Debug)]
pub(super) struct Dialog {
    /// To with the callee's tag.
    to: String,
    /// The callee's Contact.
    target: String,
    /// Values of Route, nearest first.
    routes: Vec<String>,
}

impl Script {
    /// Writes a request without credentials, or with them: a header field's name and value.
    pub(super) fn write(
        &self,
        bytes: &mut Vec<u8>,
        asked: Asked,
        label: Label,
        user: u32,
        dialog: &Dialog,
        credentials: Option<(HeaderName, &str)>,
    ) {
        let uri = self.uri(asked, label, dialog);
        let mut writer = Writer::request(bytes, asked.method(), &uri);
        self.head(&mut writer, asked, label, user);
        match asked {
            Asked::Options => writer.header(HeaderName::To, format_args!("<{uri}>")),
            Asked::Register => {
                let name = self.callers.user(user);
                writer.header(HeaderName::To, format_args!("<sip:{name}@{}>", self.domain))
            }
            Asked::Invite => writer.header(HeaderName::To, format_args!("<{uri}>")),
            Asked::Bye => writer.header(HeaderName::To, &dialog.to),
        };
        writer.header(
            HeaderName::CSeq,
            format_args!("{} {}", label.cseq, asked.method()),
        );
        if asked != Asked::Bye {
            let name = self.callers.user(user);
            writer.header(
                HeaderName::Contact,
                format_args!(
                    "<sip:{name}@{}{}>",
                    self.local(user),
                    self.transport.in_uri()
                ),
            );
        }
        if let Some((name, value)) = credentials {
            writer.header(name, value);
        }
        match asked {
            Asked::Options => writer.header(HeaderName::Accept, "application/sdp"),
            Asked::Register => writer.header(HeaderName::Expires, self.expires),
            Asked::Invite => writer.header(HeaderName::Allow, ALLOW),
            Asked::Bye => routes(&mut writer, &dialog.routes),
        };
        writer.header(HeaderName::UserAgent, "dialtone load");
        if asked == Asked::Invite {
            let port = self.rtp_port;
            writer.body(
                "application/sdp",
                offer(self.local(user), port, label).as_bytes(),
            );
        } else {
            writer.finish();
        }
    }

    /// Writes the ACK to a success (RFC 3261 §13.2.2.4) from the answer alone, so that a repeated
    /// answer gets it again. `None` if the answer has no usable Contact.
    pub(super) fn ack_success(
        &self,
        bytes: &mut Vec<u8>,
        label: Label,
        user: u32,
        answer: &Message<'_>,
    ) -> Option<Dialog> {
        let dialog = Dialog::of_answer(answer)?;
        let mut writer = Writer::request(bytes, Method::Ack, &dialog.target);
        writer.header(
            HeaderName::Via,
            format_args!(
                "SIP/2.0/{} {};rport;branch={label}.ack",
                self.transport.in_via(),
                self.local(user)
            ),
        );
        self.parties(&mut writer, label, user);
        writer.header(HeaderName::To, &dialog.to);
        writer.header(HeaderName::CSeq, format_args!("{} ACK", label.cseq));
        routes(&mut writer, &dialog.routes);
        writer.finish();
        Some(dialog)
    }

    /// Writes what ends a refused or unwanted INVITE: ACK with the branch of the INVITE (RFC 3261
    /// §17.1.1.3) or CANCEL (§9.1). `to` is the answer's To.
    pub(super) fn close_invite(
        &self,
        bytes: &mut Vec<u8>,
        method: Method<'_>,
        label: Label,
        user: u32,
        to: Option<&str>,
    ) {
        let uri = self.uri(Asked::Invite, label, &Dialog::default());
        let mut writer = Writer::request(bytes, method, &uri);
        self.head(&mut writer, Asked::Invite, label, user);
        match to {
            Some(to) => writer.header(HeaderName::To, to),
            None => writer.header(HeaderName::To, format_args!("<{uri}>")),
        };
        writer.header(HeaderName::CSeq, format_args!("{} {method}", label.cseq));
        writer.finish();
    }

    /// The way of this user's messages to the server.
    pub(super) fn way(&self, user: u32) -> Way {
        Way::server(self.connection(user))
    }

    fn connection(&self, user: u32) -> usize {
        user as usize % self.locals.len()
    }

    fn local(&self, user: u32) -> SocketAddr {
        self.locals[self.connection(user)]
    }

    /// The request URI.
    pub(super) fn uri(&self, asked: Asked, label: Label, dialog: &Dialog) -> String {
        match (asked, &self.callee) {
            (Asked::Options | Asked::Register, _) => format!("sip:{}", self.domain),
            (Asked::Bye, _) => dialog.target.clone(),
            (Asked::Invite, Callee::Users(users)) => {
                format!("sip:{}@{}", users.user(label.serial), self.domain)
            }
            (Asked::Invite, Callee::Address(address)) => format!("sip:callee@{address}"),
        }
    }

    /// Via, Max-Forwards, From and Call-ID.
    fn head(&self, writer: &mut Writer<'_>, asked: Asked, label: Label, user: u32) {
        writer.header(
            HeaderName::Via,
            format_args!(
                "SIP/2.0/{} {};rport;branch={label}",
                self.transport.in_via(),
                self.local(user)
            ),
        );
        if asked == Asked::Register {
            // All registrations of a phone are one sequence (RFC 3261 §10.2).
            self.from(writer, user, user);
            writer.header(
                HeaderName::CallId,
                format_args!("{:08x}-{user}@load", label.run),
            );
            writer.header(HeaderName::MaxForwards, 70);
        } else {
            self.parties(writer, label, user);
        }
    }

    /// From, Call-ID and Max-Forwards of everything but registrations.
    fn parties(&self, writer: &mut Writer<'_>, label: Label, user: u32) {
        self.from(writer, user, label.serial);
        let Label {
            run, slot, serial, ..
        } = label;
        writer.header(
            HeaderName::CallId,
            format_args!("{run:08x}.{slot:x}.{serial:x}@load"),
        );
        writer.header(HeaderName::MaxForwards, 70);
    }

    fn from(&self, writer: &mut Writer<'_>, user: u32, tag: u32) {
        let name = self.callers.user(user);
        writer.header(
            HeaderName::From,
            format_args!("<sip:{name}@{}>;tag=f{tag:x}", self.domain),
        );
    }
}

impl Label {
    /// The label in a branch that we made, without its magic cookie.
    pub(super) fn of_branch(token: &str) -> Option<Self> {
        let mut numbers = token.split('.').map(|part| u32::from_str_radix(part, 16));
        let mut next = || numbers.next()?.ok();
        Some(Self {
            run: next()?,
            slot: next()?,
            serial: next()?,
            cseq: next()?,
        })
    }

    /// The label, with CSeq 0, in a Call-ID that we made for a call.
    pub(super) fn of_call_id(call_id: &str) -> Option<Self> {
        let token = call_id.strip_suffix("@load")?;
        Self::of_branch(&format!("{token}.0"))
    }
}

/// As a branch.
impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            run,
            slot,
            serial,
            cseq,
        } = self;
        write!(f, "z9hG4bK{run:08x}.{slot:x}.{serial:x}.{cseq:x}")
    }
}

impl Asked {
    pub(super) const fn method(self) -> Method<'static> {
        match self {
            Self::Options => Method::Options,
            Self::Register => Method::Register,
            Self::Invite => Method::Invite,
            Self::Bye => Method::Bye,
        }
    }
}

impl Dialog {
    fn of_answer(answer: &Message<'_>) -> Option<Self> {
        let target = answer.contacts().next()?.ok()?.uri.to_owned();
        let mut routes: Vec<String> = answer
            .values(HeaderName::RecordRoute)
            .map(str::to_owned)
            .collect();
        routes.reverse();
        Some(Self {
            to: answer.header(HeaderName::To)?.to_owned(),
            target,
            routes,
        })
    }
}

fn routes<'w, 'b>(writer: &'w mut Writer<'b>, routes: &[String]) -> &'w mut Writer<'b> {
    for route in routes {
        writer.header(HeaderName::Route, route);
    }
    writer
}

/// The methods that both parties take.
pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS";

/// A G.711 offer (RFC 3551, RFC 4733).
fn offer(local: SocketAddr, port: u16, label: Label) -> String {
    let formats = "8 0 101";
    let maps = "a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n";
    description(local, port, label.serial, formats, maps)
}

/// A G.711 A-law answer.
pub(super) fn answer(local: SocketAddr, port: u16, session: u32) -> String {
    description(local, port, session, "8 101", "a=rtpmap:8 PCMA/8000\r\n")
}

/// Where the message's session description wants RTP.
pub(super) fn rtp_address(message: &Message<'_>) -> Option<SocketAddr> {
    let sdp = Sdp::parse_bytes(message.body()).ok()?;
    Some(sdp.media_at(0)?.transport()?.rtp)
}

fn description(local: SocketAddr, port: u16, session: u32, formats: &str, maps: &str) -> String {
    let family = if local.is_ipv4() { "IP4" } else { "IP6" };
    let ip = local.ip();
    format!(
        "v=0\r\no=- {session} 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP {formats}\r\n{maps}\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    )
}
