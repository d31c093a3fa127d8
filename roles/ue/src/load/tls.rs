//! What the generator asks of a server's certificate.

use std::io;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::{LoadError, Trust};
use crate::tls::{self, Vouched};

/// The settings of all connections of a run.
///
/// # Errors
/// If nobody is trusted, or the file of authorities can't be read.
pub(super) fn config(trust: &Trust) -> Result<Arc<ClientConfig>, LoadError> {
    let vouched = match trust {
        Trust::Nobody => return Err(LoadError::Trust),
        Trust::Anybody => Vouched::Not,
        Trust::Authorities(path) => {
            let mut roots = RootCertStore::empty();
            let found = CertificateDer::pem_file_iter(path).map_err(io::Error::other);
            for certificate in found.map_err(LoadError::io("the authorities' file"))? {
                certificate
                    .map_err(io::Error::other)
                    .and_then(|one| roots.add(one).map_err(io::Error::other))
                    .map_err(LoadError::io("the authorities' file"))?;
            }
            Vouched::By(Arc::new(roots))
        }
    };
    tls::config(vouched).map_err(LoadError::io("TLS"))
}
