//! Calls that fail, and messages that come twice or never; each scenario is a file of its own.

use anyhow::{Result, ensure};
use interop::sipp::{Running, call, phone};
use interop::{Lab, peer};

#[test]
fn a_wrong_password_is_refused() -> Result<()> {
    Lab::run("wrong-password", &[peer::SIPP], |lab| {
        let server = lab.server_for_scripts()?;
        let phone = lab.sipp("register_refused.xml")?.to(server.sip());
        phone.user("1001", "not the password")?.run()?;
        caller(lab, "call_wrong_password.xml", "1002", "not the password")?.finish()?;
        // Nobody has registered.
        call(lab, &server, "call_away.xml", "1001")?.finish()
    })
}

#[test]
fn an_unknown_number_is_refused() -> Result<()> {
    Lab::run("unknown", &[peer::SIPP], |lab| {
        let server = lab.server_for_scripts()?;
        call(lab, &server, "call_unknown.xml", "1999")?.finish()
    })
}

#[test]
fn a_user_without_phone_is_away() -> Result<()> {
    Lab::run("away", &[peer::SIPP], |lab| {
        let server = lab.server_for_scripts()?;
        call(lab, &server, "call_away.xml", "1002")?.finish()
    })
}

#[test]
fn an_answered_call_is_hung_up() -> Result<()> {
    between("answered", "call.xml", "answer.xml")
}

#[test]
fn busy_reaches_the_caller() -> Result<()> {
    between("busy", "call_busy.xml", "refuse_busy.xml")
}

#[test]
fn an_overloaded_callee_is_not_our_overload() -> Result<()> {
    between("overloaded", "call_failed.xml", "refuse_503.xml")
}

#[test]
fn the_callee_may_make_the_offer() -> Result<()> {
    between("late-offer", "call_without_sdp.xml", "answer.xml")
}

#[test]
fn an_offer_that_is_none_is_refused() -> Result<()> {
    Lab::run("garbage-offer", &[peer::SIPP], |lab| {
        let server = lab.server_for_scripts()?;
        // Somebody to ring, so that the offer is the only fault.
        let (_callee, _) = phone(lab, &server, "answer.xml")?;
        call(lab, &server, "call_garbage_sdp.xml", "1002")?.finish()
    })
}

#[test]
fn a_call_is_cancelled_before_it_rings() -> Result<()> {
    Lab::run("cancel-early", &[peer::SIPP], |lab| {
        let server = lab.server_for_scripts()?;
        let (callee, port) = phone(lab, &server, "cancelled_before_ringing.xml")?;
        call(lab, &server, "cancel_before_ringing.xml", "1002")?.finish()?;
        // On a very busy machine the call is over before it gets to the phone.
        let reached = format!("sip.Method == INVITE && udp.dstport == {port}");
        if lab.trace()?.read(&reached, &["frame.number"])?.is_empty() {
            return Ok(());
        }
        callee.finish()
    })
}

#[test]
fn a_call_is_cancelled_while_it_rings() -> Result<()> {
    between(
        "cancel-ringing",
        "cancel_ringing.xml",
        "cancelled_ringing.xml",
    )
}

#[test]
fn a_call_without_ack_is_ended() -> Result<()> {
    between("no-ack", "no_ack.xml", "answer_to_no_ack.xml")
}

#[test]
fn an_ok_that_comes_again_is_acknowledged_again() -> Result<()> {
    between("ok-twice", "call_and_listen.xml", "ok_twice.xml")
}

#[test]
fn all_phones_ring_and_the_first_wins() -> Result<()> {
    Lab::run("fork", &[peer::SIPP], |lab| {
        let server = lab.server_for_scripts()?;
        let (loser, port) = phone(lab, &server, "cancelled_ringing.xml")?;
        let (winner, _) = phone(lab, &server, "answer_slowly.xml")?;
        call(lab, &server, "call.xml", "1002")?.finish()?;
        winner.finish()?;
        loser.finish()?;
        server.settles()?;
        let cancel = format!("sip.Method == CANCEL && udp.dstport == {port}");
        let reasons = lab.trace()?.read(&cancel, &["sip.Reason"])?;
        ensure!(
            reasons.iter().all(|reason| reason.contains("cause=200")) && !reasons.is_empty(),
            "the other phone was told {reasons:?}"
        );
        Ok(())
    })
}

#[test]
fn a_bye_that_comes_again_is_answered_again() -> Result<()> {
    Lab::run("bye-twice", &[peer::SIPP], |lab| {
        let server = lab.server_for_scripts()?;
        let (callee, _) = phone(lab, &server, "answer.xml")?;
        let call = lab.sipp("bye_twice.xml")?.to(server.sip()).sees_repeats();
        call.auth("1001", &server.password("1001")?)
            .numbers(["1002"])?
            .run()?;
        callee.finish()
    })
}

#[test]
fn an_invite_that_comes_again_makes_no_second_call() -> Result<()> {
    Lab::run("invite-twice", &[peer::SIPP], |lab| {
        let server = lab.server_for_scripts()?;
        let (callee, port) = phone(lab, &server, "answer.xml")?;
        call(lab, &server, "invite_twice.xml", "1002")?.finish()?;
        callee.finish()?;
        let trace = lab.trace()?;
        let invites = format!("sip.Method == INVITE && udp.dstport == {port}");
        trace.see(&invites)?;
        let mut calls = trace.read(&invites, &["sip.Call-ID", "sip.Via.branch"])?;
        calls.dedup();
        ensure!(
            calls.len() == 1,
            "the phone got more than one call: {calls:?}"
        );
        Ok(())
    })
}

/// 1001 calls 1002, and both go through their scenarios to the end.
fn between(name: &str, calling: &str, called: &str) -> Result<()> {
    Lab::run(name, &[peer::SIPP], |lab| {
        let server = lab.server_for_scripts()?;
        let (callee, _) = phone(lab, &server, called)?;
        call(lab, &server, calling, "1002")?.finish()?;
        callee.finish()?;
        server.settles()
    })
}

fn caller(lab: &mut Lab, scenario: &str, number: &str, password: &str) -> Result<Running> {
    let server = lab.sip();
    let call = lab.sipp(scenario)?.to(server).numbers([number])?;
    call.auth("1001", password).start()
}
