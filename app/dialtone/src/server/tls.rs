//! The certificate that the server shows: the configured one, or one of its own making.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use engine::Tls;
use engine::tls::Identity;
use rcgen::{CertificateParams, DnType, KeyPair, RsaKeySize, SanType};

use super::network;
use crate::environment::{self, Key, is_name};
use crate::folder::{Folder, replace_files};
use crate::settings;

/// Certificates and trust by the settings. Who is known in `before` keeps the number.
pub(super) fn load(folder: &Folder, settings: &settings::Tls, before: Option<&Tls>) -> Result<Tls> {
    let identity = match &settings.identity {
        Some(identity) => identity.clone(),
        None => self_signed(folder)?,
    };
    let peers = settings.peers.clone();
    let tls = match before {
        Some(before) => before.renew(&identity, &settings.clients, peers),
        None => Tls::new(&identity, &settings.clients, peers),
    };
    tls.context("TLS can't be set up; look at [tls] in dialtone.toml")
}

/// The certificate that was made at an earlier start, or a new one.
fn self_signed(folder: &Folder) -> Result<Identity> {
    let (certificate, key) = (folder.certificate(), folder.key());
    let wish = Wish::of_environment()?;
    if !key.exists() || !is_fresh(&certificate, wish.life) {
        make(folder, &wish)?;
    }
    let read =
        |path: &Path| fs::read(path).with_context(|| format!("{} can't be read", path.display()));
    Identity::from_pem(&read(&certificate)?, &read(&key)?).with_context(|| {
        let file = certificate.display();
        format!("{file} can't be used; remove it to have a new one made")
    })
}

/// How a certificate of our own is to be.
struct Wish {
    key: Key,
    life: Duration,
    /// A name besides the machine's.
    host: Option<String>,
}

impl Wish {
    fn of_environment() -> Result<Self> {
        let days = environment::days()?;
        Ok(Self {
            key: environment::key()?,
            life: days.map_or(LIFE, |days| DAY * days),
            host: environment::host(),
        })
    }
}

/// Whether a certificate has been made, and has a third of its life before it.
fn is_fresh(certificate: &Path, life: Duration) -> bool {
    let made = fs::metadata(certificate).and_then(|file| file.modified());
    // One of the future is from a clock that went wrong, and is as good.
    made.is_ok_and(|made| made.elapsed().unwrap_or_default() < life * 2 / 3)
}

fn make(folder: &Folder, wish: &Wish) -> Result<()> {
    let (pem, key) = generate(wish).context("no certificate can be made")?;
    let path = folder.key();
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)
            .with_context(|| format!("{} can't be made", parent.display()))?;
    }
    replace_files(&[(&path, &key), (&folder.certificate(), &pem)])?;
    let file = folder.certificate();
    tracing::warn!(
        file = %file.display(),
        "no certificate is configured, so one was made that nobody vouches for: phones and browsers \
         must be told to trust it; a real one is named with [tls] certificate and key"
    );
    Ok(())
}

/// A certificate for all names and addresses of this machine, and its key.
fn generate(wish: &Wish) -> Result<(String, String), rcgen::Error> {
    let mut names = vec!["localhost".to_owned()];
    let host = nix::unistd::gethostname().unwrap_or_default();
    names.extend(host.into_string().ok().filter(|host| is_name(host)));
    names.extend(wish.host.clone());
    names.dedup();
    let common_name = names.last().cloned().unwrap_or_default();
    let mut params = CertificateParams::new(names)?;
    let addresses = network::own_addresses().into_iter();
    params
        .subject_alt_names
        .extend(addresses.map(SanType::IpAddress));
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let now = SystemTime::now();
    params.not_before = (now - DAY).into();
    params.not_after = (now + wish.life).into();
    let key = pair(wish.key)?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn pair(key: Key) -> Result<KeyPair, rcgen::Error> {
    let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
    match key {
        Key::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        Key::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        Key::Rsa2048 => rsa(RsaKeySize::_2048),
        Key::Rsa3072 => rsa(RsaKeySize::_3072),
        Key::Rsa4096 => rsa(RsaKeySize::_4096),
    }
}

/// A clock that goes slow elsewhere must not refuse us.
const DAY: Duration = Duration::from_secs(86_400);

/// Ten years: what nobody vouches for need not be renewed for anybody.
const LIFE: Duration = Duration::from_secs(3650 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_of_all_keys_can_be_used_and_name_the_host() {
        for key in [Key::P256, Key::P384, Key::Rsa2048] {
            let host = Some("pbx.example.com".to_owned());
            let wish = Wish {
                key,
                life: DAY * 30,
                host,
            };
            let (certificate, key) = generate(&wish).unwrap();
            Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        }
    }

    #[test]
    fn what_has_lived_for_long_is_made_anew() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path());
        assert!(!is_fresh(&folder.certificate(), LIFE));
        self_signed(&folder).unwrap();
        let first = fs::read(folder.certificate()).unwrap();
        self_signed(&folder).unwrap();
        assert_eq!(fs::read(folder.certificate()).unwrap(), first);
        assert!(is_fresh(&folder.certificate(), DAY));
        assert!(!is_fresh(&folder.certificate(), Duration::ZERO));
    }
}
