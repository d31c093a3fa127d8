//! How a forwarded request leaves.

use std::sync::Arc;

use engine::Server;
use sip::proxy::{Spare, Target};
use sip::{Flow, Message, Protocol, StatusCode, TlsPeer, Uri};
use store::Contact;

use crate::call::reachable;
use crate::context::{Context, Waiter};
use crate::locate::{Search, Ways};
use crate::{network, outbound};

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
        let phones = outbound::phones(reachable(ctx, &user.name));
        let phones: Vec<_> = phones.into_iter().map(phone).collect();
        if phones.is_empty() {
            return Self::Nobody(StatusCode(480));
        }
        Self::Phones(user.name.as_str().into(), phones)
    }
}

/// A registered phone: the flow that it has registered last, and its others.
fn phone((contact, spares): (Contact, Vec<outbound::Spare>)) -> Target {
    let spares = spares.into_iter().map(|spare| Spare {
        uri: spare.uri,
        flow: spare.flow,
        routes: routes(&spare.path),
    });
    Target {
        flow: network::first_hop(&contact),
        routes: routes(&contact.path),
        uri: contact.uri,
        q: contact.q,
        spares: spares.collect(),
    }
}

fn routes(path: &[String]) -> Vec<Box<str>> {
    path.iter().map(|path| path.as_str().into()).collect()
}

/// `uri` along the first of these flows, and if that fails along the next one; none without flows.
pub(super) fn along(uri: &str, flows: &[Flow]) -> Option<Target> {
    let (first, others) = flows.split_first()?;
    let spare = |flow: &Flow| Spare {
        uri: uri.into(),
        flow: *flow,
        routes: Vec::new(),
    };
    let spares = others.iter().map(spare).collect();
    Some(Target {
        spares,
        ..Target::new(uri, *first)
    })
}

impl Context<'_> {
    /// The ways to a server; `None`: `waiter` hears of them later.
    pub(super) fn flows_to(&mut self, server: &Server, waiter: Waiter) -> Option<Vec<Flow>> {
        match self.find(server, waiter) {
            Search::Now(_, ways) => Some(self.flows(ways)),
            Search::Later => None,
        }
    }

    /// Those of some ways that lead out of here.
    pub(super) fn flows(&self, ways: Ways) -> Vec<Flow> {
        let services = self.services;
        ways.filter_map(|(protocol, remote)| services.flow_to(protocol, remote, TlsPeer::ANY))
            .collect()
    }
}
