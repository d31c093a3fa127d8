//! What counts of a certificate.

use crate::{PublicKey, TnAuthList};

/// The certificate of somebody who signs, once its chain has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its key.
    pub key: PublicKey,
    /// From when it is valid, in seconds since 1970.
    pub not_before: u64,
    /// The last second in which it is valid.
    pub not_after: u64,
    /// For which numbers; none: the certificate does not say.
    pub authority: Option<TnAuthList>,
}

impl Certificate {
    /// Whether its owner may sign for `number`, in canonical form, at `now`. A certificate that does not
    /// say for which numbers it is, is for all: whom the roots let in is theirs to decide.
    #[must_use]
    pub fn vouches_for(&self, number: &str, now: u64) -> bool {
        let authorised = |list: &TnAuthList| list.covers(number);
        (self.not_before..=self.not_after).contains(&now)
            && self.authority.as_ref().is_none_or(authorised)
    }
}
