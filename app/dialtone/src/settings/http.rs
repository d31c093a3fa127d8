//! `[http]`: the web server.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::document::Value;
use super::reader::Section;
use super::report::Fault;
use super::values::{choice, duration, list, network, number, printable, text};

/// `[http]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Http {
    pub(crate) listen: Vec<Listen>,
    /// Origins of pages that may open WebSockets; empty: all.
    pub(crate) origins: Vec<String>,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_peer: usize,
    pub(crate) header_timeout: Duration,
    /// Reverse proxies that are believed who their clients are.
    pub(crate) proxies: Vec<(IpAddr, u8)>,
    pub(crate) proxies_say: Named,
}

/// Where a reverse proxy names its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// In X-Forwarded-For.
    XForwardedFor,
    /// In Forwarded (RFC 7239).
    Forwarded,
}

impl Http {
    /// Whether somebody is a reverse proxy of ours.
    pub(crate) fn is_proxy(&self, address: IpAddr) -> bool {
        let mut proxies = self.proxies.iter();
        proxies.any(|&(network, length)| pbx::contains(network, length, address))
    }
}

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    pub(crate) secure: bool,
    pub(crate) address: SocketAddr,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}:{}", self.address)
    }
}

pub(crate) fn read(mut http: Section<'_>) -> Http {
    let count = |value: &_| number(1..=1_000_000)(value).map(|n| n as usize);
    let read = Http {
        listen: http.read("listen", default_listen(), list(0, listen)),
        origins: http.read("origins", Vec::new(), list(0, printable(256))),
        max_connections: http.read("max_connections", 1024, count),
        max_connections_per_peer: http.read("max_connections_per_peer", 64, count),
        header_timeout: http.read("header_timeout", Duration::from_secs(10), duration(1..=600)),
        proxies: http.read("proxies", Vec::new(), list(0, network)),
        proxies_say: http.read("proxies_say", Named::XForwardedFor, choice(NAMED)),
    };
    http.finish();
    read
}

const NAMED: &[(&str, Named)] = &[
    ("x-forwarded-for", Named::XForwardedFor),
    ("forwarded", Named::Forwarded),
];

fn listen(value: &Value) -> Result<Listen, Fault> {
    const LIKE: &str = "write it like “http:0.0.0.0:8080” or “https:[::]:8443”";
    let text = text(value)?;
    let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
    let secure = match scheme {
        "http" => false,
        "https" => true,
        _ => return Err(Fault::new(format!("“{text}” is no web address"), LIKE)),
    };
    let address = rest.parse().map_err(|_| {
        let message = format!("“{rest}” is not an address with a port");
        Fault::new(message, LIKE)
    })?;
    Ok(Listen { secure, address })
}

fn default_listen() -> Vec<Listen> {
    let both = |ip: IpAddr| {
        [(false, 8080), (true, 8443)].map(|(secure, port)| Listen {
            secure,
            address: (ip, port).into(),
        })
    };
    [
        both(Ipv4Addr::UNSPECIFIED.into()),
        both(Ipv6Addr::UNSPECIFIED.into()),
    ]
    .concat()
}
