//! Keys by a handshake: certificate fingerprints and who begins (RFC 5763).

use std::fmt::{self, Write as _};

/// A certificate's fingerprint.
///
/// # Source
/// RFC 8122 §5
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// The digest that it was made with.
    pub digest: Digest,
    /// The digest's octets.
    pub bytes: Box<[u8]>,
}

/// A digest for certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Digest {
    /// SHA-1; read, but a weak proof.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Digest {
    const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The digest's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha-1",
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    /// How many octets it has.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl Fingerprint {
    /// Reads the value of `a=fingerprint`. None: an unknown digest, or not its length.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let (name, hex) = value.trim().split_once(' ')?;
        let mut known = Digest::ALL.into_iter();
        let digest = known.find(|digest| digest.name().eq_ignore_ascii_case(name))?;
        let octet = |pair: &str| {
            u8::from_str_radix(pair, 16)
                .ok()
                .filter(|_| pair.len() == 2)
        };
        let bytes: Option<Box<[u8]>> = hex.trim().split(':').map(octet).collect();
        let bytes = bytes.filter(|bytes| bytes.len() == digest.length())?;
        Some(Self { digest, bytes })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.digest.name())?;
        for (index, byte) in self.bytes.iter().enumerate() {
            f.write_char(if index == 0 { ' ' } else { ':' })?;
            write!(f, "{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Who begins the handshake.
///
/// # Source
/// RFC 4145 §4, RFC 5763 §5
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setup {
    /// Whoever says it: the DTLS client.
    Active,
    /// The other side; whoever says it is the DTLS server.
    Passive,
    /// Either: the answer decides.
    ActPass,
}

impl Setup {
    /// Reads the value of `a=setup`.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        [Self::Active, Self::Passive, Self::ActPass]
            .into_iter()
            .find(|setup| setup.as_str().eq_ignore_ascii_case(value))
    }

    /// The value of `a=setup`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
        }
    }

    /// Our part in answer to an offer: the free choice is to wait. The offerer knows our certificate, and
    /// answers our checks, only when it has our answer, which may be a long ringing away; then it begins
    /// at once. An association that there is already keeps its parts.
    pub(super) const fn answered(self, now: Option<Self>) -> Self {
        match (self, now) {
            (Self::Active, _) => Self::Passive,
            (Self::Passive, _) => Self::Active,
            (Self::ActPass, Some(now)) => now,
            (Self::ActPass, None) => Self::Passive,
        }
    }

    /// Our part after the party has answered our `actpass`.
    pub(super) const fn settled(answer: Option<Self>) -> Self {
        match answer {
            Some(Self::Passive) => Self::Active,
            _ => Self::Passive,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8122_5_a_fingerprint_reads_as_it_is_written() {
        let text = "sha-256 6B:8B:F0:65:5F:78:E2:51:3B:AC:6F:F3:3F:46:1B:35:\
                    DC:B8:5F:64:1A:24:C2:43:F0:A1:58:D0:A1:2C:19:08";
        let print = Fingerprint::parse(text).unwrap();
        assert_eq!(print.to_string(), text);
        assert_eq!(Fingerprint::parse(&text.to_lowercase()), Some(print));
        for bad in ["sha-256 6B", "md2 6B:8B", "sha-1 +1:8B", "", "sha-256 x"] {
            assert_eq!(Fingerprint::parse(bad), None);
        }
    }

    #[test]
    fn rfc5763_5_roles_are_opposites() {
        use Setup::{ActPass, Active, Passive};
        assert_eq!(ActPass.answered(None), Passive);
        assert_eq!(Passive.answered(None), Active);
        assert_eq!(Active.answered(Some(Active)), Passive);
        assert_eq!(Setup::settled(Some(Active)), Passive);
        assert_eq!(Setup::settled(Some(Passive)), Active);
        assert_eq!(Setup::settled(None), Passive);
    }

    #[test]
    fn rfc8842_5_3_a_lasting_association_keeps_its_roles() {
        assert_eq!(Setup::ActPass.answered(Some(Setup::Active)), Setup::Active);
    }
}
