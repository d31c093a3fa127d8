//! Which address a peer is told, and which address a peer is reached at.

use std::net::{IpAddr, SocketAddr};

use engine::Server;
use sip::locate::Way;
use sip::{Dialog, Flow, Message, NameAddr, Protocol, Uri};
use store::Contact;

use crate::Network;
use crate::context::Context;

impl Network {
    /// Our address for Via and Contact towards the peer of `flow`.
    #[must_use]
    pub fn signalling_address(&self, flow: &Flow) -> SocketAddr {
        let public = self.signalling.filter(|_| !self.is_local(flow));
        SocketAddr::new(public.unwrap_or(flow.local.ip()), flow.local.port())
    }

    /// Our address for SDP towards the peer of `flow`.
    #[must_use]
    pub fn media_address(&self, flow: &Flow) -> IpAddr {
        let public = self
            .media
            .filter(|_| !self.is_local(flow) || is_proxied(flow));
        public.unwrap_or(flow.local.ip())
    }

    /// Whether a long request in a dialog is tried over TCP: with a peer in one of our own networks, so
    /// that no NAT is between, unless its Contact or the first proxy on the way demands another transport.
    pub(crate) fn may_connect(&self, dialog: &Dialog) -> bool {
        let next = dialog.route_set.first().unwrap_or(&dialog.remote_target);
        self.long_by_tcp && self.is_local(&dialog.flow) && !next.contains("transport=")
    }

    fn is_local(&self, flow: &Flow) -> bool {
        let peer = flow.remote.ip();
        flow.protocol == Protocol::Local
            || self
                .local
                .iter()
                .any(|(network, length)| contains(*network, *length, peer))
    }
}

/// Whether the browser is likely to be somewhere else than its WebSocket comes from: a web server of this
/// machine passes it on. Its media go past that.
fn is_proxied(flow: &Flow) -> bool {
    flow.protocol.is_websocket() && flow.remote.ip() == flow.local.ip()
}

/// Whether a browser is at the other end: it speaks SIP over WebSockets, to us or to a proxy before us.
///
/// # Source
/// RFC 7118 §5
pub(crate) fn is_browser(dialog: &Dialog) -> bool {
    let asks = |target: &str| {
        let uri = Uri::parse(target).ok();
        let protocol = uri.and_then(|uri| uri.protocol());
        protocol.is_some_and(Protocol::is_websocket)
    };
    dialog.flow.protocol.is_websocket() || asks(&dialog.remote_target)
}

/// How a peer is reached whose Contact is `uri`, from whom `message` came by `source`.
///
/// Its Contact counts if it names the address that the message came from. If it names another one the
/// peer is behind a translator or a proxy, and the way back is the way it came. So it is if the peer
/// comes from a public address under another port than it believes and promises to receive where it
/// sends (`rport`, RFC 3581). A connection that is still open is used unless the Contact asks for
/// another transport.
#[must_use]
pub(crate) fn way_to(uri: &str, source: Flow, message: &Message<'_>) -> Flow {
    let symmetric = message.top_via().is_ok_and(|via| via.params.has("rport"));
    let translated = symmetric && is_public(source.remote.ip());
    if source.protocol == Protocol::Udp && translated {
        return source;
    }
    reach(uri, source)
}

/// How a peer that came by `source` is reached by a URI of its own.
pub(crate) fn reach(uri: &str, source: Flow) -> Flow {
    // Whoever came over a WebSocket has no address of its own (RFC 7118 §5), nor has one of ourselves.
    if source.protocol.is_websocket() || source.protocol == Protocol::Local {
        return source;
    }
    let Ok(uri) = Uri::parse(uri) else {
        return source;
    };
    if source.connection.is_some() && !uri.params.has("transport") {
        return source;
    }
    let protocol = uri.protocol().unwrap_or(source.protocol);
    let Some(address) = uri
        .socket_address()
        .filter(|address| address.ip() == source.remote.ip())
    else {
        return source;
    };
    if protocol == source.protocol {
        let kept = protocol.is_reliable() && source.connection.is_some();
        let remote = if kept { source.remote } else { address };
        return Flow { remote, ..source };
    }
    // A phone that registers over TCP and wants calls over UDP: our own port is the same for both.
    Flow {
        protocol,
        remote: address,
        connection: None,
        tls: sip::TlsPeer::ANY,
        ..source
    }
}

/// How the next request of a dialog leaves after `message` came by `source`: to the first route if it
/// is an address, else to the target.
#[must_use]
pub(crate) fn next_hop(dialog: &Dialog, source: Flow, message: &Message<'_>) -> Flow {
    match dialog
        .route_set
        .first()
        .and_then(|route| NameAddr::parse(route).ok())
    {
        Some(route) => reach(route.uri, source),
        // Whoever answers has no Via of its own in the message.
        None if message.status().is_some() => reach(&dialog.remote_target, source),
        None => way_to(&dialog.remote_target, source, message),
    }
}

/// How a request to a registered phone leaves: to the first of its Path, if that is an address (RFC
/// 3327 §5.3), else the way that was found when it registered.
#[must_use]
pub(crate) fn first_hop(contact: &Contact) -> Flow {
    match contact
        .path
        .first()
        .and_then(|route| NameAddr::parse(route).ok())
    {
        Some(route) => reach(route.uri, contact.flow),
        // The port that a phone connected from takes no connections: after a restart of ours it is the
        // Contact that counts.
        None if contact.flow.protocol.is_reliable() && contact.flow.connection.is_none() => {
            reach(&contact.uri, contact.flow)
        }
        None => contact.flow,
    }
}

/// The server that requests to a registered phone go to, if it is known by its name alone: the first of
/// the phone's Path (RFC 3327 §5.3). A connection that is open leads there already.
#[must_use]
pub(crate) fn named_hop(contact: &Contact) -> Option<Server> {
    let flow = contact.flow;
    let away = flow.connection.is_none() && !flow.protocol.is_websocket();
    let route = contact.path.first().filter(|_| away)?;
    let uri = Uri::parse(NameAddr::parse(route).ok()?.uri).ok()?;
    Server::of_uri(&uri).filter(|server| server.address().is_none())
}

/// The flow to a server that was found, out of the address that `source` uses: our own port is the same
/// for all transports. `None`: it is of the other address family.
#[must_use]
pub(crate) fn along((protocol, remote): Way, source: Flow) -> Option<Flow> {
    (remote.is_ipv4() == source.local.is_ipv4()).then_some(Flow {
        protocol,
        remote,
        connection: None,
        tls: sip::TlsPeer::ANY,
        ..source
    })
}

impl Context<'_> {
    /// Whether a phone may be reached there. A user who could name a trunk's server, or ourselves, as the
    /// place of his phone would make calls by it as if they were ours: unless he has registered from
    /// there, as through a proxy that serves phones too.
    pub(crate) fn may_lead(&self, contact: &Contact, flow: &Flow) -> bool {
        let host = flow.remote.ip();
        host == contact.flow.remote.ip()
            || !self.is_ours(flow) && !self.is_trunk(|way| way.ip() == host)
    }

    /// The way to a phone that registers by `source`, its own `Contact` being `uri`: it is no way of a
    /// trunk, even if both are at one address.
    pub(crate) fn way_to_phone(&self, uri: &str, source: Flow, request: &Message<'_>) -> Flow {
        let flow = way_to(uri, source, request);
        let moved = flow.remote != source.remote;
        let ours = flow.remote == flow.local;
        if moved && (ours || self.is_trunk(|way| way == flow.remote)) {
            return source;
        }
        flow
    }

    fn is_trunk(&self, is_it: impl Fn(SocketAddr) -> bool) -> bool {
        self.config.trunks.iter().any(|trunk| {
            let view = trunk.state.view();
            view.ways.iter().any(|way| is_it(way.flow.remote))
        })
    }

    fn is_ours(&self, flow: &Flow) -> bool {
        let own = (self.services.way_out)(flow.protocol, flow.remote);
        own == Some(flow.remote)
    }
}

/// Whether an address means the same host everywhere.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !(address.is_private() || address.is_loopback() || address.is_link_local())
        }
        IpAddr::V6(address) => {
            !(address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local())
        }
    }
}

/// The Contact URI that we give to the peer of `flow`.
#[must_use]
pub(crate) fn contact(user: &str, address: SocketAddr, protocol: Protocol) -> String {
    let user = sip::uri::escape_user(user);
    match protocol {
        Protocol::Udp | Protocol::Local => format!("<sip:{user}@{address}>"),
        named => format!("<sip:{user}@{address};transport={named}>"),
    }
}

/// Whether an address is in a network with this prefix length.
#[must_use]
pub fn contains(network: IpAddr, length: u8, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(length.min(32)))
                .unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(length.min(128)))
                .unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(remote: &str) -> Flow {
        Flow {
            protocol: Protocol::Udp,
            local: "192.168.1.2:5060".parse().unwrap(),
            remote: remote.parse().unwrap(),
            connection: None,
            tls: sip::TlsPeer::ANY,
        }
    }

    #[test]
    fn local_networks_are_told_the_local_address() {
        let network = Network {
            signalling: "203.0.113.9".parse().ok(),
            media: "203.0.113.10".parse().ok(),
            local: vec![
                ("192.168.0.0".parse().unwrap(), 16),
                ("fd00::".parse().unwrap(), 8),
            ],
            long_by_tcp: true,
            ice: sdp::bridge::ice::Mode::Lite,
        };
        assert_eq!(
            network.signalling_address(&flow("192.168.7.7:5060")),
            flow("1.1.1.1:1").local
        );
        assert_eq!(
            network
                .signalling_address(&flow("198.51.100.1:5060"))
                .to_string(),
            "203.0.113.9:5060"
        );
        assert_eq!(
            network
                .media_address(&flow("198.51.100.1:5060"))
                .to_string(),
            "203.0.113.10"
        );
        assert!(contains(
            "0.0.0.0".parse().unwrap(),
            0,
            "8.8.8.8".parse().unwrap()
        ));
        assert!(!contains(
            "0.0.0.0".parse().unwrap(),
            0,
            "::1".parse().unwrap()
        ));
    }

    #[test]
    fn a_browser_behind_a_web_server_of_this_machine_is_told_the_public_address() {
        let mut network = Network {
            media: Some("203.0.113.10".parse().unwrap()),
            local: vec![("192.168.0.0".parse().unwrap(), 16)],
            ..Network::default()
        };
        let here = Flow {
            protocol: Protocol::Ws,
            ..flow("192.168.1.2:40000")
        };
        assert_eq!(network.media_address(&here).to_string(), "203.0.113.10");
        let near = Flow {
            protocol: Protocol::Ws,
            ..flow("192.168.1.7:40000")
        };
        assert_eq!(network.media_address(&near).to_string(), "192.168.1.2");
        network.media = None;
        assert_eq!(network.media_address(&here).to_string(), "192.168.1.2");
    }

    #[test]
    fn a_phone_behind_a_translator_is_reached_where_it_came_from() {
        let source = flow("198.51.100.1:40000");
        assert_eq!(reach("sip:a@192.168.0.5:5060", source), source);
        assert_eq!(reach("sip:a@phone.invalid", source), source);
        assert_eq!(
            reach("sip:a@198.51.100.1:5062", source).remote,
            "198.51.100.1:5062".parse::<SocketAddr>().unwrap()
        );
        assert_eq!(
            reach("sip:a@198.51.100.1;transport=tcp", source).protocol,
            Protocol::Tcp
        );
    }
}
