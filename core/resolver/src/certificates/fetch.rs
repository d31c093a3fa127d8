//! Fetching over HTTPS.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Trust;
use crate::Names;

/// Fetches small files from web servers on public addresses. The URL is a stranger's: nothing may come
/// of it but one request to a public web server.
#[derive(Clone)]
pub(super) struct Fetcher {
    names: Names,
    connector: TlsConnector,
    private: Arc<[(IpAddr, u8)]>,
}

/// Why a file was not fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the URL is not one of a file on a web server with encryption")]
    Url,
    #[error("the server can't be found, or not at a public address")]
    Host,
    #[error("the server answered {0}")]
    Status(StatusCode),
    #[error("the file is too large or was cut off")]
    Body,
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

impl Fetcher {
    pub(super) fn new(trust: &Trust, names: Names) -> Self {
        let mut roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        roots.add_parsable_certificates(trust.web_roots.iter().cloned());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has cipher suites of both versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            names,
            connector: TlsConnector::from(Arc::new(config)),
            private: trust.private.as_slice().into(),
        }
    }

    /// The file at a URL. Redirections are not followed.
    pub(super) async fn fetch(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let url: Uri = url.parse().map_err(|_| FetchError::Url)?;
        let host = url.host().ok_or(FetchError::Url)?;
        let plain = host.trim_start_matches('[').trim_end_matches(']');
        if url.scheme_str() != Some("https") {
            return Err(FetchError::Url);
        }
        let stream = self.connect(plain, url.port_u16().unwrap_or(443)).await?;
        let name = ServerName::try_from(plain.to_owned()).map_err(|_| FetchError::Url)?;
        let stream = self.connector.connect(name, stream).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let authority = url.authority().ok_or(FetchError::Url)?.as_str();
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path)
            .header(header::HOST, authority)
            .header(header::ACCEPT, "application/pem-certificate-chain, */*")
            .body(Empty::<Bytes>::new())
            .map_err(|_| FetchError::Url)?;
        let exchange = async move {
            let response = sender.send_request(request).await?;
            if response.status() != StatusCode::OK {
                return Err(FetchError::Status(response.status()));
            }
            let body = Limited::new(response.into_body(), LARGEST);
            let body = body.collect().await.map_err(|_| FetchError::Body)?;
            Ok(body.to_bytes().to_vec())
        };
        // The connection is driven beside the exchange, and ends with it.
        tokio::pin!(connection);
        tokio::pin!(exchange);
        tokio::select! {
            done = &mut exchange => done,
            broken = &mut connection => {
                broken?;
                exchange.await
            }
        }
    }

    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, FetchError> {
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => self.names.addresses(host).await,
        };
        let mut failed = FetchError::Host;
        for address in addresses
            .into_iter()
            .filter(|to| self.allows(*to, port))
            .take(MOST_TRIES)
        {
            match TcpStream::connect(SocketAddr::new(address, port)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error.into(),
            }
        }
        Err(failed)
    }

    fn allows(&self, address: IpAddr, port: u16) -> bool {
        let listed = |(network, length): &(IpAddr, u8)| contains(*network, *length, address);
        is_public(address) && PORTS.contains(&port) || self.private.iter().any(listed)
    }
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").finish_non_exhaustive()
    }
}

/// Whether anybody may be there (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            let shared = first == 100 && second & 0xc0 == 64;
            let benchmark = first == 198 && second & 0xfe == 18;
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_broadcast()
                || address.is_documentation()
                || first == 0
                || first >= 224
                || shared
                || benchmark)
        }
        // Global unicast, without what stands for an IPv4 address or is for documentation.
        IpAddr::V6(address) => {
            let [first, second, ..] = address.segments();
            let global = first & 0xe000 == 0x2000;
            let mapped = first == 0x2002 || (first == 0x2001 && (second == 0 || second == 0xdb8));
            global && !mapped
        }
    }
}

fn contains(network: IpAddr, length: u8, address: IpAddr) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (Ipv6Addr::to_bits(address), 128),
    };
    let ((network, width), (address, other)) = (bits(network), bits(address));
    let mask = u128::MAX
        .checked_shl(128 - u32::from(length.min(width)))
        .unwrap_or(0);
    width == other && network & mask == address & mask
}

/// Octets of the largest file; a chain has about 3,000.
const LARGEST: usize = 64 * 1024;

/// Most addresses that are tried.
const MOST_TRIES: usize = 4;

/// Ports of web servers that certificates are fetched from.
const PORTS: [u16; 2] = [443, 8443];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_fetched_from() {
        let public = ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"];
        for address in public {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        let others = [
            "127.0.0.1",
            "10.1.2.3",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "::1",
            "fe80::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "2002:a00:1::",
            "64:ff9b::a00:1",
        ];
        for address in others {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn networks_contain_their_addresses() {
        let inside = |network: &str, length, address: &str| {
            contains(network.parse().unwrap(), length, address.parse().unwrap())
        };
        assert!(inside("10.0.0.0", 8, "10.9.9.9"));
        assert!(!inside("10.0.0.0", 8, "11.0.0.0"));
        assert!(inside("fd00::", 8, "fdff::1"));
        assert!(!inside("::", 0, "10.0.0.1"));
        assert!(inside("127.0.0.1", 32, "127.0.0.1"));
    }
}
