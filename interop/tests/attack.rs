//! Strangers do their worst: a call in progress keeps its sound, phones that are registered can
//! still call, and memory stays bounded.
//!
//! `DIALTONE_ATTACK_SECONDS` says how long each attack lasts.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use interop::attack::{self, Flood, Forger, request};
use interop::baresip::Account;
use interop::process::Process;
use interop::slow::SlowClients;
use interop::{Baresip, Lab, Server, peer};

#[test]
fn scans_for_systems_users_and_passwords() -> Result<()> {
    besieged("scan", &[peer::SIPVICIOUS], |siege| {
        let port = siege.server.sip().port().to_string();
        let passwords = siege.lab.path("passwords.txt");
        let lines: Vec<_> = (0..=200).map(|n| format!("password{n}")).collect();
        std::fs::write(&passwords, lines.join("\n"))?;
        let words = passwords.to_string_lossy().into_owned();
        let tools: [&[&str]; 5] = [
            &["svmap", "-p", &port, "-m", "OPTIONS", "127.0.0.1"],
            &["svmap", "-p", &port, "-m", "INVITE", "127.0.0.1"],
            &[
                "svwar",
                "-p",
                &port,
                "--force",
                "-e",
                "1000-9999",
                "127.0.0.1",
            ],
            &[
                "svwar",
                "-p",
                &port,
                "--force",
                "-m",
                "INVITE",
                "-e",
                "1000-9999",
                "127.0.0.1",
            ],
            &[
                "svcrack",
                "-p",
                &port,
                "-u",
                "1009",
                "-d",
                &words,
                "127.0.0.1",
            ],
        ];
        let mut running = Vec::new();
        for tool in tools {
            let log = siege
                .lab
                .path(&format!("{}-{}.log", tool[0], running.len()));
            running.push(Process::start(
                Command::new(tool[0])
                    .args(&tool[1..])
                    .current_dir(siege.lab.root()),
                &log,
            )?);
        }
        siege.hold()?;
        for process in &running {
            let output = process.output()?;
            ensure!(!output.contains(WEAK), "cracked: {output}");
        }
        Ok(())
    })
}

#[test]
fn a_flood_of_registrations() -> Result<()> {
    flooded("flood-register", |number, here, server| {
        request(
            "REGISTER",
            &server.to_string(),
            number,
            here,
            "Expires: 3600\r\n",
        )
    })
}

#[test]
fn a_flood_of_registrations_with_wrong_passwords() -> Result<()> {
    flooded("flood-password", |number, here, server| {
        let guess = format!(
            "Expires: 3600\r\nAuthorization: Digest username=\"1009\", realm=\"dialtone\", \
             nonce=\"{number:032x}\", uri=\"sip:{server}\", algorithm=MD5, \
             response=\"{number:032x}\"\r\n"
        );
        request("REGISTER", &server.to_string(), number, here, &guess)
    })
}

#[test]
fn a_flood_of_calls() -> Result<()> {
    flooded("flood-invite", |number, here, server| {
        request("INVITE", &format!("1002@{server}"), number, here, "")
    })
}

#[test]
fn fragments_and_forged_senders() -> Result<()> {
    let forger = match Forger::open() {
        Ok(forger) => forger,
        Err(error) if std::env::var_os("CI").is_none() => {
            eprintln!("skipped: only root may forge packets: {error:#}");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    besieged("forged", &[], |siege| {
        let SocketAddr::V4(server) = siege.server.sip() else {
            anyhow::bail!("the server listens on IPv4");
        };
        let until = Instant::now() + attack::duration();
        let mut number = 0_u64;
        let storm = std::thread::spawn(move || -> Result<u64> {
            while Instant::now() < until {
                forge(&forger, number, server)?;
                number += 1;
                if number.is_multiple_of(20) {
                    std::thread::sleep(std::time::Duration::from_millis(4));
                }
            }
            Ok(number)
        });
        siege.hold()?;
        let sent = storm.join().ok().context("the storm has panicked")??;
        eprintln!("{sent} forged and fragmented datagrams");
        Ok(())
    })
}

#[test]
fn slow_clients_on_tls() -> Result<()> {
    besieged("slow-tls", &[], |siege| {
        let target = siege.server.sip().to_string();
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 5060));
        let request = request("REGISTER", &target, 1, here, "");
        slow(siege, siege.lab.site().tls, &request)
    })
}

#[test]
fn slow_clients_on_wss() -> Result<()> {
    besieged("slow-wss", &[], |siege| {
        let upgrade = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n";
        slow(siege, siege.lab.site().https, upgrade)
    })
}

/// Clients that keep connections busy with next to nothing.
fn slow(siege: &mut Siege<'_>, server: SocketAddr, drip: &str) -> Result<()> {
    let root = siege.lab.path("authority/ca.pem");
    let until = Instant::now() + 2 * attack::duration();
    let mut clients = SlowClients::open(server, &root, SLOW, drip)?;
    let drops = std::thread::spawn(move || {
        clients.go_on(until);
        (clients.inside(), clients.closed)
    });
    siege.hold()?;
    let drops = drops.join();
    let (inside, closed) = drops.ok().context("the slow clients have panicked")?;
    eprintln!("{inside} of {SLOW} slow clients are connected; {closed} were thrown out");
    Ok(())
}

/// Slow clients at once.
const SLOW: usize = 600;

/// One odd packet: from anywhere, whole or in pieces, some of which never come.
fn forge(forger: &Forger, number: u64, server: SocketAddrV4) -> Result<()> {
    let [.., a, b] = number.to_be_bytes();
    let from = SocketAddrV4::new(Ipv4Addr::new(127, 1 + a % 100, b, 9), 5060);
    let target = format!("1001@{server}");
    let padding = format!("Subject: {}\r\n", "x".repeat(900));
    let method = ["REGISTER", "INVITE", "OPTIONS", "BYE"][(number % 4) as usize];
    let message = request(method, &target, number, from.into(), &padding);
    let pieces = message.len().div_ceil(256);
    let identity = number as u16;
    match number % 3 {
        0 => forger.send(from, server, message.as_bytes()),
        1 => {
            let order = (0..pieces).rev();
            forger.send_fragments((from, server), message.as_bytes(), 256, order, identity)
        }
        // The kernel keeps these for a while and gives them up; they never get to us.
        _ => forger.send_fragments((from, server), message.as_bytes(), 256, 1..pieces, identity),
    }
}

/// Requests a second of a flood. Ten times what a stranger is let have.
const FLOOD: u32 = 10 * STRANGERS;

/// Requests a second that a stranger is let have (`[sip.limits] strangers`), and those of two seconds at
/// once.
const STRANGERS: u32 = 1000;

/// Answers a second that tell a stranger to come back later, and those of one second at once.
const REFUSALS: u32 = 100;

/// The most answers that a flood of this length can get.
fn most_answers(seconds: f64) -> f64 {
    f64::from(STRANGERS) * (seconds + 2.0) + f64::from(REFUSALS) * (seconds + 1.0)
}

fn flooded(
    name: &str,
    make: impl Fn(u64, SocketAddr, SocketAddr) -> String + Send + 'static,
) -> Result<()> {
    besieged(name, &[], |siege| {
        let server = siege.server.sip();
        let flood = Flood::start(server, FLOOD, move |number, here| {
            make(number, here, server)
        })?;
        siege.hold()?;
        let count = flood.stop()?;
        eprintln!(
            "{name}: {:.0} requests a second, {} of {} answered",
            count.rate(),
            count.answered,
            count.sent
        );
        let most = most_answers(count.took.as_secs_f64());
        ensure!(
            count.answered as f64 <= most,
            "more than {most} requests of a stranger were answered"
        );
        Ok(())
    })
}

/// A server with a call in progress, and a phone that wants to call.
struct Siege<'a> {
    lab: &'a mut Lab,
    server: Server,
    alice: Baresip,
    bob: Baresip,
    carol: Baresip,
    memory: u64,
}

impl Siege<'_> {
    /// Waits for the time of an attack, and checks that life goes on in it.
    fn hold(&mut self) -> Result<()> {
        let seconds = attack::duration().as_secs_f64();
        let before = self.alice.heard()?.sounding();
        self.alice.hear(before + seconds / 2.0)?;
        self.carol.dial("601")?;
        self.carol
            .event("CALL_ESTABLISHED")
            .context("a new call during the attack")?;
        self.carol.hear(1.0)?;
        self.carol.hang_up()?;
        self.alice.hear(before + seconds)?;
        self.bob.hear(before + seconds)?;
        let memory = self.server.memory()?;
        eprintln!(
            "memory: {:.1} MB before, {:.1} MB under attack",
            megabytes(self.memory),
            megabytes(memory)
        );
        ensure!(memory < self.memory + MAX_GROWTH, "the memory has grown");
        Ok(())
    }

    fn end(mut self) -> Result<()> {
        let gaps = self.alice.heard()?.gaps()?.max(self.bob.heard()?.gaps()?);
        eprintln!("{:.2} % of the sound is missing", gaps * 100.0);
        self.alice
            .heard()?
            .ensure_tone(1000.0, attack::duration().as_secs_f64())?;
        self.bob
            .heard()?
            .ensure_tone(440.0, attack::duration().as_secs_f64())?;
        self.alice.hang_up()?;
        self.bob.event("CALL_CLOSED")?;
        self.server.settles()?;
        self.server.is_well()
    }
}

/// The password of a user without a phone.
const WEAK: &str = "password200";

/// What an attack may make of our memory: two threads with full mailboxes, and some.
const MAX_GROWTH: u64 = 48 << 20;

fn megabytes(octets: u64) -> f64 {
    octets as f64 / f64::from(1 << 20)
}

/// Runs an attack while two phones talk. There is no capture: it would hold the flood.
fn besieged(
    name: &str,
    peers: &[peer::Peer],
    attack: impl FnOnce(&mut Siege<'_>) -> Result<()>,
) -> Result<()> {
    if !peer::ensure_all(&[peers, &[peer::BARESIP]].concat())? {
        return Ok(());
    }
    Lab::run_quietly(name, |lab| {
        lab.write_users(
            &[
                ("1001", "pw-1001"),
                ("1002", "pw-1002"),
                ("1003", "pw-1003"),
                ("1009", WEAK),
            ]
            .map(|(user, password)| (user.into(), password.into())),
        )?;
        let plan = lab.path("srv/etc/dialplan.toml");
        let rest = std::fs::read_to_string(&plan)?;
        let tone = "[[extension]]\nnumber = \"601\"\nsteps = [{ tone = 1004.0 }]\n";
        std::fs::write(&plan, format!("{tone}{rest}"))?;
        let server = lab.server_with_tls(&lab.authority()?)?;
        let mut alice = Account::new("1001", "pw-1001", server.sip());
        alice.hertz = 440.0;
        let mut bob = Account::new("1002", "pw-1002", server.sip());
        bob.hertz = 1000.0;
        bob.answers = true;
        let carol = Account::new("1003", "pw-1003", server.sip());
        let bob = Baresip::register(lab, &bob)?;
        let mut alice = Baresip::register(lab, &alice)?;
        let carol = Baresip::register(lab, &carol)?;
        alice.dial("1002")?;
        alice.event("CALL_ESTABLISHED")?;
        alice.hear(1.0)?;
        bob.hear(1.0)?;
        let memory = server.memory()?;
        let mut siege = Siege {
            lab,
            server,
            alice,
            bob,
            carol,
            memory,
        };
        attack(&mut siege)?;
        siege.end()
    })
}
