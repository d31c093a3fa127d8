//! The phone that browsers load, JsSIP, on Node; its media is a peer connection of ours.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

use crate::driven::{Driven, program};
use crate::lab::Lab;
use crate::peer;

/// What a phone is set up with.
#[derive(Clone, Debug)]
pub struct Account<'a> {
    /// User name.
    pub user: &'a str,
    /// Password.
    pub password: &'a str,
    /// The domain of its address.
    pub domain: SocketAddr,
    /// Where the WebSocket is, `ws://…` or `wss://…`.
    pub url: &'a str,
    /// Certificates that it trusts, for `wss`.
    pub trusts: Option<&'a Path>,
}

/// A running phone.
#[derive(Debug)]
pub struct JsSip {
    driven: Driven,
    media: u16,
}

impl JsSip {
    /// Starts a phone and waits until it is registered.
    ///
    /// # Errors
    /// When it does not start or is not accepted.
    pub fn register(lab: &mut Lab, account: &Account<'_>) -> Result<Self> {
        let mut phone = Self::start(lab, account)?;
        phone.event("registered")?;
        Ok(phone)
    }

    /// Starts a phone at another address of this machine, and waits until it is registered.
    ///
    /// # Errors
    /// When it does not start or is not accepted.
    pub fn register_from(lab: &mut Lab, account: &Account<'_>, from: IpAddr) -> Result<Self> {
        let mut phone = Self::start_from(lab, account, Some(from))?;
        phone.event("registered")?;
        Ok(phone)
    }

    /// Starts a phone.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(lab: &mut Lab, account: &Account<'_>) -> Result<Self> {
        Self::start_from(lab, account, None)
    }

    fn start_from(lab: &mut Lab, account: &Account<'_>, from: Option<IpAddr>) -> Result<Self> {
        let media = lab.ports().port()?;
        let folder = lab.folder(&format!("jssip-{}-{media}", account.user))?;
        let settings = json!({
            "user": account.user,
            "password": account.password,
            "domain": account.domain.to_string(),
            "url": account.url,
            "ca": account.trusts,
            "from": from,
            "media_port": media,
            "modules": peer::folder(&peer::JSSIP)?,
        });
        let file = folder.join("settings.json");
        fs::write(&file, settings.to_string())?;
        let mut command = Command::new("node");
        command.arg(program("jssip_phone.mjs")).arg(file);
        let driven = Driven::start(&mut command, &folder.join("driver.log"))?;
        Ok(Self { driven, media })
    }

    /// The port that its session descriptions name, where nobody listens.
    #[must_use]
    pub fn media(&self) -> u16 {
        self.media
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
}
