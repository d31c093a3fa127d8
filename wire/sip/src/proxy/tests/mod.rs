//! A proxy between one caller and some callees.

mod answers;
mod check;
mod requests;
mod routes;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base::{Mint, Slot, Token};

use super::*;
use crate::{ClientKey, Expired, Message, Protocol, Received, ServerKey};

/// What was sent, and where.
#[derive(Debug, Default)]
struct Wire(Vec<(Flow, String)>);

impl Transmit for Wire {
    fn transmit(&mut self, flow: Flow, message: &[u8]) {
        let text = String::from_utf8(message.to_vec()).unwrap();
        self.0.push((flow, text));
    }
}

/// A policy that is told what to do.
#[derive(Debug)]
struct Rules {
    record: Record,
    drops: &'static str,
    adds: &'static str,
    follows: bool,
    server: Option<ServerKey>,
}

impl Policy for Rules {
    type Owner = ServerKey;
    type Kept = ();
    type Out = Wire;

    fn address(&self, flow: &Flow) -> SocketAddr {
        flow.local
    }

    fn owner(&self) -> ServerKey {
        self.server.unwrap()
    }

    fn record(&self) -> Record {
        self.record
    }

    fn keeps(&self, field: &Field<'_>) -> bool {
        field.spelling != self.drops
    }

    fn add(&self, _: &Target, writer: &mut Writer<'_>) {
        if !self.adds.is_empty() {
            writer.other_header(self.adds, "added");
        }
    }

    fn redirect(&self, contact: &str) -> Option<Flow> {
        let address = crate::Uri::parse(contact).ok()?.socket_address();
        address.filter(|_| self.follows).map(|remote| Flow {
            remote,
            ..udp("192.0.2.99:5060")
        })
    }
}

struct World {
    now: Instant,
    mint: Mint,
    transactions: Transactions<ServerKey, ()>,
    wire: Wire,
    scratch: Vec<u8>,
    rules: Rules,
    context: Option<Context>,
}

impl World {
    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do as the origin"
    )]
    fn new() -> Self {
        let mut mint = Mint::new(Slot::new(0x2a), [7; 32]);
        let transactions = Transactions::new(&mut mint);
        Self {
            now: Instant::now(),
            mint,
            transactions,
            wire: Wire::default(),
            scratch: Vec::new(),
            rules: Rules {
                record: Record::No,
                drops: "",
                adds: "",
                follows: false,
                server: None,
            },
            context: None,
        }
    }

    fn env(&mut self) -> Env<'_, Rules> {
        Env {
            now: self.now,
            mint: &mut self.mint,
            transactions: &mut self.transactions,
            out: &mut self.wire,
            scratch: &mut self.scratch,
            policy: &self.rules,
        }
    }

    /// A request comes by `source` and is forwarded; what is sent.
    fn forward_from(&mut self, source: Flow, text: &str, targets: &[Target]) -> Vec<String> {
        let request = Message::parse(text.as_bytes()).unwrap();
        check(&request, &[], &self.transactions).unwrap();
        let received =
            self.transactions
                .receive_request(self.now, source, &request, &mut self.wire);
        let Received::New(server) = received else {
            return self.sent();
        };
        self.rules.server = Some(server);
        let ours = self.mint.slot();
        let routing = Routing::of(&request, |token| token.slot() == ours);
        let targets = targets.to_vec();
        let (context, _) =
            Context::begin(&mut self.env(), server, source, &request, &routing, targets);
        self.context = Some(context);
        self.sent()
    }

    fn forward(&mut self, text: &str, targets: &[Target]) -> Vec<String> {
        self.forward_from(udp("192.0.2.1:5060"), text, targets)
    }

    /// A callee answers this copy of the request.
    fn answer(&mut self, copy: &str, status: u16, more: &str) -> Progress {
        let text = response(copy, status, more);
        self.hear(&text)
    }

    fn hear(&mut self, text: &str) -> Progress {
        let message = Message::parse(text.as_bytes()).unwrap();
        let key = self
            .transactions
            .receive_response(self.now, &message, &mut self.wire);
        let Some(key) = key else {
            return Progress::Quiet;
        };
        self.with(|context, env| context.receive(env, key, &message))
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Context, &mut Env<'_, Rules>) -> T) -> T {
        let mut context = self.context.take().unwrap();
        let done = act(&mut context, &mut self.env());
        self.context = Some(context);
        done
    }

    /// Time goes by; what the context makes of what expires.
    fn wait(&mut self, seconds: u64) -> Vec<Progress> {
        let end = self.now + Duration::from_secs(seconds);
        let mut progress = Vec::new();
        while let Some(next) = self.next_deadline().filter(|next| *next <= end) {
            self.now = next;
            while let Some(expired) = self.transactions.expire(next, &mut self.wire) {
                if let Expired::Client(key, _) = expired {
                    progress.push(self.lose(key, 408));
                }
            }
            self.with(|context, env| context.expire(env));
        }
        self.now = end;
        progress
    }

    fn next_deadline(&self) -> Option<Instant> {
        let context = self.context.as_ref().and_then(Context::deadline);
        [self.transactions.deadline(), context]
            .into_iter()
            .flatten()
            .min()
    }

    fn lose(&mut self, key: ClientKey, status: u16) -> Progress {
        self.with(|context, env| context.lost(env, key, StatusCode(status)))
    }

    fn sent(&mut self) -> Vec<String> {
        self.wire.0.drain(..).map(|(_, text)| text).collect()
    }

    fn is_over(&self) -> bool {
        self.context.as_ref().is_some_and(Context::is_over)
    }
}

fn udp(remote: &str) -> Flow {
    flow(Protocol::Udp, "192.0.2.99:5060", remote)
}

fn flow(protocol: Protocol, local: &str, remote: &str) -> Flow {
    Flow {
        protocol,
        local: local.parse().unwrap(),
        remote: remote.parse().unwrap(),
        connection: None,
        tls: crate::TlsPeer::ANY,
    }
}

fn target(host: u8) -> Target {
    let address = format!("192.0.2.{host}:5060");
    Target::new(&format!("sip:bob@{address}"), udp(&address))
}

fn invite(more: &str) -> String {
    request("INVITE", more)
}

fn request(method: &str, more: &str) -> String {
    format!(
        "{method} sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKone\r\n\
         Max-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\n\
         Call-ID: call\r\nCSeq: 1 {method}\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

/// What somebody who got `copy` answers.
fn response(copy: &str, status: u16, more: &str) -> String {
    let request = Message::parse(copy.as_bytes()).unwrap();
    let mut text = format!("SIP/2.0 {status} Reason of {status}\r\n");
    for field in request.fields() {
        use crate::HeaderName as N;
        match field.name {
            N::Via | N::From | N::CallId | N::CSeq | N::RecordRoute => {
                text.push_str(&format!("{field}\r\n"));
            }
            N::To => text.push_str(&format!("{field};tag=callee\r\n")),
            _ => {}
        }
    }
    text + more + "Content-Length: 0\r\n\r\n"
}

/// The lines of a message whose header field is `name`.
fn lines<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let value = |line: &'t str| line.split_once(": ").filter(|(found, _)| *found == name);
    text.lines().filter_map(value).map(|(_, v)| v).collect()
}

fn start(text: &str) -> &str {
    text.lines().next().unwrap()
}

fn starts(texts: &[String]) -> Vec<&str> {
    texts.iter().map(|text| start(text)).collect()
}
