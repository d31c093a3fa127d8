//! What an operator says of a trunk.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use base::Slot;
use engine::Server;
use sdp::bridge::Policy;
use sip::digest::Account;
use sip::{Flow, TlsPeer};

use super::countries::Country;
use super::incoming::is_of_trunk;
use super::numbers::{Format, Rewrite};
use super::state::State;
use crate::config::Dtmf;
use crate::sound::STRANGERS;
use crate::stir::StirPolicy;

/// All trunks, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Trunks(Vec<Arc<Trunk>>);

impl Trunks {
    /// These trunks. A trunk that was there `before` keeps its state, so that a reload drops neither
    /// its registration nor the count of its calls.
    #[must_use]
    pub fn new(settings: Vec<TrunkSettings>, before: &Self) -> Self {
        let trunk = |settings: TrunkSettings| {
            let state = before
                .named(&settings.name)
                .map_or_else(Arc::default, |old| Arc::clone(&old.state));
            Arc::new(Trunk { settings, state })
        };
        Self(settings.into_iter().map(trunk).collect())
    }

    /// The trunk with this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Trunk>> {
        self.0.iter().find(|trunk| *trunk.name == *name)
    }

    /// Whether whatever comes this way is from one of them, by a certificate, a listed network, or the
    /// address that we send to.
    #[must_use]
    pub fn knows(&self, flow: &Flow) -> bool {
        is_of_trunk(self, flow)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Trunk>> {
        self.0.iter()
    }
}

/// A trunk: its settings, and what is known of it at this moment.
#[derive(Debug)]
pub struct Trunk {
    /// What the operator said.
    pub settings: TrunkSettings,
    /// What all slots share; outlives a reload.
    pub state: Arc<State>,
}

impl Trunk {
    /// The slot that looks after the trunk.
    #[must_use]
    pub fn slot(&self) -> Slot {
        Slot::of_key(self.name.as_bytes())
    }
}

impl Deref for Trunk {
    type Target = TrunkSettings;

    fn deref(&self) -> &TrunkSettings {
        &self.settings
    }
}

/// The settings of one trunk.
#[derive(Clone, Debug, PartialEq)]
pub struct TrunkSettings {
    /// Its name in the dial plan, in records and in the log.
    pub name: Arc<str>,
    /// Where calls are sent to.
    pub proxies: Vec<Proxy>,
    /// Domain of addresses there: Request-URI, To, From, and the registrar.
    pub domain: Box<str>,
    /// Name and password for digest authentication, if the provider gave us any.
    pub account: Option<Account>,
    /// User part of our address of record and of our Contact.
    pub user: Box<str>,
    /// How we register there; none: we don't.
    pub register: Option<Register>,
    /// Networks whose requests are the trunk's, besides the proxies' own addresses.
    pub sources: Vec<(IpAddr, u8)>,
    /// The name that its certificate must bear; none: it is not reached by TLS.
    pub tls_name: Option<Box<str>>,
    /// That name as the engine numbers it.
    pub tls: TlsPeer,
    /// The user under whose name the trunk registers at us and calls; none: it is known by its address.
    pub peer: Option<Box<str>>,
    /// Signed numbers of callers.
    pub stir: StirPolicy,
    /// Encryption and codecs.
    pub media: Arc<Policy>,
    /// How it is told of keys.
    pub dtmf: Dtmf,
    /// What the trunk is told of callers, and what is believed of those that it sends.
    pub identity: IdentityPolicy,
    /// How numbers are written.
    pub numbers: NumberPolicy,
    /// Most calls at once, both directions together; more are refused, or go by the next trunk.
    pub max_channels: usize,
    /// Most calls begun in a second towards the trunk; 0: no limit.
    pub max_rate: u32,
    /// How long a proxy may say nothing at all to an INVITE before the next one is tried.
    pub timeout: Duration,
    /// How often each proxy is asked with OPTIONS; zero: never.
    pub qualify: Duration,
    /// How often an empty line keeps the way through translators open; zero: never.
    pub keep_alive: Duration,
}

impl TrunkSettings {
    /// A trunk with these proxies and the default of everything else.
    #[must_use]
    pub fn new(name: &str, domain: &str, proxies: Vec<Proxy>) -> Self {
        Self {
            name: name.into(),
            proxies,
            domain: domain.into(),
            account: None,
            user: name.into(),
            register: None,
            sources: Vec::new(),
            tls_name: None,
            tls: TlsPeer::ANY,
            peer: None,
            stir: StirPolicy::default(),
            media: Arc::clone(&STRANGERS),
            dtmf: Dtmf::default(),
            identity: IdentityPolicy::default(),
            numbers: NumberPolicy::default(),
            max_channels: usize::MAX,
            max_rate: 0,
            timeout: Duration::from_secs(5),
            qualify: Duration::from_secs(30),
            keep_alive: Duration::from_secs(25),
        }
    }

    /// Whether a registration made by `other` serves these settings as well.
    pub(crate) fn registers_like(&self, other: &Self) -> bool {
        self.proxies == other.proxies
            && self.domain == other.domain
            && self.account == other.account
            && self.user == other.user
            && self.register == other.register
            && self.tls == other.tls
    }
}

/// A server of the trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Where it is.
    pub server: Server,
    /// Lower ones are tried first.
    pub priority: u16,
    /// Share of the calls among those of one priority.
    pub weight: u16,
}

/// How we register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// How long a registration is to last.
    pub expires: Duration,
    /// The wait after a first failure; it doubles with each further one.
    pub retry: Duration,
    /// The longest wait, and the wait after a refusal that waiting won't cure.
    pub max_retry: Duration,
}

impl Default for Register {
    fn default() -> Self {
        Self {
            expires: Duration::from_secs(600),
            retry: Duration::from_secs(10),
            max_retry: Duration::from_secs(600),
        }
    }
}

/// Who is told who calls.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct IdentityPolicy {
    /// What From shows.
    pub from: From,
    /// How the caller is asserted besides From.
    pub header: IdentityHeader,
    /// The trunk is inside our trust domain: it may learn the identity of callers who want to stay
    /// unknown to the callee, and what it asserts of its own callers is believed (RFC 3325 §5).
    pub trusted: bool,
    /// The number shown for a caller: `{number}` stands for the caller's own; empty: that.
    pub number: Box<str>,
    /// Numbers shown for single users, by their own number.
    pub numbers: Vec<(Box<str>, Box<str>)>,
    /// No caller is shown at all.
    pub anonymous: bool,
}

/// What From shows to a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum From {
    /// The caller's number.
    #[default]
    Number,
    /// Our own name there: some providers insist on it.
    Account,
}

/// How callers are asserted to a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum IdentityHeader {
    /// P-Asserted-Identity if the trunk is trusted, else P-Preferred-Identity (RFC 3325).
    #[default]
    Asserted,
    /// P-Preferred-Identity (RFC 3325 §9.2).
    Preferred,
    /// Remote-Party-ID, as before RFC 3325.
    RemoteParty,
    /// From alone.
    None,
}

/// How a trunk writes numbers.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct NumberPolicy {
    /// Whose prefixes national and international numbers have; none: numbers stay as they are.
    pub country: Option<&'static Country>,
    /// The form of numbers sent there.
    pub format: Format,
    /// Beginnings that are replaced in numbers sent there, after they got their form.
    pub outgoing: Vec<Rewrite>,
    /// Beginnings that are replaced in numbers that come from there, before they are understood.
    pub incoming: Vec<Rewrite>,
    /// What is dialled here for numbers called from there.
    pub did: Vec<(Box<str>, Box<str>)>,
    /// What is dialled here for all others; empty: the number.
    pub otherwise: Box<str>,
}
