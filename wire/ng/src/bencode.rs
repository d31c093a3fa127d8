//! Bencode: `i42e`, `4:text`, `l…e`, `d…e`.
//!
//! We write what the format's definition demands (sorted keys, one form for each number) and read what
//! clients send: keys in any order; of several with one name the last counts.

use crate::Error;
use crate::value::{Dictionary, Value};

/// How deep lists and dictionaries may be in each other; deeper ones are refused.
pub const DEEPEST: usize = 16;

/// Reads one value, with nothing behind it.
///
/// # Errors
/// It is malformed or too deep.
pub fn decode(octets: &[u8]) -> Result<Value, Error> {
    let mut reader = Reader { rest: octets };
    let value = reader.value(DEEPEST)?;
    match reader.rest {
        [] => Ok(value),
        _ => Err(Error::Body),
    }
}

/// How many octets the value at the front has. None: it is not all there.
///
/// # Errors
/// More octets will not make it one.
pub fn length(octets: &[u8]) -> Result<Option<usize>, Error> {
    let mut reader = Reader { rest: octets };
    let mut open = 0;
    loop {
        let Some(&first) = reader.rest.first() else {
            return Ok(None);
        };
        match first {
            b'l' | b'd' if open == DEEPEST => return Err(Error::Depth),
            b'l' | b'd' => {
                reader.rest = &reader.rest[1..];
                open += 1;
            }
            b'e' if open == 0 => return Err(Error::Body),
            b'e' => {
                reader.rest = &reader.rest[1..];
                open -= 1;
            }
            b'i' => {
                let Some(end) = reader.find(b'e')? else {
                    return Ok(None);
                };
                reader.rest = &reader.rest[end + 1..];
            }
            b'0'..=b'9' => {
                let Some(colon) = reader.find(b':')? else {
                    return Ok(None);
                };
                let long = number(&reader.rest[..colon])? as usize;
                match reader.rest.get(colon + 1 + long..) {
                    Some(rest) => reader.rest = rest,
                    None => return Ok(None),
                }
            }
            _ => return Err(Error::Body),
        }
        if open == 0 {
            return Ok(Some(octets.len() - reader.rest.len()));
        }
    }
}

/// Appends a value.
pub fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Integer(number) => out.extend_from_slice(format!("i{number}e").as_bytes()),
        Value::Text(text) => encode_text(text, out),
        Value::List(list) => {
            out.push(b'l');
            list.iter().for_each(|value| encode(value, out));
            out.push(b'e');
        }
        Value::Dictionary(dictionary) => encode_dictionary(dictionary, out),
    }
}

/// Appends a dictionary.
pub fn encode_dictionary(dictionary: &Dictionary, out: &mut Vec<u8>) {
    out.push(b'd');
    for (key, value) in dictionary {
        encode_text(key, out);
        encode(value, out);
    }
    out.push(b'e');
}

fn encode_text(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{}:", text.len()).as_bytes());
    out.extend_from_slice(text);
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn value(&mut self, deep: usize) -> Result<Value, Error> {
        match self.rest.first() {
            Some(b'i') => self.integer().map(Value::Integer),
            Some(b'0'..=b'9') => self.text().map(|text| Value::Text(text.to_vec())),
            Some(b'l' | b'd') if deep == 0 => Err(Error::Depth),
            Some(b'l') => self.list(deep - 1),
            Some(b'd') => self.dictionary(deep - 1),
            _ => Err(Error::Body),
        }
    }

    fn list(&mut self, deep: usize) -> Result<Value, Error> {
        self.rest = &self.rest[1..];
        let mut list = Vec::new();
        while !self.ends() {
            list.push(self.value(deep)?);
        }
        Ok(Value::List(list))
    }

    fn dictionary(&mut self, deep: usize) -> Result<Value, Error> {
        self.rest = &self.rest[1..];
        let mut dictionary = Dictionary::new();
        while !self.ends() {
            let key = self.text()?.to_vec();
            dictionary.insert(key, self.value(deep)?);
        }
        Ok(Value::Dictionary(dictionary))
    }

    /// Takes the end of a list, if it is there.
    fn ends(&mut self) -> bool {
        match self.rest {
            [b'e', rest @ ..] => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn integer(&mut self) -> Result<i64, Error> {
        let end = self.find(b'e')?.ok_or(Error::Body)?;
        let text = std::str::from_utf8(&self.rest[1..end]).map_err(|_| Error::Body)?;
        self.rest = &self.rest[end + 1..];
        text.parse().map_err(|_| Error::Body)
    }

    fn text(&mut self) -> Result<&'a [u8], Error> {
        let colon = self.find(b':')?.ok_or(Error::Body)?;
        let long = number(&self.rest[..colon])? as usize;
        let rest = &self.rest[colon + 1..];
        let (text, rest) = rest.split_at_checked(long).ok_or(Error::Body)?;
        self.rest = rest;
        Ok(text)
    }

    /// Where the number at the front ends. None: beyond the octets that are there.
    fn find(&self, end: u8) -> Result<Option<usize>, Error> {
        let near = &self.rest[..self.rest.len().min(LONGEST_NUMBER)];
        match near.iter().position(|&octet| octet == end) {
            None if near.len() == LONGEST_NUMBER => Err(Error::Body),
            place => Ok(place),
        }
    }
}

/// A length: at most nine digits.
fn number(digits: &[u8]) -> Result<u32, Error> {
    if digits.is_empty() || digits.len() > 9 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Error::Body);
    }
    let add = |sum: u32, digit: &u8| sum * 10 + u32::from(digit - b'0');
    Ok(digits.iter().fold(0, add))
}

/// `i`, a sign, 19 digits and `e`, and some zeros in front.
const LONGEST_NUMBER: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_they_are_written() {
        let text = b"d4:dictd0:le1:ai-7ee4:listl3:a\0bi0eee";
        let value = decode(text).unwrap();
        let mut again = Vec::new();
        encode(&value, &mut again);
        assert_eq!(again, text);
        let Value::Dictionary(dictionary) = &value else {
            panic!("{value:?}");
        };
        assert_eq!(
            dictionary[&b"list"[..]],
            vec![Value::Text(b"a\0b".to_vec()), 0_i64.into()].into()
        );
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for text in [
            "",
            "i",
            "ie",
            "i1",
            "i--1e",
            "i1x",
            "1:",
            "-1:a",
            "99999999999:a",
            "l",
            "d",
            "di1e1:ae",
            "d1:ae",
            "x",
            "e",
            "lee",
            "i99999999999999999999e",
            "1:ab",
        ] {
            assert!(decode(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |deep: usize| ["l".repeat(deep), "e".repeat(deep)].concat();
        assert!(decode(nested(DEEPEST).as_bytes()).is_ok());
        assert_eq!(decode(nested(DEEPEST + 1).as_bytes()), Err(Error::Depth));
        assert_eq!(length(nested(DEEPEST + 1).as_bytes()), Err(Error::Depth));
        assert_eq!(length(nested(100_000).as_bytes()), Err(Error::Depth));
    }

    #[test]
    fn the_end_of_a_value_is_found_without_reading_it() {
        let text = b"d7:command4:ping4:listl3:abci12eee";
        for cut in 0..text.len() {
            assert_eq!(length(&text[..cut]), Ok(None), "{cut}");
        }
        let more = [&text[..], b"4:more"].concat();
        assert_eq!(length(&more), Ok(Some(text.len())));
    }
}
