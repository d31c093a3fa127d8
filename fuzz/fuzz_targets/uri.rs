//! URIs and addresses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip::{NameAddr, Uri};

fuzz_target!(|text: &str| {
    if let Ok(uri) = Uri::parse(text) {
        let _ = (uri.user_name(), uri.socket_address(), uri.protocol());
        let _ = uri.params.iter().count();
        assert!(uri.equivalent(&uri), "{uri:?}");
        let bracketed = format!("\"a > b\" <{text}>;tag=1");
        let address = NameAddr::parse(&bracketed).expect("a URI fits between brackets");
        assert_eq!(address.uri, text);
        assert_eq!(address.tag(), Some("1"));
    }
    if let Ok(address) = NameAddr::parse(text) {
        let _ = (address.display_name(), address.tag());
        let _ = address.parse_uri();
    }
});
