//! What each packet asks of the agreement with a party.

use crate::{Keys, Remote};

/// What each packet asks of a [`Remote`], beside the leg's other state, so that none needs a look at the whole.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gist {
    pub(crate) keys: Keys,
    /// It is known what payload types mean.
    pub(crate) is_meaningful: bool,
}

impl Gist {
    pub(crate) fn of(remote: &Remote) -> Self {
        Self {
            keys: remote.keys,
            is_meaningful: !remote.meaning().is_empty(),
        }
    }
}
