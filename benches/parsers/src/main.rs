//! Our SIP parser beside the crates `rsip` and `ezk-sip-types`, on the same messages in one run.
//!
//! Prints nanoseconds for each message, the best of many batches. Two kinds of work: finding the
//! lines and header fields ("index"), and also reading what a server must know of every request
//! ("read": topmost Via, From, To, Call-ID, CSeq, Contact, Request-URI). With arguments, only the rows
//! whose names contain one of them are measured.

use std::hint::black_box;
use std::time::{Duration, Instant};

use base::Slot;
use bytes::Bytes;
use ezk_sip_types::header::typed as ezk;
use ezk_sip_types::msg::{Line, MessageLine, PullParser};
use ezk_sip_types::parse::Parse;
use ezk_sip_types::{Headers, Name};
use rsip::prelude::{HeadersExt, ToTypedHeader, UntypedHeader};
use sip::digest::{Algorithm, Credentials, NonceKey};
use sip::framing::{Framer, Limits};
use sip::{Message, Method, StatusCode, Uri, Writer};

const INVITE: &[u8] = include_bytes!("../messages/invite.sip");
const REGISTER: &[u8] = include_bytes!("../messages/register.sip");

fn main() {
    let messages = [("INVITE", INVITE), ("REGISTER", REGISTER)];
    for (name, bytes) in messages {
        println!("{name}, {} octets", bytes.len());
        row(name, "dialtone index", || {
            Message::parse(black_box(bytes)).is_ok()
        });
        row(name, "dialtone index + check", || {
            Message::parse(black_box(bytes)).is_ok_and(|message| message.check().is_ok())
        });
        row(name, "dialtone read", || dialtone_read(black_box(bytes)));
        let shared = Bytes::from_static(bytes);
        row(name, "ezk-sip-types index", || {
            ezk_index(black_box(&shared)).is_some()
        });
        row(name, "ezk-sip-types read", || ezk_read(black_box(&shared)));
        row(name, "rsip index", || {
            rsip::SipMessage::try_from(black_box(bytes)).is_ok()
        });
        // It refuses the Contact, whose +sip.instance is a quoted string.
        row(name, "rsip read but Contact", || {
            rsip_read(black_box(bytes))
        });
    }
    ours();
}

/// Work of ours that has no counterpart in the peers.
fn ours() {
    println!("ours");
    let mut framer = Framer::new(Limits::default());
    row("INVITE", "framing", || {
        framer.push(black_box(INVITE));
        framer.next_frame().is_some()
    });
    let request = Message::parse(INVITE).expect("a message");
    let flow = sip::Flow {
        protocol: sip::Protocol::Udp,
        local: ([192, 0, 2, 1], 5060).into(),
        remote: ([192, 0, 2, 7], 5060).into(),
        connection: None,
        tls: sip::TlsPeer::ANY,
    };
    let mut out = Vec::new();
    row("INVITE", "writing 100 Trying", || {
        out.clear();
        Writer::response_to(&mut out, &request, &flow, StatusCode(100), "").finish();
        !out.is_empty()
    });
    let register = Message::parse(REGISTER).expect("a message");
    let value = register
        .header(sip::HeaderName::Authorization)
        .expect("credentials");
    row("REGISTER", "digest parse", || {
        Credentials::parse(black_box(value)).is_ok()
    });
    for algorithm in Algorithm::ALL {
        let value = value.replace("=MD5", &format!("={algorithm}"));
        let credentials = Credentials::parse(&value).expect("credentials");
        let ha1 = algorithm.ha1("1001", "example.com", "secret");
        row(
            "REGISTER",
            &format!("digest verify {algorithm}, kept hash"),
            || !credentials.verify_ha1(black_box(&ha1), Method::Register, b""),
        );
        row(
            "REGISTER",
            &format!("digest verify {algorithm}, password"),
            || {
                !credentials.verify(
                    "1001",
                    "example.com",
                    black_box("secret"),
                    Method::Register,
                    b"",
                )
            },
        );
    }
    let key = NonceKey::new([1; 32], Duration::from_secs(60));
    let slot = Slot::new(1);
    let nonce = key.mint(1_790_000_000_000, slot, 7);
    row("REGISTER", "nonce mint", || {
        !key.mint(black_box(1_790_000_000_000), slot, 7)
            .as_str()
            .is_empty()
    });
    row("REGISTER", "nonce verify", || {
        key.verify(black_box(nonce.as_str()), 1_790_000_000_000, slot)
            != sip::digest::Freshness::Stale
    });
}

/// Measures one piece of work, which says whether it succeeded.
fn row(message: &str, name: &str, mut work: impl FnMut() -> bool) {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let full = format!("{message} {name}");
    if !wanted.is_empty() && !wanted.iter().any(|part| full.contains(part.as_str())) {
        return;
    }
    if !work() {
        println!("  {name:<36} does not accept this message");
        return;
    }
    const BATCH: u32 = 2_000;
    let best = (0..200)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..BATCH {
                black_box(work());
            }
            start.elapsed()
        })
        .min()
        .expect("more than one batch");
    println!(
        "  {name:<36} {:>8.0} ns",
        best.as_nanos() as f64 / f64::from(BATCH)
    );
}

fn dialtone_read(bytes: &[u8]) -> bool {
    let Ok(message) = Message::parse(bytes) else {
        return false;
    };
    let all = (
        message.top_via().map(|via| black_box(via.branch_token())),
        message.from().map(|from| black_box(from.tag())),
        message.to().map(|to| black_box(to.tag())),
        black_box(message.call_id()),
        message.cseq(),
        message.contacts().next(),
        Uri::parse(message.request_uri()),
    );
    let (via, from, to, id, cseq, contact, uri) = all;
    let contact = matches!(contact, Some(Ok(contact)) if contact.parse_uri().is_ok());
    via.is_ok()
        && from.is_ok()
        && to.is_ok()
        && !id.is_empty()
        && cseq.is_ok()
        && contact
        && uri.is_ok()
}

fn ezk_index(bytes: &Bytes) -> Option<(MessageLine, Headers)> {
    let mut parser = PullParser::new(bytes, 0);
    let first = std::str::from_utf8(parser.next()?.ok()?).ok()?;
    let (_, line) = MessageLine::parse(bytes)(first).ok()?;
    let mut headers = Headers::new();
    for line in parser {
        let line = std::str::from_utf8(line.ok()?).ok()?;
        let (_, line) = Line::parse(bytes, line).ok()?;
        headers.insert(line.name, line.value);
    }
    Some((line, headers))
}

fn ezk_read(bytes: &Bytes) -> bool {
    let Some((line, headers)) = ezk_index(bytes) else {
        return false;
    };
    let via: Result<ezk::Via, _> = headers.get_named();
    let from: Result<ezk::FromTo, _> = headers.get(Name::FROM);
    let to: Result<ezk::FromTo, _> = headers.get(Name::TO);
    let id: Result<ezk::CallID, _> = headers.get_named();
    let cseq: Result<ezk::CSeq, _> = headers.get_named();
    let contact: Result<ezk::Contact, _> = headers.get_named();
    let all = via.is_ok() && from.is_ok() && to.is_ok() && id.is_ok() && cseq.is_ok();
    all && contact.is_ok() && line.is_request()
}

fn rsip_read(bytes: &[u8]) -> bool {
    let Ok(rsip::SipMessage::Request(request)) = rsip::SipMessage::try_from(bytes) else {
        return false;
    };
    let via = request.via_header().and_then(|via| via.typed());
    let from = request.from_header().and_then(|from| from.typed());
    let to = request.to_header().and_then(|to| to.typed());
    let id = request.call_id_header().map(|id| id.value().len());
    let cseq = request.cseq_header().and_then(|cseq| cseq.typed());
    via.is_ok() && from.is_ok() && to.is_ok() && id.is_ok() && cseq.is_ok()
}
