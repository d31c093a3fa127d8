//! The compose files, as people run them.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use interop::baresip::Account;
use interop::compose::Compose;
use interop::peer::Peer;
use interop::podman::Image;
use interop::{Baresip, Lab, peer};

#[test]
fn phones_call_through_the_published_ports_of_a_bridge() -> Result<()> {
    behind_a_bridge("compose", |lab| {
        let image = Image::load(lab)?;
        let server = up(
            &image,
            lab,
            &format!("{0}-{1}", lab.media().0, lab.media().0 + 9),
        )?;
        let passwords = (server.password("1001")?, server.password("1002")?);
        let mut alice = Account::new("1001", &passwords.0, lab.sip());
        alice.hertz = 440.0;
        let mut bob = Account::new("1002", &passwords.1, lab.sip());
        (bob.hertz, bob.answers) = (1000.0, true);
        let mut alice = Baresip::register(lab, &alice)?;
        let bob = Baresip::register(lab, &bob)?;

        alice.dial("1002")?;
        alice.event("CALL_ESTABLISHED")?;
        alice.hear(2.0)?;
        bob.hear(2.0)?;
        ensure!(alice.heard()?.tone(1000.0) > 0.9, "not what bob says");
        ensure!(bob.heard()?.tone(440.0) > 0.9, "not what alice says");
        alice.hang_up()?;
        alice.event("CALL_CLOSED")?;

        // What it knew it knows: nobody has registered anew.
        server.restart()?;
        let phones = server.cli(&["phones", "--json"])?;
        for user in ["1001", "1002"] {
            ensure!(phones.contains(user), "{user} is not in {phones}");
        }
        server.down()
    })
}

#[test]
fn one_published_port_is_enough_for_media() -> Result<()> {
    behind_a_bridge("compose-port", |lab| {
        let image = Image::load(lab)?;
        let server = up(&image, lab, &lab.media().0.to_string())?;
        let password = server.password("1001")?;
        let mut account = Account::new("1001", &password, lab.sip());
        account.hertz = 440.0;
        let mut phone = Baresip::register(lab, &account)?;
        // The seeded plan has an echo there.
        phone.dial("600")?;
        phone.event("CALL_ESTABLISHED")?;
        phone.hear(2.0)?;
        ensure!(phone.heard()?.tone(440.0) > 0.9, "not what was said");
        phone.hang_up()?;
        phone.event("CALL_CLOSED")?;
        server.down()
    })
}

fn behind_a_bridge(name: &str, test: impl FnOnce(&mut Lab) -> Result<()>) -> Result<()> {
    match peer::ensure_all(&PEERS)? {
        true => Lab::run_published(name, test),
        false => Ok(()),
    }
}

const PEERS: [Peer; 4] = [
    peer::BARESIP,
    peer::PODMAN,
    peer::CONTAINER_NETWORKS,
    peer::PODMAN_COMPOSE,
];

/// Starts the services of `bridge.yaml` at the lab's ports, with these for media.
fn up<'a>(image: &'a Image, lab: &Lab, media: &str) -> Result<Compose<'a>> {
    let site = lab.site();
    let address = site.sip.ip().to_string();
    let port = |address: SocketAddr| address.port().to_string();
    let variables = [
        ("HOST_ADDRESS", &*address),
        ("PUBLISH", &address),
        ("SIP_PORT", &port(site.sip)),
        ("SIPS_PORT", &port(site.tls)),
        ("HTTP_PORT", &port(site.http)),
        ("HTTPS_PORT", &port(site.https)),
        ("MEDIA_PORTS", media),
    ];
    Compose::up(image, "bridge.yaml", &variables)
}
