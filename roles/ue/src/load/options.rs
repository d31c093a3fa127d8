//! What to put on which server.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::{Accounts, LoadError, Transport, Trust};

/// What one operation of the load is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Job {
    /// OPTIONS and its answer.
    Options,
    /// REGISTER with digest authentication.
    Register,
    /// INVITE, answer, ACK, BYE; both parties are the generator's.
    Call,
    /// G.711 both ways on calls between parties of the generator.
    Rtp,
}

impl Job {
    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Options => "options",
            Self::Register => "register",
            Self::Call => "call",
            Self::Rtp => "rtp",
        }
    }
}

impl FromStr for Job {
    type Err = UnknownJob;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Options, Self::Register, Self::Call, Self::Rtp]
            .into_iter()
            .find(|job| job.name() == name)
            .ok_or(UnknownJob)
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name is not that of a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown job; known are options, register, call and rtp")]
pub struct UnknownJob;

/// Settings of one run.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// What to do.
    pub job: Job,
    /// The server: `host:port`, the port being 5060 (5061 for TLS) if it is left out.
    pub target: String,
    /// How messages travel.
    pub transport: Transport,
    /// How many connections each party has, its users shared out among them; nothing with UDP.
    pub connections: usize,
    /// Whose certificate the server may show over TLS.
    pub trust: Trust,
    /// The server may be elsewhere than on this machine. Without it only loopback addresses are
    /// accepted, because load on a server of somebody else is an attack.
    pub allow_remote: bool,
    /// The SIP domain of the users; the target's host if `None`.
    pub domain: Option<String>,
    /// Who registers or calls.
    pub callers: Accounts,
    /// Who is called.
    pub callees: Accounts,
    /// The server relays to the address in the request URI and knows no users: nobody registers, and
    /// the caller puts the callee's address there.
    pub proxy: bool,
    /// Most operations outstanding at a time; `None` is 64, or with a rate as many as it takes.
    pub window: Option<usize>,
    /// Operations started in a second; `None` starts one as soon as another ends.
    pub rate: Option<f64>,
    /// The run ends after this many operations.
    pub count: Option<u64>,
    /// The run ends after this time; operations under way are given `timeout` more.
    pub duration: Duration,
    /// How long an unanswered request is retransmitted: 64×T1, 32 s, in RFC 3261.
    pub timeout: Duration,
    /// How long a call lasts from its answer.
    pub hold: Duration,
    /// A registration uses the last nonce again, so that it needs no challenge.
    pub refresh: bool,
    /// Registrations stay when the run is over; by default nothing is left behind.
    pub keep: bool,
    /// How many calls carry RTP.
    pub calls: usize,
    /// Where to write the addresses of the calls' legs for another RTP generator; no RTP is then sent.
    pub legs: Option<PathBuf>,
    /// Our own address; the one that leads to the target if `None`.
    pub local: Option<IpAddr>,
}

impl LoadOptions {
    /// The defaults of `job`: closed loop, 64 at a time, for ten seconds, 1000 numbered users.
    #[must_use]
    pub fn new(job: Job, target: impl Into<String>) -> Self {
        Self {
            job,
            target: target.into(),
            transport: Transport::Udp,
            connections: 8,
            trust: Trust::Nobody,
            allow_remote: false,
            domain: None,
            callers: Accounts::numbered(0, 1000),
            callees: Accounts::numbered(1000, 1000),
            proxy: false,
            window: None,
            rate: None,
            count: None,
            duration: Duration::from_secs(10),
            timeout: Duration::from_secs(32),
            hold: Duration::ZERO,
            refresh: false,
            keep: false,
            calls: 100,
            legs: None,
            local: None,
        }
    }

    /// The server's address.
    ///
    /// # Errors
    /// If the name doesn't resolve, or the address is not loopback and nobody allowed that.
    pub(super) fn address(&self) -> Result<SocketAddr, LoadError> {
        let (_, port) = split_port(&self.target);
        let port = port.unwrap_or_else(|| self.transport.default_port());
        let unresolved = |source| LoadError::Target {
            target: self.target.clone(),
            source,
        };
        let mut found = (self.host(), port).to_socket_addrs().map_err(unresolved)?;
        let address = found
            .next()
            .ok_or_else(|| unresolved(std::io::ErrorKind::NotFound.into()))?;
        if !address.ip().is_loopback() && !self.allow_remote {
            return Err(LoadError::Remote(address));
        }
        Ok(address)
    }

    /// The server's name or address, without brackets.
    pub(super) fn host(&self) -> &str {
        let (host, _) = split_port(&self.target);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Most operations outstanding at a time.
    pub(super) fn window(&self) -> usize {
        let default = if self.rate.is_some() { 1 << 16 } else { 64 };
        self.window.unwrap_or(default)
    }

    /// The users' domain.
    pub(super) fn domain(&self) -> &str {
        match &self.domain {
            Some(domain) => domain,
            None => split_port(&self.target).0,
        }
    }
}

/// Host (an IPv6 address keeps its brackets) and port, if there is one.
fn split_port(target: &str) -> (&str, Option<u16>) {
    let is_bare_v6 = target.parse::<std::net::Ipv6Addr>().is_ok();
    match target.rsplit_once(':') {
        Some((host, port)) if !is_bare_v6 => port
            .parse()
            .map_or((target, None), |port| (host, Some(port))),
        _ => (target, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_split_into_host_and_port() {
        assert_eq!(split_port("127.0.0.1:5070"), ("127.0.0.1", Some(5070)));
        assert_eq!(split_port("pbx.example"), ("pbx.example", None));
        assert_eq!(split_port("[::1]:5070"), ("[::1]", Some(5070)));
        assert_eq!(split_port("[::1]"), ("[::1]", None));
        assert_eq!(split_port("::1"), ("::1", None));
    }

    #[test]
    fn a_remote_target_must_be_allowed() {
        let mut options = LoadOptions::new(Job::Options, "192.0.2.1:5060");
        assert!(matches!(options.address(), Err(LoadError::Remote(_))));
        options.allow_remote = true;
        assert!(options.address().is_ok());
        let local = LoadOptions::new(Job::Options, "[::1]:5070");
        assert!(local.address().is_ok_and(|address| address.port() == 5070));
    }

    #[test]
    fn jobs_have_names() {
        for job in [Job::Options, Job::Register, Job::Call, Job::Rtp] {
            assert_eq!(job.name().parse(), Ok(job));
        }
        assert_eq!("fax".parse::<Job>(), Err(UnknownJob));
    }
}
