//! Cookies: what ties a reply to its request, and tells a repeated request from a new one.

use crate::reply::Reply;
use crate::value::{Dictionary, Value};
use crate::{Error, bencode, json};

/// How a dictionary is written; the reply has the form of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// `d…e`
    Bencode,
    /// `{…}`
    Json,
}

/// A message: a cookie and a dictionary that has not been read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Chosen by the client; a repeated request has the same one.
    pub cookie: &'a [u8],
    /// The dictionary as it came.
    pub body: &'a [u8],
    /// How it is written.
    pub form: Form,
}

impl<'a> Frame<'a> {
    /// A cookie with more octets is none.
    pub const LONGEST_COOKIE: usize = 256;

    /// Reads a datagram.
    ///
    /// # Errors
    /// It has no cookie, or no dictionary behind it.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Error> {
        let blank = blank(datagram)?.ok_or(Error::Cookie)?;
        let body = datagram[blank + 1..].trim_ascii_end();
        Ok(Self {
            cookie: &datagram[..blank],
            form: Form::of(body).ok_or(Error::Body)?,
            body,
        })
    }

    /// Reads the message at the front of a stream, and tells how many octets it takes. None: it is not
    /// all there. Line ends between messages are skipped.
    ///
    /// # Errors
    /// More octets will not make it one: the stream is lost.
    pub fn first(stream: &'a [u8]) -> Result<Option<(Self, usize)>, Error> {
        let message = stream.trim_ascii_start();
        let Some(blank) = blank(message)? else {
            return Ok(None);
        };
        let body = &message[blank + 1..];
        if body.is_empty() {
            return Ok(None);
        }
        let form = Form::of(body).ok_or(Error::Body)?;
        let length = match form {
            Form::Bencode => bencode::length(body)?,
            Form::Json => json::length(body)?,
        };
        Ok(length.map(|length| {
            let frame = Self {
                cookie: &message[..blank],
                body: &body[..length],
                form,
            };
            let skipped = stream.len() - message.len();
            (frame, skipped + blank + 1 + length)
        }))
    }

    /// Reads the body.
    ///
    /// # Errors
    /// It is malformed, or no dictionary.
    pub fn dictionary(&self) -> Result<Dictionary, Error> {
        let value = match self.form {
            Form::Bencode => bencode::decode(self.body)?,
            Form::Json => json::decode(self.body)?,
        };
        match value {
            Value::Dictionary(dictionary) => Ok(dictionary),
            _ => Err(Error::NoDictionary),
        }
    }

    /// The message that answers this one.
    #[must_use]
    pub fn reply(&self, reply: &Reply) -> Vec<u8> {
        self.form.message(self.cookie, reply)
    }
}

impl Form {
    /// The form of a body, told by its first octet.
    #[must_use]
    pub fn of(body: &[u8]) -> Option<Self> {
        match body.first()? {
            b'd' => Some(Self::Bencode),
            b'{' => Some(Self::Json),
            _ => None,
        }
    }

    /// The message that answers a request with that cookie.
    #[must_use]
    pub fn message(self, cookie: &[u8], reply: &Reply) -> Vec<u8> {
        let mut message = Vec::with_capacity(cookie.len() + 64);
        message.extend_from_slice(cookie);
        message.push(b' ');
        match self {
            Self::Bencode => bencode::encode_dictionary(reply.dictionary(), &mut message),
            Self::Json => json::encode_dictionary(reply.dictionary(), &mut message),
        }
        message
    }
}

/// Where the cookie ends. None: not here yet.
fn blank(octets: &[u8]) -> Result<Option<usize>, Error> {
    let near = &octets[..octets.len().min(Frame::LONGEST_COOKIE + 1)];
    match near.iter().position(|&octet| octet == b' ') {
        Some(0) => Err(Error::Cookie),
        // A line end is between messages, not in them.
        Some(end) if near[..end].iter().any(u8::is_ascii_whitespace) => Err(Error::Cookie),
        None if near.len() > Frame::LONGEST_COOKIE => Err(Error::Cookie),
        place => Ok(place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_cut_into_messages() {
        let stream = b"1_1 d7:command4:pinge\n1_2 {\"command\":\"ping\"}1_3 d";
        let (first, used) = Frame::first(stream).unwrap().unwrap();
        assert_eq!((first.cookie, first.form), (&b"1_1"[..], Form::Bencode));
        let rest = &stream[used..];
        let (second, used) = Frame::first(rest).unwrap().unwrap();
        assert_eq!((second.cookie, second.form), (&b"1_2"[..], Form::Json));
        assert_eq!(second.dictionary(), first.dictionary());
        assert_eq!(&rest[used..], b"1_3 d");
        assert_eq!(Frame::first(&rest[used..]), Ok(None));
        for cut in 0..b"1_1 d7:command4:ping".len() {
            assert_eq!(Frame::first(&stream[..cut]), Ok(None), "{cut}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let line = "\r\r de\r";
        for datagram in ["", "x", " d7:command4:pinge", "1_1 ", "1_1 x", "1_1", line] {
            assert!(Frame::parse(datagram.as_bytes()).is_err(), "{datagram}");
        }
        let long = "c".repeat(Frame::LONGEST_COOKIE + 1);
        assert_eq!(Frame::first(long.as_bytes()), Err(Error::Cookie));
        assert_eq!(Frame::first(b"1_1 x"), Err(Error::Body));
        let list = Frame::parse(b"1_1 de").unwrap();
        assert_eq!(list.dictionary(), Ok(Dictionary::new()));
    }
}
