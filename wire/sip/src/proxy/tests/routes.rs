//! RFC 3261 §16.4, Record-Route, Path.

use super::*;

const OURS: &str = "<sip:2a-0123456789abcdef@192.0.2.99:5060;lr>";

fn is_ours(token: Token) -> bool {
    token.as_str() == "2a-0123456789abcdef"
}

/// What is sent on of a request with this Route.
fn routed(route: &str) -> String {
    let mut world = World::new();
    let text = request("BYE", route);
    world.forward(&text, &[target(2)]).remove(0)
}

#[test]
fn rfc3261_16_4_our_own_route_comes_off() {
    let copy = routed(&format!(
        "Route: {OURS}\r\nX: y\r\nRoute: <sip:next.example;lr>\r\n"
    ));
    assert_eq!(lines(&copy, "Route"), ["<sip:next.example;lr>"]);
    let copy = routed(&format!(
        "Route: {OURS}, <sip:next.example;lr> , <sip:c;lr>\r\n"
    ));
    assert_eq!(
        lines(&copy, "Route"),
        ["<sip:next.example;lr>", "<sip:c;lr>"]
    );
}

#[test]
fn rfc3261_16_4_a_foreign_route_stays() {
    let copy = routed("Route: <sip:next.example;lr> ,  <sip:c;lr>\r\n");
    assert_eq!(
        lines(&copy, "Route"),
        ["<sip:next.example;lr> ,  <sip:c;lr>"]
    );
}

#[test]
fn rfc3261_16_4_behind_a_strict_router_the_last_route_is_the_target() {
    let text = request("BYE", "Route: <sip:x;lr>, <sip:bob@192.0.2.5>\r\n").replace(
        "BYE sip:bob@example.com",
        "BYE sip:2a-0123456789abcdef@192.0.2.99;lr",
    );
    let message = Message::parse(text.as_bytes()).unwrap();
    let routing = Routing::of(&message, is_ours);
    assert_eq!(routing.uri, "sip:bob@192.0.2.5");
    assert_eq!(routing.next, Some("<sip:x;lr>"));
    assert_eq!(routing.next_uri(), "sip:x;lr");
    assert!(routing.token.is_some());
    let sent = World::new().forward(&text, &[target(5)]);
    assert_eq!(lines(&sent[0], "Route"), ["<sip:x;lr>"]);
}

/// Headers have no place in a Request-URI.
#[test]
fn rfc3261_19_1_1_a_strict_router_gets_its_uri_without_headers() {
    let copy = routed("Route: <sip:strict.example?lr>\r\n");
    assert_eq!(start(&copy), "BYE sip:strict.example SIP/2.0");
}

#[test]
fn rfc3261_16_6_6_a_strict_router_gets_its_own_uri() {
    let copy = routed(&format!(
        "Route: {OURS}, <sip:strict.example>\r\nRoute: <sip:c;lr>\r\n"
    ));
    assert_eq!(start(&copy), "BYE sip:strict.example SIP/2.0");
    assert_eq!(
        lines(&copy, "Route"),
        ["<sip:c;lr>", "<sip:bob@192.0.2.2:5060>"]
    );
}

#[test]
fn rfc3261_16_6_4_record_route_stands_before_those_of_others() {
    let mut world = World::new();
    let token = Token::parse("2a-0123456789abcdef").unwrap();
    world.rules.record = Record::Route(token);
    let sent = world.forward(&invite("Record-Route: <sip:first;lr>\r\n"), &[target(2)]);
    assert_eq!(lines(&sent[1], "Record-Route"), [OURS, "<sip:first;lr>"]);
}

#[test]
fn rfc5658_5_a_proxy_between_two_transports_records_both() {
    let mut world = World::new();
    let token = Token::parse("2a-0123456789abcdef").unwrap();
    world.rules.record = Record::Route(token);
    let tcp = flow(Protocol::Tcp, "10.0.0.1:5062", "10.0.0.7:5060");
    let sent = world.forward(&invite(""), &[Target::new("sip:bob@10.0.0.7", tcp)]);
    let recorded = lines(&sent[1], "Record-Route");
    assert_eq!(
        recorded,
        [
            "<sip:2a-0123456789abcdef@10.0.0.1:5062;transport=tcp;lr>",
            OURS
        ]
    );
    // Either party sends both back, its own side first, and both come off.
    let both = format!(
        "Route: {},{}\r\nRoute: <sip:c;lr>\r\n",
        recorded[1], recorded[0]
    );
    let text = request("BYE", &both);
    let message = Message::parse(text.as_bytes()).unwrap();
    let routing = Routing::of(&message, is_ours);
    assert_eq!(routing.next, Some("<sip:c;lr>"));
}

#[test]
fn rfc3261_16_6_4_a_sips_target_gets_a_sips_route() {
    let mut world = World::new();
    world.rules.record = Record::Route(Token::parse("2a-0123456789abcdef").unwrap());
    let tls = flow(Protocol::Tls, "192.0.2.99:5061", "192.0.2.2:5061");
    let sent = world.forward_from(tls, &invite(""), &[Target::new("sips:bob@192.0.2.2", tls)]);
    assert_eq!(
        lines(&sent[1], "Record-Route"),
        ["<sips:2a-0123456789abcdef@192.0.2.99:5061;lr>"]
    );
}

#[test]
fn rfc3327_5_2_a_registration_gets_our_path() {
    let mut world = World::new();
    world.rules.record = Record::Path(Token::parse("2a-0123456789abcdef").unwrap());
    let sent = world.forward(&request("REGISTER", "Path: <sip:p1;lr>\r\n"), &[target(2)]);
    assert_eq!(lines(&sent[0], "Path"), [OURS, "<sip:p1;lr>"]);
    assert_eq!(lines(&sent[0], "Record-Route"), [""; 0]);
}

#[test]
fn rfc3327_5_3_the_path_of_a_contact_is_the_route_to_it() {
    let mut world = World::new();
    let mut phone = target(2);
    phone.routes = vec!["<sip:p1;lr>".into(), "<sip:p2;lr>".into()];
    let sent = world.forward(&invite("Route: <sip:after;lr>\r\n"), &[phone.clone()]);
    assert_eq!(
        lines(&sent[1], "Route"),
        ["<sip:p1;lr>", "<sip:p2;lr>", "<sip:after;lr>"]
    );
    phone.routes[0] = "<sip:strict>".into();
    let sent = World::new().forward(&invite(""), &[phone]);
    assert_eq!(start(&sent[1]), "INVITE sip:strict SIP/2.0");
    assert_eq!(
        lines(&sent[1], "Route"),
        ["<sip:p2;lr>", "<sip:bob@192.0.2.2:5060>"]
    );
}

#[test]
fn tokens_are_good_for_one_dialog_only() {
    let (secret, slot) = ([9; 32], Slot::new(0x2a));
    let token = record_token(&secret, slot, "call", 0xbeef);
    assert!(is_route_token(&secret, slot, "call", token));
    assert_ne!(token, record_token(&secret, slot, "call", 0xbee0));
    assert!(!is_route_token(&secret, slot, "other", token));
    assert!(!is_route_token(&[8; 32], slot, "call", token));
    assert!(!is_route_token(&secret, Slot::new(1), "call", token));
    let forged = Token::new(slot, token.bits() ^ 1 << 40);
    assert!(!is_route_token(&secret, slot, "call", forged));
}
