//! Calls that the server forwards instead of joining them: the same scripts as for calls that it joins.

use std::fs;

use anyhow::{Result, ensure};
use interop::sipp::{call, phone};
use interop::{Lab, Server, peer};

#[test]
fn a_forwarded_call_is_answered_and_hung_up() -> Result<()> {
    Lab::run("proxy-answered", &[peer::SIPP], |lab| {
        let server = forwarding(lab, "{number}")?;
        let (callee, port) = phone(lab, &server, "answer.xml")?;
        call(lab, &server, "call.xml", "1002")?.finish()?;
        callee.finish()?;
        server.settles()?;
        // Each request inside the call came by us, and what the parties said of their media stayed.
        let trace = lab.trace()?;
        let bye = format!("sip.Method == BYE && udp.dstport == {port}");
        trace.see(&bye)?;
        let vias = trace.read(&bye, &["sip.Via.branch"])?;
        ensure!(
            vias.iter().all(|branches| branches.contains(',')),
            "a BYE that has been nowhere before: {vias:?}"
        );
        let sip = server.sip().port();
        let offers = trace.read(
            "sip.Method == INVITE && sdp",
            &["udp.srcport", "sdp.media.port"],
        )?;
        let forwarded: Vec<_> = offers.iter().map(|offer| port_of(offer)).collect();
        let by_us = offers
            .iter()
            .any(|offer| offer.starts_with(&sip.to_string()));
        ensure!(
            by_us && forwarded.windows(2).all(|pair| pair[0] == pair[1]),
            "the offer was changed: {offers:?}"
        );
        Ok(())
    })
}

#[test]
fn a_call_over_tcp_is_forwarded_to_a_phone_on_udp() -> Result<()> {
    Lab::run("proxy-tcp", &[peer::SIPP], |lab| {
        let server = forwarding(lab, "{number}")?;
        let (callee, _) = phone(lab, &server, "answer.xml")?;
        let caller = lab.sipp("call.xml")?.to(server.sip()).numbers(["1002"])?;
        caller.auth("1001", &server.password("1001")?).tcp().run()?;
        callee.finish()?;
        server.settles()
    })
}

#[test]
fn a_call_is_forwarded_to_an_address() -> Result<()> {
    Lab::run("proxy-address", &[peer::SIPP], |lab| {
        let callee = lab.sipp("answer.xml")?;
        let port = callee.port();
        let callee = callee.start()?;
        let server = forwarding(lab, &format!("sip:{{number}}@127.0.0.1:{port}"))?;
        call(lab, &server, "call.xml", "555")?.finish()?;
        callee.finish()?;
        server.settles()
    })
}

#[test]
fn busy_comes_back() -> Result<()> {
    between("proxy-busy", "call_busy.xml", "refuse_busy.xml")
}

#[test]
fn an_overloaded_callee_is_not_our_overload() -> Result<()> {
    between("proxy-overloaded", "call_failed.xml", "refuse_503.xml")
}

#[test]
fn the_callee_may_make_the_offer() -> Result<()> {
    between("proxy-late-offer", "call_without_sdp.xml", "answer.xml")
}

#[test]
fn a_forwarded_call_is_cancelled_while_it_rings() -> Result<()> {
    between(
        "proxy-cancel",
        "cancel_ringing.xml",
        "cancelled_ringing.xml",
    )
}

#[test]
fn of_two_callees_the_first_wins() -> Result<()> {
    Lab::run("proxy-fork", &[peer::SIPP], |lab| {
        let server = forwarding(lab, "{number}")?;
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
fn of_two_callees_one_is_busy_and_the_other_answers() -> Result<()> {
    Lab::run("proxy-busy-fork", &[peer::SIPP], |lab| {
        let server = forwarding(lab, "{number}")?;
        let (busy, _) = phone(lab, &server, "refuse_busy.xml")?;
        let (winner, _) = phone(lab, &server, "answer_slowly.xml")?;
        call(lab, &server, "call.xml", "1002")?.finish()?;
        winner.finish()?;
        busy.finish()?;
        server.settles()
    })
}

/// A server that forwards all calls to `target`.
fn forwarding(lab: &Lab, target: &str) -> Result<Server> {
    let server = lab.server_for_scripts()?;
    let plan = format!("[[extension]]\nnumber = \".\"\nsteps = [{{ proxy = \"{target}\" }}]\n");
    fs::write(server.data().join("etc/dialplan.toml"), plan)?;
    let output = server.ctl(&["reload"])?;
    ensure!(output.status.success(), "reload: {output:?}");
    Ok(server)
}

fn between(name: &str, calling: &str, called: &str) -> Result<()> {
    Lab::run(name, &[peer::SIPP], |lab| {
        let server = forwarding(lab, "{number}")?;
        let (callee, _) = phone(lab, &server, called)?;
        call(lab, &server, calling, "1002")?.finish()?;
        callee.finish()?;
        server.settles()
    })
}

/// The media port in one line of the trace.
fn port_of(line: &str) -> &str {
    line.split_whitespace().last().unwrap_or(line)
}
