//! A token that fits its call and whose signature is still to be verified.

use base64ct::{Base64UrlUnpadded, Encoding as _};

use crate::{Certificate, Fault, Passport, PublicKey};

/// What somebody claims about a call. Nothing of it is to be believed before it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    passport: Passport,
    signed: String,
    signature: Vec<u8>,
}

impl Claim {
    pub(crate) fn new(passport: Passport, signed: String, signature: &str) -> Result<Self, Fault> {
        let signature = Base64UrlUnpadded::decode_vec(signature).map_err(|_| Fault::Malformed)?;
        Ok(Self {
            passport,
            signed,
            signature,
        })
    }

    /// Where the certificate is with which to verify it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.passport.x5u
    }

    /// Verifies the signature.
    ///
    /// # Errors
    /// [`Fault::Forged`] if it is not the key's.
    ///
    /// # Source
    /// RFC 8225 §6.
    pub fn verify(&self, key: &PublicKey) -> Result<&Passport, Fault> {
        key.verify(self.signed.as_bytes(), &self.signature)?;
        Ok(&self.passport)
    }

    /// Verifies the signature with a certificate that is trusted, at `now`.
    ///
    /// # Errors
    /// [`Fault::Untrusted`] if the certificate is out of date or not for this number,
    /// [`Fault::Forged`] if the signature is not its key's.
    ///
    /// # Source
    /// RFC 8224 §6.2 step 3, RFC 8226 §9.
    pub fn verify_with(&self, certificate: &Certificate, now: u64) -> Result<&Passport, Fault> {
        if !certificate.vouches_for(&self.passport.orig, now) {
            return Err(Fault::Untrusted);
        }
        self.verify(&certificate.key)
    }
}
