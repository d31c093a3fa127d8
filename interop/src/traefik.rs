//! What the compose files tell Traefik, read more strictly than it reads them itself: a word that this does not
//! know ends the test. The words are those of its references, of releases 3.0 to 3.7.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

use crate::compose::yaml;

/// What it does with whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traefik {
    /// The port from where all are sent to the other.
    pub http: u16,
    /// The port at which it serves, and gets the certificate by TLS-ALPN.
    pub https: u16,
    /// Whom it takes requests for.
    pub domain: String,
    /// The address that it gets the certificate for.
    pub email: String,
    /// Where it sends them.
    pub server: SocketAddr,
}

/// The options that may stand in its command line, without the dashes; a star is a name of ours.
const OPTIONS: [&str; 6] = [
    "entrypoints.*.address",
    "entrypoints.*.http.redirections.entrypoint.to",
    "certificatesresolvers.*.acme.email",
    "certificatesresolvers.*.acme.storage",
    "certificatesresolvers.*.acme.tlschallenge",
    "providers.file.filename",
];

impl Traefik {
    /// Reads its service in a merged compose file; `files` returns the text of a file that lies beside that.
    ///
    /// # Errors
    /// What Traefik would not understand, or what one place says and the other does not know.
    pub fn read(config: &Value, files: impl Fn(&str) -> Result<String>) -> Result<Self> {
        let service = &config["services"]["traefik"];
        let image = string(&service["image"], "image")?;
        ensure!(
            image == "docker.io/library/traefik:v3",
            "the words are checked for version 3, not for {image}"
        );
        let options = Options::read(&service["command"])?;
        let mounts = mounts(&service["volumes"])?;
        let routes = options.value("providers.file.filename")?;
        let source = mounts.get(routes);
        let source = source.with_context(|| format!("{routes} is not mounted"))?;
        let text = rendered(&files(source)?, &service["environment"])?;
        let router = Router::read(&yaml(&text)?)?;

        let (http, https) = options.entry_points(&router.entry_point)?;
        options.resolver(&router.resolver, https, |storage| {
            let (folder, _) = storage.rsplit_once('/').unwrap_or_default();
            let volume = mounts.get(folder);
            volume.is_some_and(|volume| config["volumes"].get(volume).is_some())
        })?;
        let email = format!("certificatesresolvers.{}.acme.email", router.resolver);
        let traefik = Self {
            http,
            https,
            domain: router.domain,
            email: options.value(&email)?.to_owned(),
            server: router.server,
        };
        traefik.fits(&config["services"])?;
        Ok(traefik)
    }

    /// Whether the server listens where requests are sent, for none but Traefik, and believes it.
    fn fits(&self, services: &Value) -> Result<()> {
        let [server, traefik] = ["dialtone", "traefik"].map(|name| &services[name]);
        let mode = &traefik["network_mode"];
        ensure!(mode == "host", "Traefik is not on the host's network");
        let base = &server["extends"]["file"];
        let inherits = base
            .as_str()
            .is_some_and(|file| file.ends_with("/compose.yaml"));
        ensure!(
            inherits && server.get("network_mode").is_none(),
            "the server is not on the host's network: {server}"
        );
        let environment = &server["environment"];
        let list = |name: &str| -> Result<Vec<String>> {
            let text = string(&environment[name], name)?;
            serde_json::from_str(text).with_context(|| format!("{name}={text}"))
        };
        let address = self.server;
        ensure!(address.ip().is_loopback(), "all may reach {address}");
        let listen = list("DIALTONE_HTTP__LISTEN")?;
        ensure!(
            listen == [format!("http:{address}")],
            "requests are sent to {address}, and the server listens at {listen:?}"
        );
        let proxies = list("DIALTONE_HTTP__PROXIES")?;
        ensure!(
            proxies == [address.ip().to_string()],
            "who comes from {address} is not believed, but {proxies:?}"
        );
        for name in ["DIALTONE_SIP__REALM", "HOSTNAME"] {
            let name = string(&environment[name], name)?;
            ensure!(name == self.domain, "{name} is not {}", self.domain);
        }
        Ok(())
    }
}

/// Its command line.
struct Options(BTreeMap<String, String>);

impl Options {
    fn read(command: &Value) -> Result<Self> {
        let mut options = BTreeMap::new();
        for word in command.as_array().context("no command")? {
            let word = string(word, "command")?;
            let option = word.strip_prefix("--").context("no option")?;
            let (name, value) = option.split_once('=').context("no value")?;
            let known = OPTIONS.iter().any(|pattern| matches(pattern, name));
            ensure!(known, "--{name} is no option that is known of Traefik");
            ensure!(!value.is_empty(), "--{name} has no value");
            let twice = options.insert(name.to_owned(), value.to_owned());
            ensure!(twice.is_none(), "--{name} stands there twice");
        }
        Ok(Self(options))
    }

    fn value(&self, name: &str) -> Result<&str> {
        let value = self.0.get(name).map(String::as_str);
        value.with_context(|| format!("--{name} is missing"))
    }

    /// The port from where all are sent to the one of a router, and that one.
    fn entry_points(&self, serves: &str) -> Result<(u16, u16)> {
        let address = |name: &str| {
            let address = self.value(&format!("entrypoints.{name}.address"))?;
            let port = address.strip_prefix(':').and_then(|port| port.parse().ok());
            port.with_context(|| format!("{address} is no port of all addresses"))
        };
        let redirects: Vec<_> = (self.0.iter())
            .filter_map(|(name, to)| {
                let rest = name.strip_prefix("entrypoints.")?;
                Some((rest.strip_suffix(REDIRECTS)?, to.as_str()))
            })
            .collect();
        let [(from, to)] = redirects[..] else {
            bail!("one entry point redirects, not {redirects:?}");
        };
        ensure!(
            to == serves && from != to,
            "all are sent from {from} to {to}"
        );
        let known = [from, to].map(|name| format!("entrypoints.{name}."));
        let names = self.0.keys().filter(|name| name.starts_with("entrypoints"));
        for name in names {
            let used = known.iter().any(|start| name.starts_with(start));
            ensure!(used, "nobody uses --{name}");
        }
        Ok((address(from)?, address(to)?))
    }

    /// Whether there is such a resolver of certificates, and it keeps what it gets.
    ///
    /// # Source
    /// RFC 8737 §3: the authority connects to port 443.
    fn resolver(&self, name: &str, https: u16, is_kept: impl Fn(&str) -> bool) -> Result<()> {
        let start = format!("certificatesresolvers.{name}.acme.");
        let challenge = self.value(&format!("{start}tlschallenge"))?;
        ensure!(challenge == "true" && https == 443, "no certificate");
        let storage = self.value(&format!("{start}storage"))?;
        ensure!(is_kept(storage), "{storage} is in no volume");
        Ok(())
    }
}

const REDIRECTS: &str = ".http.redirections.entrypoint.to";

/// What the file of the routes says.
struct Router {
    entry_point: String,
    domain: String,
    resolver: String,
    server: SocketAddr,
}

impl Router {
    fn read(routes: &Value) -> Result<Self> {
        let http = &only(routes, "the file", &["http"])?["http"];
        let http = only(http, "http", &["routers", "services"])?;
        let (_, router) = single(&http["routers"], "routers")?;
        let router = only(router, "router", &["rule", "entryPoints", "service", "tls"])?;
        let (name, service) = single(&http["services"], "services")?;
        let wanted = string(&router["service"], "service")?;
        ensure!(wanted == name, "there is no service {wanted}");

        let balancer = &only(service, "service", &["loadBalancer"])?["loadBalancer"];
        let servers = &only(balancer, "loadBalancer", &["servers"])?["servers"];
        let server = element(servers, "servers")?;
        let url = string(&only(server, "server", &["url"])?["url"], "url")?;
        let address = url.strip_prefix("http://").map(str::parse);
        let address = address.and_then(Result::ok);
        let rule = string(&router["rule"], "rule")?;
        let domain = rule
            .strip_prefix("Host(`")
            .and_then(|rule| rule.strip_suffix("`)"));
        let domain = domain.with_context(|| format!("{rule} is no rule for a host"))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
        ensure!(domain.chars().all(plain), "{domain} is no host");
        let tls = only(&router["tls"], "tls", &["certResolver"])?;
        Ok(Self {
            entry_point: string(element(&router["entryPoints"], "entryPoints")?, "name")?.into(),
            domain: domain.to_owned(),
            resolver: string(&tls["certResolver"], "certResolver")?.to_owned(),
            server: address.with_context(|| format!("{url} is no address"))?,
        })
    }
}

/// A file in which `{{ env "NAME" }}` has been replaced, as Go's templates with the functions of Sprig do; nothing
/// else of theirs is known here.
fn rendered(text: &str, environment: &Value) -> Result<String> {
    let mut parts = text.split("{{");
    let mut rendered = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (action, rest) = part.split_once("}}").context("{{ without }}")?;
        let name = action.trim().strip_prefix("env \"");
        let name = name.and_then(|name| name.strip_suffix('"'));
        let name = name.with_context(|| format!("{action} is no variable"))?;
        let value = environment[name].as_str();
        let value = value.with_context(|| format!("its environment has no {name}"))?;
        rendered.extend([value, rest]);
    }
    Ok(rendered)
}

/// What is mounted where: sources by their places.
fn mounts(volumes: &Value) -> Result<BTreeMap<&str, &str>> {
    let volumes = volumes.as_array().context("no volumes")?.iter();
    let mount = |volume| {
        let volume = string(volume, "volume")?;
        let mut parts = volume.split(':');
        let source = parts.next().context("no source")?;
        Ok((parts.next().context("no place")?, source))
    };
    volumes.map(mount).collect()
}

fn matches(pattern: &str, name: &str) -> bool {
    let is_name = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase());
    pattern.split('.').count() == name.split('.').count()
        && (pattern.split('.').zip(name.split('.')))
            .all(|(want, word)| want == word || (want == "*" && is_name(word)))
}

/// An object with exactly these keys.
fn only<'a>(value: &'a Value, place: &str, keys: &[&str]) -> Result<&'a Map<String, Value>> {
    let object = value.as_object();
    let object = object.with_context(|| format!("{place} has no keys: {value}"))?;
    for key in object.keys() {
        let known = keys.contains(&key.as_str());
        ensure!(known, "{place}: {key} is no key that is known of Traefik");
    }
    for key in keys {
        ensure!(object.contains_key(*key), "{place}: {key} is missing");
    }
    Ok(object)
}

fn single<'a>(value: &'a Value, place: &str) -> Result<(&'a str, &'a Value)> {
    let object = value.as_object().into_iter().flatten();
    match &object.collect::<Vec<_>>()[..] {
        &[(name, value)] => Ok((name, value)),
        other => bail!("one of {place} is awaited, not {other:?}"),
    }
}

fn element<'a>(value: &'a Value, place: &str) -> Result<&'a Value> {
    match value.as_array().map(Vec::as_slice) {
        Some([value]) => Ok(value),
        _ => bail!("one of {place} is awaited, not {value}"),
    }
}

fn string<'a>(value: &'a Value, place: &str) -> Result<&'a str> {
    let text = value.as_str();
    text.with_context(|| format!("{place}: {value} is no text"))
}
