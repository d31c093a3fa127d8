//! The compose file with Traefik: what Traefik is told, and nginx in its place doing just that.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use interop::baresip::Account;
use interop::compose::{Compose, config, path};
use interop::nginx::Nginx;
use interop::peer::Peer;
use interop::podman::Image;
use interop::tls::Authority;
use interop::traefik::Traefik;
use interop::{Baresip, Chromium, Lab, Network, chromium, network, peer};
use serde_json::{Value, json};

const FILE: &str = "traefik.yaml";
const DOMAIN: &str = "pbx.example.com";
const VARIABLES: [(&str, &str); 2] = [("DOMAIN", DOMAIN), ("EMAIL", "keeper@example.com")];

#[test]
fn compose_files_are_what_their_specification_says() -> Result<()> {
    if !peer::ensure_all(&[peer::CHECK_JSONSCHEMA])? {
        return Ok(());
    }
    let program = peer::folder(&peer::CHECK_JSONSCHEMA)?.join("bin/check-jsonschema");
    let mut command = Command::new(program);
    command.args(["--builtin-schema", "vendor.compose-spec"]);
    command.args(["compose.yaml", "bridge.yaml", "kernel.yaml", FILE].map(path));
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}");
    Ok(())
}

#[test]
fn a_domain_and_an_address_are_wanted() -> Result<()> {
    if !peer::ensure_all(&TOOLS)? {
        return Ok(());
    }
    let words = [
        "DOMAIN is missing a value: is the name that browsers know this machine by",
        "EMAIL is missing a value: is where the certificate's authority writes to",
    ];
    for (variable, words) in VARIABLES.iter().zip(words) {
        let others: Vec<_> = (VARIABLES.iter().copied())
            .filter(|other| other != variable)
            .collect();
        let refused = config(FILE, &others).err().context("it is taken")?;
        ensure!(refused.to_string().contains(words), "{refused:#}");
    }
    Ok(())
}

#[test]
fn traefik_is_told_what_it_knows_and_the_server_fits() -> Result<()> {
    if !peer::ensure_all(&TOOLS)? {
        return Ok(());
    }
    let told = told()?;
    let server: SocketAddr = "127.0.0.1:8080".parse()?;
    let expected = Traefik {
        http: 80,
        https: 443,
        domain: DOMAIN.into(),
        email: "keeper@example.com".into(),
        server,
    };
    ensure!(told == expected, "{told:?}");
    Ok(())
}

/// Each word that a change may spoil, and what is said then.
#[test]
fn what_traefik_would_not_understand_is_found() -> Result<()> {
    if !peer::ensure_all(&TOOLS)? {
        return Ok(());
    }
    let merged = config(FILE, &VARIABLES)?.to_string();
    let routes = text("traefik-routes.yaml")?;
    for (from, to, words) in FAULTS {
        let change = |text: &str| text.replace(from, to);
        let found = merged.contains(from) || routes.contains(from);
        ensure!(found, "{from} is nowhere");
        let merged = serde_json::from_str(&change(&merged))?;
        let files = |name: &str| text(name).map(|text| change(&text));
        let read = Traefik::read(&merged, files).err();
        let error = read.with_context(|| format!("{to} instead of {from} is not found"))?;
        let error = format!("{error:#}");
        ensure!(error.contains(words), "{to} instead of {from}: {error}");
    }
    Ok(())
}

const FAULTS: [(&str, &str, &str); 21] = [
    ("https.address", "https.adress", "is no option"),
    ("entrypoints.https", "entrypoints.websecure", "nobody uses"),
    ("redirections", "redirection", "is no option"),
    ("entrypoint.to=https", "entrypoint.to=htps", "sent from"),
    ("=:443", "=:8443", "no certificate"),
    ("tlschallenge=true", "tlschallenge=false", "no certificate"),
    ("tlschallenge", "tls-challenge", "is no option"),
    ("/acme/acme.json", "/data/acme.json", "in no volume"),
    ("file.filename", "file.name", "is no option"),
    ("filename=/etc/traefik", "filename=/etc", "is not mounted"),
    ("traefik:v3", "traefik:v4", "version 3"),
    ("certResolver: web", "certResolver: wep", "wep.acme"),
    ("[https]", "[secure]", "sent from"),
    ("entryPoints:", "entrypoint:", "is no key"),
    ("service: dialtone", "service: dialtones", "no service"),
    ("loadBalancer", "loadBalancers", "is no key"),
    ("env \"DOMAIN\"", "env \"DOMIAN\"", "has no DOMIAN"),
    ("Host(", "HostName(", "no rule for a host"),
    (
        "http://127.0.0.1:8080",
        "http://127.0.0.1:8081",
        "listens at",
    ),
    ("[\\\"127.0.0.1\\\"]", "[\\\"192.0.2.1\\\"]", "not believed"),
    ("http:127.0.0.1", "http:0.0.0.0", "listens at"),
];

#[test]
fn a_browser_calls_through_what_does_as_traefik_is_told() -> Result<()> {
    if !peer::ensure_all(&[&TOOLS[..], &PEERS].concat())? {
        return Ok(());
    }
    let Some(network) = Network::new()? else {
        return Ok(());
    };
    Lab::run_quietly("traefik", |lab| {
        let image = Image::load(lab)?;
        network.machine(|| {
            let server = Compose::server_alone(&image, FILE, &VARIABLES)?;
            is_as_safe_as_ever(&server)?;
            let authority = lab.authority()?;
            let certificate = authority.vouch(&[DOMAIN])?;
            let _proxy = Nginx::instead_of(&told()?, lab, &certificate)?;
            network.client(|| health_is_told(&authority))?;
            let mut browser = network.client(|| browser(lab, &server))?;
            let phones: Value = serde_json::from_str(&server.cli(&["phones", "--json"])?)?;
            let address = phones[0]["address"].as_str().unwrap_or_default();
            let own = format!("ws:{}:", network::CLIENT);
            ensure!(address.starts_with(&own), "{phones}");
            calls(lab, &server, &mut browser)?;
            server.down()
        })
    })
}

/// What compose.yaml keeps the server from, it is kept from.
fn is_as_safe_as_ever(server: &Compose<'_>) -> Result<()> {
    for (what, value) in [
        ("HostConfig.NetworkMode", "host"),
        ("HostConfig.ReadonlyRootfs", "true"),
        ("HostConfig.SecurityOpt", "[no-new-privileges]"),
        ("HostConfig.RestartPolicy.Name", "unless-stopped"),
        ("EffectiveCaps", "[]"),
        ("Config.User", "1000:1000"),
        ("(index .Mounts 0).Destination", "/srv"),
    ] {
        let dot = if what.starts_with('(') { "" } else { "." };
        let found = server.inspect(&format!("{{{{{dot}{what}}}}}"))?;
        ensure!(found == value, "{what} is {found}");
    }
    let environment = server.inspect("{{.Config.Env}}")?;
    let drains = environment.contains("DIALTONE_CALLS__DRAIN=60s");
    ensure!(drains, "{environment}");
    Ok(())
}

/// Over HTTP one is sent to HTTPS, where the certificate is good and the server answers; under another name it does
/// not.
fn health_is_told(authority: &Authority) -> Result<()> {
    let fetch = |url: &str, more: &[&str]| -> Result<String> {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--noproxy", "*", "--cacert"]);
        command.arg(authority.root());
        for port in [80, 443] {
            let address = format!("{DOMAIN}:{port}:{}", network::MACHINE);
            command.args(["--resolve", &address]);
        }
        let format = "\n%{http_code} %{redirect_url}";
        command.args(["--write-out", format]).args(more).arg(url);
        let output = command.output().context("start curl")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{url}: {error}");
        Ok(String::from_utf8(output.stdout)?)
    };
    let url = |scheme: &str| format!("{scheme}://{DOMAIN}/health");
    let (plain, secure) = (url("http"), url("https"));
    let answer = fetch(&plain, &[])?;
    ensure!(answer.ends_with(&format!("\n301 {secure}")), "{answer}");
    let answer = fetch(&secure, &[])?;
    ensure!(answer == "ok\n\n200 ", "{answer}");
    let answer = fetch(&secure, &["--header", "Host: other.example.com"])?;
    ensure!(answer.ends_with("\n404 "), "{answer}");
    Ok(())
}

/// A browser on the other machine, which knows the server by its domain.
fn browser(lab: &mut Lab, server: &Compose<'_>) -> Result<Chromium> {
    let account = chromium::Account {
        user: "1001",
        password: &server.password("1001")?,
        domain: SIP,
        url: &format!("wss://{DOMAIN}/ws"),
        at: Some(network::MACHINE.into()),
        hertz: 440.0,
        relay: None,
        peer_connection: json!({}),
    };
    Chromium::register(lab, &account)
}

/// The browser hears itself, calls a phone, and is called; both hear each other.
fn calls(lab: &mut Lab, server: &Compose<'_>, browser: &mut Chromium) -> Result<()> {
    browser.give("call", json!({ "to": "600" }))?;
    browser.event("confirmed")?;
    browser.finds_tone(440.0)?;
    browser.give("hangup", json!({}))?;
    browser.event("ended")?;

    let password = server.password("1002")?;
    let mut bob = Account::new("1002", &password, SIP);
    (bob.hertz, bob.answers) = (1000.0, true);
    let mut bob = Baresip::register(lab, &bob)?;
    browser.give("call", json!({ "to": "1002" }))?;
    browser.event("confirmed")?;
    browser.finds_tone(1000.0)?;
    browser.give("hangup", json!({}))?;
    bob.event("CALL_CLOSED")?;

    bob.dial("1001")?;
    browser.event("incoming")?;
    browser.give("answer", json!({}))?;
    bob.event("CALL_ESTABLISHED")?;
    browser.finds_tone(1000.0)?;
    bob.hear(2.0)?;
    bob.hang_up()?;
    browser.event("ended")?;
    bob.heard()?.ensure_tone(440.0, 2.0)
}

fn told() -> Result<Traefik> {
    Traefik::read(&config(FILE, &VARIABLES)?, text)
}

fn text(file: &str) -> Result<String> {
    let path = path(file);
    fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

/// Where phones reach the server.
const SIP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(network::MACHINE), 5060);
const TOOLS: [Peer; 2] = [peer::PODMAN, peer::PODMAN_COMPOSE];
const PEERS: [Peer; 6] = [
    peer::BARESIP,
    peer::CHROMIUM,
    peer::CURL,
    peer::JSSIP_IN_BROWSER,
    peer::NGINX,
    peer::NODE,
];
