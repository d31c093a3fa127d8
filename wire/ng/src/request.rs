//! What is asked.

use std::net::IpAddr;

use crate::Error;
use crate::flags::spelled;
use crate::options::Options;
use crate::value::{Dictionary, Value};

/// What a client wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Command {
    /// Are you there?
    Ping,
    /// A description of a party that offers.
    Offer,
    /// A description of a party that answers.
    Answer,
    /// A call is over.
    Delete,
    /// What is known about a call.
    Query,
    /// Which calls there are.
    List,
    /// Counters of the relay.
    Statistics,
    /// A call is to be recorded.
    StartRecording,
    /// Its recording is over.
    StopRecording,
    /// Its recording stands still.
    PauseRecording,
    /// Digits do not pass.
    BlockDtmf,
    /// Digits pass again.
    UnblockDtmf,
    /// Media do not pass.
    BlockMedia,
    /// Media pass again.
    UnblockMedia,
    /// Silence passes in the place of media.
    SilenceMedia,
    /// Media pass again.
    UnsilenceMedia,
    /// A copy of the sound goes elsewhere.
    StartForwarding,
    /// No longer.
    StopForwarding,
    /// A party hears a file.
    PlayMedia,
    /// No longer.
    StopMedia,
    /// A party sends a digit.
    PlayDtmf,
}

impl Command {
    const NAMES: [(&'static str, Self); 21] = [
        ("ping", Self::Ping),
        ("offer", Self::Offer),
        ("answer", Self::Answer),
        ("delete", Self::Delete),
        ("query", Self::Query),
        ("list", Self::List),
        ("statistics", Self::Statistics),
        ("start recording", Self::StartRecording),
        ("stop recording", Self::StopRecording),
        ("pause recording", Self::PauseRecording),
        ("block DTMF", Self::BlockDtmf),
        ("unblock DTMF", Self::UnblockDtmf),
        ("block media", Self::BlockMedia),
        ("unblock media", Self::UnblockMedia),
        ("silence media", Self::SilenceMedia),
        ("unsilence media", Self::UnsilenceMedia),
        ("start forwarding", Self::StartForwarding),
        ("stop forwarding", Self::StopForwarding),
        ("play media", Self::PlayMedia),
        ("stop media", Self::StopMedia),
        ("play DTMF", Self::PlayDtmf),
    ];

    /// The command of that name; hyphens may stand for blanks.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let same = |(known, _): &&(&str, Self)| spelled(known, name);
        Self::NAMES.iter().find(same).map(|(_, command)| *command)
    }

    /// The command's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let same = |(_, command): &&(&str, Self)| *command == self;
        Self::NAMES.iter().find(same).map_or("", |(name, _)| name)
    }
}

/// A request. What a command has no use for is there all the same if it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is wanted.
    pub command: Command,
    /// The SIP Call-ID.
    pub call_id: Option<Box<str>>,
    /// The tag of the party whose description this is, or of whom else the request is about.
    pub from_tag: Option<Box<str>>,
    /// The tag of the other party.
    pub to_tag: Option<Box<str>>,
    /// Tells forks of one call from each other.
    pub via_branch: Option<Box<str>>,
    /// A description.
    pub sdp: Option<Box<str>>,
    /// Picks a party by the address in its description.
    pub address: Option<IpAddr>,
    /// Most entries of a list.
    pub limit: Option<usize>,
    /// A file to play.
    pub file: Option<Box<str>>,
    /// A file's content to play.
    pub blob: Option<Box<[u8]>>,
    /// How often it is played.
    pub repeat_times: Option<u32>,
    /// Where to record to.
    pub recording_file: Option<Box<str>>,
    /// A digit: 0 to 9, `*`, `#`, A to D.
    pub digit: Option<char>,
    /// How long the digit or a playback lasts, in milliseconds.
    pub duration: Option<u32>,
    /// How descriptions are to be changed, and how requests are meant.
    pub options: Options,
}

impl Request {
    /// Reads a dictionary. Keys that we do not know are passed over.
    ///
    /// # Errors
    /// There is no command, or an unknown one.
    pub fn read(dictionary: &Dictionary) -> Result<Self, Error> {
        let command = dictionary.get(&b"command"[..]).ok_or(Error::NoCommand)?;
        let command = command.text().ok_or(Error::NoCommand)?;
        let command = Command::parse(command).ok_or(Error::Command)?;
        let get = |name: &str| {
            let known = |(key, _): &(&Vec<u8>, &Value)| {
                std::str::from_utf8(key).is_ok_and(|key| spelled(name, key))
            };
            let exact = dictionary.get(name.as_bytes());
            exact.or_else(|| dictionary.iter().find(known).map(|(_, value)| value))
        };
        let text = |name| get(name).and_then(text);
        let number = |name| get(name).and_then(Value::number);
        let count = |name| number(name).and_then(|number| u32::try_from(number).ok());
        Ok(Self {
            command,
            call_id: text("call-id"),
            from_tag: text("from-tag"),
            to_tag: text("to-tag"),
            via_branch: text("via-branch"),
            sdp: text("sdp"),
            address: get("address")
                .and_then(Value::text)
                .and_then(|a| a.parse().ok()),
            limit: number("limit").and_then(|limit| usize::try_from(limit).ok()),
            file: text("file"),
            blob: match get("blob") {
                Some(Value::Text(octets)) => Some(octets[..].into()),
                _ => None,
            },
            repeat_times: count("repeat-times"),
            recording_file: text("recording-file"),
            digit: get("code").or_else(|| get("digit")).and_then(digit),
            duration: count("duration"),
            options: Options::read(dictionary),
        })
    }
}

/// Text; what is no UTF-8 is made so, which is as good for comparing.
fn text(value: &Value) -> Option<Box<str>> {
    match value {
        Value::Text(octets) => Some(String::from_utf8_lossy(octets).into()),
        Value::Integer(number) => Some(number.to_string().into()),
        _ => None,
    }
}

/// An event's number, or the digit itself.
///
/// # Source
/// RFC 4733 §3.2
fn digit(value: &Value) -> Option<char> {
    const DIGITS: &[u8; 16] = b"0123456789*#ABCD";
    match value {
        Value::Integer(event) => {
            let event = usize::try_from(*event).ok()?;
            DIGITS.get(event).map(|&digit| char::from(digit))
        }
        _ => match *value.text()?.as_bytes() {
            [digit] if DIGITS.contains(&digit.to_ascii_uppercase()) => {
                Some(char::from(digit.to_ascii_uppercase()))
            }
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bencode;

    fn read(text: &str) -> Result<Request, Error> {
        match bencode::decode(text.as_bytes()).unwrap() {
            Value::Dictionary(dictionary) => Request::read(&dictionary),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn commands_have_their_names() {
        for (name, command) in Command::NAMES {
            assert_eq!(Command::parse(name), Some(command));
            assert_eq!(Command::parse(&name.replace(' ', "-")), Some(command));
            assert_eq!(command.name(), name);
        }
        assert_eq!(read("d1:ai1ee"), Err(Error::NoCommand));
        assert_eq!(read("d7:command3:fooe"), Err(Error::Command));
    }

    #[test]
    fn a_request_says_whom_it_is_about() {
        let request =
            read("d7:command9:play DTMF7:call-id2:c18:from tag1:a6:to-tag1:b4:codei11ee").unwrap();
        assert_eq!(request.command, Command::PlayDtmf);
        assert_eq!(request.call_id.as_deref(), Some("c1"));
        assert_eq!(request.from_tag.as_deref(), Some("a"));
        assert_eq!(request.to_tag.as_deref(), Some("b"));
        assert_eq!(request.digit, Some('#'));
        let request = read("d7:command9:play DTMF5:digit1:de").unwrap();
        assert_eq!(request.digit, Some('D'));
        assert_eq!(
            read("d7:command9:play DTMF4:codei16ee").unwrap().digit,
            None
        );
    }
}
