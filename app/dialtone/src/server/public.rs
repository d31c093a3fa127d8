//! Our address as the outside sees it, where a server behind a NAT has to be told.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use ice::stun::{Query, TransactionId};
use tokio::net::{UdpSocket, lookup_host};
use tokio::sync::Notify;

use super::network::media_addresses;
use super::secret;
use crate::settings::{Server, Stun};

/// What a STUN server has told.
#[derive(Debug, Default)]
pub(super) struct Public {
    address: ArcSwapOption<IpAddr>,
    again: Notify,
}

impl Public {
    /// The address that was learnt last; none: none was, or it is not asked for.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address.load().as_deref().copied()
    }

    /// Whether the address is another one than before.
    fn set(&self, address: Option<IpAddr>) -> bool {
        let before = self.address();
        if before == address {
            return false;
        }
        self.address.store(address.map(Arc::new));
        match (address, before) {
            (Some(address), Some(before)) => {
                tracing::warn!(%address, %before, "the public address has changed");
            }
            (Some(address), None) => tracing::info!(%address, "the public address is known"),
            (None, _) => tracing::info!("no public address is asked for any more"),
        }
        true
    }

    /// The settings may have changed, or the network.
    pub(super) fn ask_again(&self) {
        self.again.notify_one();
    }
}

/// Asks the STUN server that is `wanted` from time to time, if there is one, and says when the address that it tells has
/// `changed`. Beside the server there are addresses to ask from. What was learnt is kept while the server does not
/// answer.
///
/// # Source
/// RFC 8489 §1, RFC 8445 §5.1.1.2
pub(super) async fn learn(
    public: &Public,
    wanted: impl Fn() -> Option<(Stun, Vec<IpAddr>)>,
    changed: impl Fn(),
) {
    let mut failed = false;
    let set = |address| {
        if public.set(address) {
            changed();
        }
    };
    loop {
        let rest = match wanted() {
            None => {
                set(None);
                None
            }
            Some((stun, ours)) => match ask(&stun, &ours).await {
                Ok(address) => {
                    failed = false;
                    set(Some(address));
                    Some(INTERVAL)
                }
                Err(error) => {
                    if !std::mem::replace(&mut failed, true) {
                        let server = format!("{}:{}", stun.host, stun.port);
                        tracing::warn!(server, %error, "the STUN server tells no public address");
                    }
                    Some(RETRY)
                }
            },
        };
        let sleep = async {
            match rest {
                Some(rest) => tokio::time::sleep(rest).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! { () = sleep => {}, () = public.again.notified() => {} }
    }
}

/// The server to ask, and where media are bound to. None: nobody is asked, as there is none or the settings say the
/// address.
pub(super) fn wanted(server: &Server) -> Option<(Stun, Vec<IpAddr>)> {
    let stun = server.media.stun.clone();
    let stun = stun.filter(|_| server.media.advertise.is_none())?;
    Some((stun, media_addresses(server)))
}

/// Asks one server, from one of `ours` if there are any.
async fn ask(stun: &Stun, ours: &[IpAddr]) -> io::Result<IpAddr> {
    let found = lookup_host((stun.host.as_str(), stun.port)).await?;
    let mut found: Vec<SocketAddr> = found.collect();
    // Who needs to ask has an address of the old kind, most likely.
    found.sort_by_key(SocketAddr::is_ipv6);
    let mut last = io::ErrorKind::NotFound.into();
    for server in found.into_iter().take(MOST_ADDRESSES) {
        match query(server, source(server, ours)).await {
            Ok(address) => return Ok(address),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Where to ask from: media are told to come to where they are bound.
fn source(server: SocketAddr, ours: &[IpAddr]) -> IpAddr {
    let any = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let mut same = ours.iter().filter(|ip| ip.is_ipv4() == server.is_ipv4());
    same.next().copied().unwrap_or(any)
}

async fn query(server: SocketAddr, source: IpAddr) -> io::Result<IpAddr> {
    let socket = UdpSocket::bind((source, 0)).await?;
    socket.connect(server).await?;
    let random = secret::random().map_err(io::Error::other)?;
    let mut transaction = [0; 12];
    transaction.copy_from_slice(&random[..12]);
    let mut query = Query::new(TransactionId(transaction), Instant::now());
    let (mut request, mut answer) = (Vec::new(), [0; MAX_ANSWER]);
    while let Some(due) = query.deadline() {
        request.clear();
        if query.send(Instant::now(), &mut request) {
            socket.send(&request).await?;
            continue;
        }
        match tokio::time::timeout_at(due.into(), socket.recv(&mut answer)).await {
            Err(_) => {}
            Ok(len) => match query.hear(&answer[..len?]) {
                Some(seen) if is_usable(seen.ip()) => return Ok(seen.ip()),
                _ => {}
            },
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn is_usable(address: IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast()
}

/// How often the server is asked: a provider that gives out another address is noticed in the time of a call.
const INTERVAL: Duration = Duration::from_secs(60);
/// How long to wait after it has not answered.
const RETRY: Duration = Duration::from_secs(10);
/// Addresses of its name that are tried; further ones are left out.
const MOST_ADDRESSES: usize = 4;
const MAX_ANSWER: usize = 576;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_asked_from_where_media_are() {
        let server = "192.0.2.1:3478".parse().unwrap();
        let ours = ["::1", "10.0.0.1"].map(|ip| ip.parse().unwrap());
        assert_eq!(source(server, &ours), ours[1]);
        assert_eq!(source(server, &ours[..1]), Ipv4Addr::UNSPECIFIED);
        let server = "[2001:db8::1]:3478".parse().unwrap();
        assert_eq!(source(server, &[]), Ipv6Addr::UNSPECIFIED);
    }
}
