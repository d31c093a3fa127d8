//! Our ICE agents, and one of aioice.

use std::net::UdpSocket;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ice::{Agent, Candidate, Credentials, Lite, Pair, Role};
use interop::driven::{Driven, program};
use interop::{Lab, peer};
use serde_json::{Value, json};

/// Ours.
enum Mind {
    Full(Box<Agent>),
    Lite(Box<Lite>),
}

struct Ours {
    mind: Mind,
    socket: UdpSocket,
    buffer: Vec<u8>,
}

impl Ours {
    fn new(mind: Mind) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let mut ours = Self {
            mind,
            socket,
            buffer: vec![0; 2000],
        };
        let candidate = ours.candidate()?;
        if let Mind::Full(agent) = &mut ours.mind {
            agent.add_local(Instant::now(), candidate);
        }
        Ok(ours)
    }

    fn candidate(&self) -> Result<Candidate> {
        Ok(Candidate::host(self.socket.local_addr()?, 65535))
    }

    fn selected(&self) -> Option<Pair> {
        match &self.mind {
            Mind::Full(agent) => agent.selected(),
            Mind::Lite(agent) => agent.selected(),
        }
    }

    /// Waits for one datagram or a moment, and does what is due; what is not STUN is returned.
    fn step(&mut self) -> Result<Option<Vec<u8>>> {
        let here = self.socket.local_addr()?;
        self.socket
            .set_read_timeout(Some(Duration::from_millis(10)))?;
        let received = self.socket.recv_from(&mut self.buffer).ok();
        let now = Instant::now();
        let mut data = None;
        if let Some((length, from)) = received {
            let datagram = &self.buffer[..length];
            if datagram.first().is_some_and(|first| *first > 3) {
                data = Some(datagram.to_vec());
            }
            match &mut self.mind {
                Mind::Full(agent) => agent.handle(now, datagram, from, here),
                Mind::Lite(agent) => {
                    let mut answer = Vec::new();
                    agent.handle(now, datagram, from, here, &mut answer);
                    self.socket.send_to(&answer, from)?;
                }
            }
        }
        if let Mind::Full(agent) = &mut self.mind {
            agent.wake(now);
            let mut datagram = Vec::new();
            while let Some(path) = agent.poll_transmit(&mut datagram) {
                self.socket.send_to(&datagram, path.remote)?;
            }
        }
        Ok(data)
    }

    fn run_until<T>(
        &mut self,
        mut done: impl FnMut(&Self, Option<Vec<u8>>) -> Option<T>,
    ) -> Result<T> {
        let end = Instant::now() + Duration::from_secs(30);
        while Instant::now() < end {
            let data = self.step()?;
            if let Some(found) = done(self, data) {
                return Ok(found);
            }
        }
        anyhow::bail!("nothing came within 30 s");
    }
}

fn text<'v>(value: &'v Value, name: &str) -> Result<&'v str> {
    value[name].as_str().with_context(|| format!("no {name}"))
}

/// Both find each other, and data go both ways.
fn meet(mind: Mind, local: &Credentials, their_role: &str) -> Result<()> {
    Lab::run_quietly(&format!("ice-{their_role}"), |lab| {
        if !peer::ensure_all(&[peer::AIOICE])? {
            return Ok(());
        }
        let lite = matches!(mind, Mind::Lite(_));
        let python = peer::folder(&peer::AIOICE)?.join("bin/python");
        let mut command = Command::new(python);
        command.arg(program("aioice_agent.py")).arg(their_role);
        let mut theirs = Driven::start(&mut command, &lab.path("aioice.log"))?;
        let mut ours = Ours::new(mind)?;
        let gathered = theirs.give("gather", json!({}))?;
        if let Mind::Full(agent) = &mut ours.mind {
            let credentials =
                Credentials::parse(text(&gathered, "ufrag")?, text(&gathered, "password")?)?;
            agent.set_remote(Instant::now(), credentials, false);
            for line in gathered["candidates"].as_array().into_iter().flatten() {
                let line = line.as_str().context("a candidate is text")?;
                agent.add_remote(Instant::now(), &Candidate::parse(line)?);
            }
        }
        let introduction = json!({
            "ufrag": local.ufrag(),
            "password": local.password(),
            "candidates": [ours.candidate()?.to_string()],
            "lite": lite,
        });
        // It answers when it is connected, which needs us to run meanwhile.
        let connected = AtomicBool::new(false);
        let (mut ours, pair) = std::thread::scope(|scope| -> Result<_> {
            let connected = &connected;
            let running = scope.spawn(move || {
                let pair = ours.run_until(|ours, _| {
                    ours.selected()
                        .filter(|_| connected.load(Ordering::Acquire))
                })?;
                anyhow::Ok((ours, pair))
            });
            let answer = theirs.give("connect", introduction);
            connected.store(true, Ordering::Release);
            answer?;
            running.join().expect("it does not panic")
        })?;
        theirs.give("send", json!({"text": "from aioice"}))?;
        let heard = ours.run_until(|_, data| data)?;
        ensure!(heard == b"from aioice");
        ours.socket.send_to(b"to aioice", pair.remote)?;
        theirs.event_with("data", &[("text", json!("to aioice"))])?;
        Ok(())
    })
}

fn full(role: Role) -> (Mind, Credentials) {
    let local = Credentials::mint(7, [role as u8; 24]);
    let agent = Agent::new(role, local.clone(), [role as u8; 32]);
    (Mind::Full(Box::new(agent)), local)
}

#[test]
fn rfc8445_a_full_agent_controls_aioice() -> Result<()> {
    let (mind, local) = full(Role::Controlling);
    meet(mind, &local, "controlled")
}

#[test]
fn rfc8445_a_full_agent_is_controlled_by_aioice() -> Result<()> {
    let (mind, local) = full(Role::Controlled);
    meet(mind, &local, "controlling")
}

#[test]
fn rfc8445_7_3_1_1_both_want_to_control() -> Result<()> {
    let (mind, local) = full(Role::Controlling);
    meet(mind, &local, "controlling")
}

#[test]
fn rfc8445_2_5_a_lite_agent_and_aioice() -> Result<()> {
    let local = Credentials::mint(7, [9; 24]);
    meet(
        Mind::Lite(Box::new(Lite::new(local.clone()))),
        &local,
        "controlling",
    )
}
