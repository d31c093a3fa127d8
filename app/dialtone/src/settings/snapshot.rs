//! Settings as the PBX reads them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use engine::Tls;
use pbx::config::{CallConfig, RegistrarConfig};
use pbx::{Config, Network, TrunkSettings, Trunks, User};

use super::Settings;

/// What the PBX makes its tokens from.
#[derive(Clone, Copy)]
pub(crate) struct Secrets {
    /// Lasts as long as the process, so that a reload doesn't make phones authenticate again.
    pub(crate) nonces: [u8; 32],
    /// Lasts as long as the data folder, so that calls that are forwarded outlive the process.
    pub(crate) routes: [u8; 32],
}

/// The snapshot for the PBX. Trunks that were there `before` keep their state. `learnt` is what a STUN server calls
/// us.
pub(crate) fn snapshot(
    settings: &Settings,
    secrets: Secrets,
    before: &Trunks,
    tls: Option<&Tls>,
    learnt: Option<IpAddr>,
) -> Config {
    let server = &settings.server;
    let users: Vec<_> = settings.users.iter().cloned().map(Arc::new).collect();
    let by = |key: fn(&User) -> &String| {
        let pairs = users
            .iter()
            .map(|user| (key(user).clone(), Arc::clone(user)));
        pairs.collect::<HashMap<_, _>>()
    };
    Config {
        realm: server.sip.realm.as_str().into(),
        algorithms: server.auth.algorithms.clone(),
        nonce_lifetime: server.auth.nonce_lifetime,
        guesses: server.auth.guesses,
        nonce_secret: secrets.nonces,
        route_secret: secrets.routes,
        users: by(|user| &user.name),
        numbers: by(|user| &user.number),
        dialplan: settings.dialplan.clone(),
        trunks: Trunks::new(numbered(&settings.trunks, tls), before),
        network: Network {
            signalling: server.sip.advertise,
            media: server.media.advertise.or(learnt).or(server.sip.advertise),
            local: server.sip.local_networks.clone(),
            long_by_tcp: server.sip.long_by_tcp,
            ice: server.media.ice,
        },
        registrar: RegistrarConfig {
            min_expires: server.registrar.min_expires,
            default_expires: server.registrar.default_expires,
            max_expires: server.registrar.max_expires,
            qualify: server.registrar.qualify,
        },
        calls: CallConfig {
            ring_timeout: server.calls.ring_timeout,
            session_expires: server.calls.session_expires,
            min_session_expires: server.calls.min_session_expires,
            max_duration: server.calls.max_duration,
            redirects: server.calls.redirects,
            max_calls: server.calls.max_calls,
            music: server.sound.plays_music(),
        },
        server: server.sip.server.as_str().into(),
    }
}

/// The trunks with the numbers that the engine has for the names in their certificates.
fn numbered(trunks: &[TrunkSettings], tls: Option<&Tls>) -> Vec<TrunkSettings> {
    let number = |trunk: &TrunkSettings| tls?.peer(trunk.tls_name.as_deref()?);
    let with_number = |trunk: &TrunkSettings| TrunkSettings {
        tls: number(trunk).unwrap_or_default(),
        ..trunk.clone()
    };
    trunks.iter().map(with_number).collect()
}
