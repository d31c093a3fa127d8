//! What can be told of a datagram of DTLS before anybody answers it.

/// The beginning of a handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hello {
    /// Tells one beginning from another.
    pub(super) random: [u8; 32],
    /// The client knows DTLS 1.3, as far as can be seen.
    pub(super) modern: bool,
}

impl Hello {
    /// The ClientHello, if the datagram begins with the first part of one that is not encrypted.
    ///
    /// A ClientHello that comes in parts is long because of the key shares of DTLS 1.3.
    ///
    /// # Source
    /// RFC 6347 §4.1, §4.2.2, RFC 9147 §5.3
    pub(super) fn read(datagram: &[u8]) -> Option<Self> {
        const CLIENT_HELLO: u8 = 1;
        let (record, message) = datagram.split_at_checked(RECORD_HEADER)?;
        let (header, body) = message.split_at_checked(MESSAGE_HEADER)?;
        let is_hello = record[0] == HANDSHAKE
            && record[3..5] == [0, 0]
            && header[0] == CLIENT_HELLO
            && header[6..9] == [0, 0, 0];
        let random = *body.get(2..)?.first_chunk()?;
        let whole = header[1..4] == header[9..12];
        let modern = !whole || names_dtls13(body).unwrap_or(false);
        is_hello.then_some(Self { random, modern })
    }
}

/// Whether the extension supported_versions of a ClientHello has DTLS 1.3; `None` if there is none.
///
/// # Source
/// RFC 9147 §5.3, RFC 8446 §4.2.1
fn names_dtls13(body: &[u8]) -> Option<bool> {
    const SUPPORTED_VERSIONS: u16 = 43;
    const DTLS13: [u8; 2] = [0xfe, 0xfc];
    let mut rest = body.get(2 + 32..)?;
    // Session, cookie, cipher suites, compression.
    for width in [1, 1, 2, 1] {
        rest = block(rest, width)?.1;
    }
    let (mut extensions, _) = block(rest, 2)?;
    while let Some((kind, after)) = extensions.split_first_chunk() {
        let (value, after) = block(after, 2)?;
        if u16::from_be_bytes(*kind) == SUPPORTED_VERSIONS {
            let (versions, _) = block(value, 1)?;
            return Some(versions.chunks_exact(2).any(|version| version == DTLS13));
        }
        extensions = after;
    }
    None
}

/// What stands behind a length of `width` bytes, and what follows.
fn block(bytes: &[u8], width: usize) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_at_checked(width)?;
    rest.split_at_checked(number(len))
}

/// What a datagram carries.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// Parts of messages of a handshake that are not encrypted: the message's number, and where in it
    /// the part begins.
    pub(super) parts: Vec<(u16, usize)>,
    /// Something is encrypted.
    pub(super) encrypted: bool,
    /// Something else is there that is not.
    pub(super) other: bool,
}

impl Survey {
    /// Looks over a datagram. `None` if it is not made of whole records with whole parts of messages,
    /// or of too many of them.
    ///
    /// # Source
    /// RFC 6347 §4.1, §4.2.2
    pub(super) fn of(mut datagram: &[u8]) -> Option<Self> {
        let mut survey = Self::default();
        for _ in 0..MAX_PARTS {
            let (header, rest) = datagram.split_at_checked(RECORD_HEADER)?;
            let (body, rest) = rest.split_at_checked(number(&header[11..13]))?;
            survey.record(header[0], header[3..5] != [0, 0], body)?;
            if rest.is_empty() {
                return Some(survey).filter(|survey| survey.parts.len() <= MAX_PARTS);
            }
            datagram = rest;
        }
        None
    }

    fn record(&mut self, kind: u8, encrypted: bool, body: &[u8]) -> Option<()> {
        match (kind, encrypted) {
            (HANDSHAKE, false) => return self.messages(body),
            (CHANGE_CIPHER_SPEC, false) if body == [1] => self.other = true,
            (ALERT, false) if body.len() == 2 => self.other = true,
            (CHANGE_CIPHER_SPEC..=APPLICATION_DATA, true) if !body.is_empty() => {
                self.encrypted = true;
            }
            _ => return None,
        }
        Some(())
    }

    fn messages(&mut self, mut body: &[u8]) -> Option<()> {
        while !body.is_empty() {
            let (header, rest) = body.split_at_checked(MESSAGE_HEADER)?;
            let [length, offset, part] = [&header[1..4], &header[6..9], &header[9..12]].map(number);
            // Only a message of nothing has a part of nothing.
            let fits = offset + part <= length && (part > 0 || length == 0);
            body = rest.split_at_checked(part).filter(|_| fits)?.1;
            self.parts
                .push((u16::from_be_bytes([header[4], header[5]]), offset));
        }
        Some(())
    }
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |sum, byte| sum << 8 | *byte as usize)
}

const RECORD_HEADER: usize = 13;
const MESSAGE_HEADER: usize = 12;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// More than anybody puts into one datagram: a client's last flight has six.
const MAX_PARTS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(extensions: &[u8], part: u8) -> Vec<u8> {
        let mut body = vec![0xfe, 0xfd];
        body.extend([7; 32]);
        body.extend([0, 0, 0, 2, 0xc0, 0x2b, 1, 0]);
        body.extend([0, extensions.len() as u8]);
        body.extend(extensions);
        let len = body.len() as u8;
        let mut message = vec![1, 0, 0, len + part, 0, 0, 0, 0, 0, 0, 0, len];
        message.extend(body);
        let mut record = vec![
            22,
            0xfe,
            0xff,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            message.len() as u8,
        ];
        record.extend(message);
        record
    }

    #[test]
    fn rfc9147_5_3_a_client_that_knows_dtls_1_3_says_so() {
        let versions = [0, 43, 0, 5, 4, 0xfe, 0xfc, 0xfe, 0xfd];
        let other = [0, 23, 0, 0];
        let modern = |datagram: &[u8]| Hello::read(datagram).map(|hello| hello.modern);
        assert_eq!(modern(&hello(&versions, 0)), Some(true));
        assert_eq!(
            modern(&hello(&[&other[..], &versions].concat(), 0)),
            Some(true)
        );
        assert_eq!(modern(&hello(&other, 0)), Some(false));
        assert_eq!(modern(&hello(&versions[..7], 0)), Some(false));
        assert_eq!(modern(&hello(&[], 9)), Some(true));
        assert_eq!(modern(b""), None);
        assert_eq!(Hello::read(&hello(&[], 0)).map(|h| h.random), Some([7; 32]));
    }

    #[test]
    fn rfc6347_4_2_2_what_is_not_well_formed_goes_no_further() {
        let good = hello(&[], 0);
        let survey = Survey::of(&good).unwrap();
        assert_eq!(
            (&survey.parts[..], survey.encrypted),
            (&[(0, 0)][..], false)
        );
        assert_eq!(Survey::of(&good[..good.len() - 1]), None);
        assert_eq!(Survey::of(&[]), None);
        let crumb = [2, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 5];
        let record = |crumbs: usize| {
            let body = crumb.repeat(crumbs);
            let mut record = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, body.len() as u8];
            record.extend(body);
            record
        };
        assert!(Survey::of(&record(16)).is_some());
        assert_eq!(Survey::of(&record(17)), None);
        let mut change = [20, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
        assert!(Survey::of(&change).unwrap().other);
        change[13] = 2;
        assert_eq!(Survey::of(&change), None);
        (change[0], change[13]) = (24, 1);
        assert_eq!(Survey::of(&change), None);
        let sealed = [22, 254, 253, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 9, 9];
        assert!(Survey::of(&sealed).unwrap().encrypted);
        assert!(
            Survey::of(&[&good[..], &sealed].concat())
                .unwrap()
                .encrypted
        );
    }
}
