//! Properties of the codec: what is written is read, and nothing that is read does harm.

use ng::{Dictionary, Form, Frame, Options, Request, Value, bencode, json};
use proptest::prelude::*;

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::Integer),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Text),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            dictionary(inner).prop_map(Value::Dictionary),
        ]
    })
}

fn dictionary(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Dictionary> {
    let key = prop::collection::vec(any::<u8>(), 0..12);
    prop::collection::btree_map(key, inner, 0..6)
}

/// Text that JSON can say.
fn utf8() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::Integer),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let key = ".{0,12}".prop_map(String::into_bytes);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::btree_map(key, inner, 0..6).prop_map(Value::Dictionary),
        ]
    })
}

proptest! {
    #[test]
    fn bencode_reads_what_it_writes(value in value(), more in prop::collection::vec(any::<u8>(), 0..9)) {
        let mut text = Vec::new();
        bencode::encode(&value, &mut text);
        prop_assert_eq!(bencode::length(&text), Ok(Some(text.len())));
        prop_assert_eq!(bencode::decode(&text), Ok(value));
        for cut in 0..text.len() {
            prop_assert_eq!(bencode::length(&text[..cut]), Ok(None));
            prop_assert!(bencode::decode(&text[..cut]).is_err());
        }
        let long = [&text[..], &more].concat();
        prop_assert_eq!(bencode::length(&long), Ok(Some(text.len())));
    }

    #[test]
    fn json_reads_what_it_writes(entries in prop::collection::btree_map(".{0,9}", utf8(), 0..6)) {
        let dictionary: Dictionary = entries.into_iter().map(|(k, v)| (k.into_bytes(), v)).collect();
        let mut text = Vec::new();
        json::encode_dictionary(&dictionary, &mut text);
        prop_assert_eq!(json::length(&text), Ok(Some(text.len())));
        prop_assert_eq!(json::decode(&text), Ok(Value::Dictionary(dictionary)));
    }

    #[test]
    fn whatever_comes_is_read_or_refused(datagram in "[0-9]{1,3} [dli0-9e:a-c{}\\[\\]\"]{0,60}") {
        if let Ok(frame) = Frame::parse(datagram.as_bytes()) {
            let stream = Frame::first(datagram.as_bytes());
            if let Ok(dictionary) = frame.dictionary() {
                let _ = Request::read(&dictionary);
                if frame.form == Form::Bencode {
                    prop_assert_eq!(stream.unwrap().unwrap().0, frame);
                }
            }
        }
    }

    #[test]
    fn any_string_of_flags_is_taken(text in "[a-z=\\[\\] -]{0,80}") {
        let entry = (b"rtpp-flags".to_vec(), Value::from(text));
        let _ = Options::read(&Dictionary::from([entry]));
    }
}
