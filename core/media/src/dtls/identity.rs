//! Our certificate.

use std::fmt;
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use zeroize::Zeroize;

use super::classic::Configs;
use super::modern;
use super::{Error, Fingerprint, Hash};

/// A certificate with its key, by which peers know us as long as the process lives.
///
/// # Source
/// RFC 5763 §5: self-signed, and known by its fingerprint alone
pub struct Identity {
    certificate: dimpl::DtlsCertificate,
    config: Arc<dimpl::Config>,
    classic: Configs,
    fingerprint: Fingerprint,
}

impl Identity {
    /// Makes a new key and a certificate of it. Takes some tens of milliseconds the first time, in
    /// which the source of randomness is made ready: not for a thread that others wait for.
    ///
    /// # Errors
    /// [`Error::Identity`] if the provider of cryptography fails.
    pub fn generate() -> Result<Self, Error> {
        let failed = |error: rcgen::Error| Error::Identity(error.to_string());
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters
            .distinguished_name
            .push(DnType::CommonName, "dialtone");
        let certificate = parameters.self_signed(&key).map_err(failed)?;
        let certificate = dimpl::DtlsCertificate {
            certificate: certificate.der().to_vec(),
            private_key: key.serialize_der(),
        };
        Ok(Self {
            fingerprint: Fingerprint::of(Hash::Sha256, &certificate.certificate),
            config: modern::config()?,
            classic: Configs::new(&certificate.certificate, &certificate.private_key)?,
            certificate,
        })
    }

    /// What our description says (`a=fingerprint`).
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(super) fn certificate(&self) -> dimpl::DtlsCertificate {
        self.certificate.clone()
    }

    pub(super) fn config(&self) -> Arc<dimpl::Config> {
        Arc::clone(&self.config)
    }

    pub(super) fn classic(&self) -> &Configs {
        &self.classic
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        self.certificate.private_key.zeroize();
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.fingerprint)
    }
}
