//! The protection profiles, by whatever name they are negotiated.

/// A cipher with its lengths: a *crypto-suite* of SDES, a *protection profile* of DTLS.
///
/// # Source
/// RFC 4568 §6.2, RFC 6188 §4, RFC 7714 §12
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Profile {
    /// AES-128 in counter mode, HMAC-SHA1 of 80 bits.
    Aes128CmSha1_80,
    /// AES-128 in counter mode, HMAC-SHA1 of 32 bits; still 80 for RTCP.
    Aes128CmSha1_32,
    /// AES-192 in counter mode, HMAC-SHA1 of 80 bits.
    Aes192CmSha1_80,
    /// AES-192 in counter mode, HMAC-SHA1 of 32 bits; still 80 for RTCP.
    Aes192CmSha1_32,
    /// AES-256 in counter mode, HMAC-SHA1 of 80 bits.
    Aes256CmSha1_80,
    /// AES-256 in counter mode, HMAC-SHA1 of 32 bits; still 80 for RTCP.
    Aes256CmSha1_32,
    /// AES-128 in Galois counter mode.
    AeadAes128Gcm,
    /// AES-256 in Galois counter mode.
    AeadAes256Gcm,
}

impl Profile {
    /// All profiles, in the order in which we prefer them: the cheapest of each strength first,
    /// short tags and the rare key length last.
    pub const ALL: [Self; 8] = [
        Self::AeadAes256Gcm,
        Self::AeadAes128Gcm,
        Self::Aes256CmSha1_80,
        Self::Aes128CmSha1_80,
        Self::Aes192CmSha1_80,
        Self::Aes256CmSha1_32,
        Self::Aes128CmSha1_32,
        Self::Aes192CmSha1_32,
    ];

    /// The length of the master key in bytes.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 | Self::Aes128CmSha1_32 | Self::AeadAes128Gcm => 16,
            Self::Aes192CmSha1_80 | Self::Aes192CmSha1_32 => 24,
            Self::Aes256CmSha1_80 | Self::Aes256CmSha1_32 | Self::AeadAes256Gcm => 32,
        }
    }

    /// The length of the master salt in bytes.
    #[must_use]
    pub const fn salt_len(self) -> usize {
        if self.is_aead() { 12 } else { 14 }
    }

    /// How many bytes an RTP packet grows by.
    #[must_use]
    pub const fn rtp_overhead(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 | Self::Aes192CmSha1_80 | Self::Aes256CmSha1_80 => 10,
            Self::Aes128CmSha1_32 | Self::Aes192CmSha1_32 | Self::Aes256CmSha1_32 => 4,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
        }
    }

    /// How many bytes an RTCP packet grows by: tag and index.
    #[must_use]
    pub const fn rtcp_overhead(self) -> usize {
        4 + if self.is_aead() { 16 } else { 10 }
    }

    /// The name of the crypto-suite in SDP.
    ///
    /// # Source
    /// RFC 4568 §6.2, RFC 6188 §4, RFC 7714 §14.2
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128CmSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::Aes128CmSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::Aes192CmSha1_80 => "AES_192_CM_HMAC_SHA1_80",
            Self::Aes192CmSha1_32 => "AES_192_CM_HMAC_SHA1_32",
            Self::Aes256CmSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Self::Aes256CmSha1_32 => "AES_256_CM_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// The profile with this name in SDP. Names are compared as written: they are case-sensitive.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// The number in the `use_srtp` extension of DTLS; `None` for those that have none.
    ///
    /// # Source
    /// RFC 5764 §4.1.2, RFC 7714 §14.2
    #[must_use]
    pub const fn dtls_number(self) -> Option<u16> {
        match self {
            Self::Aes128CmSha1_80 => Some(0x0001),
            Self::Aes128CmSha1_32 => Some(0x0002),
            Self::AeadAes128Gcm => Some(0x0007),
            Self::AeadAes256Gcm => Some(0x0008),
            _ => None,
        }
    }

    /// The profile with this number in the `use_srtp` extension of DTLS.
    #[must_use]
    pub fn from_dtls_number(number: u16) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.dtls_number() == Some(number))
    }

    pub(crate) const fn is_aead(self) -> bool {
        matches!(self, Self::AeadAes128Gcm | Self::AeadAes256Gcm)
    }
}

/// The largest number of bytes that any profile adds to a packet.
pub const MAX_OVERHEAD: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_back() {
        for profile in Profile::ALL {
            assert_eq!(Profile::from_name(profile.name()), Some(profile));
            if let Some(number) = profile.dtls_number() {
                assert_eq!(Profile::from_dtls_number(number), Some(profile));
            }
            assert!(profile.rtp_overhead().max(profile.rtcp_overhead()) <= MAX_OVERHEAD);
        }
        assert_eq!(Profile::from_name("F8_128_HMAC_SHA1_80"), None);
        assert_eq!(Profile::from_dtls_number(5), None);
    }
}
