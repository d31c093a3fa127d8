//! `dialtone dial`: calls from the command line.

use std::fs;
use std::io::Write;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use interop::baresip::Account;
use interop::process::Process;
use interop::pulse::Pulse;
use interop::server::binary;
use interop::sound::{Recording, write_tone};
use interop::{Baresip, Lab, Server, peer};
use rustix::process::Signal;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// A call as 1001.
fn dial(server: &Server, args: &[&str]) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command
        .arg("dial")
        .args(args)
        .args(["--as", "1001", "--server", &server.sip().to_string()])
        .env("DIALTONE_PASSWORD", server.password("1001")?)
        .env_remove("PULSE_SERVER");
    Ok(command)
}

/// The whole of a call that ends by itself.
fn call(server: &Server, args: &[&str]) -> Result<Output> {
    dial(server, args)?.output().context("start dialtone")
}

/// Waits for its end, which is to be a success, and returns what it said.
fn success(mut dial: Process) -> Result<String> {
    let status = dial.end(PATIENCE)?;
    let said = dial.output()?;
    ensure!(status.success(), "dial ended with {status}:\n{said}");
    Ok(said)
}

/// A phone of 1002 that says 1000 Hz.
fn phone(lab: &mut Lab, server: &Server, answers: bool) -> Result<Baresip> {
    let password = server.password("1002")?;
    let mut account = Account::new("1002", &password, server.sip());
    (account.hertz, account.answers) = (1000.0, answers);
    Baresip::register(lab, &account)
}

fn is_tone(heard: &Recording, hertz: f64, seconds: f64) -> Result<()> {
    let (share, sounding) = (heard.tone(hertz), heard.sounding());
    ensure!(
        share > 0.9 && sounding >= seconds,
        "{sounding:.1} s of {seconds} s, of which {share:.2} is {hertz} Hz"
    );
    Ok(())
}

#[test]
fn the_echo_of_the_microphone_comes_from_the_speaker() -> Result<()> {
    let peers = [peer::PULSE, peer::PULSE_CLIENTS];
    Lab::run("dial-audio", &peers, |lab| {
        let server = lab.server()?;
        let pulse = Pulse::start(lab, 440.0)?;
        let mut command = dial(&server, &["600", "--audio"])?;
        pulse.invite(&mut command);
        let dial = Process::start(&mut command, &lab.path("dial.log"))?;
        let heard = pulse.play(3.0);
        let heard = heard.with_context(|| dial.output().unwrap_or_default())?;
        is_tone(&heard, 440.0, 3.0)?;
        dial.signal(Signal::INT)?;
        let said = success(dial)?;
        ensure!(said.contains("MOS") && said.contains("you asked"), "{said}");
        server.settles()
    })
}

#[test]
fn without_its_sound_server_a_call_ends_and_says_why() -> Result<()> {
    let peers = [peer::PULSE, peer::PULSE_CLIENTS];
    Lab::run("dial-audio-crash", &peers, |lab| {
        let server = lab.server()?;
        let pulse = Pulse::start(lab, 440.0)?;
        let mut command = dial(&server, &["600", "--audio"])?;
        let mut again = dial(&server, &["600", "--audio"])?;
        pulse.invite(&mut command);
        pulse.invite(&mut again);
        let mut dial = Process::start(&mut command, &lab.path("dial.log"))?;
        pulse.play(0.5)?;
        pulse.crash()?;
        let status = dial.end(PATIENCE)?;
        let said = dial.output()?;
        ensure!(status.code() == Some(1), "{status}: {said}");
        ensure!(said.contains("the sound server has ended"), "{said}");
        // Now nobody is there, and so nobody is called.
        let output = again.output()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(1), "{said}");
        ensure!(said.contains("nobody answers at"), "{said}");
        let output = call(&server, &["600", "--audio"])?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(said.contains("PULSE_SERVER=unix:/"), "{said}");
        server.settles()
    })
}

#[test]
fn a_phone_hears_a_file_and_is_recorded() -> Result<()> {
    Lab::run("dial-file", &[peer::BARESIP], |lab| {
        let server = lab.server()?;
        let bob = phone(lab, &server, true)?;
        let (says, hears) = (lab.path("says.wav"), lab.path("hears.wav"));
        write_tone(&says, 440.0, 8)?;
        let files = [&says, &hears].map(|file| file.display().to_string());
        for options in [&["--json"][..], &["--json", "--srtp", "--codec", "pcma"]] {
            let args = ["1002", "--play", &files[0], "--record", &files[1]];
            let output = call(&server, &[&args, options].concat())?;
            let errors = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{errors}");
            let whole: Value = serde_json::from_slice(&output.stdout)?;
            ensure!(whole["ended_by"] == "here", "{whole}");
            ensure!(whole["encrypted"] == options.contains(&"--srtp"), "{whole}");
            ensure!(whole["packets"].as_u64() > Some(200), "{whole}");
            ensure!(whole["mos"].as_f64() > Some(1.0), "{whole}");
            bob.hear(5.0)?;
            is_tone(&bob.heard()?, 440.0, 5.0)?;
            is_tone(&Recording::read(&hears)?, 1000.0, 4.0)?;
            fs::remove_file(&hears)?;
        }
        server.settles()
    })
}

/// RFC 4733 §2.5: a key is heard as such; RFC 3261 §15.1.2: the other side hangs up.
#[test]
fn rfc4733_2_5_keys_reach_a_phone_that_then_hangs_up() -> Result<()> {
    Lab::run("dial-keys", &[peer::BARESIP], |lab| {
        let server = lab.server()?;
        let mut bob = phone(lab, &server, true)?;
        for codec in ["pcmu", "opus"] {
            let mut command = dial(&server, &["1002", "--keys", "5", "--codec", codec])?;
            let dial = Process::start(&mut command, &lab.path(&format!("{codec}.log")))?;
            let key = bob.event("CALL_DTMF_START")?;
            ensure!(key["param"] == "5", "another key came: {key}");
            bob.hang_up()?;
            let said = success(dial)?;
            ensure!(said.contains("by the other side"), "{said}");
        }
        server.settles()
    })
}

/// On a terminal each key that is typed is pressed at once, and Ctrl-C is no key.
#[test]
fn rfc4733_2_5_what_is_typed_reaches_a_phone() -> Result<()> {
    Lab::run("dial-typed", &[peer::BARESIP], |lab| {
        let server = lab.server()?;
        let mut bob = phone(lab, &server, true)?;
        let dial = dial(&server, &["1002"])?;
        let words = [dial.get_program()].into_iter().chain(dial.get_args());
        let line: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        // It makes a terminal. A shell that waits beside the program would end by Ctrl-C itself.
        let line = format!("exec {}", line.join(" "));
        let mut command = Command::new("script");
        command
            .args(["-qec", &line, "/dev/null"])
            .env("DIALTONE_PASSWORD", server.password("1001")?)
            .env_remove("NO_COLOR");
        let log = lab.path("typed.log");
        let (process, mut typed) = Process::start_with_stdin(&mut command, &log)?;
        interop::wait::until("the answer", PATIENCE, || {
            Ok(process.output()?.contains("answered").then_some(()))
        })?;
        for key in ["7", "#"] {
            typed.write_all(key.as_bytes())?;
            let heard = bob.event("CALL_DTMF_START")?;
            ensure!(heard["param"] == key, "another key came: {heard}");
        }
        typed.write_all(b"\x03")?;
        bob.event("CALL_CLOSED")?;
        let said = success(process)?;
        ensure!(said.contains("\x1b[32manswered"), "{said}");
        server.settles()
    })
}

#[test]
fn a_call_that_comes_to_nothing_is_an_error_with_a_remedy() -> Result<()> {
    Lab::run("dial-refused", &[], |lab| {
        let server = lab.server()?;
        let plan = server.data().join("etc/dialplan.toml");
        let busy = "[[extension]]\nnumber = \"619\"\nsteps = [{ hangup = 486 }]\n\n";
        fs::write(&plan, busy.to_owned() + &fs::read_to_string(&plan)?)?;
        ensure!(server.ctl(&["reload"])?.status.success());
        for (args, words) in [
            (&["999"][..], ["404", "dialplan.toml"]),
            (&["619"], ["486", "busy"]),
            (&["1002"], ["480", "dialtone phones"]),
            (&["600", "--password", "wrong"], ["403", "--password"]),
            (&["600", "--play", "/nowhere.wav"], ["/nowhere.wav", "read"]),
            (&["6 0"], ["6 0", "use"]),
        ] {
            let output = call(&server, args)?;
            let said = String::from_utf8(output.stderr)?;
            ensure!(output.status.code() == Some(1), "{args:?}: {said}");
            let all = words.iter().all(|word| said.contains(word));
            ensure!(all && said.starts_with("error: "), "{args:?}: {said}");
        }
        let output = call(&server, &["619", "--json"])?;
        let refusal: Value = serde_json::from_slice(&output.stdout)?;
        ensure!(refusal.to_string().contains("486"), "{refusal}");
        server.settles()
    })
}

/// RFC 3261 §9.1: a call that nobody has answered is taken back; §15.1.1: an answered one is ended.
#[test]
fn rfc3261_9_1_ctrl_c_hangs_up() -> Result<()> {
    Lab::run("dial-ctrl-c", &[peer::BARESIP], |lab| {
        let server = lab.server()?;
        let mut bob = phone(lab, &server, false)?;
        let mut command = dial(&server, &["1002"])?;
        let mut ringing = Process::start(&mut command, &lab.path("ringing.log"))?;
        bob.event("CALL_INCOMING")?;
        ringing.signal(Signal::INT)?;
        bob.event("CALL_CLOSED")?;
        let status = ringing.end(PATIENCE)?;
        let said = ringing.output()?;
        ensure!(status.code() == Some(1), "{status}: {said}");
        ensure!(said.contains("1002 has not answered: you asked"), "{said}");

        let talking = Process::start(&mut command, &lab.path("talking.log"))?;
        bob.event("CALL_INCOMING")?;
        bob.accept()?;
        interop::wait::until("the answer", PATIENCE, || {
            Ok(talking.output()?.contains("answered").then_some(()))
        })?;
        talking.signal(Signal::TERM)?;
        bob.event("CALL_CLOSED")?;
        success(talking)?;
        server.settles()
    })
}
