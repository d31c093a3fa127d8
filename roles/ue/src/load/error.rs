//! Why a run could not be made.

use std::io;
use std::net::SocketAddr;

use super::{Failure, Transport};

/// Why a run could not be made. What fails within a run is counted in its report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The target's name means nothing.
    #[error("target {target}: {source}")]
    Target {
        /// The target as given.
        target: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The target is not on this machine.
    #[error(
        "{0} is not on this machine: load on a server that isn't yours is an attack; if it is yours, allow remote targets"
    )]
    Remote(SocketAddr),
    /// Nobody listens there.
    #[error("nothing listens on {0} {1}")]
    Refused(Transport, SocketAddr),
    /// TLS, and nobody said whose certificates are good.
    #[error(
        "TLS needs to know whose certificate the server may show: name a file of authorities, or take any"
    )]
    Trust,
    /// The run depends on registrations, and one failed.
    #[error("{count} users could not register: {failure}")]
    Registration {
        /// How many users.
        count: u64,
        /// What happened to them.
        failure: Failure,
    },
    /// The run depends on calls being up, and one failed.
    #[error("call {number} could not be set up: {failure}")]
    SetUp {
        /// Which call, counted from 1.
        number: usize,
        /// What happened.
        failure: Failure,
    },
    /// A socket or file failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl LoadError {
    /// Gives an IO error its context.
    pub(super) fn io<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Io {
            what,
            source: source.into(),
        }
    }
}
