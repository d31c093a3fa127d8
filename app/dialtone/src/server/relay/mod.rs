//! `dialtone run --role relay`: media for a SIP proxy that asks by the ng protocol, and nothing else.
//!
//! One thread owns the machine and its clients; [`clients`] are sockets and connections, [`control`] is
//! what the command line sees. Media are the workers' work, as everywhere.

mod clients;
mod control;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use base::{Clock, Mint, Slot};
use relay::{Input, Out, Relay};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};

use super::network::{media_config, own_addresses};
use super::public::{self, Public};
use super::{raise_descriptor_limit, secret};
use crate::folder::Folder;
use crate::log::Logging;
use crate::seed;
use crate::settings::{self, Override, Server, Stun};
use crate::systemd;
use clients::{Clients, Message};
use control::Control;

/// Runs the relay until it is told to stop.
pub(crate) fn run(folder: &Folder, overrides: &[Override]) -> Result<()> {
    folder.create()?;
    let _lock = folder.lock()?;
    seed::seed(folder)?;
    let loaded = settings::load(folder, overrides)?;
    let _logging = Logging::start(loaded.settings.server.log)?;
    raise_descriptor_limit();
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let server = &loaded.settings.server;
    let (events, heard) = mpsc::channel(EVENTS);
    let deliver = Arc::new(move |event| {
        // A worker must not wait. Whoever misses an event asks again.
        if events.try_send(event).is_err() {
            tracing::error!("the relay is too slow for its media workers");
        }
    });
    let plane = media::Plane::start(media_config(server), deliver);
    let plane = plane.context("media ports can't be had")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    runtime.block_on(serve(folder, server, &plane, heard))
}

/// Answers until somebody wants the end.
async fn serve(
    folder: &Folder,
    server: &Server,
    plane: &media::Plane,
    mut heard: mpsc::Receiver<media::Event>,
) -> Result<()> {
    let relay = machine(server, plane)?;
    let (messages, mut arrived) = mpsc::channel(MESSAGES);
    let clients = Clients::listen(&server.relay.listen, &messages)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let control = Arc::new(Control::new(folder, clients.addresses()));
    control::serve(&control)?;
    tracing::info!(listen = control.listen.join(" "), "ready");
    systemd::tell(systemd::READY);
    let (public, changed) = (Public::default(), Notify::new());
    let learning = public::learn(&public, || stun(server), || changed.notify_one());
    let mut learning = std::pin::pin!(learning);
    let mut service = Service {
        relay,
        clients,
        media: plane.handle(),
        control: Arc::clone(&control),
        out: Out::default(),
    };
    loop {
        tokio::select! {
            Some(event) = heard.recv() => {
                service.handle(Input::Media(event));
                while let Ok(event) = heard.try_recv() {
                    service.handle(Input::Media(event));
                }
            }
            Some(Message { from, octets }) = arrived.recv() => {
                service.handle(Input::Message { from, message: &octets });
            }
            () = &mut learning => {}
            () = changed.notified() => {
                service.handle(Input::Interfaces(interfaces(server, public.address())));
            }
            () = wait(service.relay.deadline()) => service.handle(Input::Timer),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = control.stop.notified() => break,
        }
        service.flush();
    }
    tracing::info!(calls = service.relay.calls(), "stopping");
    systemd::tell(systemd::STOPPING);
    // Whoever looks for the server now shall not find it.
    let _ = std::fs::remove_file(folder.socket());
    Ok(())
}

/// The machine and what it moves.
struct Service {
    relay: Relay,
    clients: Clients,
    media: media::Handle,
    control: Arc<Control>,
    out: Out,
}

impl Service {
    fn handle(&mut self, input: Input<'_>) {
        self.relay.handle(Instant::now(), input, &mut self.out);
    }

    /// Does what the machine wants done.
    fn flush(&mut self) {
        self.media.submit(&mut self.out.media);
        let calls = self.relay.calls() as u64;
        self.control.calls.store(calls, Relaxed);
        let total = self.relay.calls_total();
        self.control.calls_total.store(total, Relaxed);
        for (client, reply) in self.out.send.drain(..) {
            self.clients.send(client, reply);
        }
    }
}

fn machine(server: &Server, plane: &media::Plane) -> Result<Relay> {
    let config = relay::Config {
        interfaces: interfaces(server, None),
        max_calls: server.relay.max_calls,
        delete_delay: server.relay.delete_delay,
        offer_timeout: server.relay.offer_timeout,
    };
    let fingerprint = plane
        .handle()
        .fingerprint(media::OwnCertificate::First)
        .map_err(|error| {
            tracing::error!(%error, "there is no certificate for DTLS");
        });
    let fingerprint = fingerprint
        .ok()
        .and_then(|f| media::agreement::fingerprint(&f));
    let now = Instant::now();
    let unix = SystemTime::now().duration_since(UNIX_EPOCH);
    let clock = Clock::new(now, unix.unwrap_or_default());
    let mint = Mint::new(Slot::new(0), secret::random()?);
    Ok(Relay::new(mint, clock, now, config, fingerprint))
}

/// The STUN server to ask, and from where; none: the settings say what the outside sees.
fn stun(server: &Server) -> Option<(Stun, Vec<IpAddr>)> {
    let told = server.media.advertise.is_some() || !server.relay.interfaces.is_empty();
    let stun = server.media.stun.clone().filter(|_| !told)?;
    let ours = interfaces(server, None).into_iter().map(|at| at.address);
    Some((stun, ours.collect()))
}

/// The interfaces of the settings, or the machine's own addresses, one of each family. The outside sees the latter as
/// the settings say, or as was `learnt`.
fn interfaces(server: &Server, learnt: Option<IpAddr>) -> Vec<relay::Interface> {
    if !server.relay.interfaces.is_empty() {
        return server.relay.interfaces.clone();
    }
    let mut own = own_addresses();
    own.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6()));
    let first = |v6: bool| own.iter().find(|ip| ip.is_ipv6() == v6).copied();
    let found = [first(false), first(true)].into_iter().flatten();
    let seen = server.media.advertise.or(learnt);
    let found = found.map(|address| {
        let public = seen.filter(|ip| ip.is_ipv4() == address.is_ipv4());
        relay::Interface {
            name: "default".into(),
            address,
            advertised: public.unwrap_or(address),
        }
    });
    found.collect()
}

async fn wait(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => tokio::time::sleep(Duration::from_secs(3600)).await,
    }
}

/// Words of the workers that may wait: each call has one or two on its way. Further ones are lost, and
/// their askers ask again.
const EVENTS: usize = 65_536;

/// Messages of clients that may wait; then sockets are not read, and the system's buffers fill.
const MESSAGES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn server(overrides: &[&str]) -> Server {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path());
        folder.create().unwrap();
        seed::seed(&folder).unwrap();
        let overrides = overrides.iter().map(|set| Override::from_option(set));
        let overrides: Vec<_> = overrides.map(Result::unwrap).collect();
        settings::load(&folder, &overrides).unwrap().settings.server
    }

    /// RFC 8489 §1: what was learnt is told, unless the settings say otherwise.
    #[test]
    fn rfc8489_1_what_was_learnt_is_advertised() {
        let learnt = Some([198, 51, 100, 9].into());
        let seen = |server: &Server| {
            let mut of = interfaces(server, learnt).into_iter();
            of.find(|at| at.address.is_ipv4()).map(|at| at.advertised)
        };
        let asks = "media.stun=stun.example.com";
        let plain = server(&[asks]);
        assert_eq!(seen(&plain), learnt);
        assert!(stun(&plain).is_some_and(|(_, ours)| !ours.is_empty()));
        for (said, expected) in [
            ("media.advertise=192.0.2.1", [192, 0, 2, 1]),
            ("relay.interfaces=[\"127.0.0.1\"]", [127, 0, 0, 1]),
        ] {
            let server = server(&[asks, said]);
            assert_eq!(seen(&server), Some(expected.into()));
            assert!(stun(&server).is_none(), "{said}");
        }
        assert!(stun(&server(&[])).is_none());
    }
}
