//! Signed caller numbers: `[stir]` of `etc/dialtone.toml`, `[trunk.NAME.stir]` of `etc/trunks.toml`.

use std::sync::Arc;

use ::stir::{Attest, Signer, SigningKey};
use pbx::stir::{StirPolicy, Verify};
use resolver::Trust;

use super::document::Value;
use super::reader::Section;
use super::report::Fault;
use super::values::{self, choice, list, printable, text};

/// Whose certificates are believed.
pub(crate) fn trust(mut section: Section<'_>) -> Trust {
    let read = Trust {
        roots: section.read("roots", Vec::new(), certificates),
        web_roots: section.read("web_roots", Vec::new(), certificates),
        private: section.read("private", Vec::new(), list(0, values::network)),
    };
    section.finish();
    read
}

/// What a trunk signs and verifies.
pub(crate) fn policy(mut section: Section<'_>) -> StirPolicy {
    let key = section.optional("key", signing_key);
    let x5u = section.optional("x5u", url);
    let attest = section.read("attest", Attest::Full, choice(ATTESTATIONS));
    let origid = section.optional("origid", printable(64));
    let verify = section.read("verify", Verify::Off, choice(VERIFY));
    let origin = section.origin().clone();
    let sign = match (key, x5u) {
        (Some(key), Some(x5u)) => {
            // A UUID that says nothing of anybody, where none is configured.
            let origid = origid.unwrap_or_else(|| NIL.into());
            Some(Arc::new(Signer::new(key, &x5u, attest, &origid)))
        }
        (None, None) => None,
        (Some(_), None) => {
            let remedy = "name the URL of the certificate: x5u = \"https://…\"";
            section.error("x5u", &origin, Fault::new("is missing", remedy));
            None
        }
        (None, Some(_)) => {
            let remedy = "name the file with the private key: key = \"…\"";
            section.error("key", &origin, Fault::new("is missing", remedy));
            None
        }
    };
    section.finish();
    StirPolicy { sign, verify }
}

fn signing_key(value: &Value) -> Result<SigningKey, Fault> {
    let pem = file(value)?;
    SigningKey::from_pem(&pem).map_err(|error| {
        let remedy = "make one with `openssl ecparam -name prime256v1 -genkey -noout`";
        Fault::new(error.to_string(), remedy)
    })
}

fn certificates(value: &Value) -> Result<resolver::Roots, Fault> {
    let pem = file(value)?;
    Trust::read_pem(pem.as_bytes())
        .map_err(|error| Fault::new(error.to_string(), "name a file with certificates in PEM"))
}

fn file(value: &Value) -> Result<String, Fault> {
    let path = text(value)?;
    std::fs::read_to_string(path).map_err(|error| {
        let message = format!("{path} can't be read: {error}");
        Fault::new(message, "name a file in PEM that this user may read")
    })
}

fn url(value: &Value) -> Result<String, Fault> {
    let url = printable(512)(value)?;
    let legal = url.starts_with("https://") && !url.contains(['<', '>', '"', ' ']);
    legal.then_some(url).ok_or_else(|| {
        Fault::new(
            "is not the URL of a certificate",
            "write it like “https://cert.example.com/shaken.pem”",
        )
    })
}

const ATTESTATIONS: &[(&str, Attest)] = &[
    ("A", Attest::Full),
    ("B", Attest::Partial),
    ("C", Attest::Gateway),
];

const VERIFY: &[(&str, Verify)] = &[
    ("off", Verify::Off),
    ("mark", Verify::Mark),
    ("require", Verify::Require),
];

/// RFC 9562 §5.9.
const NIL: &str = "00000000-0000-0000-0000-000000000000";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::document::{Source, Table};
    use super::super::report::Report;
    use super::*;

    fn read(text: &str) -> (StirPolicy, usize) {
        let source = Arc::new(Source::File {
            path: "trunks.toml".into(),
            text: text.to_owned(),
        });
        let table = Table::parse(text, &source).ok().unwrap();
        let report = Report::default();
        let policy = policy(Section::new("trunk.a.stir", table, &report));
        (policy, report.into_problems().len())
    }

    #[test]
    fn a_trunk_signs_with_a_key_whose_certificate_is_somewhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let key = "-----BEGIN EC PRIVATE KEY-----\n\
                   MHcCAQEEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHoAoGCCqGSM49\n\
                   AwEHoUQDQgAEHhhTL9R1TALzBB2cdc6zO4P/2BrHzk/ogsyxyYvFiW6kbDEcTi/0\n\
                   DdlqNlPm5FRF0y3+SG7O11x6kMahiIHAow==\n-----END EC PRIVATE KEY-----\n";
        std::fs::write(&path, key).unwrap();
        let path = path.display();
        let url = "x5u = \"https://cert.example/a.pem\"\n";
        let (policy, problems) = read(&format!("key = \"{path}\"\n{url}verify = \"require\""));
        assert_eq!((problems, policy.verify), (0, Verify::Require));
        assert!(policy.sign.is_some());
        assert_eq!(read(&format!("key = \"{path}\"")).1, 1);
        assert_eq!(read(url).1, 1);
        assert_eq!(read("verify = \"perhaps\"").1, 1);
        let (policy, problems) = read(&format!("key = \"/none\"\n{url}"));
        assert!(policy.sign.is_none() && problems == 2);
        assert_eq!(read("").0, StirPolicy::default());
    }
}
