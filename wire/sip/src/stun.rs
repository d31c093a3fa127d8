//! STUN Binding on a SIP port: how a phone behind a NAT keeps its way to us open, and notices when the
//! NAT has forgotten it.
//!
//! Only what RFC 5626 needs: a request without credentials is answered with the address that it came
//! from. Indications and everything else is not answered.

use std::net::{IpAddr, SocketAddr};

/// The answer to a Binding request, appended to `response`; `false`, and nothing appended, if `datagram`
/// is none. It never is both a STUN and a SIP message, because no SIP message begins with two zero bits.
///
/// `source` is where the datagram came from. The answer has at most 24 octets more than the request, so that
/// nobody gains much by having it sent to somebody else.
///
/// # Source
/// RFC 5626 §4.4.2, §5.4; RFC 5389 §6, §7.3, §15.2.
pub fn answer_binding(datagram: &[u8], source: SocketAddr, response: &mut Vec<u8>) -> bool {
    let Some((head, attributes)) = datagram.split_first_chunk::<HEADER>() else {
        return false;
    };
    let [kind, length, cookie, transaction] = split(head);
    let whole =
        *length == (attributes.len() as u32).to_be_bytes()[2..] && attributes.len() % 4 == 0;
    if kind != BINDING_REQUEST || cookie != COOKIE || !whole {
        return false;
    }
    let unknown = unknown_attributes(attributes);
    let mut body = Vec::with_capacity(32);
    let kind = if unknown.is_empty() {
        put_address(&mut body, source, transaction);
        BINDING_SUCCESS
    } else {
        put(&mut body, ERROR_CODE, &[0, 0, 4, 20]);
        put(&mut body, UNKNOWN_ATTRIBUTES, &unknown);
        BINDING_ERROR
    };
    response.extend_from_slice(&kind);
    response.extend_from_slice(&(body.len() as u16).to_be_bytes());
    response.extend_from_slice(&COOKIE);
    response.extend_from_slice(transaction);
    response.extend_from_slice(&body);
    true
}

/// Type, length, cookie, transaction.
fn split(head: &[u8; HEADER]) -> [&[u8]; 4] {
    [&head[..2], &head[2..4], &head[4..8], &head[8..]]
}

/// Types of attributes that must be understood and are not, one after the other; none of them are, as a
/// keep-alive needs none. At most four are named.
fn unknown_attributes(mut attributes: &[u8]) -> Vec<u8> {
    let mut unknown = Vec::new();
    while let Some(([a, b, c, d], rest)) = attributes.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([*c, *d])).next_multiple_of(4);
        // RFC 5389 §15: from 0x8000 they may be passed over.
        if *a < 0x80 && unknown.len() < 8 {
            unknown.extend_from_slice(&[*a, *b]);
        }
        attributes = rest.get(length..).unwrap_or_default();
    }
    unknown
}

/// XOR-MAPPED-ADDRESS: masked, so that no NAT rewrites it on the way (RFC 5389 §15.2).
fn put_address(body: &mut Vec<u8>, source: SocketAddr, transaction: &[u8]) {
    let port = source.port().to_be_bytes();
    let mask = COOKIE.iter().chain(transaction);
    let family = if source.is_ipv4() { 1 } else { 2 };
    let mut value = vec![0, family, port[0] ^ COOKIE[0], port[1] ^ COOKIE[1]];
    match source.ip() {
        IpAddr::V4(ip) => value.extend(ip.octets().iter().zip(mask).map(|(a, b)| a ^ b)),
        IpAddr::V6(ip) => value.extend(ip.octets().iter().zip(mask).map(|(a, b)| a ^ b)),
    }
    put(body, XOR_MAPPED_ADDRESS, &value);
}

fn put(body: &mut Vec<u8>, kind: [u8; 2], value: &[u8]) {
    body.extend_from_slice(&kind);
    body.extend_from_slice(&(value.len() as u16).to_be_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// Octets of a header.
const HEADER: usize = 20;

const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
const BINDING_ERROR: [u8; 2] = [0x01, 0x11];

const ERROR_CODE: [u8; 2] = [0x00, 0x09];
const UNKNOWN_ATTRIBUTES: [u8; 2] = [0x00, 0x0a];
const XOR_MAPPED_ADDRESS: [u8; 2] = [0x00, 0x20];

#[cfg(test)]
mod tests {
    use super::*;

    /// The transaction and the addresses of RFC 5769 §2.2 and §2.3.
    const TRANSACTION: &[u8] = b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";

    fn request(attributes: &[u8]) -> Vec<u8> {
        let length = (attributes.len() as u16).to_be_bytes();
        [&[0, 1], &length[..], &COOKIE, TRANSACTION, attributes].concat()
    }

    fn answer(datagram: &[u8], source: &str) -> Option<Vec<u8>> {
        let mut response = Vec::new();
        answer_binding(datagram, source.parse().unwrap(), &mut response).then_some(response)
    }

    #[test]
    fn rfc5389_15_2_the_source_is_told_masked() {
        let v4 = answer(&request(&[]), "192.0.2.1:32853").unwrap();
        assert_eq!(v4[..8], [1, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42]);
        assert_eq!(&v4[8..20], TRANSACTION);
        assert_eq!(
            v4[20..],
            *b"\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43"
        );
        let v6 = answer(
            &request(&[]),
            "[2001:db8:1234:5678:11:2233:4455:6677]:32853",
        )
        .unwrap();
        assert_eq!(
            v6[20..],
            *b"\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\
               \xbe\xd2\xb9\xd9"
        );
    }

    #[test]
    fn rfc5389_7_3_1_what_must_be_understood_and_is_not_is_named() {
        let software = b"\x80\x22\x00\x03abc\0";
        let good = answer(&request(software), "192.0.2.1:1").unwrap();
        assert_eq!(good[..2], BINDING_SUCCESS);
        let username = b"\x00\x06\x00\x02me\0\0";
        let refused = answer(&request(&[&software[..], username].concat()), "192.0.2.1:1").unwrap();
        assert_eq!(refused[..2], BINDING_ERROR);
        assert_eq!(
            refused[20..],
            *b"\0\x09\0\x04\0\0\x04\x14\0\x0a\0\x02\0\x06\0\0"
        );
    }

    #[test]
    fn what_is_no_binding_request_is_not_answered() {
        let good = request(&[]);
        for end in 0..good.len() {
            assert_eq!(answer(&good[..end], "192.0.2.1:1"), None);
        }
        for (place, octet) in [(1, 0x11), (0, 1), (3, 4), (4, 0)] {
            let mut other = good.clone();
            other[place] = octet;
            assert_eq!(answer(&other, "192.0.2.1:1"), None, "{place}");
        }
        assert_eq!(
            answer(b"OPTIONS sip:a@b SIP/2.0\r\n\r\n", "192.0.2.1:1"),
            None
        );
    }
}
