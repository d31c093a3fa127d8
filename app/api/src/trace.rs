//! What a trace is made of: lines of JSON, one for each message.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// Which messages are wanted: those that fit all that is named; all, if nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceFilter {
    /// All legs of this call.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub call: Option<String>,
    /// What names this user or number, or goes to or comes from a phone of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub phone: Option<String>,
    /// What goes to or comes from this address.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peer: Option<IpAddr>,
    /// Seconds of the past that are wanted too, as far as the server has kept them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last: Option<u64>,
    /// The past alone is wanted, and not what comes from now on.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub past: bool,
}

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum TraceLine {
    /// Messages are watched from here on.
    Began,
    /// A message came or went.
    Message(TraceMessage),
    /// Here some are missing: more came than could be kept for this reader.
    Missed {
        /// How many; those count too that the reader did not ask for.
        count: u64,
    },
}

/// A SIP message that came or went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceMessage {
    /// Microseconds since 1970-01-01 00:00 UTC.
    pub at: u64,
    /// Whether it came or went.
    pub direction: Direction,
    /// The transport protocol: `udp`.
    pub transport: String,
    /// The server's address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The call that it belongs to, as the list of calls names it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub call: Option<String>,
    /// The message, in clear whatever the transport does.
    #[serde(flatten)]
    pub content: Content,
}

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the peer to the server.
    Received,
    /// From the server to the peer.
    Sent,
}

/// The octets of a message, readable if they can be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// It is UTF-8.
    Text(String),
    /// It is not: two hexadecimal digits for each octet.
    Hex(String),
}

impl Content {
    /// The form for these octets.
    #[must_use]
    pub fn new(octets: &[u8]) -> Self {
        match std::str::from_utf8(octets) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Hex(octets.iter().map(|octet| format!("{octet:02x}")).collect()),
        }
    }

    /// The octets; what is no hexadecimal digit counts as nought.
    #[must_use]
    pub fn octets(&self) -> Vec<u8> {
        let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0) as u8;
        match self {
            Self::Text(text) => text.as_bytes().to_vec(),
            Self::Hex(hex) => {
                let pairs = hex.as_bytes().chunks_exact(2);
                pairs.map(|p| digit(p[0]) << 4 | digit(p[1])).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_it_is_and_octets_come_back() {
        for octets in [&b"BYE sip:\xc3\xa4 SIP/2.0\r\n\r\n"[..], b"\xff\x00\x7f"] {
            let line = TraceLine::Message(TraceMessage {
                at: 1_795_236_356_000_001,
                direction: Direction::Sent,
                transport: "wss".into(),
                local: "192.0.2.1:443".parse().unwrap(),
                remote: "[2001:db8::7]:40000".parse().unwrap(),
                call: Some("07-1".into()),
                content: Content::new(octets),
            });
            let json = serde_json::to_string(&line).unwrap();
            assert!(json.contains("\"kind\":\"message\""), "{json}");
            let read: TraceLine = serde_json::from_str(&json).unwrap();
            assert_eq!(read, line);
            let TraceLine::Message(message) = read else {
                panic!("another kind: {json}")
            };
            assert_eq!(message.content.octets(), octets);
        }
        let missed = serde_json::to_string(&TraceLine::Missed { count: 3 }).unwrap();
        assert_eq!(missed, r#"{"kind":"missed","count":3}"#);
    }
}
