//! Who is at the other end of a reverse proxy.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use axum::http::HeaderMap;
use engine::Proxied;

use crate::settings::http::{Http, Named};

/// Whom a connection serves: the client that a proxy of ours names, or `None`, as it is the peer itself.
pub(super) fn behind(peer: SocketAddr, headers: &HeaderMap, http: &Http) -> Option<Proxied> {
    if !http.is_proxy(peer.ip()) {
        return None;
    }
    let client = SocketAddr::new(address(headers, http)?, peer.port());
    Some(Proxied {
        client,
        local: towards(client)?,
    })
}

/// The client's address: the last one in the list that is no proxy of ours, as only what our proxies
/// have added can be believed.
///
/// # Source
/// RFC 7239 §5.2, §7.1, §8.1.
fn address(headers: &HeaderMap, http: &Http) -> Option<IpAddr> {
    let (name, parse): (_, fn(&str) -> Option<IpAddr>) = match http.proxies_say {
        Named::Forwarded => ("forwarded", forwarded),
        Named::XForwardedFor => ("x-forwarded-for", node),
    };
    let lines = headers.get_all(name).iter();
    // A line that is no text hides what stands before it.
    let lines: Vec<_> = lines.map(|line| line.to_str().unwrap_or("?")).collect();
    let mut furthest = None;
    for element in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let address = parse(element.trim())?;
        furthest = Some(address);
        if !http.is_proxy(address) {
            break;
        }
    }
    furthest
}

/// The `for` of an element of Forwarded.
///
/// # Source
/// RFC 7239 §4.
fn forwarded(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    node(value.trim().trim_matches('"'))
}

/// An address, perhaps with a port, and in brackets if it is IPv6. Words that hide it are none.
///
/// # Source
/// RFC 7239 §6.
fn node(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse().map(|address: SocketAddr| address.ip()).ok();
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse().ok().or_else(with_port);
    address.map(|address: IpAddr| address.to_canonical())
}

/// Our own address on the way to somebody. Nothing is sent for that.
fn towards(client: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = match client {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(client).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn settings(proxy: &str, length: u8, proxies_say: Named) -> Http {
        Http {
            listen: Vec::new(),
            origins: Vec::new(),
            max_connections: 1,
            max_connections_per_peer: 1,
            header_timeout: std::time::Duration::ZERO,
            proxies: vec![(proxy.parse().unwrap(), length)],
            proxies_say,
        }
    }

    fn seen(named: Named, name: &'static str, lines: &[&str]) -> Option<String> {
        let http = settings("10.0.0.0", 8, named);
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_str(line).unwrap());
        }
        address(&headers, &http).map(|address| address.to_string())
    }

    #[test]
    fn rfc7239_5_2_the_last_address_that_is_no_proxy_is_the_client() {
        let by = |lines: &[&str]| seen(Named::XForwardedFor, "x-forwarded-for", lines);
        for (lines, client) in [
            (&["192.0.2.1"][..], Some("192.0.2.1")),
            // What a client claims itself stands first.
            (&["6.6.6.6, 192.0.2.1"], Some("192.0.2.1")),
            (&["6.6.6.6, 192.0.2.1, 10.1.1.1"], Some("192.0.2.1")),
            (&["6.6.6.6", "192.0.2.1", "10.1.1.1"], Some("192.0.2.1")),
            (&["10.1.1.2,10.1.1.1"], Some("10.1.1.2")),
            (&["2001:db8::1"], Some("2001:db8::1")),
            (&["::ffff:192.0.2.1"], Some("192.0.2.1")),
            (&["192.0.2.1:4711"], Some("192.0.2.1")),
            (&["192.0.2.1, unknown"], None),
            (&["192.0.2.1,"], None),
            (&[], None),
        ] {
            assert_eq!(by(lines).as_deref(), client, "{lines:?}");
        }
    }

    #[test]
    fn rfc7239_4_forwarded_names_the_client() {
        let by = |line| seen(Named::Forwarded, "forwarded", &[line]);
        for (line, client) in [
            ("for=192.0.2.43", Some("192.0.2.43")),
            (
                "For=\"[2001:db8:cafe::17]:4711\"",
                Some("2001:db8:cafe::17"),
            ),
            (
                "for=192.0.2.60;proto=http;by=203.0.113.43",
                Some("192.0.2.60"),
            ),
            (
                "for=6.6.6.6, proto=https; for=192.0.2.43",
                Some("192.0.2.43"),
            ),
            ("for=\"_gazonk\"", None),
            ("for=unknown", None),
            ("proto=https", None),
        ] {
            assert_eq!(by(line).as_deref(), client, "{line}");
        }
        // The other header says nothing then.
        assert_eq!(
            seen(Named::Forwarded, "x-forwarded-for", &["192.0.2.1"]),
            None
        );
    }

    #[test]
    fn rfc7239_8_1_nobody_but_a_proxy_is_believed() {
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", HeaderValue::from_static("127.0.0.9"));
        let peer = "127.0.0.1:4711".parse().unwrap();
        let http = settings("10.0.0.0", 8, Named::XForwardedFor);
        assert!(behind(peer, &headers, &http).is_none());
        let http = settings("127.0.0.1", 32, Named::XForwardedFor);
        let client = behind(peer, &headers, &http).unwrap();
        assert_eq!(client.client.to_string(), "127.0.0.9:4711");
        assert!(client.local.is_loopback());
    }
}
