//! Whose certificate it is.

use rustls::pki_types::ServerName;
use webpki::EndEntityCert;

/// Whether a certificate is that of the SIP domain `name`. If it names SIP domains as URIs, these alone
/// count; if not, its host names do. Unlike RFC 5922 §7.2, a wildcard matches, because carriers use
/// them.
///
/// # Source
/// RFC 5922 §7.1, §7.2.
pub(super) fn is_for(certificate: &EndEntityCert<'_>, name: &str, host: &ServerName<'_>) -> bool {
    let mut domains = certificate
        .valid_uri_names()
        .filter_map(sip_domain)
        .peekable();
    if domains.peek().is_some() {
        return domains.any(|domain| domain.eq_ignore_ascii_case(name));
    }
    certificate.verify_is_valid_for_subject_name(host).is_ok()
}

/// The domain that a URI names as such: one with a user names somebody in it (RFC 5922 §7.1).
fn sip_domain(uri: &str) -> Option<&str> {
    let (scheme, domain) = uri.split_once(':')?;
    let is_sip = scheme.eq_ignore_ascii_case("sip");
    let is_domain = !domain.contains(['@', ';', '?']);
    (is_sip && is_domain).then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc5922_7_1_only_a_uri_without_a_user_names_a_domain() {
        assert_eq!(sip_domain("sip:example.com"), Some("example.com"));
        assert_eq!(sip_domain("SIP:example.com"), Some("example.com"));
        for other in ["sip:alice@example.com", "im:example.com", "example.com", ""] {
            assert_eq!(sip_domain(other), None, "{other}");
        }
    }
}
