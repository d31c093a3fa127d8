//! `[tls]`: certificates, and who is known by one.

use std::fs;
use std::path::{Path, PathBuf};

use engine::tls::{ClientCertificates, Identity, Peer, Roots, TlsError};

use super::document::{Key, Value};
use super::reader::{Section, join, table};
use super::report::{Fault, Report};
use super::values::{choice, text};

/// `[tls]`, with what is in the files that it names.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    /// None: one of our own making.
    pub(crate) identity: Option<Identity>,
    pub(crate) clients: ClientCertificates,
    pub(crate) peers: Vec<Peer>,
}

/// Whether clients are asked for certificates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Off,
    Request,
    Require,
}

/// Reads the table; names of files count from `root`.
pub(crate) fn read(mut tls: Section<'_>, root: &Path, report: &Report) -> Tls {
    let identity = identity(&mut tls, root);
    let asked = tls.read("client_certificates", Asked::Off, choice(ASKED));
    let authorities = tls.read("client_ca", None, |value| roots(root, value));
    let clients = match (asked, authorities) {
        (Asked::Off, _) => ClientCertificates::Off,
        (Asked::Request, Some(roots)) => ClientCertificates::Request(roots),
        (Asked::Require, Some(roots)) => ClientCertificates::Require(roots),
        (_, None) => {
            let fault = Fault::new(
                "is missing, so that no client's certificate can be verified",
                "name a file with the certificates of those who vouch for clients",
            );
            tls.error("client_ca", tls.origin(), fault);
            ClientCertificates::Off
        }
    };
    let peers = tls
        .optional("peer", table)
        .map_or(Vec::new(), |t| t.entries);
    let peers = peers
        .iter()
        .filter_map(|(key, value)| peer(key, value, root, identity.as_ref(), report))
        .collect();
    tls.finish();
    Tls {
        identity,
        clients,
        peers,
    }
}

/// One `[tls.peer.NAME]`.
fn peer(
    key: &Key,
    value: &Value,
    root: &Path,
    ours: Option<&Identity>,
    report: &Report,
) -> Option<Peer> {
    let path = join("tls.peer", &key.name);
    let table = table(value)
        .map_err(|fault| report.error(&path, &key.origin, fault))
        .ok()?;
    let mut section = Section::new(path.clone(), table, report);
    let verify = section.read("verify", true, choice(YES_OR_NO));
    let named = section.read("ca", None, |value| roots(root, value));
    let own = identity(&mut section, root);
    section.finish();
    let roots = verify.then(|| named.unwrap_or_else(Roots::web));
    Peer::new(&key.name, roots.as_ref(), own.as_ref().or(ours))
        .map_err(|error| {
            let remedy = "use the domain that the peer's certificate names";
            report.error(&path, &key.origin, Fault::new(error.to_string(), remedy));
        })
        .ok()
}

/// `certificate` and `key`; both or neither.
fn identity(section: &mut Section<'_>, root: &Path) -> Option<Identity> {
    let certificate = section.read("certificate", None, |value| file(root, value));
    let key = section.read("key", None, |value| file(root, value));
    let (certificate, key) = match (certificate, key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return None,
        (one, _) => {
            let missing = if one.is_none() { "certificate" } else { "key" };
            let fault = Fault::new("is missing", "name certificate and key, or neither");
            section.error(missing, section.origin(), fault);
            return None;
        }
    };
    Identity::from_pem(&certificate.content, &key.content)
        .map_err(|error| {
            let (name, path) = match error {
                TlsError::NoKey => ("key", &key.path),
                _ => ("certificate", &certificate.path),
            };
            section.error(name, section.origin(), wrong_file(path, &error));
        })
        .ok()
}

/// A file and what is in it.
struct Content {
    path: PathBuf,
    content: Vec<u8>,
}

/// The content of a file; the empty string is none.
fn file(root: &Path, value: &Value) -> Result<Option<Content>, Fault> {
    let name = text(value)?;
    if name.is_empty() {
        return Ok(None);
    }
    let path = root.join(name);
    match fs::read(&path) {
        Ok(content) => Ok(Some(Content { path, content })),
        Err(error) => {
            let message = format!("{} can't be read: {error}", path.display());
            let remedy = "name a file in PEM; its path counts from the data folder";
            Err(Fault::new(message, remedy))
        }
    }
}

fn roots(root: &Path, value: &Value) -> Result<Option<Roots>, Fault> {
    let Some(file) = file(root, value)? else {
        return Ok(None);
    };
    let roots = Roots::from_pem(&file.content);
    roots
        .map(Some)
        .map_err(|error| wrong_file(&file.path, &error))
}

fn wrong_file(path: &Path, error: &TlsError) -> Fault {
    let message = format!("{} can't be used: {error}", path.display());
    Fault::new(message, "give it certificates, or a key, in PEM")
}

const ASKED: &[(&str, Asked)] = &[
    ("off", Asked::Off),
    ("request", Asked::Request),
    ("require", Asked::Require),
];

const YES_OR_NO: &[(&str, bool)] = &[("yes", true), ("no", false)];
