//! The torture messages of RFC 4475 and RFC 5118: what becomes of each, named by its section.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use Outcome::{Dropped, Refused, Valid};
use sip::framing::{Frame, FrameError, Framer, Limits};
use sip::{HeaderName, Message, Method, ParseError, Scheme, StatusCode, Uri};

/// What becomes of a message before anybody asks what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It may be processed.
    Valid,
    /// A request that is answered with this status.
    Refused(u16),
    /// It is dropped without an answer.
    Dropped,
}

/// Section, file, outcome.
const RFC_4475: [(&str, &str, Outcome); 49] = [
    ("3.1.1.1", "wsinv", Valid),
    ("3.1.1.2", "intmeth", Valid),
    ("3.1.1.3", "esc01", Valid),
    ("3.1.1.4", "escnull", Valid),
    ("3.1.1.5", "esc02", Valid),
    ("3.1.1.6", "lwsdisp", Valid),
    ("3.1.1.7", "longreq", Valid),
    ("3.1.1.8", "dblreq", Valid),
    ("3.1.1.9", "semiuri", Valid),
    ("3.1.1.10", "transports", Valid),
    ("3.1.1.11", "mpart01", Valid),
    ("3.1.1.12", "unreason", Valid),
    ("3.1.1.13", "noreason", Valid),
    ("3.1.2.1", "badinv01", Refused(400)),
    ("3.1.2.2", "clerr", Refused(400)),
    ("3.1.2.3", "ncl", Refused(400)),
    ("3.1.2.4", "scalar02", Refused(400)),
    ("3.1.2.5", "scalarlg", Dropped),
    ("3.1.2.6", "quotbal", Refused(400)),
    ("3.1.2.7", "ltgtruri", Refused(400)),
    ("3.1.2.8", "lwsruri", Refused(400)),
    ("3.1.2.9", "lwsstart", Refused(400)),
    ("3.1.2.10", "trws", Refused(400)),
    ("3.1.2.11", "escruri", Refused(400)),
    // A Date is nothing that we act on.
    ("3.1.2.12", "baddate", Valid),
    // The Contact cannot be read; a registrar says 400 (below).
    ("3.1.2.13", "regbadct", Valid),
    // The RFC leaves it open whether spaces within angle brackets are forgiven.
    ("3.1.2.14", "badaspec", Valid),
    ("3.1.2.15", "baddn", Refused(400)),
    ("3.1.2.16", "badvers", Refused(505)),
    ("3.1.2.17", "mismatch01", Refused(400)),
    ("3.1.2.18", "mismatch02", Refused(400)),
    ("3.1.2.19", "bigcode", Dropped),
    ("3.2.1", "badbranch", Valid),
    ("3.3.1", "insuf", Refused(400)),
    ("3.3.2", "unkscm", Refused(416)),
    ("3.3.3", "novelsc", Refused(416)),
    ("3.3.4", "unksm2", Valid),
    ("3.3.5", "bext01", Valid),
    ("3.3.6", "invut", Valid),
    ("3.3.7", "regaut01", Valid),
    ("3.3.8", "multi01", Refused(400)),
    ("3.3.9", "mcl01", Refused(400)),
    ("3.3.10", "bcast", Valid),
    ("3.3.11", "zeromf", Valid),
    ("3.3.12", "cparam01", Valid),
    ("3.3.13", "cparam02", Valid),
    ("3.3.14", "regescrt", Valid),
    ("3.3.15", "sdp01", Valid),
    ("3.4.1", "inv2543", Valid),
];

const RFC_5118: [(&str, &str, Outcome); 12] = [
    ("4.1", "ipv6-good", Valid),
    ("4.2", "ipv6-bad", Refused(400)),
    ("4.3", "port-ambiguous", Valid),
    ("4.4", "port-unambiguous", Valid),
    ("4.5", "via-received-param-with-delim", Valid),
    ("4.5", "via-received-param-no-delim", Valid),
    ("4.6", "ipv6-in-sdp", Valid),
    ("4.7", "mult-ip-in-header", Valid),
    ("4.8", "mult-ip-in-sdp", Valid),
    ("4.9", "ipv4-mapped-ipv6", Valid),
    ("4.10", "ipv6-bug-abnf-3-colons", Valid),
    ("4.10", "ipv6-correct-abnf-2-colons", Valid),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture")
}

fn read(file: &str) -> Vec<u8> {
    let path = folder().join(file).with_extension("dat");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn with<T>(file: &str, f: impl FnOnce(&Message<'_>) -> T) -> T {
    let bytes = read(file);
    let message = Message::parse(&bytes).unwrap_or_else(|error| panic!("{file}: {error}"));
    f(&message)
}

fn outcome(bytes: &[u8]) -> Outcome {
    let Ok(message) = Message::parse(bytes) else {
        return Dropped;
    };
    match message.check() {
        Ok(()) => Valid,
        Err(fault) if message.method().is_some() => Refused(fault.status().0),
        Err(_) => Dropped,
    }
}

#[test]
fn every_message_has_its_outcome() {
    let mut wrong = Vec::new();
    for (rfc, table) in [("4475", &RFC_4475[..]), ("5118", &RFC_5118[..])] {
        for (section, file, expected) in table {
            let found = outcome(&read(file));
            if found != *expected {
                wrong.push(format!(
                    "RFC {rfc} §{section} {file}: {expected:?} expected, {found:?} found"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_is_in_a_table() {
    let tables = RFC_4475.iter().chain(&RFC_5118);
    let named: BTreeSet<_> = tables.map(|(_, file, _)| (*file).to_owned()).collect();
    let there: BTreeSet<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "dat"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(named, there);
}

/// Over a stream the valid messages come out whole, and those without a usable length break it.
#[test]
fn over_a_stream_lengths_must_be_right() {
    for (_, file, expected) in RFC_4475.iter().chain(&RFC_5118) {
        let bytes = read(file);
        let mut framer = Framer::new(Limits::default());
        framer.push(&bytes);
        let frame = framer.next_frame();
        match (*file, expected) {
            ("ncl" | "mcl01", _) => {
                let fault = FrameError::ContentLength;
                assert!(matches!(frame, Some(Frame::Broken { fault: f, .. }) if f == fault));
            }
            ("inv2543", _) => {
                let fault = FrameError::NoContentLength;
                assert!(matches!(frame, Some(Frame::Broken { fault: f, .. }) if f == fault));
            }
            ("clerr", _) => assert_eq!(frame, None),
            (_, Valid) => {
                let length = Message::parse(&bytes).unwrap().bytes().len();
                assert_eq!(frame, Some(Frame::Message(&bytes[..length])), "{file}");
            }
            _ => {}
        }
    }
}

#[test]
fn rfc4475_3_1_1_1_short_tortuous_invite() {
    with("wsinv", |message| {
        assert_eq!(message.to().unwrap().tag(), Some("1918181833n"));
        let from = message.from().unwrap();
        assert_eq!(from.display_name(), "J Rosenberg \\\"");
        assert_eq!(from.tag(), Some("98asjd8"));
        assert_eq!(message.cseq().unwrap().number, 9);
        assert_eq!(message.number(HeaderName::MaxForwards), Ok(Some(68)));
        assert_eq!(message.values(HeaderName::Via).count(), 3);
        assert_eq!(message.header(HeaderName::Subject), Some(""));
        assert_eq!(
            message.other_header("UnknownHeaderWithUnusualValue"),
            Some(";;,,;;,;")
        );
        let contact = message.contacts().next().unwrap().unwrap();
        assert_eq!(contact.display_name(), "Quoted string \"\"");
        assert_eq!(contact.uri, "sip:jdrosen@example.com");
        assert_eq!(contact.params.find("q"), Some("0.33"));
        assert_eq!(contact.params.find("newparam"), Some("newvalue"));
        assert_eq!(message.body().len(), 150);
    });
}

#[test]
fn rfc4475_3_1_1_2_wide_range_of_characters() {
    with("intmeth", |message| {
        let method = "!interesting-Method0123456789_*+`.%indeed'~";
        assert_eq!(message.method(), Some(Method::Other(method)));
        let uri = Uri::parse(message.request_uri()).unwrap();
        assert_eq!(uri.host, "example.com");
        let to = message.to().unwrap();
        assert_eq!(to.display_name(), "BEL:\u{7} NUL:\0 DEL:\u{7f}");
        assert_eq!(to.uri.split_once('@').unwrap().1, "example.com");
        let via = message.top_via().unwrap();
        assert_eq!(via.branch_token(), Some("-.!%66*_+`'~"));
        let from = message.from().unwrap();
        assert_eq!(from.display, "token1~` token2'+_ token3*%!.-");
    });
}

#[test]
fn rfc4475_3_1_1_3_to_5_escapes() {
    with("esc01", |message| {
        let uri = Uri::parse(message.request_uri()).unwrap();
        assert_eq!(uri.user, "sips%3Auser%40example.com");
        let contact = message.contacts().next().unwrap().unwrap();
        let contact = contact.parse_uri().unwrap();
        assert_eq!(contact.user_name(), "caller");
    });
    with("escnull", |message| {
        assert_eq!(message.contacts().count(), 2);
        let to = message.to().unwrap().parse_uri().unwrap();
        assert_eq!(to.user, "null-%00-null");
    });
    with("esc02", |message| {
        assert_eq!(message.method(), Some(Method::Other("RE%47IST%45R")));
    });
}

#[test]
fn rfc4475_3_1_1_7_long_values() {
    with("longreq", |message| {
        let to = message.to().unwrap();
        assert!(to.uri.len() > 100 && to.display.len() > 50);
        assert!(message.call_id().len() > 100);
        assert_eq!(message.values(HeaderName::Via).count(), 34);
        assert!(
            message
                .values(HeaderName::Via)
                .all(|via| sip::Via::parse(via).is_ok())
        );
        let contact = message.contacts().next().unwrap().unwrap();
        assert!(contact.uri.len() > 100);
    });
}

#[test]
fn rfc4475_3_1_1_8_trailing_octets_are_no_part_of_a_datagram() {
    let bytes = read("dblreq");
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.method(), Some(Method::Register));
    assert!(message.body().is_empty());
    assert!(bytes[message.bytes().len()..].starts_with(b"\r\nINVITE"));
}

#[test]
fn rfc4475_3_1_1_9_semicolons_in_the_user_part() {
    with("semiuri", |message| {
        let uri = Uri::parse(message.request_uri()).unwrap();
        assert_eq!(uri.user, "user;par=u%40example.net");
        assert_eq!(uri.host, "example.com");
    });
}

#[test]
fn rfc4475_3_1_1_10_transports() {
    with("transports", |message| {
        let all: Vec<_> = message
            .values(HeaderName::Via)
            .map(|via| sip::Via::parse(via).unwrap().transport)
            .collect();
        assert_eq!(all, ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]);
    });
}

#[test]
fn rfc4475_3_1_1_12_and_13_reason_phrases() {
    let reason = |file| {
        with(file, |message| match *message.start() {
            sip::StartLine::Response { status, reason } => (status.0, reason.chars().count()),
            sip::StartLine::Request { .. } => panic!("a response"),
        })
    };
    assert_eq!(reason("unreason"), (200, 47));
    assert_eq!(reason("noreason"), (100, 0));
}

#[test]
fn rfc4475_3_1_2_13_a_contact_with_headers_needs_brackets() {
    with("regbadct", |message| {
        assert_eq!(message.contacts().next(), Some(Err(ParseError::Address)));
    });
    with("regescrt", |message| {
        let contact = message.contacts().next().unwrap().unwrap();
        assert!(contact.parse_uri().is_ok());
    });
}

#[test]
fn rfc4475_3_1_2_14_spaces_around_a_uri_are_no_part_of_it() {
    with("badaspec", |message| {
        let to = message.to().unwrap();
        assert_eq!(to.uri, "sip:t.watson@example.org");
    });
}

#[test]
fn rfc4475_3_2_1_a_branch_of_the_cookie_alone_names_no_transaction() {
    with("badbranch", |message| {
        assert_eq!(message.top_via().unwrap().branch_token(), None);
    });
}

#[test]
fn rfc4475_3_3_what_the_layers_above_need() {
    with("unksm2", |message| {
        assert_eq!(
            message.to().unwrap().parse_uri().err(),
            Some(ParseError::Scheme)
        );
    });
    with("bext01", |message| {
        assert!(message.lists(HeaderName::Require, "nothingSupportsThis"));
        assert!(message.lists(HeaderName::ProxyRequire, "noProxiesSupportThis"));
    });
    with("regaut01", |message| {
        let value = message.header(HeaderName::Authorization).unwrap();
        assert_eq!(
            sip::digest::Credentials::parse(value).err(),
            Some(sip::digest::DigestError::Scheme)
        );
    });
    with("bcast", |message| {
        assert_eq!(message.status(), Some(StatusCode(200)));
        let vias: Vec<_> = message.values(HeaderName::Via).collect();
        let second = sip::Via::parse(vias[1]).unwrap();
        assert_eq!(second.address(), Some([255, 255, 255, 255].into()));
    });
    with("zeromf", |message| {
        assert_eq!(message.number(HeaderName::MaxForwards), Ok(Some(0)));
    });
    with("cparam01", |message| {
        let contact = message.contacts().next().unwrap().unwrap();
        assert_eq!(contact.uri, "sip:+19725552222@gw1.example.net");
        assert!(contact.params.has("unknownparam"));
    });
    with("cparam02", |message| {
        let contact = message.contacts().next().unwrap().unwrap();
        assert!(contact.uri.ends_with(";unknownparam"));
        assert_eq!(contact.params.iter().count(), 0);
    });
}

#[test]
fn rfc4475_3_4_1_a_request_of_rfc_2543() {
    with("inv2543", |message| {
        assert_eq!(message.top_via().unwrap().branch(), None);
        assert_eq!(message.from().unwrap().tag(), None);
        assert!(message.body().starts_with(b"v=0\r\n"));
        assert_eq!(message.number(HeaderName::MaxForwards), Ok(None));
    });
}

#[test]
fn rfc_5118_hosts_and_ports() {
    let target = |file| {
        with(file, |message| {
            let uri = Uri::parse(message.request_uri()).unwrap();
            assert_eq!(uri.scheme, Scheme::Sip);
            (uri.address(), uri.port)
        })
    };
    let v6 = |text: &str| text.parse::<IpAddr>().ok();
    assert_eq!(target("ipv6-good"), (v6("2001:db8::10"), None));
    assert_eq!(target("port-ambiguous"), (v6("2001:db8::10:5070"), None));
    assert_eq!(target("port-unambiguous"), (v6("2001:db8::10"), Some(5070)));
    assert_eq!(
        target("ipv6-correct-abnf-2-colons"),
        (v6("2001:db8::192.0.2.1"), None)
    );
    assert_eq!(
        target("ipv6-bug-abnf-3-colons"),
        target("ipv6-correct-abnf-2-colons")
    );
}

#[test]
fn rfc_5118_received_with_and_without_brackets() {
    for file in [
        "via-received-param-with-delim",
        "via-received-param-no-delim",
    ] {
        with(file, |message| {
            let via = message.top_via().unwrap();
            assert_eq!(via.address(), "2001:db8::9:1".parse().ok());
            assert_eq!(via.received(), "2001:db8::9:255".parse().ok(), "{file}");
            assert!(via.branch_token().is_some());
        });
    }
    with("mult-ip-in-header", |message| {
        let received: Vec<_> = message
            .values(HeaderName::Via)
            .map(|via| sip::Via::parse(via).unwrap().received())
            .collect();
        assert_eq!(received, [None, None, Some([192, 0, 2, 200].into())]);
    });
}
