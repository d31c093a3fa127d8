//! How loud it is, in header extensions: what a party may say of itself, and what we may say of those whom it
//! hears.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use crate::media::{Direction, Media};

/// The numbers of the header extensions that bear audio levels, as far as they are agreed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Levels {
    /// The party says how loud it is itself.
    ///
    /// # Source
    /// RFC 6464 §4
    pub spoken: Option<u8>,
    /// We say how loud what the party hears is; the same extension in the other direction.
    ///
    /// # Source
    /// RFC 6464 §4
    pub whole: Option<u8>,
    /// We say how loud each of those is whom the party hears.
    ///
    /// # Source
    /// RFC 6465 §4
    pub heard: Option<u8>,
}

impl Levels {
    /// What we agree to of what a section offers: the party is to say how loud it is, and to be told of the
    /// others.
    ///
    /// # Source
    /// RFC 8285 §5, §6
    #[must_use]
    pub fn agree(media: &Media<'_, '_>) -> Self {
        let offered = |uri, wanted: fn(Direction) -> bool| {
            let mut extensions = media.attributes("extmap").filter_map(extension);
            extensions.find_map(|(number, direction, name)| {
                (name == uri && wanted(direction)).then_some(number)
            })
        };
        Self {
            spoken: offered(SPOKEN, Direction::sends),
            whole: offered(SPOKEN, Direction::receives),
            heard: offered(HEARD, Direction::receives),
        }
    }

    /// What we offer to a party who has last described this section, if there was one: the numbers that it has
    /// given to these extensions stay, and none that it has given to another is used.
    ///
    /// # Source
    /// RFC 8285 §5, §6
    #[must_use]
    pub fn offered(heard: Option<&Media<'_, '_>>) -> Self {
        let known = || {
            let lines = heard
                .into_iter()
                .flat_map(|media| media.attributes("extmap"));
            lines.filter_map(extension)
        };
        let given = |uri| known().find_map(|(number, _, name)| (name == uri).then_some(number));
        let free = |taken: Option<u8>| {
            let is_taken = |n: u8| Some(n) == taken || known().any(|(number, ..)| number == n);
            SHORT.into_iter().find(|n| !is_taken(*n))
        };
        let spoken = given(SPOKEN).or_else(|| free(None));
        Self {
            spoken,
            whole: spoken,
            heard: given(HEARD).or_else(|| free(spoken)),
        }
    }

    /// What is left of it after the party's answer to what we had agreed to before.
    #[must_use]
    pub(crate) fn kept_by(self, media: &Media<'_, '_>) -> Self {
        let now = Self::agree(media);
        Self {
            spoken: self.spoken.filter(|_| now.spoken == self.spoken),
            whole: self.whole.filter(|_| now.whole == self.whole),
            heard: self.heard.filter(|_| now.heard == self.heard),
        }
    }

    /// Appends the lines of our offer or answer.
    ///
    /// # Source
    /// RFC 8285 §6
    pub(crate) fn encode(self, out: &mut String) {
        let mut line = |number: u8, direction: &str, name: &str| {
            let _ = write!(out, "a=extmap:{number}{direction} {name}\r\n");
        };
        match (self.spoken, self.whole) {
            (Some(number), Some(same)) if number == same => line(number, "", SPOKEN),
            (spoken, whole) => {
                spoken.iter().for_each(|n| line(*n, "/recvonly", SPOKEN));
                whole.iter().for_each(|n| line(*n, "/sendonly", SPOKEN));
            }
        }
        if let Some(number) = self.heard {
            line(number, "/sendonly", HEARD);
        }
    }
}

/// Number, direction and name of a header extension that fits into the short form.
///
/// # Source
/// RFC 8285 §4.2, §8
fn extension(value: &str) -> Option<(u8, Direction, &str)> {
    let mut words = value.split_ascii_whitespace();
    let (place, name) = (words.next()?, words.next()?);
    let (number, direction) = match place.split_once('/') {
        None => (place, Direction::SendRecv),
        Some((number, direction)) => (number, Direction::parse(direction)?),
    };
    let number = number.parse().ok().filter(|n| SHORT.contains(n))?;
    Some((number, direction, name))
}

/// Numbers of header extensions that fit into the short form.
///
/// # Source
/// RFC 8285 §4.2
const SHORT: RangeInclusive<u8> = 1..=14;
const SPOKEN: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const HEARD: &str = "urn:ietf:params:rtp-hdrext:csrc-audio-level";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Sdp;

    fn agreed(extensions: &[&str]) -> Levels {
        let lines: String = extensions
            .iter()
            .map(|e| format!("a=extmap:{e}\n"))
            .collect();
        let text = format!("v=0\nm=audio 4000 RTP/AVP 0\n{lines}");
        let sdp = Sdp::parse(&text).unwrap();
        Levels::agree(&sdp.media_at(0).unwrap())
    }

    const fn levels(spoken: Option<u8>, whole: Option<u8>, heard: Option<u8>) -> Levels {
        Levels {
            spoken,
            whole,
            heard,
        }
    }

    fn written(levels: Levels) -> String {
        let mut text = String::new();
        levels.encode(&mut text);
        text
    }

    #[test]
    fn rfc8285_6_each_level_goes_in_its_direction_if_the_offer_lets_it() {
        let (spoken, heard) = (SPOKEN, HEARD);
        let both = agreed(&[
            "3 urn:ietf:params:rtp-hdrext:sdes:mid",
            &format!("1 {spoken} vad=on"),
            &format!("14/recvonly {heard}"),
        ]);
        assert_eq!(both, levels(Some(1), Some(1), Some(14)));
        assert_eq!(
            written(both),
            "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
             a=extmap:14/sendonly urn:ietf:params:rtp-hdrext:csrc-audio-level\r\n"
        );
        let one_way = agreed(&[
            &format!("1/recvonly {spoken}"),
            &format!("2/sendonly {heard}"),
        ]);
        assert_eq!(one_way, levels(None, Some(1), None));
        assert!(written(one_way).starts_with("a=extmap:1/sendonly "));
        let other_way = agreed(&[&format!("1/sendonly {spoken}")]);
        assert_eq!(other_way, levels(Some(1), None, None));
        assert!(written(other_way).starts_with("a=extmap:1/recvonly "));
        let neither = agreed(&[&format!("1/inactive {spoken}")]);
        assert_eq!(written(neither), "");
        for odd in ["0", "15", "256", "4096", "", "x", "1/", "1/up"] {
            assert_eq!(agreed(&[&format!("{odd} {spoken}")]), Levels::default());
        }
        assert_eq!(agreed(&["1", "2 "]), Levels::default());
    }

    #[test]
    fn rfc8285_5_numbers_that_a_party_knows_keep_their_meaning() {
        let offered = |extensions: &[&str]| {
            let lines = extensions.iter().map(|e| format!("a=extmap:{e}\n"));
            let text = format!("v=0\nm=audio 4000 RTP/AVP 0\n{}", lines.collect::<String>());
            let sdp = Sdp::parse(&text).unwrap();
            Levels::offered(sdp.media_at(0).as_ref())
        };
        assert_eq!(Levels::offered(None), levels(Some(1), Some(1), Some(2)));
        let mid = "urn:ietf:params:rtp-hdrext:sdes:mid";
        let known = offered(&[&format!("1 {mid}"), &format!("2/recvonly {HEARD}")]);
        assert_eq!(known, levels(Some(3), Some(3), Some(2)));
        let full: Vec<_> = (1..=14).map(|n| format!("{n} urn:x:{n}")).collect();
        let full: Vec<_> = full.iter().map(String::as_str).collect();
        assert_eq!(offered(&full), Levels::default());
        assert_eq!(offered(&full[1..]), levels(Some(1), Some(1), None));
    }

    #[test]
    fn rfc8285_6_an_answer_can_only_take_away() {
        let text = format!("v=0\nm=audio 4000 RTP/AVP 0\na=extmap:1/sendonly {SPOKEN}\n");
        let sdp = Sdp::parse(&text).unwrap();
        let media = sdp.media_at(0).unwrap();
        let kept = |before: Levels| before.kept_by(&media);
        let before = levels(Some(1), Some(1), Some(2));
        assert_eq!(kept(before), levels(Some(1), None, None));
        assert_eq!(kept(levels(Some(3), Some(3), None)), Levels::default());
        assert_eq!(kept(Levels::default()), Levels::default());
    }
}
