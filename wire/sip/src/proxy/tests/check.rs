//! RFC 3261 §16.3 and RFC 5393.

use super::*;

fn judge(text: &str) -> Result<(), Refusal> {
    let world = World::new();
    let message = Message::parse(text.as_bytes()).unwrap();
    message.check().map_err(Refusal::Malformed)?;
    check(&message, &["path"], &world.transactions)
}

#[test]
fn rfc3261_16_3_3_a_request_without_hops_left_is_refused() {
    let text = |hops: &str| invite("").replace("Forwards: 70", &format!("Forwards: {hops}"));
    assert_eq!(judge(&text("1")), Ok(()));
    assert_eq!(judge(&text("0")), Err(Refusal::TooManyHops));
    assert_eq!(Refusal::TooManyHops.status(), StatusCode(483));
    let odd = judge(&text("x")).unwrap_err();
    assert_eq!(odd.status(), StatusCode(400));
}

#[test]
fn rfc3261_16_3_1_and_2_faults_and_foreign_schemes_are_refused() {
    let foreign = invite("").replace("INVITE sip:", "INVITE nobody:");
    assert_eq!(judge(&foreign).unwrap_err().status(), StatusCode(416));
    let broken = invite("").replace("CSeq: 1 INVITE", "CSeq: 1 BYE");
    assert_eq!(judge(&broken).unwrap_err().status(), StatusCode(400));
}

#[test]
fn rfc3261_16_3_5_unknown_demands_are_refused_by_name() {
    assert_eq!(judge(&invite("Proxy-Require: PATH\r\n")), Ok(()));
    let text = invite("Proxy-Require: path, foo\r\nProxy-Require: bar\r\n");
    let refusal = judge(&text).unwrap_err();
    assert_eq!(refusal.status(), StatusCode(420));
    let message = Message::parse(text.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let mut writer = Writer::response(&mut bytes, refusal.status());
    refusal.explain(&message, &["path"], &mut writer);
    writer.finish();
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(lines(&text, "Unsupported"), ["foo", "bar"]);
}

#[test]
fn rfc5393_5_3_3_a_request_without_breadth_left_is_refused() {
    let refusal = judge(&invite("max-breadth: 0\r\n")).unwrap_err();
    assert_eq!(refusal.status(), StatusCode(440));
}

#[test]
fn rfc5393_4_2_a_request_that_comes_back_unchanged_is_a_loop() {
    let mut world = World::new();
    let mut back = target(99);
    back.uri = "sip:bob@example.com".into();
    let sent = world.forward(&invite(""), &[back]);
    // Another proxy has sent it back to us.
    let came_back = sent[1].replacen(
        "Via: ",
        "Via: SIP/2.0/UDP other;branch=z9hG4bKx\r\nVia: ",
        1,
    );
    let message = Message::parse(came_back.as_bytes()).unwrap();
    let refusal = check(&message, &[], &world.transactions).unwrap_err();
    assert_eq!(refusal.status(), StatusCode(482));
    // A spiral comes back with another target.
    let spiral = came_back.replace("INVITE sip:bob@", "INVITE sip:carol@");
    let message = Message::parse(spiral.as_bytes()).unwrap();
    assert_eq!(check(&message, &[], &world.transactions), Ok(()));
    // Somebody else's mark says nothing to us.
    let elsewhere = World {
        transactions: Transactions::new(&mut Mint::new(Slot::new(1), [1; 32])),
        ..World::new()
    };
    let message = Message::parse(came_back.as_bytes()).unwrap();
    assert_eq!(check(&message, &[], &elsewhere.transactions), Ok(()));
}
