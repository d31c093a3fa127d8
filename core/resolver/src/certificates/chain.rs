//! From a certificate to a root that we trust.

use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use stir::{Certificate, Fault, PublicKey, TnAuthList};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

/// The certificate in a file, if it leads to one of the roots and is valid at `now`. The file has the
/// certificate first and those between it and the root after it.
///
/// # Source
/// RFC 8226 §5, RFC 5280 §6; RFC 8588 §7 (ES256 alone).
pub(super) fn check(
    file: &[u8],
    roots: &[CertificateDer<'_>],
    now: Duration,
) -> Result<Certificate, Fault> {
    let chain = read(file).ok_or(Fault::Untrusted)?;
    let (leaf, between) = chain.split_first().ok_or(Fault::Untrusted)?;
    let anchors: Vec<_> = roots
        .iter()
        .filter_map(|root| anchor_from_trusted_cert(root).ok())
        .collect();
    let entity = EndEntityCert::try_from(leaf).map_err(|_| Fault::Untrusted)?;
    let verified = entity.verify_for_usage(
        ALGORITHMS,
        &anchors,
        between,
        UnixTime::since_unix_epoch(now),
        KeyUsage::client_auth(),
        None,
        None,
    );
    if let Err(error) = verified {
        tracing::warn!(%error, "a certificate of a signed number is not trusted");
        return Err(Fault::Untrusted);
    }
    contents(leaf).ok_or(Fault::Untrusted)
}

/// All certificates of a file, in PEM or one in DER; none if there are too many.
fn read(file: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    if file.first() == Some(&DER_SEQUENCE) {
        return Some(vec![CertificateDer::from(file.to_vec())]);
    }
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(file)
        .take(MOST_CERTIFICATES + 1)
        .collect();
    chain.ok().filter(|chain| chain.len() <= MOST_CERTIFICATES)
}

fn contents(leaf: &[u8]) -> Option<Certificate> {
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).ok();
    let list = certificate
        .extensions()
        .iter()
        .find(|extension| extension.oid.to_id_string() == TN_AUTH_LIST);
    let authority = match list {
        Some(list) => Some(TnAuthList::parse(list.value)?),
        None => None,
    };
    let point = &certificate.public_key().subject_public_key.data;
    Some(Certificate {
        key: PublicKey::from_point(point).ok()?,
        not_before: seconds(certificate.validity().not_before)?,
        not_after: seconds(certificate.validity().not_after)?,
        authority,
    })
}

/// Signatures on certificates that we accept; leaves are P-256, roots may be P-384.
const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    webpki::aws_lc_rs::ECDSA_P256_SHA256,
    webpki::aws_lc_rs::ECDSA_P256_SHA384,
    webpki::aws_lc_rs::ECDSA_P384_SHA256,
    webpki::aws_lc_rs::ECDSA_P384_SHA384,
];

/// RFC 8226 §9.
const TN_AUTH_LIST: &str = "1.3.6.1.5.5.7.1.26";

const DER_SEQUENCE: u8 = 0x30;

/// Most certificates of one chain.
const MOST_CERTIFICATES: usize = 8;
