//! `[turn]`: the STUN and TURN server.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::document::Value;
use super::reader::Section;
use super::report::Fault;
use super::trunks::secret;
use super::values::{self, Listen, list, number, printable, text};

/// `[turn]`
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Where clients are awaited; empty: the server is off.
    pub(crate) listen: Vec<Listen>,
    /// The domain of its users; none: that of `[sip]`.
    pub(crate) realm: Option<String>,
    /// What time-limited passwords are made of.
    pub(crate) secret: Option<String>,
    /// Users with a lasting password.
    pub(crate) users: Vec<(String, String)>,
    /// Ports of relays.
    pub(crate) ports: RangeInclusive<u16>,
    /// Public address of relays; none: that of media.
    pub(crate) advertise: Option<IpAddr>,
    /// Networks that are not public and that relays may reach all the same.
    pub(crate) allow: Vec<(IpAddr, u8)>,
    pub(crate) max_relays: usize,
    pub(crate) max_relays_per_user: usize,
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn")
            .field("listen", &self.listen)
            .field("ports", &self.ports)
            .finish_non_exhaustive()
    }
}

pub(crate) fn read(mut turn: Section<'_>) -> Turn {
    let count = |value: &_| number(1..=100_000)(value).map(|n| n as usize);
    let filled = |text: String| (!text.is_empty()).then_some(text);
    let in_file = turn.optional("secret_file", secret);
    let read = Turn {
        listen: turn.read("listen", Vec::new(), list(0, listen)),
        realm: filled(turn.read("realm", String::new(), printable(128))),
        secret: filled(turn.read("secret", String::new(), printable(128))).or(in_file),
        users: turn.read("users", Vec::new(), list(0, user)),
        ports: turn.read("ports", 20000..=29999, values::ports(false)),
        advertise: turn.read("advertise", None, values::address),
        allow: turn.read("allow", Vec::new(), list(0, values::network)),
        max_relays: turn.read("max_relays", 1000, count),
        max_relays_per_user: turn.read("max_relays_per_user", 16, count),
    };
    turn.finish();
    read
}

fn listen(value: &Value) -> Result<Listen, Fault> {
    let listen = values::listen(value)?;
    match listen.protocol {
        sip::Protocol::Udp | sip::Protocol::Tcp => Ok(listen),
        other => {
            let message = format!("the TURN server does not speak {other}");
            Err(Fault::new(message, "use udp or tcp"))
        }
    }
}

fn user(value: &Value) -> Result<(String, String), Fault> {
    let text = text(value)?;
    match text.split_once(':') {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => {
            Ok((user.to_owned(), password.to_owned()))
        }
        _ => Err(Fault::new(
            "a user of the TURN server has no name or no password",
            "write it like “browser:password”",
        )),
    }
}
