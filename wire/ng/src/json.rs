//! JSON for those who find it easier.
//!
//! Numbers are whole, `true` and `false` are `yes` and `no`, null is no value. Text of ours that is no
//! UTF-8 loses what JSON cannot say.

use serde_json::{Map, Number, Value as Json};

use crate::Error;
use crate::bencode::DEEPEST;
use crate::value::{Dictionary, Value};

/// Reads one value, with nothing but white space behind it.
///
/// # Errors
/// It is malformed or too deep.
pub fn decode(octets: &[u8]) -> Result<Value, Error> {
    let json = serde_json::from_slice(octets).map_err(|_| Error::Body)?;
    value(json, DEEPEST)?.ok_or(Error::Body)
}

/// How many octets the object at the front has. None: it is not all there.
///
/// # Errors
/// More octets will not make it one.
pub fn length(octets: &[u8]) -> Result<Option<usize>, Error> {
    let (mut open, mut quoted, mut escaped) = (0_usize, false, false);
    for (place, octet) in octets.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => open += 1,
            b'}' | b']' => open = open.checked_sub(1).ok_or(Error::Body)?,
            _ if open == 0 => return Err(Error::Body),
            _ => {}
        }
        if open > DEEPEST {
            return Err(Error::Depth);
        }
        if open == 0 {
            return Ok(Some(place + 1));
        }
    }
    Ok(None)
}

/// Appends a dictionary.
pub fn encode_dictionary(dictionary: &Dictionary, out: &mut Vec<u8>) {
    let json = Json::Object(object(dictionary));
    out.extend_from_slice(json.to_string().as_bytes());
}

fn object(dictionary: &Dictionary) -> Map<String, Json> {
    let entry = |(key, value): (&Vec<u8>, &Value)| (lossy(key), json(value));
    dictionary.iter().map(entry).collect()
}

fn json(value: &Value) -> Json {
    match value {
        Value::Integer(number) => Json::Number(Number::from(*number)),
        Value::Text(text) => Json::String(lossy(text)),
        Value::List(list) => Json::Array(list.iter().map(json).collect()),
        Value::Dictionary(dictionary) => Json::Object(object(dictionary)),
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

fn value(json: Json, deep: usize) -> Result<Option<Value>, Error> {
    let inner = deep.checked_sub(1).ok_or(Error::Depth);
    Ok(Some(match json {
        Json::Null => return Ok(None),
        Json::Bool(yes) => if yes { "yes" } else { "no" }.into(),
        Json::Number(number) => match number.as_i64() {
            Some(number) => number.into(),
            None => number.to_string().into(),
        },
        Json::String(text) => text.into(),
        Json::Array(list) => {
            let deep = inner?;
            let list = list
                .into_iter()
                .filter_map(|json| value(json, deep).transpose());
            Value::List(list.collect::<Result<_, _>>()?)
        }
        Json::Object(map) => {
            let deep = inner?;
            let mut dictionary = Dictionary::new();
            for (key, json) in map {
                if let Some(value) = value(json, deep)? {
                    dictionary.insert(key.into_bytes(), value);
                }
            }
            Value::Dictionary(dictionary)
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_says_the_same_as_bencode() {
        let text =
            br#"{"command":"offer","flags":["a","b"],"TOS":184,"record":true,"x":null,"f":1.5}"#;
        let Value::Dictionary(read) = decode(text).unwrap() else {
            panic!();
        };
        let mut bencode = Vec::new();
        crate::bencode::encode_dictionary(&read, &mut bencode);
        assert_eq!(
            String::from_utf8(bencode).unwrap(),
            "d3:TOSi184e7:command5:offer1:f3:1.55:flagsl1:a1:be6:record3:yese"
        );
        let mut json = Vec::new();
        encode_dictionary(&read, &mut json);
        assert_eq!(decode(&json).unwrap(), Value::Dictionary(read));
    }

    #[test]
    fn the_end_of_an_object_is_found() {
        let text = br#"{"a":"}\"{","b":[{}]}"#;
        for cut in 1..text.len() {
            assert_eq!(length(&text[..cut]), Ok(None), "{cut}");
        }
        let more = [&text[..], b" 2_2 {"].concat();
        assert_eq!(length(&more), Ok(Some(text.len())));
        assert!(length(b"]").is_err() && length(b"x").is_err());
        assert_eq!(length("[".repeat(99).as_bytes()), Err(Error::Depth));
        assert!(decode("[".repeat(99_999).as_bytes()).is_err());
    }
}
