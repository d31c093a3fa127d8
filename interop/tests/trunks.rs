//! A provider behind Kamailio, and another server of ours, as trunks.

use std::fs;

use anyhow::{Context, Result};
use interop::baresip::Account;
use interop::dns::Record;
use interop::kamailio::Provider;
use interop::{Baresip, Dns, Kamailio, Lab, Server, Site, peer};

const CUSTOMER: (&str, &str) = ("4930123", "trunk-secret");

/// Somebody in the rest of the world.
const WORLD: &str = "4930999";

#[test]
fn rfc3261_22_3_calls_to_and_from_a_provider() -> Result<()> {
    Lab::run("trunk", &[peer::BARESIP, peer::KAMAILIO], |lab| {
        let provider = Kamailio::start(lab, &provider())?;
        let (server, mut alice) = customer(lab, &trunk("provider", &provider), &[])?;
        let mut world = world(lab, &provider)?;
        provider.sees(&["got REGISTER", "user=4930123"])?;

        a_call_gets_out(lab, &mut alice, &mut world)?;
        provider.sees(&["got INVITE", "to=4930999", "user=4930123"])?;
        a_call_comes_in(lab, &mut alice, &mut world)?;
        server.settles()
    })
}

/// Both know each other by their addresses; nobody registers, nobody has a password.
#[test]
fn rfc3325_9_1_a_trunk_that_is_known_by_its_address_learns_who_calls() -> Result<()> {
    Lab::run("trunk-address", &[peer::BARESIP, peer::KAMAILIO], |lab| {
        let provider = Provider {
            trusts: Some(lab.sip().port()),
            gateway: Some(lab.sip()),
            ..provider()
        };
        let provider = Kamailio::start(lab, &provider)?;
        let trunk = format!(
            "[trunk.provider]\nproxies = [\"{}\"]\nformat = \"digits\"\n\
             caller_id = \"+{number}\"\ncaller_id_header = \"asserted\"\n\
             did = {{ \"+{number}\" = \"1001\" }}\n",
            provider.sip(),
            number = CUSTOMER.0,
        );
        let (server, mut alice) = customer(lab, &trunk, &[])?;
        let mut world = world(lab, &provider)?;
        a_call_gets_out(lab, &mut alice, &mut world)?;
        provider.sees(&["got INVITE", "to=4930999", "pai=<sip:", "4930123@"])?;
        a_call_comes_in(lab, &mut alice, &mut world)?;
        server.settles()
    })
}

#[test]
fn rfc5922_7_2_calls_to_and_from_a_provider_over_tls() -> Result<()> {
    Lab::run("trunk-tls", &[peer::BARESIP, peer::KAMAILIO], |lab| {
        let names = Dns::start()?;
        names.add("provider.test", 60, Record::Address([127, 0, 0, 1].into()));
        let authority = lab.authority()?;
        let provider = Provider {
            certificate: Some(authority.vouch(&["provider.test"])?),
            ..provider()
        };
        let provider = Kamailio::start(lab, &provider)?;
        let proxy = format!("\"tls:provider.test:{}\"", provider.tls().port());
        configure(lab.site(), &settings("provider", &proxy), &["provider"])?;
        let trust = format!(
            "[tls.peer.\"provider.test\"]\nca = \"{}\"\n",
            authority.root().display()
        );
        fs::write(lab.site().etc()?.join("dialtone.toml"), trust)?;
        let dns = format!("[\"{}\"]", names.address());
        let server = lab.server_with_tls_and(&authority, &[("dns.servers", &dns)])?;
        provider.sees(&["got REGISTER", "user=4930123", "transport=tls"])?;
        let mut alice = alice(lab, &server)?;
        let mut world = world(lab, &provider)?;
        a_call_gets_out(lab, &mut alice, &mut world)?;
        provider.sees(&["got INVITE", "user=4930123", "transport=tls"])?;
        a_call_comes_in(lab, &mut alice, &mut world)?;
        server.settles()
    })
}

#[test]
fn the_next_trunk_is_tried_when_the_first_refuses() -> Result<()> {
    Lab::run("trunk-503", &[peer::BARESIP, peer::KAMAILIO], |lab| {
        let refusing = Provider {
            refuses: Some(503),
            ..provider()
        };
        let first = Kamailio::start(lab, &refusing)?;
        let second = Kamailio::start(lab, &provider())?;
        let trunks = trunk("first", &first) + &trunk("second", &second);
        let (server, mut alice) = customer(lab, &trunks, &["first", "second"])?;
        let mut world = world(lab, &second)?;
        a_call_gets_out(lab, &mut alice, &mut world)?;
        first.sees(&["got INVITE", "to=4930999"])?;
        server.settles()
    })
}

#[test]
fn the_next_trunk_is_tried_when_the_first_is_dead() -> Result<()> {
    Lab::run("trunk-dead", &[peer::BARESIP, peer::KAMAILIO], |lab| {
        let first = Kamailio::start(lab, &provider())?;
        let second = Kamailio::start(lab, &provider())?;
        let trunks = trunk("first", &first) + &trunk("second", &second);
        let (server, mut alice) = customer(lab, &trunks, &["first", "second"])?;
        let mut world = world(lab, &second)?;
        first.stop()?;
        a_call_gets_out(lab, &mut alice, &mut world)?;
        server.settles()
    })
}

#[test]
fn rfc3263_4_3_the_next_server_of_a_provider_is_tried_when_the_first_is_dead() -> Result<()> {
    Lab::run("trunk-srv", &[peer::BARESIP, peer::KAMAILIO], |lab| {
        let names = Dns::start()?;
        let first = Kamailio::start(lab, &provider())?;
        let second = Kamailio::start(lab, &provider())?;
        let service = "_sip._udp.provider.test";
        for (priority, server, name) in [
            (10, &first, "one.provider.test"),
            (20, &second, "two.provider.test"),
        ] {
            names.add(
                service,
                60,
                Record::srv(priority, 1, server.sip().port(), name),
            );
            names.add(name, 60, Record::Address([127, 0, 0, 1].into()));
        }
        let trunk = settings("provider", "\"provider.test\"");
        let dns = format!("[\"{}\"]", names.address());
        configure(lab.site(), &trunk, &["provider"])?;
        let server = Server::start(lab, &[("dns.servers", &dns)])?;
        first.sees(&["got REGISTER", "user=4930123"])?;
        let mut alice = alice(lab, &server)?;
        let mut world = world(lab, &second)?;
        first.stop()?;
        a_call_gets_out(lab, &mut alice, &mut world)?;
        server.settles()
    })
}

#[test]
fn two_servers_of_ours_call_each_other() -> Result<()> {
    Lab::run("trunk-branch", &[peer::BARESIP], |lab| {
        let branch = lab.another_site("branch")?;
        branch.configure(
            "[user.hq]\npassword = \"secret-hq-hq\"\n[user.2001]\npassword = \"secret-2001\"\n",
        )?;
        fs::write(
            branch.etc()?.join("trunks.toml"),
            "[trunk.hq]\npeer = \"hq\"\n",
        )?;
        prepend(&branch, "1XXX", "{ trunk = \"hq\" }")?;
        let there = Server::start_at(&branch, &[])?;

        lab.site()
            .configure("[user.1001]\npassword = \"secret-1001\"\n")?;
        let trunk = format!(
            "[trunk.branch]\nproxies = [\"{}\"]\nuser = \"hq\"\npassword = \"secret-hq-hq\"\n\
             register = true\nformat = \"as-dialled\"\n",
            branch.sip
        );
        fs::write(lab.site().etc()?.join("trunks.toml"), trunk)?;
        prepend(lab.site(), "2XXX", "{ trunk = \"branch\" }")?;
        let here = lab.server()?;
        there.wait_for_log(&["registered"])?;

        let mut alice = alice(lab, &here)?;
        let mut bob = Account::new("2001", "secret-2001", there.sip());
        bob.hertz = 1000.0;
        let mut bob = Baresip::register(lab, &bob)?;
        alice.dial("2001")?;
        bob.event("CALL_INCOMING")?;
        bob.accept()?;
        alice.event("CALL_ESTABLISHED")?;
        they_talk(lab, &alice, &bob)?;
        alice.hang_up()?;
        bob.event("CALL_CLOSED")?;

        bob.dial("1001")?;
        alice.event("CALL_INCOMING")?;
        alice.accept()?;
        bob.event("CALL_ESTABLISHED")?;
        they_talk(lab, &alice, &bob)?;
        bob.hang_up()?;
        alice.event("CALL_CLOSED")?;
        here.settles()?;
        there.settles()
    })
}

fn provider() -> Provider<'static> {
    Provider {
        customer: CUSTOMER,
        ..Provider::default()
    }
}

fn trunk(name: &str, provider: &Kamailio) -> String {
    settings(name, &format!("\"{}\"", provider.sip()))
}

fn settings(name: &str, proxy: &str) -> String {
    let (user, password) = CUSTOMER;
    format!(
        "[trunk.{name}]\nproxies = [{proxy}]\nuser = \"{user}\"\npassword = \"{password}\"\n\
         register = true\nformat = \"digits\"\ncountry = \"DE\"\ncaller_id_from = \"account\"\n\
         did = {{ \"+{user}\" = \"1001\" }}\nqualify = \"off\"\n"
    )
}

/// A server with these trunks, of which those named are used (all of them if it is one), and a
/// phone that waits for calls.
fn customer(lab: &mut Lab, trunks: &str, used: &[&str]) -> Result<(Server, Baresip)> {
    let used = if used.is_empty() { &["provider"] } else { used };
    configure(lab.site(), trunks, used)?;
    let server = lab.server()?;
    let alice = alice(lab, &server)?;
    Ok((server, alice))
}

fn configure(site: &Site, trunks: &str, used: &[&str]) -> Result<()> {
    site.configure("[user.1001]\npassword = \"secret-1001\"\n")?;
    let trunks = format!("country = \"DE\"\n{trunks}");
    fs::write(site.etc()?.join("trunks.toml"), trunks)?;
    prepend(site, "0.", &format!("{{ trunk = {used:?} }}"))
}

/// Puts an extension in front of the dial plan.
fn prepend(site: &Site, number: &str, step: &str) -> Result<()> {
    let path = site.etc()?.join("dialplan.toml");
    let plan = fs::read_to_string(&path)?;
    let extension = format!("[[extension]]\nnumber = \"{number}\"\nsteps = [{step}]\n\n{plan}");
    fs::write(&path, extension).context("write the dial plan")
}

fn alice(lab: &mut Lab, server: &Server) -> Result<Baresip> {
    let alice = Account::new("1001", "secret-1001", server.sip());
    Baresip::register(lab, &alice)
}

/// A phone that has registered with the provider.
fn world(lab: &mut Lab, provider: &Kamailio) -> Result<Baresip> {
    let mut world = Account::new(WORLD, CUSTOMER.1, provider.sip());
    world.hertz = 1000.0;
    Baresip::register(lab, &world)
}

fn a_call_gets_out(lab: &Lab, alice: &mut Baresip, world: &mut Baresip) -> Result<()> {
    alice.dial("030999")?;
    world.event("CALL_INCOMING")?;
    world.accept()?;
    alice.event("CALL_ESTABLISHED")?;
    they_talk(lab, alice, world)?;
    alice.hang_up()?;
    world.event("CALL_CLOSED").map(drop)
}

fn a_call_comes_in(lab: &Lab, alice: &mut Baresip, world: &mut Baresip) -> Result<()> {
    world.dial(CUSTOMER.0)?;
    alice.event("CALL_INCOMING")?;
    alice.accept()?;
    world.event("CALL_ESTABLISHED")?;
    they_talk(lab, alice, world)?;
    world.hang_up()?;
    alice.event("CALL_CLOSED").map(drop)
}

/// Each hears the other: alice says 440 Hz, the other 1000.
fn they_talk(lab: &Lab, alice: &Baresip, other: &Baresip) -> Result<()> {
    let trace = lab.trace()?;
    trace.hears(alice.media(), 1000.0)?;
    trace.hears(other.media(), 440.0)
}
