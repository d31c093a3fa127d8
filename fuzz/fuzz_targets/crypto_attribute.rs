//! Keys in SDP.
#![no_main]

use libfuzzer_sys::fuzz_target;
use srtp::sdes::Crypto;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(crypto) = Crypto::parse(text) {
        assert!(crypto.key.fits(crypto.profile));
        assert_eq!(Crypto::parse(&crypto.encode()), Ok(crypto));
    }
});
