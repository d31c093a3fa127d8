//! Messages: every typed header of whatever parses, and writing what was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip::digest::{Challenge, Credentials};
use sip::header::{comma_list, unquote};
use sip::{
    CSeq, Flow, HeaderName, Message, NameAddr, Params, Protocol, RAck, SessionExpires, StartLine,
    StatusCode, Uri, Via, Writer, response_flow,
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = Message::parse(bytes) else {
        return;
    };
    assert!(message.bytes().len() <= bytes.len());
    read_everything(&message);
    if message.check().is_ok() {
        encode_and_parse(&message);
        if message.method().is_some() {
            respond(&message);
        }
    }
});

fn read_everything(message: &Message<'_>) {
    let _ = message.check();
    let _ = (message.top_via(), message.from(), message.to());
    let _ = (
        message.cseq(),
        message.call_id(),
        message.contacts().count(),
    );
    let _ = message.body_of_type("application/sdp");
    for field in message.fields() {
        let _ = message.number(field.name);
        let _ = message.lists(field.name, "timer");
        read_value(field.value);
        comma_list(field.value).for_each(read_value);
    }
}

fn read_value(value: &str) {
    if let Ok(address) = NameAddr::parse(value) {
        let _ = (address.display_name(), address.tag());
        let _ = address.parse_uri().map(|uri| uri.user_name().into_owned());
    }
    if let Ok(via) = Via::parse(value) {
        let _ = (via.branch_token(), via.address(), via.received());
    }
    let _ = (
        CSeq::parse(value),
        RAck::parse(value),
        SessionExpires::parse(value),
    );
    let _ = (Challenge::parse(value), Credentials::parse(value));
    let _ = (Params(value).iter().count(), unquote(value));
    let _ = Uri::parse(value);
}

/// A sound message, written field by field, parses to the same message.
fn encode_and_parse(message: &Message<'_>) {
    let mut bytes = Vec::new();
    let mut writer = match *message.start() {
        StartLine::Request { method, uri } => Writer::request(&mut bytes, method, uri),
        StartLine::Response { status, reason } => {
            Writer::response_with_reason(&mut bytes, status, reason)
        }
    };
    let is_body = |name| matches!(name, HeaderName::ContentLength | HeaderName::ContentType);
    for field in message.fields().iter().filter(|field| !is_body(field.name)) {
        writer.other_header(field.spelling, field.value);
    }
    writer.body("application/sdp", message.body());
    let again = Message::parse(&bytes).expect("what we write parses");
    assert_eq!(again.check(), Ok(()));
    assert_eq!(again.start(), message.start());
    assert_eq!(again.body(), message.body());
    let fields = |message: &Message<'_>| -> Vec<(String, String)> {
        let fields = message.fields().iter().filter(|field| !is_body(field.name));
        fields
            .map(|field| (field.spelling.to_owned(), field.value.to_owned()))
            .collect()
    };
    assert_eq!(fields(&again), fields(message));
}

/// The response to a sound request is sound and belongs to it.
fn respond(request: &Message<'_>) {
    let flow = Flow {
        protocol: Protocol::Udp,
        local: ([192, 0, 2, 1], 5060).into(),
        remote: ([198, 51, 100, 7], 40_000).into(),
        connection: None,
        tls: sip::TlsPeer::ANY,
    };
    let _ = response_flow(request, flow);
    let mut bytes = Vec::new();
    Writer::response_to(&mut bytes, request, &flow, StatusCode(200), "tag-of-ours").finish();
    let response = Message::parse(&bytes).expect("our response parses");
    assert_eq!(response.check(), Ok(()));
    assert_eq!(response.call_id(), request.call_id());
    assert_eq!(response.cseq(), request.cseq());
    let vias = |message: &Message<'_>| message.values(HeaderName::Via).count();
    assert_eq!(vias(&response), vias(request));
    let branch = |message: &Message<'_>| {
        let via = message.top_via().expect("checked");
        via.branch().map(str::to_owned)
    };
    assert_eq!(branch(&response), branch(request));
    let tag = response.to().expect("checked").tag().map(str::to_owned);
    let theirs = request.to().expect("checked").tag().map(str::to_owned);
    assert_eq!(tag, theirs.or(Some("tag-of-ours".to_owned())));
}
