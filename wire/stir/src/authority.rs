//! The list of numbers that a certificate is for.

/// A TN Authorization List, the certificate extension 1.3.6.1.5.5.7.1.26.
///
/// # Source
/// RFC 8226 §9.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TnAuthList {
    /// Service provider codes: who has one signs for all numbers of its customers.
    pub providers: Vec<String>,
    /// First number and how many, each number the next of the one before.
    pub ranges: Vec<(String, u64)>,
    /// Single numbers.
    pub numbers: Vec<String>,
}

impl TnAuthList {
    /// Parses the extension's value. `None`: malformed.
    #[must_use]
    pub fn parse(der: &[u8]) -> Option<Self> {
        let mut list = Self::default();
        let (SEQUENCE, mut rest, []) = element(der)? else {
            return None;
        };
        while !rest.is_empty() {
            let (tag, value, after) = element(rest)?;
            list.add(tag, value)?;
            rest = after;
        }
        Some(list)
    }

    /// Whether the list lets its owner sign for `number`, in canonical form.
    #[must_use]
    pub fn covers(&self, number: &str) -> bool {
        let in_range = |(first, count): &(String, u64)| {
            let same_length = first.len() == number.len();
            let (Ok(first), Ok(number)) = (first.parse::<u64>(), number.parse::<u64>()) else {
                return false;
            };
            same_length && number.checked_sub(first).is_some_and(|n| n < *count)
        };
        !self.providers.is_empty()
            || self.numbers.iter().any(|single| single == number)
            || self.ranges.iter().any(in_range)
    }

    fn add(&mut self, tag: u8, value: &[u8]) -> Option<()> {
        match tag {
            SPC => {
                let (IA5_STRING, code, []) = element(value)? else {
                    return None;
                };
                self.providers.push(text(code)?);
            }
            RANGE => {
                let (SEQUENCE, range, []) = element(value)? else {
                    return None;
                };
                let (IA5_STRING, first, rest) = element(range)? else {
                    return None;
                };
                // The count may be extended by later versions.
                let (INTEGER, count, _) = element(rest)? else {
                    return None;
                };
                self.ranges.push((text(first)?, integer(count)?));
            }
            ONE => {
                let (IA5_STRING, number, []) = element(value)? else {
                    return None;
                };
                self.numbers.push(text(number)?);
            }
            _ => return None,
        }
        Some(())
    }
}

/// The first DER element: tag, value, what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let length = match first {
        0..=0x7f => usize::from(first),
        0x81..=0x83 => {
            let (octets, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
            rest = after;
            octets
                .iter()
                .fold(0, |length, octet| length << 8 | usize::from(*octet))
        }
        _ => return None,
    };
    let (value, after) = rest.split_at_checked(length)?;
    Some((tag, value, after))
}

fn text(octets: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(octets).ok()?;
    text.is_ascii().then(|| text.to_owned())
}

fn integer(octets: &[u8]) -> Option<u64> {
    let small = (1..=8).contains(&octets.len()) && octets[0] < 0x80;
    small.then(|| {
        octets
            .iter()
            .fold(0, |sum, octet| sum << 8 | u64::from(*octet))
    })
}

const INTEGER: u8 = 0x02;
const IA5_STRING: u8 = 0x16;
const SEQUENCE: u8 = 0x30;
const SPC: u8 = 0xa0;
const RANGE: u8 = 0xa1;
const ONE: u8 = 0xa2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8226_9_providers_ranges_and_numbers() {
        let spc = TnAuthList::parse(b"\x30\x08\xa0\x06\x16\x04709J").unwrap();
        assert_eq!(spc.providers, ["709J"]);
        assert!(spc.covers("12155550112"));
        let range = b"\x30\x14\xa1\x12\x30\x10\x16\x0b12155550100\x02\x01\x0a";
        let range = TnAuthList::parse(range).unwrap();
        assert_eq!(range.ranges, [("12155550100".to_owned(), 10)]);
        assert!(range.covers("12155550109") && !range.covers("12155550110"));
        assert!(!range.covers("2155550105") && !range.covers("*67"));
        let one = TnAuthList::parse(b"\x30\x0f\xa2\x0d\x16\x0b12155550112").unwrap();
        assert!(one.covers("12155550112") && !one.covers("12155550113"));
    }

    #[test]
    fn rfc8226_9_a_malformed_list_is_none() {
        let good = b"\x30\x14\xa1\x12\x30\x10\x16\x0b12155550100\x02\x01\x0a";
        for end in 0..good.len() {
            assert_eq!(TnAuthList::parse(&good[..end]), None);
        }
        assert_eq!(TnAuthList::parse(b"\x30\x84\xff\xff\xff\xff"), None);
        assert_eq!(TnAuthList::parse(b"\x30\x02\xa5\x00"), None);
    }
}
