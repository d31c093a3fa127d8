//! What the PBX needs to know: an immutable snapshot, replaced as a whole on reload.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sdp::bridge::Policy;

use crate::DialPlan;
use crate::trunk::Trunks;

/// One snapshot of everything configurable that the PBX's machines read.
#[derive(Clone, Debug)]
pub struct Config {
    /// Digest realm; part of every stored password hash.
    pub realm: Arc<str>,
    /// Digest algorithms that are offered, in order.
    pub algorithms: Vec<Algorithm>,
    /// How long a nonce is good for.
    pub nonce_lifetime: Duration,
    /// Wrong passwords from one address before no more are looked at; zero: no limit.
    pub guesses: u32,
    /// Secret from which nonces are made; the same for all slots. Another one at each start: what was
    /// proven before could be repeated, as nobody remembers that it has been used.
    pub nonce_secret: [u8; 32],
    /// Secret from which the tokens in our Record-Route are made; the same for all slots, and at each
    /// start: calls that are forwarded go on while we are away.
    pub route_secret: [u8; 32],
    /// Users by name, which is also their digest user name.
    pub users: HashMap<String, Arc<User>>,
    /// User names by the number that reaches them.
    pub numbers: HashMap<String, Arc<User>>,
    /// What happens to a dialled number.
    pub dialplan: DialPlan,
    /// Providers and other switches.
    pub trunks: Trunks,
    /// Public addresses.
    pub network: Network,
    /// Registration rules.
    pub registrar: RegistrarConfig,
    /// Call rules.
    pub calls: CallConfig,
    /// Value of Server and User-Agent headers; empty: neither is sent.
    pub server: Arc<str>,
}

impl Config {
    /// The user whom a number or a user name reaches.
    #[must_use]
    pub fn user_at(&self, number: &str) -> Option<&Arc<User>> {
        self.numbers.get(number).or_else(|| self.users.get(number))
    }
}

/// A person or device that may register and call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Digest user name and the user part of the address of record.
    pub name: String,
    /// The number that reaches the user; often the name.
    pub number: String,
    /// The password in clear: digest with more than one algorithm needs it.
    pub password: String,
    /// Shown to those whom the user calls; empty: none.
    pub display_name: String,
    /// Most phones at once.
    pub max_contacts: usize,
    /// Calls are refused as if the user were busy.
    pub do_not_disturb: bool,
    /// Phones ring while the user talks; else a second call finds the user busy.
    pub call_waiting: bool,
    /// Where calls go that the user does not take.
    pub forward: Forward,
    /// Encryption and codecs of the user's phones.
    pub media: Arc<Policy>,
    /// Whether they are browsers; none: those are that speak SIP over WebSockets.
    pub webrtc: Option<bool>,
    /// How the user's phones are told of keys; [`media`](Self::media) is to [agree](crate::sound::telling).
    pub dtmf: Dtmf,
}

/// How a party is told of the keys that the other one presses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Dtmf {
    /// As telephone events (RFC 4733) if it has agreed to them; else as tones, and INFO goes to whoever takes
    /// it. Its own tones are keys if it has agreed to no events.
    #[default]
    Auto,
    /// As telephone events, which it is offered whatever the other party has, or as tones if it has agreed to
    /// none. Its own tones are mere sound.
    Rfc4733,
    /// By INFO. It is offered no telephone events; its own tones are keys.
    Info,
    /// As tones. It is offered no telephone events; its own tones are keys.
    Inband,
}

impl Dtmf {
    /// Whether the party may agree to telephone events.
    #[must_use]
    pub const fn has_events(self) -> bool {
        matches!(self, Self::Auto | Self::Rfc4733)
    }
}

/// Where calls to a user go instead; numbers are looked up in the dial plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    /// All calls.
    pub always: Option<String>,
    /// Calls that find the user busy, or not to be disturbed.
    pub busy: Option<String>,
    /// Calls that nobody answers.
    pub no_answer: Option<String>,
    /// Calls while no phone is there.
    pub unreachable: Option<String>,
    /// How long phones ring before [`no_answer`](Self::no_answer); none: as long as all others.
    pub after: Option<Duration>,
}

/// Which redirections by phones are followed (RFC 3261 §8.1.3.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Redirects {
    /// None.
    Never,
    /// Those to other users.
    #[default]
    Users,
    /// Those to any number that the dial plan knows: a phone can so make others pay for its calls.
    Anywhere,
}

/// A digest algorithm (RFC 7616 §3.3, RFC 8760).
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Deserialize)]
pub enum Algorithm {
    /// What every phone knows.
    #[serde(rename = "MD5")]
    Md5,
    /// SHA-256.
    #[serde(rename = "SHA-256")]
    Sha256,
    /// SHA-512/256.
    #[serde(rename = "SHA-512-256")]
    Sha512_256,
}

/// Which address peers are told: ours as they see it, or a public one.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Public address for Via, Contact and Record-Route; none: the local address of the flow.
    pub signalling: Option<IpAddr>,
    /// Public address for SDP; none: the local address of the flow.
    pub media: Option<IpAddr>,
    /// Networks (address, prefix length) whose peers are told the local address all the same.
    pub local: Vec<(IpAddr, u8)>,
    /// Whether requests over 1300 octets are tried over TCP with peers in these networks (RFC 3261
    /// §18.1.1); those behind a NAT take no connections.
    pub long_by_tcp: bool,
    /// Whether we look for ways to those who do ICE, or only answer: enough where they reach us at the address
    /// that they are told (RFC 8445 §2.5).
    pub ice: sdp::bridge::ice::Mode,
}

/// Registration rules (RFC 3261 §10.3).
#[derive(Clone, Debug)]
pub struct RegistrarConfig {
    /// Shorter wishes are answered 423.
    pub min_expires: Duration,
    /// For a REGISTER that names no time.
    pub default_expires: Duration,
    /// Longer wishes are cut to this.
    pub max_expires: Duration,
    /// How often registered phones are asked with OPTIONS whether they are there; zero: never.
    pub qualify: Duration,
}

/// Call rules.
#[derive(Clone, Debug)]
pub struct CallConfig {
    /// How long phones ring before the caller hears 480 (or the dial plan goes on).
    pub ring_timeout: Duration,
    /// Session-Expires that we ask for (RFC 4028); zero: session timers are not used.
    pub session_expires: Duration,
    /// Shortest session interval that we accept.
    pub min_session_expires: Duration,
    /// Longest duration of a call; zero: no limit.
    pub max_duration: Duration,
    /// Which redirections by phones are followed.
    pub redirects: Redirects,
    /// Calls at once over all slots; more are answered 503.
    pub max_calls: usize,
    /// Whoever is put on hold hears the server's music instead of the other party.
    pub music: bool,
}
