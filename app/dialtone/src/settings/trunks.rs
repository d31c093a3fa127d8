//! `etc/trunks.toml`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use engine::tls::{Peer, Roots};
use pbx::TrunkSettings;
use pbx::config::Dtmf;
use pbx::trunk::config::{From, IdentityHeader, IdentityPolicy, NumberPolicy, Proxy, Register};
use pbx::trunk::countries::Country;
use pbx::trunk::numbers::{Format, Rewrite};
use sdp::bridge::{Encryption, Keying, Policy};
use sip::digest::Account;
use sip::locate::Server;

use super::document::{Key, Kind, Table, Value};
use super::reader::{Section, expected, join, table};
use super::report::{Fault, Report, similar};
use super::tls::Tls;
use super::users::{check_name, check_number};
use super::values::{self, choice, duration, duration_or_never, list, number, printable, text};

/// Reads `[trunk.NAME]` tables, in order.
pub(crate) fn read(file: Table, users: &[pbx::User], report: &Report) -> Vec<TrunkSettings> {
    let mut top = Section::new("", file, report);
    let country = top.optional("country", country);
    let entries = top
        .optional("trunk", table)
        .map_or(Vec::new(), |trunks| trunks.entries);
    top.finish();
    let read = |(key, value): &(Key, Value)| trunk(key, value, country, users, report);
    entries.iter().filter_map(read).collect()
}

/// Whether there is a trunk with this name.
pub(crate) fn check_known(name: &str, trunks: &[TrunkSettings]) -> Result<(), Fault> {
    let known: Vec<&str> = trunks.iter().map(|trunk| &*trunk.name).collect();
    if known.contains(&name) {
        return Ok(());
    }
    let remedy = match similar(name, &known) {
        Some(meant) => format!("did you mean “{meant}”?"),
        None => format!("add [trunk.{name}] to etc/trunks.toml"),
    };
    Err(Fault::new(format!("there is no trunk “{name}”"), remedy))
}

fn trunk(
    key: &Key,
    value: &Value,
    country: Option<&'static Country>,
    users: &[pbx::User],
    report: &Report,
) -> Option<TrunkSettings> {
    let path = join("trunk", &key.name);
    let found = check_name(&key.name)
        .and_then(|()| not_reserved(&key.name))
        .and_then(|()| table(value));
    let table = match found {
        Ok(table) => table,
        Err(fault) => {
            report.error(&path, &key.origin, fault);
            return None;
        }
    };
    let mut section = Section::new(path, table, report);
    let proxies = section.read("proxies", Vec::new(), proxies);
    let domain = section.read("domain", default_domain(&proxies), host);
    let mut trunk = TrunkSettings::new(&key.name, &domain, proxies);
    account(&mut section, &mut trunk);
    trunk.register = register(&mut section);
    trunk.sources = section.read("from", Vec::new(), list(1, values::network));
    trunk.tls_name = section.optional("tls", host).map(Into::into);
    if trunk.tls_name.is_none() {
        trunk.tls_name = encrypted(&trunk.proxies);
    }
    trunk.peer = section.optional("peer", |value| peer(value, users));
    trunk.dtmf = dtmf(&mut section);
    trunk.media = sound(&mut section, trunk.dtmf);
    trunk.identity = identity(&mut section);
    trunk.numbers = numbers(&mut section, country);
    trunk.stir = super::stir::policy(section.section("stir"));
    limits(&mut section, &mut trunk);
    check_whole(&section, &trunk);
    section.finish();
    Some(trunk)
}

/// What is wrong only when all is seen together.
fn check_whole(section: &Section<'_>, trunk: &TrunkSettings) {
    let origin = section.origin().clone();
    if trunk.proxies.is_empty() && trunk.sources.is_empty() && trunk.peer.is_none() {
        let remedy = "name its servers, as in proxies = [\"sip.example.com\"], or where its calls come \
                      from, as in from = [\"203.0.113.7\"]";
        section.error("proxies", &origin, Fault::new("is missing", remedy));
    }
    if trunk.register.is_some() && trunk.proxies.is_empty() {
        let fault = Fault::new("needs a server to register with", "add proxies");
        section.error("register", &origin, fault);
    }
}

fn not_reserved(name: &str) -> Result<(), Fault> {
    if name != pbx::dialplan::USERS {
        return Ok(());
    }
    Err(Fault::new(
        "“users” stands for our own users in the dial plan",
        "choose another name",
    ))
}

fn account(section: &mut Section<'_>, trunk: &mut TrunkSettings) {
    let user = section.optional("user", printable(128));
    let name = section.optional("auth_user", printable(128));
    let password = section
        .optional("password", printable(128))
        .or_else(|| section.optional("password_file", secret));
    if let Some(user) = &user {
        trunk.user = user.as_str().into();
    }
    let origin = section.origin().clone();
    match (name.or(user), password) {
        (Some(user), Some(password)) => trunk.account = Some(Account { user, password }),
        (None, Some(_)) => {
            let remedy = "give the name that the provider knows you by: user = \"…\"";
            section.error("user", &origin, Fault::new("is missing", remedy));
        }
        _ => {}
    }
}

/// The content of a file, without the line's end.
pub(super) fn secret(value: &Value) -> Result<String, Fault> {
    let path = text(value)?;
    let content = std::fs::read_to_string(path).map_err(|error| {
        let remedy = "name a file that holds nothing but the password and may be read";
        Fault::new(format!("{path} can't be read: {error}"), remedy)
    })?;
    let secret = content.trim_end_matches(['\r', '\n']);
    if secret.is_empty() || secret.len() > 128 || secret.chars().any(char::is_control) {
        let message = format!("{path} holds no password");
        return Err(Fault::new(message, "one line, at most 128 characters"));
    }
    Ok(secret.to_owned())
}

fn register(section: &mut Section<'_>) -> Option<Register> {
    let usual = Register::default();
    let expires = section.optional("register", |value| match value.kind {
        Kind::Boolean(true) => Ok(usual.expires),
        Kind::Boolean(false) => Ok(Duration::ZERO),
        _ => duration_or_never(60..=86_400)(value),
    });
    let retry = section.read("retry", usual.retry, duration(1..=3600));
    let max_retry = section.read("max_retry", usual.max_retry, duration(1..=86_400));
    let expires = expires.filter(|expires| !expires.is_zero())?;
    Some(Register {
        expires,
        retry,
        max_retry: max_retry.max(retry),
    })
}

fn identity(section: &mut Section<'_>) -> IdentityPolicy {
    IdentityPolicy {
        from: section.read(
            "caller_id_from",
            From::default(),
            choice(&[("number", From::Number), ("account", From::Account)]),
        ),
        header: section.read(
            "caller_id_header",
            IdentityHeader::default(),
            choice(&[
                ("asserted", IdentityHeader::Asserted),
                ("preferred", IdentityHeader::Preferred),
                ("remote-party-id", IdentityHeader::RemoteParty),
                ("none", IdentityHeader::None),
            ]),
        ),
        trusted: section.read("trusted", true, values::boolean),
        number: section.read("caller_id", Box::default(), template),
        numbers: section.read("caller_ids", Vec::new(), pairs),
        anonymous: section.read("anonymous", false, values::boolean),
    }
}

fn numbers(section: &mut Section<'_>, general: Option<&'static Country>) -> NumberPolicy {
    NumberPolicy {
        country: section.optional("country", country).or(general),
        format: section.read(
            "format",
            Format::default(),
            choice(&[
                ("e164", Format::E164),
                ("digits", Format::Digits),
                ("international", Format::International),
                ("national", Format::National),
                ("as-dialled", Format::AsDialled),
            ]),
        ),
        outgoing: section.read("rewrite_out", Vec::new(), list(0, rewrite)),
        incoming: section.read("rewrite_in", Vec::new(), list(0, rewrite)),
        did: section.read("did", Vec::new(), pairs),
        otherwise: section.read("incoming", Box::default(), template),
    }
}

fn limits(section: &mut Section<'_>, trunk: &mut TrunkSettings) {
    let most = section.optional("channels", number(1..=1_000_000));
    trunk.max_channels = most.map_or(usize::MAX, |most| most as usize);
    trunk.max_rate = section.read("calls_per_second", 0, number(0..=1000)) as u32;
    trunk.timeout = section.read("timeout", trunk.timeout, duration(1..=32));
    trunk.qualify = section.read("qualify", trunk.qualify, duration_or_never(5..=86_400));
    trunk.keep_alive = section.read(
        "keep_alive",
        trunk.keep_alive,
        duration_or_never(5..=86_400),
    );
}

fn country(value: &Value) -> Result<&'static Country, Fault> {
    let name = text(value)?;
    Country::named(name).ok_or_else(|| {
        let message = format!("the dialling prefixes of “{name}” are unknown");
        let remedy = "use the two letters of a country, such as “DE”, or leave it out and give \
                      numbers with + and country code";
        Fault::new(message, remedy)
    })
}

/// A list of servers. Those in quotes are tried in order; those with a weight share the calls.
fn proxies(value: &Value) -> Result<Vec<Proxy>, Fault> {
    let items = match &value.kind {
        Kind::List(items) => items.as_slice(),
        Kind::Text(_) | Kind::Table(_) => std::slice::from_ref(value),
        other => return Err(expected("a list of servers", other)),
    };
    if items.is_empty() || items.len() > MOST_PROXIES {
        let message = format!("has {} servers", items.len());
        return Err(Fault::new(message, format!("name 1 to {MOST_PROXIES}")));
    }
    let read = |(place, value): (usize, &Value)| {
        proxy(place, value).map_err(|fault| fault.at(&value.origin))
    };
    items.iter().enumerate().map(read).collect()
}

fn proxy(place: usize, value: &Value) -> Result<Proxy, Fault> {
    let Kind::Table(fields) = &value.kind else {
        return Ok(Proxy {
            server: server(value)?,
            priority: place as u16,
            weight: 0,
        });
    };
    let (mut address, mut priority, mut weight) = (None, None, None);
    for (key, value) in &fields.entries {
        let number = |value| number(0..=65_535)(value).map(|n| n as u16);
        match &*key.name {
            "server" => address = Some(server(value).map_err(|f| f.at(&value.origin))?),
            "priority" => priority = Some(number(value).map_err(|f| f.at(&value.origin))?),
            "weight" => weight = Some(number(value).map_err(|f| f.at(&value.origin))?),
            other => {
                let fault = Fault::new(
                    format!("a proxy has no “{other}”"),
                    "there are server, priority, weight",
                );
                return Err(fault.at(&key.origin));
            }
        }
    }
    let server =
        address.ok_or_else(|| Fault::new("names no server", "add server = \"sip.example.com\""))?;
    Ok(Proxy {
        server,
        priority: priority.unwrap_or(if weight.is_some() { 0 } else { place as u16 }),
        weight: weight.unwrap_or(0),
    })
}

/// `sip.example.com`, `192.0.2.1:5080`, `tls:sip.example.com`.
fn server(value: &Value) -> Result<Server, Fault> {
    const LIKE: &str =
        "write it like “sip.example.com”, “192.0.2.1:5080” or “tls:sip.example.com:5061”";
    let text = text(value)?;
    let wrong = || Fault::new(format!("“{text}” is no server"), LIKE);
    let named = text
        .split_once(':')
        .and_then(|(word, rest)| Some((word.parse::<sip::Protocol>().ok()?, rest)));
    let (protocol, rest) = match named {
        Some((protocol, rest)) => (Some(protocol), rest),
        None => (None, text),
    };
    let uri = format!("sip:{rest}");
    let uri = sip::Uri::parse(&uri).map_err(|_| wrong())?;
    let whole = uri.user.is_empty() && uri.headers.is_empty() && !rest.contains([';', '@']);
    if !whole || uri.host.is_empty() {
        return Err(wrong());
    }
    Ok(Server {
        host: uri.host.to_ascii_lowercase().into(),
        port: uri.port,
        protocol,
        secure: protocol.is_some_and(sip::Protocol::is_secure),
    })
}

/// The domain of addresses there: the first server, as it is named.
fn default_domain(proxies: &[Proxy]) -> String {
    let Some(Proxy { server, .. }) = proxies.first() else {
        return "invalid".to_owned();
    };
    match server.port {
        Some(port) => format!("{}:{port}", server.host),
        None => server.host.to_string(),
    }
}

/// The name of the first server that is reached by TLS: its certificate must bear it.
fn encrypted(proxies: &[Proxy]) -> Option<Box<str>> {
    let mut servers = proxies.iter().map(|proxy| &proxy.server);
    servers
        .find(|server| server.secure)
        .map(|server| server.host.clone())
}

/// The names that certificates of trunks bear and that `[tls.peer]` does not know: those are believed
/// whom the web believes too.
pub(crate) fn add_peers(trunks: &[TrunkSettings], tls: &mut Tls, report: &Report) {
    for trunk in trunks {
        let Some(name) = &trunk.tls_name else {
            continue;
        };
        let known = |peer: &Peer| peer.name().eq_ignore_ascii_case(name);
        if tls.peers.iter().any(known) {
            continue;
        }
        match Peer::new(name, Some(&Roots::web()), tls.identity.as_ref()) {
            Ok(peer) => tls.peers.push(peer),
            Err(error) => {
                let message = format!("trunk {}: {error}", trunk.name);
                let remedy = "use the domain that the provider's certificate names: tls = \"…\"";
                report.file_error(
                    std::path::Path::new("etc/trunks.toml"),
                    Fault::new(message, remedy),
                );
            }
        }
    }
}

fn host(value: &Value) -> Result<String, Fault> {
    let host = text(value)?;
    let uri = format!("sip:{host}");
    let whole = sip::Uri::parse(&uri).is_ok_and(|uri| uri.user.is_empty())
        && !host.contains([';', '?', '@']);
    if whole {
        return Ok(host.to_owned());
    }
    let message = format!("“{host}” is no domain");
    Err(Fault::new(message, "write it like “example.com”"))
}

fn peer(value: &Value, users: &[pbx::User]) -> Result<Box<str>, Fault> {
    let name = text(value)?;
    if users.iter().any(|user| user.name == name) {
        return Ok(name.into());
    }
    Err(Fault::new(
        format!("there is no user “{name}” for the other side to register as"),
        format!("add one with `dialtone user add {name}`"),
    ))
}

/// A codec by the name that it has in session descriptions.
/// Codecs and encryption of a user or trunk that is told of keys in this way.
pub(super) fn sound(section: &mut Section<'_>, dtmf: Dtmf) -> Arc<Policy> {
    let codecs = section.read("codecs", Vec::new(), list(1, codec));
    let words = choice(&[
        ("forbidden", (Encryption::Forbidden, Keying::Both)),
        ("optional", (Encryption::Optional, Keying::Both)),
        ("required", (Encryption::Required, Keying::Both)),
        ("dtls", (Encryption::Required, Keying::Dtls)),
    ]);
    let usual = (Encryption::Follow, Keying::Both);
    let (encryption, keying) = section.read("encryption", usual, words);
    pbx::sound::telling(pbx::sound::with(codecs, encryption, keying), dtmf)
}

/// How a user or trunk is told of keys.
pub(super) fn dtmf(section: &mut Section<'_>) -> Dtmf {
    let words = choice(&[
        ("auto", Dtmf::Auto),
        ("rfc4733", Dtmf::Rfc4733),
        ("info", Dtmf::Info),
        ("inband", Dtmf::Inband),
    ]);
    section.read("dtmf", Dtmf::default(), words)
}

fn codec(value: &Value) -> Result<Box<str>, Fault> {
    let name = text(value)?;
    let legal = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if (1..=32).contains(&name.len()) && name.chars().all(legal) {
        return Ok(name.into());
    }
    Err(Fault::new(
        format!("“{name}” is no codec"),
        "write it like “PCMA”, “G722” or “opus”",
    ))
}

/// A number in which `{number}` may stand.
fn template(value: &Value) -> Result<Box<str>, Fault> {
    let number = text(value)?;
    check_number(&number.replace("{number}", "0"))?;
    Ok(number.into())
}

fn rewrite(value: &Value) -> Result<Rewrite, Fault> {
    let rule = table(value)?;
    let (mut from, mut to) = (None, None);
    for (key, value) in &rule.entries {
        let part = || -> Result<Box<str>, Fault> {
            let part = text(value)?;
            if !part.is_empty() {
                check_number(part)?;
            }
            Ok(part.into())
        };
        let part = part().map_err(|fault| fault.at(&value.origin))?;
        match &*key.name {
            "from" => from = Some(part),
            "to" => to = Some(part),
            other => {
                let message = format!("a rule has no “{other}”");
                return Err(Fault::new(message, RULE).at(&key.origin));
            }
        }
    }
    match (from, to) {
        (Some(from), Some(to)) => Ok(Rewrite { from, to }),
        _ => Err(Fault::new("is no rule", RULE)),
    }
}

type Pair = (Box<str>, Box<str>);

/// Numbers and what they become.
fn pairs(value: &Value) -> Result<Vec<Pair>, Fault> {
    let mut seen = HashSet::new();
    let mut pairs = Vec::new();
    for (key, value) in table(value)?.entries {
        check_number(&key.name).map_err(|fault| fault.at(&key.origin))?;
        let number = text(&value).and_then(|number| check_number(number).map(|()| number));
        let number = number.map_err(|fault| fault.at(&value.origin))?;
        if seen.insert(key.name.clone()) {
            pairs.push((key.name.into(), number.into()));
        }
    }
    Ok(pairs)
}

const RULE: &str = "write it like { from = \"0180\", to = \"9180\" }";

const MOST_PROXIES: usize = 16;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::document::{Origin, Source};
    use super::*;

    fn load(text: &str) -> (Vec<TrunkSettings>, Vec<String>) {
        let source = Arc::new(Source::File {
            path: "trunks.toml".into(),
            text: text.to_owned(),
        });
        let file = Table::parse(text, &source).unwrap_or_else(|_| Table {
            origin: Origin::start(&source),
            entries: Vec::new(),
        });
        let report = Report::default();
        let trunks = read(file, &[], &report);
        let problems = report.into_problems();
        (trunks, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_provider_in_a_few_lines() {
        let (trunks, problems) = load(
            "country = \"DE\"\n[trunk.provider]\nproxies = [\"sip.provider.example\"]\n\
             user = \"4930123450\"\npassword = \"secret\"\nregister = true\n",
        );
        assert!(problems.is_empty(), "{problems:?}");
        let trunk = &trunks[0];
        assert_eq!(&*trunk.domain, "sip.provider.example");
        assert_eq!(
            trunk.proxies[0].server,
            Server::named("sip.provider.example")
        );
        assert_eq!(trunk.account.as_ref().map(|a| &*a.user), Some("4930123450"));
        assert_eq!(trunk.register, Some(Register::default()));
        assert_eq!(trunk.numbers.country.map(|c| c.code), Some("49"));
        assert!(trunk.identity.trusted);
    }

    #[test]
    fn servers_in_order_or_by_weight() {
        let (trunks, problems) = load(
            "[trunk.a]\nproxies = [\"192.0.2.1:5080\", \"tls:sip.example.com\"]\n\
             [trunk.b]\nproxies = [{ server = \"a.example\", weight = 70 },\
             { server = \"b.example\", weight = 30 }]\n",
        );
        assert!(problems.is_empty(), "{problems:?}");
        let order = |trunk: &TrunkSettings| -> Vec<(u16, u16)> {
            let proxies = trunk.proxies.iter();
            proxies
                .map(|proxy| (proxy.priority, proxy.weight))
                .collect()
        };
        assert_eq!(order(&trunks[0]), [(0, 0), (1, 0)]);
        assert_eq!(order(&trunks[1]), [(0, 70), (0, 30)]);
        assert_eq!(&*trunks[0].domain, "192.0.2.1:5080");
        assert!(trunks[0].proxies[1].server.secure);
        assert_eq!(trunks[0].tls_name.as_deref(), Some("sip.example.com"));
    }

    #[test]
    fn what_is_wrong_is_named_with_a_remedy() {
        for (text, expected) in [
            ("[trunk.a]\n", "name its servers"),
            ("[trunk.users]\nfrom = \"192.0.2.1\"", "choose another name"),
            ("country = \"XX\"", "two letters"),
            (
                "[trunk.a]\nproxies = [\"sip:x@y\"]",
                "write it like “sip.example.com”",
            ),
            (
                "[trunk.a]\nproxies = [\"a.example\"]\nregistr = true",
                "did you mean register?",
            ),
            (
                "[trunk.a]\nproxies = [\"a.example\"]\npassword = \"x\"",
                "the name that the provider knows you by",
            ),
            ("[trunk.a]\npeer = \"branch\"", "dialtone user add branch"),
            (
                "[trunk.a]\nproxies = [\"a.example\"]\nformat = \"e146\"",
                "did you mean “e164”?",
            ),
            (
                "[trunk.a]\nproxies = [\"a.example\"]\nrewrite_out = [{ from = \"0\" }]",
                "write it like { from",
            ),
            (
                "[trunk.a]\nproxies = [\"a.example\"]\npassword_file = \"/nowhere/x\"",
                "can't be read",
            ),
        ] {
            let (_, problems) = load(text);
            let told = problems.iter().any(|problem| problem.contains(expected));
            assert!(told, "{text}\n{problems:#?}");
        }
    }

    #[test]
    fn a_trunk_that_is_not_there_is_named() {
        let fault = check_known(
            "provder",
            &[TrunkSettings::new("provider", "x", Vec::new())],
        );
        assert_eq!(fault.unwrap_err().remedy, "did you mean “provider”?");
    }
}
