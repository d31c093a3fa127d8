//! The messages of RFC 5769.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use ice::stun::attribute::{
    ICE_CONTROLLED, NONCE, PRIORITY, REALM, SOFTWARE, USERNAME, XOR_MAPPED_ADDRESS,
};
use ice::stun::{BINDING, Class, Key, Message, Writer};

const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks_exact(2).map(octet).collect()
}

#[test]
fn rfc5769_2_1_a_request() {
    let octets = octets(
        "00010058 2112a442 b7e7a701bc34d686fa87dfae 80220010 5354554e207465737420636c69656e74
         00240004 6e0001ff 80290008 932ff9b151263b36 00060009 6576746a3a68367659202020
         00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2 80280004 e57a3bcf",
    );
    let message = Message::parse(&octets).unwrap();
    assert_eq!(
        (message.class(), message.method()),
        (Class::Request, BINDING)
    );
    assert!(message.is_signed_by(&Key::short_term(PASSWORD)));
    assert!(!message.is_signed_by(&Key::short_term("VOkJxbRl1RmTxUk/WvJxBu")));
    assert_eq!(message.fingerprint(), Some(true));
    assert_eq!(message.text(SOFTWARE), Some("STUN test client"));
    assert_eq!(message.text(USERNAME), Some("evtj:h6vY"));
    assert_eq!(message.number(PRIORITY), Some(0x6e00_01ff));
    assert_eq!(
        message.number64(ICE_CONTROLLED),
        Some(0x932f_f9b1_5126_3b36)
    );
}

fn response(hex: &str, address: &str) {
    let octets = octets(hex);
    let message = Message::parse(&octets).unwrap();
    assert_eq!(
        (message.class(), message.method()),
        (Class::Success, BINDING)
    );
    assert_eq!(
        message.address(XOR_MAPPED_ADDRESS),
        Some(address.parse().unwrap())
    );
    assert_eq!(message.text(SOFTWARE), Some("test vector"));
    assert!(message.is_signed_by(&Key::short_term(PASSWORD)));
    assert_eq!(message.fingerprint(), Some(true));
    for place in 0..octets.len() {
        let mut changed = octets.clone();
        changed[place] ^= 1;
        let noticed =
            Message::parse(&changed).map_or(true, |changed| changed.fingerprint() != Some(true));
        assert!(noticed, "{place}");
    }
}

#[test]
fn rfc5769_2_2_a_response_over_ipv4() {
    response(
        "0101003c 2112a442 b7e7a701bc34d686fa87dfae 8022000b 7465737420766563746f7220
         00200008 0001a147e112a643 00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7
         80280004 c07d4c96",
        "192.0.2.1:32853",
    );
}

#[test]
fn rfc5769_2_3_a_response_over_ipv6() {
    response(
        "01010048 2112a442 b7e7a701bc34d686fa87dfae 8022000b 7465737420766563746f7220
         00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9
         00080014 a382954e4be67bf11784c97c8292c275bfe3ed41 80280004 c8fb0b4c",
        "[2001:db8:1234:5678:11:2233:4455:6677]:32853",
    );
}

#[test]
fn rfc5769_2_4_long_term_credentials_octet_by_octet() {
    let expected = octets(
        "00010060 2112a442 78ad3433c6ad72c029da412e
         00060012 e3839ee38388e383aae38383e382afe382b90000
         0015001c 662f2f3439396b39353464364f4c33346f4c39465354767936347341
         0014000b 6578616d706c652e6f726700
         00080014 f67024656dd64a3e02b8e0712e85c9a28ca89666",
    );
    let user = "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}";
    let key = Key::long_term(user, "example.org", "TheMatrIX");
    let message = Message::parse(&expected).unwrap();
    assert!(message.is_signed_by(&key));
    let mut written = Vec::new();
    Writer::new(&mut written, Class::Request, BINDING, message.transaction())
        .put(USERNAME, user.as_bytes())
        .put(NONCE, b"f//499k954d6OL34oL9FSTvy64sA")
        .put(REALM, b"example.org")
        .sign(&key);
    assert_eq!(written, expected);
}
