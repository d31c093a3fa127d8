//! What a proxy reads of a request before it forwards it, and what names another dialog.
#![no_main]

use base::{Mint, Slot};
use libfuzzer_sys::fuzz_target;
use sip::locate::Server;
use sip::proxy::{Routing, check};
use sip::{HeaderName, Message, Replaces, Transactions, Uri};

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = Message::parse(bytes) else {
        return;
    };
    for value in message.values(HeaderName::Replaces) {
        if let Ok(replaces) = Replaces::parse(value) {
            let text = replaces.to_string();
            assert_eq!(Replaces::parse(&text).as_ref(), Ok(&replaces), "{text}");
        }
    }
    if message.method().is_none() || message.check().is_err() {
        return;
    }
    for ours in [false, true] {
        let _ = Routing::of(&message, |_| ours).next_uri();
    }
    if let Ok(uri) = Uri::parse(message.request_uri()) {
        let _ = Server::of_uri(&uri).map(|server| server.numeric());
    }
    let transactions = Transactions::<(), ()>::new(&mut Mint::new(Slot::new(1), [1; 32]));
    let _ = check(&message, &["timer"], &transactions);
});
