//! NAPTR and SRV records, and the order that they ask for.

use crate::Protocol;

/// A NAPTR record of a domain: a transport by which its servers can be reached.
///
/// # Source
/// RFC 3403 §4.1, RFC 3263 §4.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naptr {
    /// The lower, the earlier it must be tried.
    pub order: u16,
    /// Among equal orders: the lower, the earlier it should be tried.
    pub preference: u16,
    /// What kind of name `replacement` is; `s` is one with SRV records.
    pub flags: Box<str>,
    /// What is offered: `SIP+D2U`.
    pub services: Box<str>,
    /// The name to look up next.
    pub replacement: Box<str>,
}

impl Naptr {
    /// The transport whose SRV records `replacement` has, and whether it is for `sips:`; `None`: the
    /// record is about something else.
    ///
    /// # Source
    /// RFC 3263 §4.1 (`SIP+D2U`, `SIP+D2T`, `SIPS+D2T`), RFC 7118 §8.4 (`SIP+D2W`, `SIPS+D2W`).
    #[must_use]
    pub fn protocol(&self) -> Option<Protocol> {
        if !self.flags.eq_ignore_ascii_case("s") {
            return None;
        }
        SERVICES
            .into_iter()
            .find(|(service, _)| self.services.eq_ignore_ascii_case(service))
            .map(|(_, protocol)| protocol)
    }
}

/// An SRV record: one server of a service.
///
/// # Source
/// RFC 2782.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// The lower, the earlier it must be tried.
    pub priority: u16,
    /// Among equal priorities: the share of requests that shall go there.
    pub weight: u16,
    /// Its port.
    pub port: u16,
    /// Its host name; a lone dot says that there is no such service.
    pub target: Box<str>,
}

/// Puts SRV records into the order in which to try them. `random` gives a number below its argument.
///
/// # Source
/// RFC 2782, "Usage rules" and "The format of the SRV RR": by priority; among equals one after the
/// other is drawn, each with a chance by its weight, those without weight last but for a small chance.
#[must_use]
pub fn in_order(mut records: Vec<Srv>, random: &mut dyn FnMut(u32) -> u32) -> Vec<Srv> {
    // Without weight in front: the draw begins there with zero.
    records.sort_by_key(|record| (record.priority, record.weight));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let priority = first.priority;
        let equals = records
            .iter()
            .take_while(|record| record.priority == priority);
        let sum: u32 = equals.map(|record| u32::from(record.weight)).sum();
        let drawn = random(sum + 1);
        let mut running = 0;
        let reached = records.iter().position(|record| {
            running += u32::from(record.weight);
            running >= drawn
        });
        ordered.push(records.remove(reached.unwrap_or(0)));
    }
    ordered
}

const SERVICES: [(&str, Protocol); 5] = [
    ("SIP+D2U", Protocol::Udp),
    ("SIP+D2T", Protocol::Tcp),
    ("SIPS+D2T", Protocol::Tls),
    ("SIP+D2W", Protocol::Ws),
    ("SIPS+D2W", Protocol::Wss),
];
