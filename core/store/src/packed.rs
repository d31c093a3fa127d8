//! A user's contacts in as few octets as they take, for memory alone: no other process reads them, so
//! they have no version.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base::UnixTime;
use sip::{ConnectionId, Flow, Protocol, TlsPeer};

use crate::bindings::{Contact, Reach};
use crate::record::{Reader, RecordError};

/// `contacts` one after the other.
pub(crate) fn pack(contacts: &[Contact]) -> Box<[u8]> {
    let mut out = Vec::with_capacity(contacts.iter().map(room).sum());
    for contact in contacts {
        put_contact(&mut out, contact);
    }
    out.into()
}

/// What [`pack`] was given.
pub(crate) fn unpack(bytes: &[u8]) -> Vec<Contact> {
    let mut reader = Reader(bytes);
    let mut contacts = Vec::with_capacity(1);
    while !reader.0.is_empty() {
        match contact(&mut reader) {
            Ok(contact) => contacts.push(contact),
            // Only what `pack` wrote comes here; a fault of ours costs the phone its calls till it
            // registers again, not everybody theirs.
            Err(fault) => {
                debug_assert!(false, "a packed contact: {fault}");
                break;
            }
        }
    }
    contacts
}

/// Octets that are enough for most contacts.
fn room(contact: &Contact) -> usize {
    let path: usize = contact.path.iter().map(|hop| hop.len() + 2).sum();
    let instance = contact.instance.as_ref().map_or(0, |text| text.len());
    let texts = contact.uri.len() + contact.call_id.len() + contact.user_agent.len();
    texts + path + instance + 64
}

fn put_contact(out: &mut Vec<u8>, contact: &Contact) {
    let flow = &contact.flow;
    out.push(present(contact) | protocol(flow.protocol));
    put_address(out, flow.local);
    put_address(out, flow.remote);
    if let Some(ConnectionId(id)) = flow.connection {
        put_number(out, id);
        put_number(out, u64::from(flow.tls.0));
    }
    put_text(out, &contact.uri);
    if !contact.path.is_empty() {
        put_number(out, contact.path.len() as u64);
        contact.path.iter().for_each(|hop| put_text(out, hop));
    }
    if let Some(instance) = &contact.instance {
        put_text(out, instance);
    }
    put_number(out, u64::from(contact.reg_id));
    put_number(out, u64::from(contact.q));
    put_text(out, &contact.call_id);
    put_number(out, u64::from(contact.cseq));
    put_number(out, contact.expires.0);
    put_text(out, &contact.user_agent);
    put_number(
        out,
        match contact.reach {
            Reach::Unknown => 0,
            Reach::Unreachable => 1,
            // Two more than the microseconds, of which there are never so many.
            Reach::Reachable { rtt } => (rtt.as_micros() as u64).saturating_add(2),
        },
    );
}

fn contact(reader: &mut Reader<'_>) -> Result<Contact, RecordError> {
    let first = reader.byte()?;
    let mut flow = Flow {
        protocol: *PROTOCOLS
            .get(usize::from(first & 0x0f))
            .ok_or(RecordError::Malformed)?,
        local: address(reader)?,
        remote: address(reader)?,
        connection: None,
        tls: TlsPeer::ANY,
    };
    if first & CONNECTION != 0 {
        flow.connection = Some(ConnectionId(number(reader)?));
        flow.tls = TlsPeer(number(reader)? as u16);
    }
    Ok(Contact {
        uri: text(reader)?.into(),
        flow,
        path: match first & PATH {
            0 => Vec::new(),
            _ => (0..number(reader)?)
                .map(|_| text(reader).map(str::to_owned))
                .collect::<Result<_, _>>()?,
        },
        instance: match first & INSTANCE {
            0 => None,
            _ => Some(text(reader)?.into()),
        },
        reg_id: number(reader)? as u32,
        q: number(reader)? as u16,
        call_id: text(reader)?.into(),
        cseq: number(reader)? as u32,
        expires: UnixTime(number(reader)?),
        user_agent: text(reader)?.into(),
        reach: match number(reader)? {
            0 => Reach::Unknown,
            1 => Reach::Unreachable,
            more => Reach::Reachable {
                rtt: Duration::from_micros(more - 2),
            },
        },
    })
}

/// What of a contact is there, in the upper half of its first octet.
fn present(contact: &Contact) -> u8 {
    let flag = |is_there: bool, flag: u8| if is_there { flag } else { 0 };
    flag(contact.flow.connection.is_some(), CONNECTION)
        | flag(!contact.path.is_empty(), PATH)
        | flag(contact.instance.is_some(), INSTANCE)
}

const CONNECTION: u8 = 0x10;
const PATH: u8 = 0x20;
const INSTANCE: u8 = 0x40;

/// The protocol in the lower half of the first octet: its place here.
const PROTOCOLS: [Protocol; 6] = [
    Protocol::Udp,
    Protocol::Tcp,
    Protocol::Tls,
    Protocol::Ws,
    Protocol::Wss,
    Protocol::Local,
];

const fn protocol(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Udp => 0,
        Protocol::Tcp => 1,
        Protocol::Tls => 2,
        Protocol::Ws => 3,
        Protocol::Wss => 4,
        Protocol::Local => 5,
    }
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

fn address(reader: &mut Reader<'_>) -> Result<SocketAddr, RecordError> {
    let ip: IpAddr = match reader.byte()? {
        4 => reader.array::<4>()?.into(),
        _ => reader.array::<16>()?.into(),
    };
    Ok(SocketAddr::new(ip, u16::from_le_bytes(reader.array()?)))
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, RecordError> {
    let length = number(reader)? as usize;
    std::str::from_utf8(reader.take(length)?).map_err(|_| RecordError::Malformed)
}

/// Seven bits in each octet, the lowest first; the highest bit says that more follow.
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn number(reader: &mut Reader<'_>) -> Result<u64, RecordError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = reader.byte()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(RecordError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::tests::contact as full;

    fn bare() -> Contact {
        let mut contact = full("sip:100000@127.0.0.1:40000");
        contact.flow.remote = "127.0.0.1:40000".parse().unwrap();
        contact.path.clear();
        contact.instance = None;
        contact
    }

    #[test]
    fn unpacking_gives_back_what_was_packed() {
        let mut connected = full("sip:a@h");
        connected.flow.connection = Some(ConnectionId(u64::MAX));
        connected.flow.tls = TlsPeer(u16::MAX);
        connected.reg_id = u32::MAX;
        connected.cseq = u32::MAX;
        connected.expires = UnixTime(u64::MAX);
        connected.user_agent = "x".repeat(20_000).into();
        let mut reached = full("");
        reached.reach = Reach::Reachable {
            rtt: Duration::ZERO,
        };
        let mut silent = bare();
        silent.reach = Reach::Unreachable;
        let contacts = [connected, bare(), reached, full("sip:b@h"), silent];
        assert_eq!(unpack(&pack(&contacts)), contacts);
        assert_eq!(unpack(&pack(&[])), []);
        for protocol in PROTOCOLS {
            let mut contact = bare();
            contact.flow.protocol = protocol;
            let contacts = [contact];
            assert_eq!(unpack(&pack(&contacts)), contacts);
        }
    }

    #[test]
    fn little_is_added_to_what_a_phone_says() {
        let contact = bare();
        let said = contact.uri.len() + contact.call_id.len() + contact.user_agent.len();
        assert!(pack(&[contact]).len() <= said + 32);
    }
}
