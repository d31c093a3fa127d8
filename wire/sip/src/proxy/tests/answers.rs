//! RFC 3261 §16.7 to §16.10: what becomes of the answers.

use super::*;

fn cancels(texts: &[String]) -> usize {
    let cancel = |text: &&String| text.starts_with("CANCEL ");
    texts.iter().filter(cancel).count()
}

/// The copies that go to these hosts.
fn ringing(world: &mut World, hosts: &[u8]) -> Vec<String> {
    let targets: Vec<_> = hosts.iter().map(|host| target(*host)).collect();
    world.forward(&invite(""), &targets).split_off(1)
}

#[test]
fn rfc3261_16_7_3_our_via_comes_off() {
    let mut world = World::new();
    let copy = ringing(&mut world, &[2]).remove(0);
    world.answer(&copy, 180, "");
    let sent = world.sent();
    assert_eq!(start(&sent[0]), "SIP/2.0 180 Reason of 180");
    let via = "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKone";
    assert_eq!(lines(&sent[0], "Via"), [via]);
    // It may share its line with others.
    let ours = lines(&copy, "Via")[0];
    let joined =
        response(&copy, 183, "").replace(&format!("{ours}\r\nVia: "), &format!("{ours} , "));
    world.hear(&joined);
    assert_eq!(lines(&world.sent()[0], "Via"), [via]);
    let behind_nothing = response(&copy, 183, "").replacen("Via: ", "Via: \r\nVia: , ", 1);
    world.hear(&behind_nothing);
    assert_eq!(lines(&world.sent()[0], "Via"), [via]);
}

#[test]
fn rfc3261_16_7_3_an_answer_without_another_via_is_not_passed_on() {
    let mut world = World::new();
    let copy = ringing(&mut world, &[2]).remove(0);
    let ours = lines(&copy, "Via")[1];
    let stray = response(&copy, 180, "").replace(&format!("Via: {ours}\r\n"), "");
    assert_eq!(world.hear(&stray), Progress::Quiet);
    assert_eq!(world.sent(), [""; 0]);
}

#[test]
fn rfc3261_16_7_5_provisional_answers_pass_at_once_but_100_does_not() {
    let mut world = World::new();
    let copies = ringing(&mut world, &[2, 3]);
    assert_eq!(world.answer(&copies[0], 100, ""), Progress::Quiet);
    assert_eq!(world.sent(), [""; 0]);
    for copy in &copies {
        let progress = world.answer(copy, 180, "");
        assert_eq!(progress, Progress::Provisional(StatusCode(180)));
    }
    assert_eq!(world.sent().len(), 2);
}

#[test]
fn rfc3261_16_7_5_every_2xx_passes_and_the_others_are_cancelled() {
    let mut world = World::new();
    let copies = ringing(&mut world, &[2, 3]);
    for copy in &copies {
        world.answer(copy, 180, "");
    }
    world.sent();
    let progress = world.answer(&copies[0], 200, "");
    assert_eq!(progress, Progress::Accepted(StatusCode(200)));
    let sent = world.sent();
    assert_eq!(start(&sent[0]), "SIP/2.0 200 Reason of 200");
    assert_eq!(cancels(&sent), 1);
    assert!(lines(&sent[1], "Reason")[0].contains("cause=200"));
    assert!(!world.is_over());
    // The other one was quicker than the CANCEL.
    world.answer(&copies[1], 200, "");
    assert_eq!(starts(&world.sent()), ["SIP/2.0 200 Reason of 200"]);
    assert!(world.is_over());
    // Repetitions pass too, context or not (RFC 6026 §7.2).
    world.answer(&copies[0], 200, "");
    assert_eq!(world.sent().len(), 1);
    let again = response(&copies[0], 200, "");
    let again = Message::parse(again.as_bytes()).unwrap();
    let server = world.rules.server.unwrap();
    relay_late(&mut world.env(), server, &again);
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn rfc6026_7_1_a_2xx_is_not_repeated_and_the_invite_is_absorbed() {
    let mut world = World::new();
    let copy = ringing(&mut world, &[2]).remove(0);
    world.answer(&copy, 200, "");
    world.sent();
    assert_eq!(world.forward(&invite(""), &[target(2)]), [""; 0]);
    world.wait(31);
    assert_eq!(world.sent(), [""; 0]);
    world.wait(2);
    assert!(world.transactions.is_empty());
}

#[test]
fn rfc3261_16_7_5_a_refusal_waits_for_the_others_and_a_6xx_cancels_them() {
    let mut world = World::new();
    let copies = ringing(&mut world, &[2, 3, 4]);
    world.answer(&copies[2], 180, "");
    assert_eq!(world.answer(&copies[0], 486, ""), Progress::Quiet);
    world.sent();
    assert_eq!(world.answer(&copies[1], 603, ""), Progress::Quiet);
    assert_eq!(cancels(&world.sent()), 1);
    let progress = world.answer(&copies[2], 487, "");
    assert_eq!(progress, Progress::Refused(StatusCode(603)));
    let sent = world.sent();
    assert_eq!(start(sent.last().unwrap()), "SIP/2.0 603 Reason of 603");
    assert!(world.is_over());
}

#[test]
fn rfc3261_16_7_6_the_best_refusal_is_chosen() {
    let chosen = |statuses: &[u16]| {
        let mut world = World::new();
        let hosts: Vec<u8> = (2..).take(statuses.len()).collect();
        let copies = ringing(&mut world, &hosts);
        let mut last = Progress::Quiet;
        for (copy, status) in copies.iter().zip(statuses) {
            last = world.answer(copy, *status, "");
        }
        match last {
            Progress::Refused(status) => status.0,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(chosen(&[404, 603, 302]), 603);
    assert_eq!(chosen(&[500, 404, 302]), 302);
    assert_eq!(chosen(&[404, 486]), 404);
    assert_eq!(chosen(&[404, 407, 302 + 100]), 407);
    assert_eq!(chosen(&[487, 408, 484]), 484);
    assert_eq!(chosen(&[500, 486]), 486);
    assert_eq!(chosen(&[503, 504]), 504);
}

#[test]
fn rfc3261_16_7_6_the_overload_of_a_callee_is_not_ours() {
    let mut world = World::new();
    let copy = ringing(&mut world, &[2]).remove(0);
    let progress = world.answer(&copy, 503, "Retry-After: 3600\r\n");
    assert_eq!(progress, Progress::Refused(StatusCode(500)));
    let sent = world.sent();
    let answer = sent.last().unwrap();
    assert_eq!(start(answer), "SIP/2.0 500 Server Internal Error");
    assert_eq!(lines(answer, "Retry-After"), [""; 0]);
}

#[test]
fn rfc3261_16_7_7_challenges_are_aggregated() {
    for order in [[0, 1, 2], [1, 2, 0], [2, 1, 0]] {
        let mut world = World::new();
        let copies = ringing(&mut world, &[2, 3, 4]);
        for index in order {
            let (status, more) = [
                (407, "Proxy-Authenticate: Digest realm=\"a\"\r\n"),
                (401, "WWW-Authenticate: Digest realm=\"b\"\r\n"),
                (404, ""),
            ][index];
            world.answer(&copies[index], status, more);
        }
        let sent = world.sent();
        let answer = sent.last().unwrap();
        assert!(start(answer).starts_with("SIP/2.0 40"), "{answer}");
        assert_eq!(lines(answer, "Proxy-Authenticate").len(), 1, "{answer}");
        assert_eq!(lines(answer, "WWW-Authenticate").len(), 1, "{answer}");
    }
}

#[test]
fn rfc3261_16_7_4_a_redirection_is_followed_if_the_user_likes() {
    let contacts = "Contact: <sip:bob@192.0.2.7>;q=0.5, <sip:bob@192.0.2.8>\r\n";
    let mut world = World::new();
    let copy = ringing(&mut world, &[2]).remove(0);
    let progress = world.answer(&copy, 302, contacts);
    assert_eq!(progress, Progress::Refused(StatusCode(302)));

    let mut world = World::new();
    world.rules.follows = true;
    let copy = ringing(&mut world, &[2]).remove(0);
    assert_eq!(world.answer(&copy, 302, contacts), Progress::Quiet);
    let sent = world.sent();
    let next = sent.last().unwrap();
    assert_eq!(start(next), "INVITE sip:bob@192.0.2.8 SIP/2.0");
    // Round in a circle it does not go.
    let back = "Contact: <sip:bob@192.0.2.2:5060>\r\n";
    assert_eq!(world.answer(next, 302, back), Progress::Quiet);
    let sent = world.sent();
    let next = sent.last().unwrap();
    assert_eq!(start(next), "INVITE sip:bob@192.0.2.7 SIP/2.0");
    assert_eq!(
        world.answer(next, 200, ""),
        Progress::Accepted(StatusCode(200))
    );
}

#[test]
fn rfc3261_16_8_timer_c_cancels() {
    let mut world = World::new();
    let copy = ringing(&mut world, &[2]).remove(0);
    world.answer(&copy, 180, "");
    world.wait(170);
    world.sent();
    world.answer(&copy, 180, "");
    world.sent();
    // The second 180 has started it anew.
    world.wait(20);
    assert_eq!(cancels(&world.sent()), 0);
    world.wait(170);
    assert_eq!(cancels(&world.sent()[..1]), 1);
    let progress = world.answer(&copy, 487, "");
    assert_eq!(progress, Progress::Refused(StatusCode(487)));
}

#[test]
fn rfc3261_16_8_silence_is_408() {
    let mut world = World::new();
    ringing(&mut world, &[2]);
    assert_eq!(world.wait(40), [Progress::Refused(StatusCode(408))]);
    let sent = world.sent();
    assert!(sent.iter().any(|text| text.starts_with("SIP/2.0 408")));
    assert!(world.is_over());
    world.wait(60);
    assert!(world.transactions.is_empty());
}

#[test]
fn rfc4320_4_2_nobody_is_told_408_but_of_an_invite() {
    let mut world = World::new();
    world.forward(&request("OPTIONS", ""), &[target(2)]);
    assert_eq!(world.wait(40), [Progress::Refused(StatusCode(408))]);
    let sent = world.sent();
    assert!(!sent.iter().any(|text| text.starts_with("SIP/2.0")));
    assert!(world.is_over() && world.transactions.is_empty());
}

#[test]
fn rfc3261_16_9_a_broken_transport_is_503_of_that_branch() {
    let mut world = World::new();
    ringing(&mut world, &[2, 3]);
    let lost = world.transactions.unreachable(&udp("192.0.2.2:5060"));
    let progress: Vec<_> = lost.iter().map(|(key, _)| world.lose(*key, 503)).collect();
    assert_eq!(progress, [Progress::Quiet]);
    let lost = world.transactions.unreachable(&udp("192.0.2.3:5060"));
    let progress: Vec<_> = lost.iter().map(|(key, _)| world.lose(*key, 503)).collect();
    assert_eq!(progress, [Progress::Refused(StatusCode(500))]);
}

/// A target with other ways to it.
fn with_spares(host: u8, others: &[u8]) -> Target {
    let spare = |other: &u8| {
        let Target {
            uri, flow, routes, ..
        } = target(*other);
        Spare { uri, flow, routes }
    };
    Target {
        spares: others.iter().map(spare).collect(),
        ..target(host)
    }
}

#[test]
fn rfc3263_4_3_a_way_that_fails_is_followed_by_the_next_one() {
    let mut world = World::new();
    let copies = world.forward(&invite(""), &[with_spares(2, &[3, 4, 5]), target(6)]);
    assert_eq!(copies.len(), 3, "100, and one copy to each target");
    // Nobody is there; then the next one is overloaded; then the flow behind an edge is dead.
    let lost = world.transactions.unreachable(&udp("192.0.2.2:5060"));
    assert_eq!(world.lose(lost[0].0, 503), Progress::Quiet);
    let copy = world.sent().remove(0);
    assert_eq!(start(&copy), "INVITE sip:bob@192.0.2.3:5060 SIP/2.0");
    assert_eq!(world.answer(&copy, 503, ""), Progress::Quiet);
    let sent = world.sent();
    assert_eq!(start(&sent[1]), "INVITE sip:bob@192.0.2.4:5060 SIP/2.0");
    assert_eq!(world.answer(&sent[1], 430, ""), Progress::Quiet);
    let sent = world.sent();
    assert_eq!(start(&sent[1]), "INVITE sip:bob@192.0.2.5:5060 SIP/2.0");
    assert_eq!(world.answer(&sent[1], 486, ""), Progress::Quiet);
    let progress = world.answer(&copies[2], 404, "");
    assert_eq!(progress, Progress::Refused(StatusCode(486)));
    assert!(world.is_over());
}

#[test]
fn rfc3263_4_3_a_cancelled_request_takes_no_other_way() {
    for gives_up in [true, false] {
        let mut world = World::new();
        let copy = world
            .forward(&invite(""), &[with_spares(2, &[3])])
            .remove(1);
        world.answer(&copy, 180, "");
        world.with(|context, env| {
            if gives_up {
                context.give_up(env, StatusCode(480), None);
            } else {
                context.cancel(env, None);
            }
        });
        let progress = world.answer(&copy, 503, "");
        assert!(matches!(progress, Progress::Refused(_)));
    }
}

#[test]
fn rfc3261_16_10_cancel_goes_to_all_who_have_not_answered() {
    let mut world = World::new();
    let copies = ringing(&mut world, &[2, 3]);
    world.answer(&copies[0], 180, "");
    world.sent();
    world.with(|context, env| context.cancel(env, Some("SIP;cause=600")));
    let sent = world.sent();
    assert_eq!(starts(&sent), ["CANCEL sip:bob@192.0.2.2:5060 SIP/2.0"]);
    assert_eq!(lines(&sent[0], "Reason"), ["SIP;cause=600"]);
    assert_eq!(lines(&sent[0], "Via"), lines(&copies[0], "Via")[..1]);
    // The other one has not been heard of yet, so its CANCEL waits (RFC 3261 §9.1).
    assert_eq!(world.answer(&copies[1], 100, ""), Progress::Quiet);
    assert_eq!(cancels(&world.sent()), 1);
    assert_eq!(world.answer(&copies[0], 487, ""), Progress::Quiet);
    let progress = world.answer(&copies[1], 487, "");
    assert_eq!(progress, Progress::Refused(StatusCode(487)));
    assert!(world.is_over());
}

#[test]
fn rfc3261_16_10_a_cancelled_request_is_tried_nowhere_else() {
    let mut world = World::new();
    let later = Target { q: 1, ..target(3) };
    let copy = world.forward(&invite(""), &[target(2), later]).remove(1);
    world.answer(&copy, 180, "");
    world.with(|context, env| context.cancel(env, None));
    let progress = world.answer(&copy, 487, "");
    assert_eq!(progress, Progress::Refused(StatusCode(487)));
}

#[test]
fn the_user_may_give_up() {
    let mut world = World::new();
    let copy = ringing(&mut world, &[2]).remove(0);
    world.answer(&copy, 180, "");
    world.with(|context, env| context.give_up(env, StatusCode(480), None));
    let progress = world.answer(&copy, 487, "");
    assert_eq!(progress, Progress::Refused(StatusCode(480)));
}

#[test]
fn a_request_without_targets_is_refused() {
    let mut world = World::new();
    let sent = world.forward(&invite(""), &[]);
    assert!(sent[1].starts_with("SIP/2.0 480"));
    assert!(world.is_over());
}

/// RFC 3261 §17.1.1.3: the ACK of a refusal has its To, and the INVITE's Route, which is not ours.
#[test]
fn a_refusal_with_a_tag_that_would_lead_its_ack_astray_gets_another_one() {
    let given = "tag=7f-0123456789abcdef";
    for (status, kept) in [(486, false), (180, true), (200, true)] {
        let mut world = World::new();
        let copy = ringing(&mut world, &[2]).remove(0);
        let answer = response(&copy, status, "").replace("tag=callee", &format!("{given};x=y"));
        world.hear(&answer);
        let sent = world.sent();
        let to = lines(sent.last().unwrap(), "To")[0].to_owned();
        assert_eq!(to.contains(given), kept, "{to}");
        assert!(
            kept || to.starts_with("<sip:bob@example.com>;x=y;tag=2a-"),
            "{to}"
        );
    }
}
