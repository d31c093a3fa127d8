//! What a party says of how loud it is, as far as that is believed.

use codec::mix;
use rtp::{AudioLevel, Packet, Spoken};

/// Packets of which the party itself says that they are silent need not be decoded. Who says so and is heard
/// nevertheless is not believed any more; nobody's word counts for another party.
///
/// # Source
/// RFC 6464 §5: what it is good for; §7: why nothing more follows from it.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// What the last packet said.
    last: Option<Spoken>,
    /// Packets since one was not said to be silent.
    silent: u32,
    /// Turns since something was heard, as far as that matters.
    calm: u8,
    lied: bool,
}

impl Claims {
    /// Takes what a packet says in the extension with this number; none is agreed: nothing.
    pub(super) fn read(&mut self, packet: &Packet<'_>, number: Option<u8>) {
        self.last = number
            .and_then(|number| packet.extension()?.element(number))
            .and_then(Spoken::parse);
        let silent = self.last.is_some_and(|s| s.level == AudioLevel::SILENT);
        self.silent = match silent {
            true => self.silent.saturating_add(1),
            false => 0,
        };
    }

    /// Takes how loud the next 20 ms really are, in dBov.
    pub(super) fn compare(&mut self, level: f32) {
        self.calm = match level > HEARD {
            true => 0,
            false => self.calm.saturating_add(1),
        };
        // What is heard now came a while ago.
        self.lied |= self.calm == 0 && self.silent > LONGEST_DELAY;
    }

    /// Whether the last packet need not be decoded. One is now and then, so that a lie is noticed; and what
    /// still sounds when silence begins is.
    pub(super) fn is_silence(&self) -> bool {
        self.silent > SETTLED
            && self.calm > SETTLED as u8
            && !self.lied
            && !self.silent.is_multiple_of(SAMPLE)
    }
}

/// Packets and turns after which a decoder has come to rest.
const SETTLED: u32 = 5;
/// Of so many silent packets one is decoded.
const SAMPLE: u32 = 25;
/// Packets that a jitter buffer holds at most.
const LONGEST_DELAY: u32 = 100;
/// What is louder can be heard, in dBov: that of A-law's smallest step is −72.
const HEARD: f32 = -60.0;
const _: () = assert!(mix::SILENT < HEARD);

#[cfg(test)]
mod tests {
    use rtp::Header;

    use super::*;

    /// A packet that says of itself how loud it is.
    fn packet(spoken: Spoken) -> Vec<u8> {
        let mut packet = vec![0; 12];
        Header::default().encode(&mut packet);
        packet[0] |= 0x10;
        packet.extend([0xbe, 0xde, 0, 1, 0x30, spoken.encode()[0], 0, 0]);
        packet
    }

    fn say(claims: &mut Claims, level: f32, number: Option<u8>) {
        let spoken = Spoken {
            level: AudioLevel::from_dbov(level),
            voice: false,
        };
        let packet = packet(spoken);
        claims.read(&Packet::parse(&packet).unwrap(), number);
    }

    #[test]
    fn rfc6464_5_silence_is_believed_once_it_has_settled_and_is_sampled() {
        let mut claims = Claims::default();
        let mut left_out = 0;
        for _ in 0..100 {
            say(&mut claims, -127.0, Some(3));
            left_out += u32::from(claims.is_silence());
            claims.compare(mix::SILENT);
        }
        assert_eq!(left_out, 100 - 5 - 4 - 1);
        say(&mut claims, -126.0, Some(3));
        assert!(!claims.is_silence());
        assert_eq!(claims.last.map(|s| s.level.below()), Some(126));
    }

    #[test]
    fn what_was_not_agreed_says_nothing() {
        for number in [None, Some(4)] {
            let mut claims = Claims::default();
            for _ in 0..100 {
                say(&mut claims, -127.0, number);
                claims.compare(mix::SILENT);
                assert!(!claims.is_silence());
            }
        }
    }

    #[test]
    fn rfc6464_7_who_is_heard_though_it_says_otherwise_is_not_believed_again() {
        let mut claims = Claims::default();
        for turn in 0..300 {
            say(&mut claims, -127.0, Some(3));
            // It pauses, and is believed; then it is heard when it is sampled.
            let heard = turn > 150 && !claims.is_silence();
            claims.compare(if heard { -20.0 } else { mix::SILENT });
        }
        assert!(claims.lied);
        for _ in 0..100 {
            say(&mut claims, -127.0, Some(3));
            claims.compare(mix::SILENT);
            assert!(!claims.is_silence());
        }
    }
}
