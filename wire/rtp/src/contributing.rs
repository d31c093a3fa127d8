//! Who is heard in a packet of a mixer, and how loud anybody is.

use crate::packet::HEADER_LEN;

/// How loud sound is: 0 to 127 decibels below the loudest there can be (−dBov).
///
/// # Source
/// RFC 6464 §3, RFC 6465 §3
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AudioLevel(u8);

impl AudioLevel {
    /// Nothing but zeros.
    pub const SILENT: Self = Self(127);

    /// Of sound at a level in dBov, 0 or less.
    #[must_use]
    pub fn from_dbov(level: f32) -> Self {
        // A cast of a float saturates, and makes 0 of what is no number.
        Self((-level.round()).clamp(0.0, 127.0) as u8)
    }

    /// Decibels below the loudest there can be, up to 127.
    #[must_use]
    pub const fn below(self) -> u8 {
        self.0
    }
}

/// What a party says of the sound in its own packet. It may be wrong, or a lie.
///
/// # Source
/// RFC 6464 §3
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spoken {
    /// How loud it is.
    pub level: AudioLevel,
    /// It takes the sound for speech.
    pub voice: bool,
}

impl Spoken {
    /// Reads the data of the header extension's element; `None` if it is none of this kind.
    ///
    /// # Source
    /// RFC 6464 §3
    #[must_use]
    pub const fn parse(element: &[u8]) -> Option<Self> {
        match *element {
            [octet] => Some(Self {
                level: AudioLevel(octet & 0x7f),
                voice: octet & VOICE != 0,
            }),
            _ => None,
        }
    }

    /// The data of the header extension's element.
    ///
    /// # Source
    /// RFC 6464 §3
    #[must_use]
    pub const fn encode(self) -> [u8; 1] {
        [self.level.0 | if self.voice { VOICE } else { 0 }]
    }
}

/// A source that is heard in a mixer's packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contributor {
    /// Its SSRC where it comes from.
    pub ssrc: u32,
    /// How loud it is in the mix.
    pub level: AudioLevel,
}

/// Those who are heard in a mixer's packet: as many as its header can list.
///
/// # Source
/// RFC 3550 §5.1, §7.1
#[derive(Clone, Copy, Debug)]
pub struct Contributors {
    list: [Contributor; Self::MOST],
    len: usize,
}

impl Contributors {
    /// How many a header can list.
    pub const MOST: usize = 15;

    /// Nobody.
    #[must_use]
    pub const fn new() -> Self {
        let nobody = Contributor {
            ssrc: 0,
            level: AudioLevel::SILENT,
        };
        Self {
            list: [nobody; Self::MOST],
            len: 0,
        }
    }

    /// Who is in the list.
    #[must_use]
    pub fn as_slice(&self) -> &[Contributor] {
        &self.list[..self.len]
    }

    /// How loud they are together, if they are: each is as loud as it says.
    fn together(&self) -> Spoken {
        let power = |source: &Contributor| 10f32.powf(-f32::from(source.level.0) / 10.0);
        let sum: f32 = self.as_slice().iter().map(power).sum();
        Spoken {
            level: AudioLevel::from_dbov(10.0 * sum.log10()),
            voice: self.len > 0,
        }
    }

    /// Length in bytes of the header of a packet that lists them and says how loud they are.
    #[must_use]
    pub fn header_len(&self, numbers: LevelNumbers) -> usize {
        HEADER_LEN + 4 * self.len + self.extension_len(numbers)
    }

    /// Lists them in a `packet` whose fixed header has been written, before a payload that stands at
    /// [`header_len`](Self::header_len), and says how loud they are. Does nothing if the packet is too short.
    ///
    /// # Source
    /// RFC 3550 §5.1; RFC 6464 §3, RFC 6465 §3; RFC 8285 §4.2
    pub fn encode(&self, numbers: LevelNumbers, packet: &mut [u8]) {
        let len = self.header_len(numbers);
        let Some((header, rest)) = packet
            .get_mut(..len)
            .and_then(|header| header.split_first_chunk_mut::<HEADER_LEN>())
        else {
            return;
        };
        header[0] |= self.len as u8;
        let (sources, extension) = rest.split_at_mut(4 * self.len);
        let places = sources.as_chunks_mut::<4>().0.iter_mut();
        for (place, source) in places.zip(self.as_slice()) {
            *place = source.ssrc.to_be_bytes();
        }
        if let Some((head, elements)) = extension.split_first_chunk_mut::<4>() {
            header[0] |= EXTENSION;
            let [high, low] = (elements.len() as u16 / 4).to_be_bytes();
            *head = [ONE_BYTE[0], ONE_BYTE[1], high, low];
            self.encode_levels(numbers, elements);
        }
    }

    fn encode_levels(&self, numbers: LevelNumbers, elements: &mut [u8]) {
        elements.fill(0);
        let whole = numbers.whole.map(|number| {
            let [level] = self.together().encode();
            [number << 4, level]
        });
        let each = numbers.each.filter(|_| self.len > 0);
        let head = each.map(|number| number << 4 | (self.len as u8 - 1));
        let levels = self.as_slice().iter().map(|source| source.level.0);
        let octets = whole.into_iter().flatten();
        let octets = octets.chain(
            head.into_iter()
                .flat_map(|head| std::iter::once(head).chain(levels.clone())),
        );
        for (place, octet) in elements.iter_mut().zip(octets) {
            *place = octet;
        }
    }

    /// Bytes of the header extension: its head, the elements, and what fills the last word.
    fn extension_len(&self, numbers: LevelNumbers) -> usize {
        let whole = numbers.whole.map_or(0, |_| 2);
        let each = numbers.each.filter(|_| self.len > 0);
        match whole + each.map_or(0, |_| 1 + self.len) {
            0 => 0,
            len => 4 + len.next_multiple_of(4),
        }
    }
}

/// The numbers of the header extensions that say how loud a mixer's packet is, 1 to 14; none: it does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LevelNumbers {
    /// All of it.
    ///
    /// # Source
    /// RFC 6464 §3
    pub whole: Option<u8>,
    /// Each of those who are heard in it.
    ///
    /// # Source
    /// RFC 6465 §3
    pub each: Option<u8>,
}

impl Default for Contributors {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes the first ones; those who don't fit are not listed.
impl FromIterator<Contributor> for Contributors {
    fn from_iter<T: IntoIterator<Item = Contributor>>(sources: T) -> Self {
        let mut these = Self::new();
        for (place, source) in these.list.iter_mut().zip(sources) {
            *place = source;
            these.len += 1;
        }
        these
    }
}

const VOICE: u8 = 0x80;
const EXTENSION: u8 = 0x10;
/// The profile of header extensions with short elements.
const ONE_BYTE: [u8; 2] = [0xbe, 0xde];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Header, Packet};

    const PAYLOAD: [u8; 3] = [7, 8, 9];

    fn packet(contributors: &Contributors, numbers: LevelNumbers) -> Vec<u8> {
        let len = contributors.header_len(numbers);
        let mut packet = vec![0xff; len];
        packet.extend(PAYLOAD);
        Header::default().encode(&mut packet);
        contributors.encode(numbers, &mut packet);
        packet
    }

    fn contributor(ssrc: u32, below: u8) -> Contributor {
        Contributor {
            ssrc,
            level: AudioLevel(below),
        }
    }

    proptest! {
        #[test]
        fn rfc6465_3_each_source_has_its_level(
            sources in prop::collection::vec((any::<u32>(), 0u8..128), 0..20),
            each in prop::option::of(1u8..8),
            whole in prop::option::of(8u8..15),
        ) {
            let listed = sources.iter().map(|(ssrc, below)| contributor(*ssrc, *below));
            let contributors: Contributors = listed.collect();
            let bytes = packet(&contributors, LevelNumbers { whole, each });
            let parsed = Packet::parse(&bytes).unwrap();
            let expected = &sources[..sources.len().min(15)];
            let ssrcs: Vec<u32> = expected.iter().map(|(ssrc, _)| *ssrc).collect();
            prop_assert_eq!(parsed.csrc().collect::<Vec<_>>(), ssrcs);
            prop_assert_eq!(parsed.payload(), PAYLOAD);
            let said = |number: Option<u8>| {
                let extension = parsed.extension()?;
                extension.element(number?).map(<[u8]>::to_vec)
            };
            let listed = each.filter(|_| !expected.is_empty());
            let below = expected.iter().map(|(_, below)| *below).collect();
            prop_assert_eq!(said(each), listed.map(|_| below));
            let together = said(whole).map(|octet| Spoken::parse(&octet).unwrap());
            prop_assert_eq!(together.is_some(), whole.is_some());
            if let Some(together) = together {
                prop_assert_eq!(together.voice, !expected.is_empty());
                let loudest = expected.iter().map(|(_, below)| *below).min().unwrap_or(127);
                prop_assert!((loudest.saturating_sub(12)..=loudest).contains(&together.level.0));
            }
        }
    }

    #[test]
    fn rfc6465_3_the_octets_of_two_levels() {
        let two = [contributor(0x0102_0304, 3), contributor(0x0506_0708, 127)];
        let numbers = LevelNumbers {
            whole: None,
            each: Some(5),
        };
        let bytes = packet(&two.into_iter().collect(), numbers);
        assert_eq!(bytes[0], 0x92);
        let expected = [1, 2, 3, 4, 5, 6, 7, 8, 0xbe, 0xde, 0, 1, 0x51, 3, 127, 0];
        assert_eq!(bytes[HEADER_LEN..HEADER_LEN + 16], expected);
    }

    #[test]
    fn rfc6464_3_two_are_louder_than_one_and_nobody_is_silent() {
        let numbers = LevelNumbers {
            whole: Some(1),
            each: None,
        };
        let two = [contributor(1, 20), contributor(2, 20)];
        let bytes = packet(&two.into_iter().collect(), numbers);
        assert_eq!(bytes[20..28], [0xbe, 0xde, 0, 1, 0x10, 0x80 | 17, 0, 0]);
        let bytes = packet(&Contributors::new(), numbers);
        assert_eq!(bytes[0], 0x90);
        assert_eq!(bytes[12..20], [0xbe, 0xde, 0, 1, 0x10, 127, 0, 0]);
    }

    #[test]
    fn a_packet_that_is_too_short_stays_as_it_is() {
        let one: Contributors = [contributor(1, 1)].into_iter().collect();
        let numbers = LevelNumbers {
            whole: Some(1),
            each: Some(2),
        };
        let mut short = [0x80; 23];
        one.encode(numbers, &mut short);
        assert_eq!(short, [0x80; 23]);
    }

    #[test]
    fn rfc6464_3_a_level_and_whether_it_is_speech() {
        let loud = Spoken::parse(&[0x8a]).unwrap();
        assert_eq!((loud.level.below(), loud.voice), (10, true));
        assert_eq!(loud.encode(), [0x8a]);
        let silent = Spoken::parse(&[127]).unwrap();
        assert_eq!((silent.level, silent.voice), (AudioLevel::SILENT, false));
        assert_eq!(Spoken::parse(&[]), None);
        assert_eq!(Spoken::parse(&[1, 2]), None);
    }

    #[test]
    fn rfc6465_3_levels_are_decibels_below_overload() {
        let of = |level| AudioLevel::from_dbov(level).below();
        assert_eq!([of(0.0), of(3.0), of(-20.4), of(-127.0)], [0, 0, 20, 127]);
        assert_eq!([of(-500.0), of(f32::NEG_INFINITY)], [127, 127]);
    }
}
