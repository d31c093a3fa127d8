//! `dialtone load`: the load generator on the command line.

use std::io::{self, IsTerminal, Write};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use ue::load::{Accounts, Job, LoadOptions, Phase, Progress, Transport, Trust};

/// What to put on which server.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// options, register, call or rtp.
    job: Job,
    /// The server.
    #[arg(long, value_name = "HOST[:PORT]", default_value = "127.0.0.1:5060")]
    target: String,
    /// udp, tcp or tls.
    #[arg(long, value_name = "NAME", default_value = "udp", value_parser = transport)]
    transport: Transport,
    /// Connections by tcp or tls that each party's users share.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = connections)]
    connections: usize,
    /// Who vouches for the server's certificate, in PEM.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Take any certificate of the server.
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
    /// The server is elsewhere than on this machine, and it is mine.
    #[arg(long)]
    allow_remote: bool,
    /// The SIP domain of the users; the target's host if absent.
    #[arg(long)]
    domain: Option<String>,
    #[command(flatten)]
    users: Users,
    /// The server is a proxy that relays to the address in the request URI: nobody registers.
    #[arg(long)]
    proxy: bool,
    /// Operations under way at a time [default: 64; with a rate, as many as it takes].
    #[arg(long, value_name = "N")]
    window: Option<usize>,
    /// Operations started in a second [default: one as soon as another ends].
    #[arg(long, value_name = "N", value_parser = positive)]
    rate: Option<f64>,
    /// End after so many operations.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End after so many seconds.
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    seconds: Duration,
    /// Seconds after which an unanswered request is given up.
    #[arg(long, value_name = "S", default_value = "32", value_parser = seconds)]
    timeout: Duration,
    /// Seconds that a call lasts.
    #[arg(long, value_name = "S", default_value = "0", value_parser = seconds)]
    hold: Duration,
    /// Registrations use the last nonce again, so that they need no challenge.
    #[arg(long)]
    refresh: bool,
    /// Leave the registrations when all is over.
    #[arg(long)]
    keep: bool,
    /// Calls that carry RTP.
    #[arg(long, value_name = "N", default_value_t = 100)]
    calls: usize,
    /// Set up the calls, write the addresses of their legs for another RTP generator, and hold them.
    #[arg(long, value_name = "FILE")]
    legs: Option<PathBuf>,
    /// Our own address [default: the one that leads to the target].
    #[arg(long, value_name = "ADDRESS")]
    local: Option<IpAddr>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Whose phones are played. Without `--user` there are many: u0, u1, … with passwords pw0, pw1, …,
/// and as many again are called.
#[derive(Debug, Args)]
struct Users {
    /// The user that registers or calls.
    #[arg(long, requires = "password")]
    user: Option<String>,
    /// The user's password.
    #[arg(long, env = "DIALTONE_LOAD_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// The user that is called.
    #[arg(long, requires = "callee_password")]
    callee: Option<String>,
    /// The called user's password.
    #[arg(long, env = "DIALTONE_LOAD_CALLEE_PASSWORD", hide_env_values = true)]
    callee_password: Option<String>,
    /// What stands before the number in the names of many users.
    #[arg(long, value_name = "TEXT", default_value = "u")]
    user_prefix: String,
    /// What stands before the number in their passwords.
    #[arg(long, value_name = "TEXT", default_value = "pw")]
    password_prefix: String,
    /// The first number.
    #[arg(long, value_name = "N", default_value_t = 0)]
    first: u32,
    /// How many users register or call.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    users: u32,
}

/// Runs the load; the exit code tells whether all of it succeeded.
pub(crate) fn run(load: &Load) -> Result<ExitCode> {
    let mut line = Line::new(io::stderr().is_terminal() && !load.json);
    let report = ue::load::run(&load.options(), &mut |progress| line.show(progress));
    line.clear();
    let report = report?;
    let mut out = io::stdout();
    if load.json {
        writeln!(out, "{}", report.to_json())?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(ExitCode::from(u8::from(!report.is_clean())))
}

impl Load {
    fn options(&self) -> LoadOptions {
        let users = &self.users;
        LoadOptions {
            transport: self.transport,
            connections: self.connections,
            trust: self.trust(),
            allow_remote: self.allow_remote,
            domain: self.domain.clone(),
            callers: users.accounts(&users.user, &users.password, users.first),
            callees: users.accounts(
                &users.callee,
                &users.callee_password,
                users.first.saturating_add(users.users),
            ),
            proxy: self.proxy,
            window: self.window,
            rate: self.rate,
            count: self.count,
            duration: self.seconds,
            timeout: self.timeout,
            hold: self.hold,
            refresh: self.refresh,
            keep: self.keep,
            calls: self.calls,
            legs: self.legs.clone(),
            local: self.local,
            ..LoadOptions::new(self.job, self.target.clone())
        }
    }
}

impl Load {
    fn trust(&self) -> Trust {
        match &self.ca {
            Some(path) => Trust::Authorities(path.clone()),
            None if self.insecure => Trust::Anybody,
            None => Trust::Nobody,
        }
    }
}

impl Users {
    fn accounts(&self, user: &Option<String>, password: &Option<String>, first: u32) -> Accounts {
        match (user, password) {
            (Some(user), Some(password)) => Accounts::One {
                user: user.clone(),
                password: password.clone(),
            },
            _ => Accounts::Numbered {
                user_prefix: self.user_prefix.clone(),
                password_prefix: self.password_prefix.clone(),
                first,
                count: self.users,
            },
        }
    }
}

/// The line that lives while the load runs.
struct Line {
    is_wanted: bool,
    /// Operations that had ended, and when, at the last look.
    last: (u64, Duration),
}

impl Line {
    fn new(is_wanted: bool) -> Self {
        Self {
            is_wanted,
            last: (0, Duration::ZERO),
        }
    }

    fn show(&mut self, progress: &Progress<'_>) -> ControlFlow<()> {
        let (ended, at) = self.last;
        let time = progress.elapsed.saturating_sub(at).as_secs_f64();
        let rate = (progress.tally.ended().saturating_sub(ended)) as f64 / time.max(1e-3);
        self.last = (progress.tally.ended(), progress.elapsed);
        if self.is_wanted && progress.phase == Phase::Load && time > 0.0 {
            // A terminal that is gone needs no progress.
            let _ = write!(
                io::stderr(),
                "\r\x1b[K{:>5.0} s  {rate:>9.0}/s  ok {}  failed {}  under way {}",
                progress.elapsed.as_secs_f64(),
                progress.tally.ok,
                progress.tally.failed(),
                progress.outstanding
            );
        }
        ControlFlow::Continue(())
    }

    fn clear(&self) {
        if self.is_wanted {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn seconds(text: &str) -> Result<Duration> {
    let seconds: f64 = text.parse()?;
    Ok(Duration::try_from_secs_f64(seconds)?)
}

fn transport(text: &str) -> Result<Transport> {
    Ok(text.parse()?)
}

/// Each takes a descriptor here and at the server.
fn connections(text: &str) -> Result<usize> {
    let count = text.parse()?;
    if !(1..=10_000).contains(&count) {
        bail!("must be 1 to 10000");
    }
    Ok(count)
}

fn positive(text: &str) -> Result<f64> {
    let number: f64 = text.parse()?;
    if !(number > 0.0 && number.is_finite()) {
        bail!("must be more than 0");
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        load: Load,
    }

    fn options(line: &str) -> Result<LoadOptions, clap::Error> {
        let words = ["load"].into_iter().chain(line.split(' '));
        Alone::try_parse_from(words).map(|alone| alone.load.options())
    }

    #[test]
    fn many_users_are_called_by_as_many() {
        let options = options("call --first 5 --users 3").unwrap();
        assert_eq!(options.callers, Accounts::numbered(5, 3));
        assert_eq!(options.callees, Accounts::numbered(8, 3));
        assert_eq!(options.target, "127.0.0.1:5060");
        assert!(!options.allow_remote);
    }

    #[test]
    fn one_user_calls_another() {
        let line = "call --user 1001 --password a --callee 1002 --callee-password b --hold 1.5";
        let options = options(line).unwrap();
        let one = |user: &str, password: &str| Accounts::One {
            user: user.into(),
            password: password.into(),
        };
        assert_eq!(options.callers, one("1001", "a"));
        assert_eq!(options.callees, one("1002", "b"));
        assert_eq!(options.hold, Duration::from_millis(1500));
    }

    #[test]
    fn connections_are_few_and_trust_is_told() {
        let usual = options("register").unwrap();
        assert_eq!((usual.transport, usual.connections), (Transport::Udp, 8));
        assert_eq!(usual.trust, Trust::Nobody);
        let tls = options("register --transport tls --connections 2 --ca a.pem").unwrap();
        assert_eq!((tls.transport, tls.connections), (Transport::Tls, 2));
        assert_eq!(tls.trust, Trust::Authorities("a.pem".into()));
        let any = options("options --transport tls --insecure").unwrap();
        assert_eq!(any.trust, Trust::Anybody);
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "fax",
            "call --user 1001",
            "call --rate 0",
            "call --rate inf",
            "call --seconds -1",
            "call --users 0",
            "register --transport sctp",
            "register --connections 0",
            "register --ca a.pem --insecure",
        ] {
            assert!(options(line).is_err(), "{line}");
        }
    }
}
