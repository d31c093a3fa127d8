//! rtpengine's control protocol: bencoded dictionaries over UDP.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// A bencoded value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// `i42e`
    Number(i64),
    /// `4:text`
    Text(Vec<u8>),
    /// `l…e`
    List(Vec<Value>),
    /// `d…e`
    Dictionary(BTreeMap<Vec<u8>, Value>),
}

impl Value {
    /// A text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }

    /// A dictionary of texts and others.
    #[must_use]
    pub fn dictionary<const N: usize>(entries: [(&str, Self); N]) -> Self {
        let entries = entries.into_iter();
        Self::Dictionary(
            entries
                .map(|(key, value)| (key.as_bytes().to_vec(), value))
                .collect(),
        )
    }

    /// The text under `key` of a dictionary.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<&str> {
        let Self::Dictionary(entries) = self else {
            return None;
        };
        match entries.get(key.as_bytes())? {
            Self::Text(text) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    /// Appends the encoded value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Number(number) => out.extend_from_slice(format!("i{number}e").as_bytes()),
            Self::Text(text) => encode_text(text, out),
            Self::List(values) => {
                out.push(b'l');
                values.iter().for_each(|value| value.encode(out));
                out.push(b'e');
            }
            Self::Dictionary(entries) => {
                out.push(b'd');
                for (key, value) in entries {
                    encode_text(key, out);
                    value.encode(out);
                }
                out.push(b'e');
            }
        }
    }

    /// Decodes one value that fills `bytes`.
    ///
    /// # Errors
    /// If it is malformed or something follows it.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let (value, rest) = Self::decode_one(bytes, 0).context("malformed bencoding")?;
        ensure!(rest.is_empty(), "something behind the bencoded value");
        Ok(value)
    }

    fn decode_one(bytes: &[u8], depth: usize) -> Option<(Self, &[u8])> {
        const DEEPEST: usize = 32;
        let (&kind, mut rest) = bytes.split_first()?;
        match kind {
            _ if depth > DEEPEST => None,
            b'i' => {
                let (digits, rest) = split(rest, b'e')?;
                Some((Self::Number(digits.parse().ok()?), rest))
            }
            b'l' => {
                let mut values = Vec::new();
                while *rest.first()? != b'e' {
                    let (value, after) = Self::decode_one(rest, depth + 1)?;
                    values.push(value);
                    rest = after;
                }
                Some((Self::List(values), &rest[1..]))
            }
            b'd' => {
                let mut entries = BTreeMap::new();
                while *rest.first()? != b'e' {
                    let (key, after) = decode_text(rest)?;
                    let (value, after) = Self::decode_one(after, depth + 1)?;
                    entries.insert(key.to_vec(), value);
                    rest = after;
                }
                Some((Self::Dictionary(entries), &rest[1..]))
            }
            _ => {
                let (text, rest) = decode_text(bytes)?;
                Some((Self::Text(text.to_vec()), rest))
            }
        }
    }
}

fn encode_text(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{}:", text.len()).as_bytes());
    out.extend_from_slice(text);
}

fn decode_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = split(bytes, b':')?;
    rest.split_at_checked(length.parse().ok()?)
}

/// What stands before the first `end`, as text, and what stands behind it.
fn split(bytes: &[u8], end: u8) -> Option<(&str, &[u8])> {
    let at = bytes.iter().position(|byte| *byte == end)?;
    Some((std::str::from_utf8(&bytes[..at]).ok()?, &bytes[at + 1..]))
}

/// A connection to the control port.
#[derive(Debug)]
pub struct Client {
    socket: UdpSocket,
    count: u32,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// If no socket can be had.
    pub fn connect(server: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind((server.ip(), 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok(Self { socket, count: 0 })
    }

    /// Sends a command and returns the answer, which says that all is well.
    ///
    /// # Errors
    /// If no answer comes, or the server refuses.
    pub fn command(&mut self, command: &Value) -> Result<Value> {
        self.count += 1;
        // rtpengine takes a cookie that it knows for a repeated question, whoever asks.
        let port = self.socket.local_addr()?.port();
        let cookie = format!("bench{port}-{} ", self.count).into_bytes();
        let mut message = cookie.clone();
        command.encode(&mut message);
        let mut buffer = [0; 1 << 16];
        for _ in 0..3 {
            self.socket.send(&message)?;
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    // An answer to an older question is none to this one.
                    let Some(answer) = buffer[..length].strip_prefix(&cookie[..]) else {
                        continue;
                    };
                    let answer = Value::decode(answer)?;
                    let reason = answer.find("error-reason").unwrap_or("no reason");
                    let is_ok = answer.find("result") == Some("ok");
                    ensure!(is_ok, "rtpengine refuses: {reason}");
                    return Ok(answer);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        bail!("rtpengine does not answer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_coding() {
        let value = Value::dictionary([
            ("command", Value::text("offer")),
            ("replace", Value::List(vec![Value::text("origin")])),
            ("delay", Value::Number(-3)),
        ]);
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        assert_eq!(bytes, b"d7:command5:offer5:delayi-3e7:replacel6:originee");
        assert_eq!(Value::decode(&bytes).unwrap(), value);
        assert_eq!(value.find("command"), Some("offer"));
    }

    #[test]
    fn malformed_values_are_refused() {
        for bytes in ["", "i3", "5:abc", "d1:a", "l", "x", "-1:", "i3ei4e"] {
            assert!(Value::decode(bytes.as_bytes()).is_err(), "{bytes}");
        }
        assert!(Value::decode(&[b'l'; 10_000]).is_err());
    }
}
