//! `dialtone dial`: calls from the command line.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use codec::tone::Tone;
use codec::{Codec, Encoder, Parameters};
use interop::baresip::Account;
use interop::capture::Capture;
use interop::kamailio::Provider;
use interop::process::Process;
use interop::pulse::Pulse;
use interop::server::binary;
use interop::sound::{Recording, write_tone};
use interop::tls::Authority;
use interop::{Baresip, Kamailio, Lab, Server, peer, rtp};
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

/// RFC 3261 §13.3.1.1: why a call is refused is said before it is.
#[test]
fn rfc3261_13_3_1_1_an_announcement_before_a_refusal_is_heard() -> Result<()> {
    Lab::run("dial-refused-aloud", &[], |lab| {
        let server = lab.server()?;
        fs::create_dir_all(server.data().join("sounds"))?;
        write_tone(&server.data().join("sounds/refused.wav"), 440.0, 3)?;
        let plan = server.data().join("etc/dialplan.toml");
        let early = "[[extension]]\nnumber = \"618\"\nsteps = [\
                     { play = \"refused.wav\", answer = false }, { hangup = 404 }]\n\n";
        fs::write(&plan, early.to_owned() + &fs::read_to_string(&plan)?)?;
        ensure!(server.ctl(&["reload"])?.status.success());
        let hears = lab.path("hears.wav");
        let args = ["618", "--record", &hears.display().to_string()];
        for options in [&[][..], &["--srtp", "--codec", "g722"]] {
            let output = call(&server, &[&args, options].concat())?;
            let said = String::from_utf8(output.stdout)?;
            let refusal = String::from_utf8(output.stderr)?;
            ensure!(output.status.code() == Some(1), "{said}{refusal}");
            ensure!(refusal.contains("404 Not Found"), "{said}{refusal}");
            ensure!(said.contains("heard before the answer"), "{said}");
            ensure!(!said.contains("answered"), "{said}");
            is_tone(&Recording::read(&hears)?, 440.0, 2.5)?;
            fs::remove_file(&hears)?;
        }
        // Whoever waits no longer has heard something as well.
        let output = call(&server, &[&args[..], &["--wait", "2"]].concat())?;
        let refusal = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(1), "{refusal}");
        ensure!(refusal.contains("nobody came to the phone"), "{refusal}");
        is_tone(&Recording::read(&hears)?, 440.0, 1.0)?;
        server.settles()
    })
}

/// RFC 3261 §13.2.2.4: what is heard before the answer need not come from whoever answers. One recording has both, and
/// the caller is silent until then.
#[test]
fn rfc3261_13_2_2_4_ringback_of_one_and_the_answer_of_another_are_heard() -> Result<()> {
    if !peer::ensure_all(&[peer::SIPP, peer::TSHARK])? {
        return Ok(());
    }
    Lab::run_quietly("dial-early", |lab| {
        let block = lab.ports().block();
        let capture = Capture::start(lab.root(), block)?;
        encoded(&lab.path("early.pcmu"), Codec::Pcmu, 440.0)?;
        encoded(&lab.path("talk.g722"), Codec::G722, 1000.0)?;
        let (says, hears) = (lab.path("says.wav"), lab.path("hears.wav"));
        write_tone(&says, 700.0, 3)?;
        let far = lab.sipp("early_media.xml")?;
        let at = format!("127.0.0.1:{}", far.port());
        let far = far.start()?;
        let mut command = Command::new(binary()?);
        command
            .args(["dial", "600", "--as", "1001", "--password", "secret"])
            .args(["--server", &at, "--json", "--seconds", "3", "--record"])
            .arg(&hears)
            .arg("--play")
            .arg(&says);
        let output = command.output()?;
        far.finish()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{errors}");
        let whole: Value = serde_json::from_slice(&output.stdout)?;
        let after = |what: &str| whole[what].as_u64().with_context(|| what.to_owned());
        ensure!(after("early_after_ms")? < after("answered_after_ms")?);
        ensure!(whole["codec"] == "G722", "{whole}");
        let heard = Recording::read(&hears)?;
        let (early, talk) = (heard.seconds_of(440.0), heard.seconds_of(1000.0));
        ensure!(early > 2.0 && talk > 2.0, "{early:.1} s, then {talk:.1} s");
        let mut packets = capture.stop(&[])?.rtp()?;
        packets.retain(|packet| (block.0..block.1).contains(&packet.to));
        let before = rtp::pcmu(&packets);
        let (said, silent) = (before.sounding(), before.seconds() - before.sounding());
        ensure!(said == 0.0 && silent > 2.0, "{said:.1} s before the answer");
        Ok(())
    })
}

/// Some seconds of a tone, as a codec says it.
fn encoded(path: &Path, codec: Codec, hertz: f32) -> Result<()> {
    let mut encoder = Encoder::new(codec, &Parameters::default())?;
    let rate = encoder.sample_rate();
    let mut tone = Tone::new(hertz, rate);
    let mut pcm = vec![0; rate as usize / 50];
    let mut octets = Vec::new();
    for _ in 0..500 {
        tone.fill(&mut pcm);
        let mut packet = [0; 512];
        let len = encoder.encode(&pcm, &mut packet)?;
        octets.extend_from_slice(&packet[..len]);
    }
    fs::write(path, octets).with_context(|| format!("write {}", path.display()))
}

/// RFC 3261 §18.2.1: over a connection, a call of each kind comes and ends like one by UDP, and the callee's BYE comes
/// back the same way.
#[test]
fn rfc3261_18_calls_go_over_tcp_and_tls() -> Result<()> {
    Lab::run("dial-tls", &[peer::BARESIP], |lab| {
        let authority = lab.authority()?;
        let server = lab.server_with_tls(&authority)?;
        let mut bob = phone(lab, &server, true)?;
        let tls = lab.site().tls.to_string();
        let localhost = format!("localhost:{}", lab.site().tls.port());
        let root = authority.root().display().to_string();
        for ways in [
            &["--transport", "tcp"][..],
            &["--transport", "tls", "--server", &tls, "--ca", &root],
            &["--transport", "tls", "--server", &localhost, "--ca", &root],
        ] {
            let mut command = dial_by(&server, &["1002", "--codec", "pcma"], ways)?;
            let log = lab.path("dial.log");
            let dial = Process::start(&mut command, &log)?;
            bob.event("CALL_ESTABLISHED")?;
            bob.hang_up()?;
            let said = success(dial).with_context(|| format!("{ways:?}"))?;
            ensure!(said.contains("by the other side"), "{said}");
        }
        // Nobody whom the caller trusts vouches for the server, and so nobody is called.
        let stranger = Authority::new(lab.folder("stranger")?)?;
        let strange = stranger.root().display().to_string();
        for ways in [&["--ca", &strange][..], &[]] {
            let ways = [&["--transport", "tls", "--server", &tls], ways].concat();
            let output = dial_by(&server, &["1002"], &ways)?.output()?;
            let said = String::from_utf8(output.stderr)?;
            ensure!(output.status.code() == Some(1), "{said}");
            ensure!(said.contains("invalid peer certificate"), "{said}");
        }
        server.settles()
    })
}

/// A server that has made its certificate itself is known by it to whoever reads its folder.
#[test]
fn the_folder_says_what_certificate_the_server_has() -> Result<()> {
    Lab::run_quietly("dial-own-tls", |lab| {
        let (sip, tls) = (lab.site().sip, lab.site().tls);
        let listen = format!("[\"udp:{sip}\", \"tls:{tls}\"]");
        let server = Server::start(lab, &[("sip.listen", &listen)])?;
        let call = |data: &Path| {
            let mut command = Command::new(binary()?);
            command
                .args(["dial", "601", "--transport", "tls"])
                .args(["--seconds", "1", "--data"])
                .arg(data)
                .env("DIALTONE_SIP__LISTEN", &listen);
            command.output().context("start dialtone")
        };
        let output = call(server.data())?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{output:?}");
        ensure!(said.contains("by TLS") && said.contains("MOS"), "{said}");
        // Another server's certificate is none.
        let made = server.data().join("state/tls/certificate.pem");
        let other = lab.authority()?.vouch(&["127.0.0.1"])?;
        fs::copy(&other.certificate, &made)?;
        let output = call(server.data())?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(1), "{said}");
        ensure!(said.contains("certificate"), "{said}");
        Ok(())
    })
}

/// A call as 1001 by another way than UDP.
fn dial_by(server: &Server, args: &[&str], ways: &[&str]) -> Result<Command> {
    let elsewhere = ways.contains(&"--server");
    let by_udp = dial(server, args)?;
    let mut command = Command::new(by_udp.get_program());
    let args = by_udp.get_args();
    let args = args.take_while(|arg| !elsewhere || *arg != "--server");
    command.args(args).args(ways);
    command.env("DIALTONE_PASSWORD", server.password("1001")?);
    Ok(command)
}

/// RFC 3261 §18: the same with somebody else's server.
#[test]
fn rfc3261_18_calls_go_over_tcp_to_another_server() -> Result<()> {
    if !peer::ensure_all(&[peer::SIPP])? {
        return Ok(());
    }
    Lab::run_quietly("dial-tcp", |lab| {
        encoded(&lab.path("early.pcmu"), Codec::Pcmu, 440.0)?;
        encoded(&lab.path("talk.g722"), Codec::G722, 1000.0)?;
        let far = lab.sipp("early_media.xml")?.tcp();
        let at = format!("127.0.0.1:{}", far.port());
        let far = far.start()?;
        let mut command = Command::new(binary()?);
        command
            .args(["dial", "600", "--as", "1001", "--password", "secret"])
            .args(["--server", &at, "--transport", "tcp", "--seconds", "1"]);
        let output = command.output()?;
        far.finish()?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{said}");
        ensure!(
            said.contains("by TCP") && said.contains("answered"),
            "{said}"
        );
        Ok(())
    })
}

/// RFC 3261 §26.3.1: with somebody else's server over TLS, whom the caller has an authority for, and not without.
#[test]
fn rfc3261_26_3_1_calls_go_over_tls_to_another_server() -> Result<()> {
    if !peer::ensure_all(&[peer::BARESIP, peer::KAMAILIO])? {
        return Ok(());
    }
    Lab::run_quietly("dial-tls-kamailio", |lab| {
        let authority = lab.authority()?;
        let provider = Provider {
            customer: ("1001", "secret"),
            certificate: Some(authority.vouch(&["127.0.0.1"])?),
            ..Provider::default()
        };
        let provider = Kamailio::start(lab, &provider)?;
        let mut bob = Account::new("1002", "secret", provider.sip());
        (bob.hertz, bob.answers) = (1000.0, true);
        let mut bob = Baresip::register(lab, &bob)?;
        let (says, hears) = (lab.path("says.wav"), lab.path("hears.wav"));
        write_tone(&says, 440.0, 8)?;
        let call = || -> Result<Command> {
            let mut command = Command::new(binary()?);
            command
                .args(["dial", "1002", "--as", "1001", "--password", "secret"])
                .args(["--transport", "tls", "--codec", "pcmu"])
                .args(["--server", &provider.tls().to_string(), "--play"])
                .arg(&says);
            Ok(command)
        };
        let mut trusting = call()?;
        trusting.arg("--ca").arg(authority.root());
        let output = trusting.arg("--record").arg(&hears).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{output:?}");
        ensure!(said.contains("by TLS") && said.contains("MOS"), "{said}");
        is_tone(&Recording::read(&hears)?, 1000.0, 4.0)?;
        bob.hear(5.0)?;
        is_tone(&bob.heard()?, 440.0, 5.0)?;
        bob.event("CALL_CLOSED")?;
        for method in ["INVITE", "ACK", "BYE"] {
            provider.sees(&["got", method, "from=1001", "transport=tls"])?;
        }
        let calls = provider.count(&["got", "INVITE"])?;
        // Nobody vouches for it now, and so it hears of no call.
        let output = call()?.output()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(1), "{said}");
        ensure!(said.contains("invalid peer certificate"), "{said}");
        ensure!(said.contains("--ca"), "{said}");
        ensure!(
            provider.count(&["got", "INVITE"])? == calls,
            "it was called"
        );
        Ok(())
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
