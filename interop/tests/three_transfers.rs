//! Calls are passed on by phones of three makers, and those who are left hear each other.

use anyhow::Result;
use interop::baresip::Account;
use interop::capture::Trace;
use interop::{Baresip, Lab, Linphone, Pjsua, peer, pjsua};
use serde_json::json;

/// pjsua2 sends baresip to linphone.
#[test]
fn rfc3515_2_a_blind_transfer_by_pjsua() -> Result<()> {
    office("transfer-pjsua", |office| {
        let call = office.pjsua.dial("1002")?;
        office.pjsua.established()?;
        office.pjsua_and_baresip_talk()?;
        let transfer = json!({ "call": call, "to": "1003" });
        office.pjsua.give("transfer", transfer)?;
        office.linphone.see("Receiving new incoming call")?;
        office.linphone.type_line("answer")?;
        office
            .pjsua
            .event_with("transfer_status", &[("code", json!(200))])?;
        office.baresip_and_linphone_talk()?;
        office.linphone.type_line("terminate")?;
        office.baresip.event("CALL_CLOSED").map(drop)
    })
}

/// pjsua2 talks to baresip, asks linphone, and connects them.
#[test]
fn rfc3891_3_an_attended_transfer_by_pjsua() -> Result<()> {
    office("transfer-attended", |office| {
        let first = office.pjsua.dial("1002")?;
        office.pjsua.established()?;
        office.pjsua_and_baresip_talk()?;
        office.pjsua.give("hold", json!({ "call": first }))?;
        let second = office.pjsua.dial("1003")?;
        office.linphone.see("Receiving new incoming call")?;
        office.linphone.type_line("answer")?;
        office.pjsua.established()?;
        office.trace.hears(office.linphone.media(), PJSUA)?;
        let transfer = json!({ "call": first, "other": second });
        office.pjsua.give("transfer_to_call", transfer)?;
        office.pjsua.over()?;
        office.pjsua.over()?;
        office.baresip_and_linphone_talk()?;
        office.baresip.hang_up()?;
        office.linphone.see("ended")
    })
}

/// baresip sends pjsua2 to linphone.
#[test]
fn rfc3515_2_a_blind_transfer_by_baresip() -> Result<()> {
    office("transfer-baresip", |office| {
        office.pjsua.dial("1002")?;
        office.pjsua.established()?;
        office.pjsua_and_baresip_talk()?;
        office.baresip.command("transfer", "1003")?;
        office.linphone.see("Receiving new incoming call")?;
        office.linphone.type_line("answer")?;
        office.baresip.event("CALL_CLOSED")?;
        office.pjsua_and_linphone_talk()?;
        office.linphone.type_line("terminate")?;
        office.pjsua.over().map(drop)
    })
}

/// linphone sends pjsua2 to baresip.
#[test]
fn rfc3515_2_a_blind_transfer_by_linphone() -> Result<()> {
    office("transfer-linphone", |office| {
        office.linphone.type_line("call 1001")?;
        office.pjsua.accept()?;
        office.linphone.see("Media streams established")?;
        office.pjsua_and_linphone_talk()?;
        office.linphone.type_line("transfer 1002")?;
        office.linphone.see("ended")?;
        office.pjsua_and_baresip_talk()?;
        office.baresip.hang_up()?;
        office.pjsua.over().map(drop)
    })
}

const PJSUA: f64 = 440.0;
const BARESIP: f64 = 1000.0;
const LINPHONE: f64 = 700.0;

struct Office {
    trace: Trace,
    pjsua: Pjsua,
    baresip: Baresip,
    linphone: Linphone,
}

impl Office {
    fn pjsua_and_baresip_talk(&self) -> Result<()> {
        self.trace.hears(self.pjsua.media(), BARESIP)?;
        self.trace.hears(self.baresip.media(), PJSUA)
    }

    fn pjsua_and_linphone_talk(&self) -> Result<()> {
        self.trace.hears(self.pjsua.media(), LINPHONE)?;
        self.trace.hears(self.linphone.media(), PJSUA)
    }

    fn baresip_and_linphone_talk(&self) -> Result<()> {
        self.trace.hears(self.baresip.media(), LINPHONE)?;
        self.trace.hears(self.linphone.media(), BARESIP)
    }
}

/// 1001 is pjsua2, 1002 baresip (which answers by itself), 1003 linphone.
fn office(name: &str, test: impl FnOnce(&mut Office) -> Result<()>) -> Result<()> {
    let peers = [peer::BARESIP, peer::LINPHONE, peer::PJSUA2];
    Lab::run(name, &peers, |lab| {
        let user = |user| format!("[user.{user}]\npassword = \"secret-{user}\"\n");
        let users = ["1001", "1002", "1003"].map(user).concat();
        lab.site().configure(&users)?;
        let server = lab.server()?;
        let mut pjsua = pjsua::Account::new("1001", "secret-1001", server.sip());
        pjsua.hertz = PJSUA;
        let pjsua = Pjsua::register(lab, &pjsua)?;
        let mut baresip = Account::new("1002", "secret-1002", server.sip());
        (baresip.hertz, baresip.answers) = (BARESIP, true);
        let baresip = Baresip::register(lab, &baresip)?;
        let linphone = Linphone::register(lab, server.sip(), "1003", "secret-1003", LINPHONE)?;
        let trace = lab.trace()?;
        test(&mut Office {
            trace,
            pjsua,
            baresip,
            linphone,
        })?;
        server.settles()
    })
}
