//! Whose phone calls, and through which server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use anyhow::{Context, Result, bail};
use sip::Protocol;

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
}

impl Account {
    /// What the command line says and, where it does not, the configuration.
    pub(super) fn choose(folder: &Folder, dial: &Dial) -> Result<Self> {
        if let (Some(user), Some(password), Some(server)) =
            (&dial.user, &dial.password.password, &dial.server)
        {
            let (user, password) = (user.clone(), password.clone());
            let server = resolve(server)?;
            return Ok(Self {
                user,
                password,
                server,
            });
        }
        let settings = load(folder).context(
            "whoever calls without --as, --password and --server does so by the configuration",
        )?;
        let (user, password) = user(&settings, dial)?;
        let server = match &dial.server {
            Some(server) => resolve(server)?,
            None => listener(&settings)?,
        };
        Ok(Self {
            user,
            password,
            server,
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

/// The first address by UDP on which the server of the configuration listens.
fn listener(settings: &Settings) -> Result<SocketAddr> {
    let mut listeners = settings.server.sip.listen.iter();
    let udp = listeners.find(|listen| listen.protocol == Protocol::Udp);
    let udp = udp.context(
        "the server does not listen for UDP; add “udp:127.0.0.1:5060” to [sip] listen, \
         or name another server with --server",
    )?;
    let mut address = udp.address;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Ok(address)
}

/// The address of HOST, HOST:PORT, or an address alone.
fn resolve(server: &str) -> Result<SocketAddr> {
    let port = Protocol::Udp.default_port();
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
            assert_eq!(resolve(name).unwrap().to_string(), address, "{name}");
        }
        let error = format!("{:#}", resolve("127.0.0.1:x").unwrap_err());
        assert!(error.contains("HOST:PORT"), "{error}");
    }
}
