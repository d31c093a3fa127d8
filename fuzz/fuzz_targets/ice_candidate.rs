//! Values of `a=candidate`, `a=ice-ufrag` and `a=ice-pwd` (RFC 8839 §5.1, §5.4).
#![no_main]

use ice::credentials::tag_of;
use ice::{Candidate, Credentials};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(candidate) = Candidate::parse(text) {
        let written = candidate.to_string();
        assert_eq!(Candidate::parse(&written), Ok(candidate), "{written}");
    }
    let (ufrag, password) = text.split_once('\n').unwrap_or((text, ""));
    let _ = (tag_of(ufrag), Credentials::parse(ufrag, password));
});
