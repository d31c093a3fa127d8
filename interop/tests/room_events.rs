//! What happens in rooms, followed by a program that is not ours.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use interop::baresip::Account;
use interop::process::Process;
use interop::wait::until;
use interop::{Baresip, Lab, Server, peer};
use rustix::process::Signal;
use serde_json::Value;

const DIALPLAN: &str = r#"
[[extension]]
number = "80X"
steps = [{ conference = "{number}", announce = false }]
"#;

/// A program that follows what happens in rooms, and what it has read.
struct Follower(Process);

impl Follower {
    fn start(lab: &Lab, name: &str, resource: &str) -> Result<Self> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--no-buffer", "--unix-socket"]);
        curl.arg(socket(lab)).arg(url(resource));
        let follower = Self(Process::start(&mut curl, &lab.path(name))?);
        until("the beginning", PATIENCE, || {
            let lines = follower.lines()?;
            Ok(lines
                .first()
                .filter(|line| line["kind"] == "began")
                .map(drop))
        })?;
        Ok(follower)
    }

    /// The lines that are complete.
    fn lines(&self) -> Result<Vec<Value>> {
        let text = self.0.output()?;
        let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
        let lines = complete.lines().map(serde_json::from_str);
        Ok(lines.collect::<Result<_, _>>()?)
    }

    /// Waits for something that happens.
    fn told(&self, what: &str, name: Option<&str>) -> Result<Value> {
        until(what, PATIENCE, || {
            let lines = self.lines()?;
            let found = { lines.into_iter() }
                .find(|line| line["what"] == what && line["name"].as_str() == name);
            Ok(found)
        })
    }

    /// How many events it has read, and how many it was told to have missed.
    fn counted(&self) -> Result<(u64, u64)> {
        let lines = self.lines()?;
        let events = lines.iter().filter(|line| line["kind"] == "event").count();
        let missed = lines.iter().filter_map(|line| line["count"].as_u64()).sum();
        Ok((events as u64, missed))
    }
}

#[test]
fn a_program_is_told_who_comes_speaks_and_goes() -> Result<()> {
    Lab::run("room-events", &[peer::BARESIP, peer::CURL], |lab| {
        let server = server(lab)?;
        let follower = Follower::start(lab, "followed", "/rooms/events?room=800")?;
        let elsewhere = Follower::start(lab, "elsewhere", "/rooms/events?room=801")?;
        let mut phones = Vec::new();
        for user in ["1001", "1002"] {
            let mut phone = phone(lab, &server, user)?;
            phone.dial("800")?;
            phone.event("CALL_ESTABLISHED")?;
            phones.push(phone);
        }
        let call = follower.told("joined", Some("1002"))?["call"].clone();
        let call = call.as_str().context("no call")?;
        follower.told("talks", Some("1001"))?;
        follower
            .told("active-speaker", Some("1001"))
            .or_else(|_| follower.told("active-speaker", Some("1002")))?;
        for (command, what, name) in [
            (&["room", "800", "mute", call][..], "muted", Some("1002")),
            (&["room", "800", "lock"], "locked", None),
            (&["room", "800", "record", "start"], "recording-begun", None),
            (&["room", "800", "kick", call], "left", Some("1002")),
        ] {
            let output = server.ctl(command)?;
            ensure!(output.status.success(), "{command:?}: {output:?}");
            follower.told(what, name)?;
        }
        let kicked = follower.told("kicked", Some("1002"))?;
        ensure!(
            kicked["call"] == call && kicked["room"] == "800",
            "{kicked}"
        );
        let file = follower.told("recording-begun", None)?;
        ensure!(file["file"].is_string(), "{file}");
        phones[1].event("CALL_CLOSED")?;
        phones[0].hang_up()?;
        follower.told("left", Some("1001"))?;
        ensure!(elsewhere.counted()? == (0, 0), "it is told of other rooms");
        server.settles()
    })
}

/// One reads and one does not, while more happens than is kept for anybody: nobody waits for it, and in the end it
/// knows how much it has missed.
#[test]
fn a_program_that_does_not_read_is_told_how_much_it_missed() -> Result<()> {
    Lab::run("room-slow", &[peer::BARESIP, peer::CURL], |lab| {
        let server = server(lab)?;
        let mut phones = ["1001", "1002"].map(|user| phone(lab, &server, user));
        for phone in &mut phones {
            let phone = phone.as_mut().map_err(|error| anyhow!("{error:#}"))?;
            phone.dial("800")?;
            phone.event("CALL_ESTABLISHED")?;
        }
        let [alice, bob] = phones;
        let (mut alice, mut bob) = (alice?, bob?);
        let reader = Follower::start(lab, "reader", "/rooms/events")?;
        let sleeper = Follower::start(lab, "sleeper", "/rooms/events")?;
        sleeper.0.signal(Signal::STOP)?;
        lock_and_unlock(lab, "800", 10_000)?;
        // Neither calls nor commands nor the other one wait.
        alice.hear(alice.heard()?.sounding() + 2.0)?;
        let output = server.ctl(&["room", "800", "lecture"])?;
        ensure!(output.status.success(), "{output:?}");
        reader.told("lecture", None)?;
        sleeper.0.signal(Signal::CONT)?;
        until("the count of what is missing", LONG, || {
            let ((read, unread), (told, missed)) = (reader.counted()?, sleeper.counted()?);
            let whole = read + unread == told + missed && missed > 0;
            Ok(whole.then_some(()))
        })?;
        alice.hang_up()?;
        bob.hang_up()?;
        server.settles()
    })
}

/// Locks and unlocks a room so many times, over one connection.
fn lock_and_unlock(lab: &Lab, room: &str, times: usize) -> Result<()> {
    let url = |what: &str| format!("url = {}\n", url(&format!("/rooms/{room}/{what}")));
    let both = url("lock") + &url("unlock");
    let list = lab.path("resources");
    std::fs::write(&list, both.repeat(times))?;
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--request", "POST", "--unix-socket"]);
    curl.arg(socket(lab)).arg("--config").arg(&list);
    let status = curl.stdout(Stdio::null()).status()?;
    ensure!(status.success(), "curl ends with {status}");
    Ok(())
}

fn phone(lab: &mut Lab, server: &Server, user: &str) -> Result<Baresip> {
    let password = server.password(user)?;
    let account = Account::new(user, &password, server.sip());
    Baresip::register(lab, &account)
}

fn server(lab: &Lab) -> Result<Server> {
    let users = ["1001", "1002"];
    lab.write_users(&users.map(|user| (user.into(), format!("pw-{user}-secret"))))?;
    std::fs::write(lab.path("srv/etc/dialplan.toml"), DIALPLAN)?;
    lab.server()
}

fn socket(lab: &Lab) -> PathBuf {
    lab.path("srv/run/dialtone.sock")
}

fn url(resource: &str) -> String {
    format!("http://dialtone{resource}")
}

const PATIENCE: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(60);
