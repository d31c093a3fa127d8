//! How a forwarded request leaves.

use std::sync::Arc;

use engine::Server;
use sip::proxy::Target;
use sip::{Flow, Message, Protocol, StatusCode, TlsPeer, Uri};

use crate::call::reachable;
use crate::context::{Context, Waiter};
use crate::locate::{Search, Ways};
use crate::network;

/// One party of a forwarded call, as we reach it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Party {
    pub(super) flow: Flow,
    /// It stands behind a translator, so that no address of its own counts.
    pub(super) is_translated: bool,
}

impl Party {
    /// Whoever sent `request` by `flow`.
    pub(super) fn of_request(request: &Message<'_>, flow: Flow) -> Self {
        let symmetric = request.top_via().is_ok_and(|via| via.params.has("rport"));
        Self {
            flow,
            is_translated: symmetric && is_datagram_from_afar(&flow),
        }
    }

    /// Whoever answered by `flow`; one that is registered stays where it has registered from.
    pub(super) fn of_response(flow: Flow, registered: bool) -> Self {
        Self {
            flow,
            is_translated: registered && is_datagram_from_afar(&flow),
        }
    }
}

fn is_datagram_from_afar(flow: &Flow) -> bool {
    flow.protocol == Protocol::Udp && network::is_public(flow.remote.ip())
}

/// Where a request goes.
#[derive(Debug)]
pub(super) enum Hop {
    /// There.
    To(Flow),
    /// To a server that has to be looked up.
    Find(Server),
    /// Nowhere.
    Nowhere,
}

/// The way of a request in a dialog to `uri`, its next Route or its target. What is known of the party
/// there counts for more than an address that nobody outside its own network can reach.
pub(super) fn in_dialog(uri: &str, party: Option<Party>) -> Hop {
    let Ok(parsed) = Uri::parse(uri) else {
        return party.map_or(Hop::Nowhere, |party| Hop::To(party.flow));
    };
    let Some(party) = party else {
        return Server::of_uri(&parsed).map_or(Hop::Nowhere, Hop::Find);
    };
    let known = party.flow;
    let by_connection = known.connection.is_some() || known.protocol == Protocol::Local;
    let elsewhere = parsed.address().is_some_and(|address| {
        let hidden = network::is_public(known.remote.ip()) && !network::is_public(address);
        address != known.remote.ip() && !hidden
    });
    match Server::of_uri(&parsed) {
        Some(server) if elsewhere && !by_connection => Hop::Find(server),
        _ if party.is_translated => Hop::To(known),
        _ => Hop::To(network::reach(uri, known)),
    }
}

/// What the target of a dial plan step stands for.
#[derive(Debug)]
pub(super) enum Callee {
    /// These phones of a user.
    Phones(Arc<str>, Vec<Target>),
    /// A URI, and the server for it.
    Server(Box<str>, Server),
    /// Nobody.
    Nobody(StatusCode),
}

impl Callee {
    /// Finds whom `target` means, a number of ours or a URI.
    pub(super) fn find(ctx: &Context<'_>, target: &str) -> Self {
        if !crate::dialplan::is_uri(target) {
            return Self::user(ctx, target);
        }
        let server = Uri::parse(target).ok().and_then(|uri| Server::of_uri(&uri));
        match server {
            Some(server) => Self::Server(target.into(), server),
            None => Self::Nobody(StatusCode(404)),
        }
    }

    fn user(ctx: &Context<'_>, number: &str) -> Self {
        let Some(user) = ctx.config.user_at(number) else {
            return Self::Nobody(StatusCode(404));
        };
        let phones: Vec<_> = reachable(ctx, &user.name)
            .into_iter()
            .map(|contact| Target {
                flow: network::first_hop(&contact),
                routes: contact
                    .path
                    .iter()
                    .map(|path| path.as_str().into())
                    .collect(),
                uri: contact.uri,
                q: contact.q,
            })
            .collect();
        if phones.is_empty() {
            return Self::Nobody(StatusCode(480));
        }
        Self::Phones(user.name.as_str().into(), phones)
    }
}

impl Context<'_> {
    /// The way to a server; `None`: `waiter` hears of it later.
    pub(super) fn hop_to(&mut self, server: &Server, waiter: Waiter) -> Option<Hop> {
        match self.find(server, waiter) {
            Search::Now(_, ways) => Some(self.first_way(ways)),
            Search::Later => None,
        }
    }

    /// The first of some ways that leads out of here.
    pub(super) fn first_way(&self, mut ways: Ways) -> Hop {
        let flow = ways
            .find_map(|(protocol, remote)| self.services.flow_to(protocol, remote, TlsPeer::ANY));
        flow.map_or(Hop::Nowhere, Hop::To)
    }
}
