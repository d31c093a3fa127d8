//! Which trunk a request is from, and whom it wants.

use std::sync::Arc;

use sip::{Flow, Message, TlsPeer, Uri};

use super::{CallerId, Trunk, Trunks};
use crate::{Config, auth, call, network};

/// A call from a trunk.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) trunk: Arc<Trunk>,
    /// What is dialled here.
    pub(crate) extension: String,
    pub(crate) caller: CallerId,
}

/// Whether an INVITE is a trunk's, by where it comes from. Who has credentials of ours is a user,
/// whatever the address; those for other realms mean nothing to us (RFC 3261 §22.3).
pub(crate) fn arrival(config: &Config, flow: &Flow, request: &Message<'_>) -> Option<Arrival> {
    if auth::credentials(config, request).is_some() {
        return None;
    }
    let trunk = find(config, flow, request)?;
    Some(Arrival::new(trunk, request))
}

impl Arrival {
    /// A call from a trunk that is known.
    pub(crate) fn new(trunk: &Arc<Trunk>, request: &Message<'_>) -> Self {
        let called = called(trunk, request).unwrap_or_default();
        let number = trunk.numbers.from_trunk(&called);
        Self {
            extension: trunk.numbers.extension(&number),
            caller: CallerId::of_trunk(trunk, request),
            trunk: Arc::clone(trunk),
        }
    }
}

/// The trunk that a request is from. Of several at one address it is the one whose line is called, then
/// the one whose user is, then the first.
fn find<'a>(config: &'a Config, flow: &Flow, request: &Message<'_>) -> Option<&'a Arc<Trunk>> {
    let uri = Uri::parse(request.request_uri()).ok();
    let line = uri.and_then(|uri| uri.params.find(LINE));
    let here: Vec<_> = config
        .trunks
        .iter()
        .filter(|trunk| knows(trunk, flow, line))
        .collect();
    let by_line = here.iter().find(|trunk| is_line_of(trunk, line));
    let by_user = || {
        let user = uri?.user_name();
        here.iter().find(|trunk| *trunk.user == *user)
    };
    by_line.or_else(by_user).or_else(|| here.first()).copied()
}

/// Whether whatever comes this way is a trunk's.
pub(super) fn is_of_trunk(trunks: &Trunks, flow: &Flow) -> bool {
    trunks.iter().any(|trunk| knows(trunk, flow, None))
}

/// Whether a request that came this way, to this line, is the trunk's: by its certificate (RFC 5922
/// §7.1), by a listed network, by coming from the very address that we send to, or from another port of it to the line
/// that nobody else knows.
fn knows(trunk: &Trunk, flow: &Flow, line: Option<&str>) -> bool {
    if trunk.tls != TlsPeer::ANY && flow.tls == trunk.tls {
        return true;
    }
    let peer = flow.remote;
    let listed = trunk
        .sources
        .iter()
        .any(|(network, length)| network::contains(*network, *length, peer.ip()));
    // Who has a name to show is not known by an address that anybody may write on a datagram.
    if listed || trunk.peer.is_some() || trunk.tls != TlsPeer::ANY {
        return listed;
    }
    let view = trunk.state.view();
    let mut ways = view.ways.iter().map(|way| way.flow.remote);
    let same_host = ways.clone().any(|way| way.ip() == peer.ip());
    ways.any(|way| way == peer) || same_host && is_line_of(trunk, line)
}

fn is_line_of(trunk: &Trunk, line: Option<&str>) -> bool {
    let own = trunk.state.view().line;
    own.is_some_and(|own| line == Some(own.as_str()))
}

/// The number that is called: of the Request-URI, or if that is the Contact that we registered, of To.
fn called(trunk: &Trunk, request: &Message<'_>) -> Option<String> {
    let number = call::dialled_number(request);
    let uri = Uri::parse(request.request_uri()).ok()?;
    if *uri.user_name() != *trunk.user && !uri.params.has(LINE) {
        return number;
    }
    let to = request.to().ok()?.parse_uri().ok()?;
    call::plain_number(&to).or(number)
}

/// The parameter of our Contact that tells our trunks at one provider apart.
pub(super) const LINE: &str = "line";
