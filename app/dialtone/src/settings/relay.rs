//! `[relay]`: the media relay of a SIP proxy.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::document::Value;
use super::reader::Section;
use super::report::Fault;
use super::values::{self, Listen, duration, duration_or_never, list, number, text};

/// `[relay]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relay {
    /// Where proxies are awaited.
    pub(crate) listen: Vec<Listen>,
    /// Addresses for media; empty: those of the machine.
    pub(crate) interfaces: Vec<relay::Interface>,
    pub(crate) max_calls: usize,
    /// How long media of a deleted call go on.
    pub(crate) delete_delay: Duration,
    /// How long an offer may wait for its answer.
    pub(crate) offer_timeout: Duration,
}

pub(crate) fn read(mut relay: Section<'_>) -> Relay {
    let count = |value: &_| number(1..=1_000_000)(value).map(|n| n as usize);
    let read = Relay {
        listen: relay.read("listen", vec![default_listen()], list(1, listen)),
        interfaces: relay.read("interfaces", Vec::new(), list(0, interface)),
        max_calls: relay.read("max_calls", 10_000, count),
        delete_delay: relay.read(
            "delete_delay",
            Duration::from_secs(30),
            duration_or_never(1..=3600),
        ),
        offer_timeout: relay.read(
            "offer_timeout",
            Duration::from_secs(3600),
            duration(10..=86_400),
        ),
    };
    relay.finish();
    read
}

/// Whoever reaches this port can end calls and see their addresses: nobody but this machine.
fn default_listen() -> Listen {
    Listen {
        protocol: sip::Protocol::Udp,
        address: SocketAddr::from(([127, 0, 0, 1], 2223)),
    }
}

fn listen(value: &Value) -> Result<Listen, Fault> {
    let listen = values::listen(value)?;
    match listen.protocol {
        sip::Protocol::Udp | sip::Protocol::Tcp => Ok(listen),
        other => {
            let message = format!("the relay does not speak {other}");
            Err(Fault::new(message, "use udp or tcp"))
        }
    }
}

/// `NAME/ADDRESS!ADVERTISED`, of which only the address must be there.
fn interface(value: &Value) -> Result<relay::Interface, Fault> {
    const LIKE: &str =
        "write it like “192.0.2.1”, “public/10.0.0.1!192.0.2.1” or “private/10.0.0.1”";
    let text = text(value)?;
    let (name, rest) = text.split_once('/').unwrap_or(("default", text));
    let (address, advertised) = match rest.split_once('!') {
        Some((address, advertised)) => (address, advertised),
        None => (rest, rest),
    };
    let ip = |text: &str| -> Result<IpAddr, Fault> {
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        let ip = bare
            .parse::<IpAddr>()
            .ok()
            .filter(|ip| !ip.is_unspecified());
        ip.ok_or_else(|| Fault::new(format!("“{text}” is no address for media"), LIKE))
    };
    if name.is_empty() {
        return Err(Fault::new("an address for media has an empty name", LIKE));
    }
    Ok(relay::Interface {
        name: name.into(),
        address: ip(address)?,
        advertised: ip(advertised)?,
    })
}
