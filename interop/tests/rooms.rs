//! Softphones in conference rooms.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use interop::baresip::Account;
use interop::capture::Trace;
use interop::sound::Recording;
use interop::wait::until;
use interop::{Baresip, Lab, Server, peer};
use serde_json::Value;

const DIALPLAN: &str = r#"
[[extension]]
number = "800"
steps = [{ conference = "800", announce = false }]

[[extension]]
number = "801"
steps = [{ conference = "801", pin = "42", moderator_pin = "4711" }]

[[extension]]
number = "601"
steps = [{ tone = 1250.0 }]

[conference.taped]
number = "802"
record = true

[conference.pressed]
number = "803"
record = "opus"

[[extension]]
number = "100X"
steps = [{ dial = "{number}" }]
"#;

/// No multiple of one is another.
const TONES: [f64; 3] = [500.0, 700.0, 1100.0];

#[test]
fn rfc3550_7_1_three_phones_hear_each_other_and_not_themselves() -> Result<()> {
    Lab::run("room", &[peer::BARESIP], |lab| {
        let server = server(lab)?;
        let mut phones = Vec::new();
        let kinds = [
            ("PCMU/8000/1", ""),
            ("opus/48000/2", ""),
            ("PCMA/8000/1", "srtp-mand"),
        ];
        for ((user, hertz), (codecs, encryption)) in
            ["1001", "1002", "1003"].into_iter().zip(TONES).zip(kinds)
        {
            let password = server.password(user)?;
            let mut account = Account::new(user, &password, server.sip());
            (account.hertz, account.codecs) = (hertz, codecs);
            account.encryption = encryption;
            let mut phone = Baresip::register(lab, &account)?;
            phone.dial("800")?;
            phone.event("CALL_ESTABLISHED")?;
            phones.push(phone);
        }
        for phone in &phones {
            phone.hear(8.0)?;
        }
        ensure!(participants(&server, "800")?.len() == 3);
        ensure_named(&lab.trace()?, lab.site().media)?;
        for phone in &mut phones {
            phone.hang_up()?;
        }
        for (at, phone) in phones.iter().enumerate() {
            let heard = phone.heard()?;
            for (other, hertz) in TONES.into_iter().enumerate() {
                let share = heard.tone(hertz);
                let fits = match at == other {
                    true => share < 0.05,
                    false => share > 0.25,
                };
                ensure!(fits, "{at}: {share:.2} of the sound is {hertz} Hz");
            }
        }
        server.settles()
    })
}

/// Each of three phones that speak is told in packets of ours that it hears the two others, and never that it
/// hears itself or a stranger.
fn ensure_named(trace: &Trace, ours: (u16, u16)) -> Result<()> {
    let (mut sent, mut told) = (BTreeMap::new(), BTreeMap::<_, BTreeSet<String>>::new());
    let fields = ["udp.srcport", "udp.dstport", "rtp.ssrc", "rtp.csrc.item"];
    for line in trace.read("rtp && rtp.version == 2", &fields)? {
        let fields: Vec<&str> = line.split('\t').collect();
        let [from, to, ssrc, csrc] = fields[..] else {
            continue;
        };
        let (from, to): (u16, u16) = (from.parse()?, to.parse()?);
        if (ours.0..=ours.1).contains(&from) {
            let csrc = csrc.split(',').filter(|csrc| !csrc.is_empty());
            told.entry(to).or_default().extend(csrc.map(str::to_owned));
        } else if (ours.0..=ours.1).contains(&to) {
            sent.insert(from, ssrc.to_owned());
        }
    }
    ensure!(sent.len() == 3, "{sent:?} send");
    for phone in sent.keys() {
        let others = sent.iter().filter(|(other, _)| *other != phone);
        let others: BTreeSet<String> = others.map(|(_, ssrc)| ssrc.clone()).collect();
        ensure!(told.get(phone) == Some(&others), "{sent:?}, but {told:?}");
    }
    Ok(())
}

#[test]
fn an_operator_mutes_and_throws_out() -> Result<()> {
    Lab::run("room-cli", &[peer::BARESIP], |lab| {
        let server = server(lab)?;
        let passwords = (server.password("1001")?, server.password("1002")?);
        let mut alice = Account::new("1001", &passwords.0, server.sip());
        alice.codecs = "G722/8000/1";
        let mut bob = Account::new("1002", &passwords.1, server.sip());
        bob.hertz = 1000.0;
        let mut alice = Baresip::register(lab, &alice)?;
        let mut bob = Baresip::register(lab, &bob)?;
        for phone in [&mut alice, &mut bob] {
            phone.dial("800")?;
            phone.event("CALL_ESTABLISHED")?;
        }
        alice.hear(4.0)?;
        let call = until("both in the room", PATIENCE, || {
            let there = participants(&server, "800")?;
            let bob = there.iter().find(|one| one["name"] == "1002");
            let talks = there.len() == 2 && there.iter().all(|one| one["talking"] == true);
            Ok(bob.filter(|_| talks).map(|one| one["call"].clone()))
        })?;
        let call = call.as_str().context("no call")?;
        moderate(&server, &["mute", call])?;
        until("bob muted", PATIENCE, || {
            let there = participants(&server, "800")?;
            let bob = there.iter().find(|one| one["name"] == "1002");
            let silent = bob.is_some_and(|one| one["muted"] == true && one["talking"] == false);
            Ok(silent.then_some(()))
        })?;
        let before = alice.heard()?.sounding();
        bob.hear(8.0)?;
        let after = alice.heard()?.sounding();
        ensure!(after - before < 0.5, "{before} s of sound became {after} s");

        moderate(&server, &["lock"])?;
        moderate(&server, &["kick", call])?;
        bob.event("CALL_CLOSED")?;
        bob.dial("800")?;
        bob.event("CALL_CLOSED")?;
        alice.hang_up()?;
        alice.heard()?.ensure_tone(1000.0, 3.0)?;
        server.settles()
    })
}

/// A room of a table, which is recorded from the first who comes on, and stops when it is told so.
#[test]
fn a_room_is_recorded_until_an_operator_ends_it() -> Result<()> {
    Lab::run("room-tape", &[peer::BARESIP], |lab| {
        let server = server(lab)?;
        let mut phones = Vec::new();
        for (user, hertz) in [("1001", TONES[0]), ("1002", TONES[1])] {
            let password = server.password(user)?;
            let mut account = Account::new(user, &password, server.sip());
            account.hertz = hertz;
            let mut phone = Baresip::register(lab, &account)?;
            phone.dial("802")?;
            phone.event("CALL_ESTABLISHED")?;
            phones.push(phone);
        }
        phones[0].hear(3.0)?;
        let file = recording(&server, "taped")?.context("it is not recorded")?;
        operate(&server, "taped", &["record", "pause"])?;
        operate(&server, "taped", &["record", "resume"])?;
        phones[0].hear(5.0)?;
        operate(&server, "taped", &["record", "stop"])?;
        until("the end of the recording", PATIENCE, || {
            let over = recording(&server, "taped")?.is_none();
            Ok(over.then_some(()))
        })?;
        let path = lab.path("srv/recordings").join(file);
        until("the file", PATIENCE, || {
            let heard = Recording::read(&path)?;
            let both = TONES[..2].iter().all(|hertz| heard.tone(*hertz) > 0.25);
            Ok((both && heard.seconds() > 3.0).then_some(()))
        })?;
        for phone in &mut phones {
            phone.hang_up()?;
        }
        server.settles()
    })
}

/// The server is killed while a room is recorded: FFmpeg plays what was said until then.
#[test]
fn what_was_recorded_of_a_room_plays_after_a_crash() -> Result<()> {
    // So many octets are ten seconds and more.
    for (number, room, enough) in [("802", "taped", 400_000), ("803", "pressed", 60_000)] {
        let site = format!("room-crash-{room}");
        Lab::run(&site, &[peer::BARESIP, peer::FFMPEG], |lab| {
            let server = server(lab)?;
            let mut phones = Vec::new();
            for (user, hertz) in [("1001", TONES[0]), ("1002", TONES[1])] {
                let password = server.password(user)?;
                let mut account = Account::new(user, &password, server.sip());
                account.hertz = hertz;
                phones.push(Baresip::register(lab, &account)?);
            }
            for phone in &mut phones {
                phone.dial(number)?;
                phone.event("CALL_ESTABLISHED")?;
            }
            until("both speak", LONG, || {
                let there = participants(&server, room)?;
                let talk = there.iter().all(|one| one["talking"] == true);
                Ok((there.len() == 2 && talk).then_some(()))
            })?;
            let file = recording(&server, room)?.context("it is not recorded")?;
            let path = lab.path("srv/recordings").join(file);
            let size = || std::fs::metadata(&path).map_or(0, |file| file.len());
            let so_far = size();
            until("sound in the file", LONG, || {
                Ok((size() > so_far + enough).then_some(()))
            })?;
            server.crash()?;
            let (whole, tail) = (lab.path("whole.wav"), lab.path("tail.wav"));
            play(&[], &path, &whole)?;
            let heard = Recording::read(&whole)?;
            ensure!(heard.seconds() > 8.0, "{} s", heard.seconds());
            play(&["-sseof", "-4"], &whole, &tail)?;
            let heard = Recording::read(&tail)?;
            for hertz in &TONES[..2] {
                let share = heard.tone(*hertz);
                ensure!(share > 0.2, "{share:.2} of the sound is {hertz} Hz");
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// FFmpeg plays a file into another one.
fn play(from: &[&str], file: &Path, to: &Path) -> Result<()> {
    let mut player = Command::new("ffmpeg");
    player.args(["-loglevel", "error", "-y"]).args(from);
    player.arg("-i").arg(file).args(["-c:a", "pcm_s16le"]);
    let played = player.arg(to).output()?;
    let said = String::from_utf8_lossy(&played.stderr);
    ensure!(played.status.success(), "ffmpeg: {said}");
    Ok(())
}

/// RFC 5589 §6: who answers sits in the room in the place of the phone that has transferred. The log tells who
/// has come and gone.
#[test]
fn rfc5589_6_a_phone_gives_its_place_in_a_room_away() -> Result<()> {
    Lab::run("room-transfer", &[peer::BARESIP], |lab| {
        let server = server(lab)?;
        let mut phones = Vec::new();
        for (user, hertz) in ["1001", "1002", "1003"].into_iter().zip(TONES) {
            let password = server.password(user)?;
            let mut account = Account::new(user, &password, server.sip());
            (account.hertz, account.answers) = (hertz, user == "1003");
            phones.push(Baresip::register(lab, &account)?);
        }
        for phone in &mut phones[..2] {
            phone.dial("800")?;
            phone.event("CALL_ESTABLISHED")?;
        }
        phones[0].command("transfer", "1003")?;
        phones[2].event("CALL_ESTABLISHED")?;
        phones[0].event("CALL_CLOSED")?;
        until("1003 in the place of 1001", LONG, || {
            let there = participants(&server, "800")?;
            let mut names: Vec<_> = there
                .iter()
                .filter_map(|one| one["name"].as_str())
                .collect();
            names.sort_unstable();
            let talk = there.iter().all(|one| one["talking"] == true);
            Ok((names == ["1002", "1003"] && talk).then_some(()))
        })?;
        for what in ["what=\"joined\"", "what=\"left\""] {
            server.wait_for_log(&["conference room", "room=800", what])?;
        }
        phones[1].hear(4.0)?;
        phones[2].hear(4.0)?;
        phones[1].hang_up()?;
        phones[2].hang_up()?;
        for (at, other) in [(1, 2), (2, 1)] {
            let share = phones[at].heard()?.tone(TONES[other]);
            ensure!(
                share > 0.25,
                "{at}: {share:.2} of the sound is from {other}"
            );
        }
        server.settles()
    })
}

/// Who is led away hears where it has come to, and the others are among themselves.
#[test]
fn an_operator_leads_a_participant_out() -> Result<()> {
    Lab::run("room-lead", &[peer::BARESIP], |lab| {
        let server = server(lab)?;
        let mut phones = Vec::new();
        for user in ["1001", "1002"] {
            let password = server.password(user)?;
            let account = Account::new(user, &password, server.sip());
            let mut phone = Baresip::register(lab, &account)?;
            phone.dial("800")?;
            phone.event("CALL_ESTABLISHED")?;
            phones.push(phone);
        }
        let there = participants(&server, "800")?;
        let alice = there.iter().find(|one| one["name"] == "1001");
        let call = alice
            .and_then(|one| one["call"].as_str())
            .context("no call")?;
        let output = server.ctl(&["transfer", call, "601"])?;
        ensure!(output.status.success());
        until("one participant", PATIENCE, || {
            Ok((participants(&server, "800")?.len() == 1).then_some(()))
        })?;
        phones[0].hear(4.0)?;
        for phone in &mut phones {
            phone.hang_up()?;
        }
        phones[0].heard()?.ensure_tone(1250.0, 2.0)?;
        server.settles()
    })
}

/// RFC 4733.
#[test]
fn a_pin_is_dialled_at_the_door() -> Result<()> {
    Lab::run("room-pin", &[peer::BARESIP], |lab| {
        let server = server(lab)?;
        let password = server.password("1001")?;
        let alice = Account::new("1001", &password, server.sip());
        let mut alice = Baresip::register(lab, &alice)?;
        alice.dial("801")?;
        alice.event("CALL_ESTABLISHED")?;
        alice.hear(1.0)?;
        ensure!(participants(&server, "801")?.is_empty());
        alice.command("sndcode", "4711")?;
        until("the moderator in the room", PATIENCE, || {
            let there = participants(&server, "801")?;
            let came = there.first().is_some_and(|one| one["moderator"] == true);
            Ok(came.then_some(()))
        })?;
        alice.hang_up()?;
        server.settles()
    })
}

fn server(lab: &Lab) -> Result<Server> {
    let users = ["1001", "1002", "1003"];
    lab.write_users(&users.map(|user| (user.into(), format!("pw-{user}-secret"))))?;
    std::fs::write(lab.path("srv/etc/dialplan.toml"), DIALPLAN)?;
    lab.server()
}

fn participants(server: &Server, name: &str) -> Result<Vec<Value>> {
    let output = server.ctl(&["rooms", "--json"])?;
    let rooms: Vec<Value> = serde_json::from_slice(&output.stdout).context("parse the rooms")?;
    let room = rooms.iter().find(|room| room["name"] == name);
    let there = room.and_then(|room| room["participants"].as_array());
    Ok(there.cloned().unwrap_or_default())
}

/// The file that a room is recorded to.
fn recording(server: &Server, name: &str) -> Result<Option<String>> {
    let output = server.ctl(&["rooms", "--json"])?;
    let rooms: Vec<Value> = serde_json::from_slice(&output.stdout).context("parse the rooms")?;
    let room = rooms.iter().find(|room| room["name"] == name);
    let file = room.and_then(|room| room["recording"]["name"].as_str());
    Ok(file.map(Into::into))
}

fn moderate(server: &Server, what: &[&str]) -> Result<()> {
    operate(server, "800", what)
}

fn operate(server: &Server, room: &str, what: &[&str]) -> Result<()> {
    let arguments = [&["room", room], what].concat();
    let output = server.ctl(&arguments)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{arguments:?}: {said}");
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(60);
