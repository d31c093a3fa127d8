//! Challenges and credentials from anybody; nonces that come back.
#![no_main]

use std::time::Duration;

use base::Slot;
use libfuzzer_sys::fuzz_target;
use sip::Method;
use sip::digest::{Challenge, Credentials, Freshness, NonceKey};

fuzz_target!(|text: &str| {
    let key = NonceKey::new([1; 32], Duration::from_secs(60));
    if let Ok(credentials) = Credentials::parse(text) {
        let user = credentials.username.unquoted();
        let realm = credentials.realm.unquoted();
        assert!(credentials.username.is(&user) && credentials.realm.is(&realm));
        let _ = credentials.verify(&user, &realm, "secret", Method::Register, b"body");
        let verdict = key.verify(&credentials.nonce.unquoted(), 1, Slot::new(0));
        assert_eq!(verdict, Freshness::Forged);
    }
    if let Ok(challenge) = Challenge::parse(text) {
        let written = challenge.to_string();
        let again = Challenge::parse(&written).expect("what we write parses");
        assert_eq!(again.opaque, challenge.opaque);
        assert_eq!(again.algorithm, challenge.algorithm);
        answer(&challenge);
    }
});

/// What we answer to any challenge is what a server with the password accepts.
fn answer(challenge: &Challenge<'_>) {
    let plain = |text: &str| !text.contains(['\r', '\n', '\0']);
    if !plain(&challenge.realm) || !plain(&challenge.nonce) {
        return;
    }
    let value = challenge
        .respond(
            "us\"er",
            "secret",
            Method::Invite,
            "sip:a@b",
            b"body",
            1,
            "c",
        )
        .to_string();
    let credentials = Credentials::parse(&value).expect("what we write parses");
    assert!(credentials.verify(
        "us\"er",
        &challenge.realm,
        "secret",
        Method::Invite,
        b"body"
    ));
}
