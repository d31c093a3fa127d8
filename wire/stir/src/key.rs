//! ES256: ECDSA over P-256 with SHA-256.

use std::fmt;

use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{self, Signature};
use p256::pkcs8::DecodePrivateKey as _;

use crate::Fault;

/// A private key.
///
/// # Source
/// RFC 7518 §3.4, RFC 6979 (signatures that need no random numbers).
#[derive(Clone)]
pub struct SigningKey(ecdsa::SigningKey);

impl SigningKey {
    /// Reads a key from PEM, `PRIVATE KEY` (RFC 5208) or `EC PRIVATE KEY` (RFC 5915).
    ///
    /// # Errors
    /// [`KeyError`] if it is not a P-256 key in one of these forms.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        if let Ok(key) = ecdsa::SigningKey::from_pkcs8_pem(pem) {
            return Ok(Self(key));
        }
        // The file may begin with the curve's parameters.
        let start = pem.find("-----BEGIN EC PRIVATE KEY").ok_or(KeyError)?;
        let key = p256::SecretKey::from_sec1_pem(&pem[start..]).map_err(|_| KeyError)?;
        Ok(Self(key.into()))
    }

    /// The other half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.verifying_key())
    }

    pub(crate) fn sign(&self, text: &[u8]) -> Vec<u8> {
        let signature: Signature = self.0.sign(text);
        signature.to_bytes().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.public() == other.public()
    }
}

impl Eq for SigningKey {}

/// A public key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicKey(ecdsa::VerifyingKey);

impl PublicKey {
    /// The key whose point is `point` (SEC 1 §2.3.3), as it stands in a certificate.
    ///
    /// # Errors
    /// [`KeyError`] if that is no point of P-256.
    pub fn from_point(point: &[u8]) -> Result<Self, KeyError> {
        ecdsa::VerifyingKey::from_sec1_bytes(point)
            .map(Self)
            .map_err(|_| KeyError)
    }

    pub(crate) fn verify(&self, text: &[u8], signature: &[u8]) -> Result<(), Fault> {
        let signature = Signature::from_slice(signature).map_err(|_| Fault::Forged)?;
        self.0.verify(text, &signature).map_err(|_| Fault::Forged)
    }
}

/// This is no key on P-256.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a private key on the curve P-256 in PEM")]
pub struct KeyError;
