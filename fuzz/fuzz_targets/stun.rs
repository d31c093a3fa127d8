//! Keep-alives that arrive on SIP ports (RFC 5626 §4.4.2).
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip::stun::answer_binding;

fuzz_target!(|bytes: &[u8]| {
    for source in ["192.0.2.1:5060", "[2001:db8::1]:5060"] {
        let source = source.parse().expect("an address");
        let mut response = Vec::new();
        if answer_binding(bytes, source, &mut response) {
            assert!(response.len() <= bytes.len() + 24, "an amplifier");
            let mut again = Vec::new();
            answer_binding(&response, source, &mut again);
            assert!(again.is_empty(), "an answer is answered: two servers would never stop");
        } else {
            assert!(response.is_empty());
        }
    }
});
