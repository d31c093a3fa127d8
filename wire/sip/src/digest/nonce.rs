//! Nonces that a server can check without having kept them.

use std::fmt;
use std::time::Duration;

use base::Slot;
use sha2::{Digest, Sha256};

/// The secret behind nonces. Nodes and slots that share it know each other's nonces.
#[derive(Clone)]
pub struct NonceKey {
    secret: [u8; 32],
    lifetime_millis: u64,
    /// Whom the nonces are for; zero: anybody.
    peer: u64,
}

impl NonceKey {
    /// A key from 32 secret random octets, whose nonces live this long.
    #[must_use]
    pub fn new(secret: [u8; 32], lifetime: Duration) -> Self {
        Self {
            secret,
            lifetime_millis: u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX),
            peer: 0,
        }
    }

    /// The same key for the nonces of one peer, such as a network address as a number. A nonce is good
    /// from anywhere, since translators change addresses, but it tells whom it was minted for: whoever
    /// sends with a false address has no nonce of that address, because he does not hear the challenge.
    #[must_use]
    pub const fn for_peer(self, peer: u64) -> Self {
        Self { peer, ..self }
    }

    /// A fresh nonce, good in `slot` only, since the [`ReplayGuard`](super::ReplayGuard) there is
    /// the one that watches it. `now_millis` counts from 1970; `unique` is random, and keeps apart
    /// the nonces of one millisecond.
    #[must_use]
    pub fn mint(&self, now_millis: u64, slot: Slot, unique: u32) -> Nonce {
        let id = NonceId {
            millis: now_millis & MAX_MILLIS,
            slot,
            unique,
            peer: self.peer,
        };
        let mut octets = [0; OCTETS];
        octets[..ID].copy_from_slice(&id.octets());
        octets[ID..].copy_from_slice(&self.tag(&id));
        Nonce(base64url(&octets))
    }

    /// Judges a nonce that came back.
    #[must_use]
    pub fn verify(&self, nonce: &str, now_millis: u64, slot: Slot) -> Freshness {
        let Some(octets) = decode(nonce) else {
            return Freshness::Forged;
        };
        let id = NonceId::of(&octets);
        let differing = self
            .tag(&id)
            .iter()
            .zip(&octets[ID..])
            .fold(0, |acc, (a, b)| acc | (a ^ b));
        if std::hint::black_box(differing) != 0 {
            Freshness::Forged
        } else if id.slot != slot || now_millis.abs_diff(id.millis) > self.lifetime_millis {
            Freshness::Stale(id)
        } else {
            Freshness::Fresh(id)
        }
    }

    /// Secret and id fit into one block of the hash and are of fixed length, so that hashing the secret
    /// first is a sound authenticator: nobody can append to the input, and most of the output is
    /// never shown.
    fn tag(&self, id: &NonceId) -> [u8; OCTETS - ID] {
        let mut hash = Sha256::new();
        hash.update(self.secret);
        hash.update(id.octets());
        let mut tag = [0; OCTETS - ID];
        tag.copy_from_slice(&hash.finalize()[..OCTETS - ID]);
        tag
    }
}

impl fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NonceKey")
            .field("lifetime_millis", &self.lifetime_millis)
            .finish_non_exhaustive()
    }
}

/// What a server finds out about a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Ours and young enough.
    Fresh(NonceId),
    /// Ours, but too old or of another slot: challenge again with `stale=true` if the proof fits.
    Stale(NonceId),
    /// Not minted with this key, perhaps before it was changed. Challenge again with `stale=true`, so
    /// that a phone need not ask its user (RFC 7616 §3.3), whether or not the proof fits: an answer that
    /// tells could be asked for without end.
    Forged,
}

/// Tells a nonce from all others of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NonceId {
    /// When it was minted, in milliseconds from 1970.
    pub millis: u64,
    slot: Slot,
    unique: u32,
    /// Whom it was minted for, as [`NonceKey::for_peer`] has it.
    pub peer: u64,
}

impl NonceId {
    fn octets(&self) -> [u8; ID] {
        let mut octets = [0; ID];
        octets[..6].copy_from_slice(&self.millis.to_be_bytes()[2..]);
        octets[6] = self.slot.number();
        octets[7..11].copy_from_slice(&self.unique.to_be_bytes());
        octets[11..].copy_from_slice(&self.peer.to_be_bytes());
        octets
    }

    fn of(octets: &[u8; OCTETS]) -> Self {
        let [a, b, c, d, e, f, slot, u, v, w, x, ..] = *octets;
        let mut peer = [0; 8];
        peer.copy_from_slice(&octets[11..ID]);
        Self {
            millis: u64::from_be_bytes([0, 0, a, b, c, d, e, f]),
            slot: Slot::new(slot),
            unique: u32::from_be_bytes([u, v, w, x]),
            peer: u64::from_be_bytes(peer),
        }
    }
}

/// A nonce as text: 44 characters that need no escape in a quoted string.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nonce([u8; TEXT]);

impl Nonce {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Made of base64url digits only.
        std::str::from_utf8(&self.0).unwrap_or("")
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// 48 bits of milliseconds last until the year 10889.
const MAX_MILLIS: u64 = (1 << 48) - 1;
/// Time (6), slot (1), unique (4), peer (8).
const ID: usize = 19;
/// The id and 112 bits of authenticator.
const OCTETS: usize = 33;
/// Octets in base64url.
const TEXT: usize = OCTETS / 3 * 4;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn base64url(octets: &[u8; OCTETS]) -> [u8; TEXT] {
    let mut text = [0; TEXT];
    for (three, four) in octets.chunks_exact(3).zip(text.chunks_exact_mut(4)) {
        let bits = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
        for (index, digit) in four.iter_mut().enumerate() {
            *digit = DIGITS[(bits >> (18 - 6 * index) & 63) as usize];
        }
    }
    text
}

fn decode(text: &str) -> Option<[u8; OCTETS]> {
    let text: &[u8; TEXT] = text.as_bytes().try_into().ok()?;
    let mut octets = [0; OCTETS];
    for (four, three) in text.chunks_exact(4).zip(octets.chunks_exact_mut(3)) {
        let mut bits = 0;
        for &digit in four {
            bits = bits << 6 | u32::from(value(digit)?);
        }
        three.copy_from_slice(&bits.to_be_bytes()[1..]);
    }
    Some(octets)
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000_000;
    const SLOT: Slot = Slot::new(200);

    fn key() -> NonceKey {
        NonceKey::new([5; 32], Duration::from_secs(60))
    }

    #[test]
    fn a_nonce_is_fresh_for_its_life_in_its_slot() {
        let nonce = key().mint(NOW, SLOT, 77);
        let verdict = |now, slot| key().verify(nonce.as_str(), now, slot);
        let Freshness::Fresh(id) = verdict(NOW + 60_000, SLOT) else {
            panic!("fresh to the last millisecond");
        };
        assert_eq!(id.millis, NOW);
        assert_eq!(verdict(NOW + 60_001, SLOT), Freshness::Stale(id));
        assert_eq!(verdict(NOW - 60_001, SLOT), Freshness::Stale(id));
        assert_eq!(verdict(NOW, Slot::new(201)), Freshness::Stale(id));
    }

    #[test]
    fn nobody_else_can_make_or_change_one() {
        let nonce = key().mint(NOW, SLOT, 77);
        let other = NonceKey::new([6; 32], Duration::from_secs(60));
        assert_eq!(other.verify(nonce.as_str(), NOW, SLOT), Freshness::Forged);
        for position in 0..TEXT {
            let mut bytes = nonce.0;
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            let text = std::str::from_utf8(&bytes).unwrap();
            assert_eq!(key().verify(text, NOW, SLOT), Freshness::Forged);
        }
        for text in ["", "x", &"é".repeat(22), &"=".repeat(44)] {
            assert_eq!(key().verify(text, NOW, SLOT), Freshness::Forged);
        }
    }

    #[test]
    fn a_nonce_tells_whom_it_was_minted_for() {
        for peer in [0, 7, u64::MAX] {
            let nonce = key().for_peer(peer).mint(NOW, SLOT, 77);
            match key().for_peer(8).verify(nonce.as_str(), NOW, SLOT) {
                Freshness::Fresh(id) => assert_eq!(id.peer, peer),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn nonces_of_one_millisecond_differ() {
        assert_ne!(key().mint(NOW, SLOT, 1), key().mint(NOW, SLOT, 2));
    }
}
