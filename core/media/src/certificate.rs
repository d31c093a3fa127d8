//! The certificate of this process, for DTLS.

use std::sync::{Arc, LazyLock};

use crate::dtls::{Error, Fingerprint, Identity};

/// Made once, when it is first needed or a thread at the start has found the time.
#[derive(Clone, Debug)]
pub(crate) struct Certificate(Arc<LazyLock<Result<Arc<Identity>, Error>>>);

impl Certificate {
    /// Will be made.
    pub(crate) fn new() -> Self {
        Self(Arc::new(LazyLock::new(|| {
            Identity::generate().map(Arc::new)
        })))
    }

    /// Makes it on a thread of its own, because that takes longer than a start may.
    pub(crate) fn prepare(&self) {
        let certificate = self.clone();
        let thread = std::thread::Builder::new().name("certificate".into());
        // Without the thread, the first to need it makes it.
        let _ = thread.spawn(move || _ = certificate.identity());
    }

    /// The identity; waits while it is being made.
    pub(crate) fn identity(&self) -> Result<Arc<Identity>, Error> {
        (**self.0).clone()
    }

    /// Its fingerprint; waits while it is being made.
    pub(crate) fn fingerprint(&self) -> Result<Fingerprint, Error> {
        self.identity().map(|identity| identity.fingerprint())
    }
}
