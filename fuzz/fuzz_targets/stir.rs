//! Signed callers' numbers: Identity, PASSporT, dates, and whom a certificate may sign for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stir::{Call, Identity, TnAuthList};

fuzz_target!(|bytes: &[u8]| {
    if let Some(list) = TnAuthList::parse(bytes) {
        let _ = list.covers("12155550131");
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some(number) = stir::number::canonical(text) {
        // What is canonical stays so.
        assert_eq!(stir::number::canonical(&number).as_deref(), Some(&*number));
    }
    if let Some(seconds) = stir::date::parse(text) {
        assert_eq!(
            stir::date::parse(&stir::date::encode(seconds)),
            Some(seconds)
        );
    }
    let call = Call {
        orig: "12155550121".to_owned(),
        dest: "12155550131".to_owned(),
    };
    if let Ok(identity) = Identity::parse(text) {
        let _ = identity.is_known();
        for now in [0, 1_443_208_345, u64::MAX] {
            let _ = identity.examine(&call, now, Some(now));
        }
    }
});
