//! RFC 3261 §16.6: what becomes of a request.

use super::*;

#[test]
fn rfc3261_16_2_an_invite_is_answered_100_and_sent_on() {
    let mut world = World::new();
    let sent = world.forward(&invite(""), &[target(2)]);
    assert_eq!(
        starts(&sent),
        [
            "SIP/2.0 100 Trying",
            "INVITE sip:bob@192.0.2.2:5060 SIP/2.0"
        ]
    );
}

#[test]
fn rfc3261_16_6_1_what_is_not_understood_is_copied_octet_by_octet() {
    let mut world = World::new();
    let strange =
        "X-Odd   :  two  spaces \r\nX-Fold: a\r\n\t b\r\nx-odd: again\r\nl: 7\r\n\r\nbody \u{e9}";
    let text = format!(
        "FROBNICATE sip:bob@example.com SIP/2.0\r\nv: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\n\
         Max-Forwards:9\r\nf: <sip:a@b>;tag=1\r\nt: <sip:bob@example.com>\r\ni: call\r\n\
         CSeq: 1 FROBNICATE\r\n{strange}"
    );
    let sent = world.forward(&text, &[target(2)]);
    let [copy] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert!(copy.starts_with("FROBNICATE sip:bob@192.0.2.2:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.99:5060;rport;branch=z9hG4bK2a-"));
    let rest = "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\nMax-Forwards: 8\r\n\
         f: <sip:a@b>;tag=1\r\nt: <sip:bob@example.com>\r\ni: call\r\nCSeq: 1 FROBNICATE\r\n";
    assert!(copy.ends_with(&format!("{rest}{strange}")), "{copy}");
    // The answer to a method that nobody knows comes back, and is as little touched.
    let answer = response(copy, 200, "X-Odd  : c\r\n");
    assert_eq!(world.hear(&answer), Progress::Accepted(StatusCode(200)));
    let sent = world.sent();
    let (_, without_via) = answer.split_once("Via: ").unwrap();
    let (_, rest) = without_via.split_once("\r\n").unwrap();
    assert!(sent[0].ends_with(rest), "{sent:?}");
    assert!(world.is_over());
}

#[test]
fn rfc3261_16_6_3_max_forwards_is_counted_down_or_added() {
    let mut world = World::new();
    let sent = world.forward(&invite(""), &[target(2)]);
    assert_eq!(lines(&sent[1], "Max-Forwards"), ["69"]);
    let without = request("OPTIONS", "").replace("Max-Forwards: 70\r\n", "");
    let sent = World::new().forward(&without, &[target(2)]);
    assert_eq!(lines(&sent[0], "Max-Forwards"), ["70"]);
}

#[test]
fn rfc3261_16_6_5_the_user_may_drop_and_add_fields() {
    let mut world = World::new();
    world.rules.drops = "Authorization";
    world.rules.adds = "X-Mine";
    let sent = world.forward(
        &invite("Authorization: Digest x\r\nX-Y: z\r\n"),
        &[target(2)],
    );
    assert_eq!(lines(&sent[1], "Authorization"), [""; 0]);
    assert_eq!(lines(&sent[1], "X-Mine"), ["added"]);
    assert_eq!(lines(&sent[1], "X-Y"), ["z"]);
}

#[test]
fn rfc3261_16_6_8_the_branch_is_of_its_own_for_each_copy() {
    let mut world = World::new();
    let sent = world.forward(&invite(""), &[target(2), target(3)]);
    let vias: Vec<_> = sent[1..].iter().map(|copy| lines(copy, "Via")).collect();
    assert_ne!(vias[0][0], vias[1][0]);
    assert_eq!(vias[0][1], vias[1][1]);
}

#[test]
fn rfc3261_16_6_11_a_stream_is_told_the_length() {
    let text = request("MESSAGE", "").replace("Content-Length: 0\r\n\r\n", "\r\nhello");
    let tcp = flow(Protocol::Tcp, "192.0.2.99:5060", "192.0.2.2:5060");
    let sent = World::new().forward(&text, &[Target::new("sip:bob@192.0.2.2", tcp)]);
    assert_eq!(lines(&sent[0], "Content-Length"), ["5"]);
    assert!(sent[0].ends_with("\r\n\r\nhello"));
}

#[test]
fn rfc3261_18_2_1_the_previous_hop_is_told_where_it_came_from() {
    let text = invite("").replace(
        "branch=z9hG4bKone",
        "rport;branch=z9hG4bKone, SIP/2.0/UDP x;branch=z9hG4bKzero",
    );
    let sent = World::new().forward_from(udp("198.51.100.1:7777"), &text, &[target(2)]);
    let vias = lines(&sent[1], "Via");
    assert_eq!(
        vias[1],
        "SIP/2.0/UDP 192.0.2.1:5060;rport=7777;branch=z9hG4bKone;received=198.51.100.1, \
         SIP/2.0/UDP x;branch=z9hG4bKzero"
    );
}

/// A field without a value, and empty members of a list, are not the previous hop.
#[test]
fn rfc3261_18_2_1_the_previous_hop_stands_behind_empty_values() {
    for empty in ["Via: \r\nVia: ", "Via: ,\r\nVia: , ", "Via: ,, "] {
        let mut world = World::new();
        let text = invite("").replace("Via: ", empty);
        let sent = world.forward_from(udp("203.0.113.7:5070"), &text, &[target(2)]);
        let vias = lines(&sent[1], "Via");
        assert_eq!(vias.len(), 2, "{}", sent[1]);
        assert_eq!(
            vias[1],
            "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKone;received=203.0.113.7"
        );
    }
}

#[test]
fn rfc3261_16_6_targets_of_one_priority_are_tried_at_once_and_others_later() {
    let mut world = World::new();
    let late = Target {
        q: 300,
        ..target(4)
    };
    let sent = world.forward(&invite(""), &[late, target(2), target(3)]);
    assert_eq!(
        starts(&sent[1..]),
        [
            "INVITE sip:bob@192.0.2.2:5060 SIP/2.0",
            "INVITE sip:bob@192.0.2.3:5060 SIP/2.0"
        ]
    );
    assert_eq!(world.answer(&sent[1], 486, ""), Progress::Quiet);
    assert_eq!(world.answer(&sent[2], 404, ""), Progress::Quiet);
    let next = world.sent();
    let last = next.last().unwrap();
    assert_eq!(start(last), "INVITE sip:bob@192.0.2.4:5060 SIP/2.0");
    assert_eq!(
        world.answer(last, 480, ""),
        Progress::Refused(StatusCode(486))
    );
    assert!(world.is_over());
}

#[test]
fn rfc5393_5_3_3_breadth_is_shared_among_the_copies() {
    let mut world = World::new();
    let text = invite("Max-Breadth: 3\r\n");
    let targets: Vec<_> = (2..7).map(target).collect();
    let sent = world.forward(&text, &targets);
    assert_eq!(sent.len(), 1 + 3);
    for copy in &sent[1..] {
        assert_eq!(lines(copy, "Max-Breadth"), ["1"]);
    }
    for copy in &sent[1..] {
        world.answer(copy, 404, "");
    }
    let next = world.sent();
    let next: Vec<_> = next
        .iter()
        .filter(|text| text.starts_with("INVITE"))
        .collect();
    assert_eq!(next.len(), 2);
    assert_eq!(lines(next[0], "Max-Breadth"), ["1"]);
}

#[test]
fn rfc5393_5_3_1_a_request_without_breadth_gets_sixty() {
    let sent = World::new().forward(&invite(""), &[target(2), target(3)]);
    assert_eq!(lines(&sent[1], "Max-Breadth"), ["30"]);
}

#[test]
fn rfc3261_16_11_the_ack_of_a_2xx_passes_without_a_trace() {
    let mut world = World::new();
    let text = request("ACK", "Route: <sip:2a-0123456789abcdef@192.0.2.99;lr>\r\n");
    let message = Message::parse(text.as_bytes()).unwrap();
    let routing = Routing::of(&message, |_| true);
    for _ in 0..2 {
        let source = udp("192.0.2.1:5060");
        forward_stateless(&mut world.env(), &source, &message, &routing, &target(2));
    }
    let sent = world.sent();
    assert_eq!(sent[0], sent[1]);
    assert_eq!(start(&sent[0]), "ACK sip:bob@192.0.2.2:5060 SIP/2.0");
    assert_eq!(lines(&sent[0], "Route"), [""; 0]);
    assert!(world.transactions.is_empty());
}
