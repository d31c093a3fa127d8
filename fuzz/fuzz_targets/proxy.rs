//! The proxy: requests and responses in any order. What it sends on is as sound as what came, and has
//! one Via more.
#![no_main]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base::{Mint, Slot, Token};
use libfuzzer_sys::fuzz_target;
use sip::proxy::{self, Context, Env, Policy, Record, Routing, Target};
use sip::{
    Expired, Flow, HeaderName, Message, Method, Protocol, Received, ServerKey, StatusCode, TlsPeer,
    Transactions, Transmit,
};

/// Messages are parted by an octet that none of them needs.
const PART: u8 = 0xff;

fuzz_target!(|bytes: &[u8]| {
    let mut proxy = Proxy::new();
    for part in bytes.split(|byte| *byte == PART).take(16) {
        match part {
            [wait] => proxy.wait(u64::from(*wait)),
            part => proxy.hear(part),
        }
    }
    proxy.wait(600);
    assert!(proxy.transactions.is_empty());
});

#[derive(Default)]
struct Wire(Vec<Vec<u8>>);

impl Transmit for Wire {
    fn transmit(&mut self, _: Flow, message: &[u8]) {
        self.0.push(message.to_vec());
    }
}

struct Rules(ServerKey);

impl Policy for Rules {
    type Owner = ();
    type Kept = ();
    type Out = Wire;

    fn address(&self, flow: &Flow) -> SocketAddr {
        flow.local
    }

    fn owner(&self) {}

    fn record(&self) -> Record {
        Record::Route(Token::new(Slot::new(1), 1))
    }

    fn redirect(&self, contact: &str) -> Option<Flow> {
        let remote = sip::Uri::parse(contact).ok()?.socket_address()?;
        Some(Flow { remote, ..flow() })
    }
}

fn flow() -> Flow {
    Flow {
        protocol: Protocol::Udp,
        local: ([192, 0, 2, 1], 5060).into(),
        remote: ([192, 0, 2, 2], 5060).into(),
        connection: None,
        tls: TlsPeer::ANY,
    }
}

struct Proxy {
    now: Instant,
    mint: Mint,
    transactions: Transactions<(), ()>,
    wire: Wire,
    scratch: Vec<u8>,
    contexts: Vec<(ServerKey, Context)>,
    /// What was sent last, so that it can be answered.
    copy: Vec<u8>,
}

impl Proxy {
    fn new() -> Self {
        let mut mint = Mint::new(Slot::new(1), [1; 32]);
        Self {
            now: Instant::now(),
            transactions: Transactions::new(&mut mint),
            mint,
            wire: Wire::default(),
            scratch: Vec::new(),
            contexts: Vec::new(),
            copy: Vec::new(),
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        // A status alone answers what was sent last.
        if let [a, b, c, rest @ ..] = bytes
            && let Some(status) = std::str::from_utf8(&[*a, *b, *c])
                .ok()
                .and_then(|t| t.parse().ok())
        {
            let answer = self.answer(status, rest);
            return self.hear_message(&answer);
        }
        self.hear_message(bytes);
    }

    fn hear_message(&mut self, bytes: &[u8]) {
        let Ok(message) = Message::parse(bytes) else {
            return;
        };
        if message.check().is_err() {
            return;
        }
        match message.status() {
            Some(_) => self.response(&message),
            None => self.request(&message),
        }
        self.inspect(&message);
    }

    fn answer(&self, status: u16, more: &[u8]) -> Vec<u8> {
        let Ok(request) = Message::parse(&self.copy) else {
            return Vec::new();
        };
        let mut text = format!("SIP/2.0 {:03} X\r\n", status % 700).into_bytes();
        for field in request.fields().iter().filter(|field| {
            use HeaderName as N;
            matches!(field.name, N::Via | N::From | N::To | N::CallId | N::CSeq)
        }) {
            text.extend_from_slice(format!("{field}\r\n").as_bytes());
        }
        text.extend_from_slice(more);
        text.extend_from_slice(b"\r\n\r\n");
        text
    }

    fn request(&mut self, request: &Message<'_>) {
        if proxy::check(request, &[], &self.transactions).is_err() {
            return;
        }
        if request.method() == Some(Method::Cancel) {
            let server = self.transactions.cancelled(request);
            return self.each(|context, env| {
                if Some(env.policy.0) == server {
                    context.cancel(env, request.header(HeaderName::Reason));
                }
            });
        }
        let wire = &mut self.wire;
        let received = self.transactions.absorb(self.now, request, wire);
        let Received::New(server) = received else {
            return;
        };
        let routing = Routing::of(request, |token| token.slot() == Slot::new(1));
        let target = Target::new(routing.uri, flow());
        let rules = Rules(server);
        if request.method() == Some(Method::Ack) {
            let mut env = self.env(&rules);
            return proxy::forward_stateless(&mut env, &flow(), request, &routing, &target);
        }
        self.transactions.begin(self.now, server, flow(), request);
        let second = Target::new("sip:second@192.0.2.3", flow());
        let (context, _) = Context::begin(
            &mut self.env(&rules),
            server,
            flow(),
            request,
            &routing,
            [target, second],
        );
        self.contexts.push((server, context));
        if let Some(copy) = self.wire.0.last() {
            self.copy.clone_from(copy);
        }
    }

    fn response(&mut self, response: &Message<'_>) {
        let wire = &mut self.wire;
        let key = self.transactions.receive_response(self.now, response, wire);
        let Some(key) = key else { return };
        self.each(|context, env| {
            context.receive(env, key, response);
        });
    }

    fn wait(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        loop {
            let contexts = self
                .contexts
                .iter()
                .filter_map(|(_, context)| context.deadline());
            let next = contexts.chain(self.transactions.deadline()).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            while let Some(expired) = self.transactions.expire(self.now, &mut self.wire) {
                if let Expired::Client(key, ()) = expired {
                    self.each(|context, env| {
                        context.lost(env, key, StatusCode(408));
                    });
                }
            }
            self.each(|context, env| context.expire(env));
        }
        self.now = end;
        self.wire.0.clear();
    }

    fn each(&mut self, mut act: impl FnMut(&mut Context, &mut Env<'_, Rules>)) {
        for (server, mut context) in std::mem::take(&mut self.contexts) {
            let rules = Rules(server);
            act(&mut context, &mut self.env(&rules));
            if !context.is_over() {
                self.contexts.push((server, context));
            }
        }
    }

    /// Everything that was sent is sound; a request that was forwarded has passed one hop more.
    fn inspect(&mut self, heard: &Message<'_>) {
        for bytes in self.wire.0.drain(..) {
            let sent = Message::parse(&bytes).expect("a message");
            sent.check().expect("a sound message");
            let vias = |message: &Message<'_>| message.values(HeaderName::Via).count();
            let forwarded = sent.method().is_some() && sent.method() == heard.method();
            if forwarded && sent.call_id() == heard.call_id() && vias(&sent) > 1 {
                assert_eq!(vias(&sent), vias(heard) + 1);
                assert_eq!(sent.body(), heard.body());
            }
        }
    }

    fn env<'a>(&'a mut self, policy: &'a Rules) -> Env<'a, Rules> {
        Env {
            now: self.now,
            mint: &mut self.mint,
            transactions: &mut self.transactions,
            out: &mut self.wire,
            scratch: &mut self.scratch,
            policy,
        }
    }
}
