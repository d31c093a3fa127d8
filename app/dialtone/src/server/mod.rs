//! `dialtone run`: puts the rooms together, and takes them apart in order.
//!
//! - [`network`]: addresses of this machine. - [`delivery`]: what waits for a busy signalling thread.
//! - [`observer`]: what becomes of events: log, read model, call records.
//! - [`tls`]: the certificate. - [`web`]: HTTP and WebSockets.
//! - [`trace`]: messages as they come and go. - [`mailroom`]: what waits for users.
//! - [`record`]: call records. - [`secret`]: random numbers, and those that are kept.
//! - [`turn`]: relays for browsers.
//! - [`control`]: what the API asks. - [`welcome`]: what a newcomer is told.

mod control;
mod delivery;
mod mailroom;
mod network;
mod observer;
mod record;
mod secret;
mod tls;
mod trace;
mod turn;
mod web;
mod welcome;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use base::{Clock, Mint, SLOTS, Slot, UnixTime};
use engine::Engine;
use pbx::{Command, Pbx};
use store::{Bindings, CallLog, Journal, Lines, Publications};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use crate::folder::Folder;
use crate::log::Logging;
use crate::seed;
use crate::settings::{self, Override, Settings, snapshot};
use control::Control;
use delivery::Delivery;
use mailroom::Mailroom;
use observer::{Observed, Observer};
use trace::Hub;
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
}

impl Running {
    fn start(
        folder: &Folder,
        overrides: Vec<Override>,
        settings: Settings,
        logging: Logging,
    ) -> Result<Self> {
        let tls = tls::load(folder, &settings.server.tls, None)?;
        let bound = engine::bind::<Command>(network::engine_config(&settings.server, tls.clone()))?;
        let web = Web::bind(&settings.server.http, network::has_ipv6())?;
        let (bindings, journal) = recover(folder)?;
        // Phones that were registered before are no strangers.
        bindings.for_each(|_, contacts| {
            let flows = contacts.iter().map(|contact| &contact.flow);
            flows.for_each(|flow| bound.handle().vouch(flow));
        });
        let call_log = CallLog::open(&folder.call_records(), settings.server.calls.max_calls)
            .context("call records can't be kept")?;
        let observer = Observer::start(call_log)?;
        let delivery = Arc::new(Delivery::new(bound.handle().clone()));
        let mailroom = Arc::new(Mailroom::open(folder, Arc::clone(&delivery))?);
        let plane = {
            let delivery = Arc::clone(&delivery);
            media::Plane::start(
                network::media_config(&settings.server),
                Arc::new(move |event| delivery.media(event)),
            )
            .context("media ports can't be had")?
        };
        let (desk, resolver) = {
            let delivery = Arc::clone(&delivery);
            let deliver = Arc::new(move |answer| delivery.answer(answer));
            resolver::resolver(settings.server.dns.clone(), deliver)
        };
        let legs = Arc::clone(&observer.observed().legs);
        let trace = Hub::start(bound.handle().clone(), legs)?;
        trace.configure(&settings.server.trace)?;
        let turn = turn::start(&settings.server)?;
        let secrets = snapshot::Secrets {
            nonces: secret::random()?,
            routes: secret::routes(folder)?,
        };
        let config = Arc::new(ArcSwap::from_pointee(snapshot::snapshot(
            &settings,
            secrets,
            &pbx::Trunks::default(),
            Some(&tls),
        )));
        let stopping = Arc::new(AtomicBool::new(false));
        let control = Arc::new(Control {
            folder: folder.clone(),
            overrides,
            settings: ArcSwap::from_pointee(settings),
            tls: ArcSwap::from_pointee(tls),
            config: Arc::clone(&config),
            logging,
            listening: bound.listening().to_vec(),
            web: web.listening(),
            started: now(),
            delivery,
            mailroom: Arc::clone(&mailroom),
            bindings: Arc::clone(&bindings),
            journal: Arc::clone(&journal),
            observed: observer.observed(),
            trace,
            turn,
            stopping: Arc::clone(&stopping),
            stop: Notify::new(),
        });
        let listening = bound.listening().to_vec();
        let services = services(
            bindings,
            Arc::clone(&journal),
            &observer,
            stopping,
            listening,
            &mailroom,
        );
        let engine = bound.start(
            machines(
                Arc::clone(&config),
                services,
                observer.observed(),
                secret::random()?,
            ),
            ways_out(
                Arc::clone(&journal),
                plane.handle(),
                desk,
                &observer,
                config,
            ),
        )?;
        Ok(Self {
            control,
            engine,
            web,
            plane,
            resolver,
            observer,
            journal,
        })
    }

    /// Answers the API and signals until the end is asked for, then ends.
    fn serve(self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        runtime.spawn(self.resolver.run());
        runtime.block_on(async {
            self.web.serve(&self.control)?;
            attend(&self.control).await
        })?;
        drop(runtime);
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

async fn attend(control: &Arc<Control>) -> Result<()> {
    let path = control.folder.socket();
    let listener = api::socket::bind(&path)
        .with_context(|| format!("the control socket can't be made at {}", path.display()))?;
    let router = api::router(Arc::clone(control) as _);
    let api = async { axum::serve(listener, router).await };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tracing::info!(listen = %control.addresses().join(" "), "ready");
    tokio::select! {
        served = api => served.context("the control socket broke")?,
        () = control.delivery.retry() => {}
        () = control.stop.notified() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = reload_on(&mut hangup, control) => {}
    }
    tokio::select! {
        () = finish(control) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
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

/// Ends all calls, and waits until the phones have been told, but not for ever.
async fn finish(control: &Control) {
    control.stopping.store(true, Relaxed);
    let calls = control.observed.calls.len();
    tracing::info!(calls, "stopping");
    control.delivery.broadcast(|| Command::HangupAll);
    let end = tokio::time::Instant::now() + PARTING;
    while !control.observed.calls.is_empty() && tokio::time::Instant::now() < end {
        control.delivery.flush();
        tokio::time::sleep(TICK).await;
    }
    control.trace.close();
    while control.trace.is_being_read() && tokio::time::Instant::now() < end {
        tokio::time::sleep(TICK).await;
    }
}

fn recover(folder: &Folder) -> Result<(Arc<Bindings>, Arc<Journal>)> {
    let path = folder.state();
    let (journal, records) =
        Journal::open(&path).with_context(|| format!("{} can't be used", path.display()))?;
    let bindings = Arc::new(Bindings::new());
    let strange = bindings.restore(&records, UnixTime(now()));
    if strange > 0 {
        tracing::warn!(records = strange, "some registrations were not understood");
    }
    if !bindings.is_empty() {
        tracing::info!(users = bindings.len(), "registrations restored");
    }
    journal.maintain(Arc::clone(&bindings))?;
    Ok((bindings, Arc::new(journal)))
}

/// What the machines share.
fn services(
    bindings: Arc<Bindings>,
    journal: Arc<Journal>,
    observer: &Observer,
    stopping: Arc<AtomicBool>,
    listening: Vec<engine::Listen>,
    mailroom: &Mailroom,
) -> pbx::Services {
    let observed = observer.observed();
    pbx::Services {
        bindings,
        lines: Arc::new(Lines::new()),
        mailboxes: Arc::clone(&mailroom.mailboxes),
        messages: Arc::clone(&mailroom.messages),
        publications: Arc::new(Publications::new()),
        watchers: Arc::clone(&mailroom.watchers),
        orbits: Arc::default(),
        guesses: Arc::new(store::Guesses::new()),
        calls: Arc::new(AtomicUsize::new(0)),
        registrations_open: Arc::new(move || journal.healthy()),
        calls_open: Arc::new(move || observed.healthy() && !stopping.load(Relaxed)),
        way_out: Arc::new(move |protocol, remote| network::way_out(&listening, protocol, remote)),
    }
}

/// Where the signalling threads put records, media commands, questions and events.
fn ways_out(
    journal: Arc<Journal>,
    media: media::Handle,
    desk: resolver::Desk,
    observer: &Observer,
    config: Arc<ArcSwap<pbx::Config>>,
) -> engine::Services<pbx::Event> {
    let observed = observer.observed();
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
