//! Lamps and messages, as scripted phones see them.

use anyhow::{Result, ensure};
use interop::{Lab, peer};

#[test]
fn a_message_to_an_absent_phone_survives_a_crash_and_is_read_later() -> Result<()> {
    Lab::run("message-kept", &[peer::SIPP], |lab| {
        let server = lab.server_for_scripts()?;
        let (writer, reader) = (server.password("1001")?, server.password("1002")?);
        let message = lab.sipp("write.xml")?.to(server.sip()).numbers(["1002"])?;
        message.auth("1001", &writer).run()?;
        let waiting = server.ctl(&["messages", "--json"])?;
        let waiting: serde_json::Value = serde_json::from_slice(&waiting.stdout)?;
        ensure!(waiting[0]["messages"] == 1, "{waiting}");

        server.crash()?;
        let server = lab.server_for_scripts()?;
        let registration = lab.sipp("register.xml")?.to(server.sip());
        let registration = registration.user("1002", &reader)?;
        let port = registration.port();
        registration.run()?;
        lab.sipp("read.xml")?.at(port).run()?;

        let waiting = server.ctl(&["messages", "--json"])?;
        let waiting: serde_json::Value = serde_json::from_slice(&waiting.stdout)?;
        ensure!(waiting == serde_json::json!([]), "{waiting}");
        server.stop()
    })
}

#[test]
fn a_lamp_follows_a_call_from_ringing_to_its_end() -> Result<()> {
    Lab::run("lamp", &[peer::SIPP], |lab| {
        let server = lab.server_for_scripts()?;
        let (caller, callee) = (server.password("1001")?, server.password("1002")?);
        let watch = lab.sipp("watch.xml")?.to(server.sip()).numbers(["1002"])?;
        let watcher = watch.auth("1001", &caller).start()?;
        let registration = lab.sipp("register.xml")?.to(server.sip());
        let registration = registration.user("1002", &callee)?;
        let port = registration.port();
        registration.run()?;
        let answers = lab.sipp("answer_slowly.xml")?.at(port).start()?;
        let call = lab.sipp("call.xml")?.to(server.sip()).numbers(["1002"])?;
        call.auth("1001", &caller).run()?;
        answers.finish()?;
        watcher.finish()?;
        server.settles()?;
        let trace = lab.trace()?;
        let told = trace.read("sip.Method == NOTIFY", &["udp.payload"])?;
        let told: String = told.iter().map(|packet| text_of(packet)).collect();
        let place = |state| told.find(&format!("<state>{state}</state>"));
        ensure!(
            place("early").is_some() && place("early") < place("confirmed"),
            "the watcher was told: {told}"
        );
        ensure!(place("confirmed") < place("terminated"), "{told}");
        server.stop()
    })
}

/// The text of a packet in hexadecimal digits.
fn text_of(packet: &str) -> String {
    let octets = packet.as_bytes().chunks(2).filter_map(|digits| {
        let digits = std::str::from_utf8(digits).ok()?;
        u8::from_str_radix(digits, 16).ok()
    });
    String::from_utf8_lossy(&octets.collect::<Vec<u8>>()).into_owned()
}
