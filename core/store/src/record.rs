//! A user's contacts as bytes: one record holds the whole state of one user, so replaying records
//! again, or an old one before a newer one, does no harm.
//!
//! Numbers are little-endian; texts and lists carry their length in 32 bits. The first byte is the
//! version; a reader refuses versions that it doesn't know, and a new field makes a new version.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use base::UnixTime;
use sip::{Flow, Protocol, TlsPeer};

use crate::bindings::{Contact, Reach};

/// The record of `user` with these contacts; none means that the user is not registered.
#[must_use]
pub fn encode(user: &str, contacts: &[Contact]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + 256 * contacts.len());
    out.push(VERSION);
    put_text(&mut out, user);
    put_length(&mut out, contacts.len());
    for contact in contacts {
        put_contact(&mut out, contact);
    }
    out
}

/// The user and contacts in a record. Connections don't outlive a process, so none has one.
///
/// # Errors
/// If the record ends early, goes on after its end, or is of a version unknown to us.
pub fn decode(record: &[u8]) -> Result<(String, Vec<Contact>), RecordError> {
    let mut reader = Reader(record);
    let version = reader.byte()?;
    if !(FIRST..=VERSION).contains(&version) {
        return Err(RecordError::Version(version));
    }
    let user = reader.text()?;
    let contacts = reader.list(|reader| reader.contact(version))?;
    match reader.0 {
        [] => Ok((user, contacts)),
        _ => Err(RecordError::Malformed),
    }
}

/// Why a record is not understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Written by a later release.
    #[error("record version {0} is not known to this release")]
    Version(u8),
    /// Not what [`encode`] writes.
    #[error("malformed record")]
    Malformed,
}

impl RecordError {
    /// What is wrong with a file that holds a record of a later release than this one, whose newest version
    /// is `newest`. Such a file is to be left alone: what is not understood would be lost with the next
    /// snapshot.
    pub(crate) fn of_later(record: &[u8], newest: u8) -> Option<Self> {
        let version = *record.first()?;
        (version > newest).then_some(Self::Version(version))
    }

    /// The refusal to read that file.
    pub(crate) fn refusal(self, file: &Path) -> io::Error {
        let file = file.display();
        let remedy = "start the release that wrote it, or a later one";
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{file}: {self}; {remedy}"),
        )
    }
}

/// What is written: since version 2 a contact has the number of its flow.
pub(crate) const VERSION: u8 = 2;

/// The oldest that is read.
const FIRST: u8 = 1;

fn put_contact(out: &mut Vec<u8>, contact: &Contact) {
    put_text(out, &contact.uri);
    out.push(match contact.flow.protocol {
        Protocol::Udp => 0,
        Protocol::Tcp => 1,
        Protocol::Tls => 2,
        Protocol::Ws => 3,
        Protocol::Wss => 4,
        Protocol::Local => 5,
    });
    put_address(out, contact.flow.local);
    put_address(out, contact.flow.remote);
    put_length(out, contact.path.len());
    for hop in &contact.path {
        put_text(out, hop);
    }
    out.push(u8::from(contact.instance.is_some()));
    put_text(out, contact.instance.as_deref().unwrap_or(""));
    out.extend_from_slice(&contact.reg_id.to_le_bytes());
    out.extend_from_slice(&contact.q.to_le_bytes());
    put_text(out, &contact.call_id);
    out.extend_from_slice(&contact.cseq.to_le_bytes());
    out.extend_from_slice(&contact.expires.0.to_le_bytes());
    put_text(out, &contact.user_agent);
}

pub(crate) fn put_length(out: &mut Vec<u8>, length: usize) {
    // A message of 4 GiB is never accepted, so neither is a part of one.
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_length(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&address.port().to_le_bytes());
}

/// What is left to read.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    fn contact(&mut self, version: u8) -> Result<Contact, RecordError> {
        Ok(Contact {
            uri: self.text()?.into(),
            flow: self.flow()?,
            path: self.list(Self::text)?,
            instance: self.optional_text()?.map(Into::into),
            reg_id: match version {
                1 => 0,
                _ => u32::from_le_bytes(self.array()?),
            },
            q: u16::from_le_bytes(self.array()?),
            call_id: self.text()?.into(),
            cseq: u32::from_le_bytes(self.array()?),
            expires: UnixTime(u64::from_le_bytes(self.array()?)),
            user_agent: self.text()?.into(),
            reach: Reach::Unknown,
        })
    }

    fn flow(&mut self) -> Result<Flow, RecordError> {
        Ok(Flow {
            protocol: match self.byte()? {
                0 => Protocol::Udp,
                1 => Protocol::Tcp,
                2 => Protocol::Tls,
                3 => Protocol::Ws,
                4 => Protocol::Wss,
                5 => Protocol::Local,
                _ => return Err(RecordError::Malformed),
            },
            local: self.address()?,
            remote: self.address()?,
            connection: None,
            tls: TlsPeer::ANY,
        })
    }

    fn address(&mut self) -> Result<SocketAddr, RecordError> {
        let ip: IpAddr = match self.byte()? {
            4 => self.array::<4>()?.into(),
            6 => self.array::<16>()?.into(),
            _ => return Err(RecordError::Malformed),
        };
        Ok(SocketAddr::new(ip, u16::from_le_bytes(self.array()?)))
    }

    fn optional_text(&mut self) -> Result<Option<String>, RecordError> {
        let present = self.byte()? != 0;
        let text = self.text()?;
        Ok(present.then_some(text))
    }

    pub(crate) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, RecordError>,
    ) -> Result<Vec<T>, RecordError> {
        // The length is not trusted with an allocation; the reader runs out of bytes first.
        (0..self.length()?).map(|_| item(self)).collect()
    }

    pub(crate) fn text(&mut self) -> Result<String, RecordError> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        let text = std::str::from_utf8(bytes).map_err(|_| RecordError::Malformed)?;
        Ok(text.to_owned())
    }

    pub(crate) fn length(&mut self) -> Result<usize, RecordError> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, RecordError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(RecordError::Malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let (head, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(RecordError::Malformed)?;
        self.0 = rest;
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::tests::contact;

    #[test]
    fn decoding_gives_back_what_was_encoded() {
        let mut plain = contact("sip:1001@[2001:db8::1]:5060;transport=tcp");
        plain.flow.protocol = Protocol::Tcp;
        plain.instance = None;
        plain.path.clear();
        let contacts = vec![contact("sip:a@h"), plain];
        let (user, back) = decode(&encode("1001", &contacts)).unwrap();
        assert_eq!((user.as_str(), back), ("1001", contacts));
        assert_eq!(decode(&encode("ü", &[])).unwrap(), ("ü".into(), Vec::new()));
    }

    #[test]
    fn records_of_the_first_version_are_read() {
        let mut old = contact("sip:a@h");
        old.reg_id = 0;
        let new = encode("1001", &[old.clone()]);
        let instance = old.instance.as_deref().unwrap();
        let place = new
            .windows(instance.len())
            .position(|w| w == instance.as_bytes());
        let number = place.unwrap() + instance.len();
        let first = [&[1], &new[1..number], &new[number + 4..]].concat();
        assert_eq!(decode(&first), Ok(("1001".to_owned(), vec![old])));
    }

    #[test]
    fn connections_and_reachability_stay_behind() {
        let mut live = contact("sip:a@h");
        live.flow.connection = Some(sip::ConnectionId(7));
        live.reach = Reach::Unreachable;
        let (_, back) = decode(&encode("1001", &[live])).unwrap();
        assert_eq!(back, [contact("sip:a@h")]);
    }

    #[test]
    fn a_record_cut_anywhere_or_changed_is_refused_without_harm() {
        let whole = encode("1001", &[contact("sip:a@h"), contact("sip:b@h")]);
        for end in 0..whole.len() {
            assert!(decode(&whole[..end]).is_err(), "cut at {end}");
        }
        for place in 0..whole.len() {
            let mut bent = whole.clone();
            bent[place] = 0xff;
            let _ = decode(&bent);
        }
        let longer = [whole.as_slice(), b"x"].concat();
        assert_eq!(decode(&longer), Err(RecordError::Malformed));
        assert_eq!(decode(&[9]), Err(RecordError::Version(9)));
    }
}
