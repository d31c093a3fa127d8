//! Where a SIP server is: from the host of a URI to addresses, in the order in which to try them.
//!
//! [`Search`] says which records it needs and takes what a resolver has found; it does no IO itself.
//!
//! ```
//! use sip::locate::{Lookup, Records, Search, Server, Stage};
//! let mut search = Search::new(Server::named("example.com"), &sip::Protocol::NAMED);
//! let mut random = |_below: u32| 0;
//! let found = loop {
//!     match search.stage() {
//!         Stage::Look(lookups) => {
//!             // A resolver would look all of them up at once.
//!             let answers = lookups.iter().map(|lookup| match lookup {
//!                 Lookup::Addresses(_) => Records::Addresses(vec![[192, 0, 2, 1].into()]),
//!                 _ => Records::None,
//!             });
//!             let answers = answers.collect();
//!             search.take(answers, &mut random);
//!         }
//!         Stage::Found(ways) => break ways.to_vec(),
//!     }
//! };
//! assert_eq!(found, [(sip::Protocol::Udp, "192.0.2.1:5060".parse()?)]);
//! # Ok::<(), std::net::AddrParseError>(())
//! ```
//!
//! - [`Naptr`], [`Srv`]: the records, and the order that they ask for (`order`).
//! - [`Search`]: the procedure (`search`).
//!
//! # Source
//! RFC 3263 §4, RFC 2782, RFC 7118 §8.4 (services `SIP+D2W` and `SIPS+D2W`).

mod order;
mod search;

use std::net::{IpAddr, SocketAddr};

use crate::uri::parse_address;
use crate::{Protocol, Scheme, Uri};

pub use order::{Naptr, Srv, in_order};
pub use search::{Lookup, Records, Search, Stage};

/// One way to a server.
pub type Way = (Protocol, SocketAddr);

/// A SIP server as a URI or a setting names it.
///
/// # Source
/// RFC 3263 §4: TARGET, the port and the transport, if the URI has them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// Host name or address.
    pub host: Box<str>,
    /// The port, if named: then there is neither NAPTR nor SRV.
    pub port: Option<u16>,
    /// The transport, if named: then there is no NAPTR.
    pub protocol: Option<Protocol>,
    /// Only encrypted transports will do (`sips:`).
    pub secure: bool,
}

impl Server {
    /// A server of which only the host is known.
    #[must_use]
    pub fn named(host: &str) -> Self {
        Self {
            host: host.into(),
            port: None,
            protocol: None,
            secure: false,
        }
    }

    /// The server to which a request for `uri` goes. `None`: the URI names no server, or a transport
    /// that we don't speak.
    ///
    /// # Source
    /// RFC 3263 §4: the target is the `maddr` parameter if there is one, else the host. RFC 3261
    /// §26.2.2: `sips:` with `transport=tcp` is TLS.
    #[must_use]
    pub fn of_uri(uri: &Uri<'_>) -> Option<Self> {
        if uri.scheme == Scheme::Tel {
            return None;
        }
        let protocol = match uri.params.find("transport") {
            Some(_) => Some(uri.protocol()?),
            None => None,
        };
        let host = uri.params.find("maddr").filter(|host| !host.is_empty());
        Some(Self {
            host: host.unwrap_or(uri.host).to_ascii_lowercase().into(),
            port: uri.port,
            protocol,
            secure: uri.scheme == Scheme::Sips,
        })
    }

    /// The host as an address, if it is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        parse_address(&self.host)
    }

    /// The way to a server that is named by its address: there is nothing to look up.
    ///
    /// # Source
    /// RFC 3263 §4.1, §4.2: a numeric target is used as it stands, over UDP, or TLS for `sips:`, with
    /// the port that is named or the transport's own.
    #[must_use]
    pub fn numeric(&self) -> Option<Way> {
        let protocol = self.default_protocol();
        let port = self.port.unwrap_or_else(|| protocol.default_port());
        Some((protocol, SocketAddr::new(self.address()?, port)))
    }

    /// The transport that is named, or the one that is meant when none is.
    fn default_protocol(&self) -> Protocol {
        match (self.protocol, self.secure) {
            (Some(named), _) => named,
            (None, true) => Protocol::Tls,
            (None, false) => Protocol::Udp,
        }
    }
}

#[cfg(test)]
mod tests;
