//! Forwards calls from INVITE to BYE, 13 messages each, and tells what one costs without the network.
//!
//! `cargo run --release -p dialtone-sip --example proxy 100000`

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base::{Mint, Slot, Token};
use sip::proxy::{self, Context, Env, Policy, Record, Routing, Target};
use sip::{Flow, Message, Method, Protocol, Received, ServerKey, TlsPeer, Transactions, Transmit};

fn main() {
    let calls = std::env::args().nth(1).and_then(|arg| arg.parse().ok());
    let calls = calls.unwrap_or(1000);
    let mut proxy = Proxy::new();
    #[expect(clippy::disallowed_methods, reason = "this measures")]
    let start = Instant::now();
    (0..calls).for_each(|number| proxy.call(number));
    let each = start.elapsed() / calls.max(1);
    #[expect(clippy::print_stdout, reason = "this tells")]
    {
        println!("{calls} calls, {each:?} each");
    }
}

/// Keeps the last message of each kind, as a peer would receive it.
#[derive(Default)]
struct Wire(Vec<u8>);

impl Transmit for Wire {
    fn transmit(&mut self, _: Flow, message: &[u8]) {
        self.0.clear();
        self.0.extend_from_slice(message);
    }
}

struct Rules {
    server: ServerKey,
    record: Record,
}

impl Policy for Rules {
    type Owner = ServerKey;
    type Kept = ();
    type Out = Wire;

    fn address(&self, flow: &Flow) -> SocketAddr {
        flow.local
    }

    fn owner(&self) -> ServerKey {
        self.server
    }

    fn record(&self) -> Record {
        self.record
    }
}

struct Proxy {
    now: Instant,
    mint: Mint,
    transactions: Transactions<ServerKey, ()>,
    wire: Wire,
    scratch: Vec<u8>,
    caller: Flow,
    callee: Flow,
}

impl Proxy {
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn new() -> Self {
        let mut mint = Mint::new(Slot::new(1), [1; 32]);
        let flow = |remote: &str| Flow {
            protocol: Protocol::Udp,
            local: "192.0.2.1:5060".parse().expect("an address"),
            remote: remote.parse().expect("an address"),
            connection: None,
            tls: TlsPeer::ANY,
        };
        Self {
            now: Instant::now(),
            transactions: Transactions::new(&mut mint),
            mint,
            wire: Wire::default(),
            scratch: Vec::new(),
            caller: flow("192.0.2.2:5060"),
            callee: flow("192.0.2.3:5060"),
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

    /// INVITE, 100, 180, 200, ACK, BYE, 200; each received and sent, but the 100.
    fn call(&mut self, number: u32) {
        let call_id = format!("{number}@192.0.2.2");
        let token = proxy::record_token(&[7; 32], self.mint.slot(), &call_id, number as u16);
        let (mut context, invite) = self.forward("INVITE", &call_id, 1, "", SDP, Some(token));
        for status in [180, 200] {
            self.answer(&mut context, &invite, status);
        }
        let route = format!("Route: <sip:{token}@192.0.2.1:5060;lr>\r\n");
        let ack = request("ACK", &call_id, 1, &route, "");
        let ack = Message::parse(ack.as_bytes()).expect("a message");
        let routing = self.routing(&ack);
        let rules = Rules {
            server: self.server(&ack),
            record: Record::No,
        };
        let target = Target::new(routing.uri, self.callee);
        let caller = self.caller;
        proxy::forward_stateless(&mut self.env(&rules), &caller, &ack, &routing, &target);
        let (mut context, bye) = self.forward("BYE", &call_id, 2, &route, "", None);
        self.answer(&mut context, &bye, 200);
        assert!(context.is_over());
        self.now += Duration::from_millis(1);
        while self.transactions.expire(self.now, &mut self.wire).is_some() {}
    }

    fn routing<'m>(&self, message: &Message<'m>) -> Routing<'m> {
        let slot = self.mint.slot();
        Routing::of(message, |token| {
            proxy::is_route_token(&[7; 32], slot, message.call_id(), token)
        })
    }

    fn server(&mut self, request: &Message<'_>) -> ServerKey {
        let (now, caller) = (self.now, self.caller);
        let wire = &mut self.wire;
        match self
            .transactions
            .receive_request(now, caller, request, wire)
        {
            Received::New(server) => server,
            Received::Absorbed => panic!("a new request"),
        }
    }

    fn forward(
        &mut self,
        method: &str,
        call_id: &str,
        cseq: u32,
        more: &str,
        body: &str,
        token: Option<Token>,
    ) -> (Context, Vec<u8>) {
        let text = request(method, call_id, cseq, more, body);
        let message = Message::parse(text.as_bytes()).expect("a message");
        proxy::check(&message, &[], &self.transactions).expect("a request to forward");
        let rules = Rules {
            server: self.server(&message),
            record: token.map_or(Record::No, Record::Route),
        };
        let routing = self.routing(&message);
        let target = Target::new("sip:bob@192.0.2.3", self.callee);
        let (source, server) = (self.caller, rules.server);
        let (context, _) = Context::begin(
            &mut self.env(&rules),
            server,
            source,
            &message,
            &routing,
            [target],
        );
        (context, self.wire.0.clone())
    }

    fn answer(&mut self, context: &mut Context, copy: &[u8], status: u16) {
        let request = Message::parse(copy).expect("what was forwarded");
        let mut text = format!("SIP/2.0 {status} Fine\r\n");
        for field in request.fields().iter().filter(|field| {
            use sip::HeaderName as N;
            matches!(
                field.name,
                N::Via | N::RecordRoute | N::From | N::To | N::CallId | N::CSeq
            )
        }) {
            text.push_str(&format!("{field}\r\n"));
        }
        let body = if status == 200 && request.method() == Some(Method::Invite) {
            SDP
        } else {
            ""
        };
        text.push_str(&format!(
            "Contact: <sip:bob@192.0.2.3>\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let response = Message::parse(text.as_bytes()).expect("a message");
        let wire = &mut self.wire;
        let key = self
            .transactions
            .receive_response(self.now, &response, wire);
        let key = key.expect("an answer to ours");
        let server = *self.transactions.client(key).expect("our transaction");
        let rules = Rules {
            server,
            record: Record::No,
        };
        context.receive(&mut self.env(&rules), key, &response);
    }
}

fn request(method: &str, call_id: &str, cseq: u32, more: &str, body: &str) -> String {
    format!(
        "{method} sip:bob@192.0.2.3 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK-{call_id}-{cseq}-{method}\r\n\
         Max-Forwards: 70\r\nFrom: \"Alice\" <sip:alice@192.0.2.2>;tag=1\r\n\
         To: <sip:bob@192.0.2.1>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n{more}\
         Contact: <sip:alice@192.0.2.2:5060>\r\nUser-Agent: example\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n\
    m=audio 20000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";
