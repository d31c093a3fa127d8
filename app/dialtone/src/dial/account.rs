//! Whose phone calls, and through which server.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;

use anyhow::{Context, Result, bail};
use engine::tls::{Identity, Roots};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sip::Protocol;
use ue::link::{Link, Tls};
use ue::load::Transport;

use super::Dial;
use crate::ask;
use crate::cli::Overrides;
use crate::folder::Folder;
use crate::settings::{self, Settings};

/// A user and a server.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) user: String,
    pub(super) password: String,
    pub(super) server: SocketAddr,
    pub(super) link: Link,
}

impl Account {
    /// What the command line says and, where it does not, the configuration.
    pub(super) fn choose(folder: &Folder, dial: &Dial) -> Result<Self> {
        if let (Some(user), Some(password), Some(server)) =
            (&dial.user, &dial.password.password, &dial.server)
        {
            let (user, password) = (user.clone(), password.clone());
            let (server, link) = named(server, dial)?;
            return Ok(Self {
                user,
                password,
                server,
                link,
            });
        }
        let settings = load(folder).context(
            "whoever calls without --as, --password and --server does so by the configuration",
        )?;
        let (user, password) = user(&settings, dial)?;
        let (server, link) = match &dial.server {
            Some(server) => named(server, dial)?,
            None => listener(folder, &settings, dial)?,
        };
        Ok(Self {
            user,
            password,
            server,
            link,
        })
    }
}

fn load(folder: &Folder) -> Result<Settings> {
    let environment = Overrides { set: Vec::new() };
    match settings::load(folder, &environment.all()) {
        Ok(loaded) => Ok(loaded.settings),
        Err(invalid) => {
            // The error that follows says that it matters.
            let _ = ask::print_problems(&invalid.0);
            Err(invalid.into())
        }
    }
}

fn user(settings: &Settings, dial: &Dial) -> Result<(String, String)> {
    let mut users = settings.users.iter();
    let found = match &dial.user {
        Some(wanted) => users.find(|user| user.name == *wanted || user.number == *wanted),
        None => users.next(),
    };
    let given = dial.password.password.clone();
    match (found, &dial.user, given) {
        (Some(user), _, Some(password)) => Ok((user.name.clone(), password)),
        (Some(user), _, None) => Ok((user.name.clone(), user.password.clone())),
        (None, Some(wanted), Some(password)) => Ok((wanted.clone(), password)),
        (None, Some(wanted), None) => bail!(
            "{wanted} is no user of the configuration, so that the password is not known; \
             `dialtone user list` shows all users, --password says the password"
        ),
        (None, None, _) => {
            bail!("the configuration has no user to call as; add one with `dialtone user add NAME`")
        }
    }
}

/// The first address on which the server of the configuration listens for the transport, and the way there.
fn listener(folder: &Folder, settings: &Settings, dial: &Dial) -> Result<(SocketAddr, Link)> {
    let transport = dial.transport;
    let protocol = protocol(transport);
    let mut listeners = settings.server.sip.listen.iter();
    let found = listeners.find(|listen| listen.protocol == protocol);
    let found = found.with_context(|| {
        format!(
            "the server does not listen for {transport}; add “{}:127.0.0.1:{}” to [sip] listen, \
             or name another server with --server",
            transport.name(),
            transport.default_port()
        )
    })?;
    let mut address = found.address;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let host = address.ip().to_string();
    let link = match transport {
        Transport::Tls if dial.ca.is_none() => {
            Link::Tls(Tls::known(&host, certificate(folder, settings)?)?)
        }
        _ => link(&host, dial)?,
    };
    Ok((address, link))
}

/// What the server of the configuration shows: the configured certificate, or the one that it has made.
fn certificate(folder: &Folder, settings: &Settings) -> Result<CertificateDer<'static>> {
    let configured = settings.server.tls.identity.as_ref();
    if let Some(certificate) = configured.and_then(Identity::certificate) {
        return Ok(certificate.clone());
    }
    let path = folder.certificate();
    CertificateDer::from_pem_file(&path).with_context(|| {
        format!(
            "the server's certificate, {}, can't be read; it is made when the server starts. \
             --ca names who vouches for another one",
            path.display()
        )
    })
}

/// The server that --server names, and the way there.
fn named(server: &str, dial: &Dial) -> Result<(SocketAddr, Link)> {
    let address = resolve(server, dial.transport.default_port())?;
    let bare = server.trim_start_matches('[').trim_end_matches(']');
    let host = match server.rsplit_once(':') {
        Some((host, _)) if bare.parse::<IpAddr>().is_err() => host,
        _ => server,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((address, link(host, dial)?))
}

/// The way to a server whose certificate, if it needs one, is by --ca or by a public authority.
fn link(host: &str, dial: &Dial) -> Result<Link> {
    Ok(match dial.transport {
        Transport::Udp => Link::Udp,
        Transport::Tcp => Link::Tcp,
        Transport::Tls => {
            let roots = match &dial.ca {
                Some(path) => authorities(path)
                    .with_context(|| format!("--ca {}: name a file in PEM", path.display()))?,
                None => Roots::web(),
            };
            let tls = Tls::vouched(host, roots.store());
            Link::Tls(tls.with_context(|| format!("--server {host} is no name or address"))?)
        }
    })
}

fn authorities(path: &Path) -> Result<Roots> {
    Ok(Roots::from_pem(&fs::read(path)?)?)
}

const fn protocol(transport: Transport) -> Protocol {
    match transport {
        Transport::Udp => Protocol::Udp,
        Transport::Tcp => Protocol::Tcp,
        Transport::Tls => Protocol::Tls,
    }
}

/// The address of HOST, HOST:PORT, or an address alone.
fn resolve(server: &str, port: u16) -> Result<SocketAddr> {
    let bare = server.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok((ip, port).into());
    }
    let found = match server.rsplit_once(':') {
        Some(_) => server.to_socket_addrs(),
        None => (server, port).to_socket_addrs(),
    };
    let found = found.with_context(|| {
        format!("--server {server} can't be found; write HOST, HOST:PORT or [ADDRESS]:PORT")
    });
    let first = found?.next();
    first.with_context(|| format!("--server {server} has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_in_every_way() {
        for (name, address) in [
            ("127.0.0.1", "127.0.0.1:5060"),
            ("127.0.0.1:5070", "127.0.0.1:5070"),
            ("::1", "[::1]:5060"),
            ("[::1]", "[::1]:5060"),
            ("[::1]:5070", "[::1]:5070"),
        ] {
            assert_eq!(resolve(name, 5060).unwrap().to_string(), address, "{name}");
        }
        let error = format!("{:#}", resolve("127.0.0.1:x", 5060).unwrap_err());
        assert!(error.contains("HOST:PORT"), "{error}");
    }
}
