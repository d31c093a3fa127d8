//! `etc/dialtone.toml`.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use media::Kernel;
use pbx::config::{Algorithm, Redirects};
use sdp::bridge::ice::Mode;

use crate::folder::Folder;

use super::document::Table;
use super::http::{self, Http};
use super::reader::Section;
use super::relay::{self, Relay};
use super::report::{Fault, Report};
use super::sound::{self, Sound};
use super::stir;
use super::tls::{self, Tls};
use super::turn::{self, Turn};
use super::values::{
    self, Listen, choice, count_or_auto, duration, duration_or_never, list, number, printable,
};

/// Everything but users and dial plan.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) sip: Sip,
    pub(crate) tls: Tls,
    pub(crate) http: Http,
    pub(crate) media: Media,
    pub(crate) auth: Auth,
    pub(crate) registrar: Registrar,
    pub(crate) calls: Calls,
    pub(crate) dns: resolver::Settings,
    pub(crate) log: Log,
    pub(crate) trace: Trace,
    pub(crate) turn: Turn,
    pub(crate) relay: Relay,
    pub(crate) sound: Sound,
}

/// `[sip]`
#[derive(Clone, Debug)]
pub(crate) struct Sip {
    pub(crate) listen: Vec<Listen>,
    /// Public address; none: the local one.
    pub(crate) advertise: Option<IpAddr>,
    pub(crate) local_networks: Vec<(IpAddr, u8)>,
    pub(crate) long_by_tcp: bool,
    pub(crate) realm: String,
    /// Value of the Server header; empty: none.
    pub(crate) server: String,
    /// Signalling threads; none: as many as there are CPUs.
    pub(crate) threads: Option<usize>,
    pub(crate) tcp: Tcp,
    pub(crate) limits: Limits,
}

/// `[sip.limits]`: for each second; zero: no limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Requests from one source that has not proved who it is.
    pub(crate) strangers: u32,
    /// TLS handshakes with one source.
    pub(crate) handshakes_per_peer: u32,
    /// TLS handshakes on one signalling thread.
    pub(crate) handshakes: u32,
}

/// `[sip.tcp]`
#[derive(Clone, Debug)]
pub(crate) struct Tcp {
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_peer: usize,
    pub(crate) message_timeout: Duration,
    pub(crate) idle_timeout: Duration,
}

/// `[media]`
#[derive(Clone, Debug)]
pub(crate) struct Media {
    pub(crate) ports: RangeInclusive<u16>,
    /// Each port serves many calls.
    pub(crate) shared: bool,
    /// Public address; none: the one of signalling.
    pub(crate) advertise: Option<IpAddr>,
    /// Who tells us our public address, by name or address; none: nobody.
    pub(crate) stun: Option<Stun>,
    /// Whether ways to those who do ICE are looked for, or only their checks answered.
    pub(crate) ice: Mode,
    pub(crate) timeout: Duration,
    /// Media workers; none: as many as there are CPUs.
    pub(crate) workers: Option<usize>,
    /// Whether streams pass in the kernel, and at which interfaces; none: where media addresses are.
    pub(crate) kernel: Kernel,
    pub(crate) interfaces: Vec<String>,
}

/// A STUN server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stun {
    /// A name, or an address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// `[auth]`
#[derive(Clone, Debug)]
pub(crate) struct Auth {
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) nonce_lifetime: Duration,
    pub(crate) guesses: u32,
}

/// `[registrar]`
#[derive(Clone, Debug)]
pub(crate) struct Registrar {
    pub(crate) min_expires: Duration,
    pub(crate) default_expires: Duration,
    pub(crate) max_expires: Duration,
    pub(crate) max_contacts: usize,
    /// Zero: phones are not asked.
    pub(crate) qualify: Duration,
}

/// `[calls]`
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    pub(crate) ring_timeout: Duration,
    /// Zero: no session timers.
    pub(crate) session_expires: Duration,
    pub(crate) min_session_expires: Duration,
    /// Zero: no limit.
    pub(crate) max_duration: Duration,
    pub(crate) redirects: Redirects,
    pub(crate) max_calls: usize,
    /// How long calls may go on when the server is told to stop.
    pub(crate) drain: Duration,
}

/// `[log]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) level: Level,
    pub(crate) format: Format,
    /// Numbers and addresses of people are shown in full.
    pub(crate) personal: bool,
}

/// `[trace]`
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    /// Octets of messages of the past to keep; zero: none.
    pub(crate) history: usize,
    /// Where copies of all messages go; none: nowhere.
    pub(crate) hep: Option<Hep>,
}

/// A capture server, and who we are to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hep {
    /// UDP or TCP.
    pub(crate) protocol: sip::Protocol,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) id: u32,
    pub(crate) key: String,
    pub(crate) node: String,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

/// Reads the file's table; what is absent or wrong has its default, and the latter is reported.
/// Files that are named in it count from `root`.
pub(crate) fn read(table: Table, root: &Path, report: &Report) -> Server {
    let mut top = Section::new("", table, report);
    let server = Server {
        sip: sip(top.section("sip")),
        tls: tls::read(top.section("tls"), root, report),
        http: http::read(top.section("http")),
        media: media(top.section("media")),
        auth: auth(top.section("auth")),
        registrar: registrar(top.section("registrar")),
        calls: calls(top.section("calls")),
        dns: dns(top.section("dns"), top.section("stir")),
        log: log(top.section("log")),
        trace: trace(top.section("trace")),
        turn: turn::read(top.section("turn")),
        relay: relay::read(top.section("relay")),
        sound: sound::read(top.section("sound"), &Folder::new(root)),
    };
    top.finish();
    server
}

fn sip(mut sip: Section<'_>) -> Sip {
    let read = Sip {
        listen: sip.read("listen", default_listen(), listen),
        advertise: sip.read("advertise", None, values::address),
        local_networks: sip.read(
            "local_networks",
            default_networks(),
            list(0, values::network),
        ),
        long_by_tcp: sip.read("long_requests", true, choice(LONG_REQUESTS)),
        realm: sip.read("realm", "dialtone".into(), realm),
        server: sip.read("server", SERVER.into(), printable(128)),
        threads: sip.read("threads", None, count_or_auto(1..=256)),
        tcp: tcp(sip.section("tcp")),
        limits: limits(sip.section("limits")),
    };
    sip.finish();
    read
}

fn limits(mut limits: Section<'_>) -> Limits {
    let rate = |value: &_| number(0..=1_000_000)(value).map(|n| n as u32);
    let read = Limits {
        strangers: limits.read("strangers", 1000, rate),
        handshakes_per_peer: limits.read("handshakes_per_peer", 50, rate),
        handshakes: limits.read("handshakes", 300, rate),
    };
    limits.finish();
    read
}

fn tcp(mut tcp: Section<'_>) -> Tcp {
    let count = |value: &_| number(1..=1_000_000)(value).map(|n| n as usize);
    let read = Tcp {
        max_connections: tcp.read("max_connections", 8192, count),
        max_connections_per_peer: tcp.read("max_connections_per_peer", 1024, count),
        message_timeout: tcp.read("message_timeout", secs(30), duration(1..=600)),
        idle_timeout: tcp.read("idle_timeout", secs(3600), duration(60..=7 * DAY)),
    };
    tcp.finish();
    read
}

fn media(mut media: Section<'_>) -> Media {
    let shared = media.read("shared", false, values::boolean);
    let read = Media {
        ports: media.read("ports", 10000..=19999, values::ports(shared)),
        shared,
        advertise: media.read("advertise", None, values::address),
        stun: media.read("stun", None, values::stun),
        ice: media.read("ice", Mode::Lite, choice(ICE)),
        timeout: media.read("timeout", secs(60), duration(5..=DAY)),
        workers: media.read("workers", None, count_or_auto(1..=256)),
        kernel: media.read("kernel", Kernel::Auto, choice(KERNEL)),
        interfaces: media.read("interfaces", Vec::new(), list(0, printable(15))),
    };
    media.finish();
    read
}

const KERNEL: &[(&str, Kernel)] = &[
    ("auto", Kernel::Auto),
    ("off", Kernel::Off),
    ("required", Kernel::Required),
];

fn auth(mut auth: Section<'_>) -> Auth {
    let read = Auth {
        algorithms: auth.read("algorithms", vec![Algorithm::Md5], algorithms),
        nonce_lifetime: auth.read("nonce_lifetime", secs(300), duration(10..=DAY)),
        guesses: auth.read("guesses", 20, |v| {
            number(0..=1_000_000)(v).map(|n| n as u32)
        }),
    };
    auth.finish();
    read
}

fn registrar(mut registrar: Section<'_>) -> Registrar {
    let read = Registrar {
        min_expires: registrar.read("min_expires", secs(60), duration(1..=DAY)),
        default_expires: registrar.read("default_expires", secs(3600), duration(1..=7 * DAY)),
        max_expires: registrar.read("max_expires", secs(7200), duration(1..=30 * DAY)),
        max_contacts: registrar.read("max_contacts", 10, max_contacts),
        qualify: registrar.read("qualify", secs(60), duration_or_never(5..=DAY)),
    };
    let ordered =
        read.min_expires <= read.default_expires && read.default_expires <= read.max_expires;
    if !ordered {
        let message = "min_expires, default_expires and max_expires are not in this order";
        let fault = Fault::new(
            message,
            "make the first the smallest and the last the largest",
        );
        registrar.error("default_expires", registrar.origin(), fault);
    }
    registrar.finish();
    read
}

fn calls(mut calls: Section<'_>) -> Calls {
    let read = Calls {
        redirects: calls.read("redirects", Redirects::default(), choice(REDIRECTS)),
        ring_timeout: calls.read("ring_timeout", secs(60), duration(5..=600)),
        session_expires: calls.read("session_expires", secs(1800), duration_or_never(90..=DAY)),
        // RFC 4028 §4: a session interval is at least 90 s.
        min_session_expires: calls.read("min_session_expires", secs(90), duration(90..=DAY)),
        max_duration: calls.read(
            "max_duration",
            Duration::ZERO,
            duration_or_never(1..=30 * DAY),
        ),
        max_calls: calls.read("max_calls", 10_000, |v| {
            number(1..=1_000_000)(v).map(|n| n as usize)
        }),
        drain: calls.read("drain", Duration::ZERO, duration_or_never(1..=DAY)),
    };
    if !read.session_expires.is_zero() && read.session_expires < read.min_session_expires {
        let fault = Fault::new(
            "is above session_expires",
            "make it smaller, or the other larger",
        );
        calls.error("min_session_expires", calls.origin(), fault);
    }
    calls.finish();
    read
}

fn dns(mut dns: Section<'_>, signed: Section<'_>) -> resolver::Settings {
    let default = resolver::Settings::default();
    let read = resolver::Settings {
        servers: dns.read("servers", Vec::new(), list(0, values::name_server)),
        timeout: dns.read("timeout", default.timeout, duration(1..=4)),
        trust: stir::trust(signed),
        ..default
    };
    dns.finish();
    read
}

fn log(mut log: Section<'_>) -> Log {
    let read = Log {
        level: log.read("level", Level::Info, choice(LEVELS)),
        format: log.read("format", Format::Text, choice(FORMATS)),
        personal: log.read(
            "personal",
            false,
            choice(&[("mask", false), ("show", true)]),
        ),
    };
    log.finish();
    read
}

fn trace(mut trace: Section<'_>) -> Trace {
    let megabytes = trace.read("history_megabytes", 0, number(0..=1024)) as usize;
    let hep = trace.read("hep", None, values::capture_server);
    let id = trace.read("hep_id", 2001, number(0..=u64::from(u32::MAX))) as u32;
    let key = trace.read("hep_key", String::new(), printable(128));
    let node = trace.read("hep_node", "dialtone".into(), printable(128));
    trace.finish();
    Trace {
        history: megabytes << 20,
        hep: hep.map(|to| Hep {
            protocol: to.protocol,
            address: to.address,
            id,
            key,
            node,
        }),
    }
}

/// How many phones one user may have.
pub(crate) fn max_contacts(value: &super::document::Value) -> Result<usize, Fault> {
    number(1..=100)(value).map(|n| n as usize)
}

fn listen(value: &super::document::Value) -> Result<Vec<Listen>, Fault> {
    let addresses = list(1, values::listen)(value)?;
    for (place, address) in addresses.iter().enumerate() {
        if address.address.port() != 0 && addresses[..place].contains(address) {
            let message = format!("{}:{} is there twice", address.protocol, address.address);
            return Err(Fault::new(message, "remove one of them"));
        }
    }
    Ok(addresses)
}

fn realm(value: &super::document::Value) -> Result<String, Fault> {
    let realm = printable(128)(value)?;
    if realm.is_empty() || realm.contains(['"', '\\']) {
        let message = "is empty or has quotes or backslashes";
        return Err(Fault::new(
            message,
            "use your domain, for example “example.com”",
        ));
    }
    Ok(realm)
}

fn algorithms(value: &super::document::Value) -> Result<Vec<Algorithm>, Fault> {
    let algorithms = list(1, choice(ALGORITHMS))(value)?;
    for (place, algorithm) in algorithms.iter().enumerate() {
        if algorithms[..place].contains(algorithm) {
            return Err(Fault::new("names an algorithm twice", "remove one of them"));
        }
    }
    Ok(algorithms)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn default_listen() -> Vec<Listen> {
    let all = |ip: IpAddr| {
        [sip::Protocol::Udp, sip::Protocol::Tcp, sip::Protocol::Tls].map(|protocol| Listen {
            protocol,
            address: (ip, protocol.default_port()).into(),
        })
    };
    let v4 = all(std::net::Ipv4Addr::UNSPECIFIED.into());
    let v6 = all(std::net::Ipv6Addr::UNSPECIFIED.into());
    [v4, v6].concat()
}

fn default_networks() -> Vec<(IpAddr, u8)> {
    let v4 = [
        ([10, 0, 0, 0], 8),
        ([172, 16, 0, 0], 12),
        ([192, 168, 0, 0], 16),
        ([169, 254, 0, 0], 16),
        ([127, 0, 0, 0], 8),
    ];
    let v6 = [
        ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
        ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
        ([0, 0, 0, 0, 0, 0, 0, 1], 128),
    ];
    let v4 = v4.map(|(ip, length)| (IpAddr::from(ip), length));
    let v6 = v6.map(|(ip, length)| (IpAddr::from(ip), length));
    v4.into_iter().chain(v6).collect()
}

const LONG_REQUESTS: &[(&str, bool)] = &[("tcp", true), ("udp", false)];

const ALGORITHMS: &[(&str, Algorithm)] = &[
    ("MD5", Algorithm::Md5),
    ("SHA-256", Algorithm::Sha256),
    ("SHA-512-256", Algorithm::Sha512_256),
];

const REDIRECTS: &[(&str, Redirects)] = &[
    ("never", Redirects::Never),
    ("users", Redirects::Users),
    ("anywhere", Redirects::Anywhere),
];

const ICE: &[(&str, Mode)] = &[("lite", Mode::Lite), ("full", Mode::Full)];

const LEVELS: &[(&str, Level)] = &[
    ("off", Level::Off),
    ("error", Level::Error),
    ("warn", Level::Warn),
    ("info", Level::Info),
    ("debug", Level::Debug),
    ("trace", Level::Trace),
];

const FORMATS: &[(&str, Format)] = &[("text", Format::Text), ("json", Format::Json)];

/// Who we are in Server and User-Agent headers, unless configured otherwise.
const SERVER: &str = "dialtone";

const DAY: u64 = 86_400;
