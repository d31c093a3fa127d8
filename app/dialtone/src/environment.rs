//! Variables that people know from other telephony images.

use std::env;

use anyhow::{Result, anyhow};

/// `HOSTNAME`, if it can be the name of a host.
pub(crate) fn host() -> Option<String> {
    env::var("HOSTNAME").ok().filter(|host| is_name(host))
}

/// `HOSTNAME`, if it is a name in a domain: engines give containers names of their own invention, and
/// such have no dot.
pub(crate) fn domain() -> Option<String> {
    host().filter(|host| host.contains('.'))
}

/// The key of the certificate that the server makes for itself, by `TLS_KEYBITS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    P256,
    P384,
    Rsa2048,
    Rsa3072,
    Rsa4096,
}

/// `TLS_KEYBITS`.
pub(crate) fn key() -> Result<Key> {
    variable("TLS_KEYBITS").map_or(Ok(Key::P256), |text| key_of(&text))
}

/// `TLS_CERTDAYS`.
pub(crate) fn days() -> Result<Option<u32>> {
    variable("TLS_CERTDAYS").as_deref().map(days_of).transpose()
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn key_of(text: &str) -> Result<Key> {
    match text.trim() {
        "256" => Ok(Key::P256),
        "384" => Ok(Key::P384),
        "2048" => Ok(Key::Rsa2048),
        "3072" => Ok(Key::Rsa3072),
        "4096" => Ok(Key::Rsa4096),
        _ => Err(anyhow!(
            "TLS_KEYBITS: “{text}” is no size of a key; use 256 or 384 for ECDSA, 2048, 3072 or 4096 for RSA"
        )),
    }
}

fn days_of(text: &str) -> Result<u32> {
    let days = text.trim().parse().ok();
    days.filter(|days| (1..=36_500).contains(days))
        .ok_or_else(|| anyhow!("TLS_CERTDAYS: “{text}” is no number of days; use 1 to 36500"))
}

/// Whether a certificate can be for it, and a realm be named so.
pub(crate) fn is_name(host: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    (1..=253).contains(&host.len()) && host.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_days_are_what_they_say() {
        assert_eq!(key_of("2048").unwrap(), Key::Rsa2048);
        assert_eq!(key_of(" 384 ").unwrap(), Key::P384);
        assert_eq!(days_of("30").unwrap(), 30);
        for wrong in ["1024", "RSA", "-2048"] {
            let error = key_of(wrong).unwrap_err().to_string();
            assert!(
                error.contains("TLS_KEYBITS") && error.contains(wrong),
                "{error}"
            );
        }
        for wrong in ["0", "-1", "36501", "a month"] {
            let error = days_of(wrong).unwrap_err().to_string();
            assert!(
                error.contains("TLS_CERTDAYS") && error.contains(wrong),
                "{error}"
            );
        }
    }

    #[test]
    fn names_are_what_certificates_are_for() {
        assert!(is_name("pbx.example.com") && is_name("0f1e2d3c4b5a"));
        assert!(!is_name("") && !is_name("a b") && !is_name("a\"b"));
    }
}
