//! The phone that browsers load, JsSIP, in a browser: Chromium without a screen. Its sound is made and
//! measured by Web Audio.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::driven::{Driven, program};
use crate::lab::Lab;
use crate::peer;
use crate::wait::until;

/// What a phone is set up with.
#[derive(Clone, Debug)]
pub struct Account<'a> {
    /// User name.
    pub user: &'a str,
    /// Password.
    pub password: &'a str,
    /// The domain of its address.
    pub domain: SocketAddr,
    /// Where the WebSocket is, `wss://…`.
    pub url: &'a str,
    /// Where the name in that leads, if no name server knows it.
    pub at: Option<IpAddr>,
    /// Frequency of the tone that it says.
    pub hertz: f64,
    /// Where its media go instead of to the server.
    pub relay: Option<SocketAddr>,
    /// The configuration of its peer connections, as in JavaScript.
    pub peer_connection: Value,
}

/// A running browser with its phone.
#[derive(Debug)]
pub struct Chromium {
    driven: Driven,
}

/// What it hears at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The loudest frequency from 100 to 4000 Hz.
    pub hertz: f64,
    /// How loud that is, in decibels of full scale; silence is −∞.
    pub decibel: f64,
    /// The part of all power that is within 40 Hz of it, from 0 to 1.
    pub purity: f64,
}

/// What its statistics say of a stream that it receives.
#[derive(Clone, Copy, Debug)]
pub struct Inbound {
    /// Packets.
    pub packets: f64,
    /// Packets that did not come.
    pub lost: f64,
    /// Seconds that a sample has waited in the jitter buffer, on average since the beginning.
    pub delay: f64,
    /// Pictures that were decoded.
    pub frames: f64,
}

impl Chromium {
    /// Starts a browser and waits until its phone is registered.
    ///
    /// # Errors
    /// When it does not start or is not accepted.
    pub fn register(lab: &mut Lab, account: &Account<'_>) -> Result<Self> {
        let name = format!("chromium-{}-{}", account.user, lab.ports().port()?);
        let folder = lab.folder(&name)?;
        let relay = account.relay;
        let settings = json!({
            "user": account.user,
            "password": account.password,
            "domain": account.domain.to_string(),
            "url": account.url,
            "at": account.at,
            "hertz": account.hertz,
            "relay": relay.map(|at| json!({ "address": at.ip(), "port": at.port() })),
            "peer_connection": account.peer_connection,
            "profile": folder.join("profile"),
            "modules": peer::folder(&peer::JSSIP_IN_BROWSER)?,
        });
        let file = folder.join("settings.json");
        fs::write(&file, settings.to_string())?;
        let mut command = Command::new("node");
        command.arg(program("chromium_phone.mjs")).arg(file);
        let driven = Driven::start(&mut command, &folder.join("driver.log"))?;
        let mut phone = Self { driven };
        phone.event("registered")?;
        Ok(phone)
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

    /// Waits until media can flow.
    ///
    /// # Errors
    /// When it does not come to that.
    pub fn connected(&mut self) -> Result<()> {
        let state = [("state", json!("connected"))];
        self.event_with("connection", &state).map(drop)
    }

    /// What it hears for so many milliseconds, one moment every 200.
    ///
    /// # Errors
    /// When it has no call.
    pub fn hear(&mut self, milliseconds: u32) -> Result<Vec<Moment>> {
        let answer = self.give("hear", json!({ "ms": milliseconds }))?;
        let moments = answer["moments"].as_array().context("no moments")?;
        let number = |moment: &Value, name: &str| moment[name].as_f64();
        let read = moments.iter().map(|moment| Moment {
            hertz: number(moment, "hertz").unwrap_or(0.0),
            // JSON has no infinity: the analyser's silence.
            decibel: number(moment, "decibel").unwrap_or(f64::NEG_INFINITY),
            purity: number(moment, "purity").unwrap_or(0.0),
        });
        Ok(read.collect())
    }

    /// Waits until it hears this tone and nothing else.
    ///
    /// # Errors
    /// When it hears something else.
    pub fn finds_tone(&mut self, hertz: f64) -> Result<()> {
        let mut heard = Vec::new();
        for _ in 0..20 {
            let moments = self.hear(400)?;
            if moments.iter().all(|moment| moment.is_tone(hertz)) {
                return Ok(());
            }
            heard = moments;
        }
        let reports = self.give("stats", json!({}))?;
        anyhow::bail!("{hertz} Hz is not heard, but {heard:?}; {reports}")
    }

    /// Makes sure that it hears this tone for so many milliseconds, in all moments but this part of them.
    ///
    /// # Errors
    /// When it hears something else.
    pub fn ensure_tone(&mut self, hertz: f64, milliseconds: u32, spoilt: f64) -> Result<()> {
        let moments = self.hear(milliseconds)?;
        let wrong = moments.iter().filter(|moment| !moment.is_tone(hertz));
        let wrong: Vec<_> = wrong.collect();
        ensure!(
            wrong.len() as f64 <= moments.len() as f64 * spoilt,
            "in {} of {} moments {hertz} Hz is not heard: {wrong:?}",
            wrong.len(),
            moments.len()
        );
        Ok(())
    }

    /// Waits until it hears nothing.
    ///
    /// # Errors
    /// When there is a sound all the time.
    pub fn finds_silence(&mut self) -> Result<()> {
        let mut heard = Vec::new();
        for _ in 0..20 {
            let moments = self.hear(400)?;
            if moments.iter().all(|moment| moment.decibel < -70.0) {
                return Ok(());
            }
            heard = moments;
        }
        anyhow::bail!("it is never silent: {heard:?}")
    }

    /// Waits until it has decoded so many pictures since the call began.
    ///
    /// # Errors
    /// When they do not come.
    pub fn sees(&mut self, frames: f64) -> Result<()> {
        until(&format!("{frames} pictures"), PATIENCE, || {
            let seen = self.inbound("video")?.frames;
            Ok((seen >= frames).then_some(()))
        })
    }

    /// Waits until the pictures that it sees have this hue, in degrees.
    ///
    /// # Errors
    /// When they keep another one.
    pub fn sees_hue(&mut self, hue: f64) -> Result<()> {
        let mut seen = Value::Null;
        let found = until(&format!("a hue of {hue}°"), PATIENCE, || {
            seen = self.give("hue", json!({}))?["hue"].clone();
            let off = seen.as_f64().map(|seen| (seen - hue).rem_euclid(360.0));
            Ok(off.filter(|off| off.min(360.0 - off) < 25.0).map(drop))
        });
        found.with_context(|| format!("the last hue was {seen}"))
    }

    /// How many ways to the other side its call has.
    ///
    /// # Errors
    /// When it has no call.
    pub fn transports(&mut self) -> Result<usize> {
        let answer = self.give("stats", json!({}))?;
        let reports = answer["reports"].as_array().context("no reports")?;
        let transports = reports
            .iter()
            .filter(|report| report["type"] == "transport");
        Ok(transports.count())
    }

    /// What it calls itself in the packets of its sound.
    ///
    /// # Errors
    /// When it sends none.
    pub fn ssrc(&mut self) -> Result<u64> {
        let answer = self.give("stats", json!({}))?;
        let reports = answer["reports"].as_array().context("no reports")?;
        let mut reports = reports.iter();
        let report = reports.find(|r| r["type"] == "outbound-rtp" && r["kind"] == "audio");
        report
            .and_then(|report| report["ssrc"].as_u64())
            .context("it sends no sound")
    }

    /// Waits until its page shows these, named by their SSRCs, as those who speak or have within ten seconds,
    /// each with a sound that can be heard.
    ///
    /// # Errors
    /// When it shows others.
    pub fn shows_speakers(&mut self, ssrcs: &[u64]) -> Result<()> {
        let mut wanted = ssrcs.to_vec();
        wanted.sort_unstable();
        let mut seen = Value::Null;
        let found = until("those who speak", PATIENCE, || {
            seen = self.give("speakers", json!({}))?["sources"].clone();
            let sources = seen.as_array().context("no sources")?;
            let loud = |source: &Value| source["audioLevel"].as_f64().is_some_and(|l| l > 0.05);
            let mut shown: Vec<_> = sources
                .iter()
                .filter_map(|s| s["source"].as_u64())
                .collect();
            shown.sort_unstable();
            Ok((shown == wanted && sources.iter().all(loud)).then_some(()))
        });
        found.with_context(|| format!("{seen} instead of {ssrcs:?}"))
    }

    /// What it receives of this kind, `audio` or `video`.
    ///
    /// # Errors
    /// When it receives none.
    pub fn inbound(&mut self, kind: &str) -> Result<Inbound> {
        let answer = self.give("stats", json!({}))?;
        let reports = answer["reports"].as_array().context("no reports")?;
        let mut inbound = reports.iter();
        let report = inbound
            .find(|report| report["type"] == "inbound-rtp" && report["kind"] == kind)
            .with_context(|| format!("no {kind} comes in: {reports:?}"))?;
        let number = |name: &str| report[name].as_f64().unwrap_or(0.0);
        Ok(Inbound {
            packets: number("packetsReceived"),
            lost: number("packetsLost"),
            delay: number("jitterBufferDelay") / number("jitterBufferEmittedCount").max(1.0),
            frames: number("framesDecoded"),
        })
    }
}

impl Moment {
    /// Whether this tone is heard, and hardly anything else.
    #[must_use]
    pub fn is_tone(&self, hertz: f64) -> bool {
        (self.hertz - hertz).abs() < 12.0 && self.decibel > -40.0 && self.purity > 0.8
    }
}

/// The longest that pictures may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
