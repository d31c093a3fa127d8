//! Signing.

use base64ct::{Base64UrlUnpadded, Encoding as _};

use crate::{Attest, Call, Passport, SigningKey};

/// Who vouches for calls, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    key: SigningKey,
    x5u: String,
    attest: Attest,
    origid: String,
}

impl Signer {
    /// Signs with `key`, whose certificate is at `x5u`; `origid` is a UUID that tells ourselves whom we
    /// mean (RFC 8588 §5).
    #[must_use]
    pub fn new(key: SigningKey, x5u: &str, attest: Attest, origid: &str) -> Self {
        Self {
            key,
            x5u: x5u.into(),
            attest,
            origid: origid.into(),
        }
    }

    /// The value of the Identity header field of `call`, signed at `now`, in full form. The request
    /// needs a Date header field of the same time.
    ///
    /// # Source
    /// RFC 8224 §6.1, RFC 8588 §6.
    #[must_use]
    pub fn sign(&self, call: &Call, now: u64) -> String {
        let passport = Passport {
            ppt: Some("shaken".into()),
            attest: Some(self.attest),
            origid: self.origid.clone(),
            ..Passport::basic(&self.x5u, call, now)
        };
        let signed = passport.signing_input();
        let signature = self.key.sign(signed.as_bytes());
        let signature = Base64UrlUnpadded::encode_string(&signature);
        format!(
            "{signed}.{signature};info=<{}>;alg=ES256;ppt=shaken",
            self.x5u
        )
    }
}
