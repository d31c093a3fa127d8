//! Certificates for tests: an authority of our own, and what it vouches for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// A certificate and its key, in PEM files.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Somebody whom the phones of a test trust.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    /// Makes an authority that keeps its files in `folder`.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn new(folder: PathBuf) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, "dialtone tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        fs::write(folder.join("ca.pem"), certificate.pem())?;
        let issuer = Issuer::new(params, key);
        Ok(Self { issuer, folder })
    }

    /// The file with its own certificate.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Vouches for somebody who has these addresses and domains.
    ///
    /// # Errors
    /// When a name is none, or the files can't be written.
    pub fn vouch(&self, names: &[&str]) -> Result<Certificate> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let stem = names.join("_").replace(':', "-");
        let mut params = CertificateParams::new(names)?;
        let name = params
            .subject_alt_names
            .first()
            .map(|name| format!("{name:?}"));
        params
            .distinguished_name
            .push(DnType::CommonName, name.unwrap_or_default());
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let files = Certificate {
            certificate: self.folder.join(format!("{stem}.pem")),
            key: self.folder.join(format!("{stem}.key")),
        };
        fs::write(&files.certificate, certificate.pem())?;
        fs::write(&files.key, key.serialize_pem())?;
        Ok(files)
    }
}

impl Certificate {
    /// Settings of the server that make it show this certificate.
    #[must_use]
    pub fn settings(&self) -> [(&'static str, String); 2] {
        let quoted = |path: &Path| format!("\"{}\"", path.display());
        [
            ("tls.certificate", quoted(&self.certificate)),
            ("tls.key", quoted(&self.key)),
        ]
    }
}
