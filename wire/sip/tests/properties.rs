//! Properties of messages and header values: what is written reads the same, and no text breaks a
//! reader.

use proptest::prelude::*;
use sip::header::{comma_list, unquote};
use sip::{
    CSeq, Flow, HeaderName, Message, Method, NameAddr, Params, Protocol, StatusCode, Uri, Via,
    Writer,
};

const TOKEN: &str = "[A-Za-z0-9.!%*_+`'~-]{1,12}";

/// A quoted string as it is written.
fn quoted() -> impl Strategy<Value = String> {
    r#""([ -!#-\[\]-~é]|\\[ -~]){0,12}""#
}

fn param() -> impl Strategy<Value = String> {
    let name = "[a-z][a-z0-9-]{0,6}";
    prop_oneof![
        name.prop_map(|name| format!(";{name}")),
        (name, TOKEN).prop_map(|(name, value)| format!(" ; {name} = {value}")),
        (name, quoted()).prop_map(|(name, value)| format!(";{name}={value}")),
    ]
}

fn params() -> impl Strategy<Value = String> {
    proptest::collection::vec(param(), 0..4).prop_map(|params| params.concat())
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9-]{0,8}(\\.[a-z]{2,3})?".prop_map(|host| host),
        any::<[u8; 4]>().prop_map(|v4| std::net::Ipv4Addr::from(v4).to_string()),
        any::<[u16; 8]>().prop_map(|v6| format!("[{}]", std::net::Ipv6Addr::from(v6))),
    ]
}

fn uri() -> impl Strategy<Value = String> {
    let user = "([a-zA-Z0-9_.!~*'()&=+$,;?/-]|%[0-9A-F]{2}){1,10}(:[a-z0-9]{0,4})?@";
    let port = proptest::option::of(any::<u16>());
    let params = "(;(lr|transport=(udp|tcp)|x=[a-z0-9]{1,5}|user=phone)){0,2}";
    ("sips?", proptest::option::of(user), host(), port, params).prop_map(
        |(scheme, user, host, port, params)| {
            let port = port.map_or_else(String::new, |port| format!(":{port}"));
            format!("{scheme}:{}{host}{port}{params}", user.unwrap_or_default())
        },
    )
}

fn address() -> impl Strategy<Value = String> {
    let display = prop_oneof![
        Just(String::new()),
        quoted(),
        "[A-Za-z]{1,6}( [A-Za-zé]{1,6}){0,2} ?",
    ];
    (display, uri(), params())
        .prop_map(|(display, uri, params)| format!("{display}<{uri}>{params}"))
}

fn via() -> impl Strategy<Value = String> {
    (host(), proptest::option::of(any::<u16>()), TOKEN, params()).prop_map(
        |(host, port, branch, params)| {
            let port = port.map_or_else(String::new, |port| format!(":{port}"));
            format!("SIP/2.0/UDP {host}{port};branch=z9hG4bK{branch}{params}")
        },
    )
}

/// A request with its parts in any case and order of folds.
#[derive(Clone, Debug)]
struct Request {
    method: String,
    uri: String,
    vias: Vec<String>,
    from: String,
    to: String,
    call_id: String,
    cseq: u32,
    others: Vec<(String, String)>,
    body: Vec<u8>,
}

fn request() -> impl Strategy<Value = Request> {
    let others = ("X-[A-Za-z-]{0,8}", "[!-~]([ -~é]{0,20}[!-~])?");
    (
        prop_oneof![
            Just("INVITE".to_owned()),
            Just("REGISTER".to_owned()),
            TOKEN.prop_map(|m| m)
        ],
        uri(),
        proptest::collection::vec(via(), 1..4),
        address(),
        address(),
        "[!-+--9;=?-~]{1,20}",
        0..1u32 << 31,
        proptest::collection::vec(others, 0..6),
        proptest::collection::vec(any::<u8>(), 0..40),
    )
        .prop_map(
            |(method, uri, vias, from, to, call_id, cseq, others, body)| Request {
                method,
                uri,
                vias,
                from,
                to,
                call_id,
                cseq,
                others,
                body,
            },
        )
}

impl Request {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::request(&mut bytes, Method::parse(&self.method), &self.uri);
        for via in &self.vias {
            writer.header(HeaderName::Via, via);
        }
        writer.header(HeaderName::From, &self.from);
        writer.header(HeaderName::To, &self.to);
        writer.header(HeaderName::CallId, &self.call_id);
        let cseq = format!("{} {}", self.cseq, self.method);
        writer.header(HeaderName::CSeq, &cseq);
        for (name, value) in &self.others {
            writer.other_header(name, value);
        }
        writer.body("application/x", &self.body);
        bytes
    }
}

/// The same message as another sender might write it: compact names, folds, odd spaces.
fn disguised(bytes: &[u8], folds: bool) -> Vec<u8> {
    let head = bytes
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .map_or(0, |at| at + 2);
    let text = String::from_utf8_lossy(&bytes[..head]);
    let mut out = String::new();
    for (index, line) in text.lines().enumerate() {
        let line = match line.split_once(": ") {
            Some((name, value)) if index > 0 => {
                let name = match name {
                    "Via" => "v",
                    "From" => "F",
                    "Call-ID" => "i",
                    "Content-Length" => "L",
                    "To" => "tO",
                    other => other,
                };
                let fold = if folds { "\r\n\t " } else { "" };
                format!("{name} :{fold}{value}  ")
            }
            _ => line.to_owned(),
        };
        out += &line;
        out += "\r\n";
    }
    [out.as_bytes(), &bytes[head..]].concat()
}

fn flow() -> Flow {
    Flow {
        protocol: Protocol::Udp,
        local: ([192, 0, 2, 1], 5060).into(),
        remote: ([198, 51, 100, 7], 40_000).into(),
        connection: None,
        tls: sip::TlsPeer::ANY,
    }
}

proptest! {
    #[test]
    fn a_request_that_is_written_reads_the_same(request in request(), folds in any::<bool>()) {
        let bytes = request.encode();
        for bytes in [&bytes, &disguised(&bytes, folds)] {
            let message = Message::parse(bytes).unwrap();
            prop_assert_eq!(message.check(), Ok(()), "{}", String::from_utf8_lossy(bytes));
            prop_assert_eq!(message.method(), Some(Method::parse(&request.method)));
            prop_assert_eq!(message.request_uri(), &request.uri);
            prop_assert!(message.values(HeaderName::Via).eq(request.vias.iter().map(String::as_str)));
            prop_assert_eq!(message.header(HeaderName::From), Some(&*request.from));
            prop_assert_eq!(message.header(HeaderName::To), Some(&*request.to));
            prop_assert_eq!(message.call_id(), &request.call_id);
            prop_assert_eq!(message.cseq().unwrap().number, request.cseq);
            for (name, value) in &request.others {
                let found = message.fields().iter().any(|field| field.spelling == name && field.value == value);
                prop_assert!(found, "{name}: {value}");
            }
            prop_assert_eq!(message.body(), &request.body);
            prop_assert_eq!(message.bytes().len(), bytes.len());
        }
    }

    #[test]
    fn a_response_has_what_its_request_had(request in request()) {
        let bytes = request.encode();
        let request = Message::parse(&bytes).unwrap();
        let mut out = Vec::new();
        Writer::response_to(&mut out, &request, &flow(), StatusCode(486), "ours").finish();
        let response = Message::parse(&out).unwrap();
        prop_assert_eq!(response.check(), Ok(()));
        prop_assert_eq!(response.status(), Some(StatusCode(486)));
        prop_assert_eq!(response.from(), request.from());
        prop_assert_eq!(response.cseq(), request.cseq());
        prop_assert_eq!(response.call_id(), request.call_id());
        let tag = request.to().unwrap().tag().unwrap_or("ours");
        let to = response.to().unwrap();
        prop_assert_eq!(to.tag(), Some(tag));
        prop_assert_eq!(to.uri, request.to().unwrap().uri);
        let vias = |message: &Message<'_>| {
            let vias = message.values(HeaderName::Via);
            vias.map(|via| Via::parse(via).unwrap().branch().map(str::to_owned)).collect::<Vec<_>>()
        };
        prop_assert_eq!(vias(&response), vias(&request));
    }

    #[test]
    fn a_cut_datagram_is_never_taken_for_whole(request in request(), cut in any::<prop::sample::Index>()) {
        let bytes = request.encode();
        let cut = cut.index(bytes.len());
        let sound = Message::parse(&bytes[..cut]).and_then(|message| message.check());
        prop_assert!(sound.is_err());
    }

    #[test]
    fn a_uri_reads_as_it_was_put_together(text in uri()) {
        let uri = Uri::parse(&text).unwrap();
        let user = if uri.user.is_empty() { String::new() } else { format!("{}@", uri.user) };
        let port = uri.port.map_or_else(String::new, |port| format!(":{port}"));
        let params = if uri.params.0.is_empty() { String::new() } else { format!(";{}", uri.params.0) };
        let scheme = text.split_once(':').unwrap().0;
        prop_assert_eq!(format!("{scheme}:{user}{}{port}{params}", uri.host), text.as_str());
        prop_assert!(uri.equivalent(&uri));
    }

    #[test]
    fn an_address_reads_as_it_was_put_together(display in quoted(), uri in uri(), params in params()) {
        let text = format!("{display} <{uri}>{params}");
        let address = NameAddr::parse(&text).unwrap();
        prop_assert_eq!(address.display, &display);
        prop_assert_eq!(address.display_name(), unquote(&display));
        prop_assert_eq!(address.uri, &uri);
        prop_assert_eq!(address.params.iter().count(), Params(&params).iter().count());
        let list = format!("{text},{text} , {text}");
        prop_assert!(comma_list(&list).all(|one| NameAddr::parse(one) == Ok(address)));
        prop_assert_eq!(comma_list(&list).count(), 3);
    }

    #[test]
    fn no_text_breaks_a_reader(text in r#"[ -~\r\n\t"<>;,:@=\\é]{0,60}"#) {
        if let Ok(address) = NameAddr::parse(&text) {
            let _ = (address.tag(), address.display_name(), address.parse_uri());
        }
        let _ = (Via::parse(&text), Uri::parse(&text), CSeq::parse(&text), unquote(&text));
        let _ = (comma_list(&text).count(), Params(&text).iter().count());
        let head = format!("OPTIONS {text} SIP/2.0\r\n{text}\r\nVia: {text}\r\n\r\n");
        if let Ok(message) = Message::parse(head.as_bytes()) {
            let _ = (message.check(), message.top_via(), message.contacts().count());
        }
    }
}
