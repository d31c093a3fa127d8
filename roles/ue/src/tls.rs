//! Whose certificates are taken.

use std::io;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};

/// Whose certificate a server must show.
#[derive(Clone, Debug)]
pub(crate) enum Vouched {
    /// One with its name, by one of these.
    By(Arc<RootCertStore>),
    /// This one, whatever name is in it.
    Is(CertificateDer<'static>),
    /// Any.
    Not,
}

/// The settings of connections to such a server.
///
/// # Errors
/// Of TLS.
pub(crate) fn config(vouched: Vouched) -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let one = |certificate| {
        Arc::new(Proven {
            certificate,
            provider,
        })
    };
    let builder: ConfigBuilder<ClientConfig, WantsClientCert> = match vouched {
        Vouched::By(roots) => builder.with_root_certificates(roots),
        Vouched::Is(certificate) => builder
            .dangerous()
            .with_custom_certificate_verifier(one(Some(certificate))),
        Vouched::Not => builder
            .dangerous()
            .with_custom_certificate_verifier(one(None)),
    };
    Ok(Arc::new(builder.with_no_client_auth()))
}

/// Takes the one certificate, or every one if there is none, whose key the server proves to have.
#[derive(Debug)]
struct Proven {
    certificate: Option<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Proven {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.certificate {
            Some(known) if known != shown => Err(CertificateError::UnknownIssuer.into()),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let known = &self.provider.signature_verification_algorithms;
        known.supported_schemes()
    }
}
