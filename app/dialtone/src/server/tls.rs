//! The certificate that the server shows: the configured one, or one of its own making.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use engine::Tls;
use engine::tls::Identity;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};

use super::network;
use crate::folder::{Folder, replace_file};
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
    if !certificate.exists() || !key.exists() {
        make(folder)?;
    }
    let read =
        |path: &Path| fs::read(path).with_context(|| format!("{} can't be read", path.display()));
    Identity::from_pem(&read(&certificate)?, &read(&key)?).with_context(|| {
        let file = certificate.display();
        format!("{file} can't be used; remove it to have a new one made")
    })
}

fn make(folder: &Folder) -> Result<()> {
    let (pem, key) = generate().context("no certificate can be made")?;
    for (path, text) in [(folder.key(), key), (folder.certificate(), pem)] {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("{} can't be made", parent.display()))?;
        }
        replace_file(&path, &text)
            .with_context(|| format!("{} can't be written", path.display()))?;
    }
    let file = folder.certificate();
    tracing::warn!(
        file = %file.display(),
        "no certificate is configured, so one was made that nobody vouches for: phones and browsers \
         must be told to trust it; a real one is named with [tls] certificate and key"
    );
    Ok(())
}

/// A certificate for all names and addresses of this machine, and its key.
fn generate() -> Result<(String, String), rcgen::Error> {
    let mut names = vec!["localhost".to_owned()];
    let host = nix::unistd::gethostname().unwrap_or_default();
    names.extend(host.into_string().ok().filter(|host| is_name(host)));
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
    params.not_after = (now + LIFE).into();
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn is_name(host: &str) -> bool {
    !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b))
}

/// A clock that goes slow elsewhere must not refuse us.
const DAY: Duration = Duration::from_secs(86_400);

/// Ten years: what nobody vouches for need not be renewed for anybody.
const LIFE: Duration = Duration::from_secs(3650 * 86_400);
