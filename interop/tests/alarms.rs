//! What is wrong with the sound of calls, as `dialtone calls`, the log and the call records tell it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use codec::Codec;
use interop::wait::until;
use interop::{Lab, Server};
use media::dtls::Identity;
use serde_json::Value;
use ue::Softphone;
use ue::phone::{CallNumber, Command, Event};

/// What each caller does, and the words that its call's alarm has.
const FAULTS: [(Fault, &str); 4] = [
    (Fault::Mute, "no RTP from 127.0.0.1 since the answer"),
    (
        Fault::Silent,
        "has sent nothing but silence since the answer",
    ),
    (
        Fault::OtherCodec,
        "sends payload type 18 (G729), which was not agreed",
    ),
    (Fault::Stops, "has sent no RTP for 15 seconds"),
];

/// What a caller does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// Sends nothing at all.
    Mute,
    /// Sends digital silence.
    Silent,
    /// Sends something that was not agreed.
    OtherCodec,
    /// Speaks for two seconds, and then no more.
    Stops,
}

#[test]
fn what_is_wrong_with_the_sound_is_told_live_and_recorded() -> Result<()> {
    Lab::run_quietly("alarms", |lab| {
        let names = (1..=2).flat_map(|role| (0..FAULTS.len()).map(move |n| format!("{role}00{n}")));
        let users: Vec<_> = names
            .map(|name| (name.clone(), format!("pw-{name}-secret")))
            .collect();
        lab.write_users(&users)?;
        let server = lab.server()?;
        let identity = Arc::new(Identity::generate()?);
        let mut lines = Vec::new();
        for n in 0..FAULTS.len() {
            lines.push(Line::dial(&server, &identity, n)?);
        }
        let begun = Instant::now();
        let mut packets = 0;
        let mut due = begun;
        let told = until("all alarms", PATIENCE, || {
            while due <= Instant::now() {
                for line in &mut lines {
                    line.say(packets)?;
                }
                packets += 1;
                due += Duration::from_millis(20);
            }
            for line in &mut lines {
                line.step()?;
            }
            // Not so often: it is a process each time.
            if packets % 50 != 0 {
                return Ok(None);
            }
            let told = told(&server)?;
            Ok((told.len() == FAULTS.len()).then_some(told))
        })?;
        for (caller, words) in (0..).zip(FAULTS.map(|(_, words)| words)) {
            let caller = format!("100{caller}");
            let alarm = told.iter().find(|(who, _)| *who == caller);
            let alarm = &alarm
                .with_context(|| format!("nothing of {caller}: {told:?}"))?
                .1;
            ensure!(alarm.contains(words), "{caller}: {alarm}");
            server.wait_for_log(&[words])?;
        }
        for line in &mut lines {
            line.hang_up()?;
        }
        for (_, words) in FAULTS {
            until("the call records", PATIENCE, || {
                Ok(records(&server)?.contains(words).then_some(()))
            })?;
        }
        server.settles()
    })
}

/// A caller with a fault, and a callee who talks.
struct Line {
    fault: Fault,
    call: CallNumber,
    phones: [Softphone; 2],
}

impl Line {
    fn dial(server: &Server, identity: &Arc<Identity>, n: usize) -> Result<Self> {
        let phone = |role: usize| {
            let name = format!("{}00{n}", role + 1);
            let password = format!("pw-{name}-secret");
            let voice = ([(2 * n + role) as u8; 32], 700.0);
            Softphone::new(
                (&*name, &*password),
                server.sip(),
                identity,
                voice,
                |settings| {
                    settings.codecs = vec![Codec::Pcmu];
                },
            )
        };
        let mut phones = [phone(0)?, phone(1)?];
        let now = Instant::now();
        phones[1].command(now, Command::Register)?;
        let mut call = None;
        let deadline = now + PATIENCE;
        let mut up = 0;
        while up < 2 {
            for role in [0, 1] {
                phones[role].step(Instant::now())?;
                let Some(event) = phones[role].event() else {
                    continue;
                };
                match event {
                    Event::Registered { .. } => {
                        let uri = format!("sip:200{n}@{}", server.sip());
                        phones[0].command(Instant::now(), Command::Dial(uri))?;
                    }
                    Event::Dialing(number) => call = Some(number),
                    Event::Incoming { call, .. } => {
                        phones[1].command(Instant::now(), Command::Answer(call))?;
                    }
                    Event::Up { .. } => up += 1,
                    Event::Ended(_, end) => bail!("{n}: {end:?}"),
                    _ => {}
                }
            }
            ensure!(Instant::now() < deadline, "a call is not up in time");
            std::thread::sleep(Duration::from_millis(1));
        }
        let fault = FAULTS[n].0;
        if fault == Fault::OtherCodec {
            phones[0].voice().context("no voice")?.say_as(18);
        }
        let call = call.context("no call")?;
        Ok(Self {
            fault,
            call,
            phones,
        })
    }

    /// The packet with this number of both.
    fn say(&mut self, packet: u64) -> Result<()> {
        let [caller, callee] = &mut self.phones;
        callee.voice().context("no voice")?.say(false)?;
        let says = match self.fault {
            Fault::Mute => false,
            Fault::Silent | Fault::OtherCodec => true,
            Fault::Stops => packet < 100,
        };
        if says {
            let silent = self.fault == Fault::Silent;
            caller.voice().context("no voice")?.say(silent)?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<()> {
        for phone in &mut self.phones {
            phone.step(Instant::now())?;
            while let Some(event) = phone.event() {
                ensure!(
                    !matches!(event, Event::Ended(..)),
                    "{:?}: {event:?}",
                    self.fault
                );
            }
        }
        Ok(())
    }

    fn hang_up(&mut self) -> Result<()> {
        self.phones[0].command(Instant::now(), Command::HangUp(self.call))?;
        let mut left = 2;
        until("the end", PATIENCE, || {
            for phone in &mut self.phones {
                phone.step(Instant::now())?;
                while let Some(event) = phone.event() {
                    left -= i32::from(matches!(event, Event::Ended(..)));
                }
            }
            Ok((left == 0).then_some(()))
        })
    }
}

/// Caller and alarm of each call that has one, by the running server.
fn told(server: &Server) -> Result<Vec<(String, String)>> {
    let output = server.ctl(&["calls", "--json"])?;
    let calls: Vec<Value> = serde_json::from_slice(&output.stdout).context("parse the calls")?;
    let alarm = |call: &Value| {
        let caller = call["caller"].as_str()?.to_owned();
        Some((caller, call["alarms"][0].as_str()?.to_owned()))
    };
    Ok(calls.iter().filter_map(alarm).collect())
}

/// All call records.
fn records(server: &Server) -> Result<String> {
    let mut text = String::new();
    for file in std::fs::read_dir(server.data().join("cdr"))? {
        text += &std::fs::read_to_string(file?.path())?;
    }
    Ok(text)
}

const PATIENCE: Duration = Duration::from_secs(90);
