//! The certificates of this process, for DTLS.

use std::sync::{Arc, LazyLock};

use crate::dtls::{Error, Fingerprint, Identity};

/// Which of our two certificates a party is shown. One that talks already and is led to other ports takes the other
/// certificate as the word for another handshake; with the same one it would go on with the keys that it has, which
/// nobody has there.
///
/// # Source
/// RFC 8842 §4, §5.1
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnCertificate {
    /// What every party is shown at first.
    #[default]
    First,
    /// The other one.
    Second,
}

/// Made once, when they are first needed or a thread at the start has found the time.
#[derive(Clone, Debug)]
pub(crate) struct Certificates(Arc<[Made; 2]>);

type Made = LazyLock<Result<Arc<Identity>, Error>>;

impl Certificates {
    /// Will be made.
    pub(crate) fn new() -> Self {
        let make = || Identity::generate().map(Arc::new);
        Self(Arc::new([LazyLock::new(make), LazyLock::new(make)]))
    }

    /// Makes them on a thread of their own, because that takes longer than a start may.
    pub(crate) fn prepare(&self) {
        let certificates = self.clone();
        let thread = std::thread::Builder::new().name("certificate".into());
        // Without the thread, the first to need one makes it.
        let _ = thread.spawn(move || {
            for made in &*certificates.0 {
                LazyLock::force(made);
            }
        });
    }

    /// The identity; waits while it is being made.
    pub(crate) fn identity(&self, which: OwnCertificate) -> Result<Arc<Identity>, Error> {
        (*self.0[which as usize]).clone()
    }

    /// Its fingerprint; waits while it is being made.
    pub(crate) fn fingerprint(&self, which: OwnCertificate) -> Result<Fingerprint, Error> {
        self.identity(which).map(|identity| identity.fingerprint())
    }
}
