//! Folder, capture and clean-up of one test.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::capture::{Capture, Trace};
use crate::peer::{self, Peer};
use crate::ports::Ports;
use crate::server::Server;
use crate::sipp::Sipp;
use crate::tls::Authority;

/// A place for one test.
#[derive(Debug)]
pub struct Lab {
    folder: PathBuf,
    ports: Ports,
    site: Site,
    /// The servers whose packets are judged.
    judged: Vec<Site>,
    /// Where else SIP is spoken, besides the servers and whoever speaks to them.
    sip_ports: Vec<u16>,
    capture: Option<Capture>,
}

/// Where one server lives.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its data folder.
    pub data: PathBuf,
    /// Its SIP address, UDP and TCP.
    pub sip: SocketAddr,
    /// Its SIP address for TLS, if it is given a certificate.
    pub tls: SocketAddr,
    /// Its web server.
    pub http: SocketAddr,
    /// Its web server over TLS, if it is given a certificate.
    pub https: SocketAddr,
    /// First and last port of its media.
    pub media: (u16, u16),
}

impl Site {
    fn new(data: PathBuf, ports: &mut Ports) -> Result<Self> {
        let mut here = || anyhow::Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, ports.port()?)));
        let (sip, tls, http, https) = (here()?, here()?, here()?, here()?);
        Ok(Self {
            data,
            sip,
            tls,
            http,
            https,
            media: ports.range(MEDIA_PORTS)?,
        })
    }

    /// Writes a configuration with the seeded dial plan and this `users.toml`.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn configure(&self, users: &str) -> Result<()> {
        let etc = self.etc()?;
        fs::write(etc.join("users.toml"), users)?;
        fs::write(etc.join("dialplan.toml"), SEEDED_PLAN)?;
        Ok(())
    }

    /// Writes a configuration with these users and passwords, where anybody can call anybody.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write_users(&self, users: &[(String, String)]) -> Result<()> {
        let etc = self.etc()?;
        let user = |(name, password)| format!("[user.{name}]\npassword = \"{password}\"\n");
        let users: String = users
            .iter()
            .map(|(name, password)| user((name, password)))
            .collect();
        fs::write(etc.join("users.toml"), users)?;
        fs::write(etc.join("dialplan.toml"), DIAL_PLAN)?;
        Ok(())
    }

    /// The folder of its configuration.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn etc(&self) -> Result<PathBuf> {
        let etc = self.data.join("etc");
        fs::create_dir_all(&etc)?;
        Ok(etc)
    }
}

impl Lab {
    /// Runs a test in a lab of its own, and then judges what the server sent.
    ///
    /// # Errors
    /// The test's own error, a missing peer, or what tshark says of our packets; the folder with
    /// logs and capture is kept then, and named.
    pub fn run(
        name: &str,
        peers: &[Peer],
        test: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        if !peer::ensure_all(&[peers, &[peer::TSHARK]].concat())? {
            return Ok(());
        }
        let mut lab = Self::open(name)?;
        let result = lab.observe(test);
        lab.close(result)
    }

    /// Runs a test in which the server says nothing on the wire.
    ///
    /// # Errors
    /// The test's own error; the folder is kept then, and named.
    pub fn run_quietly(name: &str, test: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let mut lab = Self::open(name)?;
        let result = test(&mut lab);
        lab.close(result)
    }

    /// Runs a test in which the server is in a container with published ports, so that packets from and to it
    /// don't pass the loopback interface.
    ///
    /// # Errors
    /// The test's own error; the folder is kept then, and named.
    pub fn run_published(name: &str, test: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let mut lab = Self::open_at(name, Ports::claim_published()?)?;
        let result = test(&mut lab);
        lab.close(result)
    }

    fn close(self, result: Result<()>) -> Result<()> {
        if result.is_ok() {
            fs::remove_dir_all(&self.folder)?;
        }
        result.with_context(|| format!("logs and capture are in {}", self.folder.display()))
    }

    fn open(name: &str) -> Result<Self> {
        Self::open_at(name, Ports::claim()?)
    }

    fn open_at(name: &str, mut ports: Ports) -> Result<Self> {
        let process = std::process::id();
        let folder = std::env::temp_dir().join(format!("dialtone-{name}-{process}"));
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let site = Site::new(folder.join("srv"), &mut ports)?;
        Ok(Self {
            folder,
            ports,
            sip_ports: vec![site.sip.port()],
            judged: vec![site.clone()],
            site,
            capture: None,
        })
    }

    fn observe(&mut self, test: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let capture = Capture::start(&self.folder, self.ports.block())?;
        self.capture = Some(capture);
        test(self)?;
        let capture = self
            .capture
            .take()
            .context("a capture runs from the start to the end")?;
        let trace = capture.stop(&self.sip_ports)?;
        for site in &self.judged {
            trace.nothing_malformed_from(site.sip.port(), site.media)?;
        }
        Ok(())
    }

    /// What has gone over the wire up to now; it also shows what comes later.
    ///
    /// # Errors
    /// When no capture runs.
    pub fn trace(&self) -> Result<Trace> {
        let capture = self.capture.as_ref().context("no capture runs")?;
        capture.so_far(&self.sip_ports)
    }

    /// Starts the server with the seeded configuration.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn server(&self) -> Result<Server> {
        Server::start(self, &[])
    }

    /// Starts the server so that it speaks TLS too, with a certificate of `authority`.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn server_with_tls(&self, authority: &Authority) -> Result<Server> {
        self.server_with_tls_and(authority, &[])
    }

    /// Does the same with more settings.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn server_with_tls_and(
        &self,
        authority: &Authority,
        more: &[(&str, &str)],
    ) -> Result<Server> {
        let certificate = authority.vouch(&["127.0.0.1", "localhost"])?;
        let Site {
            sip,
            tls,
            http,
            https,
            ..
        } = self.site;
        let web = format!("[\"http:{http}\", \"https:{https}\"]");
        let listen = format!("[\"udp:{sip}\", \"tcp:{sip}\", \"tls:{tls}\"]");
        let [(certificate, its_path), (key, key_path)] = certificate.settings();
        let settings = [
            ("sip.listen", &*listen),
            ("http.listen", &*web),
            (certificate, &*its_path),
            (key, &*key_path),
        ];
        Server::start(self, &[&settings, more].concat())
    }

    /// An authority that phones can be told to trust.
    ///
    /// # Errors
    /// When its files can't be written.
    pub fn authority(&self) -> Result<Authority> {
        Authority::new(self.folder("authority")?)
    }

    /// Starts the server for scripted phones, which fail when they are asked whether they are there.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn server_for_scripts(&self) -> Result<Server> {
        Server::start(self, &[("registrar.qualify", "off")])
    }

    /// Writes a configuration with these users and passwords, where anybody can call anybody.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write_users(&self, users: &[(String, String)]) -> Result<()> {
        self.site.write_users(users)
    }

    /// A scenario file of `interop/scenarios`, ready to be pointed at somebody.
    ///
    /// # Errors
    /// When there are no ports left.
    pub fn sipp(&mut self, scenario: &str) -> Result<Sipp> {
        Sipp::new(self, scenario)
    }

    /// A folder for one of the test's programs.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// A path for one file.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder of the test.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.folder
    }

    /// Where the server of this lab lives.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// A place for another server of ours, which is judged as well.
    ///
    /// # Errors
    /// When there are no ports left.
    pub fn another_site(&mut self, name: &str) -> Result<Site> {
        let site = Site::new(self.folder(name)?.join("srv"), &mut self.ports)?;
        self.sip_ports.push(site.sip.port());
        self.judged.push(site.clone());
        Ok(site)
    }

    /// A port at which a peer speaks SIP to others than our servers.
    ///
    /// # Errors
    /// When there are no ports left.
    pub fn sip_port(&mut self) -> Result<u16> {
        let port = self.ports.port()?;
        self.sip_ports.push(port);
        Ok(port)
    }

    /// Where the server of this lab listens.
    #[must_use]
    pub fn sip(&self) -> SocketAddr {
        self.site.sip
    }

    /// First and last port of the server's media.
    #[must_use]
    pub fn media(&self) -> (u16, u16) {
        self.site.media
    }

    /// Ports for the peers.
    pub fn ports(&mut self) -> &mut Ports {
        &mut self.ports
    }
}

const SEEDED_PLAN: &str = include_str!("../../app/dialtone/assets/dialplan.toml");

const DIAL_PLAN: &str = "[[extension]]\nnumber = \".\"\nsteps = [{ dial = \"{number}\" }]\n";

/// Enough for ten calls.
const MEDIA_PORTS: u16 = 40;
