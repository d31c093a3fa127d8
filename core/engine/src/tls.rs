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
    /// [`TlsPeer`] 1 is the first. None: who is no longer known, because numbers are not used again.
    peers: Vec<Option<Peer>>,
}

/// A peer that is known by name.
#[derive(Clone, Debug)]
pub struct Peer {
    name: Box<str>,
    server_name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

/// A certificate with what leads to its root, and its private key.
#[derive(Clone)]
pub struct Identity(Arc<Own>);

struct Own {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Whose certificates are believed.
#[derive(Clone)]
pub struct Roots(Arc<RootCertStore>);

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
    /// Clients can't be verified by these roots.
    #[error("{0}")]
    Roots(#[from] rustls::server::VerifierBuilderError),
    /// A peer's name is no host name.
    #[error("“{0}” is no host name")]
    Name(Box<str>),
}

impl Tls {
    /// Puts a snapshot together.
    ///
    /// # Errors
    /// If certificate and key, or the roots of clients, can't be used.
    pub fn new(
        identity: &Identity,
        clients: &ClientCertificates,
        peers: Vec<Peer>,
    ) -> Result<Self, TlsError> {
        Self::with_numbers(identity, clients, peers, Vec::new())
    }

    /// Like [`new`](Self::new), but who was known before keeps the number.
    ///
    /// # Errors
    /// See [`new`](Self::new).
    pub fn renew(
        &self,
        identity: &Identity,
        clients: &ClientCertificates,
        peers: Vec<Peer>,
    ) -> Result<Self, TlsError> {
        Self::with_numbers(identity, clients, peers, self.0.peers.clone())
    }

    fn with_numbers(
        identity: &Identity,
        clients: &ClientCertificates,
        mut peers: Vec<Peer>,
        before: Vec<Option<Peer>>,
    ) -> Result<Self, TlsError> {
        let mut numbered: Vec<Option<Peer>> = before
            .into_iter()
            .map(|old| {
                let name = old?.name;
                let place = peers.iter().position(|peer| peer.name == name)?;
                Some(peers.remove(place))
            })
            .collect();
        numbered.extend(peers.into_iter().map(Some));
        // Beyond this nobody could be named; a list that long was never in one file.
        numbered.truncate(usize::from(u16::MAX));
        Ok(Self(Arc::new(Snapshot {
            server: server_config(identity, clients)?,
            web: server_config(identity, &ClientCertificates::Off)?,
            peers: numbered,
        })))
    }

    /// The number of the peer with this name.
    #[must_use]
    pub fn peer(&self, name: &str) -> Option<TlsPeer> {
        self.number(|peer| peer.name.eq_ignore_ascii_case(name))
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
        let found = self.number(|peer| is_for(&certificate, &peer.name, &peer.server_name));
        found.unwrap_or(TlsPeer::ANY)
    }

    pub(crate) fn name_of(&self, peer: TlsPeer) -> Option<&str> {
        self.known(peer).map(|known| &*known.name)
    }

    fn known(&self, peer: TlsPeer) -> Option<&Peer> {
        let place = usize::from(peer.0).checked_sub(1)?;
        self.0.peers.get(place)?.as_ref()
    }

    fn number(&self, is_meant: impl Fn(&Peer) -> bool) -> Option<TlsPeer> {
        let mut peers = self.0.peers.iter();
        let place = peers.position(|peer| peer.as_ref().is_some_and(&is_meant))?;
        u16::try_from(place + 1).ok().map(TlsPeer)
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
        let identity = Self(Arc::new(Own { chain, key }));
        server_config(&identity, &ClientCertificates::Off)?;
        Ok(identity)
    }
}

impl Identity {
    /// The certificate itself, in DER.
    #[must_use]
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.0.chain.first()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Roots {
    /// Those of the public web: the list of Mozilla, as compiled in.
    #[must_use]
    pub fn web() -> Self {
        let mut store = RootCertStore::empty();
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Self(Arc::new(store))
    }

    /// Those of a text in PEM.
    ///
    /// # Errors
    /// If there is none, or one that can't be used.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        for certificate in certificates(pem)? {
            store.add(certificate)?;
        }
        if store.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        Ok(Self(Arc::new(store)))
    }
}

impl Roots {
    /// For whoever connects by other means.
    #[must_use]
    pub fn store(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({})", self.0.len())
    }
}

impl Peer {
    /// A peer whose certificate must name the domain `name` and be vouched for by `roots`; without them
    /// any certificate will do when we connect, which protects against nobody who sits on the way.
    /// `identity` is what we show if it asks.
    ///
    /// # Errors
    /// If the name is no host name, or the identity can't be used.
    pub fn new(
        name: &str,
        roots: Option<&Roots>,
        identity: Option<&Identity>,
    ) -> Result<Self, TlsError> {
        let server_name = ServerName::try_from(name.to_owned());
        let server_name = server_name.map_err(|_| TlsError::Name(name.into()))?;
        let roots = roots.map(|roots| Arc::clone(&roots.0));
        let verifier = Verifier::new(roots, name.into(), &provider());
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match identity {
            Some(Identity(own)) => {
                builder.with_client_auth_cert(own.chain.clone(), own.key.clone_key())?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Self {
            name: name.into(),
            server_name,
            config: Arc::new(config),
        })
    }

    /// The domain that it is known by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
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
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots.0), provider())
    };
    let builder = match clients {
        ClientCertificates::Off => builder.with_no_client_auth(),
        ClientCertificates::Request(roots) => {
            let verifier = verifier(roots).allow_unauthenticated();
            builder.with_client_cert_verifier(verifier.build()?)
        }
        ClientCertificates::Require(roots) => {
            builder.with_client_cert_verifier(verifier(roots).build()?)
        }
    };
    let mut config =
        builder.with_single_cert(identity.0.chain.clone(), identity.0.key.clone_key())?;
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
