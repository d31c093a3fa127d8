//! Certificates of those who sign callers' numbers: fetched, checked, remembered.
//!
//! - `fetch`: over HTTPS, from public addresses, within bounds.
//! - `chain`: up to one of the roots.

mod chain;
mod fetch;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use stir::{Certificate, Fault};
use tokio::time::Instant;

use crate::{Names, Settings};
use fetch::Fetcher;

/// Whose certificates are believed, and where they may be fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Roots of those who sign callers' numbers; none: nobody is believed.
    pub roots: Roots,
    /// Roots of web servers, besides those that browsers know.
    pub web_roots: Roots,
    /// Networks (address, prefix length) that are fetched from though they are not public. From others a
    /// caller could make us send requests to machines that only we reach.
    pub private: Vec<(IpAddr, u8)>,
}

impl Trust {
    /// The certificates in a PEM file's text.
    ///
    /// # Errors
    /// [`PemError`] if there is none, or a malformed one.
    pub fn read_pem(pem: &[u8]) -> Result<Roots, PemError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certificates = certificates.map_err(|_| PemError)?;
        let usable = |der: &CertificateDer<'_>| webpki::anchor_from_trusted_cert(der).is_ok();
        let fine = !certificates.is_empty() && certificates.iter().all(usable);
        fine.then_some(certificates).ok_or(PemError)
    }
}

/// Certificates of roots, in DER.
pub type Roots = Vec<CertificateDer<'static>>;

/// The file has no certificate that can be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no usable certificate in PEM")]
pub struct PemError;

type Known = Result<Arc<Certificate>, Fault>;

/// Fetches certificates, and remembers what it fetched and what it could not.
#[derive(Debug)]
pub struct Certificates {
    fetcher: Fetcher,
    roots: Arc<[CertificateDer<'static>]>,
    limit: Duration,
    known: HashMap<Box<str>, (Known, Instant)>,
}

impl Certificates {
    /// Fetches as `settings` say, from servers that `names` finds.
    #[must_use]
    pub fn new(settings: &Settings, names: Names) -> Self {
        Self {
            fetcher: Fetcher::new(&settings.trust, names),
            roots: settings.trust.roots.as_slice().into(),
            limit: settings.limit,
            known: HashMap::new(),
        }
    }

    /// What is known of a URL.
    #[must_use]
    pub fn known(&self, url: &str) -> Option<Known> {
        let (known, until) = self.known.get(url)?;
        (*until > Instant::now()).then(|| known.clone())
    }

    /// Fetches the certificate at a URL and checks its chain; [`Fault::Unreachable`] once the limit
    /// is over.
    pub fn fetch(&self, url: Box<str>) -> impl Future<Output = Known> + Send + 'static {
        let (fetcher, roots) = (self.fetcher.clone(), Arc::clone(&self.roots));
        let limit = self.limit;
        async move {
            let fetched = tokio::time::timeout(limit, fetcher.fetch(&url)).await;
            let body = match fetched {
                Ok(Ok(body)) => body,
                Ok(Err(error)) => {
                    tracing::warn!(url = %url, error = %error, "a certificate can't be fetched");
                    return Err(Fault::Unreachable);
                }
                Err(_) => {
                    tracing::warn!(url = %url, "a certificate takes too long to be fetched");
                    return Err(Fault::Unreachable);
                }
            };
            chain::check(&body, &roots, now()).map(Arc::new)
        }
    }

    /// Remembers what was fetched.
    pub fn remember(&mut self, url: &str, found: &Known) {
        let now = Instant::now();
        if self.known.len() >= MOST_KNOWN {
            self.known.retain(|_, (_, until)| *until > now);
        }
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        let life = if found.is_ok() { LIFE } else { ABSENCE };
        self.known.insert(url.into(), (found.clone(), now + life));
    }
}

fn now() -> Duration {
    // A clock before 1970 makes every certificate a future one.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Most certificates that are remembered; one more, and all are forgotten.
const MOST_KNOWN: usize = 1024;

/// How long a certificate is used without fetching it again. Its dates are looked at each time.
const LIFE: Duration = Duration::from_secs(3600);

/// How long what could not be had is not asked for again.
const ABSENCE: Duration = Duration::from_secs(30);
