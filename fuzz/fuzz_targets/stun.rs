//! STUN messages, and keep-alives that arrive on SIP ports (RFC 5626 §4.4.2).
#![no_main]

use ice::stun::{Key, Message, answer_binding};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = Message::parse(bytes) {
        for (kind, _) in message.attributes() {
            let _ = (
                message.address(kind),
                message.text(kind),
                message.number(kind),
            );
        }
        let _ = (message.error_code(), message.fingerprint());
        assert!(!message.is_signed_by(&Key::short_term("nobody knows it")));
    }
    for source in ["192.0.2.1:5060", "[2001:db8::1]:5060"] {
        let source = source.parse().expect("an address");
        let mut response = Vec::new();
        if answer_binding(bytes, source, &mut response) {
            assert!(response.len() <= bytes.len() + 24, "an amplifier");
            let mut again = Vec::new();
            answer_binding(&response, source, &mut again);
            assert!(
                again.is_empty(),
                "an answer is answered: two servers would never stop"
            );
        } else {
            assert!(response.is_empty());
        }
    }
});
