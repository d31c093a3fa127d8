//! The TURN server, and the clients of coturn.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ice::turn::policy::Rule;
use interop::process::Process;
use interop::{Lab, Server, peer};
use turn::{Listen, Relays, Settings, Transport, Turn};

/// A server of one user, `alice`, and of whoever knows the secret `north`. Relays reach loopback.
fn start(lab: &mut Lab) -> Result<Turn> {
    let (low, high) = lab.ports().range(32)?;
    let port = lab.ports().port()?;
    let here = SocketAddr::from(([127, 0, 0, 1], port));
    let mut clients = ice::turn::Config {
        realm: "example.org".into(),
        ..ice::turn::Config::default()
    };
    clients.users.insert("alice", "example.org", "secret");
    clients.users.set_secret("north");
    clients.policy.allow.push(Rule {
        network: here.ip(),
        prefix: 32,
        ports: 1024..=65535,
    });
    let listen = [Transport::Udp, Transport::Tcp].map(|transport| Listen {
        transport,
        address: here,
    });
    let settings = Settings {
        listen: listen.into(),
        relays: Relays {
            bind: vec![here.ip()],
            advertise: vec![here.ip()],
            ports: low..=high,
        },
        clients,
    };
    Ok(Turn::start(settings)?)
}

/// Sends through the server and back, and says that nothing was lost.
fn exchange(lab: &mut Lab, options: &[&str]) -> Result<()> {
    let server = start(lab)?;
    let echo = lab.ports().port()?.to_string();
    let mut command = Command::new("turnutils_peer");
    command.args(["-L", "127.0.0.1", "-p", &echo]);
    let _echo = Process::start(&mut command, &lab.path("peer.log"))?;
    let port = server.listening()[0].address.port().to_string();
    let mut client = Command::new("turnutils_uclient");
    client.args(["-c", "-n", "40", "-m", "4", "-e", "127.0.0.1", "-r", &echo]);
    client.args(options).args(["-p", &port, "127.0.0.1"]);
    let output = run(lab, &mut client)?;
    let lost = output
        .lines()
        .rfind(|line| line.contains("Total lost packets"));
    let lost = lost.context("the client has said nothing of packets")?;
    ensure!(lost.contains("Total lost packets 0 "), "{lost}");
    Ok(())
}

fn run(lab: &Lab, command: &mut Command) -> Result<String> {
    let mut process = Process::start(command, &lab.path("client.log"))?;
    let status = process.end(Duration::from_secs(60))?;
    let output = process.output()?;
    ensure!(status.success(), "{status}: {output}");
    Ok(output)
}

fn in_lab(name: &str, test: impl FnOnce(&mut Lab) -> Result<()>) -> Result<()> {
    Lab::run_quietly(name, |lab| {
        if peer::ensure_all(&[peer::COTURN])? {
            test(lab)?;
        }
        Ok(())
    })
}

#[test]
fn rfc8489_a_client_learns_its_address() -> Result<()> {
    in_lab("stun", |lab| {
        let server = start(lab)?;
        let port = server.listening()[0].address.port().to_string();
        let mut client = Command::new("turnutils_stunclient");
        let output = run(lab, client.args(["-p", &port, "127.0.0.1"]))?;
        ensure!(
            output.contains("UDP reflexive addr: 127.0.0.1:"),
            "{output}"
        );
        Ok(())
    })
}

#[test]
fn rfc8656_12_channels_over_udp() -> Result<()> {
    in_lab("turn-channels", |lab| {
        exchange(lab, &["-u", "alice", "-w", "secret"])
    })
}

#[test]
fn rfc8656_11_indications_over_udp() -> Result<()> {
    in_lab("turn-indications", |lab| {
        exchange(lab, &["-s", "-u", "alice", "-w", "secret"])
    })
}

#[test]
fn rfc8656_3_1_channels_over_tcp() -> Result<()> {
    in_lab("turn-tcp", |lab| {
        exchange(lab, &["-t", "-u", "alice", "-w", "secret"])
    })
}

#[test]
fn passwords_that_expire() -> Result<()> {
    in_lab("turn-rest", |lab| {
        exchange(lab, &["-u", "alice", "-W", "north"])
    })
}

#[test]
fn rfc8656_13_from_relay_to_relay_with_more_requests_than_needed() -> Result<()> {
    in_lab("turn-relays", |lab| {
        exchange(lab, &["-y", "-G", "-u", "alice", "-w", "secret"])
    })
}

#[test]
fn a_wrong_password_opens_nothing() -> Result<()> {
    in_lab("turn-wrong", |lab| {
        let server = start(lab)?;
        let port = server.listening()[0].address.port().to_string();
        let mut client = Command::new("turnutils_uclient");
        client.args([
            "-c",
            "-n",
            "1",
            "-e",
            "127.0.0.1",
            "-u",
            "alice",
            "-w",
            "guess",
        ]);
        let mut client = Process::start(
            client.args(["-p", &port, "127.0.0.1"]),
            &lab.path("client.log"),
        )?;
        client.end(Duration::from_secs(60))?;
        let output = client.output()?;
        ensure!(output.contains("Cannot complete Allocation"), "{output}");
        Ok(())
    })
}

/// The binary as docs/guide/turn.md has it, with a password that expires.
#[test]
fn the_server_of_the_guide_relays() -> Result<()> {
    Lab::run("turn-binary", &[peer::COTURN], |lab| {
        let secret = lab.path("turn-secret");
        std::fs::write(&secret, "north\n")?;
        let port = lab.ports().port()?.to_string();
        let (low, high) = lab.ports().range(32)?;
        let settings = [
            (
                "turn.listen",
                format!("[\"udp:127.0.0.1:{port}\", \"tcp:127.0.0.1:{port}\"]"),
            ),
            ("turn.secret_file", secret.display().to_string()),
            ("turn.ports", format!("{low}-{high}")),
            ("turn.advertise", "127.0.0.1".to_owned()),
            ("turn.allow", "[\"127.0.0.0/8\"]".to_owned()),
        ];
        let settings = settings.each_ref().map(|(key, value)| (*key, &**value));
        let server = Server::start(lab, &settings)?;
        server.wait_for_log(&["the TURN server is ready"])?;
        let echo = lab.ports().port()?.to_string();
        let mut command = Command::new("turnutils_peer");
        command.args(["-L", "127.0.0.1", "-p", &echo]);
        let _echo = Process::start(&mut command, &lab.path("peer.log"))?;
        for transport in [&[][..], &["-t"]] {
            let mut client = Command::new("turnutils_uclient");
            client.args(["-c", "-n", "40", "-m", "4", "-e", "127.0.0.1", "-r", &echo]);
            client.args(["-W", "north", "-u", "alice"]).args(transport);
            let output = run(lab, client.args(["-p", &port, "127.0.0.1"]))?;
            let lost = output.lines().rfind(|line| line.contains("Total lost"));
            let lost = lost.context("the client has said nothing of packets")?;
            ensure!(lost.contains("Total lost packets 0 "), "{lost}");
        }
        server.stop()
    })
}
