//! `dialtone run`: puts the rooms together, and takes them apart in order.
//!
//! - [`network`]: addresses of this machine. - [`delivery`]: what waits for a busy signalling thread.
//! - [`observer`]: what becomes of events: log, read model, call records.
//! - [`parts`]: what is opened before it is put together. - [`public`]: our address out there.
//! - [`tls`]: the certificate. - [`web`]: HTTP and WebSockets.
//! - [`trace`]: messages as they come and go. - [`mailroom`]: what waits for users.
//! - [`record`]: call records. - [`secret`]: random numbers, and those that are kept.
//! - [`turn`]: relays for browsers. - [`mod@relay`]: the other role, media for a SIP proxy.
//! - [`control`]: what the API asks. - [`welcome`]: what a newcomer is told.

mod control;
mod delivery;
mod mailroom;
mod network;
mod observer;
mod parts;
mod public;
mod record;
pub(crate) mod relay;
mod room_events;
mod rooms;
mod secret;
mod tls;
mod trace;
#[cfg_attr(not(feature = "turn"), path = "no_turn.rs")]
mod turn;
mod web;
mod welcome;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use base::{Clock, Mint, SLOTS, Slot, UnixTime};
use engine::Engine;
use pbx::{Command, Pbx};
use store::Journal;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use crate::folder::Folder;
use crate::log::Logging;
use crate::seed;
use crate::settings::{self, Override, Settings, snapshot};
use crate::systemd;
use control::Control;
use observer::{Observed, Observer};
use parts::Parts;
use public::Public;
use web::Web;

/// Runs the server until it is told to stop.
pub(crate) fn run(folder: &Folder, overrides: Vec<Override>) -> Result<()> {
    folder.create()?;
    // Held to the end: two servers would spoil each other's journal.
    let _lock = folder.lock()?;
    let seeded = seed::seed(folder)?;
    let loaded = settings::load(folder, &overrides)?;
    let logging = Logging::start(loaded.settings.server.log)?;
    raise_descriptor_limit();
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let running = Running::start(folder, overrides, loaded.settings, logging)?;
    if let Some(users) = seeded {
        // A closed standard output is no reason not to serve.
        let _ = welcome::print(
            folder,
            &running.control.settings.load(),
            &users,
            running.engine.listening(),
        );
    }
    running.serve()
}

/// Everything that runs, in the order in which it ends.
struct Running {
    control: Arc<Control>,
    engine: Engine<Pbx>,
    web: Web,
    plane: media::Plane,
    resolver: resolver::Task,
    observer: Observer,
    journal: Arc<Journal>,
    runtime: Runtime,
    asked: Asked,
}

/// What people ask for by signals.
struct Asked {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
}

impl Asked {
    fn listen(runtime: &Runtime) -> Result<Self> {
        let _inside = runtime.enter();
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
        })
    }
}

impl Running {
    fn start(
        folder: &Folder,
        overrides: Vec<Override>,
        settings: Settings,
        logging: Logging,
    ) -> Result<Self> {
        // Whoever sees the server answer may ask it to stop.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let asked = Asked::listen(&runtime)?;
        let parts = Parts::open(folder, &settings.server)?;
        let config = configuration(folder, &settings, &parts.tls)?;
        let stopping = Arc::new(AtomicBool::new(false));
        let services = parts.services(&stopping);
        let control = Arc::new(Control {
            folder: folder.clone(),
            overrides,
            settings: ArcSwap::from_pointee(settings),
            tls: ArcSwap::from_pointee(parts.tls),
            config: Arc::clone(&config),
            logging,
            listening: parts.bound.listening().to_vec(),
            web: parts.web.listening(),
            started: now(),
            delivery: parts.delivery,
            mailroom: parts.mailroom,
            bindings: parts.bindings,
            journal: Arc::clone(&parts.journal),
            observed: parts.observer.observed(),
            rooms: Arc::clone(&services.rooms),
            trace: parts.trace,
            turn: parts.turn,
            media: parts.plane.handle(),
            public: Public::default(),
            stopping,
            stop: Notify::new(),
        });
        let observed = parts.observer.observed();
        let machines = machines(Arc::clone(&config), services, observed, secret::random()?);
        let observed = parts.observer.observed();
        let journal = Arc::clone(&parts.journal);
        let ways_out = ways_out(journal, parts.plane.handle(), parts.desk, observed, config);
        Ok(Self {
            control,
            engine: parts.bound.start(machines, ways_out)?,
            web: parts.web,
            plane: parts.plane,
            resolver: parts.resolver,
            observer: parts.observer,
            journal: parts.journal,
            runtime,
            asked,
        })
    }

    /// Answers the API and signals until the end is asked for, then ends.
    fn serve(self) -> Result<()> {
        self.runtime.spawn(self.resolver.run());
        self.runtime.block_on(async {
            self.web.serve(&self.control)?;
            attend(&self.control, self.asked).await
        })?;
        drop(self.runtime);
        // A phone may still say something; then the workers fall silent; then the last records go.
        self.engine.stop();
        drop(self.plane);
        drop(self.observer);
        if let Err(error) = self.journal.sync() {
            tracing::error!(%error, "the binding journal could not be synced");
        }
        tracing::info!("stopped");
        Ok(())
    }
}

async fn attend(control: &Arc<Control>, asked: Asked) -> Result<()> {
    let Asked {
        mut terminate,
        mut interrupt,
        mut reload,
    } = asked;
    let path = control.folder.socket();
    let listener = api::socket::bind(&path)
        .with_context(|| format!("the control socket can't be made at {}", path.display()))?;
    let router = api::router(Arc::clone(control) as _);
    let api = async { axum::serve(listener, router).await };
    tracing::info!(listen = %control.addresses().join(" "), "ready");
    systemd::tell(systemd::READY);
    let stun = || public::wanted(&control.settings.load().server);
    let serve = async {
        tokio::select! {
            served = api => served.context("the control socket broke"),
            () = control.delivery.retry() => Ok(()),
            () = public::learn(&control.public, stun, || control.publish()) => Ok(()),
            () = reload_on(&mut reload, control) => Ok(()),
        }
    };
    let leave = async {
        // Whoever asks once more does not want to wait for what is going on.
        let mut asked = async || {
            tokio::select! {
                () = control.stop.notified() => {}
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        asked().await;
        control.stopping.store(true, Relaxed);
        systemd::tell(systemd::STOPPING);
        tokio::select! { () = drain(control) => {}, () = asked() => {} }
        tokio::select! { () = finish(control) => {}, () = asked() => {} }
    };
    tokio::select! { served = serve => served?, () = leave => {} }
    // Whoever looks for the server now shall not find it.
    let _ = std::fs::remove_file(&path);
    Ok(())
}

async fn reload_on(hangup: &mut Signal, control: &Control) {
    while hangup.recv().await.is_some() {
        // What came of it is logged.
        let _ = api::Server::reload(control);
    }
}

/// Waits for the end of the calls that there are, as long as the settings say; new ones are refused.
async fn drain(control: &Control) {
    let patience = control.settings.load().server.calls.drain;
    let calls = control.observed.calls.len();
    if calls == 0 || patience.is_zero() {
        return;
    }
    tracing::info!(calls, seconds = patience.as_secs(), "waiting for calls");
    systemd::tell(&format!("STATUS=waiting for calls: {calls}"));
    let end = tokio::time::Instant::now() + patience;
    while !control.observed.calls.is_empty() && tokio::time::Instant::now() < end {
        tokio::time::sleep(TICK).await;
    }
}

/// Ends all calls, and waits until the phones have been told, but not for ever.
async fn finish(control: &Control) {
    let calls = control.observed.calls.len();
    tracing::info!(calls, "stopping");
    control.delivery.broadcast(|| Command::HangupAll);
    let end = tokio::time::Instant::now() + PARTING;
    while !control.observed.calls.is_empty() && tokio::time::Instant::now() < end {
        control.delivery.flush();
        tokio::time::sleep(TICK).await;
    }
    control.trace.close();
    control.observed.rooms.close();
    let is_being_read = || control.trace.is_being_read() || control.observed.rooms.is_being_read();
    while is_being_read() && tokio::time::Instant::now() < end {
        tokio::time::sleep(TICK).await;
    }
}

/// What the machines run by at first.
fn configuration(
    folder: &Folder,
    settings: &Settings,
    tls: &engine::Tls,
) -> Result<Arc<ArcSwap<pbx::Config>>> {
    let secrets = snapshot::Secrets {
        nonces: secret::random()?,
        routes: secret::routes(folder)?,
    };
    let trunks = pbx::Trunks::default();
    let config = snapshot::snapshot(settings, secrets, &trunks, Some(tls), None);
    Ok(Arc::new(ArcSwap::from_pointee(config)))
}

/// Where the signalling threads put records, media commands, questions and events.
fn ways_out(
    journal: Arc<Journal>,
    media: media::Handle,
    desk: resolver::Desk,
    observed: Arc<Observed>,
    config: Arc<ArcSwap<pbx::Config>>,
) -> engine::Services<pbx::Event> {
    engine::Services {
        records: Box::new(move |records| journal.append(records)),
        media: Box::new(move |commands| media.submit(commands)),
        ask: Box::new(move |questions| desk.ask(questions)),
        events: Box::new(move |_, events| observed.publish(events)),
        trusts: Box::new(move |flow| config.load().trunks.knows(flow)),
    }
}

/// Builds the machine of a slot, at the start and after a panic, by the configuration of the moment.
fn machines(
    config: Arc<ArcSwap<pbx::Config>>,
    services: pbx::Services,
    observed: Arc<Observed>,
    seed: [u8; 32],
) -> impl FnMut(Slot) -> Pbx + Send + 'static {
    let built = AtomicU64::new(0);
    move |slot| {
        // A machine that is built again must not repeat the identifiers of the first.
        let mut seed = seed;
        let number = built.fetch_add(1, Relaxed);
        if number >= SLOTS as u64 {
            observed.lost(slot, UnixTime(now()));
        }
        for (octet, counted) in seed[8..].iter_mut().zip(number.to_le_bytes()) {
            *octet ^= counted;
        }
        let instant = Instant::now();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        let clock = Clock::new(instant, unix.unwrap_or_default());
        Pbx::new(
            Mint::new(slot, seed),
            clock,
            instant,
            config.load_full(),
            services.clone(),
        )
    }
}

/// Each connection and each media port is a descriptor.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// How long phones may take to let go when the server stops.
const PARTING: Duration = Duration::from_secs(5);

/// How often something is looked at that can't be waited for.
const TICK: Duration = Duration::from_millis(10);
