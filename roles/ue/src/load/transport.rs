//! How messages travel.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sip::Protocol;

/// How messages travel to the server.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Transport {
    /// Datagrams; requests are sent again until they are answered.
    #[default]
    Udp,
    /// A few connections that stay, each with many users.
    Tcp,
    /// The same, encrypted.
    Tls,
}

/// Whose certificate a server may show over TLS.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Trust {
    /// One by whoever is named in this PEM file; nobody's without a file.
    Authorities(PathBuf),
    /// Anybody's: for servers that made their certificate themselves.
    Anybody,
    /// Nothing was said: TLS is refused.
    #[default]
    Nobody,
}

impl Transport {
    /// The name on the command line and in a URI's `transport` parameter.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// The port where a server listens if nobody says otherwise.
    ///
    /// # Source
    /// RFC 3261 §19.1.2
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
        }
    }

    /// Whether nothing has to be sent again.
    pub(super) const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// The word in Via.
    pub(super) const fn in_via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// What a URI of ours ends with, so that requests to it come this way.
    pub(super) const fn in_uri(self) -> &'static str {
        match self {
            Self::Udp => "",
            Self::Tcp => ";transport=tcp",
            Self::Tls => ";transport=tls",
        }
    }

    pub(super) const fn protocol(self) -> Protocol {
        match self {
            Self::Udp => Protocol::Udp,
            Self::Tcp => Protocol::Tcp,
            Self::Tls => Protocol::Tls,
        }
    }
}

impl FromStr for Transport {
    type Err = UnknownTransport;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Udp, Self::Tcp, Self::Tls]
            .into_iter()
            .find(|transport| transport.name() == name)
            .ok_or(UnknownTransport)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.in_via())
    }
}

/// The name is not that of a transport.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown transport; known are udp, tcp and tls")]
pub struct UnknownTransport;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_have_names() {
        for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
            assert_eq!(transport.name().parse(), Ok(transport));
        }
        assert_eq!("sctp".parse::<Transport>(), Err(UnknownTransport));
    }
}
