//! What encrypted connections need: who we are, whom we trust, who is who.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::{ClientConfig, ClientConnection};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ServerConfig, ServerConnection, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, SupportedProtocolVersion};
use sip::TlsPeer;

mod names;
mod verifier;

use names::is_for;
use verifier::Verifier;

/// Certificates and trust for all encrypted connections: an immutable snapshot, cheap to clone. A new
/// one is for new connections; those that are open keep what they began with.
///
/// # Source
/// RFC 3261 §26.3.1, RFC 5922.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Snapshot>);

#[derive(Debug)]
struct Snapshot {
    server: Arc<ServerConfig>,
    web: Arc<ServerConfig>,
    peers: Vec<Known>,
}

/// A peer that is known by name, ready to be connected to.
#[derive(Debug)]
struct Known {
    name: Box<str>,
    server_name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

/// A certificate with what leads to its root, and its private key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Whose certificates are believed.
#[derive(Clone, Debug)]
pub enum Roots {
    /// Those of the public web (the list of Mozilla, as compiled in).
    Web,
    /// Those of this text in PEM.
    Pem(Vec<u8>),
}

/// Whether those who connect over TLS are asked who they are. Browsers never are.
#[derive(Clone, Debug)]
pub enum ClientCertificates {
    /// They are not.
    Off,
    /// Whoever shows a certificate must show a good one.
    Request(Roots),
    /// Whoever shows none is refused.
    Require(Roots),
}

/// A peer that is known by name.
#[derive(Debug)]
pub struct Peer {
    /// The domain that its certificate must name.
    pub name: Box<str>,
    /// Who vouches for it; none: any certificate will do when we connect, which protects against
    /// nobody who sits on the way.
    pub roots: Option<Roots>,
    /// What we show if it asks.
    pub identity: Option<Identity>,
}

/// What is wrong with a certificate, a key or a name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The text is no PEM.
    #[error("not PEM: {0}")]
    Pem(String),
    /// There is no certificate in the text.
    #[error("no certificate in it")]
    NoCertificate,
    /// There is no private key in the text.
    #[error("no private key in it")]
    NoKey,
    /// Certificate and key cannot be used, or not together.
    #[error("{0}")]
    Unusable(#[from] rustls::Error),
    /// The list of those who are believed is empty or wrong.
    #[error("certificates of authorities: {0}")]
    Roots(String),
    /// A peer's name is no host name.
    #[error("“{0}” is no host name")]
    Name(Box<str>),
}

impl Tls {
    /// Puts a snapshot together. [`TlsPeer`] 1 is the first of `peers`.
    ///
    /// # Errors
    /// If a certificate, a key or a name can't be used.
    pub fn new(
        identity: &Identity,
        clients: &ClientCertificates,
        peers: Vec<Peer>,
    ) -> Result<Self, TlsError> {
        let peers = peers.into_iter().map(Known::new);
        Ok(Self(Arc::new(Snapshot {
            server: server_config(identity, clients)?,
            web: server_config(identity, &ClientCertificates::Off)?,
            peers: peers.collect::<Result<_, _>>()?,
        })))
    }

    /// For a web server that shows the same certificate.
    #[must_use]
    pub fn web(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.web)
    }

    pub(crate) fn accept(&self) -> Result<ServerConnection, rustls::Error> {
        ServerConnection::new(Arc::clone(&self.0.server))
    }

    /// The beginning of a connection to a peer; none if nobody knows what its certificate should say.
    pub(crate) fn connect(&self, peer: TlsPeer) -> Option<ClientConnection> {
        let known = self.known(peer)?;
        let config = Arc::clone(&known.config);
        ClientConnection::new(config, known.server_name.clone()).ok()
    }

    /// Which of the peers showed this certificate, which has been verified.
    pub(crate) fn recognise(&self, certificate: &CertificateDer<'_>) -> TlsPeer {
        let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else {
            return TlsPeer::ANY;
        };
        let found = self
            .0
            .peers
            .iter()
            .position(|known| is_for(&certificate, &known.name, &known.server_name));
        let number = found.and_then(|place| u16::try_from(place + 1).ok());
        number.map_or(TlsPeer::ANY, TlsPeer)
    }

    pub(crate) fn name_of(&self, peer: TlsPeer) -> Option<&str> {
        self.known(peer).map(|known| &*known.name)
    }

    fn known(&self, peer: TlsPeer) -> Option<&Known> {
        self.0.peers.get(usize::from(peer.0).checked_sub(1)?)
    }
}

impl Identity {
    /// Reads a chain of certificates, ours first, and its key (PKCS #8, PKCS #1 or SEC 1).
    ///
    /// # Errors
    /// If one of them is missing or broken, or they don't belong together.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates(certificate)?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => TlsError::NoKey,
            error => TlsError::Pem(error.to_string()),
        })?;
        let identity = Self { chain, key };
        server_config(&identity, &ClientCertificates::Off)?;
        Ok(identity)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Roots {
    fn store(&self) -> Result<RootCertStore, TlsError> {
        let mut store = RootCertStore::empty();
        match self {
            Self::Web => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Self::Pem(pem) => {
                for certificate in certificates(pem)? {
                    let added = store.add(certificate);
                    added.map_err(|error| TlsError::Roots(error.to_string()))?;
                }
                if store.is_empty() {
                    return Err(TlsError::Roots("there are none".to_owned()));
                }
            }
        }
        Ok(store)
    }
}

impl Known {
    fn new(peer: Peer) -> Result<Self, TlsError> {
        let server_name = ServerName::try_from(peer.name.to_string());
        let Ok(server_name) = server_name else {
            return Err(TlsError::Name(peer.name));
        };
        let roots = peer.roots.as_ref().map(Roots::store).transpose()?;
        let verifier = Verifier::new(roots, peer.name.clone(), &provider());
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match peer.identity {
            Some(Identity { chain, key }) => builder.with_client_auth_cert(chain, key)?,
            None => builder.with_no_client_auth(),
        };
        Ok(Self {
            name: peer.name,
            server_name,
            config: Arc::new(config),
        })
    }
}

/// The snapshot of the moment, as all threads see it.
#[derive(Debug, Default)]
pub(crate) struct Current(RwLock<Option<Tls>>);

impl Current {
    pub(crate) fn new(tls: Option<Tls>) -> Self {
        Self(RwLock::new(tls))
    }

    pub(crate) fn load(&self) -> Option<Tls> {
        // Nothing between lock and unlock can panic half-way.
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn store(&self, tls: Tls) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(tls);
    }
}

fn server_config(
    identity: &Identity,
    clients: &ClientCertificates,
) -> Result<Arc<ServerConfig>, TlsError> {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_protocol_versions(VERSIONS)?;
    let verifier = |roots: &Roots| {
        let roots = Arc::new(roots.store()?);
        Ok::<_, TlsError>(WebPkiClientVerifier::builder_with_provider(
            roots,
            provider(),
        ))
    };
    let wrong = |error: rustls::server::VerifierBuilderError| TlsError::Roots(error.to_string());
    let builder = match clients {
        ClientCertificates::Off => builder.with_no_client_auth(),
        ClientCertificates::Request(roots) => {
            let verifier = verifier(roots)?.allow_unauthenticated();
            builder.with_client_cert_verifier(verifier.build().map_err(wrong)?)
        }
        ClientCertificates::Require(roots) => {
            builder.with_client_cert_verifier(verifier(roots)?.build().map_err(wrong)?)
        }
    };
    let mut config = builder.with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    // Phones come back after a restart of ours, all at once: resumption needs no memory here.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::Pem(error.to_string()))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// RFC 8996: nothing older.
const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
