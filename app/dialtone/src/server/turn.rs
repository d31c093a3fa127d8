//! The TURN server's share of the settings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use anyhow::{Context, Result};
use ice::turn::policy::{Policy, Rule, is_public};
use ice::turn::{Config, Users};
pub(super) use turn::Turn;
use turn::{Listen, Relays, Settings, Transport};

use super::network::own_addresses;
use crate::settings::Server;

/// Starts the server, if it is wanted.
pub(super) fn start(server: &Server) -> Result<Option<Turn>> {
    let wanted = &server.turn;
    if wanted.listen.is_empty() {
        return Ok(None);
    }
    let listen = wanted.listen.iter().map(|listen| Listen {
        transport: match listen.protocol {
            sip::Protocol::Udp => Transport::Udp,
            _ => Transport::Tcp,
        },
        address: listen.address,
    });
    let advertise = advertised(server);
    let bind = advertise.iter().map(|ip| match ip {
        IpAddr::V4(ip) if ip.is_loopback() => IpAddr::V4(*ip),
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    });
    let settings = Settings {
        listen: listen.collect(),
        relays: Relays {
            bind: bind.collect(),
            advertise,
            ports: wanted.ports.clone(),
        },
        clients: clients(server),
    };
    let turn = Turn::start(settings).context("the TURN server's addresses can't be had")?;
    let addresses = turn.listening().iter().map(|listen| {
        let transport = match listen.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        };
        format!("{transport}:{}", listen.address)
    });
    let listen = addresses.collect::<Vec<_>>().join(" ");
    tracing::info!(listen, "the TURN server is ready");
    Ok(Some(turn))
}

/// Takes over what can change while the server runs.
pub(super) fn reload(turn: &Turn, server: &Server) {
    turn.configure(clients(server));
}

/// Who may have relays, and where these lead.
fn clients(server: &Server) -> Config {
    let wanted = &server.turn;
    let realm = wanted.realm.as_ref().unwrap_or(&server.sip.realm).clone();
    let mut users = Users::default();
    for (user, password) in &wanted.users {
        users.insert(user, &realm, password);
    }
    if let Some(secret) = &wanted.secret {
        users.set_secret(secret);
    }
    Config {
        realm,
        users,
        policy: policy(server),
        max_relays: wanted.max_relays,
        max_relays_per_user: wanted.max_relays_per_user,
        ..Config::default()
    }
}

/// The Internet, the networks that are named, and of our own addresses what media come to: a browser's
/// relay has to reach the calls here, and the relays of others.
fn policy(server: &Server) -> Policy {
    let mut own = own_addresses();
    own.extend(advertised(server));
    let named = server.turn.allow.iter().map(|(network, prefix)| Rule {
        network: *network,
        prefix: *prefix,
        ports: 1..=u16::MAX,
    });
    let mut allow: Vec<_> = named.collect();
    for ip in own.iter().filter(|ip| !ip.is_loopback()) {
        let one = |ports: &RangeInclusive<u16>| Rule {
            network: *ip,
            prefix: 128,
            ports: ports.clone(),
        };
        allow.extend([one(&server.media.ports), one(&server.turn.ports)]);
    }
    Policy {
        allow,
        own,
        ..Policy::default()
    }
}

/// One address of each family: that of the settings, else what the machine has.
fn advertised(server: &Server) -> Vec<IpAddr> {
    let settings = [
        server.turn.advertise,
        server.media.advertise,
        server.sip.advertise,
    ];
    let named = settings.into_iter().flatten().next();
    let own = own_addresses();
    let v4 = named.filter(IpAddr::is_ipv4).or_else(|| {
        let mut own = own.iter().filter(|ip| ip.is_ipv4());
        own.clone()
            .find(|ip| !ip.is_loopback())
            .or_else(|| own.next())
            .copied()
    });
    let v6 = named.filter(IpAddr::is_ipv6).or_else(|| {
        let mut own = own.iter().filter(|ip| ip.is_ipv6());
        own.find(|ip| is_public(**ip)).copied()
    });
    v4.into_iter().chain(v6).collect()
}
