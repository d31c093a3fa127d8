//! What the API asks of the running server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use api::{
    Call, Health, Lines, Party, Phone, Reachability, RecordAction, Refusal, Reloaded, RoomFilter,
    Status, TraceFilter, Transfer, VoiceMessages, Waiting,
};
use arc_swap::ArcSwap;
use base::Token;
use engine::{Listen, Tls};
use media::Side;
use pbx::Command;
use pbx::trunk::{
    self,
    state::{Registered, Way},
};
use store::{Bindings, Contact, Journal, Reach};
use tokio::sync::Notify;

use super::delivery::Delivery;
use super::mailroom::Mailroom;
use super::observer::Observed;
use super::public::Public;
use super::rooms;
use super::tls;
use super::trace::Hub;
use crate::folder::Folder;
use crate::log::Logging;
use crate::settings::http;
use crate::settings::{self, Override, Server, Settings, snapshot};

/// Handles on everything that runs.
pub(super) struct Control {
    pub(super) folder: Folder,
    pub(super) overrides: Vec<Override>,
    pub(super) settings: ArcSwap<Settings>,
    pub(super) tls: ArcSwap<Tls>,
    /// What the machines run by.
    pub(super) config: Arc<ArcSwap<pbx::Config>>,
    pub(super) logging: Logging,
    pub(super) listening: Vec<Listen>,
    pub(super) web: Vec<http::Listen>,
    pub(super) started: u64,
    pub(super) delivery: Arc<Delivery>,
    pub(super) mailroom: Arc<Mailroom>,
    pub(super) bindings: Arc<Bindings>,
    pub(super) journal: Arc<Journal>,
    pub(super) observed: Arc<Observed>,
    pub(super) rooms: Arc<pbx::Rooms>,
    pub(super) trace: Hub,
    /// None if it is off.
    pub(super) turn: Option<super::turn::Turn>,
    pub(super) media: media::Handle,
    pub(super) public: Public,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) stop: Notify,
}

impl Control {
    /// The call that is called `id`.
    /// The call that is to be ended or moved.
    fn call(&self, id: &str) -> Result<Token, Refusal> {
        let call = Token::parse(id).filter(|_| self.observed.calls.contains(id));
        let call = call.ok_or_else(|| {
            Refusal::new(format!("there is no call {id}; `dialtone calls` shows all"))
        })?;
        if self.observed.calls.is_out_of_hand(id) {
            return Err(Refusal::conflict(format!(
                "call {id} is answered and proxied: its phones talk to each other, and only they can \
                 end or move it; hang up at one of them, and for such numbers use the dial plan's \
                 step \"dial\" instead of \"proxy\" if calls shall be in the server's hands"
            )));
        }
        Ok(call)
    }
}

impl Control {
    /// Lets the machines run by the settings of the moment.
    pub(super) fn publish(&self) {
        let before = self.config.load_full();
        let secrets = snapshot::Secrets {
            nonces: before.nonce_secret,
            routes: before.route_secret,
        };
        let (settings, tls) = (self.settings.load(), self.tls.load());
        let learnt = self.public.address();
        let config = snapshot::snapshot(&settings, secrets, &before.trunks, Some(&tls), learnt);
        let config = Arc::new(config);
        self.config.store(Arc::clone(&config));
        self.delivery
            .broadcast(|| Command::Reload(Arc::clone(&config)));
    }

    /// All addresses that are listened on, for people to read.
    pub(super) fn addresses(&self) -> Vec<String> {
        let sip = self.listening.iter().map(ToString::to_string);
        sip.chain(self.web.iter().map(ToString::to_string))
            .collect()
    }
}

impl api::Server for Control {
    fn status(&self) -> Status {
        let (mut users, mut phones) = (0, 0);
        self.bindings.for_each(|_, contacts| {
            users += 1;
            phones += contacts.len();
        });
        let stats = self.delivery.handle().stats();
        let counters = stats
            .iter()
            .map(|(counter, value)| (counter.to_string(), value));
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            data: self.folder.root().display().to_string(),
            started: self.started,
            listen: self.addresses(),
            users: self.settings.load().users.len(),
            registered_users: users,
            phones,
            calls: self.observed.calls.len(),
            calls_total: self.observed.calls.total(),
            authentication_failures: self.observed.authentication_failures.load(Relaxed),
            health: self.health(),
            counters: counters.collect(),
        }
    }

    fn phones(&self) -> Vec<Phone> {
        let mut phones = Vec::new();
        self.bindings.for_each(|user, contacts| {
            phones.extend(contacts.iter().map(|contact| phone(user, contact)));
        });
        phones.sort_by(|a, b| (&a.user, &a.contact).cmp(&(&b.user, &b.contact)));
        phones
    }

    fn trunks(&self) -> Vec<api::Trunk> {
        let config = self.config.load();
        config.trunks.iter().map(|trunk| view(trunk)).collect()
    }

    fn waiting(&self) -> Vec<Waiting> {
        self.mailroom.waiting()
    }

    fn set_voice_messages(&self, user: &str, voice: VoiceMessages) -> Result<(), Refusal> {
        let config = self.config.load();
        let found = config.user_at(user);
        let found = found.ok_or_else(|| Refusal::new(format!("there is no user {user}")))?;
        let set = self.mailroom.set(&found.name, voice);
        set.map_err(|error| Refusal::new(format!("the counts can't be kept: {error}")))
    }

    fn calls(&self) -> Vec<Call> {
        self.observed.calls.list()
    }

    fn hangup(&self, id: &str) -> Result<(), Refusal> {
        let call = self.call(id)?;
        self.delivery.command(call.slot(), Command::Hangup { call });
        Ok(())
    }

    fn record(&self, id: &str, action: RecordAction) -> Result<(), Refusal> {
        let call = self.call(id)?;
        let action = match action {
            RecordAction::Start => pbx::RecordAction::Start,
            RecordAction::Pause => pbx::RecordAction::Pause,
            RecordAction::Resume => pbx::RecordAction::Resume,
            RecordAction::Stop => pbx::RecordAction::Stop,
        };
        let command = Command::Record { call, action };
        self.delivery.command(call.slot(), command);
        Ok(())
    }

    fn transfer(&self, id: &str, transfer: &Transfer) -> Result<(), Refusal> {
        let call = self.call(id)?;
        let number = transfer.to.clone();
        if self.config.load().dialplan.steps(&number).is_empty() {
            return Err(Refusal::new(format!(
                "the dial plan has nothing for {number}"
            )));
        }
        let who = match transfer.who {
            Party::Caller => Side::Caller,
            Party::Callee => Side::Callee,
        };
        let command = Command::Transfer { call, who, number };
        self.delivery.command(call.slot(), command);
        Ok(())
    }

    fn rooms(&self) -> Vec<api::Room> {
        rooms::list(&self.rooms)
    }

    fn room_events(&self, filter: RoomFilter) -> Result<Lines, Refusal> {
        self.observed.rooms.add(filter)
    }

    fn moderate(
        &self,
        room: &str,
        moderation: api::Moderation,
        concerned: &api::Concerned,
    ) -> Result<(), Refusal> {
        let slots = rooms::moderate(&self.rooms, room, moderation, concerned)?;
        for slot in slots {
            self.delivery.command(slot, Command::Look);
        }
        Ok(())
    }

    fn reload(&self) -> Result<Reloaded, Refusal> {
        let loaded = settings::load(&self.folder, &self.overrides).map_err(|invalid| {
            for problem in &invalid.0 {
                tracing::error!("{problem}");
            }
            tracing::error!("the configuration is wrong; the old one stays");
            Refusal {
                error: "the configuration is wrong; the server keeps the one it has".into(),
                problems: invalid.0,
                conflict: false,
            }
        })?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        self.logging
            .change(loaded.settings.server.log)
            .map_err(|error| Refusal::new(error.to_string()))?;
        let tls = &loaded.settings.server.tls;
        let tls = tls::load(&self.folder, tls, Some(&self.tls.load())).map_err(|error| {
            tracing::error!("{error:#}; the old configuration stays");
            Refusal::new(format!("{error:#}"))
        })?;
        self.tls.store(Arc::new(tls.clone()));
        self.delivery.handle().set_tls(tls);
        let traced = self.trace.configure(&loaded.settings.server.trace);
        traced.map_err(|error| Refusal::new(format!("messages can't be exported: {error}")))?;
        if let Some(turn) = &self.turn {
            super::turn::reload(turn, &loaded.settings.server);
        }
        self.media.tune(loaded.settings.server.sound.music());
        let restart = needs_restart(&self.settings.load().server, &loaded.settings.server);
        let users = loaded.settings.users.len();
        self.settings.store(Arc::new(loaded.settings));
        self.public.ask_again();
        self.publish();
        tracing::info!(users, "configuration reloaded");
        Ok(Reloaded {
            users,
            warnings: loaded.warnings,
            restart,
        })
    }

    fn stop(&self) {
        self.stop.notify_one();
    }

    fn trace(&self, filter: TraceFilter) -> Result<Lines, Refusal> {
        let settings = self.settings.load();
        self.trace.view(&filter, &settings.users, &self.bindings)
    }

    fn health(&self) -> Health {
        let checks = [
            (
                self.journal.healthy(),
                "registrations can't be written to disk",
            ),
            (
                self.observed.healthy(),
                "call records can't be written to disk",
            ),
            (!self.stopping.load(Relaxed), "the server is stopping"),
        ];
        let failed = checks.into_iter().filter(|(good, _)| !good);
        let faults: Vec<_> = failed.map(|(_, fault)| fault.to_owned()).collect();
        Health {
            healthy: faults.is_empty(),
            faults,
        }
    }
}

fn phone(user: &str, contact: &Contact) -> Phone {
    let (reachability, rtt) = match contact.reach {
        Reach::Unknown => (Reachability::Unknown, None),
        Reach::Reachable { rtt } => (Reachability::Reachable, Some(rtt)),
        Reach::Unreachable => (Reachability::Unreachable, None),
    };
    Phone {
        user: user.into(),
        contact: contact.uri.to_string(),
        address: contact.flow.to_string(),
        user_agent: contact.user_agent.to_string(),
        expires: contact.expires.0,
        reachability,
        rtt_ms: rtt.map(|rtt| rtt.as_millis() as u64),
    }
}

fn view(trunk: &pbx::Trunk) -> api::Trunk {
    let view = trunk.state.view();
    let (registration, until) = match view.registration {
        Registered::No => (api::TrunkRegistration::None, None),
        Registered::Trying => (api::TrunkRegistration::Trying, None),
        Registered::Until(until) => (api::TrunkRegistration::Registered, Some(until.0)),
    };
    let way = |way: &Way| {
        let (reachability, rtt) = match way.health.reach() {
            trunk::state::Reach::Unknown => (Reachability::Unknown, None),
            trunk::state::Reach::Up { rtt } => (Reachability::Reachable, Some(rtt)),
            trunk::state::Reach::Down => (Reachability::Unreachable, None),
        };
        api::TrunkWay {
            address: way.flow.to_string(),
            reachability,
            rtt_ms: rtt.map(|rtt| rtt.as_millis() as u64),
        }
    };
    api::Trunk {
        name: trunk.name.to_string(),
        up: view.is_up() || trunk.proxies.is_empty(),
        registration,
        registered_until: until,
        ways: view.ways.iter().map(way).collect(),
        channels: trunk.state.channels(),
        most_channels: (trunk.max_channels != usize::MAX).then_some(trunk.max_channels),
        error: view.error.as_deref().map(str::to_owned),
    }
}

/// Keys that differ and are read at the start only.
fn needs_restart(old: &Server, new: &Server) -> Vec<String> {
    let tcp = |server: &Server| format!("{:?}", server.sip.tcp);
    let web = |server: &Server| {
        let http = &server.http;
        (http.max_connections, http.max_connections_per_peer)
    };
    let changes = [
        ("sip.listen", old.sip.listen != new.sip.listen),
        ("sip.threads", old.sip.threads != new.sip.threads),
        ("sip.tcp", tcp(old) != tcp(new)),
        ("http.listen", old.http.listen != new.http.listen),
        ("http limits", web(old) != web(new)),
        ("media.ports", old.media.ports != new.media.ports),
        ("media.timeout", old.media.timeout != new.media.timeout),
        ("media.workers", old.media.workers != new.media.workers),
        ("media.kernel", old.media.kernel != new.media.kernel),
        (
            "media.interfaces",
            old.media.interfaces != new.media.interfaces,
        ),
        ("turn.listen", old.turn.listen != new.turn.listen),
        ("turn.ports", old.turn.ports != new.turn.ports),
        ("turn.advertise", old.turn.advertise != new.turn.advertise),
        ("dns and stir", old.dns != new.dns),
        ("log.format", old.log.format != new.log.format),
    ];
    let changed = changes.into_iter().filter(|(_, changed)| *changed);
    changed.map(|(key, _)| key.to_owned()).collect()
}
