//! The control protocol of media relays: datagrams, streams, bencode, JSON, flags.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ng::{Form, Frame, Reply, Request, bencode};

fuzz_target!(|bytes: &[u8]| {
    let first = Frame::first(bytes);
    let Ok(frame) = Frame::parse(bytes) else {
        return;
    };
    assert!(!frame.reply(&Reply::error("no")).is_empty());
    let Ok(dictionary) = frame.dictionary() else {
        return;
    };
    let _ = Request::read(&dictionary);
    if frame.form == Form::Bencode {
        let (same, _) = first.expect("no stream").expect("no end");
        assert_eq!(same.dictionary(), Ok(dictionary.clone()));
        let mut text = Vec::new();
        bencode::encode_dictionary(&dictionary, &mut text);
        assert_eq!(
            bencode::decode(&text),
            Ok(ng::Value::Dictionary(dictionary))
        );
    }
});
