//! The softphone pjsua2, driven by a program in Python.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::driven::{Driven, program};
use crate::lab::Lab;
use crate::peer;
use crate::sound::write_tone;

/// What a phone is set up with.
#[derive(Clone, Debug)]
pub struct Account<'a> {
    /// User name.
    pub user: &'a str,
    /// Password.
    pub password: &'a str,
    /// Where to register and send calls.
    pub server: SocketAddr,
    /// `udp`, `tcp` or `tls`.
    pub transport: &'a str,
    /// Certificates that it trusts, for TLS.
    pub trusts: Option<&'a Path>,
    /// Frequency of the tone that it says.
    pub hertz: f64,
    /// Subscribes to the state of its mailbox.
    pub mailbox: bool,
    /// Publishes its presence.
    pub publishes: bool,
}

impl<'a> Account<'a> {
    /// An account over UDP.
    #[must_use]
    pub fn new(user: &'a str, password: &'a str, server: SocketAddr) -> Self {
        Self {
            user,
            password,
            server,
            transport: "udp",
            trusts: None,
            hertz: 440.0,
            mailbox: false,
            publishes: false,
        }
    }
}

/// A running phone, which speaks G.711.
#[derive(Debug)]
pub struct Pjsua {
    driven: Driven,
    media: (u16, u16),
    sip: u16,
}

impl Pjsua {
    /// Starts a phone and waits until it is registered.
    ///
    /// # Errors
    /// When it does not start or is not accepted.
    pub fn register(lab: &mut Lab, account: &Account<'_>) -> Result<Self> {
        let mut phone = Self::start(lab, account)?;
        phone.event_with("registration", &[("code", json!(200))])?;
        Ok(phone)
    }

    /// Starts a phone.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(lab: &mut Lab, account: &Account<'_>) -> Result<Self> {
        let (sip, media) = (lab.ports().port()?, lab.ports().range(10)?);
        let folder = lab.folder(&format!("pjsua-{}-{sip}", account.user))?;
        let tone = folder.join("says.wav");
        write_tone(&tone, account.hertz, TONE_SECONDS)?;
        let settings = json!({
            "user": account.user,
            "password": account.password,
            "server": account.server.to_string(),
            "transport": account.transport,
            "sip_port": sip,
            "media_port": media.0,
            "tone": tone,
            "log": folder.join("pjsua.log"),
            "ca": account.trusts.unwrap_or(Path::new("")),
            "mwi": account.mailbox,
            "publish": account.publishes,
        });
        let file = folder.join("settings.json");
        fs::write(&file, settings.to_string())?;
        let mut command = Command::new(python()?);
        command.arg(program("pjsua2_phone.py")).arg(file);
        let driven = Driven::start(&mut command, &folder.join("driver.log"))?;
        Ok(Self { driven, media, sip })
    }

    /// First and last of its RTP ports.
    #[must_use]
    pub fn media(&self) -> (u16, u16) {
        self.media
    }

    /// The port at which it speaks SIP.
    #[must_use]
    pub fn sip(&self) -> u16 {
        self.sip
    }

    /// Calls a number, and returns which call it is.
    ///
    /// # Errors
    /// When the phone refuses.
    pub fn dial(&mut self, number: &str) -> Result<u64> {
        let answer = self.give("call", json!({ "to": number }))?;
        answer["call"].as_u64().context("the call has no number")
    }

    /// Answers the call that comes in.
    ///
    /// # Errors
    /// When none comes, or the phone refuses.
    pub fn accept(&mut self) -> Result<u64> {
        let call = self.event("incoming")?["call"].clone();
        self.give("answer", json!({ "call": call }))?;
        self.event_with("call", &[("state", json!("CONFIRMED"))])?;
        call.as_u64().context("the call has no number")
    }

    /// Waits until a call is established.
    ///
    /// # Errors
    /// When it is not.
    pub fn established(&mut self) -> Result<u64> {
        let event = self.event_with("call", &[("state", json!("CONFIRMED"))])?;
        event["call"].as_u64().context("the call has no number")
    }

    /// Waits until a call is over; returns the code it ended with.
    ///
    /// # Errors
    /// When it is not.
    pub fn over(&mut self) -> Result<u64> {
        let event = self.event_with("call", &[("state", json!("DISCONNECTED"))])?;
        event["code"].as_u64().context("the call has no code")
    }

    /// Gives any command of the driver.
    ///
    /// # Errors
    /// When the phone refuses.
    pub fn give(&mut self, name: &str, command: Value) -> Result<Value> {
        self.driven.give(name, command)
    }

    /// Waits for an event of this kind; others before it are dropped.
    ///
    /// # Errors
    /// When it does not come in time; names what came instead.
    pub fn event(&mut self, kind: &str) -> Result<Value> {
        self.driven.event(kind)
    }

    /// Waits for an event of this kind with these values.
    ///
    /// # Errors
    /// When it does not come in time; names what came instead.
    pub fn event_with(&mut self, kind: &str, fields: &[(&str, Value)]) -> Result<Value> {
        self.driven.event_with(kind, fields)
    }

    /// Unregisters and ends the phone.
    ///
    /// # Errors
    /// When it does not end.
    pub fn quit(mut self) -> Result<()> {
        self.give("quit", json!({}))?;
        self.driven.end()
    }
}

fn python() -> Result<PathBuf> {
    Ok(peer::folder(&peer::PJSUA2)?.join("bin/python"))
}

/// It is played in a loop: a whole number of waves of any tone.
const TONE_SECONDS: u32 = 10;
