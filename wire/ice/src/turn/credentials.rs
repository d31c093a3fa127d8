//! Who may have a relay.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use aws_lc_rs::{constant_time, hmac};
use zeroize::Zeroizing;

use crate::stun::Key;

/// Who may have a relay.
#[derive(Clone, Default)]
pub struct Users {
    keys: HashMap<String, Key>,
    /// What time-limited passwords are made of; none: there are none.
    secret: Option<hmac::Key>,
}

impl Users {
    /// Lets a user in, with this password, in the realm of the server.
    pub fn insert(&mut self, user: &str, realm: &str, password: &str) {
        let key = Key::long_term(user, realm, password);
        self.keys.insert(user.to_owned(), key);
    }

    /// Lets those in who show a password that was made of this secret, until it expires.
    pub fn set_secret(&mut self, secret: &str) {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
        self.secret = Some(key);
    }

    /// The key of a user; `now` counts from 1970.
    ///
    /// # Source
    /// RFC 8489 §9.2.2; draft-uberti-behave-turn-rest-00 §2.2.
    #[must_use]
    pub fn key(&self, user: &str, realm: &str, now: Duration) -> Option<Key> {
        if let Some(key) = self.keys.get(user) {
            return Some(key.clone());
        }
        let secret = self.secret.as_ref()?;
        let (expiry, _) = user.split_once(':').unwrap_or((user, ""));
        let expiry: u64 = expiry.parse().ok()?;
        let password = password(secret, user);
        (expiry > now.as_secs()).then(|| Key::long_term(user, realm, &password))
    }

    /// A user name and a password that are good until `expiry`, counted from 1970: what a web server hands to
    /// a browser. `None` without a secret.
    #[must_use]
    pub fn issue(&self, name: &str, expiry: Duration) -> Option<(String, Zeroizing<String>)> {
        let secret = self.secret.as_ref()?;
        let user = format!("{}:{name}", expiry.as_secs());
        let password = password(secret, &user);
        Some((user, password))
    }
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Users")
            .field("users", &self.keys.len())
            .field("secret", &self.secret.is_some())
            .finish()
    }
}

/// Whose quota an allocation counts for: of `expiry:name` the name.
pub(super) fn owner(user: &str) -> &str {
    match user.split_once(':') {
        Some((expiry, name)) if !name.is_empty() && expiry.bytes().all(|b| b.is_ascii_digit()) => {
            name
        }
        _ => user,
    }
}

/// Base64 of the HMAC of the user name.
fn password(secret: &hmac::Key, user: &str) -> Zeroizing<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let tag = hmac::sign(secret, user.as_bytes());
    let mut text = Zeroizing::new(String::with_capacity(28));
    for chunk in tag.as_ref().chunks(3) {
        let mut bits = [0; 4];
        bits[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(bits);
        for digit in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * digit) & 63) as usize];
            text.push(if digit <= chunk.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}

/// Nonces that need no memory: when they expire, and for whom they are, signed.
pub(super) struct Nonces {
    key: hmac::Key,
    start: Instant,
}

impl Nonces {
    pub(super) fn new(seed: &[u8; 32], start: Instant) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, seed);
        Self { key, start }
    }

    /// A nonce for one client, good for an hour.
    ///
    /// # Source
    /// RFC 8656 §5: nonces expire, at least once an hour.
    pub(super) fn issue(&self, now: Instant, client: SocketAddr) -> [u8; NONCE] {
        self.write(self.seconds(now) + LIFETIME, client)
    }

    pub(super) fn accepts(&self, now: Instant, client: SocketAddr, nonce: &[u8]) -> bool {
        let text = nonce
            .get(..8)
            .and_then(|text| std::str::from_utf8(text).ok());
        let Some(expiry) = text.and_then(|text| u32::from_str_radix(text, 16).ok()) else {
            return false;
        };
        let expected = self.write(expiry, client);
        let is_ours = constant_time::verify_slices_are_equal(&expected, nonce).is_ok();
        is_ours && expiry > self.seconds(now)
    }

    fn write(&self, expiry: u32, client: SocketAddr) -> [u8; NONCE] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&expiry.to_be_bytes());
        context.update(&client.port().to_be_bytes());
        match client.ip() {
            IpAddr::V4(ip) => context.update(&ip.octets()),
            IpAddr::V6(ip) => context.update(&ip.octets()),
        }
        let tag = context.sign();
        let mut nonce = [0; NONCE];
        let octets = expiry.to_be_bytes();
        let octets = octets.iter().chain(tag.as_ref());
        for (pair, octet) in nonce.chunks_exact_mut(2).zip(octets) {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            pair.copy_from_slice(&[HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]);
        }
        nonce
    }

    fn seconds(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.start).as_secs() as u32
    }
}

/// Octets of a nonce.
pub(super) const NONCE: usize = 32;

/// For how many seconds a nonce is good.
const LIFETIME: u32 = 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_limited_password_is_what_others_make_of_the_same_secret() {
        let mut users = Users::default();
        users.set_secret("north");
        let (user, password) = users
            .issue("alice", Duration::from_secs(1_433_895_918))
            .unwrap();
        assert_eq!(user, "1433895918:alice");
        // printf 1433895918:alice | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(*password, "RqMvcGPYTJMGThVLSi4amT4zFtI=");
        let key = |now| users.key(&user, "example.org", Duration::from_secs(now));
        assert!(key(1_433_895_917).is_some());
        assert!(key(1_433_895_918).is_none());
        let nobody = users.key("alice", "example.org", Duration::ZERO);
        assert!(nobody.is_none());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn rfc8489_9_2_a_nonce_is_for_one_client_and_an_hour() {
        let now = Instant::now();
        let nonces = Nonces::new(&[7; 32], now);
        let [one, other] = ["192.0.2.1:5000", "192.0.2.1:5001"].map(|text| text.parse().unwrap());
        let nonce = nonces.issue(now, one);
        assert!(nonces.accepts(now + Duration::from_secs(3599), one, &nonce));
        assert!(!nonces.accepts(now + Duration::from_secs(3600), one, &nonce));
        assert!(!nonces.accepts(now, other, &nonce));
        let mut later = nonce;
        later[0] = b'f';
        assert!(!nonces.accepts(now, one, &later));
        assert!(!nonces.accepts(now, one, b""));
        assert!(!nonces.accepts(now, one, "+ööööööööööööööö".as_bytes()));
    }
}
