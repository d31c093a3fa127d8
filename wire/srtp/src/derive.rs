//! Session keys, made from the master key.

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::MasterKey;
use crate::transform::Aes;

/// The session keys of RTP or of RTCP.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct SessionKeys {
    encryption: [u8; 32],
    key_len: usize,
    authentication: [u8; AUTHENTICATION_LEN],
    salt: [u8; SALT_LEN],
}

impl SessionKeys {
    /// Derives the keys of `label` and the two after it. The key derivation rate is zero: each
    /// key is derived once.
    ///
    /// # Source
    /// RFC 3711 §4.3.1, §4.3.3, RFC 6188 §3, RFC 7714 §11
    pub(crate) fn derive(master: &MasterKey, label: Label) -> Self {
        let aes = Aes::new(master.key());
        let mut keys = Self {
            encryption: [0; 32],
            key_len: master.key().len(),
            authentication: [0; AUTHENTICATION_LEN],
            salt: [0; SALT_LEN],
        };
        let label = label as u8;
        let len = keys.key_len;
        expand(&aes, master.salt(), label, &mut keys.encryption[..len]);
        expand(&aes, master.salt(), label + 1, &mut keys.authentication);
        expand(
            &aes,
            master.salt(),
            label + 2,
            &mut keys.salt[..master.salt().len()],
        );
        keys
    }

    pub(crate) fn encryption(&self) -> &[u8] {
        &self.encryption[..self.key_len]
    }

    pub(crate) fn authentication(&self) -> &[u8; AUTHENTICATION_LEN] {
        &self.authentication
    }

    /// The salt, with zeros behind it where it is short.
    pub(crate) fn salt(&self) -> &[u8; SALT_LEN] {
        &self.salt
    }
}

/// The first of three labels in a row: encryption, authentication, salt.
///
/// # Source
/// RFC 3711 §4.3.2
#[derive(Clone, Copy)]
pub(crate) enum Label {
    Rtp = 0,
    Rtcp = 3,
}

/// Fills `key` from the pseudo-random function: the key stream that starts at the salt with
/// `label` over its eighth byte.
fn expand(aes: &Aes, salt: &[u8], label: u8, key: &mut [u8]) {
    let mut iv = [0; 16];
    iv[..salt.len()].copy_from_slice(salt);
    iv[7] ^= label;
    key.fill(0);
    aes.apply_keystream(iv, key);
}

pub(crate) const AUTHENTICATION_LEN: usize = 20;
pub(crate) const SALT_LEN: usize = 14;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::tests::hex;

    #[test]
    fn rfc3711_4_3_test_vector_of_appendix_b_3() {
        let master = MasterKey::new(
            &hex("E1F97A0D3E018BE0D64FA32C06DE4139"),
            &hex("0EC675AD498AFEEBB6960B3AABE6"),
        );
        let keys = SessionKeys::derive(&master.unwrap(), Label::Rtp);
        assert_eq!(keys.encryption(), hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(keys.salt()[..], hex("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(
            keys.authentication()[..],
            hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
        );
    }

    #[test]
    fn rfc6188_7_2_test_vector_with_256_bits() {
        let master = MasterKey::new(
            &hex("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6"),
            &hex("3b04803de51ee7c96423ab5b78d2"),
        );
        let keys = SessionKeys::derive(&master.unwrap(), Label::Rtp);
        assert_eq!(
            keys.encryption(),
            hex("5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4")
        );
        assert_eq!(keys.salt()[..], hex("fa31791685ca444a9e07c6c64e93"));
        assert_eq!(
            keys.authentication()[..],
            hex("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05")
        );
    }

    #[test]
    fn rfc6188_7_4_test_vector_with_192_bits() {
        let master = MasterKey::new(
            &hex("73edc66c4fa15776fb57f9505c171365 50ffda71f3e8e5f1"),
            &hex("c8522f3acd4ce86d5add78edbb11"),
        );
        let keys = SessionKeys::derive(&master.unwrap(), Label::Rtp);
        assert_eq!(
            keys.encryption(),
            hex("31874736a8f1143870c26e4857d8a5b2 c4a354407faadabb")
        );
        assert_eq!(keys.salt()[..], hex("2372b82d639b6d8503a47adc0a6c"));
        assert_eq!(
            keys.authentication()[..],
            hex("355b10973cd95b9eacf4061c7e1a7151e7cfbfcb")
        );
    }
}
