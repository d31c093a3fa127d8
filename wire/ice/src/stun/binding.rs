//! The server that tells a client its address: how a phone behind a NAT keeps its way to us open (RFC
//! 5626), and how a browser learns its public address.
//!
//! It keeps no state. Whoever asks with credentials is refused: it has none to compare them with.

use std::net::SocketAddr;

use super::attribute::{UNKNOWN_ATTRIBUTES, XOR_MAPPED_ADDRESS};
use super::{BINDING, Class, Message, Writer};

/// The answer to a Binding request, appended to `response`; `false`, and nothing appended, if `datagram`
/// is none. It never is both a STUN and a SIP message, because no SIP message begins with two zero bits.
///
/// `source` is where the datagram came from. The answer has at most 24 octets more than the request, so that
/// nobody gains much by having it sent to somebody else.
///
/// # Source
/// RFC 5626 §4.4.2, §5.4; RFC 8489 §5, §6.3.1, §6.3.1.1, §14.2.
pub fn answer_binding(datagram: &[u8], source: SocketAddr, response: &mut Vec<u8>) -> bool {
    let Ok(request) = Message::parse(datagram) else {
        return false;
    };
    if request.class() != Class::Request || request.method() != BINDING {
        return false;
    }
    let (unknown, length) = unknown_attributes(&request);
    if length == 0 {
        Writer::new(response, Class::Success, BINDING, request.transaction())
            .address(XOR_MAPPED_ADDRESS, source);
    } else {
        Writer::new(response, Class::Error, BINDING, request.transaction())
            .error(420, "")
            .put(UNKNOWN_ATTRIBUTES, &unknown[..length]);
    }
    true
}

/// Kinds of attributes that must be understood and are not, one after the other; none of them are, as
/// this server needs none. At most four are named.
fn unknown_attributes(request: &Message<'_>) -> ([u8; 8], usize) {
    let mut value = [0; 8];
    let mut length = 0;
    for (kind, place) in request.unknown(&[]).zip(value.chunks_exact_mut(2)) {
        place.copy_from_slice(&kind.to_be_bytes());
        length += 2;
    }
    (value, length)
}

#[cfg(test)]
mod tests {
    use super::super::COOKIE;
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
    fn rfc8489_14_2_the_source_is_told_masked() {
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
    fn rfc8489_6_3_1_what_must_be_understood_and_is_not_is_named() {
        let software = b"\x80\x22\x00\x03abc\0";
        let good = answer(&request(software), "192.0.2.1:1").unwrap();
        assert_eq!(good[..2], [1, 1]);
        let username = b"\x00\x06\x00\x02me\0\0";
        let refused = answer(&request(&[&software[..], username].concat()), "192.0.2.1:1").unwrap();
        assert_eq!(refused[..2], [1, 0x11]);
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
